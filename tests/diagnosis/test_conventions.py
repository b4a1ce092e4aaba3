"""A fault in code of an undeclared or wrongly declared convention: both are named."""

from __future__ import annotations

import numpy as np
import pytest

from gatecheck.auditing.audit import audit
from gatecheck.cells import as_cell
from gatecheck.conventions import CONVENTIONS, Convention, Layout
from gatecheck.diagnosis.diagnose import diagnose
from gatecheck.errors import TargetError
from gatecheck.faults.edited_cell import EditedCell
from gatecheck.implementation import subject
from gatecheck.inference.resolve import resolve_convention
from helpers.ports import Autograd, Port

PATIENT = 120
"""Diagnosis budget in CPU seconds, so that outcomes do not depend on the load."""

CANONICAL = CONVENTIONS["canonical"].layouts["lstm"].arrays


class PortInConvention:
    """A port in one convention, which perhaps declares another."""

    def __init__(self, port, convention, declared=None):
        self.port, self.true, self.cell, self.dtypes = port, convention, port.cell, port.dtypes
        if declared:
            self.convention = declared

    def _read(self, params):
        return self.true.to_canonical(as_cell(self.cell), params)

    def _sequence(self, a):
        return (
            None if a is None else np.array(a.transpose([self.true.axes.index(k) for k in "TBD"]))
        )

    def _own(self, a):
        return a.transpose(["TBD".index(k) for k in self.true.axes])

    def forward(self, params, x, h0, c0=None):
        y, *states = self.port.forward(self._read(params), self._sequence(x), h0, c0)
        return self._own(y), *states

    def backward(self, params, x, h0, c0, dy, dhT, dcT):
        canonical = self._read(params)
        out = self.port.backward(canonical, self._sequence(x), h0, c0, self._sequence(dy), dhT, dcT)
        own = self.true.gradients(as_cell(self.cell), {k: out[k] for k in canonical})
        return (
            own | {k: v for k, v in out.items() if k not in canonical} | {"x": self._own(out["x"])}
        )


class Nameless(PortInConvention):
    """A port that declares no convention, with array names that mean nothing."""

    def names(self):
        return {f"p{k}": name for k, name in enumerate(self.true.shapes(as_cell(self.cell), 3, 5))}

    def shapes(self, D, H):
        shapes = self.true.shapes(as_cell(self.cell), D, H)
        return {k: shapes[name] for k, name in self.names().items()}

    def forward(self, params, *arguments):
        return super().forward({name: params[k] for k, name in self.names().items()}, *arguments)

    def backward(self, params, *arguments):
        out = super().backward({name: params[k] for k, name in self.names().items()}, *arguments)
        return {k: out.pop(name) for k, name in self.names().items()} | out


def order(kind, gates, negated=""):
    """Return canonical arrays with the gates in another order."""
    return Convention("odd", {kind: Layout(gates, CANONICAL, negated=negated)})


def diagnose_target(target):
    return diagnose(subject(target), time_limit_s=PATIENT)


def explanation_names(found):
    return [e.names for e in found.explanations]


# ---- declared wrongly


