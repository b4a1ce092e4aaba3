"""One forward and one backward pass over a sequence, shared by all visitors.

The rows of a step (see :mod:`gatecheck.decay.jacobians.step`) are kept for a segment of about √T
steps only. The forward pass keeps the state at the start of each segment, and the backward pass
runs the segment again (Griewank & Walther 2000), so that memory beyond the inputs is O(√T H) at any
length. Everything that measures is a visitor, called with each segment in the order of the pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell, Params
from gatecheck.cells.validation import check_inputs
from gatecheck.decay.jacobians.step import Kernel, cell_kernel
from gatecheck.decay.jobs.checkpoints import Checkpointer
from gatecheck.decay.jobs.job import ReportProgress
from gatecheck.errors import InputError


class Segment(NamedTuple):
    """Consecutive steps: a slice, their inputs ``(L, D)`` and rows ``(L, rows, H)``.

    The next segment overwrites the rows.
    """

    steps: slice
    x: Array
    J: Array


Visitor = Callable[[Segment], None]


class Run(NamedTuple):
    """Validated cell on one sequence, with its kernel.

    Inputs are ``(T, D)``, the initial state ``(n, H)``.
    """

    cell: Cell
    kernel: Kernel
    params: Params
    x: Array
    state: Array


def prepare_run(cell: Cell, params: Params, x: Array, state: Array | None = None) -> Run:
    """Check that a cell, its parameters and a sequence fit, and return them as a run.

    Parameters
    ----------
    cell, params
        The cell and its canonical float64 parameters.
    x
        Inputs ``(T, D)``, float64.
    state
        Initial state ``(n, H)``, or None for zeros.

    Raises
    ------
    InputError
        If an array does not fit.
    """
    if not isinstance(x, np.ndarray) or x.ndim != 2:
        raise InputError(f"x has shape {np.shape(x)}, but should be a NumPy array of shape (T, D)")
    sizes = check_inputs(cell, params, x[:, None, :], dtypes=("float64",))
    shape = (len(cell.state), sizes.H)
    s = np.zeros(shape) if state is None else np.array(state, dtype=np.float64, order="C")
    if s.shape != shape:
        raise InputError(f"state has shape {s.shape}, but should have shape (n, H) = {shape}")
    return Run(cell, cell_kernel(cell, params), params, x, s)


def segments(T: int) -> list[slice]:
    """Return the steps of a sequence in segments of √T; the last may be shorter."""
    L = max(1, math.isqrt(T))
    return [slice(a, min(a + L, T)) for a in range(0, T, L)]


def run_passes(
    run: Run,
    forward: Sequence[Visitor] = (),
    backward: Sequence[Visitor] = (),
    progress: ReportProgress | None = None,
    checkpointer: Checkpointer | None = None,
) -> None:
    """Run the forward pass, and the backward pass if it has visitors.

    Parameters
    ----------
    run
        The cell and the sequence.
    forward, backward
        Visitors, called with each segment from the first to the last, and from the last to the
        first.
    progress
        Called with steps done and steps to do (T or 2 T), after each segment.
    checkpointer
        Saves all that is needed to continue, before each of these calls, and restores it at the
        start. The state of a visitor between two segments is a dict of arrays, its ``live``, which
        it changes in place. Passes that continue end at the same bits as those that were never
        interrupted.
    """
    T, pieces, s = len(run.x), segments(len(run.x)), run.state.copy()
    checkpoints = np.zeros((len(pieces), *s.shape))
    J = np.empty((pieces[0].stop if pieces else 0, run.kernel.rows, s.shape[1]))
    work = 2 * T if backward else T
    # The number of segments visited forward, and the last one visited backward.
    position = np.array([0, len(pieces)])
    live = {"position": position, "s": s, "checkpoints": checkpoints}
    for k, each in enumerate([*forward, *backward]):
        live |= {f"{k} {name}": array for name, array in getattr(each, "state_arrays", {}).items()}
    if checkpointer is not None:
        checkpointer.restore(live)

    def visit(k: int, state: Array, visits: Sequence[Visitor]) -> None:
        piece = pieces[k]
        x, rows = run.x[piece], J[: piece.stop - piece.start]
        pre = x @ run.params["W"]
        pre += run.params["b"]
        run.kernel.advance(pre, state, rows)
        for call in visits:
            call(Segment(piece, x, rows))

    def checkpoint(done: int) -> None:
        if checkpointer is not None:
            checkpointer.save(live)
        if progress is not None:
            progress(done, work)

    for k in range(position[0], len(pieces)):
        checkpoints[k] = s
        visit(k, s, forward)
        position[0] = k + 1
        checkpoint(pieces[k].stop)
    for k in range(position[1] - 1, -1, -1) if backward else ():
        visit(k, checkpoints[k].copy(), backward)
        position[1] = k
        checkpoint(2 * T - pieces[k].start)
