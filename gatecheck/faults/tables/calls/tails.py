"""Faults of the units, rows and steps beyond a vector, a block or a buffer.

Code of small sizes is right with any of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.faults.edited_cell import EditedCell
from gatecheck.faults.edits import Edit, Reading, both, misread
from gatecheck.faults.tables.readings import batch, misread_sums, only_when, steps
from gatecheck.faults.wrappers import Wrapper, WrapperRow, change_result, change_results, wrapper
from gatecheck.reference import Equations
from gatecheck.reference.equations import Equation

UNIT_WIDTHS = (8, 16, 32)
"""Widths of vectors of units; a tail is what the last full vector leaves over."""

ROW_LIMITS = (32, 64)
"""Numbers of rows beyond which something goes wrong."""

STEP_LIMITS = (128, 256)
"""Numbers of steps beyond which something goes wrong."""

_SQUASHED = {"rnn": ("h", "a_n"), "gru": ("n", "a_n"), "lstm": ("g", "a_g")}
"""Term by kind of cell that a tail may leave unactivated, and its argument."""


def _edited(edit: Edit) -> Wrapper:
    """Return the wrapper of which only the cell matters: its equations with an edit.

    As an edit of the catalogue it would be looked for on short sequences of few units.
    """
    return lambda inner: EditedCell(inner.cell, edit)


# ---- units


def _in_tail(size: int, width: int) -> Array:
    """Return the mask of the units after the last full vector, if there is one."""
    start = size // width * width
    mask: Array = np.arange(size) >= (start or size)
    return mask


def _misread_tail(name: str, width: int, instead: Reading) -> Edit:
    """Return the edit by which the tail of a term is something else."""

    def edit(equations: Equations) -> Mapping[str, Equation]:
        right = equations[name]

        def wrong(s: Any) -> Any:
            term = right(s).copy()
            np.copyto(term, instead(s), where=_in_tail(term.shape[-1], width))
            return term

        return {name: wrong}

    return edit


def _tail_of_other_gate(cell: Cell, width: int) -> Edit:
    first, second, *_ = cell.gates
    return lambda equations: _misread_tail(f"a_{first}", width, equations[f"a_{second}"])(equations)


def _tail_words(width: int) -> tuple[str, str]:
    return f"last H mod {width} units", f"hidden units beyond full vectors of {width}"


def units(cell: Cell) -> Iterator[WrapperRow]:
    """Yield faults, forward, of the units that full vectors leave over."""
    squashed, argument = _SQUASHED[cell.kind]
    for width in UNIT_WIDTHS:
        tail, beyond = _tail_words(width)
        yield (
            f"{tail} zero",
            f"The {beyond} are left at zero.",
            _edited(_misread_tail("h", width, lambda s: 0)),
        )
        yield (
            f"{tail} not activated",
            f"The {beyond} lack the activation of {squashed}.",
            _edited(_misread_tail(squashed, width, lambda s: s[argument])),
        )
        if len(cell.gates) > 1:
            yield (
                f"{tail} of the wrong gate",
                f"For the {beyond} the gate {cell.gates[0]} is computed as {cell.gates[1]}.",
                _edited(_tail_of_other_gate(cell, width)),
            )


def unit_gradients(cell: Cell) -> Iterator[WrapperRow]:
    """Yield faults, backward, of the units that full vectors leave over."""
    for width in UNIT_WIDTHS:
        tail, beyond = _tail_words(width)
        yield (
            f"{tail} without dh",
            f"The {beyond} get no gradient.",
            _edited(_misread_tail("dh", width, lambda s: 0)),
        )
        yield (
            f"{tail} missing in dU",
            f"The rows of dU of the {beyond} are left at zero.",
            wrapper(on_gradients=change_result("U", partial(_zero_tail_rows, width=width))),
        )


def _zero_tail_rows(matrix: Array, width: int) -> Array:
    zeroed: Array = matrix.copy()
    zeroed[_in_tail(len(matrix), width)] = 0
    return zeroed


# ---- rows


def _zero_rows(v: Array, limit: int) -> Array:
    v = v.copy()
    v[..., limit:, :] = 0
    return v


def _repeat_rows(v: Array, limit: int) -> Array:
    row = np.arange(v.shape[-2])
    repeated: Array = v[..., np.where(row < limit, row, row - limit), :]
    return repeated


def rows(cell: Cell) -> Iterator[WrapperRow]:
    """Yield faults of the rows beyond a limit."""
    for limit in ROW_LIMITS:
        zero, repeat = partial(_zero_rows, limit=limit), partial(_repeat_rows, limit=limit)

        def summed(delta: str, limit: int = limit) -> Reading:
            return batch(delta, lambda b: b < limit)

        beyond = f"rows beyond {limit}"
        yield (
            f"{beyond} zero",
            f"The outputs of the {beyond} are left at zero.",
            wrapper(on_outputs=change_results(zero)),
        )
        yield (
            f"{beyond} repeat the first",
            f"The outputs of the {beyond} are those of the row {limit} before.",
            wrapper(on_outputs=change_results(repeat)),
        )
        yield (
            f"{beyond} without dx",
            f"The gradients of x and of the initial state are left at zero in the {beyond}.",
            wrapper(on_gradients=change_results(zero, "x", *(f"{k}0" for k in cell.state))),
        )
        yield (
            f"{beyond} missing in the sums",
            f"The parameters' gradients leave out the {beyond}.",
            _edited(misread_sums(summed)),
        )


# ---- steps


def _stop_after(v: Array, limit: int) -> Array:
    return np.concatenate([v[:limit], 0 * v[limit:]])


def _freeze(limit: int) -> Edit:
    def edit(equations: Equations) -> Mapping[str, Equation]:
        def frozen(name: str) -> Equation:
            right = equations.step[name]
            return lambda s: right(s) if s.t < limit else s[f"{name}_prev"]

        return {name: frozen(name) for name in equations.cell.state}

    return edit


def _cut(cell: Cell, limit: int) -> Edit:
    def kept(s: Any) -> bool:
        return s.after is None or s.t != limit - 1

    return both(
        *(
            misread(f"d{k}", **{f"d{k}_next": only_when(f"d{k}_next", kept)})
            for k in reversed(cell.state)
        )
    )


def sequences(cell: Cell) -> Iterator[WrapperRow]:
    """Yield faults of the steps beyond a limit."""
    for limit in STEP_LIMITS:

        def summed(delta: str, limit: int = limit) -> Reading:
            return steps(delta, lambda t, n: t < limit)

        beyond = f"steps beyond {limit}"
        yield (
            f"{beyond} zero",
            f"The outputs of the {beyond} are left at zero.",
            wrapper(on_outputs=change_result("y", partial(_stop_after, limit=limit))),
        )
        yield (
            f"{beyond} frozen",
            f"The state no longer changes in the {beyond}.",
            _edited(_freeze(limit)),
        )
        yield (
            f"{beyond} cut off",
            f"The {beyond} hand no gradient to those before.",
            _edited(_cut(cell, limit)),
        )
        yield (
            f"{beyond} missing in the sums",
            f"The parameters' gradients leave out the {beyond}.",
            _edited(misread_sums(summed)),
        )


def tails(cell: Cell) -> Iterator[WrapperRow]:
    """Yield the faults of units, rows and steps."""
    yield from units(cell)
    yield from unit_gradients(cell)
    yield from rows(cell)
    yield from sequences(cell)
