"""Polynomial formulas in exact rational arithmetic on symbols (python-flint).

Here ``z - z`` is zero. Used for identities and for the coefficients of a mix: intervals alone would
lose that both coefficients depend on one gate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.errors import InputError, MissingExtraError
from gatecheck.oracles.ball_arithmetic import object_array
from gatecheck.oracles.interval_arithmetic import Interval, as_interval

try:
    from flint import Ordering, fmpq, fmpq_mpoly, fmpq_mpoly_ctx
except ImportError as missing:
    raise MissingExtraError(
        'proofs need a python-flint with polynomials: pip install "gatecheck[certified]"'
    ) from missing

_POLYNOMIAL_UFUNCS = {
    np.add,
    np.subtract,
    np.multiply,
    np.negative,
    np.positive,
    np.matmul,
    np.divide,
}


class NotPolynomialError(InputError):
    """A function of a polynomial that is not itself a polynomial."""


class PolynomialArray(np.ndarray[Any, Any]):
    """Array of polynomials; floats combined with them are taken as exact rationals."""

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if ufunc not in _POLYNOMIAL_UFUNCS:
            raise NotPolynomialError(f"{ufunc.__name__} of a polynomial is not a polynomial")
        value = getattr(ufunc, method)(*map(_as_rational, inputs), **kwargs)
        return value.view(type(self)) if isinstance(value, np.ndarray) else value


def _as_rational(value: Any) -> Any:
    if isinstance(value, float | np.floating):
        return fmpq(*float(value).as_integer_ratio())
    return np.asarray(value) if isinstance(value, np.ndarray) else value


def symbol_arrays(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    """Return arrays of distinct symbols of one ring, named like ``U_n_0_1``."""
    places = {
        name: [f"{name}_{'_'.join(map(str, at))}" for at in np.ndindex(shape)]
        for name, shape in shapes.items()
    }
    generators = iter(
        fmpq_mpoly_ctx.get(
            [label for labels in places.values() for label in labels], Ordering.lex
        ).gens()
    )
    return {
        name: object_array([next(generators) for _ in labels], shapes[name]).view(PolynomialArray)
        for name, labels in places.items()
    }


def linear_coefficients(polynomial: Any, *variables: Any) -> tuple[Any, ...] | None:
    """Return the coefficients of a linear form in some symbols.

    They are polynomials in the other symbols; None if the polynomial is not linear in these.
    """
    if not all(isinstance(v, fmpq_mpoly) for v in (polynomial, *variables)) or not all(
        v in v.context().gens() for v in variables
    ):
        return None
    coefficients = tuple(polynomial.derivative(str(v)) for v in variables)
    rest = polynomial - sum(c * v for c, v in zip(coefficients, variables, strict=True))
    return (
        coefficients
        if rest == 0 and not any(c.derivative(str(v)) for c in coefficients for v in variables)
        else None
    )


def bound_polynomial(polynomial: Any, box: Mapping[str, Interval]) -> Interval:
    """Bound a polynomial whose symbols lie in named intervals; others are unbounded."""
    names, total = polynomial.context().names(), as_interval(0)
    anything = Interval(-np.inf, np.inf)
    for powers, coefficient in polynomial.to_dict().items():
        term = as_interval(int(coefficient.p)) / as_interval(int(coefficient.q))
        for name, power in zip(names, powers, strict=True):
            for _ in range(int(power)):
                term = term * box.get(name, anything)
        total = total + term
    return total
