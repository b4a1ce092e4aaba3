"""Readers of PyTorch checkpoints and safetensors; only tensors are unpickled."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np

from gatecheck._util.npz import bounded_members
from gatecheck.errors import MissingExtraError, WeightsFileError
from gatecheck.weights.stored import LIMIT, StoredArrays, from_bfloat16

ADVICE = "save module.state_dict() instead"


def read_torch(path: Path) -> StoredArrays:
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
            f'reading {path.name} needs PyTorch: pip install "gatecheck[torch]"'
        ) from error
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            bounded_members(archive, LIMIT)
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                raise WeightsFileError(f"it is a TorchScript archive, which is code: {ADVICE}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old formats warn
            loaded = torch.load(path, map_location="cpu", weights_only=True)
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
    stored = StoredArrays()
    for name, tensor in _tensors(torch, loaded, "", set()):
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
        stored.count_bytes(name, tuple(tensor.shape), tensor.element_size())
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


def _tensors(torch: Any, value: Any, name: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, Mapping | list | tuple) and id(value) not in seen:
        seen.add(id(value))  # a pickle can contain itself, or a few dicts that unfold to very many
        for key, entry in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _tensors(torch, entry, f"{name}.{key}" if name else str(key), seen)


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


def read_safetensors(path: Path) -> StoredArrays:
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
            f'reading {path.name} needs safetensors: pip install "gatecheck[weights]"'
        ) from error
    stored = StoredArrays()
    stored.count_bytes("the file", (path.stat().st_size,), 1)
    # The library's conversion to NumPy fails on bfloat16, which NumPy lacks.
    unpacked: Any = safetensors.deserialize
    for name, tensor in unpacked(path.read_bytes()):
        if tensor["dtype"] not in _SAFETENSORS_DTYPES:
            stored.skipped[name] = f"of {tensor['dtype']}"
            continue
        array = np.frombuffer(
            tensor["data"],
            f"<{_SAFETENSORS_DTYPES[tensor['dtype']]}" if tensor["dtype"] != "BOOL" else "?",
        )
        if tensor["dtype"] == "BF16":
            array = from_bfloat16(array)
        stored.add(name, array.reshape(tensor["shape"]))
    return stored
