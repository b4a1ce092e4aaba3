"""Self-checks of a measurement, on the network and inputs that were measured.

Published code went wrong in each of these three ways.
"""

from __future__ import annotations

import math

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell, Params
from gatecheck.decay.jacobians.profile import (
    Profile,
    adjoint_profile,
    identity_block,
    tangent_profile,
)
from gatecheck.decay.result import Integrity
from gatecheck.kernels.run import backward, forward

ADJOINT_STEPS = 1000
"""Most steps over which adjoint and tangent are compared."""

DENSE_STEPS = 3
"""Number of steps of the other checks.

A wrong order of two matrices shows in them, and the dense Jacobians are few.
"""


def check_measurement(cell: Cell, params: Params, x: Array, rng: np.random.Generator) -> Integrity:
    """Compare the adjoint with three independent computations.

    They are the tangent, the backward kernel, and dense Jacobians in the order of time.

    Parameters
    ----------
    cell, params, x
        See :func:`gatecheck.decay.jacobians.profile.adjoint_profile`.
    rng
        Generator of the directions.
    """
    shape = (len(cell.state), 1, params["U"].shape[0])
    u, v = rng.standard_normal(shape), rng.standard_normal(shape)
    return Integrity(
        _adjoint_residual(cell, params, x[:ADJOINT_STEPS], u, v),
        _gradient_residual(cell, params, x[:DENSE_STEPS], u),
        _order_residual(cell, params, x[:DENSE_STEPS], u),
    )


def _true_size_vector(profile: Profile) -> Array:
    """Return the final block at its true size."""
    vector: Array = profile.direction * math.exp(profile.log_norm[-1])
    return vector


def _adjoint_residual(cell: Cell, params: Params, x: Array, u: Array, v: Array) -> float:
    """Return |ln|⟨u, P v⟩| - ln|⟨Pᵀ u, v⟩||.

    The logs are kept apart from the directions, so that nothing underflows.
    """
    tangent, adjoint = tangent_profile(cell, params, x, v), adjoint_profile(cell, params, x, u)
    pushed, pulled = float(np.vdot(u, tangent.direction)), float(np.vdot(adjoint.direction, v))
    if pushed == 0 or pulled == 0:
        return 0.0 if pushed == pulled else math.inf
    if pushed * pulled < 0:
        return math.inf
    return abs(
        math.log(abs(pushed))
        + float(tangent.log_norm[-1])
        - math.log(abs(pulled))
        - float(adjoint.log_norm[-1])
    )


def _gradient_residual(cell: Cell, params: Params, x: Array, u: Array) -> float:
    tape = forward(cell, params, x[:, None, :])[-1]
    gradients = backward(cell, params, tape, None, *(*u, None)[:2])
    kernel = np.stack([gradients[f"{k}0"] for k in cell.state])
    return _relative_difference(_true_size_vector(adjoint_profile(cell, params, x, u)), kernel)


def _order_residual(cell: Cell, params: Params, x: Array, u: Array) -> float:
    n, _, H = u.shape
    size = n * H
    basis = identity_block(n, H)
    state, product = np.zeros((n, H)), np.eye(size)
    for t in range(len(x)):
        step = (
            _true_size_vector(tangent_profile(cell, params, x[t : t + 1], basis, state))
            .transpose(0, 2, 1)
            .reshape(size, size)
        )
        product = step @ product
        _, hT, cT, _ = forward(cell, params, x[t : t + 1, None, :], *(s[None] for s in state))
        state = hT if cT is None else np.concatenate([hT, cT])
    return _relative_difference(
        _true_size_vector(adjoint_profile(cell, params, x, u)),
        (product.T @ u.reshape(size)).reshape(u.shape),
    )


def _relative_difference(a: Array, b: Array) -> float:
    size = float(np.linalg.norm(b))
    return float(np.linalg.norm(a - b)) / size if size > 0 else float(np.linalg.norm(a))
