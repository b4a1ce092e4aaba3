"""Cheap screening of candidate faults, alone and in pairs, block by block.

A fault is silent in a block that it leaves as it is. Where one of two faults is silent, the pair
does there what the other does alone; so the effect of every fault alone shows which pairs can be
right, without running them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.checking.evidence import result_blocks
from gatecheck.reference import Results

Mask = NDArray[np.bool_]

SCREENING_RTOL = {"float32": 2e-4, "float64": 1e-9}
"""Tolerance of a block relative to its largest entry, by dtype.

Many times what rounding does on short sequences.
"""

NEGLIGIBLE_SIZE = 1e-2
"""Size that is added to that of a block, which may be zero except for rounding."""


@dataclass(frozen=True)
class Screen:
    """Layout of results as one vector of blocks.

    Attributes
    ----------
    labels
        Labels of the blocks.
    starts
        Position at which each block begins.
    indices
        Result and index of each block.
    shapes
        Shapes of the results by name.
    rtol
        Relative tolerance, see :data:`SCREENING_RTOL`.
    """

    labels: tuple[str, ...]
    starts: NDArray[np.intp]
    indices: tuple[tuple[str, tuple[slice | int, ...]], ...]
    shapes: dict[str, tuple[int, ...]]
    rtol: float

    @staticmethod
    def for_results(cell: Cell, results: Results, dtype: str) -> Screen:
        """Return the screen for results of these names and shapes."""
        places = [
            (name, label, where)
            for name, a in results.items()
            for label, where in result_blocks(cell, name, a)
            if a[where].size
        ]
        sizes = [results[name][where].size for name, _, where in places]
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.intp)
        return Screen(
            tuple(label for _, label, _ in places),
            starts,
            tuple((name, where) for name, _, where in places),
            {name: a.shape for name, a in results.items()},
            SCREENING_RTOL[dtype],
        )

    def vector(self, results: Results) -> Array:
        """Return the results in one row, with sentinels for NaN and infinities.

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
        """Return :meth:`vector` of n results along a leading axis, one row each."""
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
        """Return block by block whether two vectors, or rows of vectors, agree."""
        difference = np.maximum.reduceat(np.abs(a - b), self.starts, axis=-1)
        size = np.maximum.reduceat(np.maximum(np.abs(a), np.abs(b)), self.starts, axis=-1)
        agrees: Mask = difference <= self.rtol * (size + NEGLIGIBLE_SIZE)
        return agrees


def ranked_pairs(observed: Mask, silent: Mask, alike: Mask) -> Iterator[tuple[int, int, int]]:
    """Yield pairs of candidates and how many blocks contradict them, fewest first.

    Parameters
    ----------
    observed
        For each block, whether it is as it should be.
    silent
        For each candidate and block, whether the candidate leaves it as it should be.
    alike
        For each candidate and block, whether the candidate alone reproduces what was observed.

    Notes
    -----
    A block contradicts a pair if one of the two is silent in it and the other alone does not
    reproduce it, or if both disturb it and it is as it should be. That is likely, not certain: a
    clip is silent until another fault makes its argument large. So pairs are put in order, and none
    is dropped.
    """
    n = len(silent)
    against = np.zeros((n, n), np.int32)
    for right, quiet, reproduces in zip(observed, silent.T, alike.T, strict=True):
        contradicts = np.logical_and.outer(quiet, ~reproduces)
        against += contradicts | contradicts.T
        if right:
            against += np.logical_and.outer(~quiet, ~quiet)
    first, second = np.triu_indices(n, 1)
    score = against[first, second]
    for k in np.argsort(score, kind="stable"):
        yield int(first[k]), int(second[k]), int(score[k])


def group_equal(rows: Array, digits: int = 9) -> list[list[int]]:
    """Group candidates with the same results, in the order of their first members."""
    groups: dict[bytes, list[int]] = {}
    for k, row in enumerate(rows):
        with np.errstate(divide="ignore"):
            scale = 10.0 ** (digits - np.ceil(np.log10(np.abs(row) + 1e-12)))
        key = (np.round(row * scale) / scale).tobytes()
        groups.setdefault(key, []).append(k)
    return list(groups.values())
