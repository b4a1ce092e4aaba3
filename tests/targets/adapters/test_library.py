"""Functions in shared libraries: right ones pass, faulty ones fail.

The header and the adapter agree.
"""

import ctypes

import numpy as np
import pytest

from gatecheck.auditing import audit, explore
from gatecheck.cases import draw
from gatecheck.cells import Sizes, as_cell
from gatecheck.errors import ContractError, TargetCrashError, TargetError, UsageError
from gatecheck.kernels import Builtin
from gatecheck.targets.adapters import library as adapter
from gatecheck.targets.loading import LIBRARY_SUFFIX, load

FORWARD = (
    '#include "gatecheck.h"\n#include <stddef.h>\nGATECHECK_EXPORT int f(const struct '
    "gatecheck_call *call) {{ {} }}\n"
)
INFO = (
    FORWARD.format("return !call;") + "GATECHECK_EXPORT const char *f_info(void) { return TEXT; }\n"
)


def random_case(cell, seed, sizes=(5, 3, 2, 4)):
    return draw(as_cell(cell), Sizes(*sizes), seed=seed, dtype="float64")


@pytest.fixture(autouse=True)
def few_cases(monkeypatch):
    monkeypatch.setitem(explore.PROFILES, "quick", 4)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_right_library_passes(library, cell):
    result = audit.audit(load(f"{library('cells.c')}:{cell}"), profile="quick")
    assert result.verdict == "pass", result.findings
    ran = {p.name for p in result.properties if p.outcome == "passed"}
    assert {
        "gradients_within_budget",
        "lengths_within_budget",
        "padding_has_no_effect",
        "memory_layout_does_not_matter",
    } <= ran
    assert result.limitations == []


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_wrong_backward_is_found(library, cell):
    only = ["forward_within_budget", "gradients_within_budget"]
    result = audit.audit(
        load(f"{library('cells.c', '-DBUG=1')}:{cell}"), profile="quick", only=only
    )
    assert [p.outcome for p in result.properties] == ["passed", "failed"]


def test_a_write_past_the_end_is_found(library):
    found = load(f"{library('cells.c', '-DBUG=2')}:lstm")
    with pytest.raises(ContractError, match=r"lstm wrote outside of y$"):
        found.forward(random_case("lstm", 0))


def test_without_backward_and_description(library):
    path = library("cells.c")
    with pytest.raises(TargetError, match="does not say which cell it is: give --cell"):
        load(f"{path}:plain")
    found = load(f"{path}:plain", cell="lstm", convention="pytorch")
    assert (found.cell.name, found.convention.name, found.abilities) == (
        "lstm",
        "pytorch",
        frozenset(),
    )
    assert found.limitations == ["gradients are not audited: there is no backward"]
    case = random_case("lstm", 1)
    expected, *_ = Builtin("lstm").forward(case.params, case["x"], case["h0"], case["c0"])
    np.testing.assert_allclose(found.forward(case)["y"], expected, rtol=1e-9)


def test_unwritten_results_are_nan(library):
    found = load(f"{library(FORWARD.format('return call->abi != GATECHECK_ABI;'))}:f", cell="gru")
    assert all(np.isnan(a).all() for a in found.forward(random_case("gru", 0)).values())


def test_complex_arrays_are_never_passed(library):
    """The ABI has no complex dtype: sixteen bytes would be read as eight."""
    found, case = load(f"{library('cells.c')}:gru"), random_case("gru", 0)
    arguments = found.arguments(case)
    with pytest.raises(
        TypeError, match="gru takes arrays of one dtype, float32 or float64, not complex128"
    ):
        found.session.target.forward(arguments["params"], arguments["x"] + 0j, arguments["h0"])


def test_a_refusal_is_a_finding(library):
    found = load(f"{library(FORWARD.format('return call->T ? 7 : 0;'))}:f", cell="gru")
    with pytest.raises(TargetCrashError, match="f refused the call: it returned 7"):
        found.forward(random_case("gru", 0))
    (result,) = audit.audit(found, profile="quick", only=["forward_within_budget"]).properties
    assert result.outcome == "crashed"


