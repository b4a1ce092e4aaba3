"""PyTorch's recurrent classes pass; under a slightly wrong convention they do not."""

from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest
import torch

from gatecheck.auditing import explore
from gatecheck.auditing.audit import audit
from gatecheck.cases import COTANGENTS, draw
from gatecheck.cells import Sizes, as_cell
from gatecheck.checking.budgets import case_budget
from gatecheck.checking.evidence import check_agreement
from gatecheck.conventions import CONVENTIONS
from gatecheck.errors import TargetError, UsageError
from gatecheck.implementation import subject
from gatecheck.targets.adapters.torch import EXPECTED_FAILURES, TARGETS, adapt

NAMES = [f"{name}-{cell}" if cell else name for name, cell in TARGETS]


@pytest.mark.parametrize(("name", "cell"), TARGETS, ids=NAMES)
def test_every_class_passes(name, cell, monkeypatch):
    monkeypatch.setitem(explore.PROFILES, "quick", 2)  # `gatecheck audit` tries six times as many
    result = audit(adapt(name, cell), profile="quick")
    assert result.verdict == "pass", [
        p for p in result.properties if p.outcome not in ("passed", "skipped")
    ]
    assert result.versions["torch"] == torch.__version__
    refused = {p.name: p.reason for p in result.properties if p.outcome == "expected_failure"}
    assert refused == ({} if name.endswith("Cell") else EXPECTED_FAILURES)
    assert all(p.reason for p in result.properties if p.outcome == "skipped")


class BatchFirst:
    """``torch.nn.LSTM(batch_first=True)``, called as its users do."""

    cell, convention, options = "lstm", "pytorch", MappingProxyType({"batch_first": True})
    expected_failures = MappingProxyType(EXPECTED_FAILURES)

    def forward(self, params, x, h0, c0=None):
        H = params["weight_hh_l0"].shape[1]
        module = torch.nn.LSTM(x.shape[2], H, batch_first=True, dtype=torch.from_numpy(x).dtype)
        states = tuple(
            torch.zeros(1, len(x), H, dtype=module.weight_hh_l0.dtype)
            if s is None
            else torch.from_numpy(s)[None]
            for s in (h0, c0)
        )
        given = {k: torch.from_numpy(v) for k, v in params.items()}
        with torch.no_grad():
            y, (h, c) = torch.func.functional_call(module, given, (torch.from_numpy(x), states))
        return y.numpy(), h[0].numpy(), c[0].numpy()


def test_a_layer_that_takes_the_batch_first_passes(monkeypatch):
    monkeypatch.setitem(explore.PROFILES, "quick", 4)
    result = audit(BatchFirst(), profile="quick")
    assert result.verdict == "pass", [
        p for p in result.properties if p.outcome not in ("passed", "skipped")
    ]


NETWORK_PROPERTIES = [
    *(
        "forward_within_budget",
        "gradients_within_budget",
        "lengths_within_budget",
        "padding_has_no_effect",
        "last_output_is_final_state",
    ),
    *(
        "directions_are_mirror_images",
        "lower_layers_do_not_depend_on_upper",
        "projected_state_can_change_coordinates",
    ),
]


@pytest.mark.parametrize(
    "cell",
    ["lstm-layers2-bidirectional", "gru-bidirectional", "rnn-relu-layers3", "lstm-proj2-layers2"],
)
def test_a_network_passes(cell):
    """Layers, directions, a projection, and lengths as a packed sequence."""
    kind = as_cell(cell).kind.upper()
    result = audit(adapt(kind, cell), profile="quick", only=NETWORK_PROPERTIES)
    assert result.verdict == "pass", [
        p for p in result.properties if p.outcome not in ("passed", "skipped")
    ]
    assert result.n_tried >= 6


def test_a_projection_is_narrower_than_its_cell():
    assert adapt("LSTM", "lstm-proj3").sizes == {"H": 5}
    with pytest.raises(ValueError, match="proj_size has to be smaller than hidden_size"):
        torch.nn.LSTM(2, 3, proj_size=3)


