"""A user's function of named arrays, seen as a function of one flat vector, with names for its
entries.
"""

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

# What a check must be able to see: a derivative off by 1e-6 of itself in an entry of 1e-3 of the
# largest of its block.
RESOLUTION = 1e-9


@dataclass(frozen=True)
class Layout:
    """How one flat vector is made of named arrays: a lone array, a sequence of arrays or a mapping."""

    kind: Literal["array", "sequence", "mapping"]
    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @property
    def sizes(self) -> list[int]:
        """Entries in each array."""
        return [math.prod(shape) for shape in self.shapes]

    @property
    def size(self) -> int:
        """Entries in all arrays together."""
        return sum(self.sizes)

    @property
    def slices(self) -> list[slice]:
        """Where each array lies in the vector."""
        ends = list(itertools.accumulate(self.sizes, initial=0))
        return [slice(a, b) for a, b in itertools.pairwise(ends)]

    @property
    def starts(self) -> NDArray[np.intp]:
        """Where each block begins: an array, or each leading index (a time step) of an array of
        three or more axes.
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
        """The structure that `vector` is the flat form of; its arrays are fresh copies."""
        return self._built(
            [
                vector[part].reshape(shape).copy()
                for part, shape in zip(self.slices, self.shapes, strict=True)
            ]
        )

    def unpack_each(self, vectors: Matrix) -> Any:
        """The structures that the rows of `vectors` are the flat forms of, as one of which every
        array has one leading axis more.
        """
        n = len(vectors)
        return self._built(
            [
                vectors[:, part].reshape(n, *shape)
                for part, shape in zip(self.slices, self.shapes, strict=True)
            ]
        )

    def _built(self, arrays: list[NDArray[Any]]) -> Any:
        if self.kind == "mapping":
            return dict(zip(self.names, arrays, strict=True))
        return arrays[0] if self.kind == "array" else tuple(arrays)

    def place(self, index: int) -> str:
        """The name of an entry, such as ``W[1, 4]``."""
        for name, part, shape in zip(self.names, self.slices, self.shapes, strict=True):
            if index < part.stop:
                at = np.unravel_index(index - part.start, shape)
                return f"{name}[{', '.join(map(str, at))}]" if shape else name
        raise IndexError(index)

    def pack(
        self, value: Any, what: str, dtype: type = np.float64, *, optional: bool = False
    ) -> Vector:
        """The flat form of a structure laid out like this one; where `optional`, None stands for
        zeros.

        Raises
        ------
        InputError
            If the structure, a shape or a dtype is another.
        """
        out: NDArray[Any] = np.zeros(self.size, dtype)
        for name, part, shape, entry in zip(
            self.names, self.slices, self.shapes, self._entries(value, what), strict=True
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
        """The flat forms of so many structures, of which the arrays have one leading axis more:
        ``(count, size)``.

        Raises
        ------
        InputError
            If the structure, a shape or a dtype is another.
        """
        out: Matrix = np.zeros((count, self.size), dtype)
        for name, part, shape, entry in zip(
            self.names, self.slices, self.shapes, self._entries(value, what), strict=True
        ):
            if entry is None and optional:
                continue
            array = as_numbers(entry, f"{what} for {name}", dtype)
            if array.shape != (count, *shape):
                raise InputError(
                    f"{what} for {name} has shape {array.shape}, but should be {(count, *shape)}, one for each"
                )
            out[:, part] = array.reshape(count, -1)
        return out

    def _entries(self, value: Any, what: str) -> list[Any]:
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
            # Many write `return (dx,)` for a single input; there is nothing else it could mean.
            return [value[0] if isinstance(value, tuple | list) and len(value) == 1 else value]
        if not isinstance(value, Sequence) or len(value) != len(self.names):
            has = (
                f"a sequence of {len(value)}"
                if isinstance(value, Sequence)
                else f"a {type(value).__name__}"
            )
            raise InputError(
                f"{what} is {has}, but should be a sequence of {len(self.names)} arrays: {', '.join(self.names)}"
            )
        return list(value)


def as_numbers(value: Any, what: str, dtype: type = np.float64) -> NDArray[Any]:
    """`value` as an array of `dtype`, float64 or complex128.

    Raises
    ------
    InputError
        If it is not made of numbers, or is complex where it should be real.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InputError(
            f"{what} is a {type(value).__name__} that is no array, but should be an array of numbers"
        ) from error
    if array.dtype.kind not in ("biufc" if dtype is np.complex128 else "biuf"):
        raise InputError(f"{what} has dtype {array.dtype}, but should be real numbers")
    return array.astype(dtype)


