"""Linearized steps of each cell: the new state, and products with the Jacobian.

`advance_*` runs a cell over some steps and keeps, for each step, the few rows of H numbers from
which both J v and Jᵀ u follow in O(H²). They are derived from the equations and not from the
backward kernels, so that each can check the other.

Layouts, with n = 1 state (h) or 2 (h, c), k vectors and L steps: state `s` is ``(n, H)``, a block
of vectors ``(n, k, H)``, inputs with biases `pre` ``(L, G*H)``, rows `J` ``(L, rows, H)``; all
float64 and contiguous. Every function works in place. A block has norm 1 after each step; the log
of the factor divided out goes to `growth` ``(L,)`` and the share of c in the squared norm to
`share` ``(L,)``.

`pull` leaves the cotangents of the preactivations x W + b in `da`, ``(L, k, G*H)`` or, where
nothing reads them, ``(1, k, G*H)``. Those of step t belong to the block of norm 1 before it is
pulled through step t. The last row of `J` is h before the step, which no product needs but the
gradients of U do; an LSTM's i and o are kept for its gate statistics.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from gatecheck._util.typing import Array
from gatecheck.cells import Cell, Params
from gatecheck.decay.jacobians.gru_step import (
    advance_gru_after,
    advance_gru_before,
    advance_rnn,
    pull,
    pull_reset_before_gru,
    push,
    push_gru_before,
)
from gatecheck.decay.jacobians.lstm_step import advance_lstm, pull_lstm, push_lstm
from gatecheck.decay.jacobians.vector_blocks import pack_both
from gatecheck.kernels.activations import ACTIVATION_CODES


class Kernel(NamedTuple):
    """Functions of a cell with its weights, and the number of rows of J.

    They are ``advance(pre, s, J)``, ``pull(J, u, da, growth, share)`` and ``push(J, v, growth,
    share)``.
    """

    rows: int
    advance: Callable[[Array, Array, Array], None]
    pull: Callable[[Array, Array, Array, Array, Array], None]
    push: Callable[[Array, Array, Array, Array], None]


def cell_kernel(cell: Cell, params: Params) -> Kernel:
    """Return the functions of a cell with these canonical float64 parameters."""
    U, UT = pack_both(params["U"])
    H = len(params["U"])
    if cell.kind == "lstm":
        return Kernel(9, partial(advance_lstm, U), partial(pull_lstm, UT), partial(push_lstm, U))
    if cell.reset == "before":
        (gates, gates_t), (candidate, candidate_t) = (
            pack_both(params["U"][:, : 2 * H]),
            pack_both(params["U"][:, 2 * H :]),
        )
        return Kernel(
            6,
            partial(advance_gru_before, gates, candidate),
            partial(pull_reset_before_gru, gates_t, candidate_t),
            partial(push_gru_before, gates, candidate),
        )
    if cell.kind == "gru":
        return Kernel(
            6, partial(advance_gru_after, U, params["c_n"]), partial(pull, UT), partial(push, U)
        )
    return Kernel(
        3,
        partial(advance_rnn, ACTIVATION_CODES[cell.activation], U),
        partial(pull, UT),
        partial(push, U),
    )
