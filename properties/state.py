"""Claims about the state: what an output may depend on, and that nothing else carries memory."""

from __future__ import annotations

import numpy as np

from gatecheck.budgets import case_budget
from gatecheck.cases import Case
from gatecheck.claims import claim
from gatecheck.evidence import Evidence, consistent, identical
from gatecheck.implementation import Results, Subject


@claim()
def outputs_are_causal(implementation: Subject, case: Case) -> Evidence:
    """y_t depends on x_1 … x_t only: later inputs change no bit of it."""
    t = case.sizes.T // 2
    x = case["x"].copy()
    x[t:] = 1 - 2 * x[t:]
    before, after = implementation.forward(case)["y"][:t], implementation.forward(case.having(x=x))["y"][:t]
    return identical(case.cell, {"y": after}, {"y": before})


@claim(needs={"backward"})
def gradients_are_causal(implementation: Subject, case: Case) -> Evidence:
    """The gradient of y_1 … y_t with respect to later inputs is exactly zero."""
    t = case.sizes.T // 2
    dy = case["dy"].copy()
    dy[t:] = 0
    dx = implementation.backward(case.having(dy=dy, dhT=None, dcT=None))["dx"]
    expected = dx.copy()
    expected[t:] = 0
    return identical(case.cell, {"dx": dx}, {"dx": expected})


@claim(varies="B")
def rows_are_independent(implementation: Subject, case: Case) -> Evidence:
    """Each row of a batch is computed as if it were alone; parameter gradients are the sum over rows."""
    alone = []
    for b in range(case.sizes.B):
        arrays = {k: v[..., b : b + 1, :] for k, v in case.arrays.items() if k not in case.params}
        alone.append(implementation.run(case.having(**arrays)))
    expected: Results = {}
    for name in alone[0]:
        parts = [row[name] for row in alone]
        expected[name] = np.sum(parts, axis=0) if name[1:] in case.params else np.concatenate(parts, axis=-2)
    return consistent(case.cell, implementation.run(case), expected, case_budget(case))


@claim(varies="T")
def split_sequence_is_whole_sequence(implementation: Subject, case: Case) -> Evidence:
    """A sequence in two parts, the state handed on, is the whole sequence.

    Backward too: the gradients of the second part's initial state are the first part's final cotangents, and parameter gradients add.
    """
    T = case.sizes.T
    k = T // 2
    if k == 0:
        return Evidence()
    final = {f"d{s}T": None for s in case.cell.state}
    first = case.having(x=case["x"][:k], dy=case["dy"][:k], **final)
    begun = implementation.forward(first)
    second = case.having(x=case["x"][k:], dy=case["dy"][k:], **{f"{s}0": begun[f"{s}T"] for s in case.cell.state})
    ended = implementation.run(second)
    expected: Results = {"y": np.concatenate([begun["y"], ended["y"]])} | {f"{s}T": ended[f"{s}T"] for s in case.cell.state}
    if "backward" in implementation.abilities:
        carried = {f"d{s}T": ended[f"d{s}0"] for s in case.cell.state}
        begun = implementation.backward(first.having(**carried))
        expected["dx"] = np.concatenate([begun["dx"], ended["dx"]])
        expected |= {f"d{s}0": begun[f"d{s}0"] for s in case.cell.state}
        expected |= {f"d{p}": begun[f"d{p}"] + ended[f"d{p}"] for p in case.params}
    return consistent(case.cell, implementation.run(case), expected, case_budget(case))
