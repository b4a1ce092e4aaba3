"""Limitations by a declaration: its sizes, dtypes and abilities are honored.

What is then skipped is reported with a reason.
"""

import pytest

from gatecheck.auditing.audit import audit
from gatecheck.auditing.explore import PROFILES, draw_cases
from gatecheck.cases.strategies import SCOPES
from gatecheck.cells import GRU
from gatecheck.faults.edited_cell import EditedCell
from gatecheck.implementation import subject
from gatecheck.kernels import Builtin
from helpers.targets import with_attributes, with_changed_result


def audited_calls(target, **declared):
    """Return the (T, B, D, H, dtype) of every call in an audit, and the audit."""
    seen = set()

    def look(arguments, result):
        seen.add((*arguments[1].shape, result[1].shape[-1], arguments[1].dtype.name))
        return result

    return seen, audit(
        with_changed_result(with_attributes(target, **declared), look), profile="quick"
    )


@pytest.mark.parametrize(
    ("axis", "size", "impossible"),
    [("T", 3, "empty_sequence"), ("B", 1, "empty_batch"), ("D", 2, None), ("H", 4, None)],
)
def test_declared_sizes_are_honored(axis, size, impossible, monkeypatch):
    monkeypatch.setitem(PROFILES, "quick", 4)
    seen, result = audited_calls(Builtin("lstm"), sizes={axis: size})
    assert {call["TBDH".index(axis)] for call in seen} == {size}
    assert f"{axis} is always {size}" in result.limitations
    assert f"{axis} is always {size}" in result.to_json()["limitations"]
    assert result.verdict == "pass", [
        p for p in result.properties if p.outcome not in ("passed", "skipped")
    ]
    skipped = {p.name: p.reason for p in result.properties if p.outcome == "skipped"}
    assert impossible is None or axis in skipped[impossible]


def test_few_shapes_are_used_where_each_is_compiled():
    target = subject(with_attributes(EditedCell(GRU()), few_shapes=True))
    sizes = {
        name: {
            case.sizes
            for dtype in ("float32", "float64")
            for case in draw_cases(target, dtype, scope, 24, seed=0)
        }
        for name, scope in SCOPES.items()
    }
    assert {len(sizes[name]) for name, scope in SCOPES.items() if not scope.listed} <= {2, 3, 4}
    assert len(sizes["big"]) == 24 // 3
    assert sizes["any"] == sizes["present"]
    assert (
        len(
            {
                case.sizes
                for case in draw_cases(
                    subject(EditedCell(GRU())), "float32", SCOPES["any"], 24, seed=0
                )
            }
        )
        > 8
    )
    assert any("few different sizes" in note for note in target.limitations)


def test_an_undeclared_dtype_is_never_used_and_is_named():
    seen, result = audited_calls(Builtin("gru"), dtypes=("float32",))
    assert {call[-1] for call in seen} == {"float32"}
    assert "float64 is not audited: it is not declared" in result.limitations
    skipped = {p.name: p.reason for p in result.properties if p.outcome == "skipped"}
    assert skipped["gradients_match_finite_differences"] == "is judged in float64 only"
    assert result.verdict == "pass"


def test_without_a_backward_gradient_properties_are_skipped():
    result = audit(with_attributes(EditedCell(GRU()), backward=None), profile="quick")
    skipped = {p.name: p.reason for p in result.properties if p.outcome == "skipped"}
    assert skipped["gradients_within_budget"] == "holds only if it has a backward"
    assert "gradients are not audited: there is no backward" in result.limitations
    assert result.verdict == "pass"
