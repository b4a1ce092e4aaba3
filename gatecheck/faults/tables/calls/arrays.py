"""Faults of layouts, sizes, dtypes and special values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds
from numpy.lib.stride_tricks import as_strided

from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.faults.wrappers import (
    Call,
    FaultyWrapper,
    ResultHook,
    WrapperRow,
    change_arguments,
    change_result,
    change_results,
    crash,
    result_wrapper,
    wrapper,
)

# ---- layouts


def ignore_strides(a: Array) -> Array:
    """Return what a kernel reads that takes the array for contiguous memory.

    It is the array itself where that memory would not be the array's.
    """
    contiguous = np.empty_like(a, order="C").strides
    if a.flags.c_contiguous or any(s <= 0 for s in a.strides):
        return a
    low, high = byte_bounds(a)
    return as_strided(a, strides=contiguous) if low + a.nbytes <= high else a


def _read_batch_first(a: Array) -> Array:
    return a.reshape(a.shape[1], a.shape[0], *a.shape[2:]).swapaxes(0, 1)


def layouts(cell: Cell) -> Iterator[WrapperRow]:
    """Yield faults that read memory in another order than it was written."""
    yield (
        "layout ignored",
        "The memory of x is read as if it were batch first.",
        wrapper(change_arguments(_read_batch_first, "x")),
        "openvinotoolkit/openvino#37820, onnx/onnx PR 7935",
    )
    yield (
        "layout of dy ignored",
        "The memory of dy is read as if it were batch first.",
        wrapper(change_arguments(_read_batch_first, "dy")),
    )
    for name in ("x", "dy", "h0"):
        yield (
            f"strides of {name} ignored",
            f"A {name} that is not contiguous is read as if it were.",
            wrapper(change_arguments(ignore_strides, name)),
        )
    yield (
        "strides of weights ignored",
        "Parameters that are not contiguous are read as if they were.",
        wrapper(change_arguments(ignore_strides, "params")),
    )
    yield (
        "y batch first",
        "The outputs are returned batch first.",
        wrapper(on_outputs=change_result("y", lambda v: v.swapaxes(0, 1))),
    )
    yield (
        "y flattened",
        "Time and batch are one axis in the outputs.",
        wrapper(on_outputs=change_result("y", lambda v: v.reshape(-1, v.shape[-1]))),
    )
    yield (
        "y squeezed",
        "Axes of length one are dropped from the outputs.",
        wrapper(on_outputs=change_result("y", np.squeeze)),
    )
    yield (
        "hT with a layer axis",
        "The final state has one more leading axis.",
        wrapper(on_outputs=change_result("hT", lambda v: v[None])),
    )
    yield (
        "dx batch first",
        "The gradient of the inputs is returned batch first.",
        wrapper(on_gradients=change_result("x", lambda v: v.swapaxes(0, 1))),
    )
    yield (
        "dW transposed",
        "The gradient of W is returned transposed.",
        wrapper(on_gradients=change_result("W", lambda v: v.T)),
    )
    yield (
        "db as a row",
        "The gradient of the biases has one more leading axis.",
        wrapper(on_gradients=change_result("b", lambda v: v[None])),
    )


# ---- sizes


def _copy_row(first: int, source: int) -> ResultHook:
    """Return the hook that copies row `source` to every row from `first` on."""

    def copy(v: Array) -> Array:
        v = v.copy()
        if v.shape[-2] > first:
            v[..., first:, :] = v[..., source : source + 1, :]
        return v

    return change_results(copy)


def _zero_empty_states(call: Call, out: dict[str, Any]) -> dict[str, Any]:
    return out if len(call["x"]) else {k: v if k == "y" else 0 * v for k, v in out.items()}


def _stop_after(k: int) -> ResultHook:
    return lambda call, out: out | {"y": np.concatenate([out["y"][:k], 0 * out["y"][k:]])}


def sizes(cell: Cell) -> Iterator[WrapperRow]:
    """Yield faults at certain sizes."""
    yield (
        "no steps refused",
        "A sequence of no steps raises an exception.",
        crash("there are no steps", lambda call: len(call["x"]) == 0),
    )
    yield (
        "no rows refused",
        "A batch of no rows raises an exception.",
        crash("there are no rows", lambda call: call["x"].shape[1] == 0),
    )
    yield (
        "one step refused",
        "A sequence of one step raises an exception.",
        crash("there is one step", lambda call: len(call["x"]) == 1),
    )
    yield (
        "no steps give a zero state",
        "Over no steps the final state is zero instead of the initial one.",
        wrapper(on_outputs=_zero_empty_states),
    )
    yield (
        "no steps lose the gradient",
        "Over no steps the gradient of the initial state is zero.",
        wrapper(
            on_gradients=lambda call, out: (
                out if len(call["x"]) else {k: 0 * v for k, v in out.items()}
            )
        ),
    )
    yield (
        "stale rows from the third on",
        "From the third row on, the outputs are those of the second row, left in a buffer.",
        wrapper(on_outputs=_copy_row(2, 1)),
        "microsoft/onnxruntime PR 3893" if cell.reset == "after" else "",
    )
    yield (
        "first row for all",
        "Every row of the outputs is that of the first row.",
        wrapper(on_outputs=_copy_row(1, 0)),
    )
    yield (
        "outputs stop after 64 steps",
        "The outputs after the 64th step are zero.",
        wrapper(on_outputs=_stop_after(64)),
    )


# ---- dtypes and special values


def _round_to(dtype: type) -> Callable[[Array], Array]:
    def change(a: Array) -> Array:
        with np.errstate(over="ignore", under="ignore"):
            return a.astype(dtype).astype(a.dtype)

    return change


def _compute_in_single(inner: Any) -> Any:
    arrays = ("params", "x", "h0", "c0", "dy", "dhT", "dcT")
    given = change_arguments(lambda a: a.astype(np.float32), *arrays)
    dtypes: list[Any] = []

    def narrow(call: Call) -> Call:
        dtypes[:] = [call["x"].dtype]
        return given(call)

    restore = change_results(lambda v: v.astype(dtypes[0]))
    return FaultyWrapper(inner, narrow, restore, restore)


def values(cell: Cell) -> Iterator[WrapperRow]:
    """Yield faults of dtypes, and of NaN."""
    yield (
        "float32 inside",
        "The arithmetic is in single precision, whatever the dtype of the inputs.",
        _compute_in_single,
    )
    yield (
        "float32 returned",
        "Results are in single precision, whatever the dtype of the inputs.",
        result_wrapper(change_results(lambda v: v.astype(np.float32))),
    )
    yield (
        "float64 returned",
        "Results are in double precision, whatever the dtype of the inputs.",
        result_wrapper(change_results(lambda v: v.astype(np.float64))),
    )
    yield (
        "weights in half precision",
        "Parameters are rounded to half precision.",
        wrapper(change_arguments(_round_to(np.float16), "params")),
    )
    yield (
        "weights in single precision",
        "Parameters are rounded to single precision.",
        wrapper(change_arguments(_round_to(np.float32), "params")),
    )
    yield (
        "NaN returned as zero",
        "A NaN in the results becomes zero.",
        result_wrapper(change_results(lambda v: np.where(np.isnan(v), 0, v))),
    )
    yield (
        "NaN read as zero",
        "A NaN in the inputs becomes zero.",
        wrapper(change_arguments(lambda a: np.where(np.isnan(a), 0, a), "x")),
    )
    yield (
        "NaN reaches other rows",
        "A NaN in one row of the batch makes every row NaN.",
        wrapper(on_outputs=change_results(lambda v: v + 0 * v.sum(-2, keepdims=True))),
    )
