"""Objects, texts and datasets of HDF5 files, within the allowance of the file.

HDF5 itself bounds nothing by the size of the file: a dataset without data has any shape, a packed
chunk unpacks to more than it covers, and groups lie in each other as deeply as its stack is not.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from typing import Any

from gatecheck._util.plain_files import ARRAY_BYTES, Allowance
from gatecheck.errors import ArchiveError
from gatecheck.weights.stored import StoredArrays, from_bfloat16

MAX_DEPTH = 64
"""Most groups in each other."""

_DEFLATE, _SHUFFLE, _CHECKSUM = 1, 2, 3
_PIPELINES: tuple[list[int], ...] = ([], [_SHUFFLE], [_DEFLATE], [_DEFLATE, _SHUFFLE])
"""Filters of a chunk in the order in which they are undone, without checksums."""


def objects(h5py: Any, file: Any, allowance: Allowance) -> Iterator[tuple[str, Any]]:
    """Yield each group and dataset of a file once, with its path, parents first.

    No link out of the file is followed.

    Raises
    ------
    ArchiveError
        If there are more than the file may have, or they are nested too deeply.
    """
    seen = {h5py.h5o.get_info(file.id).addr}
    stack = [("", file, iter(file))]
    while stack:
        path, group, names = stack[-1]
        name = next(names, None)
        if name is None:
            stack.pop()
            continue
        allowance.spend(f"{path}{name}", len(path) + len(name) + ARRAY_BYTES)
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            continue
        found = group[name]
        address = h5py.h5o.get_info(found.id).addr
        if address in seen:
            continue
        seen.add(address)
        yield f"{path}{name}", found
        if isinstance(found, h5py.Group):
            if len(stack) > MAX_DEPTH:
                raise ArchiveError(f"{path}{name} lies in more than {MAX_DEPTH} groups")
            stack.append((f"{path}{name}/", found, iter(found)))


def text_attribute(found: Any, name: str) -> str | None:
    """Return an attribute that is one text, else None."""
    if name not in found.attrs or found.attrs.get_id(name).shape != ():
        return None
    value = found.attrs[name]
    return (
        value.decode(errors="replace")
        if isinstance(value, bytes)
        else (value if isinstance(value, str) else None)
    )


def add_dataset(stored: StoredArrays, name: str, data: Any) -> None:
    """Add a dataset of numbers; others are skipped, with the reason.

    Raises
    ------
    ArchiveError
        If it takes more than the file may.
    """
    half = data.dtype == "V2" and text_attribute(data, "dtype") == "bfloat16"
    if data.external or data.is_virtual:
        stored.skipped[name] = "stored in another file"
    elif data.dtype.kind not in "fiub" and not half:
        stored.skipped[name] = f"of {data.dtype}"
    elif data.shape is None:
        stored.skipped[name] = "without numbers"
    else:
        chunks = data.chunks or ()
        # HDF5 keeps some hundred bytes for each chunk, and unpacks one whole.
        counts = [-(-n // c) for n, c in zip(data.shape, chunks, strict=False)]
        stored.allowance.spend(f"the layout of {name}", math.prod(counts), "chunks")
        stored.spend_array(name, (data.size + math.prod(chunks),), data.dtype.itemsize)
        if not _check_filters(stored.allowance, name, data):
            stored.skipped[name] = "packed by filters other than gzip and shuffle"
            return
        stored.add(name, from_bfloat16(data[()].view("<u2")) if half else data[()])


def _check_filters(allowance: Allowance, name: str, data: Any) -> bool:
    """Return whether the filters are known, after checking the size of packed chunks."""
    plist = data.id.get_create_plist()
    filters = [plist.get_filter(k)[0] for k in range(plist.get_nfilters())]
    undone = [number for number in reversed(filters) if number != _CHECKSUM]
    if undone not in _PIPELINES:
        return False
    if _DEFLATE in undone:
        chunks: list[Any] = []
        data.id.chunk_iter(chunks.append)
        covered = math.prod(data.chunks) * data.dtype.itemsize + 4 * len(filters)  # checksums
        for chunk in chunks:
            allowance.spend(f"a chunk of {name}", chunk.size)
            _, content = data.id.read_direct_chunk(chunk.chunk_offset)
            if chunk.filter_mask:
                raise ArchiveError(f"a chunk of {name} is packed by other filters than its dataset")
            if len(zlib.decompressobj().decompress(content, covered + 1)) > covered:
                raise ArchiveError(
                    f"a chunk of {name} unpacks to more than the {covered:,} bytes that it covers"
                )
    return True
