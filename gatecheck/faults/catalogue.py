"""Catalogue of all faults by name.

They are those that people wrote or plainly could, and the systematic misreadings. A fault holds
functions, so it does not travel between processes; its label does, and :func:`find`
makes the fault from it again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

from gatecheck.cells import CELLS, NETWORKS, VARIANTS, Cell, as_cell
from gatecheck.errors import UsageError
from gatecheck.faults.exemptions import EQUIVALENT, ONLY_BY_COMPARISON
from gatecheck.faults.fault import Fault
from gatecheck.faults.mutants import mutants as mutants
from gatecheck.faults.tables.order import CALL_TABLES, CELL_TABLES, network_rows, option_rows


def _read_tables(cell: Cell) -> Iterator[Fault]:
    for name, description, wrap, *source in network_rows(cell):
        yield Fault(name, cell.name, description, wrap=wrap, source="".join(source))
    for name, description, edit, *source in option_rows(cell):
        yield Fault(name, cell.name, description, edit, source="".join(source))
    if cell not in CELLS.values():  # faults of the plain cell are tried on the plain cell
        return
    for table in CELL_TABLES:
        for name, description, edit, *source in table(cell):
            yield Fault(name, cell.name, description, edit, source="".join(source))
    for wrapper_table in CALL_TABLES:
        for name, description, wrap, *source in wrapper_table(cell):
            yield Fault(name, cell.name, description, wrap=wrap, source="".join(source))


@cache
def _faults_by_name(cell: str) -> dict[str, Fault]:
    return {
        fault.name: replace(
            fault,
            equivalent=EQUIVALENT.get(fault.label, ""),
            reference_needed=ONLY_BY_COMPARISON.get(fault.name, ""),
        )
        for fault in _read_tables(as_cell(cell))
    }


@cache
def _all_faults() -> tuple[Fault, ...]:
    return tuple(fault for name in (*CELLS, *VARIANTS, *NETWORKS) for fault in faults(name))


def faults(cell: str | None = None) -> tuple[Fault, ...]:
    """Return the named faults of a cell, or of all cells.

    For a cell with options these are the faults of its options, for a network those of its layers.

    Raises
    ------
    UsageError
        If there is no such cell.
    """
    if cell is None:
        return _all_faults()
    return tuple(_faults_by_name(as_cell(cell).name).values())


@cache
def _mutants_by_name(cell: str) -> dict[str, Fault]:
    return {fault.name: fault for fault in mutants(cell)}


def find(label: str) -> Fault:
    """Return the fault, named or generated, with this label.

    Parameters
    ----------
    label
        Label such as ``lstm: dc not carried``; see :attr:`Fault.label`.

    Raises
    ------
    UsageError
        If there is no such fault.
    """
    cell, _, name = label.partition(": ")
    if cell in {**CELLS, **VARIANTS, **NETWORKS}:
        found = _faults_by_name(cell).get(name) or _mutants_by_name(cell).get(name)
        if found:
            return found
    raise UsageError(
        f"there is no fault {label!r}; a label is a cell and a name, such as 'lstm: dc not carried'"
    )
