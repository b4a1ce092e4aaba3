"""A diagnosis names the faults of code that is independent of our equations.

That code is in ports.py.
"""

import io
import json
import random

import numpy as np
import pytest
from rich.console import Console

from gatecheck.auditing.audit import audit
from gatecheck.cases import draw
from gatecheck.cells import CELLS, GRU, LSTM, RNN, Sizes, as_cell
from gatecheck.conventions import Convention, Layout
from gatecheck.diagnosis.conventions.alternatives import alternative_models
from gatecheck.diagnosis.conventions.arrangements import arrangements
from gatecheck.diagnosis.conventions.models import rearranged_model, reference_model
from gatecheck.diagnosis.diagnose import diagnose
from gatecheck.diagnosis.hypotheses import Hypothesis, candidate_faults, exact_gradients
from gatecheck.diagnosis.prefilter import ranked_pairs as screened_pairs
from gatecheck.faults.catalogue import find
from gatecheck.faults.edited_cell import EditedCell
from gatecheck.implementation import subject
from gatecheck.kernels.builtin import Builtin
from gatecheck.report.audit_table import audit_report
from helpers.diagnosis_score import (
    bugs,
    correct_ports,
    mark_diagnosis,
    single_bug_ports,
    two_bug_ports,
)
from helpers.port_forward import GATES
from helpers.ports import Autograd, Port

TIME_LIMIT_S = 120
"""Seconds, so that no outcome depends on how busy the machine is."""


def run_diagnosis(target):
    return diagnose(subject(target), time_limit_s=TIME_LIMIT_S)


def names(found):
    return [e.names for e in found.explanations]


# ---- ports


def test_ports_have_enough_bugs():
    ahead, behind = (sum(len(bugs(cell)[k]) for cell in GATES) for k in (0, 1))
    assert ahead >= 25
    assert behind >= 25


@pytest.mark.parametrize(
    "port", random.Random(0).sample(list(correct_ports()), 3), ids=lambda port: port.name
)
def test_what_is_right_is_never_explained(port):
    found = run_diagnosis(port)
    assert found.explanations == ()
    assert "are right on the cases" in found.message


@pytest.mark.parametrize(
    "port", random.Random(1).sample(list(single_bug_ports()), 8), ids=lambda port: port.name
)
def test_single_bugs_are_named(port):
    mark, found = mark_diagnosis(port, time_limit_s=TIME_LIMIT_S)
    assert mark in ("named", "equal"), found


@pytest.mark.parametrize("port", list(two_bug_ports(3, 2)), ids=lambda port: port.name)
def test_pairs_of_bugs_are_named(port):
    mark, found = mark_diagnosis(port, time_limit_s=TIME_LIMIT_S)
    assert mark in ("named", "equal"), found


def test_a_sentence_says_which_gradient_follows_a_faulty_forward():
    by_hand, traced = (
        run_diagnosis(Port("gru", "r/z swapped in U")),
        run_diagnosis(Autograd("gru", "r/z swapped in U")),
    )
    assert ("r/z swapped in U",) in names(by_hand)
    assert ("r/z swapped in U",) in names(traced)
    assert "The backward is the textbook's" in by_hand.explanations[0].description
    assert "The gradients are the exact ones" in traced.explanations[0].description
    assert 0 < by_hand.explanations[0].residual <= 1


@pytest.mark.parametrize(
    ("cell", "pair"),
    [
        ("gru-layers2", ("no tanh on n", "dh not carried")),
        ("gru-layers2", ("mix by r", "no tanh on n")),
        ("lstm-bidirectional", ("no tanh on c", "no tanh on g")),
    ],
)
def test_pairs_in_networks_are_named(cell, pair):
    faults = {
        f.name: f
        for f in (
            *candidate_faults(as_cell(cell)).forward,
            *candidate_faults(as_cell(cell)).backward,
        )
    }
    found = run_diagnosis(EditedCell(as_cell(cell), *(faults[name].edit for name in pair)))
    assert pair in names(found)


# ---- conventions


