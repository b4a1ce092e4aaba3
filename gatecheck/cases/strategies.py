"""Hypothesis strategies for cases.

Hypothesis draws and shrinks the shape of the problem, NumPy fills the arrays from a seed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from gatecheck.cases.case import Case, optional_arrays
from gatecheck.cases.drawing import draw
from gatecheck.cells import Cell, Sizes


@dataclass(frozen=True)
class CaseScope:
    """Range of the cases that a property is quantified over.

    Attributes
    ----------
    T, B, D, H
        Smallest and largest sizes.
    regimes
        Names in :data:`gatecheck.cases.REGIMES`, simplest first.
    absent
        Whether initial states and cotangents may be left out.
    ragged
        Whether the rows of a batch have different lengths.
    share
        Share of its profile's number of cases that an audit draws; at least two are drawn, since
        the first is the simplest.
    """

    T: tuple[int, int] = (1, 7)
    B: tuple[int, int] = (1, 4)
    D: tuple[int, int] = (1, 6)
    H: tuple[int, int] = (1, 7)
    regimes: tuple[str, ...] = ("generic", "strong", "slow", "saturated", "small", "large")
    absent: bool = False
    ragged: bool = False
    share: float = 1.0

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Ranges of T, B, D and H."""
        return (self.T, self.B, self.D, self.H)


SCOPES = {
    "any": CaseScope(absent=True),
    "present": CaseScope(share=0.3),
    "tiny": CaseScope(
        T=(2, 3), B=(1, 2), D=(1, 2), H=(2, 3), regimes=("generic", "slow"), share=0.1
    ),
    "ragged": CaseScope(T=(1, 9), ragged=True, share=0.3),
    "long": CaseScope(T=(100, 100), B=(1, 2), D=(1, 3), H=(2, 5), regimes=("slow",), share=0.15),
}
"""Scopes by name.

Values and gradients are judged on ``any``; the many special cases each have a share of ``present``.
A full Jacobian is possible on ``tiny``, which has at least two steps and two units, since one unit
hides every transpose; gradients reach far back in ``long``; rows have different lengths in
``ragged``.
"""


def _make_distinct(sizes: Sequence[int], fixed: Mapping[str, int]) -> Sizes:
    """Make sizes distinct by raising the later ones: equal sizes hide transposes."""
    used = set(fixed.values())
    out: dict[str, int] = {}
    for name, size in zip("TBDH", sizes, strict=True):
        if name in fixed:
            out[name] = fixed[name]
            continue
        while size in used and size > 1:
            size += 1
        used.add(size)
        out[name] = size
    return Sizes(**out)


def few_sizes(scope: CaseScope, fixed: Mapping[str, int], count: int, seed: int) -> list[Sizes]:
    """Return `count` sizes of a scope, the smallest first, the others from a seed.

    `fixed` is that of :func:`cases`.
    """
    rng = np.random.default_rng(seed)
    drawn = [
        [int(rng.integers(low, high + 1)) for low, high in scope.sizes] for _ in range(count - 1)
    ]
    return [_make_distinct(sizes, fixed) for sizes in ([low for low, _ in scope.sizes], *drawn)]


@st.composite
def cases(
    draw_from: st.DrawFn,
    cell: Cell,
    dtype: str,
    scope: CaseScope,
    fixed: Mapping[str, int] | None = None,
    zero: Collection[str] = (),
    allowed_sizes: Sequence[Sizes] = (),
) -> Case:
    """Draw a case of a cell in one dtype.

    Parameters
    ----------
    cell, dtype
        Cell and dtype of every case.
    scope
        Scope of sizes and regimes.
    fixed
        The only sizes that the implementation takes, such as ``{"B": 1}``.
    zero
        Parameters that are zero in every case, since the convention has no place for them.
    allowed_sizes
        The only sizes of the cases, if any are given.
    """
    pick: Any = draw_from
    any_size = st.tuples(*(st.integers(*limits) for limits in scope.sizes)).map(
        lambda sizes: _make_distinct(sizes, fixed or {})
    )
    sizes = pick(st.sampled_from(allowed_sizes) if allowed_sizes else any_size)
    regime = pick(st.sampled_from(scope.regimes))
    absent: tuple[str, ...] = ()
    if scope.absent:
        names = optional_arrays(cell)
        absent = pick(
            st.just(())
            | st.lists(st.sampled_from(names), max_size=len(names) - 1, unique=True).map(tuple)
        )
    # At least one cotangent stays: with none there is no gradient to judge.
    if all(k in absent for k in optional_arrays(cell) if k.startswith("d")):
        absent = tuple(k for k in absent if k != "dy")
    seed = pick(st.integers(0, 2**32 - 1))
    case = draw(
        cell, sizes, seed=seed, dtype=dtype, regime=regime, absent=absent, ragged=scope.ragged
    )
    return case.replace(**{k: np.zeros_like(case[k]) for k in zero}) if zero else case
