"""The first audit of one of our cells on a machine: while it compiles kernels for float32, another
core compiles those for float64.
"""

from __future__ import annotations

import multiprocessing
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from gatecheck._util.processes import cores, end_with_parent, interrupts_ignored
from gatecheck.auditing import audit
from gatecheck.cells import Cell
from gatecheck.kernels import Builtin


@contextmanager
def compiling_beside(target: Builtin) -> Iterator[None]:
    """Meanwhile another process fills the cache, if nothing is kept there yet, something can be,
    and there is a core for it.

    A process that was started to audit one target of many has no other core. What both need at the
    same time both compile, and either's is kept.
    """
    # which imports Numba, and most targets are not ours
    from gatecheck.kernels import gru, jit, lstm, rnn

    needed = {"rnn": rnn.backward, "gru": gru.backward, "lstm": lstm.backward}[target.cell.kind]
    if cores() < 2 or multiprocessing.parent_process() or not jit.to_be_kept(needed):
        yield
        return
    process = multiprocessing.get_context("spawn").Process(
        target=compile_float64, args=(target.cell, target.options), daemon=True
    )
    with interrupts_ignored():
        process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def compile_float64(cell: Cell, options: dict[str, bool]) -> None:
    """Compile what an audit needs in float64 and complex128, by making its checks that need the
    most.
    """
    end_with_parent()
    warnings.simplefilter("ignore")  # the other process says what there is to say
    target = audit.prepared(Builtin(cell, **options))
    audit.audit(
        target,
        profile="quick",
        only=[c.name for c in audit.applicable(target) if c.dtypes == ("float64",)],
        diagnose=False,
    )
