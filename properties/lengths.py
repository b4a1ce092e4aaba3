"""Properties of rows of different lengths: padding has no effect."""

from __future__ import annotations

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cases import Case
from gatecheck.checking.budgets import case_budget
from gatecheck.checking.evidence import Evidence, check_agreement, check_consistency, check_identity
from gatecheck.checking.registry import property_check
from gatecheck.implementation import Results, Subject


def padding_mask(case: Case) -> Array:
    """Return a mask ``(T, B, 1)`` of the entries of a sequence that are padding."""
    past: Array = np.arange(case.sizes.T)[:, None] >= case["lengths"]
    return past[..., None]


@property_check(needs={"lengths"}, cases="ragged", reference=True, anywhere=True)
def lengths_within_budget(implementation: Subject, case: Case) -> Evidence:
    """With lengths, outputs and gradients are those of the cell's equations.

    The state is held past a row's end. y is zero there, h_T and c_T are the states at the end of
    each row, and a cotangent of padding has no effect.
    """
    budget = case_budget(case)
    return check_agreement(case.cell, implementation.run(case), budget.exact, budget.tolerance)


@property_check(needs={"lengths"}, cases="ragged", varies="TB", anywhere=True)
def rows_end_at_their_lengths(implementation: Subject, case: Case) -> Evidence:
    """A row with a length gives the results of that row alone, cut off there.

    These are y, h_T, c_T, dx, dh_0, dc_0; parameter gradients are the sum over rows. Past its end y
    and dx are exactly zero.
    """
    T = case.sizes.T
    parts: dict[str, list[Array]] = {}
    sums: Results = {}
    for b, n in enumerate(case["lengths"]):
        row = {
            k: v[..., b : b + 1, :]
            for k, v in case.arrays.items()
            if k not in (*case.params, "lengths")
        }
        row |= {k: row[k][:n] for k in ("x", "dy") if k in row}
        for name, value in implementation.run(case.replace(**row, lengths=None)).items():
            if name[1:] in case.params:
                sums[name] = sums.get(name, 0) + value
            else:
                padding = [(0, T - n), (0, 0), (0, 0)]
                parts.setdefault(name, []).append(
                    np.pad(value, padding) if name in ("y", "dx") else value
                )
    expected = sums | {name: np.concatenate(rows, axis=-2) for name, rows in parts.items()}
    results = implementation.run(case)
    past: Results = {
        k: np.where(padding_mask(case), results[k], 0) for k in ("y", "dx") if k in results
    }
    evidence = check_identity(case.cell, past, {k: np.zeros_like(v) for k, v in past.items()})
    return evidence + check_consistency(case.cell, results, expected, case_budget(case))


@property_check(needs={"lengths"}, cases="ragged", varies="T", anywhere=True)
def padding_has_no_effect(implementation: Subject, case: Case) -> Evidence:
    """Padding changes no bit of any result.

    The entries of x past a row's end affect no output, even if they are NaN; those of dy, no
    gradient.
    """
    past = padding_mask(case)
    if not past.any():
        return Evidence()
    nan_padded = case.replace(x=np.where(past, np.nan, case["x"]))
    evidence = check_identity(
        case.cell, implementation.forward(nan_padded), implementation.forward(case)
    )
    if "backward" in implementation.abilities:
        other = case.replace(
            x=np.where(past, 3 - case["x"], case["x"]),
            dy=np.where(past, 2 - case["dy"], case["dy"]),
        )
        evidence += check_identity(
            case.cell, implementation.backward(other), implementation.backward(case)
        )
    return evidence


@property_check(needs={"lengths"}, anywhere=True)
def full_lengths_change_nothing(implementation: Subject, case: Case) -> Evidence:
    """If every row is as long as the sequence, lengths change nothing."""
    full = case.replace(lengths=np.full(case.sizes.B, case.sizes.T))
    return check_consistency(
        case.cell, implementation.run(full), implementation.run(case), case_budget(case)
    )
