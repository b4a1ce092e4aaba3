"""Cells by name: what is no name is an error."""

from __future__ import annotations

import pytest

from gatecheck.cells import as_cell
from gatecheck.errors import UsageError


@pytest.mark.parametrize(
    "name", ["lstm-layers0", "gru-layers", "lstm-proj0", "gru-proj2", "rnn-bidirectional-layers2"]
)
def test_an_invalid_network_name(name):
    with pytest.raises(UsageError, match=r"there is no cell|should be a whole number from 1 to"):
        as_cell(name)


BAD_NAMES = [
    (
        lambda: as_cell("gur"),
        "there is no cell 'gur'; the cells are rnn, rnn-relu, rnn-sigmoid, gru, gru-before, lstm",
    ),
]


@pytest.mark.parametrize(("call", "message"), BAD_NAMES, ids=[m for _, m in BAD_NAMES])
def test_bad_names_are_usage_errors(call, message):
    with pytest.raises(UsageError) as caught:
        call()
    assert message in str(caught.value)
