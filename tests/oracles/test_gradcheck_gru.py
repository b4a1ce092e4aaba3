"""Hand-written GRU with a truncated gradient, a fault that fixed tolerances miss."""

import numpy as np
import pytest

from gatecheck.oracles.gradcheck import gradcheck

T, D, H = 100, 1, 2


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def gru(W, U, b, x, h0):
    """Return y of shape (T, ..., 1, H).

    All arrays but x may have leading axes; those of x follow its first axis.
    """
    h, ys = h0, []
    for x_t in x:
        a, u = x_t @ W + b[..., None, :], h @ U
        r, z = sigmoid(a[..., :H] + u[..., :H]), sigmoid(a[..., H : 2 * H] + u[..., H : 2 * H])
        h = z * np.tanh(a[..., 2 * H :] + r * u[..., 2 * H :]) + (1 - z) * h
        ys.append(h)
    return np.stack(ys)


def gru_vjp(dy, W, U, b, x, h0, truncate=None):
    hs = [h0, *gru(W, U, b, x, h0)]
    grads = {
        name: np.zeros_like(array)
        for name, array in (("W", W), ("U", U), ("b", b), ("x", x), ("h0", h0))
    }
    dh = np.zeros_like(h0)
    for t in reversed(range(len(x))):
        if truncate is not None and t == truncate - 1:
            dh = np.zeros_like(dh)
        dh = dh + dy[t]
        h = hs[t]
        a, u = x[t] @ W + b, h @ U
        r, z = sigmoid(a[:, :H] + u[:, :H]), sigmoid(a[:, H : 2 * H] + u[:, H : 2 * H])
        n = np.tanh(a[:, 2 * H :] + r * u[:, 2 * H :])
        da_n = dh * z * (1 - n**2)
        da_r, da_z = da_n * u[:, 2 * H :] * r * (1 - r), dh * (n - h) * z * (1 - z)
        da, du = np.hstack([da_r, da_z, da_n]), np.hstack([da_r, da_z, da_n * r])
        grads["W"] += x[t].T @ da
        grads["U"] += h.T @ du
        grads["b"] += da.sum(axis=0)
        grads["x"][t] = da @ W.T
        dh = dh * (1 - z) + du @ U.T
    grads["h0"] += dh
    return grads


def slow_gru(seed):
    """Return weights and inputs of a GRU that forgets at about 4 % a step.

    At lag 100 some 1e-2 of the gradient is left.
    """
    rng = np.random.default_rng(seed)
    params = {
        "W": rng.uniform(-0.7, 0.7, (D, 3 * H)),
        "U": rng.uniform(-0.7, 0.7, (H, 3 * H)),
        "b": rng.uniform(-0.7, 0.7, 3 * H),
    }
    params["b"][H : 2 * H] = -3
    return params | {"x": rng.standard_normal((T, 1, D)), "h0": 0.5 * rng.standard_normal((1, H))}


def final_state(**inputs):
    return gru(**inputs)[-1]


def final_state_each(name, entries, values, **inputs):
    changed = np.repeat(inputs[name][None], len(entries), axis=0).astype(values.dtype)
    changed.reshape(len(entries), -1)[np.arange(len(entries)), entries] = values
    return np.broadcast_to(
        final_state(**inputs | {name: changed.swapaxes(0, 1) if name == "x" else changed}),
        (len(entries), 1, H),
    )


def final_state_vjp(dh, *, truncate=None, **inputs):
    dy = np.zeros((T, 1, H))
    dy[-1] = dh
    return gru_vjp(dy, **inputs, truncate=truncate)


@pytest.fixture(scope="module")
def inputs():
    return slow_gru(seed=0)


def truncated_vjp(dh, **inputs):
    return final_state_vjp(dh, **inputs, truncate=T // 2)


def test_the_gradient_at_the_longest_lag_is_not_small(inputs):
    dh0 = final_state_vjp(np.ones((1, H)), **inputs)["h0"]
    assert np.abs(dh0).max() > 1e-3


def test_the_whole_gradient_passes(inputs):
    result = gradcheck(final_state, inputs, final_state_vjp, fn_each=final_state_each)
    assert result.verdict == "pass", result
    assert {name: outcome.verdict for name, outcome in result.oracles.items()} == {
        "finite differences": "pass",
        "complex step": "pass",
        "Taylor": "pass",
        "adjoint": "not applicable",
    }


def test_a_gradient_cut_half_way_is_caught(inputs):
    result = gradcheck(final_state, inputs, truncated_vjp, fn_each=final_state_each)
    assert result.verdict == "fail"
    assert result.oracles["finite differences"].verdict == "fail"
    assert result.oracles["complex step"].verdict == "fail"
    assert any(failure.where.endswith("/ d x[3, 0, 0]") for failure in result.failures)
    assert not any(failure.where.endswith("/ d x[70, 0, 0]") for failure in result.failures)


def test_fixed_tolerances_miss_the_same_cut_where_gates_are_quicker():
    inputs = slow_gru(seed=1)
    inputs["b"][H : 2 * H] = -1
    whole, short = (
        [rule(np.eye(H)[k : k + 1], **inputs) for k in range(H)]
        for rule in (final_state_vjp, truncated_vjp)
    )
    # torch.autograd.gradcheck's defaults, in its own form |a - n| <= atol + rtol |n|.
    misses = all(
        np.allclose(a[name], n[name], atol=1e-5, rtol=1e-3)
        for a, n in zip(short, whole, strict=True)
        for name in inputs
    )
    assert misses
    result = gradcheck(final_state, inputs, truncated_vjp, fn_each=final_state_each)
    assert result.verdict == "fail"
    assert result.oracles["finite differences"].verdict == "fail"
