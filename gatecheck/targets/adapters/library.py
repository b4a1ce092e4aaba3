"""Functions in shared libraries as implementations.

``include/gatecheck.h`` is their contract. Each array lies in separate memory between fences, so
that a write past an end is detected. A function that destroys more than a fence, or crashes, ends
its process.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gatecheck._util.plain_files import open_plain
from gatecheck._util.typing import Array
from gatecheck.errors import ContractError, TargetCrashError, TargetError
from gatecheck.targets.adapters.foreign import (
    FORMAT,
    Call,
    ForeignImplementation,
    parse_description,
)

ABI = 1

FENCE = 64
"""Bytes before and after each array, all bits set: NaN in both dtypes, no length."""

_FENCE_BYTE = 0xFF


class Param(ctypes.Structure):
    """The struct ``gatecheck_param``."""

    _fields_ = [
        *(("name", ctypes.c_char_p), ("rows", ctypes.c_int64), ("columns", ctypes.c_int64)),
        *(("value", ctypes.c_void_p), ("gradient", ctypes.c_void_p)),
    ]


class CallStruct(ctypes.Structure):
    """The struct ``gatecheck_call``."""

    _fields_ = [
        *((name, ctypes.c_int32) for name in ("abi", "itemsize")),
        *((name, ctypes.c_int64) for name in ("T", "B", "D", "H", "n_params")),
        ("params", ctypes.POINTER(Param)),
        *(
            (name, ctypes.c_void_p)
            for name in (
                "x",
                "h0",
                "c0",
                "lengths",
                "y",
                "hT",
                "cT",
                "dy",
                "dhT",
                "dcT",
                "dx",
                "dh0",
                "dc0",
            )
        ),
    ]


class FencedArray:
    """Memory of one array between two fences, with all bits set."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._bytes = np.full(math.prod(shape) * dtype.itemsize + 2 * FENCE, _FENCE_BYTE, np.uint8)
        self.array: Array = self._bytes[FENCE:-FENCE].view(dtype).reshape(shape)
        self.address: int = self._bytes.__array_interface__["data"][0] + FENCE

    @property
    def is_intact(self) -> bool:
        """True if nothing was written into the fences."""
        return bool(
            (self._bytes[:FENCE] == _FENCE_BYTE).all()
            and (self._bytes[-FENCE:] == _FENCE_BYTE).all()
        )


def get_include() -> str:
    """Return the folder of ``gatecheck.h``, for a compiler's ``-I``.

    Examples
    --------
    >>> import gatecheck, pathlib
    >>> (pathlib.Path(gatecheck.get_include()) / "gatecheck.h").is_file()
    True
    """
    return str(Path(__file__).with_name("include"))


def adapt(
    path: str, symbol: str, cell: str | None = None, convention: str | None = None
) -> ForeignImplementation:
    """Return a function of a library, by its name, as an implementation.

    Parameters
    ----------
    path, symbol
        The library, and the name of its forward.
    cell, convention
        Override the library's description.

    Raises
    ------
    UsageError
        If there is no such cell or convention.
    TargetError
        If the library or the function cannot be found, or its description is wrong.
    """
    label = f"{path}:{symbol}"
    try:
        open_plain(path).close()
    except FileNotFoundError as error:
        raise TargetError(f"there is no file {path}") from error
    except OSError as error:
        raise TargetError(f"{path} cannot be loaded: {error.strerror}") from error
    try:
        # CDLL looks for a bare name among the system's libraries.
        library = ctypes.CDLL(str(Path(path).absolute()))
    except OSError as error:
        raise TargetError(f"{path} cannot be loaded: {error}") from error
    functions = {
        name: _find_function(library, name, ctypes.c_int, ctypes.POINTER(CallStruct))
        for name in (symbol, f"{symbol}_backward")
    }
    if functions[symbol] is None:
        raise TargetError(
            f"{path} exports no function {symbol}; declare it with GATECHECK_EXPORT of gatecheck.h"
        )
    info = _find_function(library, f"{symbol}_info", ctypes.c_char_p)
    text = f"{FORMAT}\n" if info is None else (info() or b"").decode(errors="replace")
    said = parse_description(text, label, ("lengths", "bitwise"))
    if functions[f"{symbol}_backward"] is not None:
        said = replace(said, abilities=said.abilities | {"backward"})

    def run(call: Call) -> dict[str, Array]:
        name = symbol if call.method == "forward" else f"{symbol}_backward"
        return _call_function(name, functions[name], call)

    return ForeignImplementation(label, said, run, cell, convention)


def _find_function(library: ctypes.CDLL, name: str, returns: Any, *takes: Any) -> Any:
    try:
        function = library[name]
    except AttributeError:
        return None
    function.restype, function.argtypes = returns, takes
    return function


def _call_function(name: str, function: Callable[..., int], call: Call) -> dict[str, Array]:
    inputs = {k: (a, FencedArray(a.shape, a.dtype)) for k, a in (call.params | call.arrays).items()}
    for a, memory in inputs.values():
        memory.array[...] = a
    results = {k: FencedArray(shape, call.dtype) for k, shape in call.results.items()}
    params = (Param * len(call.params))()
    for p, (k, a) in zip(params, call.params.items(), strict=True):
        p.name, p.value = k.encode(), inputs[k][1].address
        p.rows, p.columns = a.shape if a.ndim == 2 else (a.size, 1)
        p.gradient = results[f"d{k}"].address if f"d{k}" in results else None
    memories = {k: inputs[k][1] for k in call.arrays} | {
        k: m for k, m in results.items() if k.removeprefix("d") not in call.params
    }
    struct = CallStruct(
        *(ABI, call.dtype.itemsize, *call.sizes, len(params), params),
        **{k: memory.address for k, memory in memories.items()},
    )
    status = function(ctypes.byref(struct))
    damaged = [
        k
        for k, memory in [*((k, m) for k, (_, m) in inputs.items()), *results.items()]
        if not memory.is_intact
    ]
    if damaged:
        raise ContractError(f"{name} wrote outside of {', '.join(damaged)}")
    if status:
        raise TargetCrashError(f"{name} refused the call: it returned {status}") from ValueError(
            status
        )
    for a, memory in inputs.values():
        a[...] = memory.array  # so that the caller detects a changed argument
    return {k: memory.array for k, memory in results.items()}
