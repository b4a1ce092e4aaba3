"""Cells by name: tables of them, and the cell that a name describes."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from gatecheck._util.arguments import describe_argument
from gatecheck.cells.spec import GRU, LSTM, RNN, Cell
from gatecheck.errors import UsageError

CELLS = {
    cell.name: cell for cell in (RNN(), RNN("relu"), RNN("sigmoid"), GRU(), GRU("before"), LSTM())
}
"""Plain cells, by name."""

VARIANTS = {
    cell.name: cell
    for cell in (
        GRU(hard=6),
        GRU("before", hard=5),
        LSTM(hard=5),
        LSTM(hard=6),
        LSTM(peepholes=True),
        LSTM(coupled=True),
        LSTM(clip=0.5),
        LSTM(forget_bias=1.0),
        LSTM(projection=3),
        LSTM(peepholes=True, coupled=True, clip=0.75, forget_bias=1.0),
    )
}
"""Cells with options, by name: each option alone and some together.

The reference computes them all, the kernels peepholes.
"""

NETWORKS = {
    cell.name: cell
    for cell in (
        RNN(bidirectional=True),
        GRU(layers=2),
        LSTM(layers=2),
        LSTM(bidirectional=True),
        GRU("before", layers=2, bidirectional=True),
        LSTM(projection=2, layers=2, bidirectional=True),
    )
}
"""Stacked and bidirectional networks, by name."""

# A name may come from a file: its numbers are bounded, since a network has parts for each layer.
_NUMBER = r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?"
_NETWORK = r"(?:-layers(?P<layers>\d{1,4}))?(?P<bidirectional>-bidirectional)?"
_NAME = {
    "rnn": re.compile(rf"rnn(?:-(?P<activation>relu|sigmoid))?{_NETWORK}"),
    "gru": re.compile(rf"gru(?:-(?P<reset>before))?(?:-hard(?P<hard>[56]))?{_NETWORK}"),
    "lstm": re.compile(
        rf"lstm(?:-hard(?P<hard>[56]))?(?P<peepholes>-peepholes)?(?P<coupled>-coupled)?(?:-clip(?P<clip>{_NUMBER}))?"
        rf"(?:-forget(?P<forget_bias>{_NUMBER}))?(?:-proj(?P<projection>\d{{1,9}}))?{_NETWORK}"
    ),
}


@lru_cache(maxsize=1024)
def _parse_name(name: str) -> Cell | None:
    """Return the cell of a name, or None."""
    kind = name.partition("-")[0]
    match = _NAME[kind].fullmatch(name) if kind in _NAME else None
    if match is None:
        return None
    options: dict[str, Any] = {
        option: text for option, text in match.groupdict().items() if text is not None
    }
    parsers: dict[str, Any] = dict.fromkeys(("hard", "projection", "layers"), int) | dict.fromkeys(
        ("clip", "forget_bias"), float
    )
    parsers |= dict.fromkeys(("peepholes", "coupled", "bidirectional"), bool)
    options = {option: parsers.get(option, str)(text) for option, text in options.items()}
    factory: Any = {"rnn": RNN, "gru": GRU, "lstm": LSTM}[kind]
    cell: Cell = factory(**options)
    return cell


def as_cell(cell: str | Cell) -> Cell:
    """Return the cell of that name, or the cell itself.

    A name is a kind and its options in this order: ``rnn[-relu|-sigmoid]``,
    ``gru[-before][-hard5|-hard6]``,
    ``lstm[-hard5|-hard6][-peepholes][-coupled][-clipNUMBER][-forgetNUMBER][-projNUMBER]``, and
    after any of them ``[-layersNUMBER][-bidirectional]``.

    Raises
    ------
    UsageError
        If there is no such cell.
    """
    if isinstance(cell, Cell):
        return cell
    named_cell = _parse_name(cell) if isinstance(cell, str) else None
    if named_cell is None:
        raise UsageError(
            f"there is no cell {describe_argument(cell)}; the cells are {', '.join(CELLS)}, "
            f"and with options {', '.join(VARIANTS)}"
        )
    return named_cell


def require_plain_cell(cell: Cell, subject_text: str) -> Cell:
    """Return the cell if it is one of :data:`CELLS`.

    Raises
    ------
    UsageError
        If it is not; the message says that `subject_text` computes no options.
    """
    if cell not in CELLS.values():
        raise UsageError(
            f"{subject_text} the cells {', '.join(CELLS)}; there is no {cell} among them"
        )
    return cell
