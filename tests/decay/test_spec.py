"""Parsing of specs, and errors that name the key and the line."""

from __future__ import annotations

import dataclasses

import pytest

from gatecheck.decay.spec import (
    MeasureSpec,
    NetworkSpec,
    Spec,
    TrainingSpec,
    default_networks,
    parse_spec,
    read_spec,
)
from gatecheck.decay.spec_keys import KEYS, commented_spec
from gatecheck.errors import UsageError

STUDY = """
title = "mine"
steps = 300
hidden = [8, 12]      # for every network without its own
lag = 40

[[network]]
cell = ["gru", "lstm"]
init = "chrono:50"

[[network]]
cell = "rnn"
init = ["uniform",
        "glorot_orthogonal"]
hidden = 5

[[network]]
weights = "trained.npz"
layer = "encoder"
data = "x.csv"

[measure]
gates = false

[[training]]
cell = "lstm"
task = ["copy", "adding"]
"""


def test_a_study_is_every_combination_it_lists(tmp_path):
    (tmp_path / "study.toml").write_text(STUDY)
    found = read_spec(tmp_path / "study.toml")
    gated = [
        NetworkSpec(cell, "chrono:50", hidden) for hidden in (8, 12) for cell in ("gru", "lstm")
    ]
    plain = [NetworkSpec("rnn", init, 5) for init in ("uniform", "glorot_orthogonal")]
    read = NetworkSpec(
        weights=str(tmp_path / "trained.npz"), layer="encoder", data=str(tmp_path / "x.csv")
    )
    assert set(found.networks) == {*gated, *plain, read}
    assert len(found.networks) == 7
    assert (found.title, found.steps, found.lag, found.seeds) == ("mine", 300, 40, 5)
    assert found.measure == MeasureSpec(gates=False)
    assert found.training == (TrainingSpec("lstm", "copy"), TrainingSpec("lstm", "adding"))


def test_the_commented_example_changes_nothing_and_each_of_its_lines_is_valid():
    text = commented_spec()
    assert parse_spec(text) == parse_spec("") == Spec(default_networks())
    lines = [line.removeprefix("# ") for line in text.splitlines() if not line.startswith("##")]
    whole = parse_spec(
        "\n".join(
            line
            for line in lines
            if not line.startswith(("init =", "hidden =", "inputs =", "input_std ="))
        )
    )
    assert (whole.lag, whole.networks[0].layer, whole.training[0].task) == (
        200,
        "encoder.lstm layer 0",
        "copy",
    )
    drawn = parse_spec(
        "\n".join(
            line for line in lines if not line.startswith(("weights =", "layer =", "convention ="))
        )
    )
    assert len(drawn.networks) == 4


