"""The σ and tanh of an implementation on every float32, and on float64 where they cannot all be
tried.

Every float32 is compared with SciPy's σ and NumPy's tanh in float64, whose own errors are bounded
by ball arithmetic on a sample; they are some 2⁻²⁸ of a unit in the last place of float32. In
float64 the comparison is with balls.
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
"""Float64 numbers that are tried, at some 20 μs each."""

FINE = 8.0
"""Units in the last place of float64 by which what float32 is compared with may be off: 2⁻²⁶ of one
of float32.
"""

DEFAULT_ULPS = 4.0
"""What an implementation is held to that promises nothing: the rounding budget allows tanh an error
of 4 u |tanh|, up to 4 ulp.
"""


class Known(NamedTuple):
    """What is known of an activation: float64, between what it lies, whether it is odd."""

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
    """Try activations on every float32, or one in so many, and on a sample of float64.

    Parameters
    ----------
    activations
        By name, ``"sigmoid"`` and ``"tanh"``: functions of a one-dimensional array, entry by entry,
        in its dtype.
    of
        Whose they are, for the report.
    ulps
        By how many units in the last place they may be off.
    dtypes
        In which the implementation computes.
    stride
        1 for every float32.
    progress
        Called with how many numbers were tried, of how many, and the name of the activation.

    Raises
    ------
    UsageError
        If there is an activation of another name, or one returns something else than an array like
        its argument.
    MissingExtraError
        If python-flint is not installed.
    """
    found: list[Proof] = []
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
            found += _in_float32(of, name, function, ulps, stride, tick)
        if "float64" in dtypes:
            found.append(_in_float64(of, name, function, ulps))
    return found


def _check(of: str, name: str, function: Function, dtype: str) -> None:
    got = function(np.array([-1.0, 0.0, 0.5], dtype))
    if not isinstance(got, np.ndarray) or got.shape != (3,) or got.dtype != dtype:
        what = (
            f"an array of {got.dtype} and shape {got.shape}"
            if isinstance(got, np.ndarray)
            else f"a {type(got).__name__}"
        )
        raise UsageError(
            f"the {name} of {of} returned {what} for three numbers of {dtype}, but should return as many of them"
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
    fine = float(ulps_off(known.exact, _balls(name), _within_float32(SAMPLE)).max())
    seen = sweep(function, known.exact, stride=stride, tick=tick)
    whole = seen.tried == NUMBERS
    box = "every float32" if whole else f"one float32 in {stride:,}, {seen.tried:,} in all"
    held: Outcome = "proved" if whole else "sampled"
    trusted = fine <= FINE
    says = f"{name} is within {ulps:g} ulp"
    detail = f"at most {seen.ulps:.4g}, at x = {seen.ulps_at:.9g}, from float64 that is within {fine:.2g} ulp of its own of balls on a sample"
    close = seen.ulps + fine * 2.0**-29 <= ulps
    yield Proof(of, says, box, (held if close else "refuted") if trusted else "not proved", detail)
    wrong = _wrong(name, seen)
    falls = (
        f"falls by an ulp at {seen.falls:,} of them, as behind x = {seen.falls_at:.9g}"
        if seen.falls
        else "never falls"
    )
    facts = [
        f"{name} lies in [{known.low:g}, {known.high:g}]",
        "never falls by more than an ulp",
        "keeps NaN",
    ]
    says = ", ".join([*facts, *(["is odd to the bit"] if known.odd else [])])
    yield Proof(
        of,
        says,
        box,
        "refuted" if wrong else held,
        wrong or f"it reaches {seen.low:g} and {seen.high:g}, and {falls}",
    )


def _within_float32(count: int) -> Any:
    """Numbers of float32 as float64."""
    with np.errstate(over="ignore"):
        x = scattered(2 * count).astype(np.float32).astype(np.float64)
    return x[np.isfinite(x)][-count:]


def _wrong(name: str, seen: Sweep) -> str:
    """What does not hold of an activation, beside its accuracy."""
    low, high, odd = KNOWN[name][1:]
    says = [
        f"it reaches {seen.low:.9g}" if not seen.low >= low else "",
        f"it reaches {seen.high:.9g}" if not seen.high <= high else "",
        f"it falls by {seen.fall:g} ulp behind x = {seen.falls_at:.9g}" if seen.fall > 1 else "",
        f"{seen.lost_nans:,} NaN became numbers" if seen.lost_nans else "",
        f"{name}(-x) is not -{name}(x) at x = {seen.not_odd_at:.9g}"
        if odd and seen.not_odd_at is not None
        else "",
    ]
    return "; ".join(filter(None, says))


def _in_float64(of: str, name: str, function: Function, ulps: float) -> Proof:
    x = scattered(SAMPLE)
    errors = ulps_off(function, _balls(name), x)
    worst = int(np.where(np.isnan(errors), np.inf, errors).argmax())
    held = bool(errors[worst] <= ulps)
    detail = f"at most {errors[worst]:.4g}, at x = {x[worst]:.17g}, from balls"
    return Proof(
        of,
        f"{name} is within {ulps:g} ulp",
        f"{SAMPLE:,} float64 numbers of every size",
        "sampled" if held else "refuted",
        detail,
    )
