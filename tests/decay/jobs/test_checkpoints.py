"""Folder of parts: complete files or none, checked content, and unique keys."""

import os
import time
import zipfile

import numpy as np
import pytest

from gatecheck.decay.jobs import checkpoints as module
from gatecheck.decay.jobs.checkpoints import Checkpointer, PartStore, part_key
from gatecheck.decay.jobs.run import run_jobs
from gatecheck.decay.study.trial import run_trial
from gatecheck.errors import OutputError, UsageError
from helpers.misbehaving_jobs import chore, logged_runs, make_jobs

ARRAYS = {
    "file": np.arange(5.0),
    "self": np.array(3),
    "text": np.array("ü"),
    "none": np.zeros((0, 2)),
}


def open_store(folder, *keys):
    """Return a store with a sweep of these keys."""
    found = PartStore(folder)
    found.begin_sweep(keys, True, pytest.fail)
    return found


def test_get_returns_what_put_stored(tmp_path):
    store = open_store(tmp_path / "a" / "b", "k", "other")
    store.put("k", ARRAYS)
    found = store.get("k")
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()
    assert store.status == f"1 of 2 parts are kept in {tmp_path / 'a' / 'b'}"
    assert store.begin_sweep(["other", "k", "k"], True, pytest.fail) == [False, True, True]


