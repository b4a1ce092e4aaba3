"""Arithmetics of correct code: ways to compute sigmoid, tanh and sums.

Each is an array type, so that the equations need not change.

The frameworks' sources show which of them uses which, and the errors of their functions were
measured in their cells, as ``gatecheck accuracy`` does (``reports/accuracy/``). In units of
roundoff u: where tanh is 1 to the last bit it is off by 0.25 in PyTorch, NumPy and our kernels, by
3 in XLA and by 8 in ONNX Runtime's GRU, because a quotient of polynomials stops at a number that is
not quite 1; below, by 0.5 to 2, by 5 to 7 and by 8. Sigmoid is off by 1.5 near 1 as 1 / (1 + e^-a),
by 2.6 in ONNX Runtime's GRU and LSTM, and there by 1.6 where it should be 0. What is computed here
stays within that: tanh within 8.5, sigmoid within 4.5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any, ClassVar

import numpy as np
from scipy.special import expit

from gatecheck._util.typing import Array

Function = Callable[[Array], Array]

EXP_THRESHOLD = 0.625
"""Magnitude from which on Cephes and Go use exponentials for tanh.

Below, they would cancel, and code that uses them there is inaccurate near zero.
"""


# ---- tanh


def _exponential_tanh(large: Function) -> Function:
    """Return tanh by a formula where nothing cancels, by the library's below."""

    def tanh(a: Array) -> Array:
        value: Array = np.where(
            np.abs(a) < EXP_THRESHOLD, np.tanh(a), np.copysign(large(np.abs(a)), a)
        )
        return value

    return tanh


def _expm1(a: Array) -> Array:
    e = np.expm1(-2 * np.abs(a))
    value: Array = np.copysign(-e / (e + 2), a)
    return value


@cache
def _lambert_coefficients(dtype: np.dtype[Any]) -> tuple[float, Array]:
    """Return where tanh is 1 in a format, and P, Q of tanh(x) = x P(x²) / Q(x²).

    The coefficients ``(powers, 2)`` have the highest power first, and hold up to that number. They
    are those of the convergent of Lambert's continued fraction x / (1 + x² / (3 + x² / (5 + …))) of
    twice as many terms as that number.
    """
    end = -np.log(np.finfo(dtype).eps / 8) / 2
    previous, current = ([Fraction(0)], [Fraction(1)]), ([Fraction(1)], [Fraction(1)])
    for k in range(2, int(2 * end)):
        step = tuple(
            _add_polynomials([(2 * k - 1) * c for c in b], [Fraction(0), *a])
            for a, b in zip(previous, current, strict=True)
        )
        previous, current = current, (step[0], step[1])
    powers, scale = max(map(len, current)), current[1][0]
    rows = (
        [_to_dtype(dtype, c / scale) for c in _add_polynomials(part, [Fraction(0)] * powers)]
        for part in current
    )
    return float(end), np.array(list(rows)).T[::-1]


def _add_polynomials(a: list[Fraction], b: list[Fraction]) -> list[Fraction]:
    n = max(len(a), len(b))
    return [
        x + y
        for x, y in zip(
            a + [Fraction(0)] * (n - len(a)), b + [Fraction(0)] * (n - len(b)), strict=True
        )
    ]


def _to_dtype(dtype: np.dtype[Any], c: Fraction) -> Any:
    return (
        dtype.type(c.numerator) / dtype.type(c.denominator)
        if dtype == np.longdouble
        else dtype.type(float(c))
    )


def _rational_tanh(a: Array) -> Array:
    end, coefficients = _lambert_coefficients(a.dtype)
    x = np.clip(a, -end, end).astype(a.dtype)
    square = x * x
    both = np.zeros((2, *x.shape), a.dtype)
    for pair in coefficients:
        both = both * square + pair.reshape(2, *[1] * x.ndim)
    value: Array = x * both[0] / both[1]
    return value


