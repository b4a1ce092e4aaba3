"""Declarations and results of a target, and errors where they break the protocol."""

from __future__ import annotations

import numpy as np
import pytest

from gatecheck.cases import draw
from gatecheck.cells import CELLS, GRU, LSTM, RNN, Sizes, as_cell
from gatecheck.conventions import CONVENTIONS, as_convention
from gatecheck.errors import ContractError, TargetCrashError, TargetError
from gatecheck.implementation import subject
from gatecheck.reference import equations, run

T, B, D, H = SIZES = Sizes(T=4, B=2, D=3, H=5)


class Textbook:
    """The reference, in the convention that it declares."""

    cell = "lstm"
    convention = None

    def _run(self, params, x, states, dy=None, finals=()):
        cell, convention = as_cell(self.cell), as_convention(self.convention)
        arrays = {"x": x, "dy": dy}
        arrays = {
            k: None if v is None else v.transpose([convention.axes.index(axis) for axis in "TBD"])
            for k, v in arrays.items()
        }
        order = convention.states if cell.kind == "lstm" else "hc"
        given = dict(zip((f"{k}0" for k in order), states, strict=False)) | dict(
            zip((f"d{k}T" for k in order), finals, strict=False)
        )
        arrays |= {
            k: None if v is None else convention.state_to_canonical(cell, v)
            for k, v in given.items()
        }
        out = run(
            equations(cell),
            convention.to_canonical(cell, params)
            | {k: v for k, v in arrays.items() if v is not None},
        )
        out |= {
            k: convention.state_from_canonical(cell, v)
            for k, v in out.items()
            if k.removeprefix("d") in ("h0", "c0", "hT", "cT")
        }
        turned = {
            k: out[k].transpose(["TBD".index(axis) for axis in convention.axes])
            for k in ("y", "dx")
            if k in out
        }
        return cell, convention, out | turned

    def forward(self, params, x, h0, c0=None):
        cell, convention, out = self._run(params, x, (h0, c0))
        return tuple(
            out[k] for k in ("y", *(f"{s}T" for s in convention.states if s in cell.state))
        )

    def backward(self, params, x, h0, c0, dy, dhT, dcT):
        cell, convention, out = self._run(params, x, (h0, c0), dy, (dhT, dcT))
        grads = convention.gradients(cell, {k: out[f"d{k}"] for k in cell.param_shapes(1, 1)})
        return grads | {k: out[f"d{k}"] for k in ("x", *(f"{s}0" for s in cell.state))}


def make_target(**attributes):
    return type("Mine", (Textbook,), attributes)()


def case_of(cell=None, dtype="float64", **how):
    return draw(cell or LSTM(), SIZES, seed=1, dtype=dtype, **how)


# ---- declarations

LAYOUTS = {
    "batch_first": lambda a: a.swapaxes(0, 1),
    "reverse": lambda a: a[::-1],
}


class OtherLayout(Textbook):
    """A layer that takes and returns its sequences in the layout of its options."""

    def _to_layout(self, a, options=None):
        for option in options or self.options:
            a = None if a is None else np.array(LAYOUTS[option](a))
        return a

    def _from_layout(self, a):
        return self._to_layout(a, [*reversed(self.options)])

    def forward(self, params, x, h0, c0=None):
        y, *final = super().forward(params, self._to_layout(x), h0, c0)
        return (self._from_layout(y), *final)

    def backward(self, params, x, h0, c0, dy, dhT, dcT):
        out = super().backward(params, self._to_layout(x), h0, c0, self._to_layout(dy), dhT, dcT)
        return out | {"x": self._from_layout(out["x"])}


@pytest.mark.parametrize(
    "options",
    [{"batch_first": True}, {"reverse": True}, {"batch_first": True, "reverse": True}],
    ids=str,
)
@pytest.mark.parametrize("absent", [(), ("dy",)])
def test_a_layer_of_another_layout_gives_canonical_results(options, absent):
    layer = type("Layer", (OtherLayout,), {"options": options})()
    case = case_of(absent=absent)
    got, expected = subject(layer).run(case), subject(Textbook()).run(case)
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)


def test_a_layer_says_which_shape_it_should_return():
    def forward(self, params, x, h0, c0=None):
        return Textbook.forward(self, params, x.swapaxes(0, 1), h0, c0)

    with pytest.raises(
        ContractError, match=r"y has shape \(4, 2, 5\), but should have shape \(2, 4, 5\)"
    ):
        subject(make_target(options={"batch_first": True}, forward=forward)).forward(case_of())


def test_an_option_that_is_false_is_dropped():
    assert subject(make_target(options={"reverse": False})).options == frozenset()


