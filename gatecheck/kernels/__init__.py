"""The cells, fast: Numba. No validation, no asserts; one place for every flag of the compiler."""

from gatecheck.kernels.builtin import Builtin

__all__ = ["Builtin"]
