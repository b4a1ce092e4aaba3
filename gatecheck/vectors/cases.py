"""Choice of the cases that are exported as vectors.

They are conclusive, have distinct sizes, and cover every regime.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gatecheck.cases import Case, draw
from gatecheck.cells import Cell, Sizes
from gatecheck.checking.budgets import case_budget
from gatecheck.checking.evidence import compare_blocks
from gatecheck.errors import UsageError

MAX_DRAWS = 50
"""Draws that a case may take.

In every regime at least 18 of 20 draws were conclusive, of 8 cells in both dtypes.
"""

MAX_SIZE = 8
"""Largest size that is drawn: cases are read by people and by small machines."""

MAX_SIZE_LONG = 6
"""Largest size where there are many steps.

Forward mode takes time by the fourth power of sizes and the square of steps.
"""


class CaseKind(NamedTuple):
    """A kind of case.

    It is a regime, a number of steps (None: a few), and whether initial states are absent or rows
    end early.
    """

    regime: str = "generic"
    T: int | None = None
    absent: bool = False
    ragged: bool = False


CASE_KINDS = (
    CaseKind(),
    CaseKind(absent=True),
    CaseKind("slow", T=40),
    CaseKind(T=1),
    CaseKind("strong"),
    CaseKind("saturated"),
    CaseKind("large"),
    CaseKind("small"),
)
"""Kinds in the order of export.

After the last, the first follows again, with other sizes and numbers.
"""

RAGGED_KIND = CaseKind(ragged=True)


def is_conclusive(case: Case) -> bool:
    """Return whether every block of every result can be judged."""
    budget = case_budget(case)
    return all(
        block.judged
        for block in compare_blocks(case.cell, budget.exact, budget.exact, budget.tolerance)
    )


def draw_case(cell: Cell, kind: CaseKind, *, seed: int, number: int, dtype: str) -> Case:
    """Draw a case of a kind, all of whose expected results can be judged.

    Parameters
    ----------
    cell, kind
        The cell, and the kind of case.
    seed, number
        Seed of the export, and number of the case in it: equal ones give the same case.
    dtype
        ``"float32"`` or ``"float64"``.

    Raises
    ------
    UsageError
        If there is no such case among :data:`MAX_DRAWS` draws.
    """
    for attempt in range(MAX_DRAWS):
        rng = np.random.default_rng([seed, number, attempt])
        sizes = _draw_sizes(cell, kind, rng)
        absent = tuple(f"{k}0" for k in cell.state) if kind.absent else ()
        case = draw(
            cell,
            sizes,
            seed=int(rng.integers(2**31)),
            dtype=dtype,
            regime=kind.regime,
            absent=absent,
            ragged=kind.ragged,
        )
        if is_conclusive(case):
            return case
    raise UsageError(
        f"of {MAX_DRAWS} cases of a {cell} in the regime {kind.regime} none could be judged "
        f"in {dtype}; another seed may find one"
    )


def _draw_sizes(cell: Cell, kind: CaseKind, rng: np.random.Generator) -> Sizes:
    """Draw sizes that differ from each other and from the width of a projection.

    Equal ones would hide a transpose.
    """
    largest = MAX_SIZE_LONG if (kind.T or 0) > MAX_SIZE else MAX_SIZE
    free = [n for n in range(2, largest + 1) if n not in (kind.T, cell.projection)]
    B = int(rng.choice([n for n in free if n <= 4]))
    T, D, H = (int(n) for n in rng.permutation([n for n in free if n != B])[:3])
    return Sizes(kind.T or T, B, D, H)
