"""Saved parameters of Flax, Equinox and Haiku, under the names that JAX gives."""

from __future__ import annotations

import numpy as np
import pytest

from gatecheck.cells import as_cell
from gatecheck.conventions import CONVENTIONS
from gatecheck.weights import load

D, H = 3, 4


@pytest.mark.parametrize(
    ("name", "cell", "mark"),
    [("rnn", "SimpleCell", "/"), ("gru", "GRUCell", "."), ("lstm", "LSTMCell", "keystr")],
)
def test_a_layer_of_flax(
    tmp_path, name, cell, mark, make_case, assert_same_weights, compute_outputs
):
    linen, jax = pytest.importorskip("flax.linen"), pytest.importorskip("jax")
    case = make_case(name, "float32")
    module = linen.RNN(getattr(linen, cell)(H), name="enc")
    x = np.swapaxes(case["x"], 0, 1)
    variables = module.init(jax.random.key(0), x)
    leaves = jax.tree_util.tree_flatten_with_path(variables)
    arrays = {
        f"params/cell/{k}": a
        for k, a in CONVENTIONS["flax"].from_canonical(case.cell, case.params).items()
    }
    paths = ["/".join(key.key for key in path) for path, _ in leaves[0]]
    y = module.apply(jax.tree_util.tree_unflatten(leaves[1], [arrays[p] for p in paths]), x)
    write = {
        "/": lambda p: p,
        ".": lambda p: p.replace("/", "."),
        "keystr": lambda p: "".join(f"['{k}']" for k in p.split("/")),
    }[mark]
    np.savez(tmp_path / "p.npz", **{write(p): arrays[p] for p in paths})
    layer = load(tmp_path / "p.npz")
    assert (layer.label, layer.convention) == ("params.cell", "flax")
    assert_same_weights(layer, case)
    np.testing.assert_allclose(compute_outputs(layer, case["x"]), np.swapaxes(y, 0, 1), atol=3e-5)


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_a_cell_of_equinox(tmp_path, name, make_case, compute_outputs):
    eqx, jax = pytest.importorskip("equinox"), pytest.importorskip("jax")
    cell = getattr(eqx.nn, f"{name.upper()}Cell")(3, 4, key=jax.random.key(1))
    leaves = jax.tree_util.tree_flatten_with_path(eqx.filter(cell, eqx.is_array))[0]
    np.savez(
        tmp_path / "p.npz",
        **{"net" + jax.tree_util.keystr(path): np.asarray(a) for path, a in leaves},
    )
    layer = load(tmp_path / "p.npz")
    assert (layer.label, layer.convention, layer.cell) == ("net", "equinox", as_cell(name))
    x, state = make_case(name, "float32")["x"][:2, 0], jax.numpy.zeros(4)
    step = jax.jit(lambda x_t, state: cell(x_t, state))
    state = step(x[1], step(x[0], (state, state) if name == "lstm" else state))
    np.testing.assert_allclose(
        compute_outputs(layer, x[:, None])[-1, 0], state[0] if name == "lstm" else state, atol=3e-5
    )


@pytest.mark.parametrize(
    ("label", "core", "cell"),
    [
        ("lstm", "LSTM", "lstm"),
        ("vanilla_rnn", "VanillaRNN", "rnn-relu"),
        ("gru", "GRU", "gru-before"),
    ],
)
def test_haiku_run_time_bias_is_added(tmp_path, label, core, cell, make_case, compute_outputs):
    hk, jax = pytest.importorskip("haiku"), pytest.importorskip("jax")
    x = make_case(cell, "float32")["x"][:1]

    def first(x_t):
        module = getattr(hk, core)(4)
        return module(x_t, module.initial_state(2))[0]

    net = hk.without_apply_rng(hk.transform(first))
    shapes = jax.eval_shape(net.init, jax.random.key(2), x[0])
    rng = np.random.default_rng(0)
    params = jax.tree_util.tree_map(lambda a: rng.uniform(-1, 1, a.shape).astype("float32"), shapes)
    np.savez(
        tmp_path / "p.npz",
        **{f"{module}/{k}": a for module, own in params.items() for k, a in own.items()},
    )
    layer = load(tmp_path / "p.npz")
    assert (layer.label, layer.convention, layer.cell) == (label, "haiku", as_cell(cell))
    assert ("1 was added to the bias of its forget gate" in " ".join(layer.notes)) == (
        core == "LSTM"
    )
    np.testing.assert_allclose(
        compute_outputs(layer, x)[0], jax.jit(net.apply)(params, x[0]), atol=3e-5
    )
