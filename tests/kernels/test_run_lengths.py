"""Sequences of different lengths: rows are independent, and padding is ignored."""

from __future__ import annotations

import numpy as np
import pytest

from gatecheck.cells import GRU, RNN
from gatecheck.errors import InputError
from gatecheck.kernels import Builtin, run
from gatecheck.kernels.builtin import KERNEL_CELLS
from gatecheck.kernels.cells import gru, lstm, rnn

T, B = 6, 5
LENGTHS = np.array([4, 0, 6, 1, 4])  # none, all, one, two equal, and unsorted
PADDED = np.arange(T)[:, None] >= LENGTHS
POISON = {"nan": np.nan, "inf": np.inf, "-inf": -np.inf, "huge": 1e30}

every_cell = pytest.mark.parametrize("cell", KERNEL_CELLS, ids=str)
both_dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def draw_with_direction(cell, draw, dtype="float64"):
    """Draw a problem and a direction."""
    return draw(cell, T, B, dtype=dtype), draw(cell, T, B, dtype=dtype, scale=0.3).inputs


def results(cell, problem, direction, lengths=None):
    """Return the results of the three calls by name."""
    builtin, states = Builtin(cell), [f"{k}T" for k in cell.state]
    outputs = builtin.forward(*problem.inputs, lengths=lengths)
    moved = builtin.tangent(*problem.inputs, *direction, lengths=lengths)
    return (
        dict(zip(["y", *states], outputs, strict=True))
        | {f"grad {k}": v for k, v in builtin.backward(*problem, lengths=lengths).items()}
        | dict(zip(["moved y", *(f"moved {k}" for k in states)], moved, strict=True))
    )


def single_row(arrays, b, n):
    """Return one row of a problem's or a direction's arrays, cut to n steps."""

    def row(a):
        return (
            a
            if a is None or isinstance(a, dict)
            else a[:n, b : b + 1]
            if a.ndim == 3
            else a[b : b + 1]
        )

    return [row(a) for a in arrays]


def results_row_by_row(cell, problem, direction, lengths):
    """Compute the expected :func:`results` from separate runs of each row."""
    runs = [
        results(cell, type(problem)(*single_row(problem, b, n)), single_row(direction, b, n))
        for b, n in enumerate(lengths)
    ]
    out = {}
    for name in runs[0]:
        parts = [r[name] for r in runs]
        if name.removeprefix("grad ") in problem.params:
            out[name] = sum(parts)
        elif parts[0].ndim == 3:
            out[name] = np.concatenate(
                [np.pad(a, ((0, T - len(a)), (0, 0), (0, 0))) for a in parts], axis=1
            )
        else:
            out[name] = np.concatenate(parts)
    return out


@every_cell
@both_dtypes
def test_every_row_is_as_if_alone(cell, dtype, draw):
    problem, direction = draw_with_direction(cell, draw, dtype)
    got, want = (
        results(cell, problem, direction, LENGTHS),
        results_row_by_row(cell, problem, direction, LENGTHS),
    )
    assert got.keys() == want.keys()
    for name, array in want.items():
        assert got[name].dtype == dtype
        assert array.any(), name
        # One row and five are multiplied by different code: some tens of roundings over six steps.
        np.testing.assert_allclose(
            got[name],
            array,
            rtol=0,
            atol=100 * np.finfo(dtype).eps * abs(array).max(),
            err_msg=name,
        )
    for name in ("y", "grad x", "moved y"):
        assert got[name][PADDED].tobytes() == bytes(got[name][PADDED].nbytes), (
            f"{name} is not +0 in the padding"
        )


