"""What a target is: the protocol, and what it may say of itself."""

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
    "own_weights": "it carries weights of its own, as a model in a file does",
}

OPTIONS = {
    "batch_first": "x, y and their gradients are (B, T, D) and (B, T, H)",
    "reverse": "it runs from the last step to the first; y stays in the order of x, and h_T, c_T are the states after the first step",
}


class Implementation(Protocol):
    """An implementation of a cell: any object with these names; there is no base class.

    Attributes
    ----------
    cell
        ``"rnn"``, ``"gru"``, ``"lstm"``, another name in :data:`gatecheck.cells.CELLS`, or a
        :class:`~gatecheck.cells.Cell`.
    convention
        Optional: in which convention `params` arrive and gradients return, a name or a Convention.
        Without one the audit finds it.
    shapes
        Optional, for a target without a convention: ``shapes(D, H)``, a dict of the names and
        shapes of its parameters. Without it they are canonical arrays.
    dtypes
        Optional: the dtypes it computes in; by default float32 and float64. ``"complex128"`` says
        that the forward takes it.
    sizes
        Optional: sizes that it insists on, such as ``{"B": 1}``.
    options
        Optional: how its layer lays out a sequence, such as ``{"batch_first": True}``; see
        :data:`OPTIONS`.
    few_shapes
        Optional: True asks for cases of few different sizes, where each is compiled and that takes
        far longer than to run it.
    expected_failures
        Optional: a reason, with its source, for each property that it is documented not to have.
    own_weights
        Optional: parameters of its own in that convention, such as a file's, which are audited
        among all others.
    activations
        Optional: its own ``"sigmoid"`` and ``"tanh"``, functions of a one-dimensional array in any
        of its dtypes, entry by entry. The profile ``thorough`` tries them on every float32 (one in
        some hundreds where the target has a process of its own).
    activation_ulps
        Optional: by how many units in the last place they may be off.
    notes
        Optional: what to say about it beside the findings, in sentences.
    """

    cell: str | Cell

    def forward(
        self, params: dict[str, Array], x: Array, h0: Array | None, c0: Array | None = None
    ) -> tuple[Array, ...]:
        """(y, hT), or (y, hT, cT) where the cell has a cell state; h0 and c0 may be None, which is
        zero.
        """
        ...

    # Optional: backward(params, x, h0, c0, dy, dhT, dcT) -> dict, a gradient for each parameter
    # name, "x", "h0" and "c0". Optional in both: lengths=None, after how many steps each row ends;
    # its state is then held, and its y is zero.
