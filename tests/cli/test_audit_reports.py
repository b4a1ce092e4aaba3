"""Files of ``gatecheck audit`` and ``gatecheck decay``, and write errors."""

from __future__ import annotations

import json
import sys
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from gatecheck.cli import main
from gatecheck.decay.spec_keys import commented_spec

ONE_PROPERTY = ["--profile", "quick", "--only", "forward_within_budget"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(main, [str(word) for word in words])


def test_an_audit_is_written_in_every_format(run, tmp_path):
    outputs = ["--json", "a.json", "--html", "a.html", "--junit", "a.xml", "--markdown", "a.md"]
    found = run("audit", "builtin:rnn", *ONE_PROPERTY, *outputs)
    assert found.exit_code == 0, found.output
    assert json.loads((tmp_path / "a.json").read_text())["verdict"] == "pass"
    assert "Audit of builtin:rnn as rnn" in (tmp_path / "a.html").read_text()
    assert ElementTree.parse(tmp_path / "a.xml").find("testsuite").get("tests") == "1"
    assert "| `forward_within_budget` | ✓ passed |" in (tmp_path / "a.md").read_text()


def test_html_needs_a_target(run):
    found = run("audit", "--html", "a.html")
    assert found.exit_code == 2
    assert "--html reports on one TARGET; name it" in found.output


@pytest.mark.parametrize("option", ["--html", "--markdown"])
def test_a_missing_extra_fails_before_the_audit(run, monkeypatch, option):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.setattr("gatecheck.report.pages.find_spec", lambda name: None)
    found = run("audit", "builtin:rnn", *ONE_PROPERTY, option, "a.out")
    assert found.exit_code == 3
    assert 'pages need Jinja and matplotlib: pip install "gatecheck[report]"' in found.output


def test_an_unwritable_file_fails_before_the_audit(run):
    found = run("audit", "builtin:rnn", "--html", "nowhere/a.html")
    assert found.exit_code == 2
    assert "nowhere/a.html cannot be written: there is no folder nowhere" in found.output


SMALL = ["--hidden", 5, "--inputs", 2, "--steps", 50, "--seeds", 2]


def test_options_and_a_spec_file_give_the_same_study(run, tmp_path, few_figures):
    by_options = run(
        "decay", "--cell", "lstm", "--init", "uniform", *SMALL, "--lag", 20, "--out", "one"
    )
    assert by_options.exit_code == 0, by_options.output
    assert "Your task's lag of 20 is reached by" in by_options.output
    spec = "hidden = 5\ninputs = 2\nsteps = 50\nseeds = 2\nlag = 20\n"
    spec += '[[network]]\ncell = "lstm"\ninit = "uniform"\n'
    (tmp_path / "study.toml").write_text(spec)
    assert run("decay", "study.toml", "--out", "two").exit_code == 0
    for name in ("decay.json", "decay.html", "decay.md", "decay.svg", "paths.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert not (tmp_path / "one" / "parts").exists()


def test_trained_weights_on_given_data(run, tmp_path, few_figures):
    import numpy as np

    rng = np.random.default_rng(0)
    shapes = {
        "weight_ih_l0": (12, 2),
        "weight_hh_l0": (12, 4),
        "bias_ih_l0": (12,),
        "bias_hh_l0": (12,),
    }
    both = {
        f"{part}.{name}": rng.standard_normal(shape) / 2
        for part in ("encoder", "decoder")
        for name, shape in shapes.items()
    }
    np.savez(tmp_path / "w.npz", **both)
    np.save(tmp_path / "x.npy", rng.standard_normal((3, 40, 2)))
    call = [
        "decay",
        "--weights",
        "w.npz",
        "--data",
        "x.npy",
        "--steps",
        40,
        "--seeds",
        3,
        "--out",
        "out",
    ]
    several = run(*call)
    assert several.exit_code == 2
    assert "say --layer NAME" in several.output
    found = run(*call, "--layer", "encoder")
    assert found.exit_code == 0, found.output
    row = json.loads((tmp_path / "out" / "decay.json").read_text())["rows"][0]
    assert (row["cell"], row["hidden"], row["inputs"], row["seeds"]) == ("gru", 4, 2, 3)
    assert "gru w.npz encoder" in found.output
    assert "inputs from x.npy" in " ".join(found.output.split())
    few = run(*call[:-6], "--steps", 41, "--layer", "encoder")
    assert few.exit_code == 2
    assert "40 steps a sequence" in few.output
    few = run(*call[:-4], "--seeds", 4, "--layer", "encoder")
    assert "gives 3 stretches of 40 steps, but there are 4 seeds" in few.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--init-spec"], "## A study for `gatecheck decay SPEC.toml`"),
        (["none.toml"], "gatecheck: the spec none.toml cannot be read: No such file or directory"),
        (
            ["none.toml", "--steps", 3],
            "--steps and a SPEC.toml both say what to measure: give one of them",
        ),
        (["--hidden", 0], "gatecheck: options: hidden is 0, but should be at least 1"),
        (["--cell", "grue"], "options: network[1].cell cannot be 'grue'"),
        (
            ["--weights", "w.npz", "--init", "uniform"],
            "network[1].init is given by the file of weights; leave it out",
        ),
        (["--layer", "a"], "network[1].layer is about a file of weights, and none is given"),
    ],
)
def test_messages_of_decay(run, words, message):
    found = run("decay", *words)
    assert message in found.output
    assert found.exit_code == (0 if words == ["--init-spec"] else 2)


def test_init_spec_prints_the_commented_spec(run, tmp_path):
    assert run("decay", "--init-spec").output == commented_spec()