@pytest.mark.parametrize(
    ("port", "convention", "expected"),
    [
        (Port("lstm", "f missing in c"), order("lstm", "ifog"), ("order ifog", "f missing in c")),
        (Port("lstm", "f missing in dc"), order("lstm", "ifog"), ("order ifog", "f missing in dc")),
        (Autograd("lstm", "i + g"), order("lstm", "ifog"), ("order ifog", "i + g")),
        (
            Port("gru", "reset never applied"),
            order("gru", "zrn", "z"),
            ("order zrn, z negated", "reset never applied"),
        ),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_fault_in_another_order_is_named_with_it(port, convention, expected):
    found = diagnose_target(PortInConvention(port, convention, "canonical"))
    assert expected in explanation_names(found)
    assert all(len(e.names) == 2 for e in found.explanations)


@pytest.mark.parametrize(
    ("bugs", "convention"),
    [
        (("f missing in dc",), "keras"),
        (("f missing in c",), "onnx"),
        (("no tanh on c", "dc not carried"), "pytorch-cell"),
    ],
    ids=str,
)
def test_a_fault_in_another_convention_that_is_known_is_named_with_it(bugs, convention):
    found = diagnose_target(
        PortInConvention(Port("lstm", *bugs), CONVENTIONS[convention], "pytorch")
    )
    assert (f"in {convention}'s convention", *bugs) in explanation_names(found)
    (said, *_) = found.sentences
    assert said.startswith(
        f"Your outputs and gradients equal those of the lstm in {convention}'s convention with "
        f"'{bugs[0]}'"
    )


def test_correct_code_in_other_convention_has_no_fault():
    found = diagnose_target(PortInConvention(Port("lstm"), CONVENTIONS["keras"], "pytorch"))
    assert explanation_names(found) == [("in keras's convention",)]
    assert (
        diagnose_target(PortInConvention(Port("lstm"), CONVENTIONS["keras"], "keras")).explanations
        == ()
    )


def test_unexplained_target_names_its_convention():
    class Odd(Port):
        def lstm(self, p, take, x, h, c, before):
            made = super().lstm(p, take, x, h, c, before)
            return made | {"h": made["h"] * 0.9 + 0.05}

    found = diagnose_target(PortInConvention(Odd("lstm"), CONVENTIONS["keras"], "pytorch"))
    assert found.explanations == ()
    assert "It can be run in keras's convention" in found.message


# ---- not declared


@pytest.mark.parametrize(
    ("port", "convention", "expected"),
    [
        (
            Port("gru", "reset never applied"),
            CONVENTIONS["keras"],
            "the opposite polarity in z, axes BTD, with 'reset never applied'",
        ),
        (
            Port("lstm", "f missing in c"),
            Convention("mine", {"lstm": Layout("fiog", {"k": "U; W", "b": "b"})}),
            "p0 = [U; W : fiog], p1 = [b : fiog], with 'f missing in c'",
        ),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_an_undeclared_convention_is_found_through_a_fault(port, convention, expected):
    found = resolve_convention(subject(Nameless(port, convention)))
    assert expected in found.notes[-1]
    assert (*port.bugs,) in explanation_names(diagnose(found, time_limit_s=PATIENT))


def test_correct_code_is_inferred_without_fault():
    found = resolve_convention(subject(Nameless(Port("lstm"), CONVENTIONS["keras"])))
    assert found.notes[-1].startswith("found: it is a lstm")


def test_unknown_computation_is_an_error():
    class Other(Nameless):
        def forward(self, params, *arguments):
            return tuple(a * 0.9 + 0.05 for a in super().forward(params, *arguments))

    with pytest.raises(
        TargetError,
        match="nor one with a fault; if it is meant to be right, declare its convention",
    ):
        resolve_convention(subject(Other(Port("rnn"), CONVENTIONS["keras"])))


# ---- a requested cell


class Undeclared(Port):
    convention = None


@pytest.mark.parametrize(
    ("is_a", "to_be"),
    [
        ("rnn", "rnn-relu"),
        ("gru", "gru-before"),
        ("lstm", "lstm-peepholes"),
        ("gru-before", "gru-before"),
        ("rnn", "rnn"),
    ],
)
def test_requested_cell_is_kept(is_a, to_be):
    """A requested option is binding, not a guess at the convention."""
    result = audit(
        Undeclared(is_a),
        cell=to_be,
        profile="quick",
        only=["forward_within_budget"],
        diagnose=False,
    )
    assert (result.verdict, result.cell) == ("pass" if is_a == to_be else "fail", to_be)


def test_unrequested_activation_is_named():
    result = audit(
        Undeclared("rnn"), cell="rnn-relu", profile="quick", only=["forward_within_budget"]
    )
    assert any(
        "it should be a rnn-relu, and is audited as one; found: it is a rnn" in note
        for note in result.limitations
    )
    assert "tanh" in str(result.diagnosis)


def test_arrays_of_another_cell_are_an_error():
    target = subject(Nameless(Port("gru"), CONVENTIONS["pytorch"]), cell="gru-before")
    with pytest.raises(TargetError, match="should be a gru-before, but it is a gru"):
        resolve_convention(target)


def test_usual_cell_allows_other_options():
    relu = EditedCell(as_cell("rnn-relu"))
    relu.convention = None
    assert resolve_convention(subject(relu, cell="rnn")).cell.name == "rnn-relu"