def test_the_refusal_of_an_empty_sequence_is_pytorchs():
    with pytest.raises(RuntimeError, match="Expected sequence length to be larger than 0 in RNN"):
        torch.nn.RNN(2, 3)(torch.zeros(0, 1, 2))


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("GRU", {"order": "zrn"}),
        ("GRU", {"negated": ""}),
        ("GRU", {"negated": "zr"}),
        ("LSTM", {"order": "ifog"}),
        ("LSTM", {"order": "figo"}),
        ("LSTM", {"negated": "f"}),
    ],
    ids=lambda v: v if isinstance(v, str) else str(v),
)
def test_a_wrong_convention_fails(name, wrong):
    right = CONVENTIONS["pytorch"]
    mine = replace(
        right,
        layouts={
            kind: replace(layout, **wrong)
            for kind, layout in right.layouts.items()
            if kind == name.lower()
        },
    )
    (found,) = audit(
        adapt(name),
        convention=mine,
        profile="quick",
        only=["forward_within_budget"],
        diagnose=False,
    ).properties
    assert found.outcome == "failed"


@pytest.mark.parametrize("cotangent", [*COTANGENTS, None])
@pytest.mark.parametrize(("name", "cell"), TARGETS, ids=NAMES)
def test_gradients_for_each_cotangent_alone(name, cell, cotangent):
    implementation = subject(adapt(name, cell))
    if cotangent == "dcT" and implementation.cell.kind != "lstm":
        with pytest.raises(KeyError):
            draw(implementation.cell, Sizes(4, 3, 2, 5), seed=8, dtype="float32")["dcT"]
        return
    case = draw(implementation.cell, Sizes(4, 3, 2, 5), seed=8, dtype="float32")
    case = case.replace(**{k: None for k in COTANGENTS if k != cotangent})
    budget = case_budget(case)
    got = implementation.backward(case)
    expected = {k: v for k, v in budget.exact.items() if k.startswith("d")}
    assert set(got) == set(expected)
    if cotangent is None:
        assert not any(v.any() for v in got.values())
        return
    assert check_agreement(case.cell, got, expected, budget.tolerance).judged >= len(expected)
    assert all(np.any(got[k]) for k in ("dW", "dU", "dx"))


@pytest.mark.parametrize(
    ("name", "cell", "fragment"),
    [
        (
            "Linear",
            None,
            "torch.nn:Linear is not a recurrent class that gatecheck knows; those are RNN, GRU, "
            "LSTM",
        ),
        ("Cell", None, "not a recurrent class"),
        ("GRU", "lstm", "torch.nn:GRU cannot be a lstm"),
        ("GRU", "gru-before", "cannot be a gru-before"),
        ("RNN", "rnn-sigmoid", "cannot be a rnn-sigmoid"),
        ("RNN", "nope", "there is no cell 'nope'"),
        ("GRUCell", "gru-layers2", "cannot be a gru-layers2"),
        ("LSTMCell", "lstm-proj2", "cannot be a lstm-proj2"),
        ("LSTM", "lstm-peepholes", "cannot be a lstm-peepholes"),
    ],
)
def test_a_class_that_cannot_be_audited(name, cell, fragment):
    with pytest.raises(UsageError, match=fragment):
        adapt(name, cell)


def test_the_class_can_be_the_cell_that_is_named():
    assert adapt("RNN", "rnn-relu").cell == as_cell("rnn-relu")


# ---- devices

BUDGET_PROPERTIES = ["forward_within_budget", "gradients_within_budget"]


@pytest.mark.parametrize(
    ("name", "cell"), [("GRU", None), ("LSTM", "lstm-proj2"), ("LSTMCell", None)]
)
def test_on_a_device_that_is_named(name, cell):
    result = audit(adapt(name, cell, device="cpu:0"), profile="quick", only=BUDGET_PROPERTIES)
    assert result.verdict == "pass", result.findings
    assert "it was computed on cpu:0" in result.limitations


