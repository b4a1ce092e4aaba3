"""Hypothesis strategies for cases, and cases of listed sizes.

Hypothesis draws and shrinks the shape of the problem, NumPy fills the arrays from a seed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
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
    listed
        The only sizes, if any are listed: one case each, the first ones first. The dtypes share
        them, since each case is expensive.
    """

    T: tuple[int, int] = (1, 7)
    B: tuple[int, int] = (1, 4)
    D: tuple[int, int] = (1, 6)
    H: tuple[int, int] = (1, 7)
    regimes: tuple[str, ...] = ("generic", "strong", "slow", "saturated", "small", "large")
    absent: bool = False
    ragged: bool = False
    share: float = 1.0
    listed: tuple[Sizes, ...] = ()

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Ranges of T, B, D and H."""
        return (self.T, self.B, self.D, self.H)


AROUND_POWERS = tuple(n + by for n in (32, 64, 128, 256) for by in (-1, 0, 1))
"""Sizes at which code changes: vectors, blocks and buffers end there."""

_SMALL = Sizes(T=2, B=3, D=5, H=4)


def _big_sizes() -> tuple[Sizes, ...]:
    """Return sizes around the powers and beyond, of which few are big at a time.

    The first six are cheap. Among the first twelve are steps, rows, inputs and units beyond every
    power, and whoever takes every second one has some of each.
    """
    cheap = [("T", 130), ("T", 257), ("H", 33), ("B", 65), ("D", 33), ("H", 63)]
    beyond_powers = [("B", 257), ("H", 257), ("H", 64), ("D", 257), ("B", 64), ("B", 33)]
    around = [(k, n) for n in AROUND_POWERS for k in "HBTD"]
    largest = [("T", 1000), ("B", 1000), ("D", 1000), ("H", 600)]
    one_big = dict.fromkeys([*cheap, *beyond_powers, *around, *largest])
    several_big = (Sizes(T=31, B=33, D=2, H=34), Sizes(T=2, B=65, D=64, H=63))
    return (*(_SMALL._replace(**{k: n}) for k, n in one_big), *several_big)


SCOPES = {
    "any": CaseScope(absent=True),
    "present": CaseScope(share=0.3),
    "tiny": CaseScope(
        T=(2, 3), B=(1, 2), D=(1, 2), H=(2, 3), regimes=("generic", "slow"), share=0.1
    ),
    "ragged": CaseScope(T=(1, 9), ragged=True, share=0.3),
    "long": CaseScope(T=(100, 100), B=(1, 2), D=(1, 3), H=(2, 5), regimes=("slow",), share=0.15),
    "big": CaseScope(
        T=(_SMALL.T, _SMALL.T),
        B=(_SMALL.B, _SMALL.B),
        D=(_SMALL.D, _SMALL.D),
        H=(_SMALL.H, _SMALL.H),
        regimes=("generic", "slow"),
        share=0.5,
        listed=_big_sizes(),
    ),
}
"""Scopes by name.

Values and gradients are judged on ``any``; the many special cases each have a share of ``present``.
A full Jacobian is possible on ``tiny``, which has at least two steps and two units, since one unit
hides every transpose; gradients reach far back in ``long``; rows have different lengths in
``ragged``; one size at a time is ``big``.
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


def listed_sizes(scope: CaseScope, fixed: Mapping[str, int], count: int) -> list[Sizes]:
    """Return the first `count` sizes that a scope lists.

    Sizes are left out where what is big is fixed; `fixed` is that of :func:`cases`.
    """
    usual = dict(zip("TBDH", scope.sizes, strict=True))
    found = [
        _make_distinct(sizes, fixed)
        for sizes in scope.listed
        if any(size > usual[k][1] for k, size in sizes._asdict().items() if k not in fixed)
    ]
    return list(dict.fromkeys(found))[:count]


def case_of_sizes(
    cell: Cell, dtype: str, scope: CaseScope, sizes: Sizes, zero: Collection[str], seed: int
) -> Case:
    """Return a case of given sizes, in a regime of the scope, from a seed.

    `zero` is that of :func:`cases`.
    """
    rng = np.random.default_rng([seed, *sizes])
    regime = scope.regimes[rng.integers(len(scope.regimes))]
    case = draw(cell, sizes, seed=int(rng.integers(2**32)), dtype=dtype, regime=regime)
    return _with_zeros(case, zero)


def _sizes_up_to(low: int, high: int) -> st.SearchStrategy[int]:
    """Draw a size; of many sizes, one at which code changes.

    A fault may show at one of those alone.
    """
    if high < AROUND_POWERS[0] or low == high:
        return st.integers(low, high)
    changes = [n for n in AROUND_POWERS if low < n < high]
    return st.sampled_from([*range(low, low + max(_SMALL)), *changes, high])


def scope_of_smaller(scope: CaseScope, sizes: Sizes) -> CaseScope:
    """Return the scope of cases that are simpler than one of these sizes.

    It is the scope itself unless that lists its sizes.
    """
    if not scope.listed:
        return scope
    T, B, D, H = ((1, size) for size in sizes)
    return replace(scope, T=T, B=B, D=D, H=H, listed=())


def _with_zeros(case: Case, names: Collection[str]) -> Case:
    return case.replace(**{k: np.zeros_like(case[k]) for k in names}) if names else case


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
    any_size = st.tuples(*(_sizes_up_to(*limits) for limits in scope.sizes)).map(
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
    return _with_zeros(case, zero)
