"""Loading of targets by name: every form, every error, no lasting side effects."""

import importlib
import json
import os
import subprocess
import sys

import pytest

from gatecheck.cells import CELLS, GRU
from gatecheck.errors import GatecheckError, TargetError, UsageError
from gatecheck.targets import loading
from gatecheck.targets.loading import installed_targets, load

GOOD = """
from gatecheck.faults.edited_cell import EditedCell
from gatecheck.cells import GRU, RNN
class Mine(EditedCell):
    def __init__(self):
        super().__init__(GRU())
class Fails(Mine):
    def __init__(self):
        raise OSError("no library")
class Outer:
    Inner = Mine
mine = Mine()
number = 3
class Silent:
    def forward(self, params, x, h0, c0=None): ...
class Unknown(Silent):
    cell = "gruu"
class Foreign(Silent):
    cell, convention = "gru", "pytorhc"
class Listed(Silent):
    cell = ["gru"]
class Sized(Mine):
    sizes = 3
class Expecting(Mine):
    expected_failures = ["empty_sequence"]
class Typed(Mine):
    dtypes = "float32"
class Raising(Mine):
    @property
    def sizes(self):
        raise OSError("no library")
class Exits(Mine):
    def __init__(self):
        raise SystemExit(0)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Make a current folder with a file `mine.py`.

    Side effects of loading a target in this process are undone.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setitem(sys.modules, "json", json)
    (tmp_path / "mine.py").write_text(GOOD)
    yield tmp_path
    for name in [
        n
        for n, m in sys.modules.items()
        if str(getattr(m, "__file__", "")).startswith(str(tmp_path))
    ]:
        del sys.modules[name]


@pytest.mark.parametrize(
    "target",
    [
        "builtin:gru",
        "mine.py:Mine",
        "mine.py:mine",
        "./mine.py:Mine",
        "mine.py:Outer.Inner",
        "mine:Mine",
        "package.mine:mine",
    ],
)
def test_every_form_loads(folder, target):
    importlib.invalidate_caches()
    (folder / "package").mkdir()
    (folder / "package" / "mine.py").write_text(GOOD)
    found = load(target)
    assert found.name == target
    assert found.cell == GRU()


def test_an_absolute_path_loads_from_anywhere(folder, monkeypatch):
    monkeypatch.chdir("/")
    assert load(f"{folder / 'mine.py'}:Mine").cell == GRU()


def test_cell_and_convention_instead_of_what_is_declared(folder):
    found = load("mine.py:Silent", cell="rnn-relu", convention="pytorch")
    assert (found.cell.name, found.convention.name) == ("rnn-relu", "pytorch")


@pytest.mark.parametrize(
    ("target", "error", "fragment"),
    [
        ("mine.py", UsageError, "should be written builtin:CELL, torch.nn:CLASS"),
        ("", UsageError, "should be written"),
        (":", UsageError, "should be written"),
        ("mine.py:", UsageError, "should be written"),
        (":Mine", UsageError, "should be written"),
        ("builtin:gruu", UsageError, "there is no cell 'gruu'; the cells are rnn, .*lstm"),
        ("torch.nn:Linear", UsageError, "not a recurrent class"),
        ("no_such.py:Mine", TargetError, "there is no file no_such.py"),
        (".py:Mine", TargetError, r"there is no file \.py"),
        ("mine.py:Yours", TargetError, "mine.py:Yours: there is no Yours there"),
        ("mine.py:Outer.Other", TargetError, "there is no Outer.Other there"),
        (
            "no_such_package.cells:Mine",
            TargetError,
            "importing no_such_package.cells raised ModuleNotFoundError",
        ),
        ("mine..mine:Mine", TargetError, "importing mine..mine raised"),
        ("mine.py:number", TargetError, "has no forward"),
        ("mine.py:Silent", TargetError, "does not say which cell it is"),
        ("mine.py:Unknown", TargetError, "there is no cell 'gruu'"),
        ("mine.py:Foreign", TargetError, "there is no convention 'pytorhc'"),
        ("mine.py:Listed", TargetError, "cell"),
        ("mine.py:Sized", TargetError, "declares sizes 3"),
        ("mine.py:Expecting", TargetError, "expected_failures"),
        ("mine.py:Typed", TargetError, "declares dtypes '?float32"),
        ("mine.py:Raising", TargetError, "OSError: no library"),
        ("mine.py:Exits", TargetError, r"Exits\(\) raised SystemExit"),
        ("mine.py:Fails", TargetError, r"Fails\(\) raised OSError: no library"),
        ("grammar.py:Mine", TargetError, r"grammar.py raised SyntaxError: .*\(line 2\)"),
        ("null.py:Mine", TargetError, "null.py raised"),
        ("latin.py:Mine", TargetError, "latin.py raised"),
        ("raises.py:Mine", TargetError, "raises.py raised ZeroDivisionError: division by zero"),
        ("exits.py:Mine", TargetError, "exits.py raised SystemExit"),
        ("forgets.py:Mine", TargetError, "there is no Mine there"),
    ],
)
def test_a_bad_target(folder, target, error, fragment):
    files = {
        "grammar.py": b"x = 1\ndef f(:\n",
        "null.py": b"x = 1\x00",
        "latin.py": b"x = '\xe9'",
        "raises.py": b"1 / 0",
        "exits.py": b"import sys; sys.exit(0)",
        "forgets.py": b"import sys; sys.path.clear()",
    }
    for name, source in files.items():
        (folder / name).write_bytes(source)
    before = list(sys.path)
    with pytest.raises(GatecheckError, match=fragment) as caught:
        load(target)
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)
    assert sys.path == before


def test_bad_overrides(folder):
    with pytest.raises(GatecheckError, match="there is no cell 'x'"):
        load("mine.py:Mine", cell="x")
    with pytest.raises(GatecheckError, match="there is no convention 'x'"):
        load("mine.py:Mine", convention="x")


@pytest.mark.parametrize(
    "more", [{"cell": "lstm"}, {"convention": "pytorch"}], ids=["cell", "convention"]
)
@pytest.mark.parametrize("target", ["builtin:gru", "torch.nn:GRU", "keras.layers:GRU"])
def test_inapplicable_override_is_refused(target, more):
    with pytest.raises(UsageError):
        load(target, **more)


def test_a_class_may_be_made_with_options():
    bare, usual = load("torch.nn:GRU(bias=False)"), load("torch.nn:GRU(bias=True)")
    assert set(bare.convention.shapes(bare.cell, 2, 3)) == {"weight_ih_l0", "weight_hh_l0"}
    assert usual.convention.name == "pytorch"
    assert bare.name == "torch.nn:GRU(bias=False)"
    assert load("flax.linen:GRUCell(reverse=True)").options == {"reverse"}
    assert (
        load("torch.nn:LSTM(bias=False)", cell="lstm-proj2", device="cpu:0").session.target.device
        == "cpu:0"
    )


@pytest.mark.parametrize(
    ("target", "fragment"),
    [
        (
            "torch.nn:GRU(biass=False)",
            "biass=False is not an option of torch.nn here; the options are, by default, bias=True",
        ),
        ("torch.nn:GRU(bias=0)", "bias=0 is not an option"),
        ("torch.nn:GRU(bias=None)", "bias=None is not an option"),
        ("torch.nn:GRU(device='cpu')", "device='cpu' is not an option"),
        ("torch.nn:GRU(False)", "should be written MODULE:CLASS or MODULE:CLASS"),
        ("torch.nn:GRU(bias=x)", "should be written MODULE:CLASS or"),
        ("torch.nn:GRU(bias=False", "should be written MODULE:CLASS or"),
        ("torch.nn:GRU(bias=False)()", "should be written MODULE:CLASS or"),
        ("torch.nn:(bias=False)", "should be written MODULE:CLASS or"),
        ("torch.nn:GRU(**{'bias': False})", "None="),
        ("torch.nn:Linear(bias=False)", "torch.nn:Linear is not a recurrent class"),
        (
            "keras.layers:GRU(use_bias=False)",
            "use_bias=False is not an option of keras.layers here",
        ),
    ],
)
def test_options_that_make_no_sense(target, fragment):
    with pytest.raises(UsageError, match=fragment.replace("(", r"\(")) as caught:
        load(target)
    assert "\n" not in str(caught.value)


def test_a_file_imports_its_neighbours_and_the_path_is_restored(folder, monkeypatch):
    (folder / "far").mkdir()
    (folder / "far" / "neighbour.py").write_text(GOOD)
    (folder / "far" / "main.py").write_text(
        "from neighbour import Mine\nimport sys\nseen = list(sys.path)"
    )
    before = list(sys.path)
    assert load("far/main.py:Mine").cell == GRU()
    assert sys.path == before
    assert str(folder / "far") not in sys.path


def test_a_file_may_be_named_like_a_module_of_the_standard_library(folder):
    (folder / "json.py").write_text(GOOD)
    assert load("json.py:Mine").cell == GRU()
    assert sys.modules["json"] is json


def test_two_files_of_one_name_are_two_targets(folder):
    (folder / "other").mkdir()
    (folder / "other" / "mine.py").write_text(
        GOOD.replace("super().__init__(GRU())", "super().__init__(RNN())")
    )
    assert [load(t).cell.name for t in ("mine.py:Mine", "other/mine.py:Mine", "mine.py:Mine")] == [
        "gru",
        "rnn",
        "gru",
    ]


def test_a_dataclass_in_a_file_loads(folder):
    source = "from __future__ import annotations\nfrom dataclasses import dataclass\n" + GOOD
    (folder / "data.py").write_text(source + "\n@dataclass\nclass Sizes:\n    H: int = 3\n")
    assert load("data.py:Mine").cell == GRU()


def test_installed_targets_are_our_cells_and_the_frameworks():
    names = [name for name, _ in installed_targets()]
    assert names[: len(CELLS)] == [f"builtin:{cell}" for cell in CELLS]
    assert {
        "torch.nn:GRU",
        "torch.nn:LSTMCell",
        "keras.layers:GRU",
        "keras.layers:LSTMCell",
    } <= set(names)


def test_without_a_framework_its_targets_are_left_out(monkeypatch):
    monkeypatch.setattr(
        loading, "ADAPTERS", {"no_such_framework.nn": "gatecheck.targets.adapters.no_such"}
    )
    assert [name for name, _ in installed_targets()] == [f"builtin:{cell}" for cell in CELLS]


EXTRAS = {
    "torch": ("torch.nn:GRU", "torch"),
    "keras": ("keras.layers:GRU", "keras,torch"),
    "jax": ("flax.linen:GRUCell", "jax"),
    "flax": ("flax.nnx:GRUCell", "jax"),
    "equinox": ("equinox.nn:LSTMCell", "jax"),
    "haiku": ("haiku:LSTM", "jax"),
}

LOAD_WITHOUT = """
import json, sys
from gatecheck.errors import MissingExtraError
from gatecheck.targets.loading import load
said = {}
for missing, target in json.loads(sys.argv[1]).items():
    sys.modules[missing] = None
    try:
        load(target)
    except MissingExtraError as error:
        said[missing] = str(error)
    del sys.modules[missing]
print(json.dumps(said))
"""


def test_a_framework_that_is_not_installed_is_named_with_its_extra():
    """In a separate process, whose imports are its own."""
    targets = json.dumps({missing: target for missing, (target, _) in EXTRAS.items()})
    said = json.loads(
        subprocess.run(
            [sys.executable, "-c", LOAD_WITHOUT, targets], capture_output=True, check=True
        ).stdout
    )
    assert said.keys() == EXTRAS.keys()
    for missing, (_, extra) in EXTRAS.items():
        assert f'pip install "gatecheck[{extra}]"' in said[missing]


def test_missing_framework_is_a_one_line_error(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('not installed')")
    code = "from gatecheck.cli import main\nmain(['audit', 'torch.nn:GRU'])"
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.returncode == 3
    assert 'pip install "gatecheck[torch]"' in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
