"""An audit in the profile thorough proves what can be proven, and names the rest."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console

import gatecheck as gk
from gatecheck.auditing import audit, prove
from gatecheck.auditing.explore import PROFILES, ignore_progress
from gatecheck.auditing.isolation.process import Isolation
from gatecheck.auditing.isolation.run import open_target
from gatecheck.auditing.options import AuditOptions
from gatecheck.cli import main
from gatecheck.implementation import subject
from gatecheck.kernels.builtin import Builtin
from gatecheck.proofs import ranges
from gatecheck.proofs.proof import Proof
from gatecheck.report.audit_page import audit_html, audit_markdown
from gatecheck.report.audit_table import audit_report

EXPECTED = {"the equations of gru": "proved", "the activations of Builtin": "sampled"}


def render_table(table):
    """Return a table as a terminal shows it."""
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()


@pytest.fixture
def short_profile(monkeypatch):
    """Shorten the profile thorough to one case per property and few floats."""
    monkeypatch.setitem(PROFILES, "thorough", 1)
    monkeypatch.setattr(prove, "prove_activations", partial(prove.prove_activations, stride=40_009))


@pytest.fixture
def thorough_result(short_profile):
    return gk.audit(Builtin("gru"), profile="thorough")


def test_our_own_cells_get_proofs_of_equations_and_activations(thorough_result):
    assert thorough_result.verdict == "pass"
    assert {p.topic: p.outcome for p in thorough_result.proofs} == EXPECTED
    assert thorough_result.to_json()["proofs"][0]["statement"] == "r, z in [0, 1]"


def test_proofs_are_for_the_thorough_profile_as_a_whole(short_profile):
    assert gk.audit(Builtin("gru"), profile="quick", only=["empty_sequence"]).proofs == ()
    assert gk.audit(Builtin("gru"), profile="thorough", only=["empty_sequence"]).proofs == ()


def test_every_report_has_proofs(thorough_result):
    line = (
        "proved of the equations of gru, for all real inputs, states and parameters, of any "
        "sizes, after any number of steps: r, z in"
    )
    assert line in audit_html(thorough_result, "gatecheck audit builtin:gru")
    assert "proved of the equations of gru, for all real inputs" in audit_markdown(thorough_result)
    shown = render_table(audit_report(thorough_result, "gatecheck audit builtin:gru"))
    assert "for all inputs" in shown
    assert "|n| ≤ 1" in shown
    assert "held where tried of the activations of Builtin" in shown


@pytest.mark.parametrize("dtypes", [("float32",), ("float64",), ("float32", "float64")])
def test_dtypes_that_are_not_declared_are_not_tried(dtypes):
    ours = replace(subject(Builtin("rnn")), dtypes=dtypes)
    found = prove.prove_activations(ours, ignore_progress, stride=400_009)
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


def test_a_refuted_activation_fails_the_audit(short_profile):
    found = gk.audit(Wrong(), profile="thorough", diagnose=False)
    assert (found.verdict, found.findings) == ("fail", [])
    assert "refuted" in {p.outcome for p in found.proofs}
    assert "refuted of the activations of Wrong" in render_table(audit_report(found, "x"))


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
def test_invalid_activations_are_not_proved(shown, says):
    target = type("Hostile", (Builtin,), {"dtypes": ("float32",)})("rnn")
    target.activations = shown
    (found,) = prove.prove_activations(subject(target), ignore_progress)
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
def test_isolated_proofs_of_activations(short_profile, tmp_path, activations, of, note):
    (tmp_path / "mine.py").write_text(FOREIGN.replace("ACTIVATIONS", activations))
    with Isolation() as process, open_target(process, f"{tmp_path / 'mine.py'}:Mine") as opened:
        found = audit.run_audit(opened, AuditOptions("thorough"))
    assert found.verdict == "pass"
    assert {re.sub("/.*/mine.py:", "", p.topic) for p in found.proofs} == of
    assert (
        "only the equations are proven for all inputs: it exposes no activations"
        in found.limitations
    ) == note
    own = [p for p in found.proofs if "activations" in p.topic]
    assert all(p.outcome == "sampled" for p in own)


def test_without_python_flint_an_audit_says_what_is_missing(short_profile, monkeypatch):
    for name in [
        m
        for m in sys.modules
        if m.startswith(("gatecheck.proofs.ranges", "gatecheck.oracles.", "flint"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "flint", None)
    monkeypatch.delattr(sys.modules["gatecheck.proofs"], "ranges", raising=False)
    proofs, notes = prove.prove(subject(Builtin("gru")), ignore_progress)
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
    monkeypatch.setattr(ranges, "prove_cell", lambda cell: [wrong])
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
