"""What it takes for a loop to become vector instructions as wide as the machine has."""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

WIDE = bool(llvm.get_host_cpu_features().get("avx512f"))
BYTES = 64 if WIDE else 32
"""Of a vector register. Where registers are shorter, LLVM takes two."""


@intrinsic  # type: ignore[untyped-decorator]
def apart(context: Any) -> Any:
    """Say of the function that begins with it that its arrays do not overlap, and that the widest
    vectors are to be used.

    Without the first LLVM gives up on a loop over more than a few arrays, since it would have to
    compare each with each; without the second it takes half of what AVX-512 has.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        # llvmlite knows a few attributes by name, and add() refuses the others.
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        for argument in builder.function.args:
            if isinstance(getattr(argument.type, "pointee", None), ir.FloatType | ir.DoubleType):
                argument.add_attribute("noalias")
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic  # type: ignore[untyped-decorator]
def start(context: Any, array: Any, offset: Any) -> Any:
    """The pointer to that entry of a contiguous array, or so many entries behind another pointer."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind, first = signature.args[0], args[0]
        pointer = (
            make_array(kind)(context, builder, first).data
            if isinstance(kind, types.Array)
            else first
        )
        return builder.gep(pointer, [args[1]])

    return types.CPointer(array.dtype)(array, types.intp), generate