def test_declarations_are_read():
    lists = {
        "dtypes": ["float32", "complex128"],
        "sizes": {"B": 1},
        "expected_failures": {"a": "b"},
    }
    mine = subject(make_target(cell="gru", convention="pytorch", **lists))
    assert (mine.name, mine.cell, mine.convention) == ("Mine", GRU(), CONVENTIONS["pytorch"])
    assert (mine.dtypes, mine.sizes, mine.expected_failures) == (("float32",), {"B": 1}, {"a": "b"})
    assert mine.abilities == {"backward", "complex"}
    assert mine.traits == GRU().traits | {"backward", "complex"}


def test_defaults_of_declarations():
    mine = subject(Textbook)
    assert (mine.name, mine.cell, mine.convention) == ("Textbook", LSTM(), CONVENTIONS["canonical"])
    assert (mine.dtypes, mine.sizes, mine.expected_failures) == (("float32", "float64"), {}, {})
    assert subject(mine) is mine


def test_arguments_override_declarations():
    mine = subject(Textbook(), cell=RNN("relu"), convention="pytorch-cell", name="this one")
    assert (mine.name, mine.cell, mine.convention) == (
        "this one",
        RNN("relu"),
        CONVENTIONS["pytorch-cell"],
    )
    assert subject(make_target(name="its own")).name == "its own"


@pytest.mark.parametrize(
    ("attributes", "abilities"),
    [
        ({}, {"backward"}),
        ({"backward": None}, set()),
        ({"tangent": lambda self: None}, {"backward", "tangent"}),
        (
            {"bitwise": True, "dtypes": ("float64", "complex128")},
            {"backward", "bitwise", "complex"},
        ),
    ],
)
def test_abilities_are_seen(attributes, abilities):
    assert subject(make_target(**attributes)).abilities == abilities


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


class NeedsAnArgument(Textbook):
    def __init__(self, size):
        self.size = size


BAD_DECLARATIONS = [
    (None, "NoneType has no forward(params, x, h0, c0=None), so it is not an implementation"),
    (NeedsAnArgument, "NeedsAnArgument() raised TypeError"),
    (make_target(forward=None), "Mine has no forward(params, x, h0, c0=None)"),
    (
        make_target(cell=None),
        'Mine does not say which cell it is: set cell = "rnn", "gru" or "lstm", or give --cell',
    ),
    (make_target(cell="ltsm"), "Mine: there is no cell 'ltsm'"),
    (make_target(cell=["lstm"]), "there is no cell ['lstm']"),
    (make_target(convention="torch"), "Mine: there is no convention 'torch'"),
    (make_target(convention=["pytorch"]), "there is no convention ['pytorch']"),
    (
        make_target(dtypes=("float16", "float32")),
        "Mine declares dtypes ('float16', 'float32'), but gatecheck can audit float32 and float64",
    ),
    (make_target(dtypes=("complex128",)), "Mine declares dtypes ('complex128',)"),
    (
        make_target(options={"reversed": True}),
        "Mine declares options {'reversed': True}, "
        "but should say True or False of batch_first or reverse",
    ),
    (
        make_target(options={"reverse": "yes"}),
        "Mine declares options {'reverse': 'yes'}, but should say True or False of",
    ),
    (
        make_target(options=["reverse"]),
        "Mine declares options ['reverse'], but should declare a dict",
    ),
    (make_target(dtypes=()), "Mine declares dtypes ()"),
    (make_target(dtypes="float32"), "Mine declares dtypes"),
    (make_target(dtypes=None), "Mine declares dtypes None"),
    (
        make_target(sizes={"N": 1}),
        "Mine declares sizes {'N': 1}, "
        "but should name T, B, D or H with a whole number of at least 1",
    ),
    (make_target(sizes={"TB": 1}), "Mine declares sizes {'TB': 1}"),
    (make_target(sizes={"": 1}), "Mine declares sizes {'': 1}"),
    (make_target(sizes={1: 1}), "Mine declares sizes {1: 1}"),
    (make_target(sizes={"B": 0}), "Mine declares sizes {'B': 0}"),
    (make_target(sizes={"B": 1.0}), "Mine declares sizes {'B': 1.0}"),
    (make_target(sizes="B=1"), "Mine declares sizes"),
    (make_target(expected_failures="all"), "Mine declares expected_failures"),
]


@pytest.mark.parametrize(
    ("target", "message"), BAD_DECLARATIONS, ids=[m for _, m in BAD_DECLARATIONS]
)
def test_a_bad_declaration_is_a_target_error(target, message):
    with pytest.raises(TargetError) as caught:
        subject(target)
    assert message in str(caught.value)


# ---- calls


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


def test_given_arguments_are_used():
    mine, case = subject(Textbook), case_of()
    other = case.replace(x=2 * case["x"])
    assert (mine.forward(case, mine.arguments(other))["y"] == mine.forward(other)["y"]).all()
    assert (mine.backward(case, mine.arguments(other))["dx"] == mine.backward(other)["dx"]).all()


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
