"""An audit in the profile thorough proves what can be proven, and names the rest."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console

import gatecheck as gk
from gatecheck.auditing import audit, prove
from gatecheck.auditing.explore import PROFILES, silent
from gatecheck.auditing.isolation import process as isolation
from gatecheck.auditing.isolation.process import Isolation
from gatecheck.cells import GRU
from gatecheck.cli import main
from gatecheck.kernels.builtin import Builtin
from gatecheck.proofs import ranges
from gatecheck.proofs.proof import Proof
from gatecheck.report.audit_page import audit_html, audit_markdown
from gatecheck.report.audit_table import audit_table

EXPECTED = {"the equations of gru": "proved", "the activations of Builtin": "sampled"}


def printed(table):
    """Return a table as a terminal shows it."""
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()


@pytest.fixture
def short(monkeypatch):
    """Shorten the profile thorough to one case per property and few floats."""
    monkeypatch.setitem(PROFILES, "thorough", 1)
    monkeypatch.setattr(audit, "of_activations", partial(prove.of_activations, stride=40_009))


@pytest.fixture
def proven(short):
    return gk.audit(Builtin("gru"), profile="thorough")


def test_our_own_cells_get_proofs_of_equations_and_activations(proven):
    assert proven.verdict == "pass"
    assert {p.of: p.outcome for p in proven.proofs} == EXPECTED
    assert proven.to_json()["proofs"][0]["says"] == "r, z in [0, 1]"


def test_proofs_are_for_the_thorough_profile_as_a_whole(short):
    assert gk.audit(Builtin("gru"), profile="quick", only=["empty_sequence"]).proofs == []
    assert gk.audit(Builtin("gru"), profile="thorough", only=["empty_sequence"]).proofs == []


def test_every_report_has_them(proven):
    line = (
        "proved of the equations of gru, for all real inputs, states and parameters, of any "
        "sizes, after any number of steps: r, z in"
    )
    assert line in audit_html(proven, "gatecheck audit builtin:gru")
    assert "proved of the equations of gru, for all real inputs" in audit_markdown(proven)
    shown = printed(audit_table(proven, "gatecheck audit builtin:gru"))
    assert "for all inputs" in shown
    assert "|n| ≤ 1" in shown
    assert "held where tried of the activations of Builtin" in shown


@pytest.mark.parametrize("dtypes", [("float32",), ("float64",), ("float32", "float64")])
def test_dtypes_that_are_not_declared_are_not_tried(dtypes):
    found = prove.of_activations(Builtin("rnn"), "ours", dtypes, silent, stride=400_009)
    assert len(found) == 2 * ("float32" in dtypes) + ("float64" in dtypes)


def test_the_activations_of_ours_are_those_that_the_cell_has():
    shown = {
        name: sorted(Builtin(name).activations)
        for name in ("rnn", "rnn-relu", "rnn-sigmoid", "gru", "lstm-peepholes")
    }
    both = ["sigmoid", "tanh"]
    assert shown == {
        "rnn": ["tanh"],
        "rnn-relu": [],
        "rnn-sigmoid": ["sigmoid"],
        "gru": both,
        "lstm-peepholes": both,
    }


class Wrong(Builtin):
    """Our RNN, with a tanh that is less accurate than it promises."""

    def __init__(self):
        super().__init__("rnn")
        self.activations = {"tanh": lambda x: np.tanh(x) * x.dtype.type(1 + 1e-6)}


def test_a_refuted_activation_fails_the_audit(short):
    found = gk.audit(Wrong(), profile="thorough", diagnose=False)
    assert (found.verdict, found.findings) == ("fail", [])
    assert "refuted" in {p.outcome for p in found.proofs}
    assert "refuted of the activations of Wrong" in printed(audit_table(found, "x"))


@pytest.mark.parametrize(
    ("shown", "says"),
    [
        (3, "activations is a int, but should be a dict of functions"),
        ({"gelu": np.abs}, "of Hostile has an activation 'gelu'"),
        ({"tanh": lambda x: 1 / 0}, "ZeroDivisionError: division by zero"),
        (
            {"tanh": lambda x: x[:1]},
            "returned an array of float32 and shape (1,) for three numbers of float32",
        ),
    ],
)
def test_what_a_target_shows_may_be_anything(shown, says):
    target = type("Hostile", (), {"activations": shown})()
    (found,) = prove.of_activations(target, "Hostile", ("float32",), silent)
    assert (found.outcome, says in found.detail) == ("not proved", True), found


FOREIGN = """
import numpy as np
from gatecheck.kernels.builtin import Builtin

