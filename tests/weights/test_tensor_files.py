"""Files that PyTorch writes: weights are exact, and outputs agree with PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest

from gatecheck.cells import as_cell
from gatecheck.conventions import CONVENTIONS
from gatecheck.weights import find_layers, load, read_arrays

D, H = 3, 4


def torch_module(torch, case, **options):
    kind = case.cell.kind
    if kind == "rnn":
        options["nonlinearity"] = case.cell.activation
    if case.cell.projection:
        options["proj_size"] = case.cell.projection
    module = getattr(torch.nn, kind.upper())(D, H, dtype=torch.float64, **options)
    with torch.no_grad():
        for name, a in CONVENTIONS["pytorch"].from_canonical(case.cell, case.params).items():
            getattr(module, name).copy_(torch.from_numpy(a))
    return module


@pytest.mark.parametrize("name", ["rnn", "rnn-relu", "gru", "lstm", "lstm-proj3"])
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
def test_a_layer_of_pytorch(
    tmp_path, name, suffix, make_case, assert_same_weights, compute_outputs
):
    torch = pytest.importorskip("torch")
    case = make_case(name)
    net = torch.nn.ModuleDict(
        {
            "head": torch.nn.Linear(5, 6),
            "encoder": torch.nn.ModuleDict({"rnn": torch_module(torch, case)}),
        }
    )
    path = tmp_path / f"net{suffix}"
    if suffix == ".safetensors":
        pytest.importorskip("safetensors.torch").save_file(net.state_dict(), path)
    else:
        torch.save(
            {
                "epoch": 3,
                "model": net.state_dict(),
                "optimizer": torch.optim.Adam(net.parameters()).state_dict(),
            },
            path,
        )
    layer = load(path, cell=name)
    assert_same_weights(layer, case)
    assert layer.label == ("" if suffix == ".safetensors" else "model.") + "encoder.rnn.l0"
    assert layer.convention == "pytorch"
    with torch.no_grad():
        expected = net["encoder"]["rnn"](torch.from_numpy(case["x"].copy()))[0].numpy()
    np.testing.assert_allclose(compute_outputs(layer, case["x"]), expected, rtol=0, atol=1e-13)
    if name != "rnn-relu":  # the file shows everything but the activation
        assert_same_weights(load(path), case)
    assert bool(load(path).notes) == name.startswith("rnn")


def test_a_stack_of_pytorch_in_both_directions_is_four_layers(tmp_path, make_case):
    torch = pytest.importorskip("torch")
    case = make_case("gru-layers2-bidirectional")
    torch.save(
        torch_module(torch, case, num_layers=2, bidirectional=True).state_dict(),
        tmp_path / "net.pt",
    )
    arrays = read_arrays(tmp_path / "net.pt")
    assert [(one.label, one.D) for one in find_layers(arrays)] == [
        ("l0", 3),
        ("l0.reverse", 3),
        ("l1", 8),
        ("l1.reverse", 8),
    ]
    for tag, label in (
        ("", "l0"),
        (".reverse", "l0.reverse"),
        (".l1", "l1"),
        (".l1.reverse", "l1.reverse"),
    ):
        layer = load(tmp_path / "net.pt", layer=label)
        assert layer.reverse == ("reverse" in label)
        for part in ("W", "U", "b", "c_n"):
            np.testing.assert_array_equal(layer.params[part], case.params[f"{part}{tag}"])


@pytest.mark.parametrize("name", ["rnn", "gru", "lstm"])
def test_a_cell_of_pytorch_without_biases(tmp_path, name, make_case, compute_outputs):
    torch = pytest.importorskip("torch")
    cell = getattr(torch.nn, f"{name.upper()}Cell")(3, 4, bias=False, dtype=torch.float64)
    torch.save(cell.state_dict(), tmp_path / "cell.pt")
    layer = load(tmp_path / "cell.pt")
    assert (layer.label, layer.cell, layer.convention) == (".", as_cell(name), "pytorch-cell")
    assert not layer.params["b"].any()
    x = make_case(name)["x"]
    state = cell(torch.from_numpy(x[0].copy()))
    expected = (state if name != "lstm" else state[0]).detach().numpy()
    np.testing.assert_allclose(compute_outputs(layer, x)[0], expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_short_floats_are_widened_exactly(tmp_path, dtype, suffix):
    torch = pytest.importorskip("torch")
    module = torch.nn.LSTM(3, 4).to(getattr(torch, dtype))
    path = tmp_path / f"net{suffix}"
    if suffix == ".pt":
        torch.save(module.state_dict(), path)
    else:
        pytest.importorskip("safetensors.torch").save_file(module.state_dict(), path)
    layer = load(path)
    np.testing.assert_array_equal(
        layer.params["U"], module.weight_hh_l0.detach().double().numpy().T
    )
    assert read_arrays(path)["weight_hh_l0"].dtype == (
        "float32" if dtype == "float32" else "float64"
    )
