"""Derivatives by the complex step, Im f(x + i h) / h.

There is no difference, so no cancellation (Squire & Trapp 1998; Martins et al. 2003). The method
holds for complex-analytic functions that keep complex numbers throughout. A function that takes a
modulus, casts to real or refuses complex input is detected by its exception, by NumPy's
ComplexWarning, or because finite differences contradict the result.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from gatecheck.errors import InputError
from gatecheck.oracles import finite_difference
from gatecheck.oracles.flat_function import FlatFunction, perturb_ulps
from gatecheck.oracles.flattening import Function, Matrix, Vector

STEP = 1e-200
UNIT = 2.0**-53
# A dropped imaginary part loses a whole term, not a millionth, so differences this accurate
# suffice to confirm that none was dropped.
CONFIRMATION_RTOL = 1e-3


class NotApplicableError(InputError):
    """The complex step does not apply to this function, for the reason in the message."""


@contextmanager
def _complex_calls() -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            yield
    except np.exceptions.ComplexWarning as error:
        raise NotApplicableError(
            "fn casts complex numbers to real ones and so drops the imaginary part"
        ) from error
    except Exception as error:
        message = " ".join(str(error).split())
        raise NotApplicableError(
            f"fn does not take complex arrays, it raised {type(error).__name__}: {message[:100]}"
        ) from error


def derivative_along(subject: FlatFunction, direction: Vector, h: float = STEP) -> Vector:
    """Return the derivative of every output along the flat `direction`.

    Raises
    ------
    DoesNotApply
        If the function refuses complex arrays or casts them to real ones.
    """
    with _complex_calls():
        value = subject.call(subject.fn, subject.x + 1j * h * direction)
        return np.asarray(subject.outputs.pack(value, "fn's result", np.complex128).imag / h)


def measure_jacobian(
    subject: FlatFunction, rng: np.random.Generator, h: float = STEP
) -> tuple[Matrix, Matrix]:
    """Return the unconfirmed Jacobian and its rounding, each ``(outputs, inputs)``.

    The Jacobian is computed twice, the second time with every input moved by up to one unit in its
    last place. The bound is 8 times the root mean square difference of the two over a block: it
    grows with the condition of the function, as any code's rounding does.
    """
    nearby = perturb_ulps(subject.x, rng)
    every = np.arange(subject.x.size)
    with _complex_calls():
        value, near = (
            (subject.call_replaced(every, x + 1j * h, x).imag / h).T.copy()
            for x in (subject.x, nearby)
        )
    difference = near - value
    rows, columns = subject.outputs.starts, subject.inputs.starts
    heights, widths = np.diff(rows, append=subject.y.size), np.diff(columns, append=subject.x.size)
    square = np.add.reduceat(
        np.add.reduceat(difference**2, rows, axis=0), columns, axis=1
    ) / np.outer(heights, widths)
    error = finite_difference.NOISE_MULTIPLE * np.repeat(
        np.repeat(np.sqrt(square), heights, axis=0), widths, axis=1
    )
    return value, error + 4 * UNIT * np.abs(value)


def jacobian(fn: Function, inputs: Any, h: float = STEP, *, seed: int = 0) -> tuple[Matrix, Matrix]:
    """Return every derivative of `fn` by the complex step, with a rounding bound.

    Parameters
    ----------
    fn
        See :func:`gatecheck.oracles.finite_difference.jacobian`; also called with complex128
        arrays.
    inputs
        Finite float64 arrays.
    h
        The imaginary step; a larger one helps only if its products underflow.
    seed
        Seed of the last-place changes and of the directions along which finite differences confirm
        the result.

    Returns
    -------
    J, error : ndarray
        Float64, ``(outputs, inputs)``, laid out as by
        :func:`gatecheck.oracles.finite_difference.jacobian`.

    Raises
    ------
    DoesNotApply
        If `fn` does not take complex arrays, drops imaginary parts, or is not complex-analytic, as
        finite differences along random directions show. It is an
        :class:`~gatecheck.errors.InputError`.
    InputError
        If the inputs or the function's result are invalid.

    Notes
    -----
    Costs two complex calls of `fn` for every input entry and some 100 real ones.

    Examples
    --------
    >>> import numpy as np
    >>> J, error = jacobian(np.sin, np.array([0.5]))
    >>> bool(abs(J[0, 0] - np.cos(0.5)) < 1e-16)
    True
    """
    subject = FlatFunction(fn, inputs)
    rng = np.random.default_rng(seed)
    value, error = measure_jacobian(subject, rng, h)
    for v in draw_directions(subject, rng, 3):
        confirm_analytic(subject, v, value @ v, error @ np.abs(v), np.abs(value) @ np.abs(v), rng)
    return value, error


def directional(
    fn: Function, inputs: Any, direction: Any, h: float = STEP, *, seed: int = 0
) -> Any:
    """Return the derivative of `fn` along `direction` by one complex step.

    `direction` is laid out like the inputs, the derivative like fn's result. Parameters, errors and
    the confirmation by finite differences are those of :func:`jacobian`.
    """
    subject = FlatFunction(fn, inputs)
    v = subject.inputs.pack(direction, "direction")
    value = derivative_along(subject, v, h)
    confirm_analytic(
        subject, v, value, np.zeros_like(value), np.abs(value), np.random.default_rng(seed)
    )
    return subject.outputs.unpack(value)


def draw_directions(subject: FlatFunction, rng: np.random.Generator, count: int) -> list[Vector]:
    """Draw directions that move every input, by half to all of its array's size."""
    n = subject.x.size
    return [
        subject.input_scales() * rng.choice([-1.0, 1.0], n) * rng.uniform(0.5, 1, n)
        for _ in range(count)
    ]


def confirm_analytic(
    subject: FlatFunction,
    v: Vector,
    value: Vector,
    error: Vector,
    size: Vector,
    rng: np.random.Generator,
) -> None:
    """Raise :class:`NotApplicableError` unless finite differences agree with `value`.

    They are taken along `v`; `size` is the size of the terms in `value`.
    """
    best = finite_difference.derivative_along(
        subject, v, finite_difference.estimate_noise(subject, rng)
    )
    expected, bound = best.value[0], best.error[0]
    reject_contradiction(
        subject, value, error + finite_difference.RTOL_GOAL * size, expected, bound
    )
    accurate = bound <= CONFIRMATION_RTOL * np.maximum(size, np.abs(expected))
    for p in np.flatnonzero(~accurate & ~best.unchanged[0])[:1]:
        raise NotApplicableError(
            f"finite differences are too noisy at {subject.outputs.entry_name(int(p))} "
            "to confirm that fn is complex-analytic"
        )


def reject_contradiction(
    subject: FlatFunction, value: Matrix, error: Matrix, expected: Matrix, bound: Matrix
) -> None:
    """Raise an error if finite differences contradict the complex step."""
    with np.errstate(invalid="ignore"):
        wrong = np.argwhere(np.isfinite(bound) & ~(np.abs(value - expected) <= error + bound))
    for at in wrong[:1]:
        where = (
            "d "
            + subject.outputs.entry_name(int(at[0]))
            + (" / d " + subject.inputs.entry_name(int(at[1])) if at.size > 1 else "")
        )
        raise NotApplicableError(
            f"fn is not complex-analytic or drops the imaginary part: {where} is "
            f"{value[tuple(at)]:.6g} by the complex step, but should be "
            f"{expected[tuple(at)]:.6g} ± {bound[tuple(at)]:.1g} by finite differences"
        )
