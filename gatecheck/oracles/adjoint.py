"""Adjoint identity <u, J v> = <Jᵀu, v> between a jvp and a vjp, up to rounding."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gatecheck.oracles.flat_function import ignore_overflow, invoke, perturb_ulps
from gatecheck.oracles.flattening import (
    FlatLayout,
    Function,
    Vector,
    check_inputs,
    layout_of,
    parameter_names,
)

UNIT = 2.0**-53
NOISE_MULTIPLE = 8  # the same factor as in the rounding budget
SAMPLES = 8


class AdjointMismatch(NamedTuple):
    """Both sides of the adjoint identity and their difference.

    ``ok`` is true if rounding, bounded by ``tolerance``, explains ``difference``.
    """

    forward_product: float
    backward_product: float
    difference: float
    tolerance: float
    ok: bool


@ignore_overflow
def measure_adjoint_mismatch(
    jvp: Function, vjp: Function, inputs: Any, tangent: Any, cotangent: Any, *, seed: int = 0
) -> AdjointMismatch:
    """Measure the difference between <u, J v> and <Jᵀu, v>.

    Parameters
    ----------
    jvp, vjp
        ``jvp(tangents, *inputs)`` returns J v laid out like the function's result,
        ``vjp(cotangents, *inputs)`` returns Jᵀu laid out like the inputs; a mapping of inputs is
        passed as keywords. None stands for a zero gradient.
    inputs, tangent
        The point and v, laid out alike, float64.
    cotangent
        u, laid out like the function's result.
    seed
        Seed of the last-place changes by which rounding is measured.

    Notes
    -----
    Rounding is measured: both sides are computed at eight points, all but the first with every
    input moved by up to one unit in its last place, which hardly changes J and shuffles the
    rounding. The tolerance is 8 standard deviations plus 8 unit roundoffs of the sum of the
    absolute values of all terms of both sums. Costs 8 calls of each function.

    Raises
    ------
    InputError
        If an array is invalid or the arrays do not fit each other.
    """
    check_inputs(inputs)
    layout = layout_of(inputs, "x", parameter_names(vjp)[1:])
    outputs = layout_of(cotangent, "y")
    x, v = layout.pack(inputs, "inputs"), layout.pack(tangent, "tangent")
    return measure_mismatch(
        jvp,
        vjp,
        layout,
        outputs,
        x,
        v,
        outputs.pack(cotangent, "cotangent"),
        np.random.default_rng(seed),
    )


def measure_mismatch(
    jvp: Function,
    vjp: Function,
    inputs: FlatLayout,
    outputs: FlatLayout,
    x: Vector,
    v: Vector,
    u: Vector,
    rng: np.random.Generator,
) -> AdjointMismatch:
    """Apply :func:`measure_adjoint_mismatch` to flat vectors."""
    sides = np.zeros((SAMPLES, 2))
    terms = 0.0
    for k in range(SAMPLES):
        point = x if k == 0 else perturb_ulps(x, rng)
        forward = u * outputs.pack(invoke(inputs, jvp, point, inputs.unpack(v))[0], "jvp's result")
        backward = v * inputs.pack(
            invoke(inputs, vjp, point, outputs.unpack(u))[0], "vjp's result", optional=True
        )
        sides[k] = forward.sum(), backward.sum()
        terms = max(terms, float(np.abs(forward).sum() + np.abs(backward).sum()))
    left, right = sides[0].tolist()
    if not np.isfinite(sides).all():
        return AdjointMismatch(left, right, float("nan"), 0.0, False)
    difference = sides[:, 0] - sides[:, 1]
    tolerance = NOISE_MULTIPLE * (float(np.std(difference, ddof=1)) + UNIT * terms)
    middle = abs(float(np.median(difference)))
    return AdjointMismatch(left, right, middle, tolerance, middle <= tolerance)