@pytest.mark.parametrize(
    ("table", "kind"),
    [("", Spec), ("network", NetworkSpec), ("measure", MeasureSpec), ("training", TrainingSpec)],
)
def test_keys_and_fields_are_the_same_and_so_are_their_defaults(table, kind):
    fields = {f.name: f.default for f in dataclasses.fields(kind)}
    shared = {"hidden", "inputs", "input_std", "data"} if table == "" else set()
    sections = {"networks", "measure", "training"} if table == "" else set()
    assert set(fields) - sections == set(KEYS[table]) - shared
    for name in set(fields) - sections:
        default = None if fields[name] is dataclasses.MISSING else fields[name]
        assert KEYS[table][name].default == default


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "steps = 300\nhiden = 3",
            "s.toml, line 2: hiden is not a key (did you mean hidden?); known are title, seed",
        ),
        (
            "[[network]]\ncell = 'gru'",
            "network[1] has no init; it needs a cell and an init, or weights",
        ),
        (
            "[[network]]\ncell = 'gru'\ninit = [\n  'uniform',\n  3,\n]",
            "s.toml, line 6: network[1].init is 3, but should be a string",
        ),
        (
            "[[network]]\ncell = 'gru'\ninit = 'chrono:1'",
            "line 3: network[1].init cannot be 'chrono:1': the initializer",
        ),
        (
            "[[network]]\ninit = 'uniform'\ncell = 'grue'",
            "line 3: network[1].cell cannot be 'grue': ",
        ),
        (
            "[[network]]\ncell = 'lstm-proj3'\ninit = 'uniform'",
            "line 2: network[1].cell cannot be 'lstm-proj3'",
        ),
        (
            "[[network]]\nweights = 'a.pt'\nhidden = 3",
            "line 3: network[1].hidden is given by the file of weights; leave it out",
        ),
        (
            "[[network]]\ncell = 'rnn'\ninit = 'uniform'\nlayer = 'a'",
            "line 4: network[1].layer is about a file of weights",
        ),
        ("network = 3", "line 1: network should be tables, each under [[network]]"),
        ("measure = 3", "line 1: measure should be a table, under [measure]"),
        ("[measure]\npaths = 1", "line 2: measure.paths is 1, but should be true or false"),
        ("seeds = true", "line 1: seeds is True, but should be a whole number"),
        ("seed = -1", "line 1: seed is -1, but should be at least 0"),
        ("input_std = nan", "line 1: input_std is nan, but should be at least 0"),
        ("hidden = []", "line 1: hidden is an empty list"),
        ("hidden = [8, 0]", "line 1: hidden is 0, but should be at least 1"),
        ("[[training]]\ncell = 'rnn'", "training[1] has no task"),
        (
            "[[training]]\ncell = 'rnn'\ntask = 'cpy'",
            "line 3: training[1].task is 'cpy', but should be one of copy, adding, agreement",
        ),
        ("a =", "s.toml is not TOML: "),
    ],
)
def test_errors_name_the_key_and_the_line(text, message):
    with pytest.raises(UsageError) as caught:
        parse_spec(text, "s.toml")
    assert message in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(UsageError, match=r"cannot be read: No such file"):
        read_spec(tmp_path / "none.toml")
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="is not UTF-8 text"):
        read_spec(tmp_path / "x.toml")


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (f"hidden = {list(range(1, 1430))}", "10,003"),
        (
            f"[[network]]\ncell = 'rnn'\ninit = 'uniform'\nhidden = {list(range(1, 10002))}",
            "10,001",
        ),
        (
            f"[[training]]\ncell = 'rnn'\ntask = 'copy'\nlag = {list(range(1, 101))}\n"
            f"hidden = {list(range(1, 101))}",
            "10,007",
        ),
    ],
)
def test_combinations_are_counted_before_they_are_made(text, count):
    with pytest.raises(UsageError, match=f"makes {count} combinations .* has 10,000 at most"):
        parse_spec(text)


def test_jobs_are_counted():
    assert parse_spec("seeds = 14285").seeds == 14285
    with pytest.raises(UsageError, match=r"networks times their seeds are 100,002, .* has 100,000"):
        parse_spec("seeds = 14286")


@pytest.mark.parametrize("before", [0, 1, 7, 300])
def test_the_line_of_a_mistake_is_the_first_that_has_it(before):
    lines = [
        *["# a comment"] * before,
        "title = '''",
        "x",
        "'''",
        "hidden = [",
        "1,",
        "'x']",
        "# end",
    ]
    with pytest.raises(UsageError, match=f"line {before + 6}: hidden is"):
        parse_spec("\n".join(lines))
    with pytest.raises(UsageError, match=f"line {before + 8}: wrong is not a key"):
        parse_spec("\n".join([*lines, "wrong = 3", "# more"]).replace("'x'", "2"))


def test_the_line_is_left_out_where_it_takes_long():
    with pytest.raises(UsageError, match=r"^s.toml: hidden is 'x'"):
        parse_spec("hidden = [\n" + "1,\n" * 20_000 + "'x']", "s.toml")
