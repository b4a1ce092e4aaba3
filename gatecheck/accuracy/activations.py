"""Accuracy of the sigmoid and tanh inside an implementation's cell.

An activation is seen through one step: where the other gates are 0 or 1 and the weights of this one
the identity, its argument is x and the new state its value, with no rounding between. So a
framework is measured in the code that runs in its cells, vectorized as it is there, which need not
be that of its function of the same name. The arguments cover the whole range.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.accuracy.ulps import quantiles, ulp_errors
from gatecheck.cases import Case
from gatecheck.cells import Cell
from gatecheck.cells.gate_blocks import block
from gatecheck.errors import GatecheckError
from gatecheck.implementation import Subject
from gatecheck.properties.gates import OPEN

DTYPES = ("float32", "float64")

UNITS_PER_ROW = 16
"""Arguments in a row of a batch: whole vectors of float32 on any machine."""

CURVED_BINADES = range(-16, 7)
"""Binades from which half of the sample is drawn.

There sigmoid and tanh are neither constant nor, to many bits, their argument.
"""

REGIONS = ((-math.inf, -8.0), (-8.0, -1.0), (-1.0, 1.0), (1.0, 8.0), (8.0, math.inf))

ARGUMENT_LIMIT = 1000.0
"""Bound beyond which arguments are as good as infinite: sigmoid(-1000) is 1e-435."""

MINIMUM = {"sigmoid": 0.0, "tanh": -1.0}
"""Smallest value of each function; the largest is 1."""


def sample_arguments(dtype: str, sample: int, seed: int) -> Array:
    """Return numbers of either sign from all binades, subnormal ones included.

    They are stratified in each binade, and twice as dense in :data:`CURVED_BINADES`.

    Parameters
    ----------
    dtype
        float32 or float64; also that of the result.
    sample
        Approximate number of arguments: half in :data:`CURVED_BINADES`, half in all binades.
    seed
        Seed of the place of each within its stratum.
    """
    rng, info = np.random.default_rng(seed), np.finfo(np.dtype(dtype))
    everywhere = range(int(info.minexp) - info.nmant, int(info.maxexp))
    parts = []
    for binades in (everywhere, CURVED_BINADES):
        n = max(1, sample // (4 * len(binades)))
        exponents = np.repeat(np.fromiter(binades, int), n)
        strata = np.tile(np.arange(n), len(binades))
        # Truncated, since rounding up would give infinity in the last binade.
        significands = (
            1 + np.floor((strata + rng.random(strata.size)) / n * 2.0**info.nmant) / 2.0**info.nmant
        )
        parts += [np.ldexp(significands, exponents), -np.ldexp(significands, exponents)]
    values = np.concatenate([*parts, [0.0]])
    return np.resize(values, -(-values.size // UNITS_PER_ROW) * UNITS_PER_ROW).astype(dtype)


def exact_values(function: str, x: Array) -> tuple[Array, Array]:
    """Return the exact values of a function as an unevaluated sum of two float64.

    They come from ball arithmetic.

    Raises
    ------
    MissingExtraError
        If python-flint is not installed.
    """
    from gatecheck.oracles.ball_arithmetic import arb, ctx

    nearest, rest = np.empty(x.size), np.empty(x.size)
    with ctx.workprec(160):
        for k, number in enumerate(
            np.clip(x.astype(float), -ARGUMENT_LIMIT, ARGUMENT_LIMIT).ravel().tolist()
        ):
            a = arb(number)
            value = a.tanh() if function == "tanh" else 1 / (1 + (-a).exp())
            nearest[k] = float(value.mid())
            rest[k] = float((value - nearest[k]).mid())
    return nearest.reshape(x.shape), rest.reshape(x.shape)


def _activation_case(subject: Subject, function: str, x: Array) -> tuple[Case, str] | None:
    """Return one step that shows a function of every entry of x ``(B, UNITS)``.

    With it comes the name of the state that shows it; None where the cell has no such window.
    """
    cell, dtype = subject.cell, x.dtype
    if not _is_plain(cell) or subject.sizes:
        return None
    arrays: dict[str, Array] = {
        k: np.zeros(shape) for k, shape in cell.param_shapes(UNITS_PER_ROW, UNITS_PER_ROW).items()
    }
    states = {f"{k}0": np.zeros(x.shape) for k in cell.state}
    state, sign = "hT", 1.0
    if "update_gate" in cell.traits:
        gate = "z" if function == "sigmoid" else "n"
        if gate == "n":
            block(cell, arrays["b"], "z")[...] = OPEN
        elif "z" in subject.convention.layout(cell).negated:
            # The target computes the gate 1 - z = sigmoid(-a): it is h' where h = 1 and n = 0.
            states["h0"], sign = np.ones(x.shape), -1.0
        else:
            block(cell, arrays["b"], "n")[...] = OPEN
    elif "cell_state" in cell.traits:
        gate, other = ("i", "g") if function == "sigmoid" else ("g", "i")
        block(cell, arrays["b"], other)[...] = OPEN
        state = "cT"
    elif cell.activation == function:
        gate = "n"
    else:
        return None
    block(cell, arrays["W"], gate)[...] = sign * np.eye(UNITS_PER_ROW)
    arrays |= {"x": x[None], **states}
    return Case(cell, {k: v.astype(dtype) for k, v in arrays.items()}, {"shows": function}), state


def _is_plain(cell: Cell) -> bool:
    """Return whether a step of the cell shows its activations.

    That takes one layer in one direction, with smooth gates that are not coupled.
    """
    return (
        len(cell.param_suffixes) == 1
        and cell.hard is None
        and not cell.coupled
        and cell.clip is None
    )


def measure_activations(subject: Subject, sample: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield the accuracy of each activation that a cell shows, in each dtype.

    Parameters
    ----------
    subject
        An implementation.
    sample
        Approximate number of arguments.
    seed
        Seed of the arguments.

    Yields
    ------
    dict
        Plain data: see :func:`activation_errors`, or the reason why the step was refused.
    """
    for dtype in (d for d in DTYPES if d in subject.dtypes):
        for function in MINIMUM:
            x = sample_arguments(dtype, sample, seed).reshape(-1, UNITS_PER_ROW)
            if (window := _activation_case(subject, function, x)) is None:
                continue
            case, state = window
            try:
                values = subject.forward(case)[state]
            except GatecheckError as error:
                yield {"function": function, "dtype": dtype, "refused": str(error)}
                continue
            yield {
                "function": function,
                "dtype": dtype,
                **activation_errors(
                    function, x, values, *_cached_exact_values(function, dtype, sample, seed)
                ),
            }


