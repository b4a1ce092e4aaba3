"""Derivatives by the complex step, Im f(x + i h) / h: no difference, so no cancellation (Squire &
Trapp 1998; Martins et al. 2003).

It holds for complex-analytic functions that carry complex numbers all the way. One that takes a
modulus, casts to real or refuses complex input is found out, by its exception, by NumPy's
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
from gatecheck.oracles.flattening import Function, Matrix, Subject, Vector, nudged

STEP = 1e-200
UNIT = 2.0**-53
# A dropped imaginary part loses a whole term, not a millionth: differences this good suffice to
# confirm that none was dropped.
CONFIRMS = 1e-3


class DoesNotApply(InputError):
    """The complex step says nothing about this function; the message says why."""


@contextmanager
def _taking_complex() -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            yield
    except np.exceptions.ComplexWarning as error:
        raise DoesNotApply(
            "fn casts complex numbers to real ones and so drops the imaginary part"
        ) from error
    except Exception as error:
        said = " ".join(str(error).split())
        raise DoesNotApply(
            f"fn does not take complex arrays, it raised {type(error).__name__}: {said[:100]}"
        ) from error


def step(subject: Subject, direction: Vector, h: float = STEP) -> Vector:
    """The derivative of every output along the flat `direction`.

    Raises
    ------
    DoesNotApply
        If the function refuses complex arrays or casts them to real ones.
    """
    with _taking_complex():
        value = subject.call(subject.fn, subject.x + 1j * h * direction)
        return np.asarray(subject.outputs.pack(value, "fn's result", np.complex128).imag / h)


def measure(subject: Subject, rng: np.random.Generator, h: float = STEP) -> tuple[Matrix, Matrix]:
    """The whole Jacobian and the rounding in it, unconfirmed; each ``(outputs, inputs)``.

    The Jacobian is taken twice, the second time with every input moved by up to one unit in its
    last place. How far the two are apart in the root mean square over a block, times 8, is the
    bound: it grows with the function's own conditioning, as anyone's rounding does.
    """
    nearby = nudged(subject.x, rng)
    every = np.arange(subject.x.size)
    with _taking_complex():
        value, near = (
            (subject.replaced(every, x + 1j * h, x).imag / h).T.copy() for x in (subject.x, nearby)
        )
    apart = near - value
    rows, columns = subject.outputs.starts, subject.inputs.starts
    heights, widths = np.diff(rows, append=subject.y.size), np.diff(columns, append=subject.x.size)
    square = np.add.reduceat(np.add.reduceat(apart**2, rows, axis=0), columns, axis=1) / np.outer(
        heights, widths
    )
    error = finite_difference.SIGMAS * np.repeat(
        np.repeat(np.sqrt(square), heights, axis=0), widths, axis=1
    )
    return value, error + 4 * UNIT * np.abs(value)


def jacobian(fn: Function, inputs: Any, h: float = STEP, *, seed: int = 0) -> tuple[Matrix, Matrix]:
    """Every derivative of `fn` by the complex step, and a bound on the rounding in each.

    Parameters
    ----------
    fn
        As for :func:`gatecheck.oracles.finite_difference.jacobian`; it is also called with
        complex128 arrays.
    inputs
        Finite float64 arrays.
    h
        The imaginary step; nothing is gained from a larger one unless its products underflow.
    seed
        For the last-place changes and for the directions along which finite differences confirm the
        result.

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
        If the inputs or the function's result are not what they should be.

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
    subject = Subject(fn, inputs)
    rng = np.random.default_rng(seed)
    value, error = measure(subject, rng, h)
    for v in directions(subject, rng, 3):
        confirm(subject, v, value @ v, error @ np.abs(v), np.abs(value) @ np.abs(v), rng)
    return value, error


def directional(
    fn: Function, inputs: Any, direction: Any, h: float = STEP, *, seed: int = 0
) -> Any:
    """The derivative of `fn` along `direction`, laid out like the inputs, by one complex step; laid
    out like fn's result.

    Parameters, errors and the confirmation by finite differences are those of :func:`jacobian`.
    """
    subject = Subject(fn, inputs)
    v = subject.inputs.pack(direction, "direction")
    value = step(subject, v, h)
    confirm(subject, v, value, np.zeros_like(value), np.abs(value), np.random.default_rng(seed))
    return subject.outputs.unpack(value)


def directions(subject: Subject, rng: np.random.Generator, count: int) -> list[Vector]:
    """Random directions in which every input moves, by half to all of its array's size."""
    n = subject.x.size
    return [
        subject.scales() * rng.choice([-1.0, 1.0], n) * rng.uniform(0.5, 1, n) for _ in range(count)
    ]


def confirm(
    subject: Subject,
    v: Vector,
    value: Vector,
    error: Vector,
    size: Vector,
    rng: np.random.Generator,
) -> None:
    """Raise :class:`DoesNotApply` unless finite differences along `v` agree with `value`; `size` is
    that of the terms in it.
    """
    best = finite_difference.along(subject, v, finite_difference.noise_level(subject, rng))
    expected, bound = best.value[0], best.error[0]
    refute(subject, value, error + finite_difference.GOAL * size, expected, bound)
    seen = bound <= CONFIRMS * np.maximum(size, np.abs(expected))
    for p in np.flatnonzero(~seen & ~best.still[0])[:1]:
        raise DoesNotApply(
            f"finite differences are too noisy at {subject.outputs.place(int(p))} to confirm that fn is complex-analytic"
        )


def refute(subject: Subject, value: Matrix, error: Matrix, expected: Matrix, bound: Matrix) -> None:
    """Raise :class:`DoesNotApply` where finite differences, within their bound, contradict the
    complex step.
    """
    with np.errstate(invalid="ignore"):
        wrong = np.argwhere(np.isfinite(bound) & ~(np.abs(value - expected) <= error + bound))
    for at in wrong[:1]:
        where = (
            "d "
            + subject.outputs.place(int(at[0]))
            + (" / d " + subject.inputs.place(int(at[1])) if at.size > 1 else "")
        )
        raise DoesNotApply(
            f"fn is not complex-analytic or drops the imaginary part: {where} is {value[tuple(at)]:.6g} by the complex step, "
            f"but should be {expected[tuple(at)]:.6g} ± {bound[tuple(at)]:.1g} by finite differences"
        )
