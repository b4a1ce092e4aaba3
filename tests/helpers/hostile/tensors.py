"""Hostile PyTorch checkpoints and safetensors."""

import json
import pickle
import struct
import zipfile


def checkpoint(content, storages=()):
    """Return a function that writes a checkpoint: a pickle, and storages of a number."""

    def write(path):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
            file.writestr("a/data.pkl", b"\x80\x02" + content() + b".")
            file.writestr("a/version", "3\n")
            file.writestr("a/byteorder", "little")
            for key in storages:
                file.writestr(f"a/data/{key}", bytes(4))

    return write


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value):
    return b"J" + struct.pack("<i", value) if value < 2**31 else pickle.dumps(value, 2)[2:-1]


def call(name, arguments):
    return b"c" + name.replace(" ", "\n").encode() + b"\n" + arguments + b"R"


def tensor(shape, stride, size=1):
    """Return the pickle of a tensor that views a storage of `size` numbers."""
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu")
    storage += number(size) + b"tQ"
    sizes = [b"(" + b"".join(map(number, n)) + b"t" for n in (shape, stride)]
    arguments = [storage, number(0), *sizes, b"\x89", call("collections OrderedDict", b")")]
    return call("torch._utils _rebuild_tensor_v2", b"(" + b"".join(arguments) + b"t")


def bytearrays():
    return b"}" + text("a") + call("builtins bytearray", b"(" + number(4 * 10**9) + b"t") + b"s"


def doubled_tuple():
    doubled = b")" + b"".join(b"q\x00h\x00\x86" for _ in range(40))
    return b"}" + doubled + number(1) + b"s"


def colliding_keys():
    keys = (pickle.dumps(k * (2**61 - 1), 2)[2:-1] + b"K\x01" for k in range(16, 60_000))
    return b"}(" + b"".join(keys) + b"u"


def nested_list():
    start = b"]" * 800
    shared = tensor((1,), (1,)) + b"q\x01"
    inner = b"(" + shared + b"h\x01" * 200_000 + b"e"
    return start + inner + b"a" * 799


def expanded():
    return b"}" + text("a") + tensor((2**15, 2**14), (0, 0)) + b"s"


def many_views():
    shared = tensor((2**15,), (0,)) + b"q\x01"
    return b"](" + shared + b"h\x01" * 100_000 + b"e"


def large_storage():
    return b"}" + text("a") + tensor((2**32,), (1,), 2**32) + b"s"


def bytes_of_zeros(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        file.writestr("a/data.pkl", bytes(6 * 10**8))
        file.writestr("a/version", "3\n")


CHECKPOINTS = {
    "bytearray of 4 GB": checkpoint(bytearrays),
    "tuple of itself twice, 40 times": checkpoint(doubled_tuple),
    "numbers of one hash": checkpoint(colliding_keys),
    "tensors in 800 lists": checkpoint(nested_list, "0"),
    "tensor of one number": checkpoint(expanded, "0"),
    "many tensors of one number": checkpoint(many_views, "0"),
    "storage without data": checkpoint(large_storage, "0"),
    "zeros, packed": bytes_of_zeros,
}


def safetensors(header, data=b""):
    """Return a function that writes a safetensors file with this header."""

    def write(path):
        content = header()
        path.write_bytes(struct.pack("<Q", len(content)) + content + data)

    return write


def entry(shape, start, end):
    return {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}


SAFETENSORS = {
    "header of any size": lambda path: path.write_bytes(struct.pack("<Q", 2**60) + b"{}"),
    "huge shape": safetensors(
        lambda: json.dumps({"a": entry([2**20, 2**20], 0, 4)}).encode(), bytes(4)
    ),
    "empty tensor of a huge shape": safetensors(
        lambda: json.dumps({"a": entry([0, 2**62], 0, 0)}).encode()
    ),
    "deep header": safetensors(lambda: b"[" * 10**6),
    "many tensors": safetensors(
        lambda: json.dumps({f"l{k}.weight_ih_l0": entry([0], 0, 0) for k in range(10_000)}).encode()
    ),
    "many layers": safetensors(
        lambda: json.dumps(
            {
                f"l{k}.{name}": entry([1, 1], 4 * (2 * k + n), 4 * (2 * k + n) + 4)
                for k in range(5000)
                for n, name in enumerate(("weight_ih_l0", "weight_hh_l0"))
            }
        ).encode(),
        bytes(40_000),
    ),
    "long name": safetensors(
        lambda: json.dumps(
            {
                "x." * 400_000 + k: entry([1, 1], 4 * n, 4 * n + 4)
                for n, k in enumerate(("weight_ih_l0", "weight_hh_l0"))
            }
        ).encode(),
        bytes(8),
    ),
}
