"""Compiler hints with which loops use the machine's widest vector instructions."""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

HAS_AVX512 = bool(llvm.get_host_cpu_features().get("avx512f"))
VECTOR_BYTES = 64 if HAS_AVX512 else 32
"""Size of a vector register. Where registers are shorter, LLVM uses two."""


@intrinsic  # type: ignore[untyped-decorator]
def assume_no_alias(context: Any) -> Any:
    """Declare at the start of a function that its arrays do not overlap.

    It also requests the widest vectors. Without the first, LLVM does not vectorize a loop over more
    than a few arrays, since it would have to compare each pair; without the second, it uses half of
    an AVX-512 register.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        # llvmlite's add() accepts only the attributes that it knows.
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        for argument in builder.function.args:
            if isinstance(getattr(argument.type, "pointee", None), ir.FloatType | ir.DoubleType):
                argument.add_attribute("noalias")
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic  # type: ignore[untyped-decorator]
def entry_pointer(context: Any, array: Any, offset: Any) -> Any:
    """Return a pointer to an entry of a contiguous array, or an offset pointer."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind, first = signature.args[0], args[0]
        pointer = (
            make_array(kind)(context, builder, first).data
            if isinstance(kind, types.Array)
            else first
        )
        return builder.gep(pointer, [args[1]])

    return types.CPointer(array.dtype)(array, types.intp), generate
