"""Damaged, oversized or malicious files give a one-line error, and no code is run."""

from __future__ import annotations

import numpy as np
import pytest

from gatecheck._util import plain_files
from gatecheck.errors import MissingExtraError, WeightsFileError
from gatecheck.weights import files, load, read_arrays
from helpers.weights_files import ARRAYS, SUFFIXES, assert_refused, error_message, write

torch = pytest.importorskip("torch")
for library in ("h5py", "onnx", "safetensors"):
    pytest.importorskip(library)


class Evil:
    """Object that creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_missing_empty_foreign_or_truncated_files(tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    assert_refused(path, "cannot be read: No such file")
    path.mkdir()
    assert_refused(path, "cannot be read: it is a folder, but should be a plain file")
    path.rmdir()
    path.touch()
    assert_refused(path, "is empty, but should be an? ")
    path.write_bytes(b"import numpy as np\n" * 99)
    assert_refused(path, "is damaged, or not an? |cannot be used")
    write(path)
    assert load(path).H == 4
    whole = path.read_bytes()
    for end in (1, 7, len(whole) // 3, len(whole) - 3):
        path.write_bytes(whole[:end])
        assert_refused(path, "is damaged, or not an? |cannot be used")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_damage_is_an_error_of_ours(tmp_path, suffix):
    """A file with any byte changed is read or refused with a one-line message."""
    path = tmp_path / f"w{suffix}"
    write(path)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    refusals = 0
    for _ in range(60):
        at = int(rng.integers(len(whole)))
        path.write_bytes(whole[:at] + bytes([int(rng.integers(256))]) + whole[at + 1 :])
        message = error_message(path)
        refusals += bool(message)
        assert "\n" not in message
        assert message.count("is damaged") <= 1
    assert refusals > 2


def test_a_nan_that_signals_is_no_warning(tmp_path):
    bits = np.full((4, 3), 0x7F800001, "u4").view("f4")
    np.savez(tmp_path / "w.npz", **ARRAYS | {"rnn.weight_ih_l0": bits})
    with pytest.raises(
        WeightsFileError, match=r"W of rnn.l0 in .* is NaN or infinite in 12 of 12 entries"
    ):
        load(tmp_path / "w.npz")


def test_unknown_suffix(tmp_path):
    assert_refused(tmp_path / "w.pickle", "does not end in .npz, .safetensors, .pt")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_unpacks_to_too_much(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"w{suffix}"
    write(path)
    monkeypatch.setattr(plain_files, "BASE_BYTES", 200)
    monkeypatch.setattr(plain_files, "EXPANSION", 0)
    assert_refused(path, "takes [0-9,]+ bytes, but gatecheck reads 200 at most of a file of")


def test_names_that_would_write_on_a_terminal(tmp_path):
    np.savez(tmp_path / "w.npz", **{"a\n\x1b[31m/weight_ih": np.ones((4, 3)), "b\x07": np.ones(3)})
    with pytest.raises(WeightsFileError, match="its arrays are") as raised:
        load(tmp_path / "w.npz")
    assert str(raised.value).isprintable()


def test_a_library_that_repeats_what_a_file_says(tmp_path):
    def reader(path):
        raise RuntimeError("no \x1b[31m here\nand a second line")

    (tmp_path / "w").write_bytes(b"x")
    with pytest.raises(WeightsFileError) as raised:
        files.call_reader(tmp_path / "w", "a thing", reader)
    assert str(raised.value).endswith("w is damaged, or not a thing: no �[31m here")


def test_objects_are_not_unpickled(tmp_path):
    path, trace = tmp_path / "w.npz", tmp_path / "trace"
    np.savez(path, a=np.array([Evil(trace)], dtype=object))
    assert_refused(path, "a holds object, but should hold numbers; pickled objects are not read")
    np.savez(path, a=np.zeros(2, [("x", "f4")]))
    assert_refused(path, "but should hold numbers")
    for at in ({"model": Evil(trace)}, Evil(trace)):
        torch.save(at, tmp_path / "w.pt")
        assert_refused(
            tmp_path / "w.pt",
            r"it holds Python objects \(io.open\), and unpickling those would run code: "
            r"save module.state_dict",
        )
    assert not trace.exists()


@pytest.mark.parametrize(
    ("suffix", "module", "extra"),
    [
        (".safetensors", "safetensors", "weights"),
        (".pt", "torch", "torch"),
        (".h5", "h5py", "weights"),
        (".keras", "h5py", "weights"),
    ],
)
def test_a_missing_library_is_named_with_its_extra(tmp_path, monkeypatch, suffix, module, extra):
    path = tmp_path / f"w{suffix}"
    write(path)
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(
        MissingExtraError, match=rf'reading w{suffix} needs .*: pip install "gatecheck\[{extra}\]"'
    ):
        read_arrays(path)
