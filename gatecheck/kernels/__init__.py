"""Fast cells in Numba.

Kernels validate nothing and assert nothing; one module holds every compiler flag.
"""

from gatecheck.kernels.builtin import Builtin

__all__ = ["Builtin"]