def test_a_changed_argument_is_found(library):
    change = FORWARD.format("((float *)call->x)[0] = 1; return 0;")
    (result,) = audit.audit(
        load(f"{library(change)}:f", cell="gru"), profile="quick", only=["inputs_are_not_changed"]
    ).properties
    assert (result.outcome, result.reason.splitlines()[0]) == (
        "failed",
        "forward changed its argument x",
    )


def test_the_struct_is_that_of_the_header(library):
    """Offsets of all fields and the size of the whole."""
    structs = {"gatecheck_call": adapter.CallStruct, "gatecheck_param": adapter.Param}
    wanted, printed = [], []
    for name, struct in structs.items():
        fields = [field for field, _ in struct._fields_]
        wanted += [ctypes.sizeof(struct), *(getattr(struct, field).offset for field in fields)]
        printed += [
            f"sizeof(struct {name})",
            *(f"offsetof(struct {name}, {field})" for field in fields),
        ]
    source = (
        '#include "gatecheck.h"\n#include <stddef.h>\nGATECHECK_EXPORT long at[] = '
        f"{{GATECHECK_ABI, {', '.join(printed)}}};\n"
    )
    at = (ctypes.c_long * (len(wanted) + 1)).in_dll(ctypes.CDLL(str(library(source))), "at")
    assert list(at) == [adapter.ABI, *wanted]


def test_description_of_a_library(library):
    text = (
        r'GATECHECK_INFO "cell gru\ndtypes float32\noptions batch_first\nsize B 1'
        r'\nabilities bitwise\nexpected_failure empty_batch see x\n"'
    )
    found = load(f"{library(INFO.replace('TEXT', text))}:f")
    assert (found.cell.name, found.convention.name, found.dtypes) == (
        "gru",
        "canonical",
        ("float32",),
    )
    assert (found.options, found.sizes, found.abilities) == ({"batch_first"}, {"B": 1}, {"bitwise"})
    assert found.expected_failures == {"empty_batch": "see x"}
    assert load(f"{library(INFO.replace('TEXT', text))}:f", cell="rnn").cell.name == "rnn"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("NULL", "describes itself by '', but should begin with the line 'gatecheck 1'"),
        (r'"cell gru\n"', "describes itself by 'cell gru', but should begin"),
        (r'"gatecheck 2\ncell gru\n"', "describes itself by 'gatecheck 2', but should begin"),
        (r'GATECHECK_INFO "cell gruu\n"', "there is no cell 'gruu'"),
        (r'GATECHECK_INFO "cell gru\nconvention x\n"', "there is no convention 'x'"),
        (
            r'GATECHECK_INFO "cell gru\ncolour red\n"',
            "describes itself by 'colour red', but should use cell, convention",
        ),
        (r'GATECHECK_INFO "cell gru\ndtypes complex128\n"', "by 'dtypes complex128', but"),
        (r'GATECHECK_INFO "cell gru\nabilities backward\n"', r"abilities \(lengths, bitwise\)"),
        (r'GATECHECK_INFO "cell gru\noptions sideways\n"', "declares options"),
        (r'GATECHECK_INFO "cell gru\nsize B many\n"', "declares sizes"),
    ],
)
def test_a_library_that_describes_itself_wrongly(library, text, message):
    with pytest.raises(TargetError, match=message) as caught:
        load(f"{library(INFO.replace('TEXT', text))}:f")
    assert "\n" not in str(caught.value)


def test_a_library_that_cannot_be_used(library, tmp_path):
    (tmp_path / "text.so").write_text("no library")
    for target, message in [
        (f"{tmp_path}/none.so:f", "there is no file .*none.so"),
        (f"{tmp_path}/text.so:f", "text.so cannot be loaded: "),
        (f"{library('cells.c')}:rnn", "exports no function rnn; declare it with GATECHECK_EXPORT"),
    ]:
        with pytest.raises(TargetError, match=message) as caught:
            load(target)
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="there is no cell 'x'"):
        load(f"{library('cells.c')}:lstm", cell="x")


@pytest.mark.parametrize("path", ["a.so", "./a.so.1.2", "a.dylib", "C:\\a.DLL"])
def test_library_suffixes(path):
    assert LIBRARY_SUFFIX.search(path)


@pytest.mark.parametrize("path", ["package.so_much", "a.py", "so", "a.so.py"])
def test_other_names_are_not_libraries(path):
    assert not LIBRARY_SUFFIX.search(path)
