"""All attacks, by the reader that they are for."""

import contextlib
import os
import socket
from functools import partial

from helpers.hostile.archives import ARRAYS, CASES, KERAS
from helpers.hostile.hdf5 import HDF5
from helpers.hostile.onnx_models import ONNX
from helpers.hostile.tensors import CHECKPOINTS, SAFETENSORS
from helpers.hostile.texts import CSV, JSON, SPECS, TOML


def write_text(text, path):
    path.write_text(text)


def written(texts):
    return {name: partial(write_text, text) for name, text in texts.items()}


def bind_socket(path):
    # A socket's path has a hundred characters at most.
    with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(path.parent):
        server.bind("socket")
    path.with_name("socket").rename(path)


def link_to_device(path):
    path.symlink_to("/dev/zero")


def link_to_pipe(path):
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to(path.with_name("pipe"))


NO_FILES = {
    "pipe": os.mkfifo,
    "link to a pipe": link_to_pipe,
    "link to a device": link_to_device,
    "socket": bind_socket,
    "folder": lambda path: path.mkdir(),
}

TARGETS = {
    "npz": ("weights", "w.npz", ARRAYS),
    "data": ("sequences", "x.npz", ARRAYS),
    "answer": ("answer", "a.npz", ARRAYS),
    "case": ("case", "c.npz", ARRAYS | CASES),
    "part": ("part", "0" * 64 + ".npz", ARRAYS),
    "safetensors": ("weights", "w.safetensors", SAFETENSORS),
    "torch": ("weights", "w.pt", CHECKPOINTS),
    "onnx": ("weights", "w.onnx", ONNX),
    "keras": ("weights", "w.keras", KERAS),
    "hdf5": ("weights", "w.h5", HDF5),
    "spec": ("spec", "s.toml", written(SPECS | TOML)),
    "pyproject": (
        "project",
        "pyproject.toml",
        written({k: f"[tool.gatecheck]\n{v}" for k, v in TOML.items()}),
    ),
    "expected": ("expected", "e.toml", written(TOML)),
    "manifest": ("manifest", "manifest.json", written(JSON)),
    "answer.json": ("answer", "a.json", written(JSON)),
    "csv": ("sequences", "x.csv", written(CSV)),
    "npy": ("sequences", "x.npy", {}),
    "digest": ("digest", "x.npy", {}),
    "library": ("library", "./x.so", {}),
}
"""By format: the reader, the name of the file, and the attacks."""

ATTACKS = {
    f"{form}: {name}": (reader, file, write)
    for form, (reader, file, attacks) in TARGETS.items()
    for name, write in attacks.items()
}
"""By format and attack: the reader, the name of the file, and what writes it."""
