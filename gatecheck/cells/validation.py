"""Checks that arrays fit a cell and each other."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells.spec import Cell, Params, Sizes
from gatecheck.errors import InputError, UsageError


def _describe_array(array: Any) -> str:
    return (
        f"{array.dtype} array of shape {array.shape}"
        if isinstance(array, np.ndarray)
        else type(array).__name__
    )


def _require_array(
    name: str,
    array: Any,
    shape: tuple[int, ...],
    symbolic_shape: Callable[[], str],
    dtype: np.dtype[Any],
) -> None:
    if not isinstance(array, np.ndarray):
        raise InputError(
            f"{name} is a {_describe_array(array)}, "
            f"but should be a NumPy array of shape {symbolic_shape()} = {shape}"
        )
    if array.shape != shape:
        raise InputError(
            f"{name} has shape {array.shape}, but should have shape {symbolic_shape()} = {shape}"
        )
    if array.dtype != dtype:
        raise InputError(f"{name} has dtype {array.dtype}, but should have dtype {dtype}, like x")


_SYMBOLIC_SHAPES = {
    "W": "(D, {G}*H)",
    "U": "(H, {G}*H)",
    "b": "({G}*H,)",
    "c_n": "(H,)",
    "p": "({S}*H,)",
    "R": "(H, P)",
}


def _symbolic_shape(cell: Cell, name: str) -> str:
    """Return the shape of a parameter in letters."""
    letters = _SYMBOLIC_SHAPES[name.partition(".")[0]].format(
        G=len(cell.gates), S=len(cell.sigmoid_gates)
    )
    if cell.projection and name[0] == "U":
        letters = letters.replace("(H,", "(P,")
    # The inputs of a further layer are the outputs of the layer below.
    return letters.replace("(D,", "(N,") if ".l" in name else letters


def check_inputs(
    cell: Cell,
    params: Params,
    x: Array,
    h0: Array | None = None,
    c0: Array | None = None,
    *,
    dtypes: Iterable[str] = ("float32", "float64"),
) -> Sizes:
    """Check that these arrays fit the cell and each other.

    Parameters
    ----------
    cell
        Cell that they are for.
    params
        Canonical parameters; see :meth:`Cell.param_shapes`.
    x
        Inputs ``(T, B, D)``; T and B may be 0, D may not.
    h0, c0
        Initial states ``(B, H)``, or None for zeros; c0 only where the cell has a cell state.
    dtypes
        Dtypes that the caller computes in; all arrays must have the same one.

    Returns
    -------
    Sizes
        T, B, D, H.

    Raises
    ------
    InputError
        If one does not; names it, what it is and what it should be. Values are not checked: NaN and
        infinity are legal.
    """
    allowed = tuple(dtypes)
    if not isinstance(x, np.ndarray) or x.ndim != 3:
        raise InputError(
            f"x is a {_describe_array(x)}, but should be a NumPy array of shape (T, B, D)"
        )
    if all(x.dtype != name for name in allowed):
        raise InputError(f"x has dtype {x.dtype}, but should have dtype {' or '.join(allowed)}")
    T, B, D = x.shape
    if not isinstance(params, Mapping):
        raise InputError(
            f"params is a {_describe_array(params)}, but should be a mapping of names to arrays"
        )
    expected = cell.param_shapes(1, 1)
    if params.keys() != expected.keys():
        raise InputError(
            f"params of a {cell} has the names {sorted(map(str, params))}, "
            f"but should have {sorted(expected)}"
        )
    U = params["U"]
    if not isinstance(U, np.ndarray) or U.ndim != 2:
        raise InputError(
            f"U is a {_describe_array(U)}, but should be a NumPy array of shape (H, "
            f"{len(cell.gates)}*H)"
        )
    H = U.shape[1] // len(cell.gates) if cell.projection else U.shape[0]
    if D == 0 or H == 0:
        raise InputError(
            f"x has shape {x.shape} and U has shape {U.shape}, but D and H should be at least 1"
        )
    for name, shape in cell.param_shapes(D, H).items():
        _require_array(name, params[name], shape, partial(_symbolic_shape, cell, name), x.dtype)
    for name, state in (("h0", h0), ("c0", c0)):
        if state is None:
            continue
        if name[0] not in cell.state:
            raise InputError(f"{name} was given, but a {cell} has no state {name[0]}")
        _require_array(
            name,
            state,
            cell.state_shape(name[0], B, H),
            partial(_symbolic_state_shape, cell, name[0]),
            x.dtype,
        )
    return Sizes(T, B, D, H)


def _symbolic_state_shape(cell: Cell, state: str) -> str:
    inside = "B, P" if cell.projection and state == "h" else "B, H"
    return (
        f"({inside})"
        if len(cell.param_suffixes) == 1
        else f"({len(cell.param_suffixes)}, {inside})"
    )


def _symbolic_output_shape(cell: Cell) -> str:
    return f"(T, B, {'2*' if cell.bidirectional else ''}{'P' if cell.projection else 'H'})"


def check_lengths(sizes: Sizes, lengths: Any) -> None:
    """Check that these are lengths of the rows of a batch of these sizes.

    They are integers from 0 to T, one a row.

    Raises
    ------
    InputError
        If they are not; the message says what was found and what it should be.
    """
    if not isinstance(lengths, np.ndarray) or lengths.dtype.kind not in "iu":
        raise InputError(
            f"lengths is a {_describe_array(lengths)}, "
            f"but should be a NumPy array of integers of shape (B,) = ({sizes.B},)"
        )
    if lengths.shape != (sizes.B,):
        raise InputError(
            f"lengths has shape {lengths.shape}, but should have shape (B,) = ({sizes.B},)"
        )
    if lengths.size and (lengths.min() < 0 or lengths.max() > sizes.T):
        raise InputError(
            f"lengths goes from {lengths.min()} to {lengths.max()}, "
            f"but should lie in 0 … T = {sizes.T}"
        )


def check_cotangents(
    cell: Cell,
    sizes: Sizes,
    dtype: np.dtype[Any],
    dy: Array | None,
    dhT: Array | None,
    dcT: Array | None,
) -> None:
    """Check that these cotangents fit outputs of these sizes.

    Any of them may be None, which is zero.

    Raises
    ------
    InputError
        If one does not; names it, what it is and what it should be.
    """
    T, B, _, H = sizes
    if dy is not None:
        _require_array(
            "dy",
            dy,
            (T, B, cell.directions * cell.width(H)),
            partial(_symbolic_output_shape, cell),
            dtype,
        )
    for name, cotangent in (("dhT", dhT), ("dcT", dcT)):
        if cotangent is None:
            continue
        if name[1] not in cell.state:
            raise InputError(f"{name} was given, but a {cell} has no state {name[1]}")
        _require_array(
            name,
            cotangent,
            cell.state_shape(name[1], B, H),
            partial(_symbolic_state_shape, cell, name[1]),
            dtype,
        )


def as_whole_number(name: str, value: Any, least: int) -> int:
    """Return the value as a whole number.

    Raises
    ------
    UsageError
        If it is not one, or is smaller than `least`.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise UsageError(f"{name} is {value!r}, but should be a whole number") from None
    if number < least:
        raise UsageError(f"{name} is {number}, but should be at least {least}")
    return number
