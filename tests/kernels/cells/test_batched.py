"""Batched calls: bitwise equal to forward, and within rounding to backward."""

import numpy as np
import pytest

from gatecheck.cases import draw
from gatecheck.cells import LSTM, RNN, Sizes, as_cell
from gatecheck.errors import InputError
from gatecheck.kernels import Builtin, threads

CELLS = [as_cell(name) for name in ("rnn", "rnn-relu", "gru", "gru-before", "lstm")] + [
    LSTM(peepholes=True)
]
UNBATCHED = [
    Builtin(RNN(layers=2)),
    Builtin("lstm", reverse=True),
    Builtin("gru", batch_first=True),
]
PLAIN = [Builtin(cell) for cell in CELLS]


def implementation_id(implementation):
    return (
        f"{implementation.cell}{''.join(f'-{k}' for k, v in implementation.options.items() if v)}"
    )


def inputs(implementation, dtype="float64", sizes=(5, 3, 4, 7)):
    case = draw(implementation.cell, Sizes(*sizes), seed=0, dtype=dtype)
    arrays = {k: case[k].copy() for k in case.inputs}
    if implementation.options["batch_first"]:
        arrays["x"] = np.ascontiguousarray(arrays["x"].swapaxes(0, 1))
    return arrays


def split(implementation, arrays):
    states = [f"{s}0" for s in implementation.cell.state]
    return [
        {k: v for k, v in arrays.items() if k not in ("x", *states)},
        arrays["x"],
        *(arrays[k] for k in states),
    ]


@pytest.mark.parametrize(
    ("implementation", "dtype"),
    [*((one, "float64") for one in PLAIN + UNBATCHED), (Builtin("lstm"), "float32")],
    ids=lambda value: value if isinstance(value, str) else implementation_id(value),
)
def test_a_replaced_entry_gives_what_forward_gives(implementation, dtype, monkeypatch):
    monkeypatch.setattr(threads, "MIN_OPERATIONS", 1.0)  # so that threads are used
    arrays = inputs(implementation, dtype)
    for k, array in arrays.items():
        entries = np.unique(np.linspace(0, array.size - 1, 9).astype(int))
        values = (array.ravel()[entries] + 0.5).astype(dtype)
        got = implementation.forward_each(k, entries, values, *split(implementation, arrays))
        for n, (entry, value) in enumerate(zip(entries, values, strict=True)):
            changed = arrays | {k: array.copy()}
            changed[k].reshape(-1)[entry] = value
            for batched, expected in zip(
                got, implementation.forward(*split(implementation, changed)), strict=True
            ):
                assert (batched[n] == expected).all(), (k, entry)


@pytest.mark.parametrize("implementation", PLAIN[:1] + PLAIN[2:], ids=implementation_id)
def test_complex_values_give_what_forward_gives(implementation):
    arrays = {k: v.astype(complex) for k, v in inputs(implementation).items()}
    values = arrays["U"].ravel()[:3] + 1e-200j
    y = implementation.forward_each("U", np.arange(3), values, *split(implementation, arrays))[0]
    for n in range(3):
        changed = arrays | {"U": arrays["U"].copy()}
        changed["U"].reshape(-1)[n] = values[n]
        assert (y[n] == implementation.forward(*split(implementation, changed))[0]).all()


@pytest.mark.parametrize("implementation", PLAIN + UNBATCHED, ids=implementation_id)
def test_many_cotangents_give_what_backward_gives(implementation):
    arrays = inputs(implementation)
    outputs = implementation.forward(*split(implementation, arrays))
    rng = np.random.default_rng(1)
    cotangents = dict(
        zip(
            ("dy", "dhT", "dcT"),
            (rng.standard_normal((4, *v.shape)) for v in outputs),
            strict=False,
        )
    )
    got = implementation.backward_each(*split(implementation, arrays), **cotangents)
    for n in range(4):
        expected = implementation.backward(
            *split(implementation, arrays), **{k: v[n] for k, v in cotangents.items()}
        )
        assert got.keys() == expected.keys()
        for k, gradient in expected.items():
            np.testing.assert_allclose(got[k][n], gradient, rtol=1e-12, atol=1e-13, err_msg=k)


@pytest.mark.parametrize(
    ("k", "entries", "values", "message"),
    [
        (
            "V",
            np.arange(2),
            np.zeros(2),
            "there is no input 'V' of a lstm; there are W, U, b, x, h0, c0",
        ),
        ("W", [0, 1], np.zeros(2), "entries should be a NumPy array of integers"),
        ("W", np.arange(200), np.zeros(200), "entries go from 0 to 199, but W has 112"),
        (
            "W",
            np.arange(2),
            np.zeros(3),
            "values should be a NumPy array of dtype float64 and shape (2,), one for each entry",
        ),
    ],
)
def test_invalid_entries_are_reported(k, entries, values, message):
    lstm = Builtin("lstm")
    with pytest.raises(InputError) as raised:
        lstm.forward_each(k, entries, values, *split(lstm, inputs(lstm)))
    assert message in str(raised.value)


def test_invalid_cotangents_are_reported():
    lstm = Builtin("lstm")
    arrays = split(lstm, inputs(lstm))
    with pytest.raises(InputError, match="of the same length of at least 1"):
        lstm.backward_each(*arrays, dy=np.zeros((2, 5, 3, 7)), dhT=np.zeros((3, 3, 7)))
    with pytest.raises(InputError, match="dhT has shape"):
        lstm.backward_each(*arrays, dy=np.zeros((2, 5, 3, 7)), dhT=np.zeros((2, 3, 6)))
