"""Claims about the state: what an output may depend on, and that nothing else carries memory."""

from __future__ import annotations

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cases import Case
from gatecheck.checking.budgets import budget_for, case_budget
from gatecheck.checking.evidence import Evidence, agree, consistent, identical
from gatecheck.checking.registry import claim
from gatecheck.implementation import Results, Subject


@claim(needs={"one_way"}, varies="T", anywhere=True)
def outputs_are_causal(implementation: Subject, case: Case) -> Evidence:
    """y_t depends on x_1 … x_t only: later inputs change no bit of it."""
    t = len(case["x"]) // 2
    x = case["x"].copy()
    x[t:] = 1 - 2 * x[t:]
    before, after = (
        implementation.forward(case)["y"][:t],
        implementation.forward(case.having(x=x))["y"][:t],
    )
    return identical(case.cell, {"y": after}, {"y": before})


@claim(needs={"backward", "one_way"}, anywhere=True)
def gradients_are_causal(implementation: Subject, case: Case) -> Evidence:
    """The gradient of y_1 … y_t with respect to later inputs is exactly zero."""
    t = len(case["x"]) // 2
    dy = case["dy"].copy()
    dy[t:] = 0
    dx = implementation.backward(
        case.having(dy=dy, **{f"d{end}": None for _, end in case.carried})
    )["dx"]
    expected = dx.copy()
    expected[t:] = 0
    return identical(case.cell, {"dx": dx}, {"dx": expected})


@claim(varies="B", anywhere=True)
def rows_are_independent(implementation: Subject, case: Case) -> Evidence:
    """Each row of a batch is computed as if it were alone; parameter gradients are the sum over
    rows.
    """
    alone = []
    for b in range(case.sizes.B):
        arrays = {k: v[..., b : b + 1, :] for k, v in case.arrays.items() if k not in case.params}
        alone.append(implementation.run(case.having(**arrays)))
    expected: Results = {}
    for name in alone[0]:
        parts = [row[name] for row in alone]
        expected[name] = (
            np.sum(parts, axis=0) if name[1:] in case.params else np.concatenate(parts, axis=-2)
        )
    return consistent(case.cell, implementation.run(case), expected, case_budget(case))


@claim(anywhere=True)
def rows_can_be_permuted(implementation: Subject, case: Case) -> Evidence:
    """Rows of a batch have no order: permuting them permutes y, the states, dx, dh_0 and dc_0, and
    leaves parameter gradients.
    """
    order = np.roll(np.arange(case.sizes.B), 1)
    moved = case.having(
        **{k: v[..., order, :] for k, v in case.arrays.items() if k not in case.params}
    )
    expected = {
        k: v if k[1:] in case.params else v[..., order, :]
        for k, v in implementation.run(case).items()
    }
    return consistent(case.cell, implementation.run(moved), expected, case_budget(moved))


@claim(needs={"one_way"}, varies="T", anywhere=True)
def split_sequence_is_whole_sequence(implementation: Subject, case: Case) -> Evidence:
    """A sequence in two parts, the state handed on, is the whole sequence.

    Backward too: the gradients of the second part's initial state are the first part's final
    cotangents, and parameter gradients add.
    """
    k = len(case["x"]) // 2
    if k == 0:
        return Evidence()
    first = case.having(
        x=case["x"][:k], dy=case["dy"][:k], **{f"d{end}": None for _, end in case.carried}
    )
    begun = implementation.forward(first)
    second = case.having(
        x=case["x"][k:], dy=case["dy"][k:], **{start: begun[end] for start, end in case.carried}
    )
    ended = implementation.run(second)
    expected: Results = {"y": np.concatenate([begun["y"], ended["y"]])} | {
        end: ended[end] for _, end in case.carried
    }
    if "backward" in implementation.abilities:
        begun = implementation.backward(
            first.having(**{f"d{end}": ended[f"d{start}"] for start, end in case.carried})
        )
        expected["dx"] = np.concatenate([begun["dx"], ended["dx"]])
        expected |= {f"d{start}": begun[f"d{start}"] for start, _ in case.carried}
        expected |= {
            f"d{p}": begun[f"d{p}"] + ended[f"d{p}"]
            for p in case.params
            if p not in implementation.absent
        }
    return consistent(
        case.cell, implementation.run(case), expected, budget_for(implementation, case)
    )


@claim(anywhere=True)
def last_output_is_final_state(implementation: Subject, case: Case) -> Evidence:
    """h_T of the last layer is its last output, y_T, and of a reverse direction y_1; in the loss
    too.

    A cotangent of h_T alone gives the gradients of the same cotangent of y_T.
    """
    cell, k = case.cell, case.cell.directions
    several, P = len(cell.tags) > 1, case["dy"].shape[-1] // k

    def last(sequence: Array) -> Array:
        sides = [sequence[-1, :, :P], sequence[0, :, P:]][:k]
        return np.stack(sides) if several else sides[0]

    dhT, dy = case["dhT"].copy(), np.zeros_like(case["dy"])
    if several:
        dhT[:-k] = 0
    sides = dhT[-k:] if several else dhT[None]
    dy[-1, :, :P] = sides[0]
    if k > 1:
        dy[0, :, P:] = sides[1]
    state, output = case.having(dy=None, dcT=None, dhT=dhT), case.having(dy=dy, dhT=None, dcT=None)
    budget = case_budget(state)
    got = implementation.forward(case)
    final = got["hT"][-k:] if several else got["hT"]
    tolerance = budget.tolerance["hT"][-k:] if several else budget.tolerance["hT"]
    # Equal to the bit almost everywhere; but a fused kernel may store one of the two from a wider
    # register.
    seen = agree(cell, {"hT": final}, {"hT": last(got["y"]).astype(float)}, {"hT": tolerance})
    if "backward" not in implementation.abilities:
        return seen
    return seen + consistent(
        cell, implementation.backward(state), implementation.backward(output), budget
    )
