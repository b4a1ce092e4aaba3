"""Ways to damage a file, or to write one that would do harm.

Each takes the bytes of a valid file, and a random generator.
"""

from __future__ import annotations

import functools
import io
import json
import pickle
import struct
import zipfile

import numpy as np

TRACE_FILE = "trace-of-code-that-was-run"
"""The file that code in a mutated file would leave in the working directory."""

SIZES = [
    struct.pack(kind, n)
    for kind, n in (
        ("<Q", 2**63),
        ("<Q", 2**40),
        ("<I", 2**32 - 1),
        ("<I", 2**31 - 1),
        ("<H", 65535),
        ("<I", 0),
    )
]

WORDS = [
    *(
        "nan",
        "-inf",
        "1e999",
        "99999999999999999999",
        "-1",
        "0",
        "true",
        "null",
        '"',
        "'",
        "[" * 3000,
        "{" * 40,
        "[[",
        "]",
        "}",
        "\n\n",
    ),
    *(
        "é\u202e\x1b[31m",
        "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
        "\0",
        "=",
        "\n[network]\n",
        "x" * 5000,
        "1" * 5000,
    ),
    *("../../../etc/passwd", "/dev/zero", "float16", "O", "|O8", "lstm", "(1099511627776,)"),
]

NUMBERS = [np.nan, np.inf, -np.inf, 3e38, 1e-45, 0.0]


class MaliciousPickle:
    """An object that would leave a file behind if it is unpickled."""

    def __reduce__(self):
        return open, (TRACE_FILE, "w")


def flip_bit(data, rng, seeds):
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def replace_byte(data, rng, seeds):
    at = rng.randrange(len(data))
    return data[:at] + rng.randbytes(1) + data[at + 1 :]


def truncate(data, rng, seeds):
    return data[: rng.randrange(len(data))]


def remove_bytes(data, rng, seeds):
    start = rng.randrange(len(data))
    return data[:start] + data[start + rng.choice((1, 8, 100)) :]


def duplicate_bytes(data, rng, seeds):
    start = rng.randrange(len(data))
    end = start + rng.choice((1, 8, 100, len(data)))
    return data[:end] + data[start:]


def splice(data, rng, seeds):
    other = rng.choice(seeds)
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def insert_size(data, rng, seeds):
    at, new = rng.randrange(len(data)), rng.choice(SIZES)
    return data[:at] + new + data[at + len(new) :]


def insert_word(data, rng, seeds):
    at, new = rng.randrange(len(data) + 1), rng.choice(WORDS).encode("utf-8", "surrogatepass")
    return data[:at] + new + data[at + rng.choice((0, 1, len(new))) :]


def change_line(data, rng, seeds):
    """Return the data with a line doubled, removed or moved."""
    lines = data.splitlines(keepends=True)
    at = rng.randrange(len(lines))
    chosen = lines[at] if rng.random() < 0.5 else lines.pop(at)
    lines.insert(rng.randrange(len(lines) + 1), chosen if rng.random() < 0.8 else b"")
    return b"".join(lines)


BLIND = (
    flip_bit,
    replace_byte,
    truncate,
    remove_bytes,
    duplicate_bytes,
    splice,
    insert_size,
    insert_word,
)
TEXT = (*BLIND, insert_word, insert_word, change_line)