class Mine(Builtin):
    def __init__(self):
        super().__init__("rnn")
        self.activations = ACTIVATIONS
"""


@pytest.mark.parametrize(
    ("activations", "of", "note"),
    [
        ("{}", {"the equations of rnn"}, True),
        (
            '{"tanh": lambda x: np.tanh(x.astype(float)).astype(x.dtype)}',
            {"the equations of rnn", "the activations of Mine"},
            False,
        ),
    ],
)
def test_in_a_process_of_its_own_only_what_is_shown_is_its_own(
    short, tmp_path, activations, of, note
):
    (tmp_path / "mine.py").write_text(FOREIGN.replace("ACTIVATIONS", activations))
    with Isolation() as process:
        found = isolation.audit(process, f"{tmp_path / 'mine.py'}:Mine", profile="thorough")
    assert found.verdict == "pass"
    assert {re.sub("/.*/mine.py:", "", p.of) for p in found.proofs} == of
    assert (
        "only the equations are proven for all inputs: it exposes no activations"
        in found.narrowings
    ) == note
    own = [p for p in found.proofs if "activations" in p.of]
    assert all(p.outcome == "sampled" for p in own)


def test_without_python_flint_an_audit_says_what_is_missing(short, monkeypatch):
    for name in [
        m
        for m in sys.modules
        if m.startswith(("gatecheck.proofs.ranges", "gatecheck.oracles.", "flint"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "flint", None)
    monkeypatch.delattr(sys.modules["gatecheck.proofs"], "ranges", raising=False)
    proofs, notes = prove.proven(GRU(), lambda progress: [], silent)
    assert proofs == []
    assert notes == [
        "nothing is proven for all inputs: certified values need python-flint: pip install "
        '"gatecheck[certified]"'
    ]


def test_the_command(tmp_path, monkeypatch):
    done = CliRunner().invoke(
        main,
        ["prove", "gru", "--stride", "40009", "--json", str(tmp_path / "p.json")],
        env={"COLUMNS": "150"},
    )
    assert done.exit_code == 0, done.output
    assert "proved of the equations of gru, for all real inputs" in done.output
    assert "h' = (-z + 1) h + (z) n as polynomials" in done.output
    assert "held where tried of our activations, for one float32 in 40,009" in done.output
    assert '"outcome": "sampled"' in (tmp_path / "p.json").read_text()
    assert CliRunner().invoke(main, ["prove", "gruu"]).exit_code == 2
    wrong = Proof("the equations of gru", "0 < z < 1", "all", "refuted", "z is 2")
    monkeypatch.setattr(ranges, "proofs", lambda cell: [wrong])
    done = CliRunner().invoke(main, ["prove", "gru", "--stride", "400009"])
    assert (
        done.exit_code,
        "refuted of the equations of gru, for all:" in done.output,
        "z is 2" in done.output,
    ) == (1, True, True)


def test_the_command_without_python_flint_is_one_line():
    code = (
        "import sys; sys.modules['flint'] = None; from gatecheck.cli import main; main(['prove', "
        "'gru'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (3, "")
    assert (
        done.stderr
        == 'gatecheck: certified values need python-flint: pip install "gatecheck[certified]"\n'
    )
