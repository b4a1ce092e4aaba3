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
    NUMBERS,
    Function,
    Sweep,
    scattered,
    sweep,
    ulps_off,
)
from gatecheck.proofs.proof import Outcome, Proof

SAMPLE = 4000
"""Number of float64 arguments tried, at some 20 μs each."""

FINE = 8.0
"""Allowed error in ulps of the float64 values that float32 is compared with.

It is 2⁻²⁶ of an ulp of float32.
"""

DEFAULT_ULPS = 4.0
"""Allowed error in ulps of an implementation that states none.

The rounding budget allows tanh an error of 4 u |tanh|, up to 4 ulp.
"""


class Known(NamedTuple):
    """Activation in float64, its range, and whether it is odd."""

    exact: Function
    low: float
    high: float
    odd: bool


KNOWN = {"sigmoid": Known(expit, 0.0, 1.0, False), "tanh": Known(np.tanh, -1.0, 1.0, True)}


def _balls(name: str) -> Callable[[Any], Any]:
    from gatecheck.oracles.ball_arithmetic import Ball

    return {"sigmoid": lambda a: Ball(a).sigmoid().value, "tanh": lambda a: Ball(a).tanh().value}[
        name
    ]


def activation_proofs(
    activations: Mapping[str, Function],
    *,
    of: str,
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
    of
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
        if name not in KNOWN:
            raise UsageError(
                f"{of} has an activation {name!r}, but should have {' or '.join(map(repr, KNOWN))}"
            )

        def tick(done: int, total: int, before: int = k, label: str = name) -> None:
            if progress:
                progress(before * total + done, len(activations) * total, f"{label} of float32")

        for dtype in dtypes:
            _check(of, name, function, dtype)
        if "float32" in dtypes:
            results += _in_float32(of, name, function, ulps, stride, tick)
        if "float64" in dtypes:
            results.append(_in_float64(of, name, function, ulps))
    return results


def _check(of: str, name: str, function: Function, dtype: str) -> None:
    value = function(np.array([-1.0, 0.0, 0.5], dtype))
    if not isinstance(value, np.ndarray) or value.shape != (3,) or value.dtype != dtype:
        description = (
            f"an array of {value.dtype} and shape {value.shape}"
            if isinstance(value, np.ndarray)
            else f"a {type(value).__name__}"
        )
        raise UsageError(
            f"the {name} of {of} returned {description} for three numbers of {dtype}, "
            "but should return as many of them"
        )


def _in_float32(
    of: str,
    name: str,
    function: Function,
    ulps: float,
    stride: int,
    tick: Callable[[int, int], None],
) -> Iterator[Proof]:
    known = KNOWN[name]
    reference_ulps = float(ulps_off(known.exact, _balls(name), _within_float32(SAMPLE)).max())
    result = sweep(function, known.exact, stride=stride, tick=tick)
    exhaustive = result.tried == NUMBERS
    box = "every float32" if exhaustive else f"one float32 in {stride:,}, {result.tried:,} in all"
    success: Outcome = "proved" if exhaustive else "sampled"
    trusted = reference_ulps <= FINE
    statement = f"{name} is within {ulps:g} ulp"
    detail = (
        f"at most {result.ulps:.4g}, at x = {result.ulps_at:.9g}; the float64 reference is within "
        f"{reference_ulps:.2g} of its own ulps on a sample"
    )
    accurate = result.ulps + reference_ulps * 2.0**-29 <= ulps
    yield Proof(
        of,
        statement,
        box,
        (success if accurate else "refuted") if trusted else "not proved",
        detail,
    )
    violations = _wrong(name, result)
    falls = (
        f"falls by an ulp at {result.falls:,} of them, as behind x = {result.falls_at:.9g}"
        if result.falls
        else "never falls"
    )
    facts = [
        f"{name} lies in [{known.low:g}, {known.high:g}]",
        "never falls by more than an ulp",
        "keeps NaN",
    ]
    statement = ", ".join([*facts, *(["is odd to the bit"] if known.odd else [])])
    yield Proof(
        of,
        statement,
        box,
        "refuted" if violations else success,
        violations or f"it reaches {result.low:g} and {result.high:g}, and {falls}",
    )


def _within_float32(count: int) -> Any:
    """Draw finite numbers of float32, as float64."""
    with np.errstate(over="ignore"):
        x = scattered(2 * count).astype(np.float32).astype(np.float64)
    return x[np.isfinite(x)][-count:]


def _wrong(name: str, seen: Sweep) -> str:
    """Describe the violated statements about an activation, its accuracy aside."""
    low, high, odd = KNOWN[name][1:]
    violations = [
        f"it reaches {seen.low:.9g}" if not seen.low >= low else "",
        f"it reaches {seen.high:.9g}" if not seen.high <= high else "",
        f"it falls by {seen.fall:g} ulp behind x = {seen.falls_at:.9g}" if seen.fall > 1 else "",
        f"{seen.lost_nans:,} NaN became numbers" if seen.lost_nans else "",
        f"{name}(-x) is not -{name}(x) at x = {seen.not_odd_at:.9g}"
        if odd and seen.not_odd_at is not None
        else "",
    ]
    return "; ".join(filter(None, violations))


def _in_float64(of: str, name: str, function: Function, ulps: float) -> Proof:
    x = scattered(SAMPLE)
    errors = ulps_off(function, _balls(name), x)
    worst = int(np.where(np.isnan(errors), np.inf, errors).argmax())
    accurate = bool(errors[worst] <= ulps)
    detail = f"at most {errors[worst]:.4g}, at x = {x[worst]:.17g}, from balls"
    return Proof(
        of,
        f"{name} is within {ulps:g} ulp",
        f"{SAMPLE:,} float64 numbers of every size",
        "sampled" if accurate else "refuted",
        detail,
    )
