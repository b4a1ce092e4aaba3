"""Detection of targets that are right except for their precision.

In float64 every number agrees, and in float32 the target is coarser than float32 has to be: as with
matrix products in TF32 or bfloat16 and with approximated activations, often on a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gatecheck.cases import Case
from gatecheck.checking.evidence import Violation, check_agreement
from gatecheck.diagnosis.hypotheses import Hypothesis
from gatecheck.diagnosis.search import Search
from gatecheck.reference import Results

MAX_COARSENESS = 2.0**16
"""Unit roundoff of bfloat16 over that of float32.

A result that is off by more than this times its budget is not coarse but wrong.
"""


def describe_coarseness(search: Search, observed: Sequence[tuple[Case, Results]]) -> str:
    """Describe the coarseness of a target whose equations are right.

    Empty if they are not, or if its float32 is as good as it gets.

    Parameters
    ----------
    search
        The search, with what the target should compute.
    observed
        Cases and the target's results, in float64 and in float32.
    """
    right = Hypothesis(search.reference)
    wide = [(case, got) for case, got in observed if case.dtype == np.float64]
    narrow = [(case, got) for case, got in observed if case.dtype == np.float32]
    if not wide or replace(search, observed=wide).residual(right) is None:
        return ""
    worst = max(
        (_worst_ratio_or_inf(search, right, case, got) for case, got in narrow), default=0.0
    )
    if not 1 < worst < MAX_COARSENESS:
        return ""
    return (
        "The equations are right: in float64 every number agrees. In float32 results are off by "
        f"up to {worst:.3g} times their budget: it computes more coarsely than float32 does, as "
        "matrix products in TF32 or bfloat16 and approximated activations do."
    )


def _worst_ratio_or_inf(search: Search, reference: Hypothesis, case: Case, got: Results) -> float:
    """Return the worst error over its budget.

    Infinity where NaN or infinities are not where they should be.
    """
    budget = reference.budget(case, gradients=any(name.startswith("d") for name in got))
    if any((np.isfinite(a) != np.isfinite(budget.exact[name])).any() for name, a in got.items()):
        return math.inf
    try:
        return check_agreement(
            search.cell, got, {name: budget.exact[name] for name in got}, budget.tolerance
        ).ratio
    except Violation as violation:
        return violation.ratio
