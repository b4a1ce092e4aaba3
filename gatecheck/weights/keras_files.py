"""Readers of Keras files: HDF5 of weights or a model, and ``.keras`` archives.

Keras is not needed, and none of its code is run.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import IO, Any

from gatecheck._util.documents import parse_json
from gatecheck._util.npz import bounded_members
from gatecheck._util.plain_files import ARRAY_BYTES, Allowance, file_size
from gatecheck.cells import GRU, LSTM, RNN, Cell
from gatecheck.errors import InputError, MissingExtraError, WeightsFileError
from gatecheck.weights.hdf5 import add_dataset, objects, text_attribute
from gatecheck.weights.stored import LayerMetadata, StoredArrays, normalize_name

_CELL_KINDS = {"SimpleRNN": "rnn", "GRU": "gru", "LSTM": "lstm"}
_HARD_SIGMOIDS = {True: 5, False: 6}
"""Variant of hard_sigmoid, by whether the file is of Keras 1 or 2.

They have 0.2 x + 0.5 (keras/backend.py), Keras 3 has relu6(x + 3) / 6.
"""


def read_keras(file: IO[bytes]) -> StoredArrays:
    """Read the weights of a ``.keras`` and the configuration of its recurrent layers.

    Raises
    ------
    MissingExtraError
        If h5py is not installed.
    WeightsFileError
        If its configuration is not JSON.
    ArchiveError
        If it takes more than a file of its size may. zipfile and h5py raise various exceptions for
        other damage.
    """
    stored = StoredArrays(Allowance(file_size(file)))
    with zipfile.ZipFile(file) as archive:
        bounded_members(archive, stored.allowance)
        metadata, config = (
            _parse_member(name, archive.read(name)) for name in ("metadata.json", "config.json")
        )
        weights = io.BytesIO(archive.read("model.weights.h5"))
    return _read(stored, Path(file.name).name, weights, config, metadata.get("keras_version"))


def _parse_member(name: str, data: bytes | str) -> Any:
    try:
        return parse_json(data, f"its {name}")
    except InputError as error:
        raise WeightsFileError(str(error)) from error


def read_hdf5(file: IO[bytes]) -> StoredArrays:
    """Read the numeric datasets of an HDF5 file, and a model's configuration in it.

    Raises
    ------
    MissingExtraError
        If h5py is not installed.
    WeightsFileError
        If its configuration is not JSON.
    ArchiveError
        If it takes more than a file of its size may. h5py raises various exceptions for other
        damage.
    """
    return _read(StoredArrays(Allowance(file_size(file))), Path(file.name).name, file, None, None)


def _read(
    stored: StoredArrays, file_name: str, file: IO[bytes], config: Any, version: Any
) -> StoredArrays:
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError(
            f'reading {file_name} needs h5py: pip install "gatecheck[weights]"'
        ) from error
    names: dict[str, str] = {}  # names of Keras objects by group
    with h5py.File(file, "r") as opened:
        for name, found in objects(h5py, opened, stored.allowance):
            if isinstance(found, h5py.Group):
                group, _, last = f"/{name}".rpartition("/")
                if last == "vars" and (own_name := text_attribute(found, "name")) is not None:
                    names[group.strip("/")] = own_name
                    stored.allowance.spend(name, len(own_name))
            elif isinstance(found, h5py.Dataset):
                add_dataset(stored, name, found)
        legacy = text_attribute(opened, "model_config")
        version = version or text_attribute(opened, "keras_version")
    if config is None and legacy is not None:
        config = _parse_member("model_config", legacy)
    old = str(version).startswith(("1.", "2."))
    layers = dict(_configurations(config, (), stored.allowance))
    root = next(iter(layers), ("",))[:1]
    left_out = set()
    for group in dict.fromkeys(
        name.rpartition("/")[0].removesuffix("/vars") for name in stored.arrays
    ):
        way = _object_path(group, names, root)
        # The weights of a layer are in its cell, which has no entry in the configuration.
        own = next((layers[way[:n]] for n in (len(way), len(way) - 1) if way[:n] in layers), None)
        prefix = normalize_name(group)
        if layers and not _record_metadata(stored, prefix, own or {"class_name": ""}, old):
            left_out.add(prefix)
    for name in list(stored.arrays) if left_out else []:
        parents = accumulate(normalize_name(name).split(".")[:-1], "{}.{}".format)
        if not left_out.isdisjoint(parents):
            del stored.arrays[name]
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
    config: Any, path: tuple[str, ...], allowance: Allowance
) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Yield the path of names and the configuration with class of each Keras object."""
    if isinstance(config, list):
        for entry in config:
            yield from _configurations(entry, path, allowance)
    elif isinstance(config, dict):
        own = config.get("config")
        if (
            isinstance(own, dict)
            and isinstance(own.get("name"), str)
            and isinstance(config.get("class_name"), str)
        ):
            path = (*path, own["name"])
            allowance.spend("its configuration", ARRAY_BYTES + 8 * len(path))
            yield path, own | {"class_name": config["class_name"], "module": config.get("module")}
        for entry in config.values():
            yield from _configurations(entry, path, allowance)


def _record_metadata(
    stored: StoredArrays, prefix: str, config: dict[str, Any], before_keras_3: bool
) -> bool:
    """Record the configuration of the weights with a prefix.

    Return False if they are of a cell that gatecheck does not support.
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
        return False
    return True


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
