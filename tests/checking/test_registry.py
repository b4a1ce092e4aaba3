"""Registry of properties: what can be registered, and what does not apply."""

from __future__ import annotations

import importlib
import types

import pytest

from gatecheck.cases import draw
from gatecheck.cases.strategies import SCOPES
from gatecheck.cells import TRAITS, Sizes
from gatecheck.checking import registry as module
from gatecheck.checking.evidence import Evidence
from gatecheck.checking.registry import PLAIN_LAYER, property_check
from gatecheck.errors import UsageError
from gatecheck.implementation import subject
from gatecheck.implementation.protocol import ABILITIES
from gatecheck.kernels import Builtin


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """Return an empty registry for the test; the real one is put back."""
    monkeypatch.setattr(module, "REGISTRY", {})
    return module.REGISTRY


def make_function(
    name,
    source="def {name}(implementation, case):\n    '''It holds.\n\n    Always.'''\n    return case",
    file="a.py",
):
    """Return a function of that name, compiled as if from that file."""
    space = {}
    exec(compile(source.format(name=name), file, "exec"), space)
    return space[name]


def test_a_registered_function_is_a_property(registry):
    entry = property_check(needs=["gated"], cases="tiny", dtypes=("float64",), reference=True)(
        make_function("it_holds")
    )
    assert registry == {"it_holds": entry}
    assert (entry.name, entry.needs, entry.dtypes, entry.reference) == (
        "it_holds",
        {"gated", *PLAIN_LAYER},
        ("float64",),
        True,
    )
    assert (entry.theorem, entry.summary) == ("It holds.\n\nAlways.", "It holds.")
    assert entry.case_scope is SCOPES["tiny"]


def test_a_property_needs_one_plain_layer_by_default():
    entry = property_check()(make_function("it_holds"))
    assert (entry.needs, entry.dtypes, entry.reference, entry.case_scope) == (
        PLAIN_LAYER,
        ("float32", "float64"),
        False,
        SCOPES["present"],
    )


def test_a_property_that_holds_anywhere_needs_nothing():
    assert property_check(anywhere=True)(make_function("it_holds")).needs == frozenset()


def test_a_property_is_called_with_an_implementation_and_a_case():
    calls = []

    @property_check()
    def it_holds(implementation, case):
        """It holds."""
        calls.append((implementation, case))
        return Evidence(judged=1)

    target, case = (
        subject(Builtin("gru")),
        draw(Builtin("gru").cell, Sizes(2, 1, 1, 2), seed=0, dtype="float64"),
    )
    assert it_holds(target, case) == Evidence(judged=1)
    assert calls == [(target, case)]


BAD = [
    ({"needs": ["gates"]}, r"a property needs unknown traits \['gates'\] or cases 'present'"),
    ({"needs": ["kink", "bounded"]}, r"unknown traits \['kink'\]"),
    ({"cases": "all"}, r"unknown traits \[\] or cases 'all'"),
]


@pytest.mark.parametrize(("asked", "message"), BAD, ids=[m for _, m in BAD])
def test_unknown_traits_and_scopes_are_errors(asked, message, registry):
    with pytest.raises(UsageError, match=message):
        property_check(**asked)
    assert registry == {}


@pytest.mark.parametrize("source", ["def {name}(i, c): pass", "def {name}(i, c): ''"])
def test_a_property_states_its_theorem(source, registry):
    with pytest.raises(UsageError, match="the property silent states no theorem in its docstring"):
        property_check()(make_function("silent", source))
    assert registry == {}


def module_loader(tmp_path, name, text):
    """Return a function that loads the module of a file again at each call."""
    path = tmp_path / f"{name}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    assert isinstance(module, types.ModuleType)
    return lambda: spec.loader.exec_module(module)


SOURCE = (
    "from gatecheck.checking.registry import property_check\n@property_check()\ndef "
    "copies(i, c):\n    'It copies.'\n"
)


def test_a_module_may_be_loaded_twice(tmp_path, registry):
    load = module_loader(tmp_path, "one", SOURCE)
    load()
    first = registry["copies"]
    load()
    assert list(registry) == ["copies"]
    assert registry["copies"] is not first


def test_two_files_may_not_use_one_name(tmp_path):
    module_loader(tmp_path, "one", SOURCE)()
    with pytest.raises(UsageError, match="there are two properties named copies"):
        module_loader(tmp_path, "two", SOURCE)()


def test_one_file_may_not_use_a_name_twice(tmp_path):
    # The first would silently be missing from every audit.
    with pytest.raises(UsageError, match="there are two properties named copies"):
        module_loader(tmp_path, "both", SOURCE + SOURCE)()


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
    """Target that declares what it can do and is never called."""

    forward = backward = print

    def __init__(self, cell):
        self.cell = cell


@pytest.mark.parametrize(("cell", "asked", "attributes", "reason"), APPLIES)
def test_why_a_property_does_not_apply(cell, asked, attributes, reason):
    target = Declared(cell)
    for name, value in attributes.items():
        setattr(target, name, value)
    assert (
        property_check(**asked)(make_function("it_holds")).why_not_applicable(subject(target))
        == reason
    )
