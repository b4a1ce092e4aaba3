"""Calls of a target through its subject, and results that break the protocol."""

from __future__ import annotations

import numpy as np
import pytest

from gatecheck.cells import CELLS, GRU, RNN
from gatecheck.conventions import CONVENTIONS
from gatecheck.errors import ContractError, TargetCrashError
from gatecheck.implementation import subject
from gatecheck.reference import equations, run
from helpers.textbook import SIZES, Textbook, case_of, make_target

T, B, D, H = SIZES


@pytest.mark.parametrize(
    ("attributes", "sentences"),
    [
        ({}, []),
        ({"sizes": {"B": 1, "T": 7}}, ["B is always 1", "T is always 7"]),
        ({"dtypes": ("float32",)}, ["float64 is not audited: it is not declared"]),
        ({"dtypes": ("float64", "complex128")}, ["float32 is not audited: it is not declared"]),
        ({"backward": None}, ["gradients are not audited: there is no backward"]),
    ],
)
def test_limitations_of_a_declaration_are_listed(attributes, sentences):
    assert subject(make_target(**attributes)).limitations == sentences


EXPRESSIBLE = [
    (cell, name) for name, c in CONVENTIONS.items() for cell in CELLS.values() if c.expresses(cell)
]


@pytest.mark.parametrize(("cell", "convention"), EXPRESSIBLE, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_run_is_canonical_whatever_the_convention(cell, convention, dtype):
    case = case_of(cell, dtype)
    got = subject(make_target(cell=cell, convention=convention)).run(case)
    want = run(equations(cell), dict(case.arrays))
    assert got.keys() == want.keys()
    for name in want:
        assert got[name].dtype == dtype
        np.testing.assert_array_equal(got[name], want[name])


def test_without_a_backward_only_the_forward_runs():
    assert subject(make_target(backward=None)).run(case_of()).keys() == {"y", "hT", "cT"}


def test_arguments_are_fresh_and_writeable_copies():
    case, mine = case_of(GRU(), absent=("dhT",)), subject(make_target(cell="gru"))
    first, second = mine.arguments(case), mine.arguments(case)
    assert set(first) == {"params", "x", "h0", "c0", "dy", "dhT", "dcT"}
    assert [k for k, v in first.items() if v is None] == ["c0", "dhT", "dcT"]
    for one, other in ((first, second), (first["params"], second["params"])):
        for name, array in one.items():
            if isinstance(array, np.ndarray):
                assert array.flags.writeable
                assert not np.shares_memory(array, other[name])
                assert not np.shares_memory(array, case[name])
                np.testing.assert_array_equal(array, case[name])


def test_a_target_cannot_damage_the_case():
    def forward(self, params, x, h0, c0=None):
        out = Textbook.forward(self, params, x, h0, c0)
        for array in (*params.values(), x, h0, c0):
            array[:] = np.nan
        return out

    case = case_of()
    key = case.key
    assert (
        subject(make_target(forward=forward)).run(case)["dW"] == subject(Textbook).run(case)["dW"]
    ).all()
    assert type(case)(case.cell, case.arrays).key == key


def test_a_target_that_hands_out_its_own_buffer_cannot_change_what_it_returned():
    buffer = np.zeros((T, B, H))

    def forward(self, params, x, h0, c0=None):
        y, hT, cT = Textbook.forward(self, params, x, h0, c0)
        buffer[:] = y
        return buffer, hT, cT

    mine, case = subject(make_target(forward=forward)), case_of()
    first = mine.forward(case)["y"]
    before = first.copy()
    second = mine.forward(case.replace(x=-case["x"]))["y"]
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, before)


def test_a_list_of_outputs_is_as_good_as_a_tuple():
    mine = subject(make_target(forward=lambda self, *a: list(Textbook.forward(self, *a))))
    assert mine.forward(case_of()).keys() == {"y", "hT", "cT"}


GOOD = {"y": np.zeros((T, B, H)), "hT": np.zeros((B, H)), "cT": np.zeros((B, H))}
BAD_FORWARDS = [
    (None, "forward returned a NoneType, but should return (y, hT, cT)"),
    (GOOD["y"], "forward returned a ndarray, but should return (y, hT, cT)"),
    (GOOD, "forward returned a dict, but should return (y, hT, cT)"),
    ((GOOD["y"], GOOD["hT"]), "forward returned a tuple of 2 items, but should return (y, hT, cT)"),
    ([GOOD["y"]], "forward returned a list of 1 items, but should return (y, hT, cT)"),
    (
        tuple((GOOD | {"y": [[1.0]]}).values()),
        "y is a list of 1 items, but should be a NumPy array of shape (4, 2, 5)",
    ),
    (
        tuple((GOOD | {"hT": None}).values()),
        "hT is a NoneType, but should be a NumPy array of shape (2, 5)",
    ),
    (
        tuple((GOOD | {"y": np.zeros((B, T, H))}).values()),
        "y has shape (2, 4, 5), but should have shape (4, 2, 5)",
    ),
    (
        tuple((GOOD | {"cT": np.zeros((1, B, H))}).values()),
        "cT has shape (1, 2, 5), but should have shape (2, 5)",
    ),
    (
        tuple((GOOD | {"hT": np.zeros((B, H), "f4")}).values()),
        "hT has dtype float32, but should have dtype float64, like x",
    ),
]


