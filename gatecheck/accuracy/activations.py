"""How accurate an implementation's sigmoid and tanh are over the whole range, as its own cell uses
them.

An activation is seen through one step: where the other gates are 0 or 1 and the weights of this one
the identity, its argument is x and the new state its value, with no rounding between. So a
framework is measured in the code that runs in its cells, vectorised as it is there, which need not
be that of its function of the same name.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.accuracy.ulps import quantiles, ulps
from gatecheck.cases import Case
from gatecheck.cells import Cell
from gatecheck.cells.gate_blocks import block
from gatecheck.errors import GatecheckError
from gatecheck.implementation import Subject
from gatecheck.properties.gates import OPEN

DTYPES = ("float32", "float64")

UNITS = 16
"""How many arguments a row of a batch holds: whole vectors of float32 on any machine."""

BENDS = range(-16, 7)
"""Binades in which sigmoid and tanh are neither constant nor, to many bits, their argument: half of
the sample is there.
"""

REGIONS = ((-math.inf, -8.0), (-8.0, -1.0), (-1.0, 1.0), (1.0, 8.0), (8.0, math.inf))

BEYOND = 1000.0
"""Arguments beyond are as good as infinite: sigmoid(-1000) is 1e-435."""

LEAST = {"sigmoid": 0.0, "tanh": -1.0}
"""The functions, and the least value of each; the largest is 1."""


def arguments(dtype: str, sample: int, seed: int) -> Array:
    """About so many numbers of either sign from all binades, subnormal ones too, stratified in
    each; twice as dense in :data:`BENDS`.

    Parameters
    ----------
    dtype
        float32 or float64, of the result too.
    sample
        Half of them in :data:`BENDS`, half in all.
    seed
        Where in its stratum each lies.
    """
    rng, form = np.random.default_rng(seed), np.finfo(np.dtype(dtype))
    everywhere = range(int(form.minexp) - form.nmant, int(form.maxexp))
    parts = []
    for binades in (everywhere, BENDS):
        n = max(1, sample // (4 * len(binades)))
        exponents = np.repeat(np.fromiter(binades, int), n)
        strata = np.tile(np.arange(n), len(binades))
        # Cut, not rounded, to the bits of the format: what rounds up is infinite in the last
        # binade.
        significands = (
            1 + np.floor((strata + rng.random(strata.size)) / n * 2.0**form.nmant) / 2.0**form.nmant
        )
        parts += [np.ldexp(significands, exponents), -np.ldexp(significands, exponents)]
    found = np.concatenate([*parts, [0.0]])
    return np.resize(found, -(-found.size // UNITS) * UNITS).astype(dtype)


def certain(function: str, x: Array) -> tuple[Array, Array]:
    """The exact values of a function in float64, as the unevaluated sum of two, by ball arithmetic.

    Raises
    ------
    MissingExtraError
        If python-flint is not installed.
    """
    from gatecheck.oracles.ball_arithmetic import arb, ctx

    nearest, rest = np.empty(x.size), np.empty(x.size)
    with ctx.workprec(160):
        for k, number in enumerate(np.clip(x.astype(float), -BEYOND, BEYOND).ravel().tolist()):
            a = arb(number)
            value = a.tanh() if function == "tanh" else 1 / (1 + (-a).exp())
            nearest[k] = float(value.mid())
            rest[k] = float((value - nearest[k]).mid())
    return nearest.reshape(x.shape), rest.reshape(x.shape)


def _window(subject: Subject, function: str, x: Array) -> tuple[Case, str] | None:
    """One step that shows a function of every entry of x ``(B, UNITS)``, and in which state; None
    where the cell has no such window.
    """
    cell, dtype = subject.cell, x.dtype
    if not _is_plain(cell) or subject.sizes:
        return None
    arrays: dict[str, Array] = {
        k: np.zeros(shape) for k, shape in cell.param_shapes(UNITS, UNITS).items()
    }
    states = {f"{k}0": np.zeros(x.shape) for k in cell.state}
    shown, sign = "hT", 1.0
    if "update_gate" in cell.traits:
        gate = "z" if function == "sigmoid" else "n"
        if gate == "n":
            block(cell, arrays["b"], "z")[...] = OPEN
        elif "z" in subject.convention.layout(cell).negated:
            # Its own gate is 1 - z = sigmoid(-a): it is h' where h = 1 and n = 0.
            states["h0"], sign = np.ones(x.shape), -1.0
        else:
            block(cell, arrays["b"], "n")[...] = OPEN
    elif "cell_state" in cell.traits:
        gate, other = ("i", "g") if function == "sigmoid" else ("g", "i")
        block(cell, arrays["b"], other)[...] = OPEN
        shown = "cT"
    elif cell.activation == function:
        gate = "n"
    else:
        return None
    block(cell, arrays["W"], gate)[...] = sign * np.eye(UNITS)
    arrays |= {"x": x[None], **states}
    return Case(cell, {k: v.astype(dtype) for k, v in arrays.items()}, {"shows": function}), shown


def _is_plain(cell: Cell) -> bool:
    """Whether a step of it shows its activations: one layer in one direction, and gates that are
    smooth and apart.
    """
    return len(cell.tags) == 1 and cell.hard is None and not cell.coupled and cell.clip is None


def seen_activations(subject: Subject, sample: int, seed: int) -> Iterator[dict[str, Any]]:
    """The accuracy of each activation that a cell shows, in each of its dtypes, as plain data.

    Parameters
    ----------
    subject
        An implementation.
    sample
        About how many arguments.
    seed
        Of the arguments.
    """
    for dtype in (d for d in DTYPES if d in subject.dtypes):
        for function in LEAST:
            x = arguments(dtype, sample, seed).reshape(-1, UNITS)
            if (window := _window(subject, function, x)) is None:
                continue
            case, shown = window
            try:
                found = subject.forward(case)[shown]
            except GatecheckError as error:
                yield {"function": function, "dtype": dtype, "refused": str(error)}
                continue
            yield {
                "function": function,
                "dtype": dtype,
                **judged(function, x, found, *_certain(function, dtype, sample, seed)),
            }


@cache
def _certain(function: str, dtype: str, sample: int, seed: int) -> tuple[Array, Array]:
    """The exact values at :func:`arguments`, computed once for every implementation."""
    return certain(function, arguments(dtype, sample, seed).reshape(-1, UNITS))


def judged(function: str, x: Array, found: Array, nearest: Array, rest: Array) -> dict[str, Any]:
    """Errors of found values in ulps of their dtype, by region; those whose exact value is
    subnormal or zero stand apart.

    Parameters
    ----------
    function
        ``"sigmoid"`` or ``"tanh"``.
    x, found
        Arguments and values, of the same dtype.
    nearest, rest
        The exact values, as :func:`certain` gives them.
    """
    dtype = found.dtype.name
    off = ulps(found, nearest, dtype, rest)
    normal = np.abs(nearest) >= float(np.finfo(found.dtype).smallest_normal)
    held = np.isfinite(off)
    bends = normal & held & (np.abs(x) >= 2.0 ** BENDS[0]) & (np.abs(x) < 2.0 ** (BENDS[-1] + 1))
    worst = np.unravel_index(np.argmax(np.where(normal & held, off, -1.0)), off.shape)
    small = ~normal & held
    return {
        "values": int(off.size),
        "lost": int((~held).sum()),
        "ulps": quantiles(off[bends]),
        "worst": float(f"{off[worst]:.4g}"),
        "worst_at": float(x[worst]),
        "regions": [
            {"from": _end(a), "to": _end(b), **quantiles(off[normal & held & (x >= a) & (x < b)])}
            for a, b in REGIONS
        ],
        "outside": int(((found < LEAST[function]) | (found > 1)).sum()),
        "subnormal": {
            "values": int(small.sum()),
            "flushed": int((small & (found == 0) & (nearest.astype(found.dtype) != 0)).sum()),
            "worst": float(f"{off[small].max(initial=0.0):.4g}"),
        },
    }


def _end(value: float) -> float | None:
    return value if math.isfinite(value) else None
