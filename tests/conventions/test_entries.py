"""Entries of frameworks: PyTorch's reproduce it, and facts of others hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gatecheck.cases import draw
from gatecheck.cells import CELLS, LSTM, Sizes
from gatecheck.conventions import CONVENTIONS
from gatecheck.reference import equations, run

SIZES = Sizes(T=6, B=2, D=3, H=4)


def draw_params(cell):
    return draw(cell, SIZES, seed=0, dtype="float64").params


TORCH_CELLS = [cell for cell in CELLS.values() if cell.name not in ("gru-before", "rnn-sigmoid")]


def run_torch_module(cell, case, module, convention, unroll):
    """Return the outputs and canonical gradients of a PyTorch module by name."""
    with torch.no_grad():
        for name, array in CONVENTIONS[convention].from_canonical(cell, case.params).items():
            getattr(module, name).copy_(torch.from_numpy(array))
    given = {
        k: torch.tensor(case[k], requires_grad=True) for k in ("x", *(f"{k}0" for k in cell.state))
    }
    out = unroll(module, *given.values())
    outputs = dict(zip(("y", *(f"{k}T" for k in cell.state)), out, strict=True))
    sum((v * torch.tensor(case[f"d{k}"])).sum() for k, v in outputs.items()).backward()
    gradients = CONVENTIONS[convention].pull_back(
        cell, {k: v.grad.numpy() for k, v in module.named_parameters()}
    )
    got = {k: v.detach().numpy() for k, v in outputs.items()} | {
        f"d{k}": v for k, v in gradients.items()
    }
    return got | {f"d{k}": v.grad.numpy() for k, v in given.items()}


def unroll_layer(module, x, h0, c0=None):
    y, last = module(x, h0[None] if c0 is None else (h0[None], c0[None]))
    return (y, last[0]) if c0 is None else (y, last[0][0], last[1][0])


def unroll_cell(module, x, h, c=None):
    y = []
    for x_t in x:
        h, c = (module(x_t, h), None) if c is None else module(x_t, (h, c))
        y.append(h)
    return (torch.stack(y), h) if c is None else (torch.stack(y), h, c)


@pytest.mark.parametrize(
    ("suffix", "convention", "unroll"),
    [("", "pytorch", unroll_layer), ("Cell", "pytorch-cell", unroll_cell)],
)
@pytest.mark.parametrize("cell", TORCH_CELLS, ids=str)
def test_the_entries_for_pytorch_reproduce_it(cell, suffix, convention, unroll):
    case = draw(cell, SIZES, seed=3, dtype="float64")
    option = {"nonlinearity": cell.activation} if cell.kind == "rnn" else {}
    module = getattr(torch.nn, cell.kind.upper() + suffix)(
        SIZES.D, SIZES.H, dtype=torch.float64, **option
    )
    got, want = (
        run_torch_module(cell, case, module, convention, unroll),
        run(equations(cell), dict(case.arrays)),
    )
    assert got.keys() == want.keys()
    for name in want:
        # Two float64 runs over six contracting steps: some tens of roundings of the largest entry.
        np.testing.assert_allclose(
            got[name], want[name], rtol=0, atol=1e-13 * abs(want[name]).max(), err_msg=name
        )


def test_paddle_has_a_name_for_its_projection_in_the_cell_only():
    paddle = CONVENTIONS["paddle"]
    assert paddle.expresses(LSTM(layers=2, bidirectional=True))
    assert not paddle.expresses(LSTM(projection=3))
    cell, params = LSTM(projection=3), draw_params(LSTM(projection=3))
    spelled = CONVENTIONS["paddle-cell"].from_canonical(cell, params)
    assert {k: v.shape for k, v in spelled.items() if k.startswith("w")} == {
        "weight_ih": (16, 3),
        "weight_hh": (16, 3),
        "weight_ho": (4, 3),
    }
    np.testing.assert_array_equal(spelled["weight_ho"], params["R"])
    np.testing.assert_array_equal(spelled["weight_hh"], params["U"].T)


def test_interleaved_gates_lie_unit_by_unit():
    params = draw_params(LSTM())
    H, W = SIZES.H, CONVENTIONS["chainer"].from_canonical(LSTM(), params)["upward/W"]
    for k, gate in enumerate("gifo"):  # chainer/functions/rnn/lstm.py: a, i, f, o
        np.testing.assert_array_equal(W[k::4], params["W"][:, H * "ifgo".index(gate) :][:, :H].T)
