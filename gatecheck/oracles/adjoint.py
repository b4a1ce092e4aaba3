"""The adjoint identity: <u, J v> = <Jᵀu, v> for a tangent (jvp) and a gradient (vjp) of one
function, up to rounding.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gatecheck.oracles.flattening import (
    Function,
    Layout,
    Vector,
    check_inputs,
    invoke,
    layout_of,
    nudged,
    parameter_names,
    unbounded,
)

UNIT = 2.0**-53
SIGMAS = 8  # as in the rounding budget
REPEATS = 8


class Mismatch(NamedTuple):
    """Both sides of the identity, how far they are apart, and how far rounding may take them;
    ``ok`` if that explains it.
    """

    left: float
    right: float
    mismatch: float
    tolerance: float
    ok: bool


@unbounded
def adjoint_mismatch(
    jvp: Function, vjp: Function, inputs: Any, tangent: Any, cotangent: Any, *, seed: int = 0
) -> Mismatch:
    """How far <u, J v> and <Jᵀu, v> are apart.

    Parameters
    ----------
    jvp, vjp
        ``jvp(tangents, *inputs)`` gives J v laid out like the function's result, ``vjp(cotangents,
        *inputs)`` gives Jᵀu laid out like the inputs; keywords for a mapping of inputs. None stands
        for a zero gradient.
    inputs, tangent
        The point and v, laid out alike, float64.
    cotangent
        u, laid out like the function's result.
    seed
        For the last-place changes by which rounding is measured.

    Notes
    -----
    Rounding is measured: both sides are taken at eight points, all but the first with every input moved by up to one unit in its last
    place, which leaves J alone and shuffles the rounding. The tolerance is 8 standard deviations, and never less than 8 unit roundoffs of
    the sum of the sizes of all terms of both sums. Costs 8 calls of each function.

    Raises
    ------
    InputError
        If the arrays are not what they should be or do not fit each other.
    """
    check_inputs(inputs)
    layout = layout_of(inputs, "x", parameter_names(vjp)[1:])
    outputs = layout_of(cotangent, "y")
    x, v = layout.pack(inputs, "inputs"), layout.pack(tangent, "tangent")
    return mismatch(
        jvp,
        vjp,
        layout,
        outputs,
        x,
        v,
        outputs.pack(cotangent, "cotangent"),
        np.random.default_rng(seed),
    )


def mismatch(
    jvp: Function,
    vjp: Function,
    inputs: Layout,
    outputs: Layout,
    x: Vector,
    v: Vector,
    u: Vector,
    rng: np.random.Generator,
) -> Mismatch:
    """:func:`adjoint_mismatch` on flat vectors."""
    sides = np.zeros((REPEATS, 2))
    terms = 0.0
    for k in range(REPEATS):
        here = x if k == 0 else nudged(x, rng)
        forward = u * outputs.pack(invoke(inputs, jvp, here, inputs.unpack(v))[0], "jvp's result")
        back = v * inputs.pack(
            invoke(inputs, vjp, here, outputs.unpack(u))[0], "vjp's result", optional=True
        )
        sides[k] = forward.sum(), back.sum()
        terms = max(terms, float(np.abs(forward).sum() + np.abs(back).sum()))
    left, right = sides[0].tolist()
    if not np.isfinite(sides).all():
        return Mismatch(left, right, float("nan"), 0.0, False)
    apart = sides[:, 0] - sides[:, 1]
    tolerance = SIGMAS * (float(np.std(apart, ddof=1)) + UNIT * terms)
    middle = abs(float(np.median(apart)))
    return Mismatch(left, right, middle, tolerance, middle <= tolerance)
