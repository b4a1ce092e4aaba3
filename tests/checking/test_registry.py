"""The registry of claims: what can be registered, and what is said where a claim does not apply."""

from __future__ import annotations

import importlib
import types

import pytest

from gatecheck.cases import draw
from gatecheck.cases.strategies import SCOPES
from gatecheck.cells import TRAITS, Sizes
from gatecheck.checking import registry as claims
from gatecheck.checking.evidence import Evidence
from gatecheck.checking.registry import PLAIN, claim
from gatecheck.errors import UsageError
from gatecheck.implementation import subject
from gatecheck.implementation.protocol import ABILITIES
from gatecheck.kernels import Builtin


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """An empty registry for the test; the real one is put back."""
    monkeypatch.setattr(claims, "REGISTRY", {})
    return claims.REGISTRY


def named(
    name,
    source="def {name}(implementation, case):\n    '''It holds.\n\n    Always.'''\n    return case",
    file="a.py",
):
    """A function of that name, compiled as if from that file."""
    space = {}
    exec(compile(source.format(name=name), file, "exec"), space)
    return space[name]


def test_a_registered_function_is_a_claim(registry):
    made = claim(needs=["gated"], cases="tiny", dtypes=("float64",), reference=True)(
        named("it_holds")
    )
    assert registry == {"it_holds": made}
    assert (made.name, made.needs, made.dtypes, made.reference) == (
        "it_holds",
        {"gated", *PLAIN},
        ("float64",),
        True,
    )
    assert (made.theorem, made.summary) == ("It holds.\n\nAlways.", "It holds.")
    assert made.cases is SCOPES["tiny"]


def test_a_claim_asks_for_one_plain_layer_by_default():
    made = claim()(named("it_holds"))
    assert (made.needs, made.dtypes, made.reference, made.cases) == (
        PLAIN,
        ("float32", "float64"),
        False,
        SCOPES["present"],
    )


def test_a_claim_that_holds_anywhere_asks_for_nothing():
    assert claim(anywhere=True)(named("it_holds")).needs == frozenset()


def test_a_claim_is_called_with_an_implementation_and_a_case():
    seen = []

    @claim()
    def it_holds(implementation, case):
        """It holds."""
        seen.append((implementation, case))
        return Evidence(judged=1)

    mine, case = (
        subject(Builtin("gru")),
        draw(Builtin("gru").cell, Sizes(2, 1, 1, 2), seed=0, dtype="float64"),
    )
    assert it_holds(mine, case) == Evidence(judged=1)
    assert seen == [(mine, case)]


BAD = [
    ({"needs": ["gates"]}, r"a claim asks for unknown traits \['gates'\] or cases 'present'"),
    ({"needs": ["kink", "bounded"]}, r"unknown traits \['kink'\]"),
    ({"cases": "all"}, r"unknown traits \[\] or cases 'all'"),
]


@pytest.mark.parametrize(("asked", "message"), BAD, ids=[m for _, m in BAD])
def test_what_does_not_exist_cannot_be_asked_for(asked, message, registry):
    with pytest.raises(UsageError, match=message):
        claim(**asked)
    assert registry == {}


@pytest.mark.parametrize("source", ["def {name}(i, c): pass", "def {name}(i, c): ''"])
def test_a_claim_states_its_theorem(source, registry):
    with pytest.raises(UsageError, match="the claim silent states no theorem in its docstring"):
        claim()(named("silent", source))
    assert registry == {}


def on_disk(tmp_path, name, text):
    """The module of a file, anew at each call."""
    path = tmp_path / f"{name}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    assert isinstance(module, types.ModuleType)
    return lambda: spec.loader.exec_module(module)


ONE = (
    "from gatecheck.checking.registry import claim\n@claim()\ndef copies(i, c):\n    'It copies.'\n"
)


def test_a_module_may_be_loaded_twice(tmp_path, registry):
    load = on_disk(tmp_path, "one", ONE)
    load()
    first = registry["copies"]
    load()
    assert list(registry) == ["copies"]
    assert registry["copies"] is not first


def test_two_files_may_not_use_one_name(tmp_path):
    on_disk(tmp_path, "one", ONE)()
    with pytest.raises(UsageError, match="there are two claims named copies"):
        on_disk(tmp_path, "two", ONE)()


def test_one_file_may_not_use_a_name_twice(tmp_path):
    # The first would be gone from every audit without a word.
    with pytest.raises(UsageError, match="there are two claims named copies"):
        on_disk(tmp_path, "both", ONE + ONE)()


APPLIES = [
    ("gru", {}, {}, None),
    ("gru", {"needs": ["gated", "update_gate", "backward"]}, {}, None),
    ("lstm", {"needs": ["update_gate"]}, {}, f"holds only if {TRAITS['update_gate']}"),
    ("rnn", {"needs": ["cell_state"]}, {}, f"holds only if {TRAITS['cell_state']}"),
    ("rnn-relu", {"needs": ["bounded"]}, {}, f"holds only if {TRAITS['bounded']}"),
    ("gru", {"needs": ["backward"]}, {"backward": None}, f"holds only if {ABILITIES['backward']}"),
    (
        "gru",
        {"needs": ["complex"]},
        {"dtypes": ("float64",)},
        f"holds only if {ABILITIES['complex']}",
    ),
    (
        "gru",
        {"needs": ["update_gate", "backward"]},
        {"cell": "lstm", "backward": None},
        f"holds only if {ABILITIES['backward']}",
    ),
    ("gru", {"dtypes": ("float64",)}, {"dtypes": ("float32",)}, "is judged in float64 only"),
    ("gru", {"dtypes": ("float64",)}, {"dtypes": ("float32", "float64")}, None),
]


class Declared:
    """Something that declares what it can do and is never called."""

    forward = backward = print

    def __init__(self, cell):
        self.cell = cell


@pytest.mark.parametrize(("cell", "asked", "attributes", "reason"), APPLIES)
def test_why_a_claim_says_nothing(cell, asked, attributes, reason):
    target = Declared(cell)
    for name, value in attributes.items():
        setattr(target, name, value)
    assert claim(**asked)(named("it_holds")).inapplicable(subject(target)) == reason
