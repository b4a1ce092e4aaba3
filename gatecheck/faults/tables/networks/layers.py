"""Faults of a layer that runs backwards in time, or takes the batch first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.faults.wrappers import Wrapper, WrapperRow
from gatecheck.reference.network import reverse_steps

Conversion = Callable[[Array, Array | None], Array]


def _reverse_padding_too(a: Array, lengths: Array | None) -> Array:
    return a[::-1]


def _to_batch_first(a: Array, lengths: Array | None) -> Array:
    return a.swapaxes(0, 1)


def _reshape(a: Array, lengths: Array | None) -> Array:
    """Return the other layout's shape with the memory as it was."""
    return np.ascontiguousarray(a).reshape(a.shape[1], a.shape[0], a.shape[2])


def _unconverted(a: Array, lengths: Array | None) -> Array:
    return a


class FaultyLayer:
    """Correct implementation in time order as a layer of another layout.

    Parameters
    ----------
    inner
        The implementation.
    option
        Layout that the layer declares, a name in :data:`gatecheck.implementation.protocol.OPTIONS`.
    conversions
        Conversions of x, y, dx and dy by name that replace the correct ones.
    last
        Index of the output that is returned as h_T instead of the state after the last step that
        was run, or None.
    """

    convention = "canonical"

    def __init__(
        self,
        inner: Any,
        option: str,
        conversions: Mapping[str, Conversion],
        last: int | None = None,
    ) -> None:
        self.cell, self._inner, self._last = inner.cell, inner, last
        self.options = {option: True}
        right = {"reverse": reverse_steps, "batch_first": _to_batch_first}[option]
        self._conversions = dict.fromkeys(("x", "y", "dx", "dy"), right) | dict(conversions)

    def _convert(self, name: str, a: Array, lengths: Array | None) -> Array:
        return np.array(self._conversions[name](a, lengths), order="C")

    def forward(
        self,
        params: dict[str, Array],
        x: Array,
        h0: Array | None,
        c0: Array | None = None,
        lengths: Array | None = None,
    ) -> tuple[Array, ...]:
        """Return the outputs, as in the protocol, in the layout of the layer."""
        y, *final = self._inner.forward(params, self._convert("x", x, lengths), h0, c0, lengths)
        y = self._convert("y", y, lengths)
        if self._last is not None and len(x):
            final[0] = y[self._last].copy()
        return (y, *final)

    def backward(
        self,
        params: dict[str, Array],
        x: Array,
        h0: Array | None,
        c0: Array | None,
        dy: Array | None,
        dhT: Array | None,
        dcT: Array | None,
        lengths: Array | None = None,
    ) -> dict[str, Any]:
        """Return the gradients, as in the protocol, in the layout of the layer."""
        dy = None if dy is None else self._convert("dy", dy, lengths)
        out: dict[str, Any] = self._inner.backward(
            params, self._convert("x", x, lengths), h0, c0, dy, dhT, dcT, lengths
        )
        return out | {"x": self._convert("dx", out["x"], lengths)}


def faulty_layer(option: str, **turn: Conversion) -> Wrapper:
    """Return the wrapper for a layer of this layout with some wrong conversions."""
    return lambda inner: FaultyLayer(inner, option, turn)


def rows(cell: Cell) -> Iterator[WrapperRow]:
    """Yield all of these faults."""
    source = "openvinotoolkit/openvino#37820, onnx/onnx PR 7935"
    everything = dict.fromkeys(("x", "y", "dx", "dy"), _unconverted)
    yield (
        "reverse: direction ignored",
        "A reverse layer runs forwards.",
        faulty_layer("reverse", **everything),
        source,
    )
    yield (
        "reverse: outputs in the order of the run",
        "A reverse layer returns its outputs from the last step to the first.",
        faulty_layer("reverse", y=_unconverted),
        "onnx/keras-onnx#523",
    )
    yield (
        "reverse: inputs not reversed",
        "A reverse layer reverses its outputs, but not its inputs.",
        faulty_layer("reverse", x=_unconverted),
    )
    yield (
        "reverse: dy not reversed",
        "The backward of a reverse layer reads dy in the order of the run.",
        faulty_layer("reverse", dy=_unconverted),
    )
    yield (
        "reverse: dx not reversed",
        "The backward of a reverse layer returns dx in the order of the run.",
        faulty_layer("reverse", dx=_unconverted),
    )
    yield (
        "reverse: hT is the output of the last step",
        "The final state of a reverse layer is taken from the last step, which it runs first.",
        lambda inner: FaultyLayer(inner, "reverse", {}, last=-1),
        "yalesong/pvse#13",
    )
    yield (
        "reverse: rows reversed instead of steps",
        "A reverse layer reverses the batch where it should reverse the steps.",
        faulty_layer("reverse", x=lambda a, lengths: a[:, ::-1], y=lambda a, lengths: a[:, ::-1]),
    )
    yield (
        "reverse: padding reversed too",
        "A reverse layer begins with the padding of a row that ends early.",
        faulty_layer("reverse", **dict.fromkeys(("x", "y", "dx", "dy"), _reverse_padding_too)),
        "NervanaSystems/ngraph PR 3176",
    )
    yield (
        "batch first: x reshaped",
        "The memory of x is read as if time were first.",
        faulty_layer("batch_first", x=_reshape),
        source,
    )
    yield (
        "batch first: y reshaped",
        "The memory of y is written as if time were first.",
        faulty_layer("batch_first", y=_reshape),
        source,
    )
    yield (
        "batch first: dy reshaped",
        "The memory of dy is read as if time were first.",
        faulty_layer("batch_first", dy=_reshape),
    )
    yield (
        "batch first: dx reshaped",
        "The memory of dx is written as if time were first.",
        faulty_layer("batch_first", dx=_reshape),
    )
    yield (
        "batch first: y time first",
        "The outputs are returned with time first.",
        faulty_layer("batch_first", y=_unconverted),
    )
    yield (
        "batch first: dx time first",
        "The gradient of the inputs is returned with time first.",
        faulty_layer("batch_first", dx=_unconverted),
    )
