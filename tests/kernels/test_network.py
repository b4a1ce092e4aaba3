"""Stacked and bidirectional kernels, against the equations and single layers."""

from __future__ import annotations

import numpy as np
import pytest

from gatecheck.auditing.audit import audit
from gatecheck.cases import draw
from gatecheck.cells import GRU, LSTM, NETWORKS, RNN, Sizes
from gatecheck.checking.budgets import case_budget
from gatecheck.checking.evidence import check_agreement
from gatecheck.errors import InputError
from gatecheck.implementation import subject
from gatecheck.kernels import Builtin

CELLS = [
    *(cell for cell in NETWORKS.values() if cell.projection is None),
    RNN("relu", layers=3),
    LSTM(peepholes=True, layers=2, bidirectional=True),
]
SIZES = Sizes(6, 3, 4, 5)

networks = pytest.mark.parametrize("cell", CELLS, ids=str)


@networks
@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_and_gradients(cell, dtype, ragged):
    case = draw(cell, SIZES, seed=4, dtype=dtype, ragged=ragged)
    budget = case_budget(case)
    evidence = check_agreement(
        cell, subject(Builtin(cell)).run(case), budget.exact, budget.tolerance
    )
    assert evidence.judged >= 15
    assert not evidence.inconclusive


@networks
def test_the_tangent_is_the_adjoint_of_the_backward(cell):
    case, direction = (
        draw(cell, SIZES, seed=seed, dtype="float64", ragged=True) for seed in (1, 2)
    )
    ours, lengths = Builtin(cell), case["lengths"]
    states, moved = ([of.get(f"{k}0") for k in ("h", "c")] for of in (case, direction))
    tangent = ours.tangent(
        case.params, case["x"], *states, direction.params, direction["x"], *moved, lengths=lengths
    )
    cotangents = [case.get(k) for k in ("dy", "dhT", "dcT")]
    gradients = ours.backward(case.params, case["x"], *states, *cotangents, lengths=lengths)
    left = sum(np.sum(t * d) for t, d in zip(tangent, cotangents, strict=False))
    right = sum(np.sum(gradients[k] * direction[k]) for k in gradients)
    assert left == pytest.approx(right, rel=1e-12)


def test_a_network_equals_single_layers():
    cell = GRU("before", layers=2, bidirectional=True)
    case = draw(cell, SIZES, seed=5, dtype="float64")
    one, x = Builtin(cell.layer_cell), case["x"]
    for k in (0, 2):
        sides = []
        for n, reverse in ((k, False), (k + 1, True)):
            params = {
                name: case[f"{name}{cell.param_suffixes[n]}"]
                for name in cell.layer_cell.param_shapes(1, 1)
            }
            y, _ = one.forward(params, x[::-1].copy() if reverse else x, case["h0"][n].copy())
            sides.append(y[::-1] if reverse else y)
        x = np.concatenate(sides, axis=-1)
    np.testing.assert_array_equal(Builtin(cell).forward(case.params, case["x"], case["h0"])[0], x)


def test_states_of_a_network_have_an_axis_of_layers():
    cell = LSTM(layers=2)
    case = draw(cell, SIZES, seed=0, dtype="float64")
    with pytest.raises(
        InputError, match=r"h0 has shape \(3, 5\), but should have shape \(2, B, H\) = \(2, 3, 5\)"
    ):
        Builtin(cell).forward(case.params, case["x"], case["h0"][0].copy())


@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
@pytest.mark.parametrize("cell", [RNN(), LSTM(), GRU(layers=2, bidirectional=True)], ids=str)
def test_reverse_and_batch_first_layers(cell, ragged):
    """A batch-first or reverse layer equals the plain one on rearranged sequences."""
    case = draw(cell, SIZES, seed=6, dtype="float64", ragged=ragged)
    lengths = case["lengths"] if ragged else None
    n = np.full(SIZES.B, SIZES.T) if lengths is None else lengths
    plain, layer = Builtin(cell), Builtin(cell, reverse=True, batch_first=True)

    def rearranged(a):
        rows = a.swapaxes(0, 1).copy()
        for b, end in enumerate(n):
            rows[b, :end] = rows[b, :end][::-1].copy()
        return rows

    states, final = ([case.get(k) for k in of] for of in (("h0", "c0"), ("dhT", "dcT")))
    expected = plain.forward(case.params, case["x"], *states, lengths=lengths)
    actual = layer.forward(case.params, rearranged(case["x"]), *states, lengths=lengths)
    np.testing.assert_array_equal(rearranged(expected[0]), actual[0])
    for a, b in zip(expected[1:], actual[1:], strict=True):
        np.testing.assert_array_equal(a, b)
    expected = plain.backward(case.params, case["x"], *states, case["dy"], *final, lengths=lengths)
    actual = layer.backward(
        case.params, rearranged(case["x"]), *states, rearranged(case["dy"]), *final, lengths=lengths
    )
    for name, value in expected.items():
        np.testing.assert_array_equal(
            rearranged(value) if name == "x" else value, actual[name], err_msg=name
        )


def test_layouts_pass_an_audit():
    layer = Builtin("gru", reverse=True, batch_first=True)
    result = audit(
        layer,
        profile="quick",
        only=[
            "gradients_match_finite_differences",
            "tangent_is_adjoint_of_backward",
            "lengths_within_budget",
        ],
    )
    assert result.ok, result.findings
