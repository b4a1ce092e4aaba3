"""ONNX's operators in ONNX Runtime and in the reference evaluator.

Every part of the convention holds, and known failures of each engine are listed.
"""

import sys
from dataclasses import replace

import numpy as np
import pytest

from gatecheck.auditing.audit import audit
from gatecheck.cases import draw
from gatecheck.cells import Sizes, as_cell
from gatecheck.checking.budgets import case_budget
from gatecheck.checking.evidence import Violation, check_agreement
from gatecheck.conventions import CONVENTIONS
from gatecheck.errors import MissingExtraError, TargetCrashError, TargetError, UsageError
from gatecheck.implementation import subject
from gatecheck.targets import loading
from gatecheck.targets.adapters.onnx import reference, runtime
from gatecheck.targets.adapters.onnx.operators import (
    Node,
    OnnxLayer,
    cell_of,
    couple,
    node_of,
    uncouple,
)
from gatecheck.targets.loading import installed_targets, load

ENGINES = {"onnxruntime": runtime.ENGINE, "onnx.reference": reference.ENGINE}
CELLS = [
    *(
        "rnn",
        "rnn-bidirectional",
        "gru",
        "gru-before",
        "gru-bidirectional",
        "gru-before-bidirectional",
    ),
    *("lstm", "lstm-peepholes", "lstm-bidirectional", "lstm-peepholes-bidirectional"),
]
"""Cells that both engines compute."""
RUNTIME_CELLS = [
    *(
        "rnn-relu",
        "rnn-sigmoid",
        "rnn-relu-bidirectional",
        "gru-hard5",
        "gru-before-hard6-bidirectional",
        "lstm-hard5",
        "lstm-hard6",
    ),
    *("lstm-coupled", "lstm-peepholes-coupled", "lstm-peepholes-coupled-bidirectional"),
]
"""Cells that ONNX Runtime computes and the reference evaluator ignores or refuses."""
LENGTHS = {"lengths_within_budget", "rows_end_at_their_lengths", "padding_has_no_effect"}


def make_layer(engine, cell, **attributes):
    cell = as_cell(cell)
    op = cell.kind.upper()
    node = node_of(op, cell)
    return OnnxLayer(
        ENGINES[engine], replace(node, attributes={**node.attributes, **attributes}), op
    )


def check_cell(implementation, *, ragged=False, absent=(), seed=8):
    """Return the evidence that an implementation computes its cell.

    It is from one conclusive case per dtype: distinct sizes and nothing zero.
    """
    implementation = subject(implementation)
    seen = []
    for dtype in implementation.dtypes:
        case = draw(
            implementation.cell,
            Sizes(5, 3, 2, 4),
            seed=seed,
            dtype=dtype,
            ragged=ragged,
            absent=absent,
        )
        budget = case_budget(case)
        expected = {k: v for k, v in budget.exact.items() if not k.startswith("d")}
        seen.append(
            check_agreement(case.cell, implementation.forward(case), expected, budget.tolerance)
        )
    assert all(evidence.judged >= 5 for evidence in seen)
    return seen


@pytest.mark.parametrize(
    ("engine", "cell"),
    [*((e, c) for e in ENGINES for c in CELLS), *(("onnxruntime", c) for c in RUNTIME_CELLS)],
)
def test_convention_holds(engine, cell):
    check_cell(make_layer(engine, cell))
    check_cell(make_layer(engine, cell), absent=("h0",))
    if not as_cell(cell).bidirectional:
        check_cell(make_layer(engine, cell, direction="reverse"))


@pytest.mark.parametrize("cell", CELLS)
def test_the_batch_may_come_first(cell):
    check_cell(make_layer("onnx.reference", cell, layout=1))
    with pytest.raises(
        TargetError, match=r"onnxruntime does not take \w+: .*layout_ == 0 was false"
    ):
        make_layer("onnxruntime", cell, layout=1)


@pytest.mark.parametrize("cell", [*CELLS, *RUNTIME_CELLS])
def test_rows_end_at_their_lengths(cell):
    check_cell(make_layer("onnxruntime", cell), ragged=True)
    if "bidirectional" not in cell:
        check_cell(make_layer("onnxruntime", cell, direction="reverse"), ragged=True)


ARRAYS = CONVENTIONS["onnx"].layouts["lstm"].arrays


