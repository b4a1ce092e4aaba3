"""The pages in docs/ against the reports; the schema, picture and API reference."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from dataclasses import replace

import jsonschema
import pytest

import gatecheck
from gatecheck.auditing.audit import audit
from gatecheck.auditing.result import SCHEMA
from gatecheck.auditing.selection import select_properties
from gatecheck.cells import LSTM
from gatecheck.faults.catalogue import find
from gatecheck.kernels import Builtin
from gatecheck.proofs.ranges import prove_cell
from helpers.paths import ROOT

DOCS = ROOT / "docs"
PAGE = (DOCS / "claims.md").read_text(encoding="utf-8")
DESCRIBED = json.loads((DOCS / "audit.schema.json").read_text(encoding="utf-8"))

ACCOUNT = {
    "gates_in_unit_interval": "lies in (0, 1)",
    "each_gate_has_its_own_weights": "each gate has its own weights",
    "update_is_convex_combination": "the old state and of the candidate sum to 1",
    "input_and_forget_gates_are_independent": "in an LSTM they are independent",
    "update_gate_of_ones_is_plain_rnn": "of ones makes a GRU a plain RNN",
    "update_gate_of_zeros_copies": "of zeros makes a GRU copy its state",
    "reset_gate_of_zeros_forgets": "the step acts as the first",
    "output_gate_folds_into_later_uses": "folded into every later use of h",
}
"""Common claims about GRU and LSTM, by property."""

ROWS = {
    row[1]: row
    for row in re.findall(
        r"^\| (.*?) \| `(\w+)` \| (\d+) of (\d+) \| (\S+) \|$", PAGE, re.MULTILINE
    )
}


def script(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ACCOUNT)
def test_every_claim_of_the_account_is_covered(name):
    assert ACCOUNT[name] in ROWS[name][0]


def test_every_property_named_exists():
    named = set(re.findall(r"`(\w+_\w+)`", PAGE))
    assert set(ROWS) <= named <= {c.name for c in select_properties()}


@pytest.mark.parametrize("name", ROWS)
def test_the_answers_are_those_of_the_audits(name):
    audits = json.loads((ROOT / "reports/audits/audits.json").read_text(encoding="utf-8"))["audits"]
    assert f"{len(audits)} in all" in PAGE
    tried = [
        p
        for a in audits
        for p in a["properties"]
        if p["name"] == name and p["outcome"] != "skipped"
    ]
    held = [p for p in tried if p["outcome"] == "passed"]
    _, _, shown_held, shown_tried, largest = ROWS[name]
    assert (int(shown_held), int(shown_tried)) == (len(held), len(tried))
    assert float(largest) == pytest.approx(max(p["worst_ratio"] or 0 for p in tried), rel=0.05)


def test_what_cudnn_fails_of_them_is_said():
    printed = "".join(
        (ROOT / f"reports/cuda/{name}.txt").read_text(encoding="utf-8")
        for name in ("gru", "lstm", "rnn")
    )
    failed = {
        name for name in re.findall(r"^ (\w+) +failed ", printed, re.MULTILINE) if name in ROWS
    }
    said = PAGE.partition("On a GPU")[2].partition("([reports/cuda]")[0]
    assert set(re.findall(r"`(\w+)`", said)) == failed


def test_how_far_gradients_reach_is_as_in_the_report():
    rows = json.loads((ROOT / "reports/decay/decay.json").read_text(encoding="utf-8"))["rows"]
    for row in rows:
        assert f"| {row['name']} | {row['lag_thousandth'] or 'more than 4000'} |" in PAGE


@pytest.fixture(scope="module")
def results():
    """Return audits with every outcome of a property, a diagnosis and proofs."""
    only = [
        "forward_within_budget",
        "gradients_within_budget",
        "empty_batch",
        "update_gate_of_zeros_copies",
    ]
    wrong, refusing = find("lstm: f missing in dc").inject(), find("lstm: no rows refused").inject()
    made = [
        audit(target, profile="quick", only=only) for target in (Builtin("gru"), wrong, refusing)
    ]
    made += [
        audit(
            refusing,
            profile="quick",
            only=["empty_batch"],
            expected_failures={"empty_batch": "says so"},
        )
    ]
    return [*made, replace(made[0], proofs=prove_cell(LSTM()))]


def test_an_audit_is_as_its_schema_says(results, tmp_path):
    jsonschema.Draft202012Validator.check_schema(DESCRIBED)
    outcomes = {p.outcome for r in results for p in r.properties}
    assert {"passed", "failed", "crashed", "skipped", "expected_failure"} <= outcomes
    assert any(r.diagnosis and r.diagnosis.explanations for r in results)
    assert any(r.proofs for r in results)
    for result in results:
        jsonschema.validate(result.save_counterexamples(tmp_path).to_json(), DESCRIBED)
    jsonschema.validate(
        {"schema": "gatecheck-audits-1", "audits": [r.to_json() for r in results]}, DESCRIBED
    )


def test_the_schema_has_the_number_that_audits_carry():
    assert DESCRIBED["$defs"]["audit"]["properties"]["schema"] == {"const": SCHEMA}


@pytest.mark.parametrize(
    "path",
    [("properties", 0, "outcome"), ("verdict",), ("schema",), ("more",), ("counts", "ran")],
    ids=str,
)
def test_what_the_schema_does_not_say_is_refused(results, path):
    data = results[0].to_json()
    at = data
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = "otherwise"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, DESCRIBED)


def test_the_picture_is_what_an_audit_prints():
    picture = script("picture")

    def seen(svg):
        """Return the text without the smallest case and without digits.

        The case is as small as the time allowed; last digits depend on the processor.
        """
        text = " ".join(
            " ".join(re.findall(r"<text[^>]*>(.*?)</text>", svg)).replace("&#160;", " ").split()
        )
        before, _, after = text.partition("gradients_within_budget failed")
        assert "smallest case" in after
        return re.sub(r"\d\S*", "0", before + after.partition("diagnosis")[2])

    kept = seen((DOCS / "audit.svg").read_text(encoding="utf-8"))
    assert "The carried gradient dc leaves out the forget gate." in kept
    assert seen(picture.picture(picture.output())) == kept


def test_the_api_reference_is_built_without_a_warning(tmp_path):
    command = [sys.executable, "-W", "error", str(DOCS / "api.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    front = (tmp_path / "gatecheck.html").read_text(encoding="utf-8")
    assert all(f'id="{name}"' in front for name in gatecheck.__all__ if name != "__version__")
    pages = "".join(
        page.read_text(encoding="utf-8")
        for page in (tmp_path / "gatecheck" / "properties").glob("*.html")
    )
    assert all(f'id="{claim.name}"' in pages for claim in select_properties())
