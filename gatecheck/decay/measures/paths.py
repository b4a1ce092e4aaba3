"""Paths of a gradient: along the kept state, through the candidate, or the gates.

A path is the linearization with some of its rows taken as zero, so that each is carried back by the
same kernel as the whole.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell, Params
from gatecheck.decay.jacobians.profile import Adjoint
from gatecheck.decay.jacobians.sweep import Run, prepare_run, run_passes
from gatecheck.decay.jobs.job import ReportProgress

OMITTED_ROWS: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "rnn": {"total": (), "keep": (1,), "candidate": (), "gates": (1,)},
    "gru": {"total": (), "keep": (1, 2, 4), "candidate": (1, 2), "gates": (4,)},
    "lstm": {"total": (), "keep": (1, 2, 3, 4), "candidate": (1, 2, 4), "gates": (3,)},
}
"""Rows of ``J`` that each path of a cell omits.

keep: The part of the state that is kept, c → f c in an LSTM and h → (1 - z) h in a GRU; a plain RNN
keeps nothing. candidate: That, and the candidate as a function of the old state, with every gate
held constant. gates: The kept part, and the gates' derivatives, with the candidate independent of
the old state (a GRU's r acts through the candidate, and its derivative stays). On all of them the
cotangent of an LSTM's h' reaches c' through o (1 - tanh² c'). The paths do not add up to the whole:
a product of sums has mixed terms.
"""


def path_adjoints(run: Run, start: Array) -> dict[str, Adjoint]:
    """Return a visitor of the backward pass for each path but the whole, by name.

    A plain :class:`Adjoint` measures the whole.
    """
    return {
        name: Adjoint(run, start, without)
        for name, without in OMITTED_ROWS[run.cell.kind].items()
        if name != "total"
    }


def path_split(
    cell: Cell,
    params: Params,
    x: Array,
    start: Array,
    state: Array | None = None,
    progress: ReportProgress | None = None,
) -> dict[str, Array]:
    """Measure log-norms by lag of the whole gradient and of each path, in one sweep.

    They are ``(T+1,)`` each, by the names "total", "keep", "candidate" and "gates". Parameters and
    errors are those of :func:`gatecheck.decay.jacobians.profile.adjoint_profile`. A path that does
    not exist is -inf from lag 1 on.
    """
    run = prepare_run(cell, params, x, state)
    adjoints = {"total": Adjoint(run, start)} | path_adjoints(run, start)
    run_passes(run, backward=list(adjoints.values()), progress=progress)
    return {name: np.asarray(adjoint.profile().log_norm) for name, adjoint in adjoints.items()}
