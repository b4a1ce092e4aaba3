"""Conventions of the frameworks.

The source of an entry says how it is known: "run" names the script in which it reproduced its
framework on random, asymmetric weights; "read" means that nobody has run it. The tests compare the
entries of frameworks that gatecheck audits with the frameworks.
"""

from __future__ import annotations

from dataclasses import replace

from gatecheck.conventions.convention import Convention
from gatecheck.conventions.layout import Layout

_CANONICAL = {f"{part}{{tag}}": part for part in ("W", "U", "b", "c_n", "p", "R")}

CANONICAL = Convention(
    name="canonical",
    layouts={
        kind: Layout(order, _CANONICAL)
        for kind, order in (("rnn", "n"), ("gru", "rzn"), ("gru-before", "rzn"), ("lstm", "ifgo"))
    },
    source="gatecheck.cells",
)

_PYTORCH = {
    "weight_ih_l{layer}{reverse}": "W",
    "weight_hh_l{layer}{reverse}": "U",
    "bias_ih_l{layer}{reverse}": "b",
    "bias_hh_l{layer}{reverse}": "c",
    "weight_hr_l{layer}{reverse}": "R",
}

PYTORCH = Convention(
    name="pytorch",
    layouts={
        "rnn": Layout("n", _PYTORCH),
        "gru": Layout("rzn", _PYTORCH, negated="z"),
        "lstm": Layout("ifgo", _PYTORCH),
    },
    rows=True,
    reverse="_reverse",
    source="torch/nn/modules/rnn.py: GRU.forward, h' = (1 - z) n + z h",
)

_PYTORCH_CELL = {"weight_ih": "W", "weight_hh": "U", "bias_ih": "b", "bias_hh": "c"}

PYTORCH_CELL = replace(
    PYTORCH,
    name="pytorch-cell",
    layouts={
        kind: replace(layout, arrays=_PYTORCH_CELL) for kind, layout in PYTORCH.layouts.items()
    },
    source="torch/nn/modules/rnn.py: RNNCell, GRUCell, LSTMCell",
)

# Keras has no names for further layers.
_KERAS = {"kernel{tag}": "W", "recurrent_kernel{tag}": "U", "bias{tag}": "b"}

KERAS = Convention(
    name="keras",
    layouts={
        "rnn": Layout("n", _KERAS),
        "gru": Layout("zrn", _KERAS | {"bias{tag}": "b; c"}, negated="z"),
        "gru-before": Layout("zrn", _KERAS, negated="z"),
        "lstm": Layout("ifgo", _KERAS),
    },
    axes="BTD",
    source="keras/src/layers/rnn: SimpleRNN, GRU, h' = z h + (1 - z) n, LSTM; "
    "the hard sigmoid is a/6 + 1/2",
)

TENSORFLOW1 = Convention(
    name="tensorflow1",
    layouts={
        "rnn": Layout("n", {"kernel": "W; U", "bias": "b"}),
        "gru-before": Layout(
            "rzn",
            {
                "gates/kernel": "W; U : rz",
                "gates/bias": "b : rz",
                "candidate/kernel": "W; U : n",
                "candidate/bias": "b : n",
            },
            negated="z",
        ),
        "lstm": Layout("igfo", {"kernel": "W; U", "bias": "b"}),
    },
    states="ch",
    source="run: TensorFlow 2.21.0 with tf_keras (reports/conventions/tensorflow1_check.py); "
    "tf.compat.v1.nn.rnn_cell: BasicRNNCell, GRUCell, BasicLSTMCell, "
    "whose forget bias of 1 is added at run time",
)

_ONNX = {"W": "W", "R": "U", "B": "b | c", "P": "p"}

ONNX = Convention(
    name="onnx",
    layouts={
        "rnn": Layout("n", _ONNX),
        "gru": Layout("zrn", _ONNX, negated="z"),
        "gru-before": Layout("zrn", _ONNX, negated="z"),
        "lstm": Layout("iofg", _ONNX | {"P": "p : iof"}),
    },
    rows=True,
    stacked=True,
    source="onnx/docs/Operators.md: RNN, GRU, LSTM; GRU resets after the product where "
    "linear_before_reset is 1",
)

_OPENVINO = {"W": "W", "R": "U", "B": "b"}

OPENVINO = Convention(
    name="openvino",
    layouts={
        "rnn": Layout("n", _OPENVINO),
        "gru": Layout("zrn", _OPENVINO | {"B": "b | c_n"}, negated="z"),
        "gru-before": Layout("zrn", _OPENVINO, negated="z"),
        "lstm": Layout("figo", _OPENVINO),
    },
    rows=True,
    stacked=True,
    axes="BTD",
    state_axes="BNH",
    source="run: OpenVINO 2026.4.1 (reports/conventions/openvino_check.py); docs.openvino.ai, "
    "operations RNNSequence-5, GRUSequence-5, LSTMSequence-5",
)

