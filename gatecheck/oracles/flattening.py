"""Layouts of named arrays in one flat vector."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gatecheck.errors import InputError

Vector = NDArray[Any]
Matrix = NDArray[Any]
Function = Callable[..., Any]


@dataclass(frozen=True)
class FlatLayout:
    """Layout of a flat vector made of a lone array, a sequence or a mapping of arrays."""

    kind: Literal["array", "sequence", "mapping"]
    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @property
    def sizes(self) -> list[int]:
        """Number of entries in each array."""
        return [math.prod(shape) for shape in self.shapes]

    @property
    def size(self) -> int:
        """Number of entries in all arrays together."""
        return sum(self.sizes)

    @property
    def slices(self) -> list[slice]:
        """Slice of the vector for each array."""
        ends = list(itertools.accumulate(self.sizes, initial=0))
        return [slice(a, b) for a, b in itertools.pairwise(ends)]

    @property
    def starts(self) -> NDArray[np.intp]:
        """Index at which each block starts.

        A block is an array, or one leading index (a time step) of an array of three or more axes.
        """
        at: list[int] = []
        for part, shape in zip(self.slices, self.shapes, strict=True):
            if part.stop > part.start:
                at += range(
                    part.start,
                    part.stop,
                    (part.stop - part.start) // (shape[0] if len(shape) >= 3 else 1),
                )
        return np.array(at, dtype=np.intp)

    def unpack(self, vector: Vector) -> Any:
        """Return the structure whose flat form is `vector`; its arrays are fresh copies."""
        return self._build(
            [
                vector[part].reshape(shape).copy()
                for part, shape in zip(self.slices, self.shapes, strict=True)
            ]
        )

    def unpack_each(self, vectors: Matrix) -> Any:
        """Return the structures whose flat forms are the rows of `vectors`.

        They are one structure whose arrays have an extra leading axis.
        """
        n = len(vectors)
        return self._build(
            [
                vectors[:, part].reshape(n, *shape)
                for part, shape in zip(self.slices, self.shapes, strict=True)
            ]
        )

    def _build(self, arrays: list[NDArray[Any]]) -> Any:
        if self.kind == "mapping":
            return dict(zip(self.names, arrays, strict=True))
        return arrays[0] if self.kind == "array" else tuple(arrays)

    def entry_name(self, index: int) -> str:
        """Return the name of an entry, such as ``W[1, 4]``."""
        for name, part, shape in zip(self.names, self.slices, self.shapes, strict=True):
            if index < part.stop:
                at = np.unravel_index(index - part.start, shape)
                return f"{name}[{', '.join(map(str, at))}]" if shape else name
        raise IndexError(index)

    def pack(
        self, value: Any, what: str, dtype: type = np.float64, *, optional: bool = False
    ) -> Vector:
        """Return the flat form of a structure; where `optional`, None stands for zeros.

        Raises
        ------
        InputError
            If the structure, a shape or a dtype does not match this layout.
        """
        out: NDArray[Any] = np.zeros(self.size, dtype)
        for name, part, shape, entry in zip(
            self.names, self.slices, self.shapes, self._arrays_of(value, what), strict=True
        ):
            if entry is None and optional:
                continue
            array = as_numbers(entry, f"{what} for {name}", dtype)
            if array.shape != shape:
                raise InputError(
                    f"{what} for {name} has shape {array.shape}, but should be {shape}"
                )
            out[part] = array.ravel()
        return out

    def pack_each(
        self, value: Any, count: int, what: str, dtype: type = np.float64, *, optional: bool = False
    ) -> Matrix:
        """Return the flat forms ``(count, size)`` of arrays with an extra leading axis.

        Raises
        ------
        InputError
            If the structure, a shape or a dtype does not match this layout.
        """
        out: Matrix = np.zeros((count, self.size), dtype)
        for name, part, shape, entry in zip(
            self.names, self.slices, self.shapes, self._arrays_of(value, what), strict=True
        ):
            if entry is None and optional:
                continue
            array = as_numbers(entry, f"{what} for {name}", dtype)
            if array.shape != (count, *shape):
                raise InputError(
                    f"{what} for {name} has shape {array.shape}, "
                    f"but should be {(count, *shape)}, one for each"
                )
            out[:, part] = array.reshape(count, -1)
        return out

    def _arrays_of(self, value: Any, what: str) -> list[Any]:
        if self.kind == "mapping":
            if not isinstance(value, Mapping) or set(value) != set(self.names):
                has = (
                    f"a mapping with keys {sorted(map(str, value))}"
                    if isinstance(value, Mapping)
                    else f"a {type(value).__name__}"
                )
                raise InputError(
                    f"{what} is {has}, but should be a mapping with keys {sorted(self.names)}"
                )
            return [value[name] for name in self.names]
        if self.kind == "array":
            # Many write `return (dx,)` for a single input; it cannot mean anything else.
            return [value[0] if isinstance(value, tuple | list) and len(value) == 1 else value]
        if not isinstance(value, Sequence) or len(value) != len(self.names):
            has = (
                f"a sequence of {len(value)}"
                if isinstance(value, Sequence)
                else f"a {type(value).__name__}"
            )
            raise InputError(
                f"{what} is {has}, but should be a sequence of {len(self.names)} arrays: "
                f"{', '.join(self.names)}"
            )
        return list(value)


def as_numbers(value: Any, what: str, dtype: type = np.float64) -> NDArray[Any]:
    """Convert `value` to an array of `dtype`, float64 or complex128.

    Raises
    ------
    InputError
        If it does not consist of numbers, or is complex where it should be real.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InputError(
            f"{what} is a {type(value).__name__} that NumPy cannot convert, "
            "but should be an array of numbers"
        ) from error
    if array.dtype.kind not in ("biufc" if dtype is np.complex128 else "biuf"):
        raise InputError(f"{what} has dtype {array.dtype}, but should be real numbers")
    return array.astype(dtype)


