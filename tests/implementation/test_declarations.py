"""Declarations of a target: read, overridden, or wrong."""

from __future__ import annotations

import pytest

from gatecheck.cells import GRU, LSTM, RNN
from gatecheck.conventions import CONVENTIONS
from gatecheck.errors import TargetError
from gatecheck.implementation import subject
from helpers.textbook import Textbook, make_target


def test_an_option_that_is_false_is_dropped():
    assert subject(make_target(options={"reverse": False})).options == frozenset()


def test_declarations_are_read():
    lists = {
        "dtypes": ["float32", "complex128"],
        "sizes": {"B": 1},
        "expected_failures": {"a": "b"},
    }
    mine = subject(make_target(cell="gru", convention="pytorch", **lists))
    assert (mine.name, mine.cell, mine.convention) == ("Mine", GRU(), CONVENTIONS["pytorch"])
    assert (mine.dtypes, mine.sizes, mine.expected_failures) == (("float32",), {"B": 1}, {"a": "b"})
    assert mine.abilities == {"backward", "complex"}
    assert mine.traits == GRU().traits | {"backward", "complex"}


def test_defaults_of_declarations():
    mine = subject(Textbook)
    assert (mine.name, mine.cell, mine.convention) == ("Textbook", LSTM(), CONVENTIONS["canonical"])
    assert (mine.dtypes, mine.sizes, mine.expected_failures) == (("float32", "float64"), {}, {})
    assert subject(mine) is mine


def test_arguments_override_declarations():
    mine = subject(Textbook(), cell=RNN("relu"), convention="pytorch-cell", name="this one")
    assert (mine.name, mine.cell, mine.convention) == (
        "this one",
        RNN("relu"),
        CONVENTIONS["pytorch-cell"],
    )
    assert subject(make_target(name="its own")).name == "its own"


@pytest.mark.parametrize(
    ("attributes", "abilities"),
    [
        ({}, {"backward"}),
        ({"backward": None}, set()),
        ({"tangent": lambda self: None}, {"backward", "tangent"}),
        (
            {"bitwise": True, "dtypes": ("float64", "complex128")},
            {"backward", "bitwise", "complex"},
        ),
    ],
)
def test_abilities_are_seen(attributes, abilities):
    assert subject(make_target(**attributes)).abilities == abilities


class NeedsAnArgument(Textbook):
    def __init__(self, size):
        self.size = size


BAD_DECLARATIONS = [
    (None, "NoneType has no forward(params, x, h0, c0=None), so it is not an implementation"),
    (NeedsAnArgument, "NeedsAnArgument() raised TypeError"),
    (make_target(forward=None), "Mine has no forward(params, x, h0, c0=None)"),
    (
        make_target(cell=None),
        'Mine does not say which cell it is: set cell = "rnn", "gru" or "lstm", or give --cell',
    ),
    (make_target(cell="ltsm"), "Mine: there is no cell 'ltsm'"),
    (make_target(cell=["lstm"]), "there is no cell ['lstm']"),
    (make_target(convention="torch"), "Mine: there is no convention 'torch'"),
    (make_target(convention=["pytorch"]), "there is no convention ['pytorch']"),
    (
        make_target(dtypes=("float16", "float32")),
        "Mine declares dtypes ('float16', 'float32'), but gatecheck can audit float32 and float64",
    ),
    (make_target(dtypes=("complex128",)), "Mine declares dtypes ('complex128',)"),
    (
        make_target(options={"reversed": True}),
        "Mine declares options {'reversed': True}, "
        "but should say True or False of batch_first or reverse",
    ),
    (
        make_target(options={"reverse": "yes"}),
        "Mine declares options {'reverse': 'yes'}, but should say True or False of",
    ),
    (
        make_target(options=["reverse"]),
        "Mine declares options ['reverse'], but should declare a dict",
    ),
    (make_target(dtypes=()), "Mine declares dtypes ()"),
    (make_target(dtypes="float32"), "Mine declares dtypes"),
    (make_target(dtypes=None), "Mine declares dtypes None"),
    (
        make_target(sizes={"N": 1}),
        "Mine declares sizes {'N': 1}, "
        "but should name T, B, D or H with a whole number from 1 to 65536",
    ),
    (make_target(sizes={"TB": 1}), "Mine declares sizes {'TB': 1}"),
    (make_target(sizes={"": 1}), "Mine declares sizes {'': 1}"),
    (make_target(sizes={1: 1}), "Mine declares sizes {'1': 1}"),
    (make_target(sizes={"B": 0}), "Mine declares sizes {'B': 0}"),
    (make_target(sizes={"B": 1.0}), "Mine declares sizes {'B': 1.0}"),
    (make_target(sizes="B=1"), "Mine declares sizes"),
    (make_target(expected_failures="all"), "Mine declares expected_failures"),
]


@pytest.mark.parametrize(
    ("target", "message"), BAD_DECLARATIONS, ids=[m for _, m in BAD_DECLARATIONS]
)
def test_a_bad_declaration_is_a_target_error(target, message):
    with pytest.raises(TargetError) as caught:
        subject(target)
    assert message in str(caught.value)
