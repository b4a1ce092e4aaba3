"""A user's function of named arrays as a function of one flat vector."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from gatecheck.errors import InputError
from gatecheck.oracles.flattening import (
    FlatLayout,
    Function,
    Matrix,
    Vector,
    check_inputs,
    layout_of,
    parameter_names,
)

# A check must detect a relative error of 1e-6 in a derivative that is 1e-3 of the largest in its
# block.
RESOLUTION = 1e-9


def invoke(
    inputs: FlatLayout, function: Function, vector: Vector, *leading: Any
) -> tuple[Any, str | None]:
    """Call ``function(*leading, *inputs)``; a mapping of inputs is passed as keywords.

    Return the value and the name of the first input entry that the function wrote to, if any.
    Floating-point warnings are silenced: a stencil may step outside the function's domain.
    """
    arrays = inputs.unpack(vector)
    with np.errstate(all="ignore"):
        if inputs.kind == "mapping":
            value = function(*leading, **arrays)
        else:
            value = function(*leading, *([arrays] if inputs.kind == "array" else arrays))
    after = inputs.pack(arrays, "inputs", vector.dtype.type)
    wrote = np.flatnonzero((after != vector) & ~(np.isnan(after) & np.isnan(vector)))
    return value, inputs.entry_name(int(wrote[0])) if wrote.size else None


ignore_overflow = np.errstate(over="ignore", invalid="ignore")
"""Decorator that silences overflow: an infinite derivative is a finding."""


def perturb_ulps(vector: Vector, rng: np.random.Generator) -> Vector:
    """Move every entry by up to one unit in its last place.

    This shuffles the rounding of a computation and hardly changes its exact result.
    """
    return vector * (1 + np.finfo(np.float64).eps * rng.choice([-1, 0, 1], vector.size))


MAX_ENTRIES_PER_CALL = 2**18
"""Approximate number of output entries computed in one call; fits into the cache."""


class FlatFunction:
    """Function under test, from one flat vector to another.

    Every call gets fresh arrays, so a function that writes to its inputs does no harm; `changed`
    records that it did.

    Attributes
    ----------
    each : callable or None
        ``each(name, entries, values, *inputs)``: fn for each of many values in place of one entry
        of one input.
    inputs, outputs : Layout
        Layouts of the two vectors.
    x, y : ndarray
        The point and the function's value there, flat, float64.
    changed_input : str or None
        The first entry of its inputs that the function wrote to.

    Raises
    ------
    InputError
        If the inputs are not finite float64 arrays, or the function returns anything but finite
        real numbers.
    """

    def __init__(
        self, fn: Function, inputs: Any, each: Function | None = None, *, check_each: bool = True
    ) -> None:
        check_inputs(inputs)
        self.fn, self.fn_each = fn, each
        self.inputs = layout_of(inputs, "x", parameter_names(fn))
        self.x = self.inputs.pack(inputs, "inputs")
        self.changed_input: str | None = None
        value = self.call(fn, self.x)
        self.outputs = layout_of(value, "y")
        self.y = self.outputs.pack(value, "fn's result")
        for i in np.flatnonzero(~np.isfinite(self.y))[:1]:
            raise InputError(
                f"fn returned {self.y[i]} at {self.outputs.entry_name(i)}, "
                "but should be finite where its derivative is checked"
            )
        if check_each:
            self._check_fn_each()

    def _check_fn_each(self) -> None:
        """Raise if fn_each differs from fn at the point or with one entry moved slightly.

        The first entry of each array is moved.
        """
        if self.fn_each is None or not self.outputs.size:
            return
        scales = self.input_scales()
        for part in self.inputs.slices:
            if part.stop == part.start:
                continue
            moved = self.x.copy()
            moved[part.start] += scales[part.start] / 8
            both = np.array([part.start, part.start])
            results = self.call_replaced(both, np.array([self.x[part.start], moved[part.start]]))
            for result, value in zip(results, (self.y, self(moved)), strict=True):
                error = np.abs(result - value)
                if not (error <= RESOLUTION * np.abs(value).max()).all():
                    p = int(np.argmax(np.where(np.isnan(error), np.inf, error)))
                    where = (
                        f"{self.outputs.entry_name(p)} with "
                        f"{self.inputs.entry_name(part.start)} replaced"
                    )
                    raise InputError(
                        f"fn_each gives {result[p]:.10g} for {where}, but fn gives {value[p]:.10g}"
                    )

    def call_replaced(self, places: Vector, values: Vector, x: Vector | None = None) -> Matrix:
        """Return the function's values with one entry of `x` replaced, for n replacements.

        They are ``(n, outputs)``, of the dtype of `values`.
        """
        dtype = np.complex128 if values.dtype.kind == "c" else np.float64
        start = (self.x if x is None else x).astype(dtype)
        out: Matrix = np.empty((len(places), self.outputs.size), dtype)
        for first, last in self._runs(places):
            if self.fn_each is None:
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
            replacement = (
                self.inputs.names[array],
                places[first:last] - self.inputs.slices[array].start,
                values[first:last],
            )
            out[first:last] = self.outputs.pack_each(
                self.call(self.fn_each, start, *replacement),
                last - first,
                "fn_each's result",
                dtype,
            )
        return out

    def _runs(self, places: Vector) -> list[tuple[int, int]]:
        """Split a list of places into runs that lie in one array and fit into one call."""
        stops = np.array([part.stop for part in self.inputs.slices])
        cuts = np.flatnonzero(np.diff(np.searchsorted(stops, places, side="right"))) + 1
        most = max(1, MAX_ENTRIES_PER_CALL // max(1, self.outputs.size))
        edges = [0, *cuts.tolist(), len(places)]
        return [
            (first, min(first + most, b))
            for a, b in itertools.pairwise(edges)
            for first in range(a, b, most)
        ]

    def call(self, function: Function, vector: Vector, *leading: Any) -> Any:
        """Call :func:`invoke` on the inputs, recording in `changed` what was written to."""
        value, changed = invoke(self.inputs, function, vector, *leading)
        self.changed_input = self.changed_input or changed
        return value

    def __call__(self, vector: Vector) -> Vector:
        """Return the function's value at `vector`, flat, in float64."""
        return self.outputs.pack(self.call(self.fn, vector), "fn's result")

    def input_scales(self) -> Vector:
        """Return the size of every input: the largest of its array, or 1 if that is zero."""
        out = np.ones(self.x.size)
        for part in self.inputs.slices:
            out[part] = np.abs(self.x[part]).max(initial=0.0) or 1.0
        return out
