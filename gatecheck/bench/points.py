"""Points of measurement, and the operations in their matrix products.

A point is a cell, a dtype, a kind of work and sizes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

from gatecheck.cells import Cell, Sizes, as_cell
from gatecheck.errors import UsageError

CELLS = ("rnn", "gru", "gru-before", "lstm")
DTYPES = ("float32", "float64")
WORK_KINDS = ("forward", "gradients")
"""Kinds of work.

y and the final states; or forward and the gradients of all parameters, x and the initial states.
"""

PEERS = ("torch", "jax", "onnxruntime", "numpy", "gatecheck")
"""Names of the peers; the last is our kernels, for a target that is not ours."""

SIZES = (
    *(Sizes(50, 1, 8, 16), Sizes(100, 16, 32, 64), Sizes(100, 32, 128, 128)),
    *(Sizes(100, 64, 256, 256), Sizes(50, 64, 512, 512), Sizes(1000, 1, 128, 256)),
)
QUICK_SIZES = (Sizes(50, 1, 8, 16), Sizes(20, 8, 16, 32))


@dataclass(frozen=True)
class Point:
    """One point of measurement.

    Attributes
    ----------
    cell, dtype, work
        Their names; see :data:`WORK_KINDS`.
    sizes
        T, B, D, H.
    """

    cell: str
    dtype: str
    work: str
    sizes: Sizes

    def __str__(self) -> str:
        return f"{self.cell} {self.dtype} {self.work} ({', '.join(map(str, self.sizes))})"


def points(
    cells: Iterable[str] = CELLS,
    dtypes: Iterable[str] = DTYPES,
    work_kinds: Iterable[str] = WORK_KINDS,
    sizes: Iterable[Sizes] = SIZES,
) -> list[Point]:
    """Return every combination, the smallest sizes first.

    So what takes longest comes last.

    Raises
    ------
    UsageError
        If a cell is unknown, or a size is not positive.
    """
    chosen = list(sizes)
    for size in chosen:
        if min(size) < 1:
            raise UsageError(
                f"the sizes T,B,D,H are {','.join(map(str, size))}, but should all be at least 1"
            )
    names = [as_cell(cell).name for cell in cells]
    chosen.sort(key=lambda s: s.T * s.B * s.H * (s.D + s.H))
    return [
        Point(cell, dtype, work, size)
        for size, cell, dtype, work in product(chosen, names, dtypes, work_kinds)
    ]


def flops(cell: Cell, sizes: Sizes, work: str) -> int:
    """Return the number of operations in the matrix products of a point.

    It is 2 T B (D + H) G H for G gates, and twice as many again for gradients. Forward multiplies x
    with W and h with U. Backward multiplies the gradient at the preactivations with the transposes
    of W and U, for dx and dh, and x and h with that gradient, for dW and dU. Elementwise operations
    are not counted.
    """
    T, B, D, H = sizes
    return 2 * T * B * (D + H) * len(cell.gates) * H * (3 if work == "gradients" else 1)


def parse_sizes(text: str) -> Sizes:
    """Return T,B,D,H from text such as ``"100,32,128,128"``.

    Raises
    ------
    UsageError
        If the text is not four whole numbers.
    """
    parts: Sequence[str] = text.split(",")
    try:
        T, B, D, H = (int(part) for part in parts)
    except ValueError as error:
        raise UsageError(
            f"sizes are written T,B,D,H, as 100,32,128,128; {text!r} is not"
        ) from error
    return Sizes(T, B, D, H)
