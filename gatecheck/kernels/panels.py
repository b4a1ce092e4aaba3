"""Products of a matrix and panels of columns, computed in tiles.

A panel is as wide as a tile. Every entry of a tile is one chain of multiply-adds in the order of
the inner index; the sums of a tile stay in registers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from gatecheck._util.typing import Array
from gatecheck.kernels.jit import overload_by_dtype, shared_function
from gatecheck.kernels.simd import HAS_AVX512, VECTOR_BYTES, entry_pointer

TILE_VECTORS = 4 if HAS_AVX512 else 2
"""Width of a tile in vectors: with six rows all its sums stay in registers."""

TILES = (
    (6, 1),
    (6, TILE_VECTORS),
    (2, 1),
    (2, TILE_VECTORS),
    (1, 1),
    (1, TILE_VECTORS),
    (1, 2 * TILE_VECTORS),
)
"""Rows and vectors of the possible tiles.

A single row takes two panels at once: one panel has too few sums to keep the machine busy.
"""


def columns_per_panel(dtype: Any) -> int:
    """Return the number of columns of a panel."""
    return VECTOR_BYTES // int(np.dtype(dtype).itemsize) * TILE_VECTORS


# ---- a tile


@intrinsic  # type: ignore[untyped-decorator]
def _lane_count(context: Any, pointer: Any) -> Any:
    lanes = VECTOR_BYTES * 8 // pointer.dtype.bitwidth
    return types.intp(pointer), lambda context, builder, signature, args: ir.Constant(
        ir.IntType(64), lanes
    )


@intrinsic  # type: ignore[untyped-decorator]
def _tile_buffer(context: Any, pointer: Any) -> Any:
    """Allocate space for a tile that is one vector wide."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        lanes = VECTOR_BYTES * 8 // signature.return_type.dtype.bitwidth
        return cgutils.alloca_once(
            builder, args[0].type.pointee, size=max(rows for rows, _ in TILES) * lanes
        )

    return pointer(pointer), generate


@intrinsic  # type: ignore[untyped-decorator]
def _tile(
    context: Any,
    rows: Any,
    vectors: Any,
    a: Any,
    a_row: Any,
    b: Any,
    b_step: Any,
    b_panel: Any,
    c: Any,
    c_row: Any,
    steps: Any,
) -> Any:
    """Add the product of a tile to c.

    The tile has `rows` rows of a and `vectors` vectors of columns of b; `steps` is the inner size.
    Strides are in entries.
    """
    n = types.intp
    return types.void(n, n, a, n, b, n, n, c, n, n), _generate_tiles


def _generate_tiles(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    rows, vectors, *rest = args
    real = ir.FloatType() if signature.args[2].dtype == types.float32 else ir.DoubleType()
    i64, done = ir.IntType(64), builder.append_basic_block("tile.done")
    key = 2 * TILE_VECTORS + 1
    choice = builder.switch(builder.add(builder.mul(rows, i64(key)), vectors), done)
    for M, V in TILES:
        case = builder.append_basic_block(f"tile.{M}.{V}")
        choice.add_case(i64(M * key + V), case)
        builder.position_at_end(case)
        _generate_tile(builder, real, M, V, *rest)
        builder.branch(done)
    builder.position_at_end(done)
    return context.get_dummy_value()


def _generate_tile(
    builder: Any,
    real: Any,
    M: int,
    V: int,
    a: Any,
    a_row: Any,
    b: Any,
    b_step: Any,
    b_panel: Any,
    c: Any,
    c_row: Any,
    steps: Any,
) -> None:
    bits = 32 if isinstance(real, ir.FloatType) else 64
    lanes, i64 = VECTOR_BYTES * 8 // bits, ir.IntType(64)
    vector = ir.VectorType(real, lanes)
    fused = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fmuladd.v{lanes}f{bits}"
    )
    undefined = ir.Constant(vector, ir.Undefined)
    broadcast = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)

    def vector_pointer(pointer: Any, offset: Any) -> Any:
        return builder.bitcast(builder.gep(pointer, [offset]), vector.as_pointer())

    def load_vector(pointer: Any, offset: Any) -> Any:
        value = builder.load(vector_pointer(pointer, offset))
        value.align = bits // 8
        return value

    entry = builder.block
    head, body, end = (
        builder.append_basic_block(f"{entry.name}.{name}") for name in ("head", "body", "end")
    )
    builder.branch(head)
    builder.position_at_end(head)
    phis = [(builder.phi(i64), i64(0)), (builder.phi(a.type), a), (builder.phi(b.type), b)]
    phis += [(builder.phi(vector), ir.Constant(vector, [0.0] * lanes)) for _ in range(M * V)]
    for phi, first in phis:
        phi.add_incoming(first, entry)
    k, left, right, *sums = (phi for phi, _ in phis)
    builder.cbranch(builder.icmp_signed("<", k, steps), body, end)
    builder.position_at_end(body)
    columns = [
        load_vector(
            right if v < TILE_VECTORS else builder.gep(right, [b_panel]),
            i64(v % TILE_VECTORS * lanes),
        )
        for v in range(V)
    ]
    next_values = [
        builder.add(k, i64(1)),
        builder.gep(left, [i64(1)]),
        builder.gep(right, [b_step]),
    ]
    for r in range(M):
        entry_vector = builder.insert_element(
            undefined,
            builder.load(builder.gep(left, [builder.mul(a_row, i64(r))])),
            ir.IntType(32)(0),
        )
        row = builder.shuffle_vector(entry_vector, undefined, broadcast)
        next_values += [builder.call(fused, [row, columns[v], sums[r * V + v]]) for v in range(V)]
    for (phi, _), value in zip(phis, next_values, strict=True):
        phi.add_incoming(value, body)
    builder.branch(head)
    builder.position_at_end(end)
    for r in range(M):
        line = builder.gep(c, [builder.mul(c_row, i64(r))])
        for v in range(V):
            stored = builder.store(
                builder.fadd(load_vector(line, i64(v * lanes)), sums[r * V + v]),
                vector_pointer(line, i64(v * lanes)),
            )
            stored.align = bits // 8


