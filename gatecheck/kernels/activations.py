"""Sigmoid, tanh and relu for kernels.

They are accurate to 2 ulp and safe at every input, and loops over them vectorize. The functions
take scalars inside compiled code and arrays in Python, where they run the same machine code.

NaN stays NaN; infinities give their limits; sigmoid lies in [0, 1] and reaches both ends; tanh lies
in [-1, 1], is odd to the bit and never decreases, while sigmoid decreases by an ulp at some points
between -1 and -ln 2. ``gatecheck prove --every-float32`` proves this for float32.

Real functions take float32 and float64, without branches or calls: an exponential by Cody-Waite
reduction, a polynomial and an exponent written into the bits. Complex functions (complex128) are
the analytic continuations, in formulations whose imaginary part is the derivative to full relative
accuracy when the imaginary step is small, also where the real part has saturated.

The polynomials are near-minimax fits: ``mpmath.chebyfit`` at 60 digits of (e^r - 1 - r)/r² on
±ln(2)/2 and of (tanh(√z)/√z - 1)/z on [0, 0.625²], highest power first.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import intrinsic

from gatecheck._util.typing import Array
from gatecheck.kernels.jit import jit, overload_by_dtype, shared_function
from gatecheck.kernels.simd import assume_no_alias, entry_pointer

TANH, RELU, SIGMOID = 0, 1, 2
ACTIVATION_CODES = {"tanh": TANH, "relu": RELU, "sigmoid": SIGMOID}


def tanh(x: Array) -> Array:
    """Return the hyperbolic tangent of every entry."""
    return _apply(TANH, x)


def relu(x: Array) -> Array:
    """Return the positive part of every entry; by the real part if complex."""
    return _apply(RELU, x)


def sigmoid(x: Array) -> Array:
    """Return the logistic function 1 / (1 + e^-x) of every entry."""
    return _apply(SIGMOID, x)


def _apply(code: int, x: Array) -> Array:
    out = np.array(x, order="C")
    _apply_kernel(code, out.reshape(1, -1))
    return out


@jit
def _apply_kernel(code: int, a: Array) -> None:
    activate(code, a)


def activate(code: int, a: Array) -> None:
    """Apply an activation, by its code, to a C-contiguous matrix in place."""


@shared_function(lambda real: types.void(types.intp, types.CPointer(real), types.intp))
def _activate(code: int, a: Any, count: int) -> None:
    assume_no_alias()
    if code == TANH:
        for j in range(count):
            a[j] = tanh(a[j])
    elif code == SIGMOID:
        for j in range(count):
            a[j] = sigmoid(a[j])
    else:
        for j in range(count):
            a[j] = relu(a[j])


@overload_by_dtype(activate)
def _overload_activate(code: Any, a: Any) -> Any:
    def of_complex(code: Any, a: Any) -> None:
        for i in range(a.shape[0]):
            for j in range(a.shape[1]):
                a[i, j] = (
                    tanh(a[i, j])
                    if code == TANH
                    else sigmoid(a[i, j])
                    if code == SIGMOID
                    else relu(a[i, j])
                )

    if isinstance(a.dtype, types.Complex):
        return of_complex
    activation = _activate.compile_for(a.dtype)
    return lambda code, a: activation(code, entry_pointer(a, 0), a.size)


# ---- real


class _Format(NamedTuple):
    """Constants of the algorithms for one binary floating-point format."""

    real: Any
    integer: Any
    mantissa: int  # explicit bits
    bias: int
    ln2_high: float  # so few bits that its product with an exponent is exact
    ln2_low: float
    exp_underflow: float  # e^-x rounds to 0 from here
    tanh_saturation: float  # tanh rounds to 1 from here
    exp: tuple[float, ...]
    tanh: tuple[float, ...]


_FLOAT32 = _Format(
    real=np.float32,
    integer=np.int32,
    mantissa=23,
    bias=127,
    ln2_high=0.693145751953125,
    ln2_low=1.4286068203094173e-06,
    exp_underflow=120.0,
    tanh_saturation=10.0,
    exp=(
        *(0.00019890990824673654, 0.0013933649996309251, 0.0083333109254809),
        *(0.041666464925285904, 0.16666666681623232, 0.500000001346581),
    ),
    tanh=(
        *(0.002292744816178142, -0.008343945515839153, 0.02176891865102821),
        *(-0.053959259577204544, 0.1333330355691574, -0.3333333317214036),
    ),
)
_FLOAT64 = _Format(
    real=np.float64,
    integer=np.int64,
    mantissa=52,
    bias=1023,
    ln2_high=0.6931471803691238,
    ln2_low=1.9082149292705877e-10,
    exp_underflow=800.0,
    tanh_saturation=20.0,
    exp=(
        *(
            2.510038549551032e-08,
            2.7620088445409746e-07,
            2.7557268459997064e-06,
            2.4801521295954376e-05,
            0.00019841269863053618,
        ),
        *(
            0.0013888888917213717,
            0.008333333333330062,
            0.04166666666662413,
            0.16666666666666669,
            0.5000000000000001,
        ),
    ),
    tanh=(
        *(
            6.485163482793113e-06,
            -3.12011014257974e-05,
            9.257116129556769e-05,
            -0.0002375906496055562,
            0.0005896606577757043,
        ),
        *(
            -0.0014557754120478055,
            0.0035921217511549622,
            -0.008863235103240878,
            0.021869488519008305,
            -0.05396825396789699,
        ),
        *(0.13333333333333042, -0.3333333333333333),
    ),
)


def _reinterpret(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    return builder.bitcast(args[0], context.get_value_type(signature.return_type))


@intrinsic  # type: ignore[untyped-decorator]
def _bits(context: Any, x: Any) -> Any:
    return (types.int32 if x == types.float32 else types.int64)(x), _reinterpret


@intrinsic  # type: ignore[untyped-decorator]
def _from_bits(context: Any, n: Any) -> Any:
    return (types.float32 if n == types.int32 else types.float64)(n), _reinterpret


def _exp(x: float) -> float:
    """Return e^x for -gone <= x <= 2 saturated, with gradual underflow; NaN for NaN."""
    return math.exp(x)


@overload_by_dtype(_exp)
def _overload_exp(x: Any) -> Any:
    f = _FLOAT32 if x == types.float32 else _FLOAT64
    real, integer, mantissa, bias = f.real, f.integer, f.mantissa, f.bias
    # Adding it rounds to a whole number, which is then in the low bits.
    magic = real(1.5 * 2.0**mantissa)
    magic_bits = magic.view(integer)
    log2e, high, low = real(1 / math.log(2)), real(f.ln2_high), real(f.ln2_low)
    first, rest = real(f.exp[0]), tuple(real(c) for c in f.exp[1:])

    def implementation(x: Any) -> Any:
        shifted = x * log2e + magic
        k = shifted - magic
        r = (x - k * high) - k * low
        p = first
        for c in rest:
            p = p * r + c
        # Two factors, because 2^k alone underflows before e^x does.
        n = integer(_bits(shifted) - magic_bits)
        half = integer(n >> 1)
        scale = _from_bits(integer((half + bias) << mantissa))
        scale_rest = _from_bits(integer((n - half + bias) << mantissa))
        return (real(1) + (r + r * r * p)) * scale * scale_rest

    return implementation


@overload_by_dtype(sigmoid)
def _overload_sigmoid(x: Any) -> Any:
    if isinstance(x, types.Complex):
        return _complex_sigmoid
    f = _FLOAT32 if x == types.float32 else _FLOAT64
    one, gone = f.real(1), f.real(f.exp_underflow)

    def implementation(x: Any) -> Any:
        size = abs(x)
        e = _exp(-(gone if size > gone else size))
        value = (e if x < 0 else one) / (one + e)
        # Below -1 without the rounding of 1 + e, which is 0.9 ulp where e is just above 2^-k.
        return e - e * value if x < -one else value

    return implementation


@overload_by_dtype(tanh)
def _overload_tanh(x: Any) -> Any:
    if isinstance(x, types.Complex):
        return _complex_tanh
    f = _FLOAT32 if x == types.float32 else _FLOAT64
    real, sign = f.real, f.integer(np.iinfo(f.integer).min)
    integer, one, two, saturated = f.integer, real(1), real(2), real(f.tanh_saturation)
    edge = real(0.625)  # below it 1 - 2 / (e^2x + 1) cancels
    first, rest = real(f.tanh[0]), tuple(real(c) for c in f.tanh[1:])

    def implementation(x: Any) -> Any:
        size = abs(x)
        size = saturated if size > saturated else size
        square = size * size
        p = first
        for c in rest:
            p = p * square + c
        small = size + size * square * p
        large = one - two / (_exp(two * size) + one)
        value = small if size < edge else large
        return _from_bits(integer(_bits(value) | (_bits(x) & sign)))

    return implementation


@overload_by_dtype(relu)
def _overload_relu(x: Any) -> Any:
    if isinstance(x, types.Complex):
        return lambda x: x if not x.real <= 0 else 0j
    zero = (_FLOAT32 if x == types.float32 else _FLOAT64).real(0)
    return lambda x: zero if x <= 0 else x  # in this order, NaN stays NaN


# ---- complex


def _complex_tanh(x: complex) -> complex:
    # tanh(a + ib) = (t (1 + s²) + i s / cosh²a) / (1 + t² s²) with t = tanh a, s = tan b;
    # 1 / cosh²a without 1 - t², which cancels.
    t, s = tanh(x.real), math.tan(x.imag)  # type: ignore[arg-type]
    e = math.exp(-2 * abs(x.real))
    size = 1 + (t * s) * (t * s)
    return complex(t * (1 + s * s) / size, 4 * e / ((1 + e) * (1 + e)) / size * s)


def _complex_sigmoid(x: complex) -> complex:
    # With w = e^-(|a| + ib'), where b' = b for a > 0 and -b otherwise, sigmoid is 1 / (1 + w) or
    # w / (1 + w); each is multiplied by the conjugate of 1 + w.
    e, c = math.exp(-abs(x.real)), math.cos(x.imag)
    half = math.cos(0.5 * x.imag)
    # |1 + w|² without cancellation near the poles, a = 0 and b = π.
    size = (1 - e) * (1 - e) + 4 * e * half * half
    return complex((e * (e + c) if x.real < 0 else 1 + e * c) / size, e / size * math.sin(x.imag))
