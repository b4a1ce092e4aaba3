"""Tables of faults in the order of the catalogue."""

from __future__ import annotations

from collections.abc import Iterator

from gatecheck.cells import Cell
from gatecheck.faults.tables.calls import arguments, arrays, results, state, tails
from gatecheck.faults.tables.cells import (
    gru_backward,
    gru_forward,
    gru_reset,
    lstm_backward,
    lstm_forward,
    per_gate,
    rnn,
    shared_backward,
    shared_forward,
    shared_sums,
)
from gatecheck.faults.tables.networks import layers, lengths
from gatecheck.faults.tables.networks.bidirectional import bidirectional
from gatecheck.faults.tables.networks.stacked import stacked
from gatecheck.faults.tables.options.gates import coupled, forget_bias, hard
from gatecheck.faults.tables.options.peepholes import peepholes
from gatecheck.faults.tables.options.state import clip, projection
from gatecheck.faults.tables.readings import EditRow
from gatecheck.faults.wrappers import WrapperRow


def network_rows(cell: Cell) -> Iterator[WrapperRow]:
    """Yield faults of the directions and layers that a network has."""
    if cell.bidirectional:
        yield from bidirectional(cell)
    if cell.layers > 1:
        yield from stacked(cell)


def option_rows(cell: Cell) -> Iterator[EditRow]:
    """Yield faults of the options that a cell has."""
    if cell.projection:
        yield from projection(cell)
    if cell.peepholes:
        yield from peepholes(cell)
    if cell.coupled:
        yield from coupled(cell)
    if cell.clip is not None:
        yield from clip(cell)
    if cell.hard is not None:
        yield from hard(cell)
    if cell.forget_bias:
        yield from forget_bias(cell)


def _shared_rows(cell: Cell) -> Iterator[EditRow]:
    yield from shared_forward.state(cell)
    yield from shared_backward.carry(cell)
    yield from shared_sums.totals(cell)


def _gru_rows(cell: Cell) -> Iterator[EditRow]:
    yield from gru_forward.forward(cell)
    yield from gru_backward.backward(cell)
    yield from (gru_reset.reset_after if cell.reset == "after" else gru_reset.reset_before)(cell)


def _lstm_rows(cell: Cell) -> Iterator[EditRow]:
    yield from lstm_forward.forward(cell)
    yield from lstm_backward.backward(cell)


_CELL_TABLES = {"rnn": rnn.rows, "gru": _gru_rows, "lstm": _lstm_rows}


def _own_rows(cell: Cell) -> Iterator[EditRow]:
    yield from _CELL_TABLES[cell.kind](cell)


CELL_TABLES = (_shared_rows, per_gate.rows, _own_rows)
"""Tables of faults in the equations of a plain cell."""


def _call_rows(cell: Cell) -> Iterator[WrapperRow]:
    yield from arguments.damage(cell)
    yield from state.retained_state(cell)
    yield from arguments.absences(cell)
    yield from arrays.layouts(cell)
    yield from arrays.sizes(cell)
    yield from arrays.values(cell)
    yield from results.outputs(cell)
    yield from results.gradients(cell)
    yield from tails.tails(cell)


CALL_TABLES = (_call_rows, layers.rows, lengths.rows)
"""Tables of faults around the calls of a plain cell."""
