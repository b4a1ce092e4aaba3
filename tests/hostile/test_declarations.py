"""Odd declarations are refused in a line, or taken; never a traceback."""

import time

import numpy as np
import pytest

import gatecheck as gk
from gatecheck.auditing.isolation.process import Isolation
from gatecheck.auditing.isolation.run import open_target
from gatecheck.errors import GatecheckError
from gatecheck.implementation import subject
from gatecheck.implementation.plain import MAX_ITEMS, MAX_TEXT, Opaque, UnreadArray, to_plain

SOURCE = """
import numpy as np
import gatecheck as gk

class Evil:
    def __getattr__(self, name): raise RuntimeError("no " + name)
    def __str__(self): raise RuntimeError("no text")
    __repr__ = __str__
    def __len__(self): raise RuntimeError("no length")
    def __iter__(self): raise RuntimeError("no items")
    def __eq__(self, other): raise RuntimeError("not equal")
    __hash__ = None

class Endless(dict):
    def items(self):
        while True:
            yield "T", 1

class Fake:
    def __getattribute__(self, name):
        if name == "__class__":
            return str
        raise RuntimeError(name)

class Mine:
    cell = "rnn"
    convention = "canonical"
    DECLARATION

    def forward(self, params, x, h0, c0=None):
        return None
"""

DECLARATIONS = [
    "cell = 'lstm-layers1000000'",
    "cell = 'lstm-layers' + '9' * 5000",
    "cell = 'lstm-proj1000000000000'",
    "cell = 'gru' * 10**6",
    "cell = Evil()",
    "cell = Fake()",
    "cell = 3.5",
    "cell = gk.cells.Cell('rnn', layers=10**9)",
    "cell = gk.cells.Cell('x', hard='y', clip=Evil())",
    "cell = property(lambda self: 1 / 0)",
    "convention = Evil()",
    "convention = 'keras' * 10**6",
    "convention = {'Convention': {'layouts': 3}}",
    "convention = ['Convention']",
    "dtypes = Evil()",
    "dtypes = (Evil(), 3)",
    "dtypes = 'float32'",
    "dtypes = ['float32'] * 10**6",
    "dtypes = ([],)",
    "sizes = {'H': 10**12}",
    "sizes = {'H': True, 'B': -1}",
    "sizes = {'T': 10**100}",
    "sizes = Endless()",
    "sizes = {Evil: Evil()}",
    "options = {'reverse': Evil()}",
    "options = {'batch_first': 1}",
    "notes = 3",
    "expected_failures = {'no_such_property': 'x'}",
    "expected_failures = {1: 2}",
    "expected_failures = {'empty_sequence': 3}",
    "expected_failures = Evil()",
    "own_weights = {'W': 'x'}",
    "own_weights = Endless()",
    "own_weights = {'W': np.zeros(3, object), 'U': np.zeros((2, 2)), 'b': np.zeros(2)}",
    "name = property(lambda self: 1 / 0)",
    "shapes = lambda self, D, H: Endless()",
    "__slots__ = ()\n    def __getattr__(self, name): raise KeyboardInterrupt",
]


@pytest.fixture(scope="module")
def process():
    with Isolation(timeout=20) as process:
        yield process


@pytest.mark.parametrize("declaration", DECLARATIONS)
def test_a_declaration_is_refused_or_taken_in_a_line(declaration, process, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(SOURCE.replace("DECLARATION", declaration))
    start = time.monotonic()
    try:
        with open_target(process, f"{path}:Mine") as opened:
            result = gk.audit(opened, profile="quick", only=["forward_within_budget"])
        said = result.findings[0].reason
    except GatecheckError as error:
        said = str(error)
    assert 0 < len(said) < 3 * MAX_TEXT
    assert "Traceback" not in said
    assert "bug in gatecheck" not in said
    assert time.monotonic() - start < 20


HARMLESS = ["notes = ['x' * 10**6] * 10**6", "notes = [Evil(), Evil()]", "name = Evil()"]


@pytest.mark.parametrize("declaration", HARMLESS)
def test_a_text_is_cut_or_described(declaration, process, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(SOURCE.replace("DECLARATION", declaration))
    try:
        with open_target(process, f"{path}:Mine") as opened:
            said = opened.limitations
    except GatecheckError as error:
        said = [str(error)]
    assert max(map(len, said), default=0) < 2 * MAX_TEXT


def test_the_limits_hold_in_this_process_too():
    kind = type("Mine", (gk.Builtin,), {"notes": ["x" * 10**6] * 3})
    assert all(len(note) <= MAX_TEXT + 1 for note in subject(kind("rnn")).notes)


def test_plain_data_has_limits():
    nested = []
    for _ in range(100):
        nested = [nested]
    assert "a list" in repr(to_plain(nested))
    assert to_plain(2**70) == Opaque("an integer of more than 64 bits")
    assert to_plain("x" * 10**6) == "x" * MAX_TEXT + "…"
    with pytest.raises(GatecheckError, match="more than 10,000 items"):
        to_plain([0] * (MAX_ITEMS + 1))
    huge = np.lib.stride_tricks.as_strided(np.zeros(1), (10**6, 10**6), (0, 0))
    assert to_plain(huge) == UnreadArray((10**6, 10**6), "float64")
    assert to_plain(np.array([object()])) == UnreadArray((1,), "object")
