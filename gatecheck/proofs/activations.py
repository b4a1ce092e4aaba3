"""Proofs about σ and tanh of an implementation, on float32 and a float64 sample.

Every float32 result is compared with SciPy's σ and NumPy's tanh in float64, whose errors are
bounded by ball arithmetic on a sample; they are some 2⁻²⁸ of a unit in the last place of float32.
In float64 the comparison is with balls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit

from gatecheck._util.typing import Progress
from gatecheck.errors import UsageError
from gatecheck.oracles.exhaustive_float32 import (
    NUMBER_COUNT,
    Function,
    Sweep,
    draw_float64,
    sweep,
    ulp_errors_by_balls,
)
from gatecheck.proofs.proof import Proof, ProofOutcome

SAMPLE_SIZE = 4000
"""Number of float64 arguments tried, at some 20 μs each."""

REFERENCE_ULPS = 8.0
"""Allowed error in ulps of the float64 values that float32 is compared with.

It is 2⁻²⁶ of an ulp of float32.
"""

DEFAULT_ULPS = 4.0
"""Allowed error in ulps of an implementation that states none.

The rounding budget allows tanh an error of 4 u |tanh|, up to 4 ulp.
"""


class Activation(NamedTuple):
    """Activation in float64, its range, and whether it is odd."""

    function: Function
    low: float
    high: float
    odd: bool


ACTIVATIONS = {
    "sigmoid": Activation(expit, 0.0, 1.0, False),
    "tanh": Activation(np.tanh, -1.0, 1.0, True),
}


def _ball_function(name: str) -> Callable[[Any], Any]:
    from gatecheck.oracles.ball_arithmetic import Ball

    return {"sigmoid": lambda a: Ball(a).sigmoid().value, "tanh": lambda a: Ball(a).tanh().value}[
        name
    ]


def prove_activations(
    activations: Mapping[str, Function],
    *,
    owner: str,
    ulps: float = DEFAULT_ULPS,
    dtypes: tuple[str, ...] = ("float32", "float64"),
    stride: int = 1,
    progress: Progress | None = None,
) -> list[Proof]:
    """Try activations on every float32, or one in `stride`, and a sample of float64.

    Parameters
    ----------
    activations
        ``"sigmoid"`` and ``"tanh"`` by name: functions of a one-dimensional array, entry by entry,
        in its dtype.
    owner
        The name of the implementation in the report.
    ulps
        The allowed error in units in the last place.
    dtypes
        The dtypes in which the implementation computes.
    stride
        1 tries every float32.
    progress
        Called with the number of arguments tried, the total and the name of the activation.

    Raises
    ------
    UsageError
        If an activation has another name, or returns anything but an array like its argument.
    MissingExtraError
        If python-flint is not installed.
    """
    results: list[Proof] = []
    for k, (name, function) in enumerate(activations.items()):
        if name not in ACTIVATIONS:
            raise UsageError(
                f"{owner} has an activation {name!r}, but should have "
                f"{' or '.join(map(repr, ACTIVATIONS))}"
            )

        def tick(done: int, total: int, before: int = k, label: str = name) -> None:
            if progress:
                progress(before * total + done, len(activations) * total, f"{label} of float32")

        for dtype in dtypes:
            _check_result(owner, name, function, dtype)
        if "float32" in dtypes:
            results += _prove_float32(owner, name, function, ulps, stride, tick)
        if "float64" in dtypes:
            results.append(_prove_float64(owner, name, function, ulps))
    return results


def _check_result(owner: str, name: str, function: Function, dtype: str) -> None:
    value = function(np.array([-1.0, 0.0, 0.5], dtype))
    if not isinstance(value, np.ndarray) or value.shape != (3,) or value.dtype != dtype:
        description = (
            f"an array of {value.dtype} and shape {value.shape}"
            if isinstance(value, np.ndarray)
            else f"a {type(value).__name__}"
        )
        raise UsageError(
            f"the {name} of {owner} returned {description} for three numbers of {dtype}, "
            "but should return as many of them"
        )


def _prove_float32(
    owner: str,
    name: str,
    function: Function,
    ulps: float,
    stride: int,
    tick: Callable[[int, int], None],
) -> Iterator[Proof]:
    known = ACTIVATIONS[name]
    reference_ulps = float(
        ulp_errors_by_balls(known.function, _ball_function(name), _draw_float32(SAMPLE_SIZE)).max()
    )
    result = sweep(function, known.function, stride=stride, tick=tick)
    exhaustive = result.n_tried == NUMBER_COUNT
    box = "every float32" if exhaustive else f"one float32 in {stride:,}, {result.n_tried:,} in all"
    success: ProofOutcome = "proved" if exhaustive else "sampled"
    trusted = reference_ulps <= REFERENCE_ULPS
    statement = f"{name} is within {ulps:g} ulp"
    detail = (
        f"at most {result.max_ulps:.4g}, at x = {result.max_ulps_at:.9g}; the float64 "
        f"reference is within "
        f"{reference_ulps:.2g} of its own ulps on a sample"
    )
    accurate = result.max_ulps + reference_ulps * 2.0**-29 <= ulps
    yield Proof(
        owner,
        statement,
        box,
        (success if accurate else "refuted") if trusted else "not proved",
        detail,
    )
    violations = _violations(name, result)
    falls = (
        f"falls by an ulp at {result.n_falls:,} of them, as behind x = {result.max_fall_at:.9g}"
        if result.n_falls
        else "never falls"
    )
    facts = [
        f"{name} lies in [{known.low:g}, {known.high:g}]",
        "never falls by more than an ulp",
        "keeps NaN",
    ]
    statement = ", ".join([*facts, *(["is odd to the bit"] if known.odd else [])])
    yield Proof(
        owner,
        statement,
        box,
        "refuted" if violations else success,
        violations or f"it reaches {result.minimum:g} and {result.maximum:g}, and {falls}",
    )


def _draw_float32(count: int) -> Any:
    """Draw finite numbers of float32, as float64."""
    with np.errstate(over="ignore"):
        x = draw_float64(2 * count).astype(np.float32).astype(np.float64)
    return x[np.isfinite(x)][-count:]


def _violations(name: str, result: Sweep) -> str:
    """Describe the violated statements about an activation, its accuracy aside."""
    low, high, odd = ACTIVATIONS[name][1:]
    violations = [
        f"it reaches {result.minimum:.9g}" if not result.minimum >= low else "",
        f"it reaches {result.maximum:.9g}" if not result.maximum <= high else "",
        f"it falls by {result.max_fall_ulps:g} ulp behind x = {result.max_fall_at:.9g}"
        if result.max_fall_ulps > 1
        else "",
        f"{result.n_lost_nans:,} NaN became numbers" if result.n_lost_nans else "",
        f"{name}(-x) is not -{name}(x) at x = {result.not_odd_at:.9g}"
        if odd and result.not_odd_at is not None
        else "",
    ]
    return "; ".join(filter(None, violations))


def _prove_float64(owner: str, name: str, function: Function, ulps: float) -> Proof:
    x = draw_float64(SAMPLE_SIZE)
    errors = ulp_errors_by_balls(function, _ball_function(name), x)
    worst = int(np.where(np.isnan(errors), np.inf, errors).argmax())
    accurate = bool(errors[worst] <= ulps)
    detail = f"at most {errors[worst]:.4g}, at x = {x[worst]:.17g}, from balls"
    return Proof(
        owner,
        f"{name} is within {ulps:g} ulp",
        f"{SAMPLE_SIZE:,} float64 numbers of every size",
        "sampled" if accurate else "refuted",
        detail,
    )
