"""Comparison of a framework's results with our equations.

Every script in this folder runs it, on random, asymmetric weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cases import Case, draw
from gatecheck.cells import Sizes, as_cell
from gatecheck.conventions import CONVENTIONS
from gatecheck.reference import equations, run

SIZES = Sizes(T=6, B=2, D=3, H=5)
"""Sizes that are all distinct, so that no transpose fits.

`draw` leaves nothing zero and no two entries equal.
"""

Compute = Callable[[Case, dict[str, Array]], dict[str, Array]]


def compare_with_reference(
    convention: str, cells: Iterable[str], compute: Compute, version: str, dtype: str = "float32"
) -> None:
    """Print the largest difference in y and the final states, by cell.

    Parameters
    ----------
    convention
        The entry that is compared with its framework.
    cells
        Names of the cells to try.
    compute
        Function from a case and its parameters in the convention to ``y (T, B, H)``, ``hT`` and
        perhaps ``cT`` ``(B, H)``, canonical arrays.
    version
        Version of the framework, to be printed.
    dtype
        The dtype in which the framework computes. Ours are float64 results on the same numbers.

    Raises
    ------
    SystemExit
        If a result is not within 100 roundings of the largest entry.
    """
    bound = 100 * np.finfo(dtype).eps
    for name in cells:
        cell = as_cell(name)
        case = draw(cell, SIZES, seed=7, dtype=dtype)
        expected = {
            k: v
            for k, v in run(equations(cell), case.as_float64()).items()
            if not k.startswith("d")
        }
        actual = compute(case, CONVENTIONS[convention].from_canonical(cell, case.params))
        if actual.keys() != expected.keys() or any(
            actual[k].shape != expected[k].shape for k in expected
        ):
            raise SystemExit(
                f"{convention} {name}: got {[(k, v.shape) for k, v in actual.items()]}"
            )
        error = max(
            float(abs(actual[k] - expected[k]).max() / abs(expected[k]).max()) for k in expected
        )
        print(
            f"{convention:12} {version:18} {name:24} {dtype}  "
            f"{', '.join(expected)}: largest relative difference {error:.1e}"
        )
        if not error < bound:
            raise SystemExit(f"{convention} {name} differs: the entry does not reproduce it")
