"""NumPy archives: byte order and layout, and headers that declare too much."""

from __future__ import annotations

import numpy as np

from gatecheck.weights import read_arrays
from helpers.weights_files import assert_refused, npy, zipped


def test_a_small_archive_that_declares_much(tmp_path):
    path = tmp_path / "w.npz"
    zipped(path, a__npy=npy((2**40,)))
    assert_refused(
        path, "a is cut off or damaged: its shape .* is 4,398,046,511,104 bytes, but 0 follow"
    )
    zipped(path, a__npy=npy((-1, -4), bytes(16)))
    assert_refused(path, r"a is damaged: its shape \(-1, -4\) is negative")
    zipped(path, a__npy=npy((3,), bytes(16)))
    assert_refused(path, "its shape .* is 12 bytes, but 16 follow")


def test_arrays_come_in_the_order_of_bytes_of_this_machine(tmp_path):
    np.savez(
        tmp_path / "w.npz",
        a=np.arange(3, dtype=">f4"),
        b=np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    )
    arrays = read_arrays(tmp_path / "w.npz")
    assert arrays["a"].dtype.isnative
    assert arrays["a"].tolist() == [0, 1, 2]
    assert arrays["b"].tolist() == [[0, 1, 2], [3, 4, 5]]
