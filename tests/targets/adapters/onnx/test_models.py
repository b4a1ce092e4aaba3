"""Recurrent nodes in ONNX files are found and audited with their own weights.

Any other file is an error in one line.
"""

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

from gatecheck.auditing.audit import audit
from gatecheck.cases import draw
from gatecheck.cells import Sizes, as_cell
from gatecheck.cli import main
from gatecheck.conventions import CONVENTIONS
from gatecheck.errors import GatecheckError, TargetError, UsageError
from gatecheck.targets.adapters.onnx.operators import uncouple
from gatecheck.targets.loading import load

D, H = 3, 4
OWN = ["own_weights_within_budget"]


def onnx_weights(cell, dtype="float32", D=D, seed=0):
    return CONVENTIONS["onnx"].from_canonical(
        as_cell(cell), draw(as_cell(cell), Sizes(1, 1, D, H), seed=seed, dtype=dtype).params
    )


def make_node(op, name, weights, x="X", outputs=None, **attributes):
    """Return a node, and its weights as initializers whose names begin with its own."""
    inputs = [
        x,
        *(f"{name}.{k}" for k in ("W", "R", "B")),
        *(["", "", "", f"{name}.P"] if "P" in weights else []),
    ]
    made = helper.make_node(
        op, inputs, outputs or [f"{name}.Y"], name=name, hidden_size=H, **attributes
    )
    return made, [numpy_helper.from_array(a, f"{name}.{k}") for k, a in weights.items()]


def make_model(*parts, inputs=("X",), opset=17, ir_version=9, dtype=TensorProto.FLOAT, **more):
    nodes = [n for n, _ in parts]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(k, dtype, None) for k in inputs],
        [helper.make_tensor_value_info(nodes[-1].output[0], dtype, None)],
        [t for _, tensors in parts for t in tensors],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version, **more
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def two_node_file(folder):
    """Write a file as an exporter would: a reversed LSTM, then a bidirectional GRU.

    The LSTM has peepholes.
    """
    squeeze = (
        helper.make_node("Squeeze", ["enc.Y", "axes"], ["H"]),
        [numpy_helper.from_array(np.array([1]), "axes")],
    )
    enc = make_node("LSTM", "enc", onnx_weights("lstm-peepholes"), direction="reverse")
    dec = make_node(
        "GRU",
        "dec",
        onnx_weights("gru-bidirectional", D=H),
        x="H",
        direction="bidirectional",
        linear_before_reset=1,
    )
    onnx.save(make_model(enc, squeeze, dec), "two.onnx")
    return folder / "two.onnx"


@pytest.mark.parametrize("engine", ["", "onnxruntime:", "onnx.reference:"])
def test_each_node_is_audited_as_its_cell(two_node_file, engine):
    enc, dec = load(f"{engine}two.onnx:enc"), load(f"{engine}two.onnx:dec")
    assert (enc.cell, enc.options) == (as_cell("lstm-peepholes"), {"reverse"})
    assert (dec.cell, dec.options) == (as_cell("gru-bidirectional"), set())
    for found in (enc, dec):
        assert found.dtypes == ("float32",)
        assert "own_weights" in found.abilities
        result = audit(found, profile="quick", only=["forward_within_budget", *OWN])
        assert result.verdict == "pass", [p for p in result.properties if p.outcome != "passed"]


def test_the_weights_are_those_in_the_file(two_node_file):
    own = load("two.onnx:dec").own_weights
    truth = draw(as_cell("gru-bidirectional"), Sizes(1, 1, H, H), seed=0, dtype="float32").params
    assert set(own) == set(truth)
    assert all(np.array_equal(own[k], v) for k, v in truth.items())


def test_a_node_that_is_wrong_for_its_own_weights_fails(two_node_file):
    """The file couples two gates, which the reference evaluator ignores."""
    weights = uncouple(onnx_weights("lstm-coupled"))
    weights["W"][:, 2 * H : 3 * H] = 1
    onnx.save(make_model(make_node("LSTM", "enc", weights, input_forget=1)), "coupled.onnx")
    assert audit(load("coupled.onnx"), profile="quick", only=OWN).verdict == "pass"
    (found,) = audit(load("onnx.reference:coupled.onnx"), profile="quick", only=OWN).properties
    assert found.outcome == "failed"