@every_cell
@both_dtypes
def test_a_row_without_steps_returns_its_initial_states(cell, dtype, draw):
    problem, direction = draw_with_direction(cell, draw, dtype)
    for lengths in (LENGTHS, np.zeros(B, int)):
        got, none = results(cell, problem, direction, lengths), lengths == 0
        for k in cell.state:
            assert same(got[f"{k}T"][none], getattr(problem, f"{k}0")[none])
            assert same(got[f"grad {k}0"][none], getattr(problem, f"d{k}T")[none])
            assert same(got[f"moved {k}T"][none], direction["xhc".index(k) + 1][none])
        if none.all():
            assert not any(v.any() for name, v in got.items() if name[-1] not in "0T")


@every_cell
@both_dtypes
@pytest.mark.parametrize("value", POISON.values(), ids=POISON)
def test_padding_is_ignored(cell, dtype, value, draw):
    problem, direction = draw_with_direction(cell, draw, dtype)
    want = results(cell, problem, direction, LENGTHS)
    for array in (problem.x, problem.dy, direction[1]):
        array[PADDED] = value
    with np.errstate(all="raise"):
        got = results(cell, problem, direction, LENGTHS)
    for name in want:
        assert np.isfinite(want[name]).all()
        assert same(got[name], want[name]), name


@every_cell
def test_uninitialized_memory_is_not_read(cell, draw, monkeypatch):
    problem, direction = draw_with_direction(cell, draw)
    want = results(cell, problem, direction, LENGTHS)
    monkeypatch.setattr(
        np,
        "empty",
        lambda shape, dtype=float: np.full(shape, 0xFF if dtype is np.uint8 else np.nan, dtype),
    )
    got = results(cell, problem, direction, LENGTHS)
    for name in want:
        assert same(got[name], want[name]), name


@every_cell
def test_an_infinite_last_state_is_not_multiplied_by_zero(cell, draw):
    # h0 of a row without steps is in no product of that row alone, and must not become inf * 0 in
    # the gradients of the weights.
    problem, direction = draw_with_direction(cell, draw)
    want = results(cell, problem, direction, LENGTHS)
    for state in (problem.h0, problem.c0):
        if state is not None:
            state[LENGTHS == 0] = np.inf
    got = results(cell, problem, direction, LENGTHS)
    assert np.isposinf(got["hT"][LENGTHS == 0]).all()
    for name in (f"grad {k}" for k in problem.params):
        assert same(got[name], want[name]), name


def test_the_gradient_of_padding_is_zero_even_if_a_weight_is_nan(draw):
    problem, _ = draw_with_direction(GRU(), draw)
    problem.params["W"][0] = np.nan
    dx = Builtin("gru").backward(*problem, lengths=LENGTHS)["x"]
    np.testing.assert_array_equal(np.isnan(dx[..., 0]), ~PADDED)
    assert not dx[PADDED].any()


@every_cell
@both_dtypes
def test_full_lengths_are_none_to_the_bit(cell, dtype, draw):
    problem, direction = draw_with_direction(cell, draw, dtype)
    want = results(cell, problem, direction)
    for integer in ("int64", "int8", "uint32"):
        got = results(cell, problem, direction, np.full(B, T, integer))
        assert all(same(got[name], want[name]) for name in want)


@every_cell
@pytest.mark.parametrize("integer", ["int32", "uint8", ">i2"])
def test_lengths_may_have_any_integer_dtype(cell, integer, draw):
    problem, direction = draw_with_direction(cell, draw)
    want = results(cell, problem, direction, LENGTHS)
    got = results(cell, problem, direction, np.repeat(LENGTHS, 2).astype(integer)[::2])
    assert all(same(got[name], want[name]) for name in want)


@every_cell
def test_nothing_is_compiled_for_lengths(cell, draw):
    problem, direction = draw_with_direction(cell, draw)
    modules = {"rnn": rnn, "gru": gru, "lstm": lstm}
    loops = [getattr(modules[cell.kind], name) for name in ("forward", "backward", "tangent")]
    results(cell, problem, direction)
    compiled = [loop.signatures[:] for loop in loops]
    results(cell, problem, direction, LENGTHS)
    assert compiled == [loop.signatures for loop in loops]