@pytest.mark.parametrize(
    "cell",
    [*CELLS.values(), GRU(layers=2, bidirectional=True), LSTM(bidirectional=True, projection=2)],
    ids=str,
)
def test_the_gradients_of_every_convention_are_those_of_its_outputs(cell):
    """`returned` is the transpose of `given`.

    Derivatives by the complex step, which does not use it, are the same.
    """
    case = draw(cell, Sizes(3, 2, 3, 4), seed=5, dtype="float64")
    some = random.Random(0).sample(list(arrangements(cell)), min(6, len(list(arrangements(cell)))))
    for base in [*alternative_models(cell), *(rearranged_model(cell, a) for a in some)]:
        found, expected = (
            Hypothesis(base).predict(case.as_float64()),
            exact_gradients(Hypothesis(base), case),
        )
        assert expected is not None, base.name
        for k, v in expected.items():
            np.testing.assert_allclose(
                found[k], v, rtol=1e-9, atol=1e-12, err_msg=f"{base.name}: {k}"
            )


class InOtherConvention(Builtin):
    """Correct cell whose parameters are in a convention that it does not declare."""

    def __init__(self, cell, convention):
        super().__init__(cell)
        self.spelled = convention

    def forward(self, params, x, h0, c0=None, lengths=None):
        return super().forward(self.spelled.to_canonical(self.cell, params), x, h0, c0, lengths)

    def backward(self, params, x, h0, c0, dy, dhT, dcT, lengths=None):
        out = super().backward(
            self.spelled.to_canonical(self.cell, params), x, h0, c0, dy, dhT, dcT, lengths
        )
        own = self.spelled.from_canonical(self.cell, {k: out[k] for k in params})
        return {**out, **own}


@pytest.mark.parametrize(
    ("cell", "order", "negated", "name"),
    [
        (LSTM(), "ifog", "", "order ifog"),
        (GRU(), "zrn", "z", "order zrn, z negated"),
        (GRU("before"), "rzn", "z", "z negated"),
    ],
)
def test_an_undeclared_order_is_a_convention(cell, order, negated, name):
    kind = "gru-before" if cell.reset == "before" else cell.kind
    layout = Layout(order, {part: part for part in ("W", "U", "b", "c_n")}, negated=negated)
    convention = Convention("odd", {kind: layout})
    found = run_diagnosis(InOtherConvention(cell, convention))
    assert found.explanations[0].kind == "convention"
    assert found.explanations[0].names == (name,)


def test_an_undeclared_layout_is_a_convention():
    class BatchFirst(Builtin):
        def forward(self, params, x, h0, c0=None):
            y, *states = super().forward(params, x.swapaxes(0, 1).copy(), h0, c0)
            return y.swapaxes(0, 1), *states

        def backward(self, params, x, h0, c0, dy, dhT, dcT):
            dy = None if dy is None else dy.swapaxes(0, 1).copy()
            out = super().backward(params, x.swapaxes(0, 1).copy(), h0, c0, dy, dhT, dcT)
            return {**out, "x": out["x"].swapaxes(0, 1)}

    found = run_diagnosis(BatchFirst(LSTM()))
    assert [e.kind for e in found.explanations] == ["convention"]
    assert "with batch_first = True" in found.explanations[0].description


# ---- what is not in the equations, and what nothing explains


def test_a_fault_around_the_cell_is_named():
    found = run_diagnosis(find("lstm: state kept between calls").inject())
    assert ("state kept between calls",) in names(found)


@pytest.mark.parametrize(
    "label",
    [
        "lstm: last H mod 8 units missing in dU",
        "gru: last H mod 16 units of the wrong gate",
        "rnn: last H mod 32 units zero",
        "gru: rows beyond 32 repeat the first",
        "lstm: rows beyond 64 missing in the sums",
        "rnn: outputs stop after 64 steps",
        "lstm: steps beyond 128 cut off",
        "gru: steps beyond 256 frozen",
    ],
)
def test_a_fault_from_some_size_on_is_named_alone(label):
    assert names(run_diagnosis(find(label).inject())) == [(label.partition(": ")[2],)]


def test_a_target_that_only_runs_forward():
    class Forward:
        cell, convention, dtypes = "gru", "canonical", ("float32",)

        def forward(self, params, x, h0, c0=None):
            return Port("gru", "h0 ignored").forward(params, x, h0)

    found = run_diagnosis(Forward())
    assert ("h0 ignored",) in names(found)
    assert "Your outputs equal" in found.explanations[0].description


def test_a_target_that_crashes():
    class Crashes:
        cell = "rnn"

        def forward(self, params, x, h0, c0=None):
            raise RuntimeError("no kernel for this device")

    found = run_diagnosis(Crashes())
    assert found.explanations == ()
    assert "cannot be run" in found.message
    assert "no kernel for this device" in found.message