# ---- products


@shared_function(
    lambda real: types.void(
        types.CPointer(real), types.intp, *(types.CPointer(real), types.intp) * 2, *[types.intp] * 3
    )
)
def _gemm_acc_panels(
    a: Any,
    a_row: int,
    b: Any,
    b_panel: int,
    c: Any,
    c_row: int,
    rows: int,
    columns: int,
    steps: int,
) -> None:
    """Add the product of a and the panels of b to c.

    `columns` is the number of columns of c, and `steps` the inner size. Strides are in entries.
    """
    lanes, buffer = _lane_count(a), _tile_buffer(a)
    panel_width = TILE_VECTORS * lanes
    for j in range(0, columns, panel_width):
        right, panel_columns, i = (
            entry_pointer(b, j // panel_width * b_panel),
            min(panel_width, columns - j),
            0,
        )
        while i < rows:
            n = 6 if rows - i >= 6 else 2 if rows - i >= 2 else 1
            left, out = entry_pointer(a, i * a_row), entry_pointer(c, i * c_row + j)
            i += n
            if n == 1 and j // panel_width % 2 == 1 and panel_columns == panel_width:
                continue  # done with the previous panel
            if n == 1 and columns - j >= 2 * panel_width:
                _tile(
                    1, 2 * TILE_VECTORS, left, a_row, right, panel_width, b_panel, out, c_row, steps
                )
                continue
            vectors, q = TILE_VECTORS if panel_columns == panel_width else 1, 0
            while q + vectors * lanes <= panel_columns:
                _tile(
                    n,
                    vectors,
                    left,
                    a_row,
                    entry_pointer(right, q),
                    panel_width,
                    0,
                    entry_pointer(out, q),
                    c_row,
                    steps,
                )
                q += vectors * lanes
            if q < panel_columns:  # a partial vector is computed in separate space
                for p in range(n * lanes):
                    buffer[p] = 0
                _tile(
                    n, 1, left, a_row, entry_pointer(right, q), panel_width, 0, buffer, lanes, steps
                )
                for r in range(n):
                    for p in range(panel_columns - q):
                        out[r * c_row + q + p] += buffer[r * lanes + p]


def add_panel_product(
    a: Array, panels: Array, c: Array, column: int, columns: int, steps: int
) -> None:
    """Add the product of a C-contiguous matrix and panels to columns of another.

    The panels are `(panels, steps or more, width)`; the first column is `column`.
    """


@overload_by_dtype(add_panel_product)
def _overload_add_panel_product(
    a: Any, panels: Any, c: Any, column: Any, columns: Any, steps: Any
) -> Any:
    add = _gemm_acc_panels.compile_for(a.dtype)

    def implementation(a: Any, panels: Any, c: Any, column: Any, columns: Any, steps: Any) -> None:
        add(
            entry_pointer(a, 0),
            a.shape[1],
            entry_pointer(panels, 0),
            panels.shape[1] * panels.shape[2],
            entry_pointer(c, column),
            c.shape[1],
            c.shape[0],
            columns,
            steps,
        )

    return implementation