@pytest.mark.parametrize(("returned", "message"), BAD_FORWARDS, ids=[m for _, m in BAD_FORWARDS])
def test_invalid_results_of_forward(returned, message):
    with pytest.raises(ContractError) as caught:
        subject(make_target(forward=lambda self, *a: returned)).forward(case_of())
    assert message in str(caught.value)


def test_a_cell_without_a_cell_state_returns_two():
    with pytest.raises(
        ContractError, match=r"forward returned a tuple of 3 items, but should return \(y, hT\)"
    ):
        subject(make_target(cell="rnn", forward=lambda self, *a: tuple(GOOD.values()))).forward(
            case_of(RNN())
        )


def test_no_kind_of_array_can_hide_an_entry():
    # The difference from a masked entry is masked, so it would compare as agreeing with anything.
    hidden = np.ma.MaskedArray(np.full((B, H), 0.5), mask=True)
    mine = subject(make_target(forward=lambda self, *a: (GOOD["y"], hidden, GOOD["cT"])))
    assert type(mine.forward(case_of())["hT"]) is np.ndarray


def gradients(without=(), **instead):
    """Return a backward of the textbook's gradients with something wrong."""

    def backward(self, *arguments):
        out = Textbook.backward(self, *arguments) | instead
        return {k: v for k, v in out.items() if k not in without}

    return backward


ALL = "['U', 'W', 'b', 'c0', 'h0', 'x']"
BAD_BACKWARDS = [
    (lambda self, *a: None, "backward returned a NoneType, but should return a dict of gradients"),
    (
        lambda self, *a: tuple(GOOD.values()),
        "backward returned a tuple of 3 items, but should return a dict of gradients",
    ),
    (lambda self, *a: {}, f"backward returned gradients for [], but should for {ALL}"),
    (
        gradients(without="b"),
        f"backward returned gradients for ['U', 'W', 'c0', 'h0', 'x'], but should for {ALL}",
    ),
    (
        gradients(without=["h0"]),
        f"backward returned gradients for ['U', 'W', 'b', 'c0', 'x'], but should for {ALL}",
    ),
    (
        gradients(dV=GOOD["hT"]),
        "backward returned gradients for ['U', 'W', 'b', 'c0', 'dV', 'h0', 'x'], "
        f"but should for {ALL}",
    ),
    (
        gradients(W=None),
        "the gradient of W is a NoneType, but should be a NumPy array of shape (3, 20)",
    ),
    (
        gradients(h0=None),
        "the gradient of h0 is a NoneType, but should be a NumPy array of shape (2, 5)",
    ),
    (
        gradients(W=np.zeros((20, 3))),
        "the gradient of W has shape (20, 3), but should have shape (3, 20)",
    ),
    (
        gradients(b=np.zeros((1, 20))),
        "the gradient of b has shape (1, 20), but should have shape (20,)",
    ),
    (
        gradients(x=np.zeros((T, B, D), "f4")),
        "the gradient of x has dtype float32, but should have dtype float64, like x",
    ),
    (gradients(c0=[0.0]), "the gradient of c0 is a list of 1 items"),
]


@pytest.mark.parametrize(("backward", "message"), BAD_BACKWARDS, ids=[m for _, m in BAD_BACKWARDS])
def test_invalid_results_of_backward(backward, message):
    with pytest.raises(ContractError) as caught:
        subject(make_target(backward=backward)).backward(case_of())
    assert message in str(caught.value)


def test_gradients_have_the_shapes_of_the_convention():
    backward = lambda self, *a: {"U": 0, "W": 0, "b": 0, "c_n": 0, "h0": 0, "x": 0}
    message = (
        r"gradients for \['U', .*, but should for "
        r"\['bias_hh_l0', 'bias_ih_l0', 'h0', 'weight_hh_l0', 'weight_ih_l0', 'x'\]"
    )
    with pytest.raises(ContractError, match=message):
        subject(make_target(cell="gru", convention="pytorch", backward=backward)).backward(
            case_of(GRU())
        )


@pytest.mark.parametrize(
    ("backward", "has"),
    [(gradients(), True), (gradients(h0=None), False), (gradients(without=["h0"]), False)],
)
def test_the_gradient_of_an_absent_state_may_be_left_out(backward, has):
    got = subject(make_target(backward=backward)).backward(case_of(absent=("h0",)))
    assert ("dh0" in got) is has
    assert "dc0" in got


def test_none_for_a_state_that_the_cell_does_not_have_is_dropped():
    got = subject(make_target(cell="gru", backward=gradients(c0=None))).backward(case_of(GRU()))
    assert got.keys() == {"dW", "dU", "db", "dc_n", "dx", "dh0"}


def raising(error):
    def method(self, *arguments):
        raise error

    return method


@pytest.mark.parametrize("method", ["forward", "backward"])
def test_an_exception_in_a_target_is_a_crash_with_its_cause(method):
    error = ZeroDivisionError("by nothing")
    with pytest.raises(
        TargetCrashError, match=f"{method} raised ZeroDivisionError: by nothing"
    ) as caught:
        getattr(subject(make_target(**{method: raising(error)})), method)(case_of())
    assert caught.value.__cause__ is error


def test_a_targets_own_findings_pass_through():
    with pytest.raises(ContractError, match=r"^no such gate$"):
        subject(make_target(forward=raising(ContractError("no such gate")))).forward(case_of())


def test_an_interrupt_is_not_a_crash():
    with pytest.raises(KeyboardInterrupt):
        subject(make_target(forward=raising(KeyboardInterrupt()))).forward(case_of())