@cache
def _cached_exact_values(function: str, dtype: str, sample: int, seed: int) -> tuple[Array, Array]:
    """Return the exact values at :func:`sample_arguments`."""
    return exact_values(function, sample_arguments(dtype, sample, seed).reshape(-1, UNITS_PER_ROW))


def activation_errors(
    function: str, x: Array, values: Array, nearest: Array, rest: Array
) -> dict[str, Any]:
    """Return errors of values in ulps of their dtype, by region.

    Values whose exact value is subnormal or zero are counted separately.

    Parameters
    ----------
    function
        ``"sigmoid"`` or ``"tanh"``.
    x, values
        Arguments and values, of the same dtype.
    nearest, rest
        The exact values, as :func:`exact_values` returns them.
    """
    dtype = values.dtype.name
    errors = ulp_errors(values, nearest, dtype, rest)
    normal = np.abs(nearest) >= float(np.finfo(values.dtype).smallest_normal)
    finite = np.isfinite(errors)
    bends = (
        normal
        & finite
        & (np.abs(x) >= 2.0 ** CURVED_BINADES[0])
        & (np.abs(x) < 2.0 ** (CURVED_BINADES[-1] + 1))
    )
    worst = np.unravel_index(np.argmax(np.where(normal & finite, errors, -1.0)), errors.shape)
    subnormal = ~normal & finite
    return {
        "values": int(errors.size),
        "lost": int((~finite).sum()),
        "ulps": quantiles(errors[bends]),
        "worst": float(f"{errors[worst]:.4g}"),
        "worst_at": float(x[worst]),
        "regions": [
            {
                "from": _finite_or_none(a),
                "to": _finite_or_none(b),
                **quantiles(errors[normal & finite & (x >= a) & (x < b)]),
            }
            for a, b in REGIONS
        ],
        "outside": int(((values < MINIMUM[function]) | (values > 1)).sum()),
        "subnormal": {
            "values": int(subnormal.sum()),
            "flushed": int((subnormal & (values == 0) & (nearest.astype(values.dtype) != 0)).sum()),
            "worst": float(f"{errors[subnormal].max(initial=0.0):.4g}"),
        },
    }


def _finite_or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
