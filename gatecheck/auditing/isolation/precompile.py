"""Compilation in the background during the first audit of one of our cells.

While the audit compiles kernels for float32, another core compiles those for float64.
"""

from __future__ import annotations

import multiprocessing
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from gatecheck._util.processes import available_cores, end_with_parent, ignore_interrupts
from gatecheck.auditing import selection
from gatecheck.auditing.audit import run_audit
from gatecheck.auditing.options import AuditOptions
from gatecheck.cells import Cell
from gatecheck.implementation import subject
from gatecheck.kernels import Builtin


@contextmanager
def precompile_in_background(target: Builtin) -> Iterator[None]:
    """Fill the kernel cache in another process while in this context.

    Only if the cache is empty and writable, and there is a core for it: a process that audits one
    of many targets has no other core. Kernels that both processes need are compiled twice, and one
    of the results is kept.
    """
    # Imports Numba, which most targets do not need.
    from gatecheck.kernels import jit
    from gatecheck.kernels.cells import gru, lstm, rnn

    needed = {"rnn": rnn.backward, "gru": gru.backward, "lstm": lstm.backward}[target.cell.kind]
    if available_cores() < 2 or multiprocessing.parent_process() or not jit.has_empty_cache(needed):
        yield
        return
    process = multiprocessing.get_context("spawn").Process(
        target=compile_float64, args=(target.cell, target.options), daemon=True
    )
    with ignore_interrupts():
        process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def compile_float64(cell: Cell, options: dict[str, bool]) -> None:
    """Compile what an audit needs in float64 and complex128.

    This runs the checks that need the most kernels.
    """
    end_with_parent()
    warnings.simplefilter("ignore")  # the other process gives the same warnings
    target = subject(Builtin(cell, **options))
    names = [c.name for c in selection.applicable_properties(target) if c.dtypes == ("float64",)]
    run_audit(target, AuditOptions("quick", tuple(names), diagnose=False))