_ONEDNN = {
    "weights_layer": "W",
    "weights_iter": "U",
    "bias": "b",
    "weights_peephole": "p",
    "weights_projection": "R",
}

ONEDNN = Convention(
    name="onednn",
    layouts={
        "rnn": Layout("n", _ONEDNN),
        "gru": Layout("zrn", _ONEDNN | {"bias": "b | c_n"}, negated="z"),
        "gru-before": Layout("zrn", _ONEDNN, negated="z"),
        "lstm": Layout("ifgo", _ONEDNN),
    },
    source="run: oneDNN 3.2 (reports/conventions/onednn_check.py); oneapi-src/oneDNN, "
    "doc/primitives/rnn.md: vanilla_rnn, lbr_gru, vanilla_gru, vanilla_lstm, with weights in ldigo",
)

_COREML = {
    "{gate}WeightMatrix": "W",
    "{gate}RecursionMatrix": "U",
    "{gate}BiasVector": "b",
    "{gate}PeepholeVector": "p",
}

COREML = Convention(
    name="coreml",
    layouts={
        "gru-before": Layout(
            "zrn",
            _COREML,
            negated="z",
            gate_names={"z": "updateGate", "r": "resetGate", "n": "outputGate"},
        ),
        "lstm": Layout(
            "ifgo",
            _COREML,
            gate_names={"i": "inputGate", "f": "forgetGate", "g": "blockInput", "o": "outputGate"},
        ),
    },
    rows=True,
    source="read: apple/coremltools 9.0, mlmodel/format/NeuralNetwork.proto: GRULayerParams, "
    "LSTMWeightParams; it runs on Apple's systems only",
)

TFLITE = Convention(
    name="tflite",
    layouts={
        "lstm": Layout(
            "ifgo",
            {
                "input_to_{gate}_weights": "W",
                "recurrent_to_{gate}_weights": "U",
                "cell_to_{gate}_weights": "p",
                "{gate}_gate_bias": "b",
                "projection_weights": "R",
            },
            gate_names={"i": "input", "f": "forget", "g": "cell", "o": "output"},
        )
    },
    rows=True,
    source="run: TensorFlow 2.21.0 (reports/conventions/tflite_check.py); "
    "tensorflow/lite/kernels/lstm_shared.h, unidirectional_sequence_lstm.cc",
)

FLAX = Convention(
    name="flax",
    layouts={
        "rnn": Layout(
            "n", {"{reverse}i/kernel": "W", "{reverse}i/bias": "b", "{reverse}h/kernel": "U"}
        ),
        "gru": Layout(
            "rzn",
            {
                "{reverse}i{gate}/kernel": "W",
                "{reverse}i{gate}/bias": "b",
                "{reverse}h{gate}/kernel": "U",
                "{reverse}hn/bias": "c_n",
            },
            negated="z",
        ),
        "lstm": Layout(
            "ifgo",
            {
                "{reverse}i{gate}/kernel": "W",
                "{reverse}h{gate}/kernel": "U",
                "{reverse}h{gate}/bias": "b",
            },
        ),
    },
    reverse="backward/",
    states="ch",
    source="flax/linen/recurrent.py (0.12): SimpleCell, GRUCell, LSTMCell, OptimizedLSTMCell; "
    "the carry is (c, h)",
)

_NNX = {
    "{reverse}dense_i/kernel": "W",
    "{reverse}dense_i/bias": "b",
    "{reverse}dense_h/kernel": "U",
}
_NNX_LSTM = {
    "{reverse}dense_i/kernel": "W",
    "{reverse}dense_h/kernel": "U",
    "{reverse}dense_h/bias": "b",
}

FLAX_NNX = Convention(
    name="flax-nnx",
    layouts={
        "rnn": Layout("n", _NNX),
        "gru": Layout("rzn", _NNX, negated="z"),
        "lstm": Layout("ifgo", _NNX_LSTM),
    },
    reverse="backward/",
    states="ch",
    source="flax/nnx/nn/recurrent.py (0.12): SimpleCell, GRUCell, which has no bias inside the "
    "reset, OptimizedLSTMCell",
)

