"""The ``gatecheck explain`` command: explanations by name, and suggestions."""

from __future__ import annotations

import shlex
from io import StringIO

import pytest
from click.testing import CliRunner
from rich.console import Console

from gatecheck.auditing import explore
from gatecheck.auditing.lookup import lookup
from gatecheck.auditing.selection import select_properties
from gatecheck.cli import main
from gatecheck.conventions import CONVENTIONS
from gatecheck.errors import UsageError
from gatecheck.faults.catalogue import faults, mutants
from gatecheck.mutation.kill_matrix import FaultResult
from gatecheck.report.faults_table import fault_in_full
from gatecheck.report.properties_table import property_in_full


@pytest.fixture
def run_gatecheck(monkeypatch):
    monkeypatch.setitem(explore.PROFILES, "quick", 2)
    monkeypatch.setenv("COLUMNS", "60")  # narrower than a command, which must not wrap

    def run(*arguments):
        done = CliRunner().invoke(main, list(arguments))
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
        return done.exit_code, done.output

    return run


def test_names_are_unique():
    names = [{c.name for c in select_properties()}, set(CONVENTIONS), {f.name for f in faults()}]
    assert sum(map(len, names)) == len(set.union(*names))


def test_explain_a_property(run_gatecheck):
    status, printed = run_gatecheck("explain", "cell_state_stays_within_clip")
    assert status == 0
    assert "holds only if the cell state is clipped" in printed
    assert "faults of a lstm-clip0.5:" in printed


def test_a_fault_is_explained_with_source_killers_and_command(run_gatecheck):
    status, printed = run_gatecheck("explain", "rnn: absent dy refused")
    assert status == 0
    assert "A backward without dy raises an exception." in printed
    assert "seen in pytorch/pytorch#96416" in printed
    assert "a fault in a wrapper around the cell" in printed
    killers = [
        line.split()[0]
        for line in printed.splitlines()
        if line.strip() and line.split()[-1].isdecimal()
    ]
    assert "absent_arrays_mean_zero" in killers
    (command,) = [line for line in printed.splitlines() if "gatecheck faults" in line]
    status, again = run_gatecheck(*shlex.split(command)[1:])
    assert status == 0
    assert [
        line.split()[0]
        for line in again.splitlines()
        if line.strip() and line.split()[-1].isdecimal()
    ] == killers


def test_a_fault_name_without_a_cell_lists_its_cells(run_gatecheck):
    found = lookup("h0 ignored")
    assert len(found) > 1
    status, printed = run_gatecheck("explain", "h0 ignored")
    assert status == 0
    printed = " ".join(printed.split())
    assert printed.startswith(found[0].label)
    assert f"the same in: {', '.join(f.cell for f in found[1:])}" in printed


def test_a_fault_of_one_cell_and_a_generated_one():
    assert [f.label for f in lookup("lstm: f missing in dc")] == ["lstm: f missing in dc"]
    generated = next(iter(mutants("gru")))
    assert [f.label for f in lookup(generated.label)] == [generated.label]


def render_text(renderable):
    out = Console(file=StringIO(), width=200)
    out.print(renderable)
    return out.file.getvalue()


def test_every_property_is_explained_by_its_whole_theorem():
    for prop in select_properties():
        assert lookup(prop.name) is prop
        text = " ".join(render_text(property_in_full(prop)).split())
        assert " ".join(prop.theorem.split()) in text
        assert "tried on float" in text


def test_every_fault_is_explained_by_its_label_and_by_its_name():
    by_name = {}
    for fault in faults():
        by_name.setdefault(fault.name, []).append(fault)
    for name, found in by_name.items():
        assert list(lookup(name)) == found
        first = found[0]
        nothing = FaultResult(
            first.name,
            first.cell,
            first.description,
            first.source,
            first.equivalent,
            "",
            {},
            [],
            False,
            (),
            0,
            0.0,
        )
        said = " ".join(render_text(fault_in_full(found, nothing)).split())
        assert all(" ".join(fault.description.split()) in said for fault in found)
    assert all(lookup(fault.label) == (fault,) for found in by_name.values() for fault in found)


@pytest.mark.parametrize("name", CONVENTIONS)
def test_explain_every_convention(run_gatecheck, name):
    status, printed = run_gatecheck("explain", name)
    assert status == 0
    printed = " ".join(printed.split())
    known = {"run": "run against its framework: ", "read": "read, but never run: "}.get(
        CONVENTIONS[name].source.partition(": ")[0]
    )
    assert (
        known
        or ("our own" if name == "canonical" else "compared with its framework by our tests: ")
    ) in printed
    for layout in CONVENTIONS[name].layouts.values():
        assert len(layout.order) == 1 or f"gates in the order {' '.join(layout.order)}" in printed
        assert all(f"its {k} is our 1 - {k}" in printed for k in layout.negated)


def test_the_arrays_of_a_convention(run_gatecheck):
    printed = run_gatecheck("explain", "paddle-cell")[1]
    assert "  weight_ih (20, 3) = [W : ifgo]" in printed
    assert "  weight_ho (5, 2) = [R']" in printed
    assert "  R: the projection" in printed
    assert "  B (1, 20) = [b | c_n : zrn]" in run_gatecheck("explain", "openvino")[1]
    assert "  Wf" not in printed
    assert "  inputGateWeightMatrix (5, 3) = [W : i]" in run_gatecheck("explain", "coreml")[1]


SUGGESTIONS = [
    ("pytroch", "did you mean 'pytorch' or 'pytorch-cell'?"),
    ("f mising in dc", "did you mean 'f missing in dc' or"),
    ("update_gate_of_zeroes_copies", "did you mean 'update_gate_of_zeros_copies'"),
    ("lstm: f missing in dd", "did you mean 'lstm: f missing in d"),
    ("", "there is no property, fault or convention ''; `gatecheck properties`"),
    ("§§§", "there is no property, fault or convention '§§§'; `gatecheck properties`"),
]


@pytest.mark.parametrize(("name", "message"), SUGGESTIONS, ids=[n for n, _ in SUGGESTIONS])
def test_an_unknown_name_gets_suggestions(name, message):
    with pytest.raises(UsageError) as caught:
        lookup(name)
    assert message in str(caught.value)


def test_an_unknown_name_is_a_usage_error(run_gatecheck):
    status, printed = run_gatecheck("explain", "pytroch")
    assert (status, len(printed.splitlines())) == (2, 1)