@every_cell
def test_results_are_fresh_and_contiguous(cell, draw):
    problem, direction = draw_with_direction(cell, draw)
    lengths = LENGTHS.copy()
    got = list(results(cell, problem, direction, lengths).values())
    given = [
        *problem.params.values(),
        *direction[0].values(),
        *(a for a in (*problem[1:], *direction[1:], lengths) if a is not None),
    ]
    assert all(a.flags.c_contiguous and a.flags.writeable for a in got)
    assert not any(np.shares_memory(a, b) for i, a in enumerate(got) for b in (*given, *got[:i]))
    assert (lengths == LENGTHS).all()


@every_cell
def test_the_tape_keeps_the_lengths(cell, draw):
    problem, direction = draw_with_direction(cell, draw)
    want, lengths = results(cell, problem, direction, LENGTHS), LENGTHS.copy()
    tape = run.forward(cell, *problem.inputs, lengths)[3]
    lengths[:] = 2
    for _ in range(2):
        grads = run.backward(cell, problem.params, tape, problem.dy, problem.dhT, problem.dcT)
        assert all(same(v, want[f"grad {name}"]) for name, v in grads.items())
        assert same(run.tangent(cell, problem.params, tape, *direction)[0], want["moved y"])


@pytest.mark.parametrize(
    "cell", [cell for cell in KERNEL_CELLS if "analytic" in cell.traits], ids=str
)
def test_complex_steps_respect_lengths(cell, draw):
    problem, direction = draw_with_direction(cell, draw)
    step = 1e-100
    params = {k: v + 1j * step * direction[0][k] for k, v in problem.params.items()}
    rest = [
        None if v is None else v + 1j * step * d
        for v, d in zip(problem.inputs[1:], direction[1:], strict=True)
    ]
    rest[0][PADDED] = complex(np.nan, np.inf)
    perturbed = Builtin(cell).forward(params, *rest, lengths=LENGTHS)
    for ours, stepped in zip(
        Builtin(cell).tangent(*problem.inputs, *direction, lengths=LENGTHS), perturbed, strict=True
    ):
        np.testing.assert_allclose(ours, stepped.imag / step, rtol=1e-11, atol=1e-13)


@every_cell
@pytest.mark.parametrize("sizes", [{"T": 0}, {"B": 0}], ids=str)
def test_empty_sequences_and_batches(cell, sizes, draw):
    problem, direction = draw(cell, **sizes), draw(cell, **sizes, scale=0.3).inputs
    want = results(cell, problem, direction)
    got = results(cell, problem, direction, np.zeros(problem.x.shape[1], int))
    assert all(same(got[name], want[name]) for name in want)


BAD = [
    (np.array([4, 0, 6, 1]), r"lengths has shape \(4,\), but should have shape \(B,\) = \(5,\)"),
    (np.array([[4, 0, 6, 1, 4]]), r"lengths has shape \(1, 5\), but"),
    (np.array(3), r"lengths has shape \(\), but"),
    (
        LENGTHS.astype(float),
        "lengths is a float64 array of shape .*, but should be a NumPy array of integers",
    ),
    (LENGTHS > 3, "lengths is a bool array of shape .*, but should be a NumPy array of integers"),
    (LENGTHS.tolist(), "lengths is a list, but should be a NumPy array of integers"),
    (LENGTHS - 1, "lengths goes from -1 to 5, but should lie in 0 … T = 6"),
    (LENGTHS + 1, "lengths goes from 1 to 7, but should lie in 0 … T = 6"),
]


@pytest.mark.parametrize("call", ["forward", "backward", "tangent"])
@pytest.mark.parametrize(("lengths", "message"), BAD)
def test_invalid_lengths_are_reported(call, lengths, message, draw):
    problem, _ = draw_with_direction(RNN(), draw)
    with pytest.raises(InputError, match=message):
        getattr(Builtin("rnn"), call)(problem.params, problem.x, lengths=lengths)
