"""Plain data of what a target returns or declares, with every limit on it.

A target may return anything: a subclass of ndarray that says it equals everything, a dict that
grows while it is read, a text of a gigabyte. What leaves here are arrays of NumPy's own class and
numbers, tuples, lists, dicts and :class:`Opaque` descriptions of all else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.errors import LAYOUT, ContractError, printable

MAX_TEXT = 1000
"""Number of characters that are kept of a text."""

MAX_NAME = 200
"""Number of characters that are kept of a name."""

MAX_ITEMS = 10_000
"""Largest number of items in a container."""

MAX_DEPTH = 8
"""Largest depth of containers in containers."""

MAX_BYTES = 2**31
"""Largest size of all arrays that one call returns, in bytes."""

KINDS = "biufc"
"""Kinds of dtypes whose entries are numbers."""


class Opaque(NamedTuple):
    """Description of a value that is not plain data."""

    description: str

    def __repr__(self) -> str:
        return self.description


class UnreadArray(NamedTuple):
    """Shape and dtype of an array that is too large to read, or holds no numbers."""

    shape: tuple[int, ...]
    dtype: str


def class_name(kind: type) -> str:
    """Return the name of a class, whatever the class says of itself."""
    return printable(type.__dict__["__name__"].__get__(kind))[:MAX_NAME]


def type_name(value: Any) -> str:
    """Return the name of a value's class; see :func:`class_name`."""
    return class_name(type(value))


def safe_text(value: Any) -> str:
    """Return ``str(value)``, cut and printable, even where that raises."""
    try:
        text = str(value)
    except Exception:
        return f"a {type_name(value)} without a text"
    cut = printable(text[:MAX_TEXT], LAYOUT)
    return cut + "…" if len(text) > MAX_TEXT else cut


class _Reader:
    """Reader of one value, which counts what it reads."""

    def __init__(self, array_likes: bool) -> None:
        self.array_likes, self.n_items, self.n_bytes = array_likes, 0, 0

    def array(self, value: Array) -> Array | UnreadArray:
        # A view of the base class has NumPy's own methods and attributes.
        base = np.ndarray.view(value, np.ndarray)
        self.n_bytes += base.nbytes
        if base.dtype.kind not in KINDS or self.n_bytes > MAX_BYTES:
            return UnreadArray(base.shape, printable(str(base.dtype))[:MAX_NAME])
        # A copy, since the target's next call may overwrite its buffer.
        return np.array(base, order="C")

    def read(self, value: Any, depth: int = 0) -> Any:
        kind = type(value)
        self.n_items += 1
        if self.n_items > MAX_ITEMS:
            raise ContractError(f"it holds more than {MAX_ITEMS:,} items")
        if value is None or kind in (bool, float):
            return value
        if issubclass(kind, np.ndarray):
            return self.array(value)
        if issubclass(kind, np.integer | np.bool_):
            return self.read(value.item(), depth)
        if issubclass(kind, np.generic):
            return self.array(np.asarray(value))
        if kind is int:
            return value if value.bit_length() < 64 else Opaque("an integer of more than 64 bits")
        if issubclass(kind, str):
            return safe_text(value)
        if depth < MAX_DEPTH and issubclass(kind, tuple | list):
            items = [self.read(item, depth + 1) for item in value]
            return items if issubclass(kind, list) else tuple(items)
        if depth < MAX_DEPTH and issubclass(kind, Mapping):
            return {self.read_key(key): self.read(item, depth + 1) for key, item in value.items()}
        if self.array_likes and hasattr(kind, "__array__"):
            return self.array(np.asarray(value))
        return Opaque(f"a {type_name(value)}")

    def read_key(self, key: Any) -> str:
        return (printable(key) if type(key) is str else safe_text(key))[:MAX_NAME]


def to_plain(value: Any, *, array_likes: bool = False) -> Any:
    """Return a value as plain data.

    Parameters
    ----------
    value
        Anything.
    array_likes
        True if objects that NumPy can convert, such as a tensor, are taken as arrays.

    Raises
    ------
    ContractError
        If it holds more than :data:`MAX_ITEMS` items, or cannot be read.
    """
    try:
        return _Reader(array_likes).read(value)
    except ContractError:
        raise
    except Exception as error:
        raise ContractError(
            f"a {type_name(value)} that cannot be read: {type_name(error)}: {safe_text(error)}"
        ) from error


def describe_value(value: Any) -> str:
    """Describe plain data of a wrong type in two or three words."""
    if isinstance(value, Opaque):
        return value.description
    if isinstance(value, UnreadArray):
        return f"an array of {value.dtype} of shape {value.shape}"
    if type(value) in (tuple, list):
        return f"a {type(value).__name__} of {len(value)} items"
    return f"a {type(value).__name__}"


def validated_array(name: str, value: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return an array that a target returned, if it is as it should be.

    Raises
    ------
    ContractError
        If it is not an array, or has another shape or dtype.
    """
    if not isinstance(value, np.ndarray | UnreadArray):
        raise ContractError(
            f"{name} is {describe_value(value)}, but should be a NumPy array of shape {shape}"
        )
    if value.shape != shape:
        raise ContractError(f"{name} has shape {value.shape}, but should have shape {shape}")
    if value.dtype != dtype:
        raise ContractError(
            f"{name} has dtype {value.dtype}, but should have dtype {dtype}, like x"
        )
    if isinstance(value, UnreadArray):
        raise ContractError(f"{name} is larger than what is read of one call, {MAX_BYTES:,} bytes")
    return value
