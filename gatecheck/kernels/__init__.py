"""The cells, fast: Numba. No validation, no asserts; one place for every flag of the compiler."""

from gatecheck.kernels.builtin import Builtin
from gatecheck.kernels.run import Tape, backward, forward, tangent

__all__ = ["Builtin", "Tape", "backward", "forward", "tangent"]
