"""Cells: their gates, options, traits and array shapes.

A :class:`Cell` is a specification. The mathematics is written twice and independently, in
:mod:`gatecheck.reference` and in :mod:`gatecheck.kernels`; neither validates anything, because
:mod:`gatecheck.cells.validation` does it once.

Canonical arrays: ``x (T, B, D)``, states ``(B, H)``, ``W (D, G*H)``, ``U (H, G*H)``, ``b (G*H,)``
with the column blocks in the order of ``Cell.gates``; a GRU that resets after the product has one
more bias, ``c_n (H,)``, and an LSTM with peepholes their weights ``p``, a block of ``(H,)`` for
each of its gates in the order of ``Cell.sigmoid_gates``. With a projection h is ``(B, P)``, U is
``(P, G*H)``, and ``R (H, P)`` is one more parameter.

A cell may be a network. The names of the parameters of further layers and of the reverse direction
end in the suffixes of ``Cell.param_suffixes``, as in ``W.l1.reverse``; the output of a
bidirectional layer is that of both directions, concatenated; states are ``(N, B, H)``, layer by
layer, and in each layer the reverse direction is last. ``lengths (B,)`` gives the number of steps
of each row: after them its state is held, and its y is zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple

from gatecheck._util.arguments import (
    FLAG,
    NUMBER,
    POSITIVE,
    count_up_to,
    one_of,
    optional,
    validate_args,
)
from gatecheck._util.typing import Array
from gatecheck.errors import UsageError

Params = Mapping[str, Array]

Activation = Literal["tanh", "relu", "sigmoid"]
Reset = Literal["after", "before"]
Hard = Literal[5, 6]

TRAITS = {
    "update_gate": (
        "the state is a convex mix h' = z n + (1 - z) h of the candidate and the old state"
    ),
    "reset_gate": "a gate r decides how much of the old state the candidate sees",
    "cell_state": "a second state c carries the memory: c' = f c + i g, h' = o tanh(c')",
    "independent_gates": "the input gate i and the forget gate f are independent of each other",
    "complementary_gates": "the shares of the old state and of the new value sum to one, "
    "such as 1 - z and z",
    "clipped": "the cell state is clipped",
    "unclipped": "no state is clipped",
    "peepholes": "the gates see the cell state",
    "gated": "some terms are gates, sigmoids of an affine map of x and h",
    "hard_gates": "the gates are hard sigmoids, which reach 0 and 1",
    "bounded": "the output activation is bounded by one",
    "odd": "the output activation is odd",
    "plain_layer": "it has one layer and one direction",
    "unidirectional": "it runs in one direction",
    "bidirectional": "it runs in both directions",
    "single_layer": "it has one layer",
    "stacked": "it has several layers, each on the outputs of the one below",
    "no_projection": "h is as wide as the cell: there is no projection",
    "projected": "h is a projection of the output, and narrower or wider than the cell",
    "analytic": "every activation has a complex extension, so a complex step is a derivative",
}


class Sizes(NamedTuple):
    """Steps, batch rows, input size and hidden size of one call."""

    T: int
    B: int
    D: int
    H: int


@dataclass(frozen=True)
class Cell:
    """A recurrent cell and its options.

    Parameters
    ----------
    kind
        ``"rnn"``, ``"gru"`` or ``"lstm"``.
    activation
        The RNN's output activation; a GRU's candidate and an LSTM always use tanh.
    reset
        Place of a GRU's reset gate: ``"after"`` the product h U_n (then c_n exists) or
        ``"before"`` it.
    hard
        GRU and LSTM: the gates are hard sigmoids min(max(a/hard + ½, 0), 1), with 5 as in ONNX or 6
        as in Keras 3 and PyTorch. None is σ.
    peepholes
        LSTM: i and f see the old cell state and o the new one, each through one weight a unit (Gers
        & Schmidhuber 2000).
    coupled
        LSTM: i = 1 - f, and i has no weights (Greff et al. 2017).
    clip
        LSTM: c' is clipped to ±clip, before its tanh too (Sak et al. 2014).
    projection
        LSTM: h' = (o tanh(c')) R with R ``(H, projection)`` (Sak et al. 2014).
    forget_bias
        LSTM: added to the forget gate's bias at run time, as TensorFlow 1 and Haiku do; the
        parameters do not hold it.
    layers
        Number of layers, each on the outputs of the one below.
    bidirectional
        Whether each layer also runs from the last step to the first, with separate weights.

    See Also
    --------
    RNN, GRU, LSTM : the usual ways to make one.
    """

    kind: Literal["rnn", "gru", "lstm"]
    activation: Activation = "tanh"
    reset: Reset | None = None
    hard: Hard | None = None
    peepholes: bool = False
    coupled: bool = False
    clip: float | None = None
    forget_bias: float = 0.0
    projection: int | None = None
    layers: int = 1
    bidirectional: bool = False

    @cached_property
    def name(self) -> str:
        """Name of the cell in commands, such as ``gru-before``.

        See :func:`~gatecheck.cells.names.as_cell`.
        """
        options = {
            self.activation: self.activation != "tanh",
            "before": self.reset == "before",
            f"hard{self.hard}": self.hard is not None,
            "peepholes": self.peepholes,
            "coupled": self.coupled,
            f"clip{self.clip:g}" if self.clip is not None else "": self.clip is not None,
            f"forget{self.forget_bias:g}": self.forget_bias != 0,
            f"proj{self.projection}": self.projection is not None,
            f"layers{self.layers}": self.layers > 1,
            "bidirectional": self.bidirectional,
        }
        return "-".join([self.kind, *(name for name, holds in options.items() if holds)])

    @cached_property
    def gates(self) -> tuple[str, ...]:
        """Column blocks of W, U and b, in order: gates and the candidate."""
        blocks = {"rnn": "n", "gru": "rzn", "lstm": "fgo" if self.coupled else "ifgo"}
        return tuple(blocks[self.kind])

    @cached_property
    def sigmoid_gates(self) -> tuple[str, ...]:
        """Blocks that are gates in the strict sense: sigmoids, between 0 and 1."""
        return tuple(k for k in self.gates if k not in "ng")

    @cached_property
    def state(self) -> tuple[str, ...]:
        """States carried from step to step: ``("h",)`` or ``("h", "c")``."""
        return ("h", "c") if self.kind == "lstm" else ("h",)

    @cached_property
    def traits(self) -> frozenset[str]:
        """Names of the :data:`TRAITS` that the cell has.

        Properties need traits, not names of cells.
        """
        has = {
            "update_gate": self.kind == "gru",
            "reset_gate": self.kind == "gru",
            "cell_state": self.kind == "lstm",
            "independent_gates": self.kind == "lstm" and not self.coupled,
            "complementary_gates": self.kind == "gru" or self.coupled,
            "clipped": self.clip is not None,
            "unclipped": self.clip is None,
            "peepholes": self.peepholes,
            "gated": self.kind != "rnn",
            "hard_gates": self.hard is not None,
            "bounded": self.activation != "relu",
            "odd": self.activation == "tanh",
            "plain_layer": self.layers == 1 and not self.bidirectional,
            "unidirectional": not self.bidirectional,
            "bidirectional": self.bidirectional,
            "single_layer": self.layers == 1,
            "stacked": self.layers > 1,
            "no_projection": self.projection is None,
            "projected": self.projection is not None,
            "analytic": self.activation != "relu" and self.hard is None and self.clip is None,
        }
        return frozenset(name for name, holds in has.items() if holds)

    @cached_property
    def layer_cell(self) -> Cell:
        """Cell of one of its layers in one of its directions."""
        return replace(self, layers=1, bidirectional=False)

    @property
    def directions(self) -> int:
        """Number of directions: 2 if it is bidirectional, else 1."""
        return 2 if self.bidirectional else 1

    @cached_property
    def param_suffixes(self) -> tuple[str, ...]:
        """Suffixes of the names of the parameters of each layer and direction.

        They are in the order of the states.
        """
        return tuple(
            f"{f'.l{layer}' if layer else ''}{direction}"
            for layer in range(self.layers)
            for direction in ("", ".reverse")[: self.directions]
        )

    def width(self, H: int) -> int:
        """Return the size of h in one direction."""
        return self.projection or H

    def state_shape(self, state: str, B: int, H: int) -> tuple[int, ...]:
        """Return the shape of h or c."""
        shape = (B, self.width(H) if state == "h" else H)
        return shape if len(self.param_suffixes) == 1 else (len(self.param_suffixes), *shape)

    def param_shapes(self, D: int, H: int) -> dict[str, tuple[int, ...]]:
        """Return the names and shapes of the canonical parameters."""
        if (D, H) not in self._shapes:
            self._shapes[D, H] = _param_shapes(self, D, H)
        return dict(self._shapes[D, H])

    @cached_property
    def _shapes(self) -> dict[tuple[int, int], dict[str, tuple[int, ...]]]:
        return {}

    def __str__(self) -> str:
        return self.name


def _param_shapes(cell: Cell, D: int, H: int) -> dict[str, tuple[int, ...]]:
    G, P = len(cell.gates), cell.width(H)
    shapes: dict[str, tuple[int, ...]] = {}
    for k, tag in enumerate(cell.param_suffixes):
        inputs = D if k < cell.directions else cell.directions * P
        layer: dict[str, tuple[int, ...]] = {"W": (inputs, G * H), "U": (P, G * H), "b": (G * H,)}
        layer |= {"c_n": (H,)} if cell.reset == "after" else {}
        layer |= {"p": (len(cell.sigmoid_gates) * H,)} if cell.peepholes else {}
        layer |= {"R": (H, P)} if cell.projection else {}
        shapes |= {f"{name}{tag}": shape for name, shape in layer.items()}
    return shapes


MAX_LAYERS = 1000
"""Largest number of layers; each has parameters of its own."""

MAX_PROJECTION = 2**16
"""Largest width of a projection."""

_LAYERS = count_up_to(MAX_LAYERS)
_HARD_KIND = one_of(None, 5, 6)._replace(description="5 (a/5 + ½), 6 (a/6 + ½) or None")


@validate_args(activation=one_of("tanh", "relu", "sigmoid"), layers=_LAYERS, bidirectional=FLAG)
def RNN(activation: Activation = "tanh", *, layers: int = 1, bidirectional: bool = False) -> Cell:
    """Return a plain (Elman) recurrent cell, h' = phi(x W + h U + b).

    See :class:`Cell` for the options.

    Raises
    ------
    UsageError
        If an option has an invalid value.
    """
    return Cell("rnn", activation, layers=int(layers), bidirectional=bool(bidirectional))


@validate_args(reset=one_of("after", "before"), hard=_HARD_KIND, layers=_LAYERS, bidirectional=FLAG)
def GRU(
    reset: Reset = "after",
    *,
    hard: Hard | None = None,
    layers: int = 1,
    bidirectional: bool = False,
) -> Cell:
    """Return a gated recurrent unit (Cho et al. 2014).

    z = 1 takes the new value and z = 0 copies. See :class:`Cell` for the options.

    Raises
    ------
    UsageError
        If an option has an invalid value.
    """
    return Cell(
        "gru", reset=reset, hard=hard, layers=int(layers), bidirectional=bool(bidirectional)
    )


@validate_args(
    hard=_HARD_KIND,
    peepholes=FLAG,
    coupled=FLAG,
    clip=optional(POSITIVE),
    forget_bias=NUMBER,
    projection=optional(count_up_to(MAX_PROJECTION)),
    layers=_LAYERS,
    bidirectional=FLAG,
)
def LSTM(
    *,
    hard: Hard | None = None,
    peepholes: bool = False,
    coupled: bool = False,
    clip: float | None = None,
    forget_bias: float = 0.0,
    projection: int | None = None,
    layers: int = 1,
    bidirectional: bool = False,
) -> Cell:
    """Return a long short-term memory with a forget gate (Gers et al. 2000).

    See :class:`Cell` for the options.

    Raises
    ------
    UsageError
        If an option has an invalid value.
    """
    for name, number in (("clip", clip), ("forget_bias", forget_bias)):
        if number is not None and float(f"{number:g}") != number:
            raise UsageError(
                f"{name} is {number!r}, but should have at most six digits, "
                "since it is part of the cell's name"
            )
    return Cell(
        "lstm",
        hard=hard,
        peepholes=bool(peepholes),
        coupled=bool(coupled),
        clip=clip,
        forget_bias=forget_bias,
        projection=None if projection is None else int(projection),
        layers=int(layers),
        bidirectional=bool(bidirectional),
    )