@pytest.mark.parametrize("when", ["savez", "fsync", "replace"])
def test_a_write_that_is_interrupted_leaves_what_was_there(tmp_path, monkeypatch, when):
    store = open_store(tmp_path, "k")
    store.put("k", {"y": np.ones(3)})

    def interrupt(*arguments, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(np if when == "savez" else os, when, interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.put("k", {"y": np.zeros(3)})
    assert store.get("k")["y"].tolist() == [1, 1, 1]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_written_is_reported(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"the folder .*file cannot be made: "):
        PartStore(tmp_path / "file").put("k", ARRAYS)


def flip(data):
    """Flip a bit in the middle, which only a checksum detects."""
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]


def repack(data, tmp_path, **more):
    """Return the same arrays, with some replaced, as another program would write them."""
    (tmp_path / "in.npz").write_bytes(data)
    arrays = dict(np.load(tmp_path / "in.npz")) | more
    np.savez(
        tmp_path / "out.npz", **{name: array for name, array in arrays.items() if array is not None}
    )
    return (tmp_path / "out.npz").read_bytes()


def compress(data, tmp_path):
    (tmp_path / "in.npz").write_bytes(data)
    with (
        zipfile.ZipFile(tmp_path / "in.npz") as members,
        zipfile.ZipFile(tmp_path / "out.npz", "w", zipfile.ZIP_DEFLATED) as out,
    ):
        for name in members.namelist():
            out.writestr(name, members.read(name))
    return (tmp_path / "out.npz").read_bytes()


class Hostile:
    """Object that creates a folder when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("unpickled",)


DAMAGE = {
    "empty": lambda data, folder: b"",
    "cut": lambda data, folder: data[: len(data) * 2 // 3],
    "flipped": lambda data, folder: flip(data),
    "text": lambda data, folder: b"not arrays at all\n" * 9,
    "pickled": lambda data, folder: repack(data, folder, key=np.array([Hostile()], dtype=object)),
    "of another job": lambda data, folder: repack(data, folder, key=np.array("of another job")),
    "without a key": lambda data, folder: repack(data, folder, key=None),
    "with more": lambda data, folder: repack(data, folder, more=np.zeros(2)),
    "a bomb": compress,
}


@pytest.mark.parametrize("how", DAMAGE)
def test_an_invalid_part_is_reported_and_computed_again(tmp_path, monkeypatch, how):
    monkeypatch.chdir(tmp_path)
    (log := tmp_path / "log").mkdir()
    jobs, store, messages = make_jobs(log, "work", "work"), PartStore(tmp_path / "parts"), []
    expected = [dict(result) for result in run_jobs(chore, jobs, store=store)]
    file = store.folder / f"{store.keys[1]}.npz"
    whole = file.read_bytes()
    file.write_bytes(DAMAGE[how](whole, tmp_path))
    found = run_jobs(chore, jobs, store=store, resume=True, notify=messages.append)
    assert logged_runs(log) == [0, 1, 1]
    assert [result["y"].tobytes() for result in found] == [
        result["y"].tobytes() for result in expected
    ]
    assert not (tmp_path / "unpickled").exists()
    (sentence,) = messages
    assert sentence.startswith(f"{file} is not a part of this sweep (")
    assert "\n" not in sentence
    assert (
        run_jobs(chore, jobs, store=store, resume=True, notify=pytest.fail)[1]["y"].tobytes()
        == expected[1]["y"].tobytes()
    )


def test_a_damaged_state_is_reported_too(tmp_path):
    store, messages = open_store(tmp_path, "k"), []
    keeper = store.checkpointer("k", True, pytest.fail)
    keeper.interval_s = 0
    keeper.save({"y": np.ones(2)})
    assert store.status.startswith("0 of 1 parts and the state of 1 unfinished are kept in ")
    (file,) = tmp_path.iterdir()
    file.rename(file.with_name("k.npz"))  # a state is not a part
    assert store.begin_sweep(["k"], True, messages.append) == [False]
    assert "it holds something else" in messages[0]
    (tmp_path / "k.npz").rename(file)
    assert store.checkpointer("k", False, pytest.fail).saved_state is None
    assert store.checkpointer("k", True, pytest.fail).saved_state["y"].tolist() == [1, 1]
    file.write_bytes(b"")
    assert store.checkpointer("k", True, messages.append).saved_state is None
    assert len(messages) == 2


def test_a_keeper_saves_when_it_is_due(tmp_path):
    keeper, state = Checkpointer(tmp_path / "k", "k", interval_s=3600), {"y": np.zeros(2)}
    assert not keeper.restore(state)
    keeper.save(state)
    assert not list(tmp_path.iterdir())
    keeper.interval_s = 0
    keeper.save(state)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "saved", [{"y": np.ones(3)}, {"y": np.ones(2, int)}, {"z": np.ones(2)}, {}]
)
def test_a_state_of_another_form_is_not_taken(saved):
    state = {"y": np.zeros(2)}
    with pytest.warns(RuntimeWarning, match="does not fit it, so the job starts over"):
        assert not Checkpointer(None, "k", saved).restore(state)
    assert state["y"].tolist() == [0, 0]


def test_clear_leaves_files_of_other_sweeps(tmp_path):
    store = open_store(tmp_path / "parts", "k", "l")
    for key in ("k", "l", "m"):
        store.put(key, ARRAYS)
    (store.folder / "notes.txt").touch()
    store.clear()
    assert {file.name for file in store.folder.iterdir()} == {"m.npz", "notes.txt"}
    open_store(store.folder, "m").clear()
    assert store.folder.is_dir()
    (store.folder / "notes.txt").unlink()
    open_store(store.folder, "m").clear()
    assert not store.folder.exists()
    open_store(store.folder, "m").clear()


def test_what_a_killed_process_was_writing_goes_when_it_is_old(tmp_path):
    for name, age in (
        ("a-x.unfinished", module.STALE_S + 60),
        ("b-x.unfinished", 60),
        ("old.txt", module.STALE_S + 60),
    ):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, 2 * (time.time() - age,))
    open_store(tmp_path, "k")
    assert {file.name for file in tmp_path.iterdir()} == {"b-x.unfinished", "old.txt"}


def test_a_key_changes_with_all_that_the_result_depends_on(monkeypatch):
    key = part_key(run_trial, {"steps": 3, "seed": 1})
    assert part_key(run_trial, {"seed": 1, "steps": 3}) == key
    assert len(key) == 64
    others = {
        part_key(run_trial, {"steps": 3, "seed": 2}),
        part_key(run_trial, {"steps": 3, "seed": 1.0}),
        part_key(chore, {"steps": 3, "seed": 1}),
    }
    for name, changed in (
        ("source_digest", lambda *folders: "another"),
        ("_versions", lambda: {"numpy": "9"}),
        ("_arithmetic", lambda: {"blas": "another"}),
        ("SCHEMA", "another"),
    ):
        with monkeypatch.context() as context:
            context.setattr(module, name, changed)
            others.add(part_key(run_trial, {"steps": 3, "seed": 1}))
    assert len(others - {key}) == 7
    assert part_key(run_trial, {"seed": 1, "steps": 3}) == key


def test_the_source_behind_a_key_is_all_that_computes_a_sweep(monkeypatch):
    seen = set()
    monkeypatch.setattr(module, "source_digest", lambda *folders: seen.update(folders) or "")
    part_key(chore, {})
    names = {path.name for path in seen}
    assert {"decay", "kernels", "cells", "misbehaving_jobs.py"} <= names


@pytest.mark.parametrize("value", [{1, 2}, np.zeros(2), float("nan")], ids=str)
def test_arguments_that_have_no_key_are_reported(value):
    with pytest.raises(UsageError, match="the arguments of a job should be JSON values"):
        part_key(chore, {"x": value})
