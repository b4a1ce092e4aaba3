"""Builtin cells: layouts and dtypes of arguments, and errors of bad calls."""

from __future__ import annotations

import numpy as np
import pytest

from gatecheck.cells import GRU
from gatecheck.errors import InputError, UsageError
from gatecheck.kernels import Builtin
from gatecheck.kernels.builtin import KERNEL_CELLS
from gatecheck.kernels.cells import gru, lstm, rnn

every_cell = pytest.mark.parametrize("cell", KERNEL_CELLS, ids=str)


def unaligned(a):
    raw = np.empty(a.nbytes + 1, "u1")
    out = raw[1:].view(a.dtype).reshape(a.shape)
    out[...] = a
    return out


def spaced(a):
    out = np.zeros(tuple(2 * n for n in a.shape), a.dtype)[
        tuple(slice(None, None, 2) for _ in a.shape)
    ]
    out[...] = a
    return out


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


LAYOUTS = {
    "fortran": np.asfortranarray,
    "spaced": spaced,
    "reversed": lambda a: a[::-1].copy()[::-1],
    "read-only": read_only,
    "unaligned": unaligned,
}
KERNELS = [
    getattr(module, name)
    for module in (rnn, gru, lstm)
    for name in ("forward", "backward", "tangent")
]


def apply_layout(layout, arrays):
    if isinstance(arrays, dict):
        return {k: layout(v) for k, v in arrays.items()}
    return None if arrays is None else layout(arrays)


def run_all_calls(cell, problem, direction):
    """Return the results of forward, backward and tangent as one list of arrays."""
    builtin = Builtin(cell)
    return [
        *builtin.forward(*problem.inputs),
        *builtin.backward(*problem).values(),
        *builtin.tangent(*problem.inputs, *direction),
    ]


def flat(*groups):
    return [
        a
        for group in groups
        for item in group
        for a in (item.values() if isinstance(item, dict) else [item])
        if a is not None
    ]


@every_cell
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_array_layouts_do_not_matter_and_inputs_stay_unchanged(cell, layout, draw):
    problem, direction = draw(cell), draw(cell, scale=0.3).inputs
    want = run_all_calls(cell, problem, direction)
    compiled = [kernel.signatures[:] for kernel in KERNELS]
    odd, odd_direction = (
        type(problem)(*(apply_layout(layout, a) for a in problem)),
        tuple(apply_layout(layout, a) for a in direction),
    )
    before = [a.copy() for a in flat(odd, odd_direction)]
    got = run_all_calls(cell, odd, odd_direction)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(got, want, strict=True))
    given = flat(odd, odd_direction)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(given, before, strict=True))
    assert not any(np.shares_memory(a, b) for a in got for b in given)
    assert all(a.flags.c_contiguous and a.flags.writeable for a in got)
    assert compiled == [kernel.signatures for kernel in KERNELS], "a layout was compiled for"
    assert not any(np.shares_memory(a, b) for i, a in enumerate(got) for b in got[:i])


@every_cell
def test_states_may_be_left_out(cell, draw):
    problem = draw(cell)
    builtin = Builtin(cell.name)
    assert len(builtin.forward(problem.params, problem.x)) == 1 + len(cell.state)
    assert set(builtin.backward(problem.params, problem.x)) == {
        *problem.params,
        "x",
        *(f"{s}0" for s in cell.state),
    }
    assert len(builtin.tangent(problem.params, problem.x)) == 1 + len(cell.state)


@every_cell
def test_only_the_forward_of_analytic_cells_takes_complex(cell, draw):
    problem = draw(cell, dtype="complex128")
    builtin = Builtin(cell)
    if "analytic" in cell.traits:
        assert all(a.dtype == np.complex128 for a in builtin.forward(*problem.inputs))
    else:
        with pytest.raises(
            InputError, match="x has dtype complex128, but should have dtype float32 or float64"
        ):
            builtin.forward(*problem.inputs)
    for call in (builtin.backward, builtin.tangent):
        with pytest.raises(
            InputError, match="x has dtype complex128, but should have dtype float32 or float64"
        ):
            call(*problem.inputs)


def test_an_unknown_cell_is_an_error():
    with pytest.raises(UsageError, match="there is no cell 'gur'"):
        Builtin("gur")


ZEROS = np.zeros  # (T, B, D, H) = (6, 3, 4, 5) below
BAD = [
    (
        "forward",
        {"x": ZEROS((6, 3))},
        "x is a float64 array of shape (6, 3), but should be a NumPy array of shape (T, B, D)",
    ),
    ("forward", {"x": [[[0.0]]]}, "x is a list"),
    ("forward", {"x": ZEROS((6, 3, 4), "int64")}, "x has dtype int64"),
    (
        "forward",
        {"x": ZEROS((6, 3, 5))},
        "W has shape (4, 15), but should have shape (D, 3*H) = (5, 15)",
    ),
    (
        "forward",
        {"x": ZEROS((6, 3, 4), "float32")},
        "W has dtype float64, but should have dtype float32",
    ),
    (
        "forward",
        {"h0": ZEROS((2, 5))},
        "h0 has shape (2, 5), but should have shape (B, H) = (3, 5)",
    ),
    ("forward", {"c0": ZEROS((3, 5))}, "c0 was given, but a gru has no state c"),
    ("forward", {"params": {}}, "params of a gru has the names []"),
    ("backward", {"h0": ZEROS((3, 6))}, "h0 has shape (3, 6)"),
    (
        "backward",
        {"dy": ZEROS((5, 3, 5))},
        "dy has shape (5, 3, 5), but should have shape (T, B, H) = (6, 3, 5)",
    ),
    ("backward", {"dhT": ZEROS((3, 5), "float32")}, "dhT has dtype float32"),
    ("backward", {"dcT": ZEROS((3, 5))}, "dcT was given, but a gru has no state c"),
    ("tangent", {"x": ZEROS((6, 3))}, "x is a float64 array of shape (6, 3)"),
    (
        "tangent",
        {"dx": ZEROS((6, 3, 5))},
        "dx is a float64 array of shape (6, 3, 5), "
        "but should be a float64 array of shape (6, 3, 4)",
    ),
    ("tangent", {"dx": 1.0}, "dx is a float, but should be"),
    (
        "tangent",
        {"dh0": ZEROS((3, 5), "float32")},
        "dh0 is a float32 array of shape (3, 5), but should be a float64 array",
    ),
    ("tangent", {"dc0": ZEROS((3, 5))}, "dc0 was given, but a gru has only x, h0 there"),
    (
        "tangent",
        {"dparams": {"V": ZEROS(3)}},
        "dV was given, but a gru has only W, U, b, c_n there",
    ),
    (
        "tangent",
        {"dparams": {"x": ZEROS((6, 3, 4))}},
        "dx was given, but a gru has only W, U, b, c_n there",
    ),
    (
        "tangent",
        {"dparams": {"U": ZEROS((5, 5))}},
        "dU is a float64 array of shape (5, 5), but should be a float64 array of shape (5, 15)",
    ),
]


@pytest.mark.parametrize(("call", "wrong", "message"), BAD, ids=[m for _, _, m in BAD])
def test_invalid_arguments_are_reported(call, wrong, message, draw):
    problem = draw(GRU())
    with pytest.raises(InputError) as caught:
        getattr(Builtin("gru"), call)(
            **{"params": problem.params, "x": problem.x, "h0": problem.h0} | wrong
        )
    assert message in str(caught.value)
