"""Which cases are exported as vectors: conclusive ones, of distinct sizes, in every regime."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gatecheck.cases import Case, draw
from gatecheck.cells import Cell, Sizes
from gatecheck.checking.budgets import case_budget
from gatecheck.checking.evidence import compared
from gatecheck.errors import UsageError

TRIES = 50
"""How many draws a case has. In every regime at least 18 of 20 draws were conclusive, of 8 cells in
both dtypes.
"""

LARGEST = 8
"""The largest of sizes that are drawn: cases are read by eye and by small machines."""

LARGEST_OF_LONG = 6
"""The same where there are many steps, since forward mode takes time by the fourth power of sizes
and the square of steps.
"""


class Kind(NamedTuple):
    """One kind of case: a regime, how many steps (None: a few), and whether initial states are
    absent or rows end early.
    """

    regime: str = "generic"
    T: int | None = None
    absent: bool = False
    ragged: bool = False


KINDS = (
    Kind(),
    Kind(absent=True),
    Kind("slow", T=40),
    Kind(T=1),
    Kind("strong"),
    Kind("saturated"),
    Kind("large"),
    Kind("small"),
)
"""In the order in which they are exported; after the last comes the first again, of other sizes and
numbers.
"""

RAGGED = Kind(ragged=True)


def is_conclusive(case: Case) -> bool:
    """Whether every block of every result can be judged."""
    budget = case_budget(case)
    return all(
        block.judged for block in compared(case.cell, budget.exact, budget.exact, budget.tolerance)
    )


def choose(cell: Cell, kind: Kind, *, seed: int, number: int, dtype: str) -> Case:
    """A case of a kind, all of whose expected results can be judged.

    Parameters
    ----------
    cell, kind
        What it is for, and of which kind.
    seed, number
        Of the export, and of the case in it: equal ones give the same case.
    dtype
        ``"float32"`` or ``"float64"``.

    Raises
    ------
    UsageError
        If there is none among :data:`TRIES` draws.
    """
    for attempt in range(TRIES):
        rng = np.random.default_rng([seed, number, attempt])
        sizes = _sizes(cell, kind, rng)
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
        f"of {TRIES} cases of a {cell} in the regime {kind.regime} none could be judged in {dtype}; another seed may find one"
    )


def _sizes(cell: Cell, kind: Kind, rng: np.random.Generator) -> Sizes:
    """Sizes that differ from each other and from the width of a projection, since equal ones hide a
    transpose.
    """
    largest = LARGEST_OF_LONG if (kind.T or 0) > LARGEST else LARGEST
    free = [n for n in range(2, largest + 1) if n not in (kind.T, cell.projection)]
    B = int(rng.choice([n for n in free if n <= 4]))
    T, D, H = (int(n) for n in rng.permutation([n for n in free if n != B])[:3])
    return Sizes(kind.T or T, B, D, H)