class CoarseFloat32(Builtin):
    """Correct cell that in float32 rounds its arrays to a number of bits, like TF32."""

    def __init__(self, bits):
        super().__init__("lstm")
        self.bits = bits

    def forward(self, params, x, *states):
        return super().forward(
            {name: self.cut(a) for name, a in params.items()}, self.cut(x), *states
        )

    def backward(self, params, x, *more):
        return super().backward(
            {name: self.cut(a) for name, a in params.items()}, self.cut(x), *more
        )

    def cut(self, a):
        if a.dtype != np.float32:
            return a
        mantissa, exponent = np.frexp(a)
        return np.ldexp(
            np.round(mantissa * np.float32(2**self.bits)) / np.float32(2**self.bits), exponent
        )


@pytest.mark.parametrize("bits", [11, 8])
def test_arithmetic_that_is_too_coarse(bits):
    found = run_diagnosis(CoarseFloat32(bits))
    assert found.explanations == ()
    assert (
        "The equations are right: in float64 every number agrees. "
        "In float32 results are off by up to" in found.message
    )


@pytest.mark.parametrize("bits", [24, 2])
def test_arithmetic_that_is_as_it_should_be_or_far_from_it_is_not_called_coarse(bits):
    assert "In float32" not in run_diagnosis(CoarseFloat32(bits)).message


class UnknownFault(Port):
    """Port with a fault that is not in the catalogue."""

    def backward(self, *arguments):
        out = super().backward(*arguments)
        H = out["U"].shape[0]
        out["W"][:, H : 2 * H] *= 1.3
        return out


def test_a_gradient_that_nothing_explains_is_narrowed_to_its_block():
    found = run_diagnosis(UnknownFault("gru"))
    assert found.explanations == ()
    assert (
        "The outputs are those of the right equations; "
        "wrong gradients: dW[gate=z]; right: dW[gate=r n]" in found.message
    )
    assert "dx is right at every step" in found.message


def test_a_forward_that_nothing_explains_is_narrowed_to_its_steps():
    class Late(Port):
        def rnn(self, p, take, x, h, c, before):
            made = super().rnn(p, take, x, h, c, before)
            return made if before is None else made | {"h": made["h"] * 0.9 + 0.05}

    found = run_diagnosis(Late("rnn"))
    assert found.explanations == ()
    assert "The forward departs from the equations" in found.message
    assert "The first step is right" in found.message


def test_a_search_that_is_cut_says_so():
    found = diagnose(subject(Port("lstm", "dc not carried", "tanh on i")), time_limit_s=0)
    assert found.explanations == ()
    assert "The search ran out of time while trying" in found.message


# ---- pieces


def test_pairs_that_contradict_nothing_come_first():
    # Faults 0 and 1 each spoil one of three blocks, as was observed; fault 2 the first of them in
    # another way, fault 3 the third.
    silent = np.array([[0, 1, 1], [1, 0, 1], [0, 1, 1], [1, 1, 0]], bool)
    observed = np.array([0, 0, 1], bool)
    alike = np.array([[1, 0, 1], [0, 1, 1], [0, 0, 1], [0, 0, 0]], bool)
    first, *others = screened_pairs(observed, silent, alike)
    assert first == (0, 1, 0)
    assert len(others) == 5
    assert all(score > 0 for *_, score in others)


def test_a_fault_that_takes_a_modulus_has_no_exact_gradient():
    fault = find("rnn-relu: absolute value")
    case = draw(RNN("relu"), Sizes(3, 2, 3, 4), seed=0, dtype="float64")
    assert exact_gradients(Hypothesis(reference_model(as_cell("rnn-relu")), (fault,)), case) is None


# ---- in an audit


def test_an_audit_prints_and_writes_its_diagnosis():
    result = audit(Port("rnn", "dh not carried"), profile="quick", only=["gradients_within_budget"])
    assert result.diagnosis is not None
    written = json.loads(json.dumps(result.to_json()))["diagnosis"]
    assert [d["name"] for d in written] == ["dh not carried"]
    assert set(written[0]) == {"kind", "name", "explains", "residual", "where"}
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(audit_report(result, "gatecheck audit x"))
    assert "with 'dh not carried'" in console.export_text()


def test_an_audit_without_findings_or_interest_has_none():
    assert audit(Builtin(RNN()), profile="quick", only=["forward_within_budget"]).diagnosis is None
    assert (
        audit(
            Port("rnn", "h0 ignored"),
            profile="quick",
            only=["forward_within_budget"],
            diagnose=False,
        ).diagnosis
        is None
    )