def test_without_biases_they_are_zero(folder):
    made, tensors = make_node("RNN", "", onnx_weights("rnn"))
    del made.input[3:]
    onnx.save(make_model((made, [t for t in tensors if t.name != ".B"])), "plain.onnx")
    found = load("plain.onnx")
    assert found.name == "plain.onnx"
    assert not found.own_weights["b"].any()
    assert load("plain.onnx:.Y").cell == as_cell("rnn")  # known by its output


def test_nodes_in_subgraphs_and_functions_are_found(folder):
    inner, tensors = make_node("GRU", "cell", onnx_weights("gru-before"))
    branch = helper.make_graph(
        [inner], "b", [], [helper.make_tensor_value_info("cell.Y", TensorProto.FLOAT, None)]
    )
    choice = helper.make_node(
        "If", ["which"], ["Z"], name="if", then_branch=branch, else_branch=branch
    )
    layer = helper.make_function(
        "mine", "Layer", ["X", "W", "R", "B"], ["Y"],
        [helper.make_node("RNN", ["X", "W", "R", "B"], ["Y"], name="r", hidden_size=H)],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    call = helper.make_node("Layer", ["X", "w", "r", "b"], ["L"], domain="mine")
    own = [numpy_helper.from_array(a, k.lower()) for k, a in onnx_weights("rnn").items()]
    made = make_model((choice, tensors), (call, own), functions=[layer])
    made.opset_import.append(helper.make_opsetid("mine", 1))
    onnx.save(made, "deep.onnx")
    with pytest.raises(
        UsageError, match=r"deep.onnx has 3 recurrent nodes; choose one with deep.onnx:NODE, of "
    ) as raised:
        load("deep.onnx")
    names = str(raised.value).partition("NODE, of ")[2].split(", ")
    assert names[:2] == ["if/cell", "if/cell#2"]
    assert [load(f"deep.onnx:{name}").cell.name for name in names] == [
        "gru-before",
        "gru-before",
        "rnn",
    ]


def test_weights_may_be_constant_shared_or_external(folder):
    weights = onnx_weights("rnn")
    made, tensors = make_node("RNN", "a", weights)
    made.input[1], made.input[2] = "k", "same"
    constant = helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(weights["W"]))
    shared = helper.make_node("Identity", ["a.R"], ["same"])
    onnx.save(
        make_model((constant, []), (shared, []), (made, tensors[1:])),
        "odd.onnx",
        save_as_external_data=True,
        size_threshold=0,
    )
    assert audit(load("odd.onnx"), profile="quick", only=OWN).n_tried == 1
    assert np.array_equal(load("odd.onnx").own_weights["W"], weights["W"][0].T)


def write(folder, name, made):
    (folder / f"{name}.onnx").write_bytes(
        made if isinstance(made, bytes) else made.SerializeToString()
    )


def external_data_model(path):
    made = make_model(make_node("RNN", "a", onnx_weights("rnn")))
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=path)
    return made


def model_with_weights(**change):
    return make_model(make_node("RNN", "a", {**onnx_weights("rnn"), **change}))


def model_without_constants(how):
    made, tensors = make_node("RNN", "a", onnx_weights("rnn"))
    computed = helper.make_node("Neg", ["V"], ["a.W"])
    return (
        make_model((computed, []), (made, tensors[1:]))
        if how == "computed"
        else make_model((made, tensors[1:]), inputs=("X", "a.W"))
    )


