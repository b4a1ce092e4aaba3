"""What every script here does: a framework's results on random, asymmetric weights against our
equations.
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
"""All distinct, so that no transpose fits; and `draw` leaves nothing zero and no two entries equal.
"""

Compute = Callable[[Case, dict[str, Array]], dict[str, Array]]


def against(
    convention: str, cells: Iterable[str], compute: Compute, version: str, dtype: str = "float32"
) -> None:
    """Print the largest difference in y and the final states, by cell.

    Parameters
    ----------
    convention
        The entry that is held against its framework.
    cells
        The names of the cells to try.
    compute
        From a case and its parameters in the convention to ``y (T, B, H)``, ``hT`` and perhaps
        ``cT`` ``(B, H)``, canonical arrays.
    version
        Of the framework, to be printed.
    dtype
        In which the framework computes. Ours are float64 results on the same numbers.

    Raises
    ------
    SystemExit
        If a result is not within 100 roundings of the largest entry.
    """
    bound = 100 * np.finfo(dtype).eps
    for name in cells:
        cell = as_cell(name)
        case = draw(cell, SIZES, seed=7, dtype=dtype)
        want = {
            k: v for k, v in run(equations(cell), case.doubles()).items() if not k.startswith("d")
        }
        got = compute(case, CONVENTIONS[convention].spell(cell, case.params))
        if got.keys() != want.keys() or any(got[k].shape != want[k].shape for k in want):
            raise SystemExit(f"{convention} {name}: got {[(k, v.shape) for k, v in got.items()]}")
        error = max(float(abs(got[k] - want[k]).max() / abs(want[k]).max()) for k in want)
        print(
            f"{convention:12} {version:18} {name:24} {dtype}  {', '.join(want)}: largest relative difference {error:.1e}"
        )
        if not error < bound:
            raise SystemExit(f"{convention} {name} differs: the entry does not reproduce it")
