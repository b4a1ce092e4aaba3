"""Random rounding errors of the operations of one noisy run.

Half of an error's variance is drawn at every operation, half is *systematic*: drawn once for each
operation of a step and repeated in the next. Where a state creeps, as under an update gate of 1e-7,
real rounding is the same at every step and grows with T, not with √T. It repeats because the same
numbers are rounded, so an entry of a sum or product that has moved by more than an ulp since the
last step gets a new error. A step begins where an array is indexed by an integer, as in ``x[t]``.
The systematic half of an approximated function is itself a smooth function of the argument: units
or steps with nearly the same argument have the same error, and so have all arguments beyond the end
of its range, where XLA's and ONNX Runtime's tanh are constant.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
from scipy.special import expit

from gatecheck._util.typing import Array
from gatecheck.oracles.noise.precision import Precision

N_REPLICATES = 16
"""Number of replicates.

With 8 replicates correct code failed in millions of values, with 16 never.
"""

CORRELATION_WIDTH = 0.125
"""Width of argument intervals with similar errors of an approximated function.

The error of a polynomial changes sign some ten times over the range of sigmoid or tanh.
"""

SATURATION: Mapping[np.ufunc, Callable[[float], float]] = {
    np.tanh: lambda u: math.atanh(1 - 4 * u),
    expit: lambda u: 2 * math.atanh(1 - 4 * u),
}
"""Arguments at which tanh is 1, and sigmoid 0 or 1, to four roundoffs.

Approximations are constant beyond them; XLA's constant is off by 3 roundoffs, that of ONNX
Runtime's GRU by 8.
"""

BLOCK_SIZE = 2**16
"""Number of random numbers drawn at a time."""


@lru_cache(maxsize=32)
def _draw_block(seed: int, block: int) -> Array:
    """Return random numbers of a seed, uniform in ±√½.

    They are the same in every run, so the first ones are drawn once a process.
    """
    return np.random.default_rng((seed, block)).uniform(-math.sqrt(0.5), math.sqrt(0.5), BLOCK_SIZE)


class Noise:
    """Relative errors of one noisy run, each the sum of two parts uniform in ±√½."""

    def __init__(self, precision: Precision, seed: int) -> None:
        self.precision = precision
        self._seed, self._block, self._used = seed, 0, 0
        self._systematic: list[Array] = []
        self._before: list[Array] = []
        self._position = 0
        self._of_argument = {
            function: self._random_numbers(
                N_REPLICATES, math.ceil(end(precision.u) / CORRELATION_WIDTH)
            )
            for function, end in SATURATION.items()
        }

    def begin_step(self) -> None:
        """Mark the next operation as the first of a step."""
        self._position = 0

    def draw_errors(self, values: Array, max_change: Array | float) -> Array:
        """Draw the relative errors of one sum or product.

        Parameters
        ----------
        values, max_change
            The values, and by how much each may have moved since the last step for its systematic
            error to repeat.
        """
        k, shape = self._position, values.shape
        self._position += 1
        systematic, independent = self._random_numbers(2, *shape)
        if k == len(self._systematic):
            self._systematic.append(systematic)
            self._before.append(values)
        else:
            if self._systematic[k].shape == shape:
                moved = values - self._before[k]
                systematic = np.where(
                    np.abs(moved, out=moved) <= max_change, self._systematic[k], systematic
                )
            self._systematic[k], self._before[k] = systematic, values
        both: Array = systematic + independent
        return both

    def draw_function_errors(self, function: np.ufunc, arguments: Array) -> Array:
        """Draw the relative errors of an odd function at arguments ``(REPLICATES, ...)``.

        A function odd about ½ is treated alike.
        """
        errors = self._of_argument[function]
        interval = np.fmin(np.abs(arguments) / CORRELATION_WIDTH, errors.shape[1] - 1).astype(int)
        replicate = np.arange(N_REPLICATES).reshape(-1, *[1] * (arguments.ndim - 1))
        both: Array = errors[replicate, interval] * np.sign(arguments) + self._random_numbers(
            *arguments.shape
        )
        return both

    def _random_numbers(self, *shape: int) -> Array:
        """Return random numbers that were not used before."""
        size = math.prod(shape)
        start, self._used = self._used, self._used + size
        if self._used <= BLOCK_SIZE:
            numbers = _draw_block(self._seed, self._block)[start : self._used]
        else:
            blocks = -(-size // BLOCK_SIZE)
            drawn = [_draw_block(self._seed, self._block + 1 + i) for i in range(blocks)]
            numbers = (drawn[0] if blocks == 1 else np.concatenate(drawn))[:size]
            self._block, self._used = self._block + blocks, size - (blocks - 1) * BLOCK_SIZE
        return numbers.reshape(shape)
