"""Layouts of a target's sequences, with rows of different lengths."""

from __future__ import annotations

import numpy as np
import pytest

from gatecheck.cases import draw
from gatecheck.cells import GRU, Sizes
from gatecheck.implementation import subject
from gatecheck.kernels import Builtin


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
