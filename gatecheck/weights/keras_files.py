"""Keras's files: HDF5 of weights or of a whole model, and the archive ``.keras``. Keras is not
needed, and none of its code is run.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gatecheck._util.npz import bounded
from gatecheck.cells import GRU, LSTM, RNN, Cell
from gatecheck.errors import MissingExtraError, WeightsFileError
from gatecheck.weights.stored import LIMIT, Said, Stored, from_bfloat16, spelled

_KINDS = {"SimpleRNN": "rnn", "GRU": "gru", "LSTM": "lstm"}
_HARD = {True: 5, False: 6}
"""By whether it is Keras 1 or 2: their hard_sigmoid is 0.2 x + 0.5 (keras/backend.py), that of
Keras 3 relu6(x + 3) / 6.
"""


def read_keras(path: Path) -> Stored:
    """The weights in a ``.keras``, and what its configuration says of its recurrent layers.

    Raises
    ------
    MissingExtraError
        If h5py is not installed.
    WeightsFileError
        If it unpacks to more than gatecheck reads; zipfile, json and h5py raise what they like for
        other damage.
    """
    with zipfile.ZipFile(path) as archive:
        bounded(archive, LIMIT)
        version = json.loads(archive.read("metadata.json")).get("keras_version")
        return _read(
            path,
            io.BytesIO(archive.read("model.weights.h5")),
            json.loads(archive.read("config.json")),
            version,
        )


def read_hdf5(path: Path) -> Stored:
    """The datasets of numbers in an HDF5 file, and what the configuration of a model says of them,
    if the file is that of a model.

    Raises
    ------
    MissingExtraError
        If h5py is not installed.
    WeightsFileError
        If its datasets are larger than gatecheck reads; h5py raises what it likes for other damage.
    """
    return _read(path, path, None, None)


def _read(path: Path, file: Any, config: Any, version: Any) -> Stored:
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError(
            f'reading {path.name} needs h5py: pip install "gatecheck[weights]"'
        ) from error
    stored = Stored()
    names: dict[str, str] = {}  # of objects of Keras, by their groups

    def visit(name: str, found: Any) -> None:
        if isinstance(found, h5py.Group):
            group, _, last = f"/{name}".rpartition("/")
            if last == "vars" and isinstance(found.attrs.get("name"), str):
                names[group.strip("/")] = found.attrs["name"]
        elif found.external or found.is_virtual:
            stored.left_out[name] = "kept in another file"
        elif found.dtype.kind in "fiub" or (
            found.dtype == "V2" and found.attrs.get("dtype") == "bfloat16"
        ):
            # A chunk is unpacked whole, however little of it the dataset has.
            stored.admit(name, (found.size + math.prod(found.chunks or ()),), found.dtype.itemsize)
            stored.put(
                name, found[()] if found.dtype.kind != "V" else from_bfloat16(found[()].view("<u2"))
            )
        else:
            stored.left_out[name] = f"of {found.dtype}"

    with h5py.File(file, "r") as opened:
        opened.visititems(visit)  # follows no links out of the file, and comes to each object once
        legacy = opened.attrs.get("model_config")
        version = version or opened.attrs.get("keras_version")
    if config is None and isinstance(legacy, str | bytes):
        config = json.loads(legacy)
    old = str(version).startswith(("1.", "2."))
    layers = dict(_configured(config, ()))
    root = next(iter(layers), ("",))[:1]
    for group in dict.fromkeys(
        name.rpartition("/")[0].removesuffix("/vars") for name in stored.arrays
    ):
        way = _way(group, names, root)
        # A layer has its weights in its cell, of which a configuration says nothing.
        own = next((layers[way[:n]] for n in (len(way), len(way) - 1) if way[:n] in layers), None)
        if layers:
            _say(stored, spelled(group), own or {"class_name": ""}, old)
    return stored


def _way(group: str, names: dict[str, str], root: tuple[str, ...]) -> tuple[str, ...]:
    """The names of the objects of Keras from the model down to the one whose weights are in a
    group.
    """
    parts = group.split("/")
    if names:
        return tuple(
            names[at] for n in range(len(parts) + 1) if (at := "/".join(parts[:n])) in names
        )
    own = tuple(parts[2 if parts[0] == "model_weights" else 0 :])
    return own if own[:1] == root else (*root, *own)


def _configured(
    config: Any, way: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Every object of a configuration: the names on the way to it, and its own configuration with
    its class.
    """
    if isinstance(config, list):
        for entry in config:
            yield from _configured(entry, way)
    elif isinstance(config, dict):
        own = config.get("config")
        if (
            isinstance(own, dict)
            and isinstance(own.get("name"), str)
            and isinstance(config.get("class_name"), str)
        ):
            way = (*way, own["name"])
            yield way, own | {"class_name": config["class_name"], "module": config.get("module")}
        for entry in config.values():
            yield from _configured(entry, way)


def _say(stored: Stored, prefix: str, config: dict[str, Any], old: bool) -> None:
    """Note what a configuration says of the weights with a prefix; those that no cell of
    gatecheck's computes are left out.
    """
    # A class of the user's own may be called as one of Keras's is.
    kind = (
        _KINDS.get(config["class_name"].removesuffix("Cell"))
        if str(config.get("module") or "keras").startswith("keras")
        else None
    )
    try:
        stored.said[prefix] = (
            Said(_cell(kind, config, old), "keras", bool(config.get("go_backwards")))
            if kind
            else None
        )
    except WeightsFileError as error:
        stored.left_out[prefix] = str(error)
        for name in [name for name in stored.arrays if spelled(name).startswith(f"{prefix}.")]:
            del stored.arrays[name]


def _cell(kind: str, config: dict[str, Any], old: bool) -> Cell:
    activation, gate = (
        config.get("activation", "tanh"),
        config.get("recurrent_activation", "sigmoid"),
    )
    if kind == "rnn" and activation in ("tanh", "relu", "sigmoid"):
        return RNN(activation)
    if kind == "rnn" or activation != "tanh" or gate not in ("sigmoid", "hard_sigmoid"):
        raise WeightsFileError(
            f"a {config['class_name']} with the activations {activation} and {gate}, and no cell of gatecheck has those"
        )
    hard: Any = _HARD[old] if gate == "hard_sigmoid" else None
    # Keras 1 and 2 had no reset_after in layers that reset before.
    return (
        LSTM(hard=hard)
        if kind == "lstm"
        else GRU("after" if config.get("reset_after") else "before", hard=hard)
    )
