"""Pooled memory: reused only when free, and its old contents have no effect."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gatecheck.cases import draw
from gatecheck.cells import Sizes
from gatecheck.kernels import Builtin, buffer_pool
from gatecheck.kernels.buffer_pool import aligned_copy, aligned_empty
from gatecheck.kernels.simd import VECTOR_BYTES

SHAPE = (200, 300)
SIZES = Sizes(40, 8, 30, 60)
"""Sizes for which a sequence and its gates are pooled."""


@pytest.fixture(autouse=True)
def empty_pool():
    buffer_pool._pool.clear()


def test_memory_is_reused_after_its_last_array_is_deleted():
    first = aligned_empty(SHAPE, np.float64)
    place, view = first.ctypes.data, first[3:, 1]
    del first
    second = aligned_empty(SHAPE, np.float64)
    assert not np.shares_memory(view, second)
    del view
    assert aligned_empty(SHAPE, np.float64).ctypes.data == place


def test_only_memory_of_the_same_size_is_reused():
    places = [aligned_empty((rows, 300), np.float64).ctypes.data for rows in (200, 201, 202)]
    other = aligned_empty((300, 300), np.float64)
    assert len(buffer_pool._pool) == 3
    assert other.ctypes.data not in places
    assert [aligned_empty((rows, 300), np.float64).ctypes.data for rows in (201, 202, 200)] == [
        places[1],
        places[2],
        places[0],
    ]


@pytest.mark.parametrize(
    "shape", [(100,), (4000,), (2**22 + 8,)], ids=["small", "aligned but small", "huge"]
)
def test_small_and_huge_memory_is_not_pooled(shape):
    aligned_empty(shape, np.float64)
    assert not buffer_pool._pool


def test_the_pool_is_bounded():
    arrays = [aligned_empty((200 + k, 300), np.float32) for k in range(20)]
    del arrays
    assert len(buffer_pool._pool) == 8


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_arrays_are_aligned_and_ordinary(dtype):
    for shape in (SHAPE, (1, 5), (0, 4), (3, 0, 2)):
        array = aligned_empty(shape, dtype)
        assert (array.shape, array.dtype, array.flags.carray) == (shape, np.dtype(dtype), True)
        assert array.nbytes < buffer_pool.MIN_ALIGNED_BYTES or array.ctypes.data % VECTOR_BYTES == 0
    source = np.arange(60000, dtype=dtype).reshape(300, 200).T
    copy = aligned_copy(source)
    assert copy.flags.carray
    np.testing.assert_array_equal(copy, source)
    assert not np.shares_memory(copy, source)


def compute_all(name, lengths):
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
def test_old_contents_have_no_effect(name, lengths):
    expected = {key: array.copy() for key, array in compute_all(name, lengths).items()}
    assert buffer_pool._pool
    for _ in range(2):
        for space in buffer_pool._pool:
            space[:] = 0xFF  # every float in it is NaN
        results = compute_all(name, lengths)
        for key, array in expected.items():
            np.testing.assert_array_equal(results[key], array, err_msg=key)


def test_threads_do_not_share_memory():
    expected = compute_all("gru", None)
    with ThreadPoolExecutor(4) as pool:
        for results in pool.map(lambda _: compute_all("gru", None), range(40)):
            for key, array in expected.items():
                np.testing.assert_array_equal(results[key], array, err_msg=key)