@pytest.mark.parametrize(
    ("device", "error", "message"),
    [
        ("cdua", UsageError, "PyTorch knows no device 'cdua': Expected one of cpu, cuda"),
        ("", UsageError, "PyTorch knows no device ''"),
        ("cuda:x", UsageError, "PyTorch knows no device 'cuda:x'"),
        (
            "meta",
            TargetError,
            "PyTorch cannot compute on 'meta' here: Cannot copy out of meta tensor",
        ),
    ],
)
def test_a_device_that_is_not_here(device, error, message):
    with pytest.raises(error, match=message) as caught:
        adapt("GRU", device=device)
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)


class FakeGPU:
    """A fake GPU: arrays stay where they are, and allocations on it are recorded."""

    def __init__(self, monkeypatch, lacks=()):
        self.made, zeros = [], torch.zeros

        def made(*shape, dtype=None, device=None, **more):
            self.made.append((device, dtype))
            if dtype in lacks:
                raise TypeError("no such numbers here")
            return zeros(*shape, dtype=dtype, **more)

        monkeypatch.setattr(torch, "zeros", made)


def test_a_gpu_is_tried_with_real_numbers_and_declared_with_what_it_has(monkeypatch):
    fake = FakeGPU(monkeypatch, lacks=(torch.float64,))
    layer = adapt("GRU", device="cuda:1")
    assert fake.made == [("cuda:1", torch.float32), ("cuda:1", torch.float64)]
    assert layer.dtypes == ("float32",)
    (note,) = [n for n in subject(layer).limitations if "computed on" in n]
    assert (
        note
        == "it was computed on cuda:1, with TF32 off: by default PyTorch may round to 10 bits there"
    )


def test_arrays_go_to_the_device_and_results_come_back(monkeypatch):
    """Also arrays made inside: a module's own weights, and absent states."""
    FakeGPU(monkeypatch)
    layer, moved, come_back = adapt("LSTM", device="cuda"), [], []
    to, cpu, make = torch.Tensor.to, torch.Tensor.cpu, layer._make
    monkeypatch.setattr(
        torch.Tensor,
        "to",
        lambda self, *how: (
            moved.append(how) or to(self, *("cpu" if h == "cuda" else h for h in how))
        ),
    )
    monkeypatch.setattr(
        torch.Tensor, "cpu", lambda self: come_back.append(tuple(self.shape)) or cpu(self)
    )
    made = []
    layer._make = lambda *sizes, **how: made.append(how["device"]) or make(*sizes, **how)
    case = draw(as_cell("lstm"), Sizes(4, 3, 2, 5), seed=8, dtype="float32").replace(c0=None)
    results = subject(layer).run(case)
    assert all(how == ("cuda",) for how in moved)
    # x, h0 and four parameters, twice; and three cotangents.
    assert len(moved) == 2 * 6 + 3
    assert sorted(come_back) == sorted(
        [(4, 3, 5), (3, 5), (3, 5), (20, 2), (20, 5), (20,), (20,), (4, 3, 2), (3, 5)]
    )
    assert [d.type for d in made] == ["cpu", "cpu"]  # the device of x, which has not really moved
    assert check_agreement(
        case.cell, results, case_budget(case).exact, case_budget(case).tolerance
    ).judged


def test_tf32_is_off_and_restored(monkeypatch):
    """cuDNN would use it by default, and budgets assume IEEE float32."""
    seen, call = [], torch.nn.GRU.forward
    flags = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [f.allow_tf32 for f in flags]
    assert before[1]

    def forward(self, *given):
        seen.append([f.allow_tf32 for f in flags])
        return call(self, *given)

    monkeypatch.setattr(torch.nn.GRU, "forward", forward)
    case = draw(as_cell("gru"), Sizes(4, 3, 2, 5), seed=8, dtype="float32")
    subject(adapt("GRU")).run(case)
    assert seen == [[False, False]] * 2
    assert [f.allow_tf32 for f in flags] == before