def layout_of(value: Any, name: str, names: Sequence[str] = ()) -> FlatLayout:
    """Return the layout of a structure.

    `names` label a lone array or a sequence if there is one for each array.
    """
    if isinstance(value, Mapping):
        return FlatLayout(
            "mapping", tuple(value), tuple(np.shape(entry) for entry in value.values())
        )
    if isinstance(value, tuple | list):
        labels = (
            tuple(names)
            if len(names) == len(value)
            else tuple(f"{name}{k}" for k in range(len(value)))
        )
        return FlatLayout("sequence", labels, tuple(np.shape(entry) for entry in value))
    return FlatLayout("array", (names[0] if len(names) == 1 else name,), (np.shape(value),))


def parameter_names(fn: Function) -> list[str]:
    """Return the names of `fn`'s parameters, or an empty list if they are unknown."""
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def check_inputs(inputs: Any) -> None:
    """Check that `inputs` are finite float64 arrays: one, a sequence or a mapping.

    Raises
    ------
    InputError
        If an array is anything else; the message names it.
    """
    if isinstance(inputs, Mapping):
        named = list(inputs.items())
        if any(not isinstance(name, str) for name, _ in named):
            raise InputError(
                f"inputs has keys {list(inputs)}, but should have strings: "
                "fn is called as fn(**inputs)"
            )
    elif isinstance(inputs, tuple | list):
        named = [(f"inputs[{k}]", array) for k, array in enumerate(inputs)]
    else:
        named = [("inputs", inputs)]
    if not named:
        raise InputError("inputs is empty, but should hold at least one array")
    for name, array in named:
        if not isinstance(array, np.ndarray):
            raise InputError(f"{name} is a {type(array).__name__}, but should be a float64 array")
        if array.dtype != np.float64:
            raise InputError(f"{name} has dtype {array.dtype}, but should have dtype float64")
        if not np.isfinite(array).all():
            at = ", ".join(map(str, np.argwhere(~np.isfinite(array))[0]))
            raise InputError(
                f"{name}[{at}] is {array[~np.isfinite(array)][0]}, but should be finite"
            )
