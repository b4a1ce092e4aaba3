"""The cells of Flax, Equinox and Haiku equal the equations, on random weights.

Under a slightly wrong convention they do not.
"""

import importlib
from dataclasses import replace

import numpy as np
import pytest

from gatecheck.auditing import audit as runner
from gatecheck.auditing.audit import audit
from gatecheck.cases import draw
from gatecheck.cells import Sizes, as_cell
from gatecheck.checking.budgets import case_budget
from gatecheck.checking.evidence import Violation, check_agreement
from gatecheck.conventions import CONVENTIONS
from gatecheck.errors import UsageError
from gatecheck.implementation import subject
from gatecheck.targets.loading import ADAPTERS, installed_targets

FRAMEWORKS = ("flax.linen", "flax.nnx", "equinox.nn", "haiku")

FLAX = [
    *(("SimpleCell", cell) for cell in ("rnn", "rnn-relu", "rnn-sigmoid", "rnn-bidirectional")),
    *(("GRUCell", cell) for cell in ("gru", "gru-hard6", "gru-bidirectional")),
    *(("LSTMCell", cell) for cell in ("lstm", "lstm-hard6", "lstm-bidirectional")),
    *(("OptimizedLSTMCell", cell) for cell in ("lstm", "lstm-hard6", "lstm-bidirectional")),
]

ALL_CELLS = [
    *((module, *of) for module in ("flax.linen", "flax.nnx") for of in FLAX),
    *(("equinox.nn", "GRUCell", "gru"), ("equinox.nn", "LSTMCell", "lstm")),
    *(
        ("haiku", "VanillaRNN", "rnn-relu"),
        ("haiku", "GRU", "gru-before"),
        ("haiku", "LSTM", "lstm-forget1"),
    ),
]


def adapt_class(module, name, cell=None, **options):
    return importlib.import_module(ADAPTERS[module]).adapt(name, cell, **options)


def expressible_case(implementation, case):
    """Return the case with zeros where the convention has no place for an array."""
    return case.replace(
        **{
            k: np.zeros_like(case[k])
            for k in implementation.convention.unsupported_params(implementation.cell)
        }
    )


def compare_with_equations(implementation, case):
    """Return the evidence that outputs and gradients equal those of the equations."""
    budget = case_budget(case)
    absent = {f"d{k}" for k in implementation.convention.unsupported_params(implementation.cell)}
    expected = {k: v for k, v in budget.exact.items() if k not in absent}
    return check_agreement(case.cell, implementation.run(case), expected, budget.tolerance)


@pytest.mark.parametrize(
    ("module", "name", "cell"), ALL_CELLS, ids=[":".join(of) for of in ALL_CELLS]
)
def test_every_cell_is_the_equations(module, name, cell):
    """With and without initial states, with lengths, with dcT alone, without steps.

    Each shape is compiled, so a cell that differs only in an activation is tried on one.
    """
    implementation = subject(adapt_class(module, name, cell))
    made = [("float32", {"ragged": "lengths" in implementation.abilities})]
    if implementation.cell in (adapt_class(module, name).cell, as_cell("lstm-bidirectional")):
        made += [("float64", {"absent": tuple(f"{k}0" for k in implementation.cell.state)})]
        made += [("float64", {"absent": ("dy", "dhT")})] * (implementation.cell.kind == "lstm")
    for dtype, how in made:
        case = expressible_case(
            implementation,
            draw(as_cell(cell), Sizes(T=5, B=3, D=2, H=4), seed=3, dtype=dtype, **how),
        )
        seen = compare_with_equations(implementation, case)
        assert seen.judged >= 4
        assert seen.inconclusive == 0
    empty = expressible_case(
        implementation, draw(as_cell(cell), Sizes(T=0, B=3, D=2, H=4), seed=3, dtype="float32")
    )
    np.testing.assert_array_equal(implementation.forward(empty)["hT"], empty["h0"])


def test_the_tangent_is_that_of_the_equations():
    """By central differences of the reference.

    Their error is far below the first digits that a wrong tangent changes.
    """
    implementation = subject(adapt_class("haiku", "GRU"))
    at, along = (
        draw(implementation.cell, Sizes(3, 2, 4, 3), seed=k, dtype="float64") for k in (1, 2)
    )
    names = [*at.params, "x", "h0"]
    step = 1e-6
    moved = [
        implementation.forward(at.replace(**{k: at[k] + sign * step * along[k] for k in names}))
        for sign in (1, -1)
    ]
    for name, value in implementation.tangent(at, along).items():
        np.testing.assert_allclose(value, (moved[0][name] - moved[1][name]) / (2 * step), atol=1e-8)


