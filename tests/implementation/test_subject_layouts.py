"""Layouts of a target's sequences, with rows of different lengths."""

from __future__ import annotations

import numpy as np
import pytest

from gatecheck.cases import draw
from gatecheck.cells import GRU, Sizes
from gatecheck.errors import ContractError
from gatecheck.implementation import subject
from gatecheck.kernels import Builtin
from helpers.textbook import Textbook, case_of, make_target


@pytest.mark.parametrize(
    "options",
    [{"reverse": True}, {"batch_first": True}, {"reverse": True, "batch_first": True}],
    ids=str,
)
def test_rows_of_different_lengths_in_a_layout(options):
    """Sequences of a reverse layer are reversed within the length of each row."""
    layer, plain = subject(Builtin("gru", **options)), subject(Builtin("gru"))
    case = draw(GRU(), Sizes(6, 4, 2, 3), seed=1, dtype="float64", ragged=True)
    past = np.arange(6)[:, None] >= case["lengths"]
    arranged = layer.arguments(case)["x"]
    assert arranged.shape == ((4, 6, 2) if "batch_first" in options else (6, 4, 2))
    time_major = arranged.swapaxes(0, 1) if "batch_first" in options else arranged
    np.testing.assert_array_equal(time_major[past], case["x"][past])
    np.testing.assert_array_equal(layer.from_layout(arranged, case["lengths"]), case["x"])
    # A subject's arrays are in time order, whatever the layout of its target.
    for name, value in plain.run(case).items():
        np.testing.assert_allclose(
            layer.run(case)[name], value, rtol=1e-12, atol=1e-14, err_msg=name
        )


def test_lengths_are_listed_among_the_abilities():
    class Without:
        cell = "rnn"

        def forward(self, params, x, h0, c0=None):
            return x, h0

    assert "lengths" in subject(Builtin("rnn")).abilities
    assert "lengths" not in subject(Without()).abilities


LAYOUTS = {
    "batch_first": lambda a: a.swapaxes(0, 1),
    "reverse": lambda a: a[::-1],
}


class OtherLayout(Textbook):
    """A layer that takes and returns its sequences in the layout of its options."""

    def _to_layout(self, a, options=None):
        for option in options or self.options:
            a = None if a is None else np.array(LAYOUTS[option](a))
        return a

    def _from_layout(self, a):
        return self._to_layout(a, [*reversed(self.options)])

    def forward(self, params, x, h0, c0=None):
        y, *final = super().forward(params, self._to_layout(x), h0, c0)
        return (self._from_layout(y), *final)

    def backward(self, params, x, h0, c0, dy, dhT, dcT):
        out = super().backward(params, self._to_layout(x), h0, c0, self._to_layout(dy), dhT, dcT)
        return out | {"x": self._from_layout(out["x"])}


@pytest.mark.parametrize(
    "options",
    [{"batch_first": True}, {"reverse": True}, {"batch_first": True, "reverse": True}],
    ids=str,
)
@pytest.mark.parametrize("absent", [(), ("dy",)])
def test_a_layer_of_another_layout_gives_canonical_results(options, absent):
    layer = type("Layer", (OtherLayout,), {"options": options})()
    case = case_of(absent=absent)
    got, expected = subject(layer).run(case), subject(Textbook()).run(case)
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)


def test_a_layer_says_which_shape_it_should_return():
    def forward(self, params, x, h0, c0=None):
        return Textbook.forward(self, params, x.swapaxes(0, 1), h0, c0)

    with pytest.raises(
        ContractError, match=r"y has shape \(4, 2, 5\), but should have shape \(2, 4, 5\)"
    ):
        subject(make_target(options={"batch_first": True}, forward=forward)).forward(case_of())
