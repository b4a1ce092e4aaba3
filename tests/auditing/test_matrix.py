"""The kill matrix on a handful of faults."""

from __future__ import annotations

import json

import pytest
from rich.console import Console

from gatecheck.auditing.matrix import catch, catches, judge, matrix, report
from gatecheck.auditing.runner import claims
from gatecheck.report.claims_table import catches_list
from gatecheck.report.faults_table import fault_table, faults_table, save_faults_figure

LABELS = ["rnn: h0 ignored", "rnn-relu: slope squared", "rnn: dh not carried", "rnn: x scaled in place"]


@pytest.fixture(scope="module")
def killings():
    return matrix(LABELS, profile="quick", workers=2)


def shown(what):
    console = Console(width=120)
    with console.capture() as capture:
        console.print(what)
    return capture.get()


def test_faults_are_killed_and_the_equivalent_one_is_not(killings):
    assert [f"{k.cell}: {k.name}" for k in killings] == LABELS
    assert [k.killed for k in killings] == [True, False, True, True]
    assert killings[1].equivalent
    assert "forward_within_budget" in killings[0].killed_by
    assert "split_sequence_is_whole_sequence" in killings[0].killed_without_reference_by
    assert "forward_within_budget" not in killings[0].killed_without_reference_by
    assert next(iter(killings[3].killed_by)) == "inputs_are_not_changed"


def test_the_number_of_workers_changes_nothing(killings):
    alone = judge(LABELS[0], "quick", 0, first_only=False, without_reference=False)
    assert alone.killed_by == killings[0].killed_by
    assert alone.examples == killings[0].examples


def test_the_first_kill_ends_it():
    first = judge(LABELS[0], "quick", 0, first_only=True, without_reference=False)
    assert len(first.killed_by) == 1
    without = judge(LABELS[0], "quick", 0, first_only=True, without_reference=True)
    assert without.killed_by.keys() == set(without.killed_without_reference_by)


def test_the_report_counts_and_is_json(killings):
    data = json.loads(json.dumps(report(killings, "quick", 0), allow_nan=False))
    assert (data["counted"], data["killed"]) == (3, 3)
    assert {"name", "cell", "source", "equivalent", "killed_by", "killed_without_reference_by"} <= set(data["faults"][0])


def test_the_tables_say_it(killings):
    table = shown(faults_table(killings, "profile quick, seed 0", whole=True))
    assert "without reference" in table
    assert "survives" not in table
    assert "without reference" not in shown(faults_table(killings, "profile quick, seed 0", whole=False))
    one = shown(fault_table(killings[1]))
    assert "cannot be told from the truth" in one
    assert "no property fails on it" in one


def test_the_figure_is_drawn(killings, tmp_path):
    assert save_faults_figure(killings, tmp_path / "faults.png").stat().st_size > 5000


def test_a_property_is_explained_by_what_it_catches():
    (chosen,) = claims(["clipped_memory_stays_within_its_clip"])
    found = catches(chosen)
    assert {c.label.partition(": ")[0] for c in found} == {"lstm-clip0.5"}
    caught = {c.label for c in found if c.message}
    assert "lstm-clip0.5: c not clipped" in caught
    assert "lstm-clip0.5: slope of the clip missing" not in caught
    text = shown(catches_list(found))
    assert f"catches {len(caught)} of {len(found)} faults of a lstm-clip0.5:" in text
    assert "what it says of lstm-clip0.5: c not clipped (The cell state is never clipped.)" in text
    assert "but c is clipped to 0.5" in text


def test_a_crash_is_caught_too():
    assert "c0 is needed" in catch("lstm: absent c0 refused", "absent_arrays_are_zero", 0).message


def test_where_no_fault_can_be_planted_the_explanation_says_so():
    (chosen,) = claims(["gradients_match_complex_step"])
    assert "was not tried here" in shown(catches_list(catches(chosen)))
