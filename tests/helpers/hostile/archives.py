"""Hostile ``.npz``, ``.npy``, ``.keras`` and parts of sweeps."""

import bz2
import functools
import io
import json
import zipfile

import numpy as np


def npy(shape, dtype="<f8"):
    """Return the header of a ``.npy`` of this shape, without data."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"shape": shape, "fortran_order": False, "descr": dtype}
    )
    return file.getvalue()


def zeros(count):
    """Return a ``.npy`` of zeros."""
    return npy((count,)) + bytes(8 * count)


def archive(members, method=zipfile.ZIP_DEFLATED):
    """Return a function that writes an archive of these members."""

    def write(path):
        with zipfile.ZipFile(path, "w", method, compresslevel=9) as file:
            for name, content in members().items():
                file.writestr(name, content)

    return write


@functools.cache
def packed_zeros(start):
    """Return a stream of bzip2 with half a gigabyte of zeros after a start."""
    packer, zeros = bz2.BZ2Compressor(), bytes(2**26)
    return (
        packer.compress(start) + b"".join(packer.compress(zeros) for _ in range(8)) + packer.flush()
    )


def lying_size(path):
    """Write an archive whose entry declares far fewer bytes than bzip2 makes of it."""
    content = npy((100,)) + bytes(800)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as file:
        file.writestr("a.npy", content)
    packed = bz2.compress(content)
    large = packed_zeros(content)
    data = path.read_bytes()
    changed = data.replace(packed, large)
    sizes = [len(n).to_bytes(4, "little") for n in (packed, large)]
    start = changed.index(b"PK\x01\x02")
    directory = changed[start:].replace(sizes[0], sizes[1], 1)
    end = directory.rindex(b"PK\x05\x06") + 16
    directory = directory[:end] + start.to_bytes(4, "little") + directory[end + 4 :]
    path.write_bytes(changed[:start].replace(sizes[0], sizes[1], 1) + directory)


def about(header):
    """Return the members of a case with this header."""
    file = io.BytesIO()
    np.save(file, np.array(header))
    return {"__about__.npy": file.getvalue()}


ARRAYS = {
    "zeros, packed": archive(lambda: {"x.npy": zeros(2**25)}),
    "zeros in many members": archive(lambda: {f"{k}.npy": zeros(2**20) for k in range(64)}),
    "zeros up to the limit": archive(lambda: {"x.npy": zeros(2**23)}),
    "declared size without data": archive(lambda: {"x.npy": npy((2**40,))}),
    "shape that overflows": archive(lambda: {"x.npy": npy((2**62, 2**62, 0))}),
    "many members": archive(lambda: {f"{k}.npy": npy((0,)) for k in range(8000)}),
    "bzip2 beyond its size": lying_size,
    "lzma": archive(lambda: {"x.npy": zeros(2**24)}, zipfile.ZIP_LZMA),
}

CASES = {
    "a billion layers": archive(
        lambda: about(json.dumps({"schema": "gatecheck-case-1", "cell": "rnn-layers999999999"}))
    ),
    "deep header": archive(lambda: about("[" * 10**5)),
    "large header": archive(lambda: about('{"schema": [' + "[]," * 2 * 10**6 + "[]]}")),
    "long schema": archive(lambda: about(json.dumps({"schema": "x" * 10**5}))),
}

KERAS_MEMBERS = {"metadata.json": '{"keras_version": "3.0"}', "config.json": "{}"}


def empty_hdf5():
    """Return an HDF5 file without groups."""
    import h5py

    file = io.BytesIO()
    h5py.File(file, "w").close()
    return file.getvalue()


def keras(**members):
    """Return a function that writes a ``.keras`` with these members."""
    named = {name.replace("__", "."): content for name, content in members.items()}
    return archive(
        lambda: (
            KERAS_MEMBERS
            | {"model.weights.h5": empty_hdf5()}
            | {name: content() for name, content in named.items()}
        )
    )


def layers(depth, count):
    """Return the configuration of many layers in nested models."""
    inner = ",".join(f'{{"class_name":"L","config":{{"name":"{k}"}}}}' for k in range(count))
    start = "".join(f'{{"class_name":"M","config":{{"name":"m{k}","layers":[' for k in range(depth))
    return start + inner + "]}}" * depth


KERAS = {
    "zeros in config": keras(config__json=lambda: "[" + "0," * 2 * 10**8 + "0]"),
    "empty lists in config": keras(config__json=lambda: "[" + "[]," * 2 * 10**7 + "[]]"),
    "spaces in metadata": keras(metadata__json=lambda: " " * 4 * 10**8 + "{}"),
    "zeros in weights": keras(**{"model.weights__h5": lambda: bytes(4 * 10**8)}),
    "deep config": keras(config__json=lambda: "[" * 10**6),
    "layers in nested models": keras(config__json=lambda: layers(200, 10**5)),
    "large member that is not read": keras(assets__bin=lambda: bytes(4 * 10**8)),
}
