"""The kill matrix on a handful of faults."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner
from rich.console import Console

from gatecheck.auditing import audit
from gatecheck.auditing.explore import PROFILES, draw_cases, explore
from gatecheck.auditing.parallel import MAX_CHUNK_SIZE, make_chunks
from gatecheck.auditing.selection import applicable_properties, select_properties
from gatecheck.cases.strategies import SCOPES
from gatecheck.cells import RNN
from gatecheck.checking.evidence import Violation
from gatecheck.cli import main
from gatecheck.faults.catalogue import faults, find
from gatecheck.faults.edited_cell import EditedCell
from gatecheck.implementation import subject
from gatecheck.mutation.kill_matrix import (
    detection_powers,
    kill_report,
    run_matrices,
    run_matrix,
    try_on_all_faults,
    try_properties,
    try_property,
)
from gatecheck.mutation.planted import (
    evidence_without_gradients,
    order_properties,
    reuse_forward_evidence,
    subject_for,
)
from gatecheck.report.faults_table import fault_table, faults_table, save_faults_figure, seed_line
from gatecheck.report.properties_table import catches_list

LABELS = [
    "rnn: h0 ignored",
    "rnn-relu: slope squared",
    "rnn: dh not carried",
    "rnn: x scaled in place",
    "rnn: y squeezed",
]


@pytest.fixture(scope="module")
def fault_results():
    return run_matrix(LABELS, profile="quick", workers=2)


@pytest.fixture(scope="module")
def first_case():
    return draw_cases(subject(EditedCell(RNN())), "float32", SCOPES["present"], 12, 0)[2]


def rendered(what, width=160):
    console = Console(width=width)
    with console.capture() as capture:
        console.print(what)
    return capture.get()


def test_faults_are_killed_and_the_equivalent_one_is_not(fault_results):
    assert [k.label for k in fault_results] == LABELS
    assert [k.killed for k in fault_results] == [True, False, True, True, True]
    assert fault_results[1].equivalent
    assert "forward_within_budget" in fault_results[0].killed_by
    assert "split_sequence_equals_whole_sequence" in fault_results[0].killed_without_reference_by
    assert "forward_within_budget" not in fault_results[0].killed_without_reference_by
    assert fault_results[3].killed_by["inputs_are_not_changed"] == 1


def test_each_property_stops_at_its_first_failure_and_the_fastest_come_first(fault_results):
    for killing in fault_results:
        counts = list(killing.killed_by.values())
        assert counts == sorted(counts)
        assert killing.examples == sum(counts) + sum(
            _examples(name, killing)
            for name in killing.properties_tried
            if name not in killing.killed_by
        )


def _examples(name, killing):
    (prop,) = select_properties([name])
    cases = max(2, round(12 * prop.case_scope.share))
    return cases if prop.case_scope.listed else len(prop.dtypes) * cases


def test_the_number_of_workers_changes_nothing(fault_results):
    alone = try_properties(LABELS[4], "quick", 0, first_only=False, without_reference=False)
    assert replace(alone, seconds=0) == replace(fault_results[4], seconds=0)


def test_first_only_stops_at_the_first_kill():
    first = try_properties(LABELS[0], "quick", 0, first_only=True, without_reference=False)
    assert len(first.killed_by) == 1
    assert first.examples < 10
    without = try_properties(LABELS[0], "quick", 0, first_only=True, without_reference=True)
    assert without.killed_by.keys() == set(without.killed_without_reference_by)


def test_the_first_call_is_seen_by_the_property_for_it_and_comparison_comes_before_the_rest():
    first, second, *_ = order_properties(applicable_properties(subject(find(LABELS[0]).inject())))
    assert first.name == "repeated_calls_are_identical"
    assert second.reference


def test_the_order_is_the_same_whichever_module_was_imported_first(monkeypatch):
    usual = [c.check.__module__ for c in select_properties()]
    monkeypatch.setattr(audit, "REGISTRY", dict(reversed(audit.REGISTRY.items())))
    assert [c.check.__module__ for c in select_properties()] == usual


# ---- what is not computed again


@pytest.mark.parametrize("label", ["rnn: dh not carried", "rnn: h0 ignored"])
def test_skipped_checks_would_not_have_killed(label, monkeypatch):
    monkeypatch.setitem(PROFILES, "quick", 3)
    planted = subject(find(label).inject())
    full = explore(
        planted,
        order_properties(applicable_properties(planted)),
        "quick",
        0,
        stop_at_first_failure=True,
    )
    short = try_properties(label, "quick", 0, first_only=False, without_reference=False)
    assert short.killed_by == {
        name: t.examples for name, t in full.items() if t.failure is not None
    }
    assert short.examples == sum(t.examples for t in full.values())


def test_evidence_without_gradients_is_that_of_correct_code(first_case):
    chosen = [
        c
        for c in applicable_properties(subject(find("rnn: dh not carried").inject()))
        if c.scope in ("any", "present")
    ]
    asked = {c.name for c in chosen if evidence_without_gradients(c, first_case) is None}
    assert {
        "gradients_within_budget",
        "outputs_are_fresh_arrays",
        "memory_layout_does_not_matter",
    } <= asked
    assert not {"forward_within_budget", "outputs_are_causal"} & asked


def test_forward_evidence_is_reused_for_gradient_faults_only(first_case):
    """For any other fault the evidence for the correct cell would hide the kill."""
    (prop,) = select_properties(["forward_within_budget"])
    wrong = subject(find("rnn: h0 ignored").inject())
    with pytest.raises(Violation):
        prop(wrong, first_case)
    assert reuse_forward_evidence(prop)(wrong, first_case).judged
    for label, expected in {
        "rnn: h0 ignored": False,
        "rnn: dh not carried": True,
        "rnn: gradients accumulate": False,
    }.items():
        assert subject_for(find(label))[1] == expected


def test_a_process_gets_labels_of_one_cell_in_their_order():
    labels = [f.label for cell in ("lstm", "rnn-relu", "lstm-forget1") for f in faults(cell)]
    made = make_chunks([*labels, "rnn: h0 ignored"], workers=2)
    assert sorted(label for these in made for label in these) == sorted(
        [*labels, "rnn: h0 ignored"]
    )
    assert all(
        len({label.partition(":")[0] for label in these}) == 1 and len(these) <= MAX_CHUNK_SIZE
        for these in made
    )
    assert [label for these in made for label in these if label.startswith("lstm: ")] == [
        f.label for f in faults("lstm")
    ]
    assert sum(these[0].startswith("lstm-forget1: ") for these in made) == 1
    assert len(make_chunks(LABELS, workers=2)) == len(LABELS)


# ---- what it says


def test_the_report_counts_and_is_json(fault_results):
    data = json.loads(json.dumps(kill_report(fault_results, "quick", 0), allow_nan=False))
    assert (data["counted"], data["killed"], data["survivors"]) == (4, 4, [])
    fault = data["faults"][0]
    assert {
        "name",
        "cell",
        "source",
        "equivalent",
        "killed_by",
        "killed_without_reference_by",
        "only_by_contract",
        "seconds",
    } <= set(fault)
    assert fault["killed_by"] == list(fault["examples_to_kill"]) == list(fault_results[0].killed_by)
    assert {"name", "kills", "unique_kills", "rarest", "rarest_killers", "applies_to"} == set(
        data["properties"][0]
    )


def test_the_worth_of_each_property(fault_results):
    base = fault_results[0]
    many = replace(
        base, name="many", killed_by={"a": 1, "b": 2, "c": 3}, properties_tried=("a", "b", "c", "d")
    )
    few = replace(
        base, name="few", killed_by={"b": 1, "a": 1}, properties_tried=("a", "b", "c", "d")
    )
    alone = replace(base, name="alone", killed_by={"b": 1}, properties_tried=("b",))
    same = replace(
        base, name="same", killed_by={}, properties_tried=("d",), equivalent="It changes nothing."
    )
    assert [tuple(w) for w in detection_powers([many, few, alone, same])] == [
        ("b", 3, 1, "rnn: alone", 1, 3),
        ("a", 2, 0, "rnn: few", 2, 2),
        ("c", 1, 0, "rnn: many", 3, 2),
        ("d", 0, 0, "", 0, 2),
    ]
    table = rendered(faults_table([many, few, alone, same], "", is_complete=True))
    assert "rnn: few (2 of 4)" in table
    assert "kills nothing" in table


def test_the_tables_list_survivors_and_contract_kills(fault_results):
    table = rendered(faults_table(fault_results, "profile quick, seed 0", is_complete=True))
    assert "without reference" in table
    assert "survives" not in table
    assert "only by shape or dtype: rnn: y squeezed" in table
    assert "only by shape or dtype: rnn: h0 ignored" not in table
    assert "without reference" not in rendered(
        faults_table(fault_results, "profile quick, seed 0", is_complete=False)
    )
    one = rendered(fault_table(fault_results[1]))
    assert "equivalent to correct code" in one
    assert "no property fails on it" in one
    assert "only by its shape or dtype" in rendered(fault_table(fault_results[4]))


def test_what_needs_the_reference_is_listed_with_its_reason(fault_results):
    needing = replace(fault_results[0], killed_without_reference_by=[])
    assert "only by comparison: rnn: h0 ignored: no reason given" in rendered(
        faults_table([needing], "", is_complete=True)
    )
    reason = "It is another cell, and a right one."
    table = rendered(
        faults_table([replace(needing, reference_needed=reason)], "", is_complete=True)
    )
    assert f"only by comparison: rnn: h0 ignored: {reason}" in table
    assert "no reason given" not in table


def test_the_figure_is_drawn(fault_results, tmp_path):
    assert save_faults_figure(fault_results, tmp_path / "faults.png").stat().st_size > 5000


# ---- several seeds


def test_each_seed_is_a_separate_run():
    labels = ["rnn: h0 ignored", "rnn-relu: slope squared"]
    found = run_matrices(labels, seeds=[3, 4], profile="quick", first_only=True, workers=1)
    assert [[k.label for k in killings] for killings in found] == [labels, labels]
    for seed, killings in zip((3, 4), found, strict=True):
        alone = try_properties(labels[0], "quick", seed, first_only=True, without_reference=False)
        assert replace(alone, seconds=0) == replace(killings[0], seconds=0)
        assert rendered(seed_line(killings, seed)) == f"seed {seed}: 1 of 1 killed\n"
    survivor = replace(found[0][0], killed_by={})
    assert (
        rendered(seed_line([survivor], 3)) == "seed 3: 0 of 1 killed; survives: rnn: h0 ignored\n"
    )


def gk(*arguments):
    done = CliRunner().invoke(main, ["faults", *map(str, arguments)])
    return done.exit_code, done.output


def test_the_command_prints_a_line_a_seed(tmp_path):
    status, printed = gk(
        "--name",
        "rnn: h0 ignored",
        "--first",
        "--seed",
        5,
        "--seeds",
        2,
        "--json",
        tmp_path / "runs.json",
    )
    assert (status, printed) == (0, "seed 5: 1 of 1 killed\nseed 6: 1 of 1 killed\n")
    runs = json.loads((tmp_path / "runs.json").read_text())["runs"]
    assert runs == [{"seed": s, "counted": 1, "killed": 1, "survivors": []} for s in (5, 6)]


def test_a_survivor_under_any_seed_ends_1(monkeypatch):
    from gatecheck.mutation import kill_matrix as module

    killing = try_properties(
        "rnn: h0 ignored", "quick", 0, first_only=True, without_reference=False
    )
    monkeypatch.setattr(
        module, "run_matrices", lambda labels, **how: [[killing], [replace(killing, killed_by={})]]
    )
    assert gk("--name", "rnn: h0 ignored", "--first", "--seeds", 2)[0] == 1


def test_several_seeds_require_first(tmp_path):
    status, printed = gk("--seeds", 2)
    assert (status, "--seeds is for --first" in printed) == (2, True)
    assert gk("--seeds", 2, "--first", "--figure", tmp_path / "x.png")[0] == 2


# ---- one property


def test_a_property_is_explained_by_what_it_catches():
    (chosen,) = select_properties(["cell_state_stays_within_clip"])
    found = try_on_all_faults(chosen)
    assert {c.label.partition(": ")[0] for c in found} == {"lstm-clip0.5"}
    caught = {c.label for c in found if c.message}
    assert "lstm-clip0.5: c not clipped" in caught
    assert "lstm-clip0.5: slope of the clip missing" not in caught
    text = rendered(catches_list(found))
    assert f"catches {len(caught)} of {len(found)} faults of a lstm-clip0.5:" in text


def test_a_crash_is_caught_too():
    assert (
        "c0 is needed"
        in try_property("lstm: absent c0 refused", "absent_arrays_mean_zero", 0).message
    )


def test_a_property_without_faults_is_reported():
    (chosen,) = select_properties(["gradients_match_complex_step"])
    assert "none was tried here" in rendered(catches_list(try_on_all_faults(chosen)))
