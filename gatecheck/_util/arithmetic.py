"""The arithmetic of NumPy on this machine, beside the source that calls it."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

from gatecheck._util.versions import versions


def arithmetic(blas_threads: int | None = None) -> dict[str, Any]:
    """Return what the last bits of NumPy and SciPy depend on, as JSON values.

    These are their versions, the loops that NumPy chose for this processor, the C library, and the
    kernels and the number of threads of BLAS: with one more thread a product of 257 columns is
    summed in another order.

    Parameters
    ----------
    blas_threads
        Number of threads of BLAS with which the result is computed; by default the present one.
    """
    loops = np.show_config("dicts")["SIMD Extensions"]
    return {
        "versions": {k: v for k, v in versions().items() if k in ("numpy", "scipy")},
        "system": [platform.machine(), *platform.libc_ver(), platform.mac_ver()[0]],
        "loops": [*loops["baseline"], *loops.get("found", ())],
        "blas": [
            [
                *(library.get(k) for k in ("internal_api", "version", "architecture")),
                blas_threads or library["num_threads"],
            ]
            for library in _blas_of_numpy()
        ],
    }


def _blas_of_numpy() -> list[dict[str, Any]]:
    libraries = [entry for entry in threadpool_info() if entry["user_api"] == "blas"]
    # SciPy and frameworks may have loaded their own by now, or not.
    own = [
        entry
        for entry in libraries
        if any(part.startswith("numpy") for part in Path(entry["filepath"]).parts)
    ]
    return sorted(own or libraries, key=lambda entry: str(entry["filepath"]))
