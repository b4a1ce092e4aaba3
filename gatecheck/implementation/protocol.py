"""Protocol of implementations, and what they may declare."""

from __future__ import annotations

from typing import Protocol

from gatecheck._util.typing import Array
from gatecheck.cells import Cell

ABILITIES = {
    "backward": "it has a backward",
    "tangent": "it has a tangent, the derivative in a direction",
    "complex": "its forward takes complex128 arrays",
    "bitwise": "it promises bit-exact reductions",
    "lengths": "it takes the lengths of the rows",
    "own_weights": "it comes with its weights, as a model in a file does",
}

OPTIONS = {
    "batch_first": "x, y and their gradients are (B, T, D) and (B, T, H)",
    "reverse": (
        "it runs from the last step to the first; y stays in the order of x, "
        "and h_T, c_T are the states after the first step"
    ),
}


class Implementation(Protocol):
    """Implementation of a cell: any object with these names, without a base class.

    Attributes
    ----------
    cell
        ``"rnn"``, ``"gru"``, ``"lstm"``, another name in :data:`gatecheck.cells.CELLS`, or a
        :class:`~gatecheck.cells.Cell`.
    convention
        Optional: convention of `params` and of their gradients, a name or a Convention. Without one
        the audit infers it.
    shapes
        Optional, for a target without a convention: ``shapes(D, H)``, a dict of the names and
        shapes of its parameters. Without it they are canonical arrays.
    dtypes
        Optional: dtypes that it computes in; by default float32 and float64. ``"complex128"`` says
        that the forward takes it.
    sizes
        Optional: the only sizes that it takes, such as ``{"B": 1}``.
    options
        Optional: layout of sequences in its layer, such as ``{"batch_first": True}``; see
        :data:`OPTIONS`.
    few_shapes
        Optional: True requests cases of few different sizes, if each is compiled and that takes far
        longer than to run it.
    expected_failures
        Optional: a reason, with its source, for each property that it is documented not to have.
    own_weights
        Optional: parameters that it comes with, in that convention, such as a file's; they are
        audited among others.
    activations
        Optional: its ``"sigmoid"`` and ``"tanh"``, functions of a one-dimensional array in any of
        its dtypes, entry by entry. The profile ``thorough`` tries them on every float32 (one in
        some hundreds if the target has a separate process).
    activation_ulps
        Optional: units in the last place by which they may be off.
    notes
        Optional: sentences about it that are reported with the findings.
    """

    cell: str | Cell

    def forward(
        self, params: dict[str, Array], x: Array, h0: Array | None, c0: Array | None = None
    ) -> tuple[Array, ...]:
        """Return (y, hT), or (y, hT, cT) if the cell has a cell state.

        h0 and c0 may be None, which is zero.
        """
        ...

    # Optional: backward(params, x, h0, c0, dy, dhT, dcT) -> dict, a gradient for each parameter
    # name, "x", "h0" and "c0". Optional in both: lengths=None, the number of steps of each row;
    # after them its state is held, and its y is zero.