FLAX_NNX_UNFUSED = Convention(
    name="flax-nnx-apart",
    layouts={
        "lstm": Layout(
            "ifgo",
            {
                "{reverse}i{gate}/kernel": "W : igo",
                "{reverse}if_/kernel": "W : f",
                "{reverse}h{gate}/kernel": "U",
                "{reverse}h{gate}/bias": "b",
            },
        )
    },
    reverse="backward/",
    states="ch",
    source="flax/nnx/nn/recurrent.py (0.12): LSTMCell, whose if_ is a name that Python allows",
)

HAIKU = Convention(
    name="haiku",
    layouts={
        "rnn": Layout(
            "n", {"linear/w": "W", "linear/b": "b", "linear_1/w": "U", "linear_1/b": "c"}
        ),
        "gru-before": Layout("zrn", {"w_i": "W", "w_h": "U", "b": "b"}),
        "lstm": Layout("igfo", {"linear/w": "W; U", "linear/b": "b"}),
    },
    source="haiku/_src/recurrent.py: VanillaRNN, GRU, whose z is the weight of the new value, "
    "LSTM, which adds 1 to f's bias at run time",
)

_EQUINOX = {"weight_ih": "W", "weight_hh": "U", "bias": "b", "bias_n": "c_n"}

EQUINOX = Convention(
    name="equinox",
    layouts={"gru": Layout("rzn", _EQUINOX, negated="z"), "lstm": Layout("ifgo", _EQUINOX)},
    rows=True,
    source="equinox/nn/_rnn.py: GRUCell, h' = n + z (h - n); LSTMCell",
)

MLX = Convention(
    name="mlx",
    layouts={
        "rnn": Layout("n", {"Wxh": "W", "Whh": "U", "bias": "b"}),
        "gru": Layout("rzn", {"Wx": "W", "Wh": "U", "b": "b", "bhn": "c_n"}, negated="z"),
        "lstm": Layout("ifgo", {"Wx": "W", "Wh": "U", "bias": "b"}),
    },
    rows=True,
    axes="BTD",
    source="run: MLX 0.32.4 on the CPU (reports/conventions/mlx_check.py); "
    "mlx/nn/layers/recurrent.py: RNN, GRU, LSTM",
)

DYNET = Convention(
    name="dynet",
    layouts={
        "gru-before": Layout(
            "zrn", {"x2{gate}": "W", "h2{gate}": "U", "b{gate}": "b"}, gate_names={"n": "h"}
        ),
        "lstm": Layout("ifog", {"x2i": "W", "h2i": "U", "bi": "b"}),
    },
    rows=True,
    states="ch",
    source="read: clab/dynet, dynet/gru.cc: GRUBuilder, whose z is the weight of the new value; "
    "lstm.cc: VanillaLSTMBuilder, forget bias 1",
)

PADDLE = replace(
    PYTORCH.drop_parts("R"),  # the layer has no name for it
    name="paddle",
    axes="BTD",
    source="run: PaddlePaddle 3.3.1 (reports/conventions/paddle_check.py); "
    "paddle/nn/layer/rnn.py: SimpleRNN, GRU, h' = z h + (1 - z) n, LSTM",
)

PADDLE_CELL = replace(
    PADDLE,
    name="paddle-cell",
    # The projection, weight_ho (H, P), is not transposed, unlike the other weights.
    layouts={
        kind: replace(layout, arrays=_PYTORCH_CELL | {"weight_ho": "R'"})
        for kind, layout in PYTORCH.layouts.items()
    },
    axes="TBD",
    source="run: PaddlePaddle 3.3.1 (reports/conventions/paddle_check.py); "
    "paddle/nn/layer/rnn.py: SimpleRNNCell, GRUCell, LSTMCell",
)

CHAINER = Convention(
    name="chainer",
    layouts={"lstm": Layout("gifo", {"upward/W": "W", "upward/b": "b", "lateral/W": "U"})},
    rows=True,
    interleaved=True,
    states="ch",
    source="run: Chainer 7.8.1 (reports/conventions/chainer_check.py); "
    "chainer/functions/rnn/lstm.py: row 4k + gate in the order a, i, f, o; "
    "its links take and return c before h",
)

CHAINER_GRU = Convention(
    name="chainer-gru",
    layouts={
        "gru-before": Layout(
            "rzn",
            {"W{gate}/W": "W", "W{gate}/b": "b", "U{gate}/W": "U", "U{gate}/b": "c"},
            gate_names={"r": "_r", "z": "_z", "n": ""},
        )
    },
    rows=True,
    source="run: Chainer 7.8.1 (reports/conventions/chainer_check.py); "
    "chainer/links/rnn/gru.py: GRUBase, whose z is the weight of the new value",
)