@pytest.mark.parametrize(
    ("module", "name", "wrong"),
    [
        ("flax.linen", "GRUCell", {"negated": ""}),
        (
            "flax.linen",
            "SimpleCell",
            {"states": "hc", "arrays": {"h/kernel": "W", "i/bias": "b", "i/kernel": "U"}},
        ),
        ("flax.nnx", "OptimizedLSTMCell", {"order": "figo"}),
        ("flax.nnx", "GRUCell", {"order": "zrn"}),
        ("equinox.nn", "GRUCell", {"order": "zrn"}),
        ("equinox.nn", "LSTMCell", {"order": "ifog"}),
        ("haiku", "GRU", {"negated": "z"}),
        ("haiku", "LSTM", {"order": "ifgo"}),
    ],
    ids=str,
)
def test_a_wrong_convention_fails(module, name, wrong):
    target = adapt_class(module, name)
    layout = {k: v for k, v in wrong.items() if k != "states"}
    changed = {
        kind: replace(of, **layout) if kind.partition("-")[0] == target.cell.kind else of
        for kind, of in target.convention.layouts.items()
    }
    implementation = subject(target, convention=replace(target.convention, layouts=changed))
    case = expressible_case(
        implementation, draw(target.cell, Sizes(T=3, B=2, D=4, H=4), seed=5, dtype="float64")
    )
    with pytest.raises(Violation):
        compare_with_equations(implementation, case)


def test_the_states_of_flax_are_the_cell_state_first():
    target = adapt_class("flax.linen", "LSTMCell")
    implementation = subject(target, convention=replace(CONVENTIONS["flax"], states="hc"))
    with pytest.raises(Violation):
        compare_with_equations(
            implementation, draw(target.cell, Sizes(T=3, B=2, D=4, H=3), seed=5, dtype="float64")
        )


ADAPTER_PROPERTIES = [
    *("forward_within_budget", "gradients_within_budget"),
    *(
        "absent_arrays_mean_zero",
        "empty_sequence",
        "empty_batch",
        "inputs_are_not_changed",
        "outputs_are_fresh_arrays",
    ),
    *(
        "memory_layout_does_not_matter",
        "repeated_calls_are_identical",
        "results_have_expected_shapes",
    ),
    *(
        "split_sequence_equals_whole_sequence",
        "rows_are_independent",
        "nan_propagates_within_its_row",
    ),
    *(
        "lengths_within_budget",
        "padding_has_no_effect",
        "rows_end_at_their_lengths",
        "activations_are_accurate",
    ),
]
"""Properties that an adapter may break.

All properties are tried on a function in JAX in test_jax.py, which uses the same code.
"""


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("flax.linen", "OptimizedLSTMCell"),
        ("flax.nnx", "SimpleCell"),
        ("equinox.nn", "GRUCell"),
        ("haiku", "LSTM"),
    ],
)
def test_a_cell_passes(module, name, monkeypatch):
    # Each shape is compiled: `gatecheck audit` takes a minute.
    monkeypatch.setitem(runner.PROFILES, "quick", 2)
    result = audit(adapt_class(module, name), profile="quick", only=ADAPTER_PROPERTIES)
    assert result.verdict == "pass", [
        p for p in result.properties if p.outcome not in ("passed", "skipped")
    ]
    assert {"jax", "jaxlib"} < result.versions.keys()
    assert not [p for p in result.properties if p.outcome == "expected_failure"]


def test_installed_frameworks_are_listed():
    names = [name for name, _ in installed_targets()]
    assert [name for name in names if name.partition(":")[0] in FRAMEWORKS] == [
        *(
            f"flax.{api}:{name}"
            for api in ("linen", "nnx")
            for name in ("SimpleCell", "GRUCell", "LSTMCell", "OptimizedLSTMCell")
        ),
        *(
            "equinox.nn:GRUCell",
            "equinox.nn:LSTMCell",
            "haiku:VanillaRNN",
            "haiku:GRU",
            "haiku:LSTM",
        ),
    ]


@pytest.mark.parametrize(
    ("module", "name", "cell", "fragment"),
    [
        (
            "flax.linen",
            "Dense",
            None,
            "flax.linen:Dense is not a recurrent class that gatecheck knows; those are "
            "SimpleCell, GRUCell",
        ),
        ("flax.nnx", "MGUCell", None, "flax.nnx:MGUCell is not a recurrent class"),
        ("flax.linen", "GRUCell", "gru-before", "flax.linen:GRUCell cannot be a gru-before"),
        ("flax.linen", "GRUCell", "gru-hard5", "cannot be a gru-hard5"),
        ("flax.nnx", "LSTMCell", "gru", "flax.nnx:LSTMCell cannot be a gru"),
        ("flax.nnx", "LSTMCell", "lstm-proj2", "cannot be a lstm-proj2"),
        ("flax.nnx", "LSTMCell", "lstm-layers2", "cannot be a lstm-layers2"),
        ("flax.nnx", "SimpleCell", "nope", "there is no cell 'nope'"),
        ("equinox.nn", "Linear", None, "those are GRUCell, LSTMCell"),
        ("equinox.nn", "GRUCell", "gru-before", "equinox.nn:GRUCell cannot be a gru-before"),
        ("haiku", "Linear", None, "those are VanillaRNN, GRU, LSTM"),
        (
            "haiku",
            "VanillaRNN",
            "rnn",
            "haiku:VanillaRNN cannot be a rnn; by default it is a rnn-relu",
        ),
        ("haiku", "LSTM", "lstm", "haiku:LSTM cannot be a lstm; by default it is a lstm-forget1"),
    ],
)
def test_a_class_that_cannot_be_audited(module, name, cell, fragment):
    with pytest.raises(UsageError, match=fragment):
        adapt_class(module, name, cell)
