"""The ``gatecheck explain`` command: explanations by name, and suggestions."""

from __future__ import annotations

import shlex
from io import StringIO

import pytest
from click.testing import CliRunner
from rich.console import Console

from gatecheck.auditing import explore
from gatecheck.auditing.audit import claims
from gatecheck.auditing.lookup import meaning
from gatecheck.cli import main
from gatecheck.conventions import CONVENTIONS
from gatecheck.errors import UsageError
from gatecheck.faults.catalogue import faults, mutants
from gatecheck.mutation.kill_matrix import Killing
from gatecheck.report.claims_table import explanation
from gatecheck.report.faults_table import fault_in_full


@pytest.fixture
def gk(monkeypatch):
    monkeypatch.setitem(explore.PROFILES, "quick", 2)
    monkeypatch.setenv("COLUMNS", "60")  # narrower than a command, which must not wrap

    def run(*arguments):
        done = CliRunner().invoke(main, list(arguments))
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
        return done.exit_code, done.output

    return run


def test_no_name_means_two_things():
    names = [{c.name for c in claims()}, set(CONVENTIONS), {f.name for f in faults()}]
    assert sum(map(len, names)) == len(set.union(*names))


def test_a_property(gk):
    status, printed = gk("explain", "clipped_memory_stays_within_its_clip")
    assert status == 0
    assert "holds only if the cell state is clipped" in printed
    assert "faults of a lstm-clip0.5:" in printed


def test_a_fault_says_what_it_does_who_wrote_it_what_kills_it_and_how_to_see_that(gk):
    status, printed = gk("explain", "rnn: absent dy refused")
    assert status == 0
    assert "A backward without dy raises an exception." in printed
    assert "seen in pytorch/pytorch#96416" in printed
    assert "a fault in a wrapper around the cell" in printed
    killers = [
        line.split()[0]
        for line in printed.splitlines()
        if line.strip() and line.split()[-1].isdecimal()
    ]
    assert "absent_arrays_are_zero" in killers
    (command,) = [line for line in printed.splitlines() if "gatecheck faults" in line]
    status, again = gk(*shlex.split(command)[1:])
    assert status == 0
    assert [
        line.split()[0]
        for line in again.splitlines()
        if line.strip() and line.split()[-1].isdecimal()
    ] == killers


def test_a_fault_by_its_bare_name_says_in_which_cells(gk):
    found = meaning("h0 ignored")
    assert len(found) > 1
    status, printed = gk("explain", "h0 ignored")
    assert status == 0
    printed = " ".join(printed.split())
    assert printed.startswith(found[0].label)
    assert f"the same in: {', '.join(f.cell for f in found[1:])}" in printed


def test_a_fault_of_one_cell_and_a_generated_one():
    assert [f.label for f in meaning("lstm: f missing in dc")] == ["lstm: f missing in dc"]
    generated = next(iter(mutants("gru")))
    assert [f.label for f in meaning(generated.label)] == [generated.label]


def printed(what):
    out = Console(file=StringIO(), width=200)
    out.print(what)
    return out.file.getvalue()


def test_every_property_is_explained_by_its_whole_theorem():
    for prop in claims():
        assert meaning(prop.name) is prop
        text = " ".join(printed(explanation(prop)).split())
        assert " ".join(prop.theorem.split()) in text
        assert "tried on float" in text


def test_every_fault_is_explained_by_its_label_and_by_its_name():
    by_name = {}
    for fault in faults():
        by_name.setdefault(fault.name, []).append(fault)
    for name, found in by_name.items():
        assert list(meaning(name)) == found
        first = found[0]
        nothing = Killing(
            first.name,
            first.cell,
            first.says,
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
        said = " ".join(printed(fault_in_full(found, nothing)).split())
        assert all(" ".join(fault.says.split()) in said for fault in found)
    assert all(meaning(fault.label) == (fault,) for found in by_name.values() for fault in found)


@pytest.mark.parametrize("name", CONVENTIONS)
def test_every_convention(gk, name):
    status, printed = gk("explain", name)
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


def test_the_arrays_of_a_convention(gk):
    printed = gk("explain", "paddle-cell")[1]
    assert "  weight_ih (20, 3) = [W : ifgo]" in printed
    assert "  weight_ho (5, 2) = [R']" in printed
    assert "  R: the projection" in printed
    assert "  B (1, 20) = [b | c_n : zrn]" in gk("explain", "openvino")[1]
    assert "  Wf" not in printed
    assert "  inputGateWeightMatrix (5, 3) = [W : i]" in gk("explain", "coreml")[1]


NEAR = [
    ("pytroch", "did you mean 'pytorch' or 'pytorch-cell'?"),
    ("f mising in dc", "did you mean 'f missing in dc' or"),
    ("update_gate_of_zeroes_copies", "did you mean 'update_gate_of_zeros_copies'"),
    ("lstm: f missing in dd", "did you mean 'lstm: f missing in d"),
    ("", "there is no property, fault or convention ''; `gatecheck properties`"),
    ("§§§", "there is no property, fault or convention '§§§'; `gatecheck properties`"),
]


@pytest.mark.parametrize(("name", "message"), NEAR, ids=[n for n, _ in NEAR])
def test_what_means_nothing_has_near_names(name, message):
    with pytest.raises(UsageError) as caught:
        meaning(name)
    assert message in str(caught.value)


def test_on_the_command_line_it_is_a_mistake(gk):
    status, printed = gk("explain", "pytroch")
    assert (status, len(printed.splitlines())) == (2, 1)
