"""Values and gradients against PyTorch and complex steps of a naive forward."""

from __future__ import annotations

import numpy as np
import pytest

from gatecheck.cells import CELLS
from gatecheck.cells.gate_blocks import join, split
from gatecheck.kernels import run
from gatecheck.kernels.builtin import KERNEL_CELLS

torch = pytest.importorskip("torch")

ANALYTIC = [cell for cell in KERNEL_CELLS if "analytic" in cell.traits]
TORCH_CELLS = [
    cell
    for cell in KERNEL_CELLS
    if cell.name not in ("gru-before", "rnn-sigmoid", "lstm-peepholes")
]


def results(cell, problem):
    """Return all outputs and gradients of the kernels by name."""
    y, hT, cT, tape = run.forward(cell, *problem.inputs)
    out = {"y": y, "hT": hT} | ({} if cT is None else {"cT": cT})
    return out | {
        f"d{k}": v
        for k, v in run.backward(
            cell, problem.params, tape, problem.dy, problem.dhT, problem.dcT
        ).items()
    }


def run_in_torch(cell, problem):
    """Return the same from torch.nn and autograd.

    PyTorch's z keeps the old state, its weights are transposed, and it has two biases.
    """
    D, H = problem.x.shape[2], problem.h0.shape[1]
    sign = {"z": -1}
    blocks = split(cell, problem.params)
    ours = {name: torch.tensor(array, requires_grad=True) for name, array in blocks.items()}
    x, h0 = (torch.tensor(a, requires_grad=True) for a in (problem.x, problem.h0))
    c0 = None if problem.c0 is None else torch.tensor(problem.c0, requires_grad=True)
    weights = [
        torch.cat([sign.get(k, 1) * ours[f"{name}_{k}"] for k in cell.gates], -1).T
        for name in ("W", "U")
    ]
    b_ih = torch.cat([sign.get(k, 1) * ours[f"b_{k}"] for k in cell.gates])
    b_hh = torch.zeros_like(b_ih)
    if "c_n" in ours:
        b_hh = torch.cat([b_hh[: 2 * H], ours["c_n"]])
    module = {"rnn": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[cell.kind]
    net = module(
        D,
        H,
        dtype=torch.float64,
        **({"nonlinearity": cell.activation} if cell.kind == "rnn" else {}),
    )
    weight_of = dict(
        zip(
            ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"),
            (*weights, b_ih, b_hh),
            strict=True,
        )
    )
    state = h0[None] if c0 is None else (h0[None], c0[None])
    y, last = torch.func.functional_call(net, weight_of, (x, state))
    hT, cT = (last, None) if c0 is None else last
    loss = (y * torch.tensor(problem.dy)).sum() + (hT[0] * torch.tensor(problem.dhT)).sum()
    out = {"y": y, "hT": hT[0]}
    if cT is not None:
        loss = loss + (cT[0] * torch.tensor(problem.dcT)).sum()
        out["cT"] = cT[0]
    loss.backward()
    out = {k: v.detach().numpy() for k, v in out.items()}
    grads = join(cell, {k: v.grad.numpy() for k, v in ours.items()})
    grads |= {k: v.grad.numpy() for k, v in (("x", x), ("h0", h0), ("c0", c0)) if v is not None}
    return out | {f"d{k}": v for k, v in grads.items()}


@pytest.mark.parametrize("sizes", [(6, 3, 4, 5), (1, 1, 1, 1), (40, 2, 3, 17)], ids=str)
@pytest.mark.parametrize("cell", TORCH_CELLS, ids=str)
def test_values_and_gradients_equal_pytorchs(cell, sizes, draw):
    problem = draw(cell, *sizes, scale=0.5)
    got, want = results(cell, problem), run_in_torch(cell, problem)
    assert got.keys() == want.keys()
    for name in want:
        # Two correct float64 runs differ by roundings that up to 40 contracting steps do not
        # amplify: 1e-11 of the largest entry is ample, and far below any error in an equation.
        np.testing.assert_allclose(
            got[name], want[name], rtol=1e-9, atol=1e-11 * abs(want[name]).max(), err_msg=name
        )


@pytest.mark.parametrize("cell", KERNEL_CELLS, ids=str)
def test_float32_is_float64_rounded(cell, draw):
    single = draw(cell, dtype="float32", scale=0.4)
    wide = single._replace(
        **{
            k: None if v is None else v.astype("float64")
            for k, v in single._asdict().items()
            if k != "params"
        },
        params={k: v.astype("float64") for k, v in single.params.items()},
    )
    want = results(cell, wide)
    for name, got in results(cell, single).items():
        assert got.dtype == np.float32, name
        # Six contracting steps: some tens of roundings of 6e-8.
        np.testing.assert_allclose(
            got, want[name], rtol=1e-4, atol=5e-6 * abs(want[name]).max(), err_msg=name
        )


def naive(cell, params, x, h, c):
    """Evaluate the equations step by step, in any dtype."""
    p, y = split(cell, params), []

    def sigmoid(a):
        return 1 / (1 + np.exp(-a))

    for x_t in x:
        a = {k: x_t @ p[f"W_{k}"] + p[f"b_{k}"] for k in cell.gates}
        u = {k: h @ p[f"U_{k}"] for k in cell.gates}
        if cell.kind == "rnn":
            h = {"tanh": np.tanh, "sigmoid": sigmoid, "relu": lambda v: v * (v.real > 0)}[
                cell.activation
            ](a["n"] + u["n"])
        elif cell.kind == "gru":
            r, z = sigmoid(a["r"] + u["r"]), sigmoid(a["z"] + u["z"])
            n = np.tanh(
                a["n"] + (r * (u["n"] + p["c_n"]) if cell.reset == "after" else (r * h) @ p["U_n"])
            )
            h = z * n + (1 - z) * h
        else:
            i, f = (sigmoid(a[k] + u[k] + p.get(f"p_{k}", 0) * c) for k in "if")
            c = f * c + i * np.tanh(a["g"] + u["g"])
            h = sigmoid(a["o"] + u["o"] + p.get("p_o", 0) * c) * np.tanh(c)
        y.append(h)
    return np.array(y), h, c


STEP = 1e-100


def perturb(problem, direction):
    """Return the inputs with an imaginary step along a direction."""
    dparams, *rest = direction
    return (
        {k: v + 1j * STEP * dparams[k] for k, v in problem.params.items()},
        *(
            None if a is None else a + 1j * STEP * d
            for a, d in zip(problem.inputs[1:], rest, strict=True)
        ),
    )


@pytest.mark.parametrize("cell", KERNEL_CELLS, ids=str)
def test_against_the_naive_forward(cell, draw):
    problem = draw(cell)
    got = run.forward(cell, *problem.inputs)
    for ours, theirs in zip(got[:3], naive(cell, *problem.inputs), strict=True):
        if theirs is not None:
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("cell", KERNEL_CELLS, ids=str)
def test_every_gradient_against_complex_steps_of_the_naive_forward(cell, draw):
    problem = draw(cell, T=4, B=2, D=2, H=3)
    got = results(cell, problem)
    given = (
        problem.params
        | {"x": problem.x, "h0": problem.h0}
        | ({} if problem.c0 is None else {"c0": problem.c0})
    )
    for name, array in given.items():
        want = np.empty_like(array)
        for index in np.ndindex(array.shape):
            perturbed = {k: v.astype(complex) for k, v in given.items()}
            perturbed[name][index] += 1j * STEP
            y, hT, cT = naive(
                cell,
                {k: perturbed[k] for k in problem.params},
                perturbed["x"],
                perturbed["h0"],
                perturbed.get("c0"),
            )
            value = (
                (y * problem.dy).sum()
                + (hT * problem.dhT).sum()
                + (0 if cT is None else (cT * problem.dcT).sum())
            )
            want[index] = value.imag / STEP
        np.testing.assert_allclose(
            got[f"d{name}"], want, rtol=1e-11, atol=1e-13 * abs(want).max(), err_msg=name
        )


@pytest.mark.parametrize("cell", ANALYTIC, ids=str)
def test_tangent_is_the_complex_step_of_the_forward(cell, draw):
    problem, direction = draw(cell, T=9), draw(cell, T=9, scale=0.3).inputs
    tape = run.forward(cell, *problem.inputs)[3]
    got = run.tangent(cell, problem.params, tape, *direction)
    stepped = run.forward(cell, *perturb(problem, direction))
    for ours, theirs in zip(got, stepped[:3], strict=True):
        if theirs is not None:
            np.testing.assert_allclose(ours, theirs.imag / STEP, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", KERNEL_CELLS, ids=str)
def test_tangent_and_backward_are_adjoint(cell, dtype, draw):
    problem, direction = (
        draw(cell, T=9, dtype=dtype),
        draw(cell, T=9, dtype=dtype, scale=0.3).inputs,
    )
    tape = run.forward(cell, *problem.inputs)[3]
    outputs = run.tangent(cell, problem.params, tape, *direction)
    grads = run.backward(cell, problem.params, tape, problem.dy, problem.dhT, problem.dcT)
    along = direction[0] | dict(zip(("x", "h0", "c0"), direction[1:], strict=True))
    left = [
        np.float64(a) * b
        for a, b in zip(outputs, (problem.dy, problem.dhT, problem.dcT), strict=True)
        if a is not None
    ]
    right = [np.float64(grads[k]) * v for k, v in along.items() if v is not None]
    scale = sum(abs(v).sum() for v in left + right)
    # Both sides are sums of terms of this total size, each off by tens of roundings of the dtype.
    assert (
        abs(sum(v.sum() for v in left) - sum(v.sum() for v in right))
        < 50 * np.finfo(dtype).eps * scale
    )


@pytest.mark.parametrize("cell", KERNEL_CELLS, ids=str)
@pytest.mark.parametrize("present", ["dy", "dhT", "dcT", "nothing"])
def test_absent_cotangents_are_zero(cell, present, draw):
    problem = draw(cell)
    tape = run.forward(cell, *problem.inputs)[3]
    every = {"dy": problem.dy, "dhT": problem.dhT, "dcT": problem.dcT}
    absent = run.backward(
        cell, problem.params, tape, *(v if k == present else None for k, v in every.items())
    )
    zeros = (
        None if v is None else v if k == present else np.zeros_like(v) for k, v in every.items()
    )
    for name, want in run.backward(cell, problem.params, tape, *zeros).items():
        np.testing.assert_array_equal(absent[name], want, err_msg=name)
        if present == "nothing":
            assert not want.any(), name


@pytest.mark.parametrize("cell", KERNEL_CELLS, ids=str)
def test_absent_states_and_directions_are_zero(cell, draw):
    problem = draw(cell)
    zeros = [None if s is None else np.zeros_like(s) for s in (problem.h0, problem.c0)]
    for keep in (0, 1):
        states = [s if i == keep else None for i, s in enumerate((problem.h0, problem.c0))]
        filled = [s if i == keep else zeros[i] for i, s in enumerate((problem.h0, problem.c0))]
        np.testing.assert_array_equal(
            run.forward(cell, problem.params, problem.x, *states)[0],
            run.forward(cell, problem.params, problem.x, *filled)[0],
        )
    tape = run.forward(cell, *problem.inputs)[3]
    dparams, *rest = draw(cell, scale=0.3).inputs
    # A derivative is linear: the sum over the parts is that of their sum.
    parts = [({k: v}, None, None, None) for k, v in dparams.items()]
    parts += [
        ({}, *(d if i == j else None for j, d in enumerate(rest)))
        for i, r in enumerate(rest)
        if r is not None
    ]
    alone = [run.tangent(cell, problem.params, tape, *part) for part in parts]
    together = run.tangent(cell, problem.params, tape, dparams, *rest)
    for got, want in zip(zip(*alone, strict=True), together, strict=True):
        if want is not None:
            np.testing.assert_allclose(sum(got), want, rtol=1e-12, atol=1e-13)
    assert not run.tangent(cell, problem.params, tape)[0].any()


def test_relu_has_slope_zero_at_zero():
    cell = CELLS["rnn-relu"]
    params = {"W": np.ones((1, 1)), "U": np.ones((1, 1)), "b": np.zeros(1)}
    y, _, _, tape = run.forward(cell, params, np.zeros((2, 1, 1)))
    grads = run.backward(cell, params, tape, np.ones_like(y), None, None)
    assert y.tobytes() == np.zeros((2, 1, 1)).tobytes()
    assert all(not v.any() for v in grads.values())
    assert not run.tangent(cell, params, tape, params)[0].any()
