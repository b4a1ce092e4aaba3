"""Evidence for a property, and violations that say where it does not hold.

Arrays are judged in blocks, so that a small block is not measured by a large one: y and dx step by
step, dW, dU and db gate by gate.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.errors import LAYOUT, printable
from gatecheck.oracles.noise.precision import PRECISIONS
from gatecheck.oracles.rounding import BUDGET_MULTIPLE, Budget, is_conclusive

CHAOTIC_SPREAD = 1e-2
"""Spread of y above which rounding alone changes the output.

Then nothing can be judged, not even gradients.
"""

DOUBTFUL_RATIO = 1e3
"""Budgets by which a relation must be broken, if the target is itself inaccurate.

A target that computes something else than the equations carries an unknown rounding, so it may keep
a relation that it seems to break by less.
"""


@dataclass(frozen=True)
class Evidence:
    """Result of a property on one case.

    Attributes
    ----------
    ratio
        Worst error over its budget, among the blocks that could be judged; 1 is the limit.
    judged, inconclusive
        Number of blocks that were judged, and of those that could not be.
    """

    ratio: float = 0.0
    judged: int = 0
    inconclusive: int = 0

    def __add__(self, other: Evidence) -> Evidence:
        return Evidence(
            max(self.ratio, other.ratio),
            self.judged + other.judged,
            self.inconclusive + other.inconclusive,
        )


class Violation(AssertionError):
    """Violation of a property: what was found, what it should be, and where.

    Attributes
    ----------
    ratio
        Worst error over its budget; infinity where the property is exact.
    wrong, right
        Labels of the blocks that are wrong, and of those that are right.
    """

    def __init__(
        self,
        message: str,
        *,
        ratio: float = np.inf,
        wrong: tuple[str, ...] = (),
        right: tuple[str, ...] = (),
    ) -> None:
        super().__init__(printable(message, LAYOUT))
        self.ratio, self.wrong, self.right = ratio, wrong, right


def result_blocks(
    cell: Cell, name: str, array: Array
) -> Iterator[tuple[str, tuple[slice | int, ...]]]:
    """Yield the blocks of one result: a label and an index for each."""
    if name in ("y", "dx"):
        for t in range(len(array)):
            yield f"{name}[t={t}]", (t,)
    elif (kind := name.partition(".")[0]) in ("dW", "dU", "db", "dp") and len(cell.gates) > 1:
        gates = cell.sigmoid_gates if kind == "dp" else cell.gates
        H = array.shape[-1] // len(gates)
        for k, gate in enumerate(gates):
            yield f"{name}[gate={gate}]", (..., slice(k * H, (k + 1) * H))  # type: ignore[misc]
    else:
        yield name, (...,)  # type: ignore[misc]


def _entry_label(label: str, index: tuple[int, ...]) -> str:
    inside = ", ".join(map(str, index))
    return f"{label[:-1]}, {inside}]" if label.endswith("]") else f"{label}[{inside}]"


def summarize_labels(labels: tuple[str, ...]) -> str:
    """Summarize block labels: ``dW[gate=i f g], dx[t=0..4], dh0``."""
    grouped: dict[str, list[str]] = {}
    for label in labels:
        name, _, where = label.rstrip("]").partition("[")
        grouped.setdefault(name, []).append(where)
    parts = []
    for name, places in grouped.items():
        kind, _, _ = places[0].partition("=")
        values = [place.partition("=")[2] for place in places]
        listed = _format_ranges([int(v) for v in values]) if kind == "t" else " ".join(values)
        parts.append(f"{name}[{kind}={listed}]" if kind else name)
    return ", ".join(parts)


def _format_ranges(numbers: list[int]) -> str:
    runs: list[list[int]] = []
    for n in numbers:
        if runs and n == runs[-1][-1] + 1:
            runs[-1].append(n)
        else:
            runs.append([n])
    return ",".join(f"{r[0]}..{r[-1]}" if len(r) > 1 else f"{r[0]}" for r in runs)


def _block_rows(cell: Cell, name: str, array: Array) -> Array:
    """Return one result with a row for each of its :func:`result_blocks`."""
    if name in ("y", "dx"):
        return array.reshape(len(array), -1)
    count = len(list(result_blocks(cell, name, array)))
    return (
        np.moveaxis(array.reshape(*array.shape[:-1], count, -1), -2, 0).reshape(count, -1)
        if count > 1
        else array.reshape(1, -1)
    )


class BlockComparison(NamedTuple):
    """One block of a result, compared with what it should be.

    The arrays are what was found, expected and tolerated, and error / tolerance; `worst_ratio` is
    the largest of the latter.
    """

    label: str
    actual: Array
    expected: Array
    tolerance: Array
    ratios: Array
    worst_ratio: float
    judged: bool


def compare_blocks(
    cell: Cell,
    actual: Mapping[str, Array],
    expected: Mapping[str, Array],
    tolerance: Mapping[str, Array],
) -> Iterator[BlockComparison]:
    """Yield every block that is not empty, and whether it can be judged.

    The parameters are those of :func:`check_agreement`.
    """
    chaotic = "y" in tolerance and bool(np.any(tolerance["y"] > BUDGET_MULTIPLE * CHAOTIC_SPREAD))
    for name, all_expected in expected.items():
        if name not in actual or not all_expected.size:
            continue
        g, e, tol = actual[name].astype(float), all_expected, tolerance[name]
        judged = (
            np.zeros(1, bool)
            if chaotic
            else is_conclusive(_block_rows(cell, name, e), _block_rows(cell, name, tol))
        )
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            ratios = np.abs(g - e) / tol
        if not np.isfinite(ratios).all():
            ratios = np.where(np.isfinite(e) & ~np.isfinite(g), np.inf, ratios)
            # A NaN where a number belongs is wrong however large the budget.
            judged = judged | (
                np.isfinite(_block_rows(cell, name, e)).all(1)
                & ~np.isfinite(_block_rows(cell, name, g)).all(1)
            )
        worst = np.fmax.reduce(_block_rows(cell, name, ratios), 1, initial=0.0).tolist()
        judgeable = np.broadcast_to(judged, len(worst)).tolist()
        for k, (label, where) in enumerate(result_blocks(cell, name, e)):
            yield BlockComparison(
                label, g[where], e[where], tol[where], ratios[where], worst[k], judgeable[k]
            )


def check_agreement(
    cell: Cell,
    actual: Mapping[str, Array],
    expected: Mapping[str, Array],
    tolerance: Mapping[str, Array],
) -> Evidence:
    """Check that results agree within their tolerances, block by block.

    Parameters
    ----------
    cell
        Cell whose gates name the blocks.
    actual
        Results of the target.
    expected, tolerance
        Right results in float64, and by how much correct code may differ, entry by entry. Names
        that are absent from `actual` are not judged.

    Raises
    ------
    Violation
        If they do not; names the worst entry, and every wrong block.
    """
    wrong: list[str] = []
    right: list[str] = []
    largest, worst, message, inconclusive = 0.0, 0.0, "", 0
    for block in compare_blocks(cell, actual, expected, tolerance):
        if not block.judged:
            inconclusive += 1
            continue
        largest, ratio = max(largest, block.worst_ratio), block.worst_ratio
        if ratio <= 1:
            right.append(block.label)
            continue
        wrong.append(block.label)
        if ratio > worst:
            index = tuple(
                int(i) for i in np.unravel_index(np.nanargmax(block.ratios), block.ratios.shape)
            )
            found, wanted, tol = (
                array[index] for array in (block.actual, block.expected, block.tolerance)
            )
            worst = ratio
            message = (
                f"{_entry_label(block.label, index)} is {found:.9g}, "
                f"but should be {wanted:.9g} ± {tol:.1e} "
                f"(error {abs(found - wanted):.3g}, {ratio:.3g} times its budget)"
            )
    if wrong:
        lines = [
            message,
            f"wrong: {summarize_labels(tuple(wrong))}",
            f"right: {summarize_labels(tuple(right)) or 'nothing that was judged'}",
        ]
        raise Violation("\n".join(lines), ratio=worst, wrong=tuple(wrong), right=tuple(right))
    return Evidence(largest, len(right), inconclusive)


def check_consistency(
    cell: Cell, actual: Mapping[str, Array], other: Mapping[str, Array], budget: Budget
) -> Evidence:
    """Check that two evaluations of one function by the target agree.

    Each may be off by the budget, so together by two.

    Parameters
    ----------
    cell
        Cell whose gates name the blocks.
    actual, other
        Results of the target either way; names that are absent from one of them are not judged.
    budget
        Budget of the first evaluation. If the target computes larger values than the equations do,
        its rounding is larger in proportion; it is at least some units in the last place of what it
        computes. No violation is reported of a relation that an inaccurate target may keep: see
        :data:`DOUBTFUL_RATIO`.

    Raises
    ------
    Violation
        See :func:`check_agreement`.
    """
    expected = {k: v.astype(float) for k, v in other.items() if k in actual}
    for k, v in expected.items():
        # Two NaN agree with each other, but not with the number that belongs there.
        require(
            np.isfinite(v).all() or not np.isfinite(budget.exact[k]).all(),
            f"{k} is not finite, but should be",
        )
    tolerance = {}
    for k in expected:
        usual_size, size = (
            math.sqrt(np.vdot(a, a) / a.size) if a.size else 0.0
            for a in (budget.exact[k], expected[k])
        )
        growth = max(1.0, size / usual_size) if usual_size > 0 and np.isfinite(size) else 1.0
        tolerance[k] = 2 * (
            growth * budget.tolerance[k]
            + BUDGET_MULTIPLE * PRECISIONS[budget.dtype].u * np.abs(expected[k])
        )
    try:
        return check_agreement(cell, actual, expected, tolerance)
    except Violation as violation:
        if violation.ratio < DOUBTFUL_RATIO and not _is_right(cell, actual, budget):
            return Evidence(inconclusive=1)
        raise


def _is_right(cell: Cell, actual: Mapping[str, Array], budget: Budget) -> bool:
    try:
        check_agreement(cell, actual, budget.exact, budget.tolerance)
    except Violation:
        return False
    return True


def check_identity(
    cell: Cell, actual: Mapping[str, Array], expected: Mapping[str, Array]
) -> Evidence:
    """Check that results are equal bit for bit; NaN equals NaN, and -0 equals 0.

    Raises
    ------
    Violation
        If they are not; names the first entry that differs, and every block that does.
    """
    wrong: list[str] = []
    right: list[str] = []
    first = ""
    for name, all_expected in expected.items():
        for label, where in result_blocks(cell, name, all_expected):
            g, e = actual[name][where], all_expected[where]
            differs = (g != e) & ~((g != g) & (e != e))
            if not differs.any():
                right.append(label)
                continue
            wrong.append(label)
            if not first:
                index = tuple(int(i) for i in np.argwhere(differs)[0])
                first = (
                    f"{_entry_label(label, index)} is {g[index]!r}, but should be exactly "
                    f"{e[index]!r}"
                )
    if wrong:
        raise Violation(
            f"{first}\nwrong: {summarize_labels(tuple(wrong))}",
            wrong=tuple(wrong),
            right=tuple(right),
        )
    return Evidence(judged=len(right))


def require(holds: bool | np.bool_, message: str) -> Evidence:
    """Check that a statement holds.

    Raises
    ------
    Violation
        If it does not, with the message.
    """
    if not holds:
        raise Violation(message)
    return Evidence(judged=1)