TANH: Mapping[str, Function] = {
    # NumPy, and through libm or SLEEF PyTorch, Keras on PyTorch and our kernels
    "library": np.tanh,
    "expm1": _expm1,  # fdlibm and what descends from it
    "1 - 2 / (e^2a + 1)": _exponential_tanh(lambda a: 1 - 2 / (np.exp(2 * a) + 1)),  # Cephes, Go
    "(e^2a - 1) / (e^2a + 1)": _exponential_tanh(
        lambda a: (np.exp(np.minimum(2 * a, 80)) - 1) / (np.exp(np.minimum(2 * a, 80)) + 1)
    ),
    "2 sigma(2a) - 1": _exponential_tanh(lambda a: 2 * (1 / (1 + np.exp(-2 * a))) - 1),
    "polynomials": _rational_tanh,  # Eigen, XLA, ONNX Runtime: theirs are minimax, these Lambert's
}


# ---- sigmoid


def _reciprocal(a: Array) -> Array:
    value: Array = 1 / (1 + np.exp(-a))
    return value


def _exponentials(a: Array) -> Array:
    e = np.exp(-np.abs(a))
    value: Array = np.where(a < 0, e, 1) / (1 + e)
    return value


SIGMOID: Mapping[str, Callable[[Array, Function], Array]] = {
    "1 / (1 + e^-a)": lambda a, _: _reciprocal(a),  # PyTorch, XLA
    "e^a / (1 + e^a) below 0": lambda a, _: _exponentials(a),  # SciPy, our kernels
    "1 - sigma(-a)": lambda a, _: 1 - _reciprocal(-a),  # code that holds the gate's complement
    # ONNX Runtime's recurrent cells, XLA before 2023
    "(1 + tanh(a / 2)) / 2": lambda a, tanh: (1 + tanh(a / 2)) / 2,
}


# ---- sums


def _sum_forwards(terms: Array) -> Array:
    total: Array = np.add.reduce(terms, axis=0)
    return total


def _sum_pairwise(terms: Array) -> Array:
    while len(terms) > 1:
        half = len(terms) // 2
        terms = np.concatenate([terms[:half] + terms[half : 2 * half], terms[2 * half :]])
    return _sum_forwards(terms)


def _sum_lanes(terms: Array) -> Array:
    padding = np.zeros((-len(terms) % 8, *terms.shape[1:]), terms.dtype)
    return _sum_forwards(
        _sum_forwards(np.concatenate([terms, padding]).reshape(-1, 8, *terms.shape[1:]))
    )


@cache
def _permutation(n: int) -> Array:
    return np.random.default_rng(0).permutation(n)


ORDERS: Mapping[str, Function] = {
    "forwards": _sum_forwards,
    "backwards": lambda terms: _sum_forwards(terms[::-1]),
    "pairwise": _sum_pairwise,
    "eight lanes": _sum_lanes,
    "permuted": lambda terms: _sum_forwards(terms[_permutation(len(terms))]),
}
"""Sums of terms along the first axis, by order of addition.

Each product is rounded, and each sum, as they are without fused operations.
"""


@dataclass(frozen=True)
class Arithmetic:
    """A choice of keys of :data:`SIGMOID`, :data:`TANH` and :data:`ORDERS`."""

    sigmoid: str
    tanh: str
    order: str


class ArithmeticArray(np.ndarray[Any, Any]):
    """An array whose functions and sums are computed by one arithmetic.

    The class holds the arithmetic, so every view, slice and stack keeps it.
    """

    arithmetic: ClassVar[Arithmetic]

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        raw = [i.view(np.ndarray) if isinstance(i, ArithmeticArray) else i for i in inputs]
        tanh, total = TANH[self.arithmetic.tanh], ORDERS[self.arithmetic.order]
        if ufunc is expit:
            value = SIGMOID[self.arithmetic.sigmoid](raw[0], tanh)
        elif ufunc is np.tanh:
            value = tanh(raw[0])
        elif ufunc is np.matmul:
            value = total(raw[0].T[:, :, None] * raw[1][:, None, :])
        elif method == "reduce":
            value = total(np.moveaxis(raw[0], kwargs["axis"], 0))
            value = np.expand_dims(value, kwargs["axis"]) if kwargs.get("keepdims") else value
        else:
            value = getattr(ufunc, method)(*raw, **kwargs)
        return value.view(type(self))

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        value = super().__array_function__(func, types, args, kwargs)
        return value.view(type(self)) if isinstance(value, np.ndarray) else value


def arithmetic_array_type(arithmetic: Arithmetic) -> type[ArithmeticArray]:
    """Return the array type of an arithmetic."""
    return type("ArithmeticArray", (ArithmeticArray,), {"arithmetic": arithmetic})
