"""Properties of the state: it alone carries memory from step to step."""

from __future__ import annotations

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cases import Case
from gatecheck.checking.budgets import budget_for, case_budget
from gatecheck.checking.evidence import Evidence, check_agreement, check_consistency, check_identity
from gatecheck.checking.registry import property_check
from gatecheck.implementation import Results, Subject


@property_check(needs={"unidirectional"}, varies="T", anywhere=True)
def outputs_are_causal(implementation: Subject, case: Case) -> Evidence:
    """y_t depends on x_1 … x_t only: later inputs change no bit of it."""
    t = len(case["x"]) // 2
    x = case["x"].copy()
    x[t:] = 1 - 2 * x[t:]
    before, after = (
        implementation.forward(case)["y"][:t],
        implementation.forward(case.replace(x=x))["y"][:t],
    )
    return check_identity(case.cell, {"y": after}, {"y": before})


@property_check(needs={"backward", "unidirectional"}, anywhere=True)
def gradients_are_causal(implementation: Subject, case: Case) -> Evidence:
    """The gradient of y_1 … y_t with respect to later inputs is exactly zero."""
    t = len(case["x"]) // 2
    dy = case["dy"].copy()
    dy[t:] = 0
    dx = implementation.backward(
        case.replace(dy=dy, **{f"d{end}": None for _, end in case.state_pairs})
    )["dx"]
    expected = dx.copy()
    expected[t:] = 0
    return check_identity(case.cell, {"dx": dx}, {"dx": expected})


@property_check(varies="B", anywhere=True)
def rows_are_independent(implementation: Subject, case: Case) -> Evidence:
    """Each row of a batch is computed as if it were alone.

    Parameter gradients are the sum over rows.
    """
    alone = []
    for b in range(case.sizes.B):
        arrays = {k: v[..., b : b + 1, :] for k, v in case.arrays.items() if k not in case.params}
        alone.append(implementation.run(case.replace(**arrays)))
    expected: Results = {}
    for name in alone[0]:
        parts = [row[name] for row in alone]
        expected[name] = (
            np.sum(parts, axis=0) if name[1:] in case.params else np.concatenate(parts, axis=-2)
        )
    return check_consistency(case.cell, implementation.run(case), expected, case_budget(case))


@property_check(anywhere=True)
def rows_can_be_permuted(implementation: Subject, case: Case) -> Evidence:
    """Permuting the rows of a batch permutes its results in the same way.

    Rows have no order: y, the states, dx, dh_0 and dc_0 are permuted, and parameter gradients stay.
    """
    order = np.roll(np.arange(case.sizes.B), 1)
    permuted = case.replace(
        **{k: v[..., order, :] for k, v in case.arrays.items() if k not in case.params}
    )
    expected = {
        k: v if k[1:] in case.params else v[..., order, :]
        for k, v in implementation.run(case).items()
    }
    return check_consistency(
        case.cell, implementation.run(permuted), expected, case_budget(permuted)
    )


@property_check(needs={"unidirectional"}, varies="T", anywhere=True)
def split_sequence_equals_whole_sequence(implementation: Subject, case: Case) -> Evidence:
    """A sequence in two parts, the state handed on, is the whole sequence.

    Backward too: the gradients of the second part's initial state are the first part's final
    cotangents, and parameter gradients add.
    """
    k = len(case["x"]) // 2
    if k == 0:
        return Evidence()
    first = case.replace(
        x=case["x"][:k], dy=case["dy"][:k], **{f"d{end}": None for _, end in case.state_pairs}
    )
    head = implementation.forward(first)
    second = case.replace(
        x=case["x"][k:], dy=case["dy"][k:], **{start: head[end] for start, end in case.state_pairs}
    )
    tail = implementation.run(second)
    expected: Results = {"y": np.concatenate([head["y"], tail["y"]])} | {
        end: tail[end] for _, end in case.state_pairs
    }
    if "backward" in implementation.abilities:
        head = implementation.backward(
            first.replace(**{f"d{end}": tail[f"d{start}"] for start, end in case.state_pairs})
        )
        expected["dx"] = np.concatenate([head["dx"], tail["dx"]])
        expected |= {f"d{start}": head[f"d{start}"] for start, _ in case.state_pairs}
        expected |= {
            f"d{p}": head[f"d{p}"] + tail[f"d{p}"]
            for p in case.params
            if p not in implementation.unsupported_params
        }
    return check_consistency(
        case.cell, implementation.run(case), expected, budget_for(implementation, case)
    )


@property_check(anywhere=True)
def last_output_is_final_state(implementation: Subject, case: Case) -> Evidence:
    """h_T of the last layer is its last output, y_T, or y_1 of a reverse direction.

    In the loss too: a cotangent of h_T alone gives the gradients of the same cotangent of y_T.
    """
    cell, k = case.cell, case.cell.directions
    stacked, P = len(cell.param_suffixes) > 1, case["dy"].shape[-1] // k

    def last(sequence: Array) -> Array:
        sides = [sequence[-1, :, :P], sequence[0, :, P:]][:k]
        return np.stack(sides) if stacked else sides[0]

    dhT, dy = case["dhT"].copy(), np.zeros_like(case["dy"])
    if stacked:
        dhT[:-k] = 0
    sides = dhT[-k:] if stacked else dhT[None]
    dy[-1, :, :P] = sides[0]
    if k > 1:
        dy[0, :, P:] = sides[1]
    state, output = (
        case.replace(dy=None, dcT=None, dhT=dhT),
        case.replace(dy=dy, dhT=None, dcT=None),
    )
    budget = case_budget(state)
    outputs = implementation.forward(case)
    final = outputs["hT"][-k:] if stacked else outputs["hT"]
    tolerance = budget.tolerance["hT"][-k:] if stacked else budget.tolerance["hT"]
    # Equal to the bit almost everywhere; but a fused kernel may store one of the two from a wider
    # register.
    evidence = check_agreement(
        cell, {"hT": final}, {"hT": last(outputs["y"]).astype(float)}, {"hT": tolerance}
    )
    if "backward" not in implementation.abilities:
        return evidence
    return evidence + check_consistency(
        cell, implementation.backward(state), implementation.backward(output), budget
    )