def apply_damage(kinds, data, rng, seeds):
    """Return the data with one to three of these kinds of damage."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if data:
            data = rng.choice(kinds)(data, rng, seeds)
    return data


# ---- inside archives, where a checksum would hide changed bytes


def npy(array, shape=None, descr=None):
    """Return a ``.npy``, perhaps with a false header."""
    file = io.BytesIO()
    header = {
        "descr": descr or np.lib.format.dtype_to_descr(array.dtype),
        "fortran_order": False,
        "shape": shape or array.shape,
    }
    np.lib.format.write_array_header_2_0(file, header)
    return file.getvalue() + array.tobytes()


@functools.cache
def bomb(size):
    """Return zeros, which are small in an archive."""
    return npy(np.zeros(size, "i1"))


def odd_array(rng):
    """Return an array that no reader expects."""
    plain = (
        np.arange(12)
        .reshape(4, 3)
        .astype(rng.choice(("f4", "f8", ">f4", "f2", "i8", "c16", "?", "u1")))
    )
    match rng.randrange(8):
        case 0:
            return npy(
                plain,
                shape=rng.choice(
                    (
                        (2**40,),
                        (-1, -12),
                        (2**62, 4),
                        (0, 2**62),
                        (1,) * 40,
                        (),
                        (12,),
                        (2**31, 2**31),
                    )
                ),
            )
        case 1:
            return npy(
                plain,
                descr=rng.choice(("|O", "<U3", "S48", "<f8", "V4", "<M8[s]", "[('a', '<f4')]")),
            )
        case 2:
            return npy(np.full((4, 3), rng.choice(NUMBERS), "f8"))
        case 3:
            return bomb(rng.choice((2**16, 2**22, 2**25)))
        case 4:
            file = io.BytesIO()
            np.save(file, np.array([MaliciousPickle()], object), allow_pickle=True)
            return file.getvalue()
        case 5:
            return pickle.dumps(MaliciousPickle())
        case 6:
            return npy(
                rng.choice(
                    (
                        np.array("[" * 5000),
                        np.array('{"schema": 1e999}'),
                        np.array("\x1b[31m\n"),
                        np.ones((), "f4"),
                    )
                )
            )
    return npy(plain)


def change_member(data, rng, seeds):
    """Return an archive with one of its files changed."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = [(info.filename, archive.read(info)) for info in archive.infolist()]
    except Exception:
        files = []
    if not files:
        return data
    at = rng.randrange(len(files))
    name, content = files[at]
    match rng.randrange(7):
        case 0 | 1:
            files[at] = name, apply_damage(BLIND, content, rng, [c for _, c in files])
        case 2:
            files[at] = (
                name,
                odd_array(rng) if name.endswith(".npy") else pickle.dumps(MaliciousPickle()),
            )
        case 3:
            del files[at]
        case 4:
            files.append(
                (rng.choice((name, "../../x.npy", "\x1b[31m.npy", "a/b/", "x" * 3000)), content)
            )
        case 5:
            files[at] = rng.choice(files)[0], content
        case 6:
            files[at] = name, apply_damage(TEXT, content, rng, [c for _, c in files])
    out = io.BytesIO()
    with zipfile.ZipFile(
        out, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    ) as archive:
        archive.filelist  # noqa: B018
        for name, content in files:
            info = zipfile.ZipInfo(name)
            info.compress_type = archive.compression
            archive.NameToInfo.pop(info.filename, None)  # avoids the warning of a duplicate name
            archive.writestr(info, content)
    return out.getvalue()


ARCHIVE = (*BLIND, *(change_member,) * len(BLIND))


# ---- inside structured text


def change_json(data, rng, seeds):
    """Return JSON with something else in one place."""
    try:
        root = json.loads(data)
    except (ValueError, RecursionError):
        return data
    node, places = root, []
    while isinstance(node, (dict, list)) and node:
        key = rng.choice(list(node) if isinstance(node, dict) else range(len(node)))
        places.append((node, key))
        node = node[key]
    if not places:
        return data
    holder, key = rng.choice(places)
    odd = (
        None,
        True,
        -1,
        2**70,
        1e308,
        float("nan"),
        "",
        "x" * 300,
        "\x1b[31m\ud800",
        [],
        {},
        [[[]]],
        {"shape": [2**40], "values": []},
        root,
    )
    new = rng.choice(odd)
    if new is root or rng.random() < 0.2:
        new = json.loads(json.dumps(holder[key]))
        new = [new] if rng.random() < 0.5 else {"x": new}
    holder[key] = new
    if rng.random() < 0.2 and isinstance(holder, dict):
        del holder[key]
    return json.dumps(root).encode()


def change_header(data, rng, seeds):
    """Return safetensors with a changed header of consistent length."""
    length = struct.unpack("<Q", data[:8])[0] if len(data) > 8 else 0
    text = data[8 : 8 + length]
    new = (
        change_json(text, rng, seeds)
        if rng.random() < 0.7
        else apply_damage(TEXT, text, rng, [text])
        if text
        else text
    )
    return struct.pack("<Q", len(new)) + new + data[8 + length :]


JSON = (*TEXT, *(change_json,) * len(TEXT))
SAFETENSORS = (*BLIND, *(change_header,) * len(BLIND))