BAD = {
    "empty": (lambda: b"", "is damaged, or not an ONNX model: its graph has no nodes"),
    "text": (lambda: b"import numpy as np\n" * 9, "is damaged, or not an ONNX model"),
    "cut": (
        lambda: make_model(make_node("RNN", "a", onnx_weights("rnn"))).SerializeToString()[:-30],
        "is damaged, or not an ONNX model",
    ),
    "none": (
        lambda: make_model((helper.make_node("Relu", ["X"], ["Y"]), [])),
        "none.onnx has no RNN, GRU or LSTM",
    ),
    "outside": (
        lambda: external_data_model("../../etc/passwd"),
        "W of outside.onnx:a, a.W, cannot be read",
    ),
    "absolute": (lambda: external_data_model("/etc/passwd"), "cannot be read"),
    "gone": (lambda: external_data_model("gone.bin"), "cannot be read"),
    "computed": (
        lambda: model_without_constants("computed"),
        "a.W, is not in the file but comes from a node Neg: only constant weights can be audited",
    ),
    "input": (
        lambda: model_without_constants("input"),
        "a.W, is not in the file but comes from outside the graph",
    ),
    "shape": (
        lambda: model_with_weights(W=np.zeros((1, 5, 3), np.float32)),
        r"W of shape.onnx:a is float32 of shape \(1, 5, 3\), but should be",
    ),
    "flat": (
        lambda: model_with_weights(R=np.zeros(4, np.float32)),
        r"R of shape \(4,\), which do not fit each other",
    ),
    "hidden": (
        lambda: model_with_weights(R=np.zeros((1, 5, 5), np.float32)),
        r"has hidden_size 4, .* do not fit",
    ),
    "mixed": (
        lambda: model_with_weights(B=np.zeros((1, 8))),
        "B of mixed.onnx:a is float64 of shape",
    ),
    "half": (
        lambda: model_with_weights(
            **{k: a.astype(np.float16) for k, a in onnx_weights("rnn").items()}
        ),
        "is of float16, but gatecheck can audit",
    ),
    "double": (
        lambda: model_with_weights(**onnx_weights("rnn", "float64")),
        "double.onnx:a is of float64, but onnxruntime computes a RNN in float32",
    ),
    "directions": (
        lambda: make_model(make_node("RNN", "a", onnx_weights("rnn"), direction="bidirectional")),
        r"W has shape \(1, 4, 3\), but should have",
    ),
    "old": (
        lambda: make_model(make_node("RNN", "a", onnx_weights("rnn")), opset=6),
        "old.onnx:a is of opset 6, but gatecheck with onnx",
    ),
    "future": (
        lambda: make_model(make_node("RNN", "a", onnx_weights("rnn")), opset=999),
        "is of opset 999",
    ),
    "ir": (
        lambda: make_model(make_node("RNN", "a", onnx_weights("rnn")), ir_version=999),
        "is of IR version 999",
    ),
    "clipped": (
        lambda: make_model(make_node("RNN", "a", onnx_weights("rnn"), clip=1.0)),
        "clipped.onnx:a cannot be audited, because it clips",
    ),
    "layout": (
        lambda: make_model(make_node("RNN", "a", onnx_weights("rnn"), layout=1)),
        "onnxruntime does not take layout.onnx:a: .*layout_ == 0",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_line(folder, name):
    make, fragment = BAD[name]
    write(folder, name, make())
    with pytest.raises(TargetError, match=fragment) as raised:
        load(f"{name}.onnx")
    assert "\n" not in str(raised.value)


def test_damaged_file_is_a_gatecheck_error(folder):
    """A file cut anywhere, or with any byte changed, is loaded or refused."""
    whole = make_model(
        make_node("GRU", "a", onnx_weights("gru"), linear_before_reset=1)
    ).SerializeToString()
    rng = np.random.default_rng(0)
    refused = 0
    for k in range(60):
        at = int(rng.integers(len(whole)))
        damaged = (
            whole[:at] if k % 2 else whole[:at] + bytes([int(rng.integers(256))]) + whole[at + 1 :]
        )
        write(folder, "damaged", damaged)
        try:
            load("damaged.onnx")
        except GatecheckError:
            refused += 1
    assert refused > 20


@pytest.mark.parametrize(
    ("target", "cell", "error", "fragment"),
    [
        ("gone.onnx", None, TargetError, "gone.onnx cannot be read: No such file"),
        (
            "two.onnx",
            None,
            UsageError,
            "two.onnx has 2 recurrent nodes; choose one with two.onnx:NODE, of enc, dec",
        ),
        ("two.onnx:nope", None, UsageError, "two.onnx has no recurrent node nope; it has enc, dec"),
        (
            "two.onnx:enc",
            "lstm",
            UsageError,
            "two.onnx:enc is a lstm-peepholes; --cell lstm does not apply to it",
        ),
    ],
)
def test_invalid_node_choice(two_node_file, target, cell, error, fragment):
    with pytest.raises(error, match=fragment):
        load(target, cell=cell)


def test_a_convention_does_not_apply(two_node_file):
    with pytest.raises(UsageError, match="has its own convention"):
        load("two.onnx:enc", convention="pytorch")


def test_from_the_command_line(two_node_file):
    result = CliRunner().invoke(
        main, ["audit", "two.onnx:dec", "--profile", "quick", "--only", OWN[0]]
    )
    assert result.exit_code == 0, result.output
    assert "pass  two.onnx:dec as gru-bidirectional: 1 ran" in result.output
    failed = CliRunner().invoke(main, ["audit", "two.onnx"])
    assert failed.exit_code == 2
    assert "gatecheck: two.onnx has 2 recurrent nodes" in failed.output
