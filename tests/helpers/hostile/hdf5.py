"""Hostile HDF5."""

import zlib

import numpy as np


def hdf5(fill, **options):
    """Return a function that writes an HDF5 file by filling it."""

    def write(path):
        import h5py

        with h5py.File(path, "w", **options) as file:
            fill(file, h5py)

    return write


def large_chunked(file, h5py):
    file.create_dataset("a", (2**29,), "f8", chunks=(2**20,))


def half_floats(file, h5py):
    file.create_dataset("a", (2**22,), "f2", chunks=(2**21,))


def large_contiguous(file, h5py):
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_alloc_time(h5py.h5d.ALLOC_TIME_LATE)
    space = h5py.h5s.create_simple((2**28,))
    h5py.h5d.create(file.id, b"a", h5py.h5t.NATIVE_DOUBLE, space, plist)


def many_large(file, h5py):
    for k in range(100):
        file.create_dataset(f"a{k}", (2**22,), "f4", chunks=(2**18,))


def tiny_chunks(file, h5py):
    file.create_dataset("a", (2**22,), "f8", chunks=(1,))


def packed(file, h5py):
    file.create_dataset("a", data=np.zeros(2**26), chunks=(2**20,), compression=9)


def chunk_beyond_its_size(file, h5py):
    data = file.create_dataset("a", (8,), "f8", chunks=(8,), compression=9)
    packer = zlib.compressobj(9)
    zeros = bytes(2**24)
    content = b"".join(packer.compress(zeros) for _ in range(50)) + packer.flush()
    data.id.write_direct_chunk((0,), content)


def packed_twice(file, h5py):
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((8,))
    plist.set_deflate(9)
    plist.set_deflate(9)
    space = h5py.h5s.create_simple((8,))
    data = h5py.h5d.create(file.id, b"a", h5py.h5t.NATIVE_DOUBLE, space, plist)
    packer = zlib.compressobj(9)
    zeros = bytes(2**24)
    content = b"".join(packer.compress(zeros) for _ in range(40)) + packer.flush()
    data.write_direct_chunk((0,), zlib.compress(content, 9))


def deep_groups(file, h5py):
    group = file
    for _ in range(20_000):
        group = group.create_group("a")


def cyclic_groups(file, h5py):
    groups = [file.create_group(f"g{k}") for k in range(60)]
    for group in groups:
        for k, other in enumerate(groups):
            group[f"l{k}"] = other


def text_attributes(file, h5py):
    file.attrs.create("model_config", ["[" * 10_000] * 100, dtype=h5py.string_dtype())


def deep_config(file, h5py):
    file.attrs["model_config"] = "[" * 50_000


def wide_config(file, h5py):
    file.attrs["model_config"] = "[" + "[]," * 20_000 + "[]]"


def many_unsupported(file, h5py):
    layers = ",".join(
        f'{{"class_name":"GRU","config":{{"name":"l{k}","activation":"x"}}}}' for k in range(600)
    )
    file.attrs["model_config"] = f'{{"class_name":"M","config":{{"name":"m","layers":[{layers}]}}}}'
    for k in range(600):
        for n in range(2):
            file[f"l{k}/a{n}"] = 0.0


HDF5 = {
    "chunked without data": hdf5(large_chunked),
    "half floats up to the limit": hdf5(half_floats),
    "contiguous without data": hdf5(large_contiguous),
    "many without data": hdf5(many_large),
    "chunks of one number": hdf5(tiny_chunks),
    "zeros, packed": hdf5(packed),
    "chunk beyond its size": hdf5(chunk_beyond_its_size),
    "chunk packed twice": hdf5(packed_twice),
    "20,000 groups in each other": hdf5(deep_groups, libver="latest"),
    "groups in circles": hdf5(cyclic_groups, libver="latest"),
    "text in an array": hdf5(text_attributes, libver="latest"),
    "deep configuration": hdf5(deep_config, libver="latest"),
    "wide configuration": hdf5(wide_config, libver="latest"),
    "many layers of no cell": hdf5(many_unsupported, libver="latest"),
}
