"""``gradcheck``: is this hand-written gradient the derivative of this function?

Every oracle bounds its own error, and a derivative is wrong if it is further off than that. Errors
are relative to the largest derivative of their block: one output array by one input array, and one
step of each where arrays have three or more axes. So a gradient that fades with the lag is checked
at the longest lag as well as at the shortest.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gatecheck._util.arguments import COUNT, FLAG, FUNCTION, SEED, optional, validate_args
from gatecheck.errors import InputError
from gatecheck.oracles import complex_step, finite_difference
from gatecheck.oracles.comparison import (
    MAX_FAILURES,
    block_maxima,
    check_adjoint,
    check_taylor,
    compare,
    mostly_decided,
    nan_reaches,
)
from gatecheck.oracles.finite_difference import RTOL_GOAL
from gatecheck.oracles.flat_function import (
    MAX_ENTRIES_PER_CALL,
    RESOLUTION,
    FlatFunction,
    ignore_overflow,
)
from gatecheck.oracles.flattening import Function, Matrix, Vector
from gatecheck.oracles.result import GradcheckResult, OracleResult, Verdict, WrongDerivative

N_DIRECTIONS = 3
FAST_RTOL = 1e-7
"""Error allowed relative to the largest derivative of a block in fast mode."""


@validate_args(
    fn=FUNCTION,
    vjp=FUNCTION,
    jvp=optional(FUNCTION),
    fn_each=optional(FUNCTION),
    vjp_each=optional(FUNCTION),
    check_each=FLAG,
    fast=FLAG,
    seed=SEED,
    max_entries=COUNT,
)
@ignore_overflow
def gradcheck(
    fn: Function,
    inputs: Any,
    vjp: Function,
    jvp: Function | None = None,
    *,
    fn_each: Function | None = None,
    vjp_each: Function | None = None,
    check_each: bool = True,
    fast: bool = False,
    seed: int = 0,
    max_entries: int = 2**24,
) -> GradcheckResult:
    """Check a gradient against every oracle that applies.

    Parameters
    ----------
    fn
        Any deterministic function of float64 arrays: ``fn(x)`` for a lone array, ``fn(*inputs)``
        for a sequence, ``fn(**inputs)`` for a mapping. It returns an array or a number, or a
        sequence or mapping of them.
    inputs
        The point: an array, a sequence or a mapping from names; finite, float64, not too near a
        kink of `fn`.
    vjp
        ``vjp(cotangents, *inputs)`` (or ``**inputs``), the gradients of ``sum(cotangents *
        fn(*inputs))``. Cotangents are laid out like fn's result, gradients like the inputs; None
        stands for a zero gradient.
    jvp
        ``jvp(tangents, *inputs)``, the change of fn's result for tangents laid out like the inputs.
        Optional.
    fn_each
        ``fn_each(name, entries, values, *inputs)`` (or ``**inputs``), fn for many inputs at once
        that differ in one entry: entry ``entries[k]``, in C order, of the input `name` is
        ``values[k]``. Its result is laid out like fn's, with an extra leading axis. It replaces
        many calls of `fn` and changes nothing else.
    vjp_each
        ``vjp_each(cotangents, *inputs)``, vjp for many cotangents at once: they and the gradients
        have an extra leading axis.
    check_each
        Compare `fn_each` and `vjp_each` with `fn` and `vjp` at a few entries; False where they call
        these.
    fast
        Compute one plain central difference for each derivative and nothing else: two calls of `fn`
        an input instead of some fifteen. Errors up to 1e-7 of the largest derivative of a block are
        allowed, and `fn` is assumed to be smooth.
    seed
        Seed of random directions; the same seed gives the same result.
    max_entries
        The largest Jacobian, outputs x inputs, to compute; each entry takes some 50 bytes.

    Returns
    -------
    GradcheckResult
        True in a boolean context if and only if the verdict is ``"pass"``.

    Raises
    ------
    InputError
        If the inputs are not finite float64 arrays, fn's result is not finite and real, the
        Jacobian has more than `max_entries`, or `fn_each` computes something other than `fn`. Wrong
        results of `vjp` and `jvp` are findings, not errors.

    Notes
    -----
    With N input and P output entries: P calls of `vjp`; 10 N calls of `fn` if the first step serves
    and a few times that if steps must be searched for; 2 N complex calls if `fn` takes them; some
    500 more for noise and Taylor. Differences of order 8 resolve about 1e-12 of the largest
    derivative of a block for smooth functions, the complex step 1e-15; errors up to 1e-10 of it are
    always allowed, since any code rounds. A derivative that no oracle resolves to 1e-9 of the
    largest in its block is counted as inconclusive.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([0.3, -0.2])
    >>> gradcheck(lambda x: np.tanh(x), x, vjp=lambda dy, x: dy * (1 - np.tanh(x) ** 2)).verdict
    'pass'
    >>> result = gradcheck(lambda x: np.tanh(x), x, vjp=lambda dy, x: dy * (1 - np.tanh(x)))
    >>> result.verdict, result.failures[0].where
    ('fail', 'd y[1] / d x[1]')

    With a mapping: ``gradcheck(lambda W, x: x @ W, {"W": W, "x": x}, lambda dy, W, x: {"W": x.T @
    dy, "x": dy @ W.T})``.
    """
    subject = FlatFunction(fn, inputs, fn_each, check_each=check_each)
    shape = subject.y.size, subject.x.size
    if shape[0] * shape[1] > max_entries:
        raise InputError(
            f"the Jacobian has {shape[0]} x {shape[1]} entries, "
            f"but should have at most max_entries = {max_entries}: "
            "check fewer inputs at a time, or a few sums of the outputs"
        )
    notes: list[str] = []

    def result(
        verdict: Verdict, oracles: dict[str, OracleResult], failures: list[WrongDerivative]
    ) -> GradcheckResult:
        if subject.changed_input:
            notes.append(
                f"an input was written to while being used, first at {subject.changed_input}: "
                "each call got a fresh copy"
            )
        # Where two oracles failed the same entry, the sharper one is reported; single derivatives
        # come before sums of them.
        worst = {
            f.where: f
            for f in sorted(failures, key=lambda f: (not f.oracle.startswith("Taylor"), _excess(f)))
        }
        return GradcheckResult(
            verdict, oracles, tuple([*worst.values()][::-1][:MAX_FAILURES]), tuple(notes), seed
        )

    if 0 in shape:
        notes.append(f"there is nothing to check: the Jacobian has {shape[0]} x {shape[1]} entries")
        return result("inconclusive", {}, [])
    again = np.abs(subject(subject.x) - subject.y)
    if not (again == 0).all():
        p = int(np.argmax(again))
        notes.append(
            f"fn is not deterministic: two calls with the same inputs differ by {again[p]:.2g} "
            f"at {subject.outputs.entry_name(p)}"
        )
        if not again.max() <= RESOLUTION * np.abs(subject.y).max():
            return result("inconclusive", {}, [])
    try:
        analytic = _analytic_jacobian(subject, vjp, vjp_each, check_each, notes)
    except InputError as error:
        notes.append(str(error))
        return result("fail", {}, [])
    if fast:
        notes.append(
            "fast: one central difference for each derivative, whose truncation is not bounded"
        )
        expected, bound = finite_difference.plain_jacobian(subject)
        judged = compare(
            subject,
            analytic,
            expected,
            bound,
            (expected == 0) & (analytic == 0),
            "central differences",
            FAST_RTOL,
        )
        return result(
            judged.outcome.verdict,  # type: ignore[arg-type]
            {"central differences": judged.outcome},
            judged.failures,
        )

    rng = np.random.default_rng(seed)
    noise = np.maximum(finite_difference.estimate_noise(subject, rng), again)
    expected, bound, still = finite_difference.measure_jacobian(subject, noise)
    known_zero = still & (analytic == 0) & ~nan_reaches(subject, still & (analytic == 0))
    differences = compare(subject, analytic, expected, bound, known_zero, "finite differences")
    oracles, failures, decided = (
        {"finite differences": differences.outcome},
        differences.failures,
        differences.decided,
    )
    try:
        exact, rounding = complex_step.measure_jacobian(subject, rng)
        complex_step.reject_contradiction(
            subject, exact, rounding + RTOL_GOAL * block_maxima(subject, exact), expected, bound
        )
        # Differences must resolve each derivative relative to the largest of its two arrays: at a
        # kink, where they do not, a comparison of complex numbers picks one side.
        confirmed = bound <= complex_step.CONFIRMATION_RTOL * block_maxima(
            subject, exact, whole=True
        )
        if not confirmed.any():
            raise complex_step.NotApplicableError(
                "finite differences resolve no derivative well enough "
                "to confirm that fn is complex-analytic"
            )
        known_zero = confirmed & (exact == 0) & (analytic == 0)
        judged = compare(
            subject,
            analytic,
            exact,
            np.where(confirmed, rounding, np.inf),
            known_zero,
            "complex step",
        )
        oracles["complex step"] = judged.outcome
        failures, decided = failures + judged.failures, decided | judged.decided
    except complex_step.NotApplicableError as error:
        oracles["complex step"] = OracleResult("not applicable", str(error))

    directions = complex_step.draw_directions(subject, rng, N_DIRECTIONS)
    oracles["Taylor"], taylor_failures = check_taylor(
        subject, directions, analytic, lambda v: analytic @ v, noise, "Taylor"
    )
    failures += taylor_failures
    if jvp is None:
        oracles["adjoint"] = OracleResult("not applicable", "no jvp was given")
    else:
        taylor_failures = []
        try:
            oracles["Taylor of jvp"], taylor_failures = check_taylor(
                subject,
                directions,
                analytic,
                lambda v: _call_jvp(subject, jvp, v),
                noise,
                "Taylor of jvp",
            )
            oracles["adjoint"] = check_adjoint(subject, jvp, vjp, directions[0], analytic, rng)
        except InputError as error:
            oracles["adjoint"] = OracleResult("fail", str(error), n_failed=1)
        failures += taylor_failures

    if any(outcome.verdict == "fail" for outcome in oracles.values()):
        return result("fail", oracles, failures)
    return result("pass" if mostly_decided(subject, decided) else "inconclusive", oracles, failures)


def _excess(failure: WrongDerivative) -> float:
    far = abs(failure.value - failure.expected) / (failure.error or np.finfo(float).tiny)
    return far if np.isfinite(far) else np.inf


def _analytic_jacobian(
    subject: FlatFunction,
    vjp: Function,
    vjp_each: Function | None,
    check_each: bool,
    notes: list[str],
) -> Matrix:
    """Return the analytic Jacobian: the vjp of every unit cotangent."""
    outputs = subject.y.size
    rows = np.zeros((outputs, subject.x.size))
    singly = [*range(outputs), 0]
    if vjp_each is not None:
        for first in range(0, outputs, most := max(1, MAX_ENTRIES_PER_CALL // subject.x.size)):
            last = min(first + most, outputs)
            cotangents = subject.outputs.unpack_each(np.eye(last - first, outputs, first))
            gradients = subject.call(vjp_each, subject.x, cotangents)
            rows[first:last] = subject.inputs.pack_each(
                gradients, last - first, "vjp_each's gradient", optional=True
            )
        singly = [outputs - 1, 0] if check_each else [0]
    known = np.full(outputs, vjp_each is not None)
    is_other_code = vjp_each is not None and check_each
    for p in singly:
        unit = np.zeros(outputs)
        unit[p] = 1
        cotangent = subject.outputs.unpack(unit)
        row = subject.inputs.pack(
            subject.call(vjp, subject.x, cotangent), "vjp's gradient", optional=True
        )
        if not np.array_equal(subject.outputs.pack(cotangent, "cotangent"), unit):
            _add_note(notes, "vjp writes to its cotangents: each call got a fresh copy")
        forgiven = (
            RESOLUTION * np.abs(np.nan_to_num(rows[p], posinf=0, neginf=0)).max()
            if is_other_code
            else 0.0
        )
        if known[p] and not np.allclose(
            row, rows[p], rtol=RESOLUTION, atol=forgiven, equal_nan=True
        ):
            if is_other_code:
                raise InputError(
                    f"vjp_each and vjp give different gradients of {subject.outputs.entry_name(p)}"
                )
            _add_note(notes, NOT_REPEATABLE)
            continue
        rows[p], known[p] = row, True
    return rows


NOT_REPEATABLE = (
    "vjp gives another gradient when called again with the same cotangent: "
    "it keeps state between calls"
)


def _add_note(notes: list[str], note: str) -> None:
    if note not in notes:
        notes.append(note)


def _call_jvp(subject: FlatFunction, jvp: Function, v: Vector) -> Vector:
    return subject.outputs.pack(
        subject.call(jvp, subject.x, subject.inputs.unpack(v)), "jvp's result"
    )
