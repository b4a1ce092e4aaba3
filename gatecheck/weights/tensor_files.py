"""Readers of PyTorch checkpoints and safetensors; only tensors are unpickled."""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import IO, Any

import numpy as np

from gatecheck._util.npz import bounded_members
from gatecheck._util.plain_files import ARRAY_BYTES, Allowance, file_size
from gatecheck.errors import MissingExtraError, WeightsFileError
from gatecheck.weights.pickles import check_pickle
from gatecheck.weights.stored import StoredArrays, from_bfloat16

ADVICE = "save module.state_dict() instead"

_ZIP = b"PK\x03\x04"
_LEGACY_PICKLES = 5
"""First pickles of a checkpoint that is no archive (torch/serialization.py)."""


def read_torch(file: IO[bytes]) -> StoredArrays:
    """Read the tensors of a state dict, or of nested dicts and lists, named by path.

    Raises
    ------
    MissingExtraError
        If PyTorch is not installed.
    WeightsFileError
        If the file holds more than tensors and plain values. PyTorch raises various exceptions for
        other damage.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError(
            f'reading {Path(file.name).name} needs PyTorch: pip install "gatecheck[torch]"'
        ) from error
    stored = StoredArrays(Allowance(file_size(file)))
    _check_pickles(file, stored.allowance)
    file.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old formats warn
            loaded = torch.load(file, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        match = re.search(r"GLOBAL (\S+)", str(error))
        what = (
            f"Python objects ({match[1]})"
            if match
            else "something other than tensors, or it is damaged"
        )
        raise WeightsFileError(
            f"it holds {what}, and unpickling those would run code: {ADVICE}"
        ) from error
    for name, tensor in _tensors(torch, loaded, stored.allowance):
        if (
            tensor.layout != torch.strided
            or tensor.is_quantized
            or tensor.is_meta
            or tensor.element_size() * tensor.numel() == 0
        ):
            stored.skipped[name] = (
                f"a tensor of {tensor.dtype} in layout {tensor.layout} without plain numbers"
            )
            continue
        # An expanded tensor may have any size with a storage of one number.
        stored.spend_array(name, tuple(tensor.shape), tensor.element_size())
        tensor = tensor.detach().resolve_conj().resolve_neg()
        try:
            stored.add(
                name,
                (
                    tensor.double() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor
                ).numpy(),
            )
        except TypeError:  # NumPy has no such dtype
            stored.skipped[name] = f"of {tensor.dtype}"
    return stored


def _check_pickles(file: IO[bytes], allowance: Allowance) -> None:
    if file.read(len(_ZIP)) == _ZIP:
        with zipfile.ZipFile(file) as archive:
            members = [info.filename for info in bounded_members(archive, allowance)]
            if any(name.endswith("/constants.pkl") for name in members):
                raise WeightsFileError(f"it is a TorchScript archive, which is code: {ADVICE}")
            for name in members:
                if name.endswith("/data.pkl"):
                    check_pickle(io.BytesIO(archive.read(name)), allowance)
    else:
        file.seek(0)
        for _ in range(_LEGACY_PICKLES):
            check_pickle(file, allowance)


def _tensors(torch: Any, loaded: Any, allowance: Allowance) -> Iterator[tuple[str, Any]]:
    # A pickle can contain itself, or a few dicts that unfold to very many.
    seen: set[int] = set()
    waiting = [("", loaded)]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, torch.Tensor):
            yield name, value
        elif isinstance(value, Mapping | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            found = []
            for key, entry in value.items() if isinstance(value, Mapping) else enumerate(value):
                found.append((f"{name}.{key}" if name else str(key), entry))
                allowance.spend("its names", len(found[-1][0]) + ARRAY_BYTES)
            waiting += reversed(found)


_SAFETENSORS_DTYPES = {
    "F64": "f8",
    "F32": "f4",
    "F16": "f2",
    "BF16": "u2",
    "I64": "i8",
    "I32": "i4",
    "I16": "i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}


def read_safetensors(file: IO[bytes]) -> StoredArrays:
    """Read the tensors of a ``.safetensors``; the library checks the header.

    Raises
    ------
    MissingExtraError
        If safetensors is not installed. The library raises various exceptions for a damaged file.
    """
    try:
        import safetensors
    except ImportError as error:
        raise MissingExtraError(
            f'reading {Path(file.name).name} needs safetensors: pip install "gatecheck[weights]"'
        ) from error
    stored = StoredArrays(Allowance(file_size(file)))
    stored.allowance.spend("the file", stored.allowance.size)
    # The library's conversion to NumPy fails on bfloat16, which NumPy lacks.
    unpacked: Any = safetensors.deserialize
    for name, tensor in unpacked(file.read()):
        if tensor["dtype"] not in _SAFETENSORS_DTYPES:
            stored.skipped[name] = f"of {tensor['dtype']}"
            continue
        stored.spend_array(name, (len(tensor["data"]),), 1)
        array = np.frombuffer(
            tensor["data"],
            f"<{_SAFETENSORS_DTYPES[tensor['dtype']]}" if tensor["dtype"] != "BOOL" else "?",
        )
        if tensor["dtype"] == "BF16":
            array = from_bfloat16(array)
        stored.add(name, array.reshape(tensor["shape"]))
    return stored
