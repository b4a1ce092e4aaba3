"""Fixture `problem`: a smooth function, its exact Jacobian, and wrong derivatives."""

from types import SimpleNamespace

import numpy as np
import pytest


def layer(W, x):
    return np.tanh(x @ W)


def layer_jacobian(W, x):
    """Return the Jacobian with rows y[b, k] and columns W[d, k], then x[b, d]."""
    (B, D), K = x.shape, W.shape[1]
    slope = 1 - np.tanh(x @ W) ** 2
    by_W = np.einsum("bk,bd,kj->bkdj", slope, x, np.eye(K)).reshape(B * K, D * K)
    by_x = np.einsum("bk,dk,bc->bkcd", slope, W, np.eye(B)).reshape(B * K, B * D)
    return np.hstack([by_W, by_x])


def layer_vjp(dy, W, x):
    a = dy * (1 - np.tanh(x @ W) ** 2)
    return x.T @ a, a @ W.T


def layer_jvp(tangents, W, x):
    dW, dx = tangents
    return (1 - np.tanh(x @ W) ** 2) * (x @ dW + dx @ W)


def layer_inputs(seed):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (3, 2)), rng.uniform(-1, 1, (2, 3))


def vjp_of(J):
    """Return the vjp of a layer whose Jacobian is `J`."""

    def vjp(dy, W, x):
        flat = dy.ravel() @ J
        return flat[: W.size].reshape(W.shape), flat[W.size :].reshape(x.shape)

    return vjp


def jvp_of(J):
    """Return the jvp of a layer whose Jacobian is `J`."""
    return lambda tangents, W, x: (J @ np.concatenate([t.ravel() for t in tangents])).reshape(
        len(x), -1
    )


def with_wrong_entry(J, seed, columns=slice(None)):
    """Return `J` with one entry off by 1e-6 of itself, and the index of that entry.

    The entry is at least a thousandth of the largest in `columns`.
    """
    size = np.abs(J[:, columns])
    candidates = np.argwhere(size >= 1e-3 * size.max())
    p, i = np.random.default_rng(seed).choice(candidates)
    wrong = J.copy()
    wrong[p, i + (columns.start or 0)] *= 1 + 1e-6
    return wrong, (int(p), int(i) + (columns.start or 0))


@pytest.fixture
def problem():
    return SimpleNamespace(
        fn=layer,
        jacobian=layer_jacobian,
        vjp=layer_vjp,
        jvp=layer_jvp,
        inputs=layer_inputs,
        planted=with_wrong_entry,
        vjp_of=vjp_of,
        jvp_of=jvp_of,
    )
