"""A cheap screen: which candidates, alone or in pairs, may have made what was observed, block by
block.

A fault is silent in a block that it leaves as it is. Where one of two faults is silent, the pair
does there what the other does alone; so what every fault does alone says which pairs can be right,
without running them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.checking.evidence import blocks
from gatecheck.reference import Results

Mask = NDArray[np.bool_]

CLOSE = {"float32": 2e-4, "float64": 1e-9}
"""How far a block may be off, relative to its largest entry, to pass the screen; many times what
rounding does on short sequences.
"""

NEGLIGIBLE = 1e-2
"""Entries are not told apart below this times CLOSE, since a block may be zero but for rounding."""


@dataclass(frozen=True)
class Screen:
    """Results as one vector, and the blocks in it.

    Attributes
    ----------
    labels
        Of the blocks.
    starts
        Where each begins.
    shapes
        Of the results by name.
    rtol
        See :data:`CLOSE`.
    """

    labels: tuple[str, ...]
    starts: NDArray[np.intp]
    indices: tuple[tuple[str, tuple[slice | int, ...]], ...]
    shapes: dict[str, tuple[int, ...]]
    rtol: float

    @staticmethod
    def of(cell: Cell, results: Results, dtype: str) -> Screen:
        """The screen for results of these names and shapes."""
        places = [
            (name, label, where)
            for name, a in results.items()
            for label, where in blocks(cell, name, a)
            if a[where].size
        ]
        sizes = [results[name][where].size for name, _, where in places]
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.intp)
        return Screen(
            tuple(label for _, label, _ in places),
            starts,
            tuple((name, where) for name, _, where in places),
            {name: a.shape for name, a in results.items()},
            CLOSE[dtype],
        )

    def vector(self, results: Results) -> Array:
        """The results in one row; NaN and infinities are numbers of their own there.

        Raises
        ------
        ValueError, KeyError
            If a result is missing or has another shape.
        """
        whole = {name: np.broadcast_to(results[name], shape) for name, shape in self.shapes.items()}
        row = np.concatenate(
            [np.asarray(whole[name][where], float).ravel() for name, where in self.indices]
        )
        numbers: Array = np.nan_to_num(row, nan=1e30, posinf=1e31, neginf=-1e31)
        return numbers

    def rows(self, results: Results, n: int) -> Array:
        """As :meth:`vector`, of n results along a leading axis: a row each."""
        whole = {
            name: np.broadcast_to(results[name], (n, *shape)) for name, shape in self.shapes.items()
        }
        rows = np.concatenate(
            [
                np.asarray(whole[name][:, *where], float).reshape(n, -1)
                for name, where in self.indices
            ],
            axis=1,
        )
        numbers: Array = np.nan_to_num(rows, nan=1e30, posinf=1e31, neginf=-1e31)
        return numbers

    def close(self, a: Array, b: Array) -> Mask:
        """Block by block, whether two vectors (or rows of vectors) agree."""
        apart = np.maximum.reduceat(np.abs(a - b), self.starts, axis=-1)
        size = np.maximum.reduceat(np.maximum(np.abs(a), np.abs(b)), self.starts, axis=-1)
        agrees: Mask = apart <= self.rtol * (size + NEGLIGIBLE)
        return agrees


def pairs(observed: Mask, silent: Mask, alike: Mask) -> Iterator[tuple[int, int, int]]:
    """Pairs of candidates and how many blocks contradict them, the fewest first.

    Parameters
    ----------
    observed
        For each block, whether it is as it should be.
    silent
        For each candidate and block, whether the candidate leaves it as it should be.
    alike
        For each candidate and block, whether the candidate alone makes what was observed.

    Notes
    -----
    A block contradicts a pair if one of the two is silent in it and the other alone does not make it, or if both disturb it and it is as
    it should be. That is likely, not certain: a clip is silent until another fault makes its argument large. So pairs are put in order,
    and none is dropped.
    """
    n = len(silent)
    against = np.zeros((n, n), np.int32)
    for right, quiet, makes in zip(observed, silent.T, alike.T, strict=True):
        one = np.logical_and.outer(quiet, ~makes)
        against += one | one.T
        if right:
            against += np.logical_and.outer(~quiet, ~quiet)
    first, second = np.triu_indices(n, 1)
    score = against[first, second]
    for k in np.argsort(score, kind="stable"):
        yield int(first[k]), int(second[k]), int(score[k])


def distinct(rows: Array, digits: int = 9) -> list[list[int]]:
    """Candidates that did the same, in groups, the first of each group first."""
    groups: dict[bytes, list[int]] = {}
    for k, row in enumerate(rows):
        with np.errstate(divide="ignore"):
            scale = 10.0 ** (digits - np.ceil(np.log10(np.abs(row) + 1e-12)))
        key = (np.round(row * scale) / scale).tobytes()
        groups.setdefault(key, []).append(k)
    return list(groups.values())