def layout_of(value: Any, name: str, names: Sequence[str] = ()) -> Layout:
    """The layout of a structure; `names` are taken for a lone array or a sequence where there is
    one for each.
    """
    if isinstance(value, Mapping):
        return Layout("mapping", tuple(value), tuple(np.shape(entry) for entry in value.values()))
    if isinstance(value, tuple | list):
        labels = (
            tuple(names)
            if len(names) == len(value)
            else tuple(f"{name}{k}" for k in range(len(value)))
        )
        return Layout("sequence", labels, tuple(np.shape(entry) for entry in value))
    return Layout("array", (names[0] if len(names) == 1 else name,), (np.shape(value),))


def parameter_names(fn: Function) -> list[str]:
    """The names of `fn`'s parameters, or none where they cannot be known."""
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def check_inputs(inputs: Any) -> None:
    """Say whether `inputs` are finite float64 arrays: one, a sequence of them or a mapping from
    names.

    Raises
    ------
    InputError
        Naming the array, what it is and what it should be.
    """
    if isinstance(inputs, Mapping):
        named = list(inputs.items())
        if any(not isinstance(name, str) for name, _ in named):
            raise InputError(
                f"inputs has keys {list(inputs)}, but should have strings: fn is called as fn(**inputs)"
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


def invoke(
    inputs: Layout, function: Function, vector: Vector, *leading: Any
) -> tuple[Any, str | None]:
    """``function(*leading, *inputs)``, or with the inputs as keywords for a mapping, and the first
    input entry that it wrote to.

    Floating-point warnings are silent: a stencil may well step outside a function's domain.
    """
    arrays = inputs.unpack(vector)
    with np.errstate(all="ignore"):
        if inputs.kind == "mapping":
            value = function(*leading, **arrays)
        else:
            value = function(*leading, *([arrays] if inputs.kind == "array" else arrays))
    after = inputs.pack(arrays, "inputs", vector.dtype.type)
    wrote = np.flatnonzero((after != vector) & ~(np.isnan(after) & np.isnan(vector)))
    return value, inputs.place(int(wrote[0])) if wrote.size else None


unbounded = np.errstate(over="ignore", invalid="ignore")
"""Around an oracle: an infinite derivative is a finding."""


def nudged(vector: Vector, rng: np.random.Generator) -> Vector:
    """Every entry moved by up to one unit in its last place, which shuffles the rounding of what is
    computed and leaves the rest alone.
    """
    return vector * (1 + np.finfo(np.float64).eps * rng.choice([-1, 0, 1], vector.size))


MOST = 2**18
"""About how many output entries are computed in one call for many inputs: they stay in the cache.
"""


class Subject:
    """The function under test from one flat vector to another.

    Every call gets fresh arrays, so that a function that writes into its inputs spoils nothing;
    that it did is kept in `changed`.

    Attributes
    ----------
    each : callable or None
        ``each(name, entries, values, *inputs)``: fn for each of many values in the place of one
        entry of one input.
    inputs, outputs : Layout
        How the vectors are made of the caller's arrays.
    x, y : ndarray
        The point and the function's value there, flat, float64.
    changed : str or None
        The first entry of its inputs that the function wrote to.

    Raises
    ------
    InputError
        If the inputs are no finite float64 arrays, or the function returns something other than
        finite real numbers.
    """

    def __init__(self, fn: Function, inputs: Any, each: Function | None = None) -> None:
        check_inputs(inputs)
        self.fn, self.each = fn, each
        self.inputs = layout_of(inputs, "x", parameter_names(fn))
        self.x = self.inputs.pack(inputs, "inputs")
        self.changed: str | None = None
        value = self.call(fn, self.x)
        self.outputs = layout_of(value, "y")
        self.y = self.outputs.pack(value, "fn's result")
        for i in np.flatnonzero(~np.isfinite(self.y))[:1]:
            raise InputError(
                f"fn returned {self.y[i]} at {self.outputs.place(i)}, but should be finite where its derivative is checked"
            )
        self._confirm_each()

    def _confirm_each(self) -> None:
        """Raise if fn_each computes something else than fn where an entry stays, or the first of an
        array moves by a little.
        """
        if self.each is None or not self.outputs.size:
            return
        scales = self.scales()
        for part in self.inputs.slices:
            if part.stop == part.start:
                continue
            moved = self.x.copy()
            moved[part.start] += scales[part.start] / 8
            both = np.array([part.start, part.start])
            got = self.replaced(both, np.array([self.x[part.start], moved[part.start]]))
            for found, value in zip(got, (self.y, self(moved)), strict=True):
                off = np.abs(found - value)
                if not (off <= RESOLUTION * np.abs(value).max()).all():
                    p = int(np.argmax(np.where(np.isnan(off), np.inf, off)))
                    where = f"{self.outputs.place(p)} with {self.inputs.place(part.start)} replaced"
                    raise InputError(
                        f"fn_each gives {found[p]:.10g} for {where}, but fn gives {value[p]:.10g}"
                    )

    def replaced(self, places: Vector, values: Vector, x: Vector | None = None) -> Matrix:
        """The function's values with one entry of `x` replaced, for each of many: ``(n, outputs)``,
        of the dtype of `values`.
        """
        dtype = np.complex128 if values.dtype.kind == "c" else np.float64
        start = (self.x if x is None else x).astype(dtype)
        out: Matrix = np.empty((len(places), self.outputs.size), dtype)
        for first, last in self._runs(places):
            if self.each is None:
                for k in range(first, last):
                    vector = start.copy()
                    vector[places[k]] = values[k]
                    out[k] = self.outputs.pack(self.call(self.fn, vector), "fn's result", dtype)
                continue
            array = int(
                np.searchsorted(
                    [part.stop for part in self.inputs.slices], places[first], side="right"
                )
            )
            given = (
                self.inputs.names[array],
                places[first:last] - self.inputs.slices[array].start,
                values[first:last],
            )
            out[first:last] = self.outputs.pack_each(
                self.call(self.each, start, *given), last - first, "fn_each's result", dtype
            )
        return out

    def _runs(self, places: Vector) -> list[tuple[int, int]]:
        """Pieces of a list of places that lie in one array each, and that are no longer than one
        call takes.
        """
        stops = np.array([part.stop for part in self.inputs.slices])
        cuts = np.flatnonzero(np.diff(np.searchsorted(stops, places, side="right"))) + 1
        most = max(1, MOST // max(1, self.outputs.size))
        edges = [0, *cuts.tolist(), len(places)]
        return [
            (first, min(first + most, b))
            for a, b in itertools.pairwise(edges)
            for first in range(a, b, most)
        ]

    def call(self, function: Function, vector: Vector, *leading: Any) -> Any:
        """:func:`invoke` on this subject's inputs, keeping in `changed` what was written to."""
        value, changed = invoke(self.inputs, function, vector, *leading)
        self.changed = self.changed or changed
        return value

    def __call__(self, vector: Vector) -> Vector:
        """The function's value at `vector`, flat, in float64."""
        return self.outputs.pack(self.call(self.fn, vector), "fn's result")

    def scales(self) -> Vector:
        """A typical size for every input: the largest of its array, or 1 where that is all zeros."""
        out = np.ones(self.x.size)
        for part in self.inputs.slices:
            out[part] = np.abs(self.x[part]).max(initial=0.0) or 1.0
        return out
