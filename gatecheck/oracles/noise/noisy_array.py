"""An array whose every operation draws its rounding error.

The half-width of an error follows from the operation and its result; sums and matrix products are
random walks of their partial sums.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from scipy.special import expit

from gatecheck._util.typing import Array
from gatecheck.oracles.noise.precision import Precision
from gatecheck.oracles.noise.random_errors import SATURATION, Noise

_EXACT_UFUNCS = {
    np.negative,
    np.absolute,
    np.maximum,
    np.minimum,
    np.greater,
    np.less,
    np.isfinite,
    np.conjugate,
    np.positive,
    np.sign,
}
# In units of u times the result; every other operation is correctly rounded: 1 unit, half an ulp.
_HALF_WIDTHS: Mapping[np.ufunc, float] = {np.tanh: 4.0, np.exp: 2.0}

SQUARES_LIMIT = 1e-280
"""Bound below which, and above whose inverse, sums of squares need scaling."""


class NoisyArray(np.ndarray[Any, Any]):
    """Array whose every operation draws its rounding.

    The class holds the noise, so every view, slice and stack keeps it.
    """

    noise: ClassVar[Noise]
    is_gate = False
    """True if this is the value of a sigmoid or its complement."""
    n_terms = 0
    """Number of products that it is the sum of; 0 if it is anything else."""

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, int):
            self.noise.begin_step()
        return super().__getitem__(index)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        raw = [i.view(np.ndarray) if isinstance(i, NoisyArray) else i for i in inputs]
        value = (
            _matmul(*raw)
            if ufunc is np.matmul and not kwargs
            else getattr(ufunc, method)(*raw, **kwargs)
        )
        terms = (
            [getattr(i, "n_terms", 0) for i in inputs]
            if ufunc is np.add and method == "__call__"
            else [0]
        )
        if ufunc not in _EXACT_UFUNCS and value.dtype.kind == "f":
            noise = self.noise
            width = _half_width(noise.precision, ufunc, method, value, raw, kwargs)
            if ufunc in SATURATION:
                error = noise.draw_function_errors(ufunc, raw[0])
            else:
                if (
                    ufunc is np.multiply
                    and len(gates := [i for i in (0, 1) if getattr(inputs[i], "is_gate", False)])
                    == 1
                ):
                    # Code that stores the complement computes z v as v - (1 - z) v: an absolute
                    # error of u |v| at every use.
                    width = width + noise.precision.u * np.abs(raw[1 - gates[0]])
                elif all(terms):
                    width = np.maximum(
                        width, noise.precision.u * _continued_sum_width(terms, raw, value)
                    )
                error = noise.draw_errors(value, width + width)
            error *= width
            error += value
            value = error
        noisy = value.view(type(self))
        if ufunc is np.matmul:
            noisy.n_terms = raw[0].shape[-1]
        elif all(terms):
            noisy.n_terms = sum(terms)
        elif ufunc is expit or (
            ufunc is np.subtract
            and getattr(inputs[1], "is_gate", False)
            and np.ndim(raw[0]) == 0
            and raw[0] == 1
        ):
            noisy.is_gate = True
        return noisy

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        value = super().__array_function__(func, types, args, kwargs)
        # np.stack and similar functions drop the class, and with it the noise.
        return value.view(type(self)) if isinstance(value, np.ndarray) else value


def _half_width(
    precision: Precision,
    ufunc: np.ufunc,
    method: str,
    value: Array,
    raw: list[Any],
    kwargs: dict[str, Any],
) -> Array:
    """Return the half-width of one operation's rounding error, which is uniform."""
    u, tiny = precision
    if ufunc is np.matmul:
        a, b = raw
        return _matmul_half_width(precision, a, b, value)
    if method == "reduce":
        (a,) = raw
        axis = kwargs.get("axis", 0)
        scale = scale_along(a, axis)
        squares = ((a / scale) ** 2).sum(axis, keepdims=True)
        width = (
            u * scale * _sum_width(a.shape[axis], squares, np.reshape(value, squares.shape) / scale)
        )
        return np.reshape(width, value.shape)
    if ufunc is expit:
        # 1 - sigmoid(-a) and (1 + tanh(a / 2)) / 2 are correct too, so below ½ the error is
        # absolute. Above ½ the error of 1 / (1 + exp(-a)) is 1.5 u: u for the sum, which is above
        # 1, and u / 2 for the quotient; ONNX Runtime's is 2.6 u.
        return np.full_like(value, 2 * u)
    width = np.abs(value)
    width *= u * _HALF_WIDTHS.get(ufunc, 1.0)
    width += tiny
    return width


def _matmul(a: Array, b: Array) -> Array:
    """Return ``a @ b``, in one product where all replicates share b.

    Starting a small product takes as long as computing it.
    """
    if a.ndim > 2 and b.ndim == 2 and a.flags.c_contiguous:
        flat: Array = np.matmul(a.reshape(-1, a.shape[-1]), b)
        return flat.reshape(*a.shape[:-1], b.shape[-1])
    product: Array = np.matmul(a, b)
    return product


def _matmul_half_width(precision: Precision, a: Array, b: Array, value: Array) -> Array:
    """Return the half-width of the error of a matrix product."""
    n, u = a.shape[-1], precision.u
    squares = _matmul(a * a, b * b)
    # Squares of products of normal numbers in single precision are normal in double precision.
    # Those of double precision itself may underflow or overflow.
    if precision.tiny**4 > 0 or (
        squares.min(initial=1) > SQUARES_LIMIT and squares.max(initial=1) < 1 / SQUARES_LIMIT
    ):
        return u * _sum_width(n, squares, value)
    rows, columns = scale_along(a, -1), scale_along(b, -2)
    scale = rows * columns
    width: Array = u * scale * _sum_width(n, (a / rows) ** 2 @ (b / columns) ** 2, value / scale)
    return width


def _sum_width(n: int, squares: Array, value: Array) -> Array:
    """Return √3 times the standard deviation of a sum of n products.

    Its partial sums are a random walk that drifts towards the result.
    """
    if n == 1:
        return np.abs(value)
    width: Array = value * value
    width *= n / 3
    width += squares * (n / 3 + 1)
    return np.sqrt(width, out=width)


def _continued_sum_width(terms: list[int], parts: list[Array], value: Array) -> Array:
    """Return √3 times the standard deviation of a sum that continues another.

    [x, h] times [W; U] is x W + h U in one sum.
    """
    (n, m), (a, b) = terms, parts
    walks = np.maximum(
        m * (a * a + a * value + value * value), n * (b * b + b * value + value * value)
    )
    width: Array = np.sqrt(walks / 3 + value * value)
    return width


def scale_along(a: Array, axis: int) -> Array:
    size: Array = np.abs(a).max(axis, keepdims=True, initial=0)
    return np.where((size > 0) & np.isfinite(size), size, 1.0)