@pytest.mark.parametrize(
    ("cell", "wrong"),
    [
        *(("gru", w) for w in ({"order": "rzn"}, {"negated": ""}, {"negated": "zr"})),
        *(("lstm", w) for w in ({"order": "ifog"}, {"order": "oifg"}, {"negated": "f"})),
        *(
            ("lstm-peepholes", w)
            for w in ({"arrays": ARRAYS | {"P": f"p : {order}"}} for order in ("ifo", "oif"))
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_wrong_convention_fails(engine, cell, wrong):
    right = CONVENTIONS["onnx"]
    kind = as_cell(cell).kind
    mine = replace(right, layouts={kind: replace(right.layouts[kind], **wrong)})
    with pytest.raises(Violation):
        check_cell(subject(make_layer(engine, cell), convention=mine))


def test_input_forget_is_a_coupled_cell():
    """In ONNX Runtime f = 1 - i: our coupled cell, with f's weights negated for i."""
    arrays = {
        k: np.random.default_rng(0).standard_normal(s)
        for k, s in {"W": (2, 6, 5), "R": (2, 6, 2), "B": (2, 12), "P": (2, 4)}.items()
    }
    theirs = uncouple(arrays)
    assert {k: a.shape for k, a in theirs.items()} == {
        "W": (2, 8, 5),
        "R": (2, 8, 2),
        "B": (2, 16),
        "P": (2, 6),
    }
    np.testing.assert_array_equal(theirs["W"][:, :2], -arrays["W"][:, 2:4])
    np.testing.assert_array_equal(theirs["B"][:, 8:10], -arrays["B"][:, 8:10])
    back = couple(theirs)
    assert all(np.array_equal(back[k], a) for k, a in arrays.items())


KNOWN_FAILURES = {
    ("onnxruntime", "RNN"): {"forward_within_budget"},
    ("onnxruntime", "GRU"): {"empty_sequence", "empty_batch", "nan_propagates_within_its_row"},
    ("onnxruntime", "LSTM"): {"empty_batch", "nan_propagates_within_its_row"},
    **{("onnx.reference", op): LENGTHS for op in ("RNN", "GRU", "LSTM")},
}
"""Failures of onnx 1.23.2 and onnxruntime 1.32.0.

ONNX Runtime's GRU ends the process without steps or rows, its LSTM without rows; both make numbers
of NaN where there is a B; its RNN's tanh is 2σ(2a) - 1, which is 0 at 1e-8
(rnn_activation_functors.h). The reference evaluator ignores sequence_lens.
"""


@pytest.mark.parametrize(("engine", "op"), KNOWN_FAILURES)
def test_known_failures_are_found(engine, op):
    tried = {
        "forward_within_budget",
        "empty_sequence",
        "empty_batch",
        "nan_propagates_within_its_row",
        *LENGTHS,
    } - ({"lengths_within_budget"} if (engine, op) == ("onnxruntime", "RNN") else set())
    result = audit(load(f"{engine}:{op}"), profile="quick", only=sorted(tried))
    assert {p.name for p in result.findings} == KNOWN_FAILURES[engine, op]
    assert result.count("expected_failure") == ("empty_sequence" not in KNOWN_FAILURES[engine, op])
    assert any("gradients are not audited" in n for n in result.limitations)
    assert any("float64 is not audited" in n for n in result.limitations) == (
        engine == "onnxruntime"
    )
    assert set(result.versions) >= {"onnx"} | (
        {"onnxruntime"} if engine == "onnxruntime" else set()
    )


def test_crashing_call_is_tried_in_a_child():
    implementation = subject(make_layer("onnxruntime", "gru"))
    case = draw(implementation.cell, Sizes(0, 3, 2, 4), seed=8, dtype="float32")
    with pytest.raises(
        TargetCrashError, match="ONNX Runtime would end the process: terminate called"
    ):
        implementation.forward(case)


@pytest.mark.parametrize("cell", ["gru-hard5", "lstm-hard5", "lstm-coupled"])
def test_ignored_attributes_are_detected(cell):
    with pytest.raises(Violation):
        check_cell(make_layer("onnx.reference", cell))


def test_model_cache_is_bounded():
    layer = make_layer("onnx.reference", "rnn")
    for seed in range(70):
        case = draw(layer.cell, Sizes(1, 1, 1, 2), seed=seed, dtype="float64")
        first, again = (subject(layer).forward(case) for _ in range(2))
        assert np.array_equal(first["y"], again["y"])
    assert len(layer._runs) == 64


@pytest.mark.parametrize(
    ("op", "attributes", "fragment"),
    [
        ("LSTM", {"clip": 3.0}, r"clips the arguments of its activations \(clip = 3\)"),
        ("RNN", {"activations": ["Elu"]}, "its activation Elu is not supported"),
        ("RNN", {"activations": ["HardSigmoid"]}, r"its activation is HardSigmoid\(0.2, 0.5\)"),
        (
            "RNN",
            {"activations": ["Tanh", "Tanh"]},
            "it has 2 activations, but should have 1: a RNN in 1 directions",
        ),
        (
            "RNN",
            {"activations": ["Tanh", "Relu"], "direction": "bidirectional"},
            "its two directions have different activations, Tanh and Relu",
        ),
        ("GRU", {"activations": ["Sigmoid", "Relu"]}, "its activations are Sigmoid, Relu"),
        ("GRU", {"activations": ["Tanh", "Tanh"]}, "its gates are Tanh"),
        (
            "GRU",
            {"activations": ["HardSigmoid", "Tanh"], "activation_alpha": [0.3]},
            r"its gates are HardSigmoid\(0.3, 0.5\)",
        ),
        (
            "LSTM",
            {"activations": ["HardSigmoid", "Tanh", "Tanh"], "activation_beta": [0.4]},
            r"its gates are HardSigmoid\(0.2, 0.4\)",
        ),
        (
            "LSTM",
            {"activations": ["Sigmoid", "Tanh", "Relu"]},
            "its activations are Sigmoid, Tanh, Relu",
        ),
        ("LSTM", {"activation_alpha": [0.2]}, "more values in activation_alpha"),
        ("GRU", {"direction": "backwards"}, "its direction is 'backwards'"),
        ("GRU", {"wind": 3}, "is not valid ONNX: Unrecognized attribute: wind"),
        ("GRU", {"clip": "much"}, "is not valid ONNX"),
    ],
)
def test_an_attribute_that_no_cell_expresses_is_not_ignored(op, attributes, fragment):
    with pytest.raises(TargetError, match=fragment):
        OnnxLayer(runtime.ENGINE, Node(op, attributes), f"model.onnx:{op}")


@pytest.mark.parametrize(
    ("attributes", "cell"),
    [
        ({"activations": ["hardsigmoid", "tanh", "TANH"]}, "lstm-hard5"),
        (
            {"activations": ["HardSigmoid", "Tanh", "Tanh"], "activation_alpha": [1 / 6]},
            "lstm-hard6",
        ),
        (
            {"activations": ["HardSigmoid", "Tanh", "Tanh"] * 2, "direction": "bidirectional"},
            "lstm-hard5-bidirectional",
        ),
        ({"input_forget": 0, "direction": "reverse"}, "lstm"),
        ({"input_forget": 1}, "lstm-coupled"),
    ],
)
def test_attributes_say_which_cell_it_is(attributes, cell):
    assert cell_of(Node("LSTM", attributes)) == as_cell(cell)


@pytest.mark.parametrize("cell", [*CELLS, *RUNTIME_CELLS])
def test_a_cell_and_its_node_are_inverse(cell):
    assert cell_of(node_of(as_cell(cell).kind.upper(), as_cell(cell))) == as_cell(cell)


@pytest.mark.parametrize(
    ("target", "cell", "error", "fragment"),
    [
        (
            "onnxruntime:Conv",
            None,
            UsageError,
            "onnxruntime:Conv is not an operator that gatecheck knows; those are RNN, GRU, LSTM",
        ),
        ("onnxruntime:GRU", "lstm", UsageError, "onnxruntime:GRU cannot be a lstm"),
        *(
            ("onnxruntime:LSTM", f"lstm-{o}", UsageError, "cannot be a lstm")
            for o in ("clip3", "forget1", "proj2", "layers2")
        ),
        (
            "onnx.reference:RNN",
            "rnn-relu",
            TargetError,
            "onnx.reference does not take onnx.reference:RNN as a rnn-relu: Unknown activation",
        ),
    ],
)
def test_an_operator_that_cannot_be_audited(target, cell, error, fragment):
    with pytest.raises(error, match=fragment):
        load(target, cell=cell)


def test_onnx_runtime_without_onnx_is_left_out(monkeypatch):
    for name in [n for n in sys.modules if n.startswith("gatecheck.targets.adapters.onnx")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "onnx", None)
    # Another framework first imported here would stay half imported.
    monkeypatch.setattr(
        loading, "ADAPTERS", {k: v for k, v in loading.ADAPTERS.items() if k.startswith("onnx")}
    )
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name != "onnx")
    assert not [name for name, _ in installed_targets() if name.startswith("onnx")]
    with pytest.raises(MissingExtraError, match=r"pip install \"gatecheck\[onnx\]\""):
        load("model.onnx")


def test_every_target_loads():
    names = [(name, cell) for name, cell in installed_targets() if name.startswith("onnx")]
    assert len(names) == len(runtime.TARGETS) + len(reference.TARGETS)
    assert all(load(name, cell=cell).name == name for name, cell in names)
