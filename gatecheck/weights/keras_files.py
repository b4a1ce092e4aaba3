"""Readers of Keras files: HDF5 of weights or a model, and ``.keras`` archives.

Keras is not needed, and none of its code is run.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gatecheck._util.npz import bounded_members
from gatecheck.cells import GRU, LSTM, RNN, Cell
from gatecheck.errors import MissingExtraError, WeightsFileError
from gatecheck.weights.stored import (
    LIMIT,
    LayerMetadata,
    StoredArrays,
    from_bfloat16,
    normalize_name,
)

_CELL_KINDS = {"SimpleRNN": "rnn", "GRU": "gru", "LSTM": "lstm"}
_HARD_SIGMOIDS = {True: 5, False: 6}
"""Variant of hard_sigmoid, by whether the file is of Keras 1 or 2.

They have 0.2 x + 0.5 (keras/backend.py), Keras 3 has relu6(x + 3) / 6.
"""


def read_keras(path: Path) -> StoredArrays:
    """Read the weights of a ``.keras`` and the configuration of its recurrent layers.

    Raises
    ------
    MissingExtraError
        If h5py is not installed.
    WeightsFileError
        If it unpacks to more than gatecheck reads. zipfile, json and h5py raise various exceptions
        for other damage.
    """
    with zipfile.ZipFile(path) as archive:
        bounded_members(archive, LIMIT)
        version = json.loads(archive.read("metadata.json")).get("keras_version")
        return _read(
            path,
            io.BytesIO(archive.read("model.weights.h5")),
            json.loads(archive.read("config.json")),
            version,
        )


def read_hdf5(path: Path) -> StoredArrays:
    """Read the numeric datasets of an HDF5 file, and a model's configuration in it.

    Raises
    ------
    MissingExtraError
        If h5py is not installed.
    WeightsFileError
        If its datasets are larger than gatecheck reads. h5py raises various exceptions for other
        damage.
    """
    return _read(path, path, None, None)


def _read(path: Path, file: Any, config: Any, version: Any) -> StoredArrays:
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError(
            f'reading {path.name} needs h5py: pip install "gatecheck[weights]"'
        ) from error
    stored = StoredArrays()
    names: dict[str, str] = {}  # names of Keras objects by group

    def visit(name: str, found: Any) -> None:
        if isinstance(found, h5py.Group):
            group, _, last = f"/{name}".rpartition("/")
            if last == "vars" and isinstance(found.attrs.get("name"), str):
                names[group.strip("/")] = found.attrs["name"]
        elif found.external or found.is_virtual:
            stored.skipped[name] = "stored in another file"
        elif found.dtype.kind in "fiub" or (
            found.dtype == "V2" and found.attrs.get("dtype") == "bfloat16"
        ):
            # A chunk is unpacked whole, even if the dataset covers little of it.
            stored.count_bytes(
                name, (found.size + math.prod(found.chunks or ()),), found.dtype.itemsize
            )
            stored.add(
                name, found[()] if found.dtype.kind != "V" else from_bfloat16(found[()].view("<u2"))
            )
        else:
            stored.skipped[name] = f"of {found.dtype}"

    with h5py.File(file, "r") as opened:
        opened.visititems(visit)  # follows no links out of the file, and visits each object once
        legacy = opened.attrs.get("model_config")
        version = version or opened.attrs.get("keras_version")
    if config is None and isinstance(legacy, str | bytes):
        config = json.loads(legacy)
    old = str(version).startswith(("1.", "2."))
    layers = dict(_configurations(config, ()))
    root = next(iter(layers), ("",))[:1]
    for group in dict.fromkeys(
        name.rpartition("/")[0].removesuffix("/vars") for name in stored.arrays
    ):
        way = _object_path(group, names, root)
        # The weights of a layer are in its cell, which has no entry in the configuration.
        own = next((layers[way[:n]] for n in (len(way), len(way) - 1) if way[:n] in layers), None)
        if layers:
            _record_metadata(stored, normalize_name(group), own or {"class_name": ""}, old)
    return stored


def _object_path(group: str, names: dict[str, str], root: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of Keras objects from the model down to the owner of a group."""
    parts = group.split("/")
    if names:
        return tuple(
            names[at] for n in range(len(parts) + 1) if (at := "/".join(parts[:n])) in names
        )
    own = tuple(parts[2 if parts[0] == "model_weights" else 0 :])
    return own if own[:1] == root else (*root, *own)


def _configurations(
    config: Any, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Yield the path of names and the configuration with class of each Keras object."""
    if isinstance(config, list):
        for entry in config:
            yield from _configurations(entry, path)
    elif isinstance(config, dict):
        own = config.get("config")
        if (
            isinstance(own, dict)
            and isinstance(own.get("name"), str)
            and isinstance(config.get("class_name"), str)
        ):
            path = (*path, own["name"])
            yield path, own | {"class_name": config["class_name"], "module": config.get("module")}
        for entry in config.values():
            yield from _configurations(entry, path)


def _record_metadata(
    stored: StoredArrays, prefix: str, config: dict[str, Any], before_keras_3: bool
) -> None:
    """Record the configuration of the weights with a prefix.

    Weights of cells that gatecheck does not support are left out.
    """
    # A user's class may have the name of one of Keras's.
    kind = (
        _CELL_KINDS.get(config["class_name"].removesuffix("Cell"))
        if str(config.get("module") or "keras").startswith("keras")
        else None
    )
    try:
        stored.metadata[prefix] = (
            LayerMetadata(
                _cell_of(kind, config, before_keras_3), "keras", bool(config.get("go_backwards"))
            )
            if kind
            else None
        )
    except WeightsFileError as error:
        stored.skipped[prefix] = str(error)
        for name in [
            name for name in stored.arrays if normalize_name(name).startswith(f"{prefix}.")
        ]:
            del stored.arrays[name]


def _cell_of(kind: str, config: dict[str, Any], before_keras_3: bool) -> Cell:
    activation, gate = (
        config.get("activation", "tanh"),
        config.get("recurrent_activation", "sigmoid"),
    )
    if kind == "rnn" and activation in ("tanh", "relu", "sigmoid"):
        return RNN(activation)
    if kind == "rnn" or activation != "tanh" or gate not in ("sigmoid", "hard_sigmoid"):
        raise WeightsFileError(
            f"a {config['class_name']} with the activations {activation} and {gate}, "
            "which gatecheck does not support"
        )
    hard: Any = _HARD_SIGMOIDS[before_keras_3] if gate == "hard_sigmoid" else None
    # Layers of Keras 1 and 2 that reset before have no reset_after.
    return (
        LSTM(hard=hard)
        if kind == "lstm"
        else GRU("after" if config.get("reset_after") else "before", hard=hard)
    )
