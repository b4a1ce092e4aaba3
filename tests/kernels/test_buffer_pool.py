"""Pooled memory: reused only when free, and its old contents have no effect."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gatecheck.cases import draw
from gatecheck.cells import Sizes
from gatecheck.kernels import Builtin, buffer_pool
from gatecheck.kernels.buffer_pool import aligned, copied
from gatecheck.kernels.simd import BYTES

SHAPE = (200, 300)
SIZES = Sizes(40, 8, 30, 60)
"""Sizes for which a sequence and its gates are pooled."""


@pytest.fixture(autouse=True)
def none_kept():
    buffer_pool._kept.clear()


def test_it_is_taken_again_when_the_last_array_in_it_is_gone():
    first = aligned(SHAPE, np.float64)
    place, view = first.ctypes.data, first[3:, 1]
    del first
    second = aligned(SHAPE, np.float64)
    assert not np.shares_memory(view, second)
    del view
    assert aligned(SHAPE, np.float64).ctypes.data == place


def test_only_a_piece_of_the_same_size_is_taken_and_the_others_stay():
    places = [aligned((rows, 300), np.float64).ctypes.data for rows in (200, 201, 202)]
    other = aligned((300, 300), np.float64)
    assert len(buffer_pool._kept) == 3
    assert other.ctypes.data not in places
    assert [aligned((rows, 300), np.float64).ctypes.data for rows in (201, 202, 200)] == [
        places[1],
        places[2],
        places[0],
    ]


@pytest.mark.parametrize(
    "shape", [(100,), (4000,), (2**22 + 8,)], ids=["small", "aligned but small", "huge"]
)
def test_what_is_small_or_huge_is_not_kept(shape):
    aligned(shape, np.float64)
    assert not buffer_pool._kept


def test_few_pieces_are_kept():
    arrays = [aligned((200 + k, 300), np.float32) for k in range(20)]
    del arrays
    assert len(buffer_pool._kept) == 8


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_arrays_are_aligned_and_like_any_other(dtype):
    for shape in (SHAPE, (1, 5), (0, 4), (3, 0, 2)):
        array = aligned(shape, dtype)
        assert (array.shape, array.dtype, array.flags.carray) == (shape, np.dtype(dtype), True)
        assert array.nbytes < buffer_pool.LARGE or array.ctypes.data % BYTES == 0
    source = np.arange(60000, dtype=dtype).reshape(300, 200).T
    copy = copied(source)
    assert copy.flags.carray
    np.testing.assert_array_equal(copy, source)
    assert not np.shares_memory(copy, source)


def computed(name, lengths):
    """Return all results of a built-in cell on a case."""
    target = Builtin(name)
    case = draw(target.cell, SIZES, seed=4, dtype="float64")
    inputs = [case.params, case["x"], *(case[f"{s}0"] for s in target.cell.state)]
    arguments = {"params": inputs[0], "x": inputs[1], "h0": inputs[2]} | (
        {"c0": inputs[3]} if len(inputs) > 3 else {}
    )
    y, *_ = target.forward(**arguments, lengths=lengths)
    dy, *_ = target.tangent(**arguments, dx=case["x"], lengths=lengths)
    return {"y": y, "dy": dy, **target.backward(**arguments, dy=case["dy"], lengths=lengths)}


@pytest.mark.parametrize(
    "lengths", [None, np.array([40, 0, 1, 39, 40, 17, 5, 40])], ids=["full", "ragged"]
)
@pytest.mark.parametrize(
    "name", ["rnn", "gru", "gru-before", "lstm", "lstm-peepholes", "gru-layers2-bidirectional"]
)
def test_nothing_that_it_held_is_seen(name, lengths):
    expected = {key: array.copy() for key, array in computed(name, lengths).items()}
    assert buffer_pool._kept
    for _ in range(2):
        for space in buffer_pool._kept:
            space[:] = 0xFF  # every float in it is NaN
        results = computed(name, lengths)
        for key, array in expected.items():
            np.testing.assert_array_equal(results[key], array, err_msg=key)


def test_threads_do_not_share_it():
    expected = computed("gru", None)
    with ThreadPoolExecutor(4) as pool:
        for results in pool.map(lambda _: computed("gru", None), range(40)):
            for key, array in expected.items():
                np.testing.assert_array_equal(results[key], array, err_msg=key)
