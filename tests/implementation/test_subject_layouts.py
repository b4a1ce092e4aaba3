"""What a subject makes of a target's layout, with rows that end at lengths of their own."""

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
    """What a layer of that layout is given, and what it returns, is turned round within each row's
    length.
    """
    layer, plain = subject(Builtin("gru", **options)), subject(Builtin("gru"))
    case = draw(GRU(), Sizes(6, 4, 2, 3), seed=1, dtype="float64", ragged=True)
    past = np.arange(6)[:, None] >= case["lengths"]
    turned = layer.arguments(case)["x"]
    assert turned.shape == ((4, 6, 2) if "batch_first" in options else (6, 4, 2))
    back = turned.swapaxes(0, 1) if "batch_first" in options else turned
    np.testing.assert_array_equal(back[past], case["x"][past])
    np.testing.assert_array_equal(layer.time_major(turned, case["lengths"]), case["x"])
    # A subject is what its target is in time order, whatever the layout.
    for name, value in plain.run(case).items():
        np.testing.assert_allclose(
            layer.run(case)[name], value, rtol=1e-12, atol=1e-14, err_msg=name
        )


def test_lengths_are_an_ability():
    class Without:
        cell = "rnn"

        def forward(self, params, x, h0, c0=None):
            return x, h0

    assert "lengths" in subject(Builtin("rnn")).abilities
    assert "lengths" not in subject(Without()).abilities
