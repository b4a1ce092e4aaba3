"""Check of what unpickling would take, from the operations of a pickle.

That only tensors are unpickled does not bound this: some operations make an object of any size, and
Python hashes a tuple that holds itself twice, many times over, for longer than anybody waits.
"""

from __future__ import annotations

import pickletools
from typing import IO, Any

from gatecheck._util.plain_files import Allowance
from gatecheck.errors import ArchiveError

REFUSED = {"builtins bytearray", "__builtin__ bytearray"}
"""Functions that make an object of a size that is a number in the file."""

MAX_BITS = 64
"""Size of a whole number: larger ones can be keys that all have one hash."""

MAGIC = 0x1950A86A20F9469CFC6C
"""First number of a checkpoint that is no archive (torch/serialization.py)."""

_MARK = pickletools.markobject


def check_pickle(file: IO[bytes], allowance: Allowance) -> None:
    """Check a pickle, up to its end.

    Parameters
    ----------
    file
        Open at its beginning.
    allowance
        What the file may take: a step for each operation, and for each object and character in a
        tuple that is made or used.

    Raises
    ------
    ArchiveError
        If it takes more, or refers to one of :data:`REFUSED`. pickletools raises a ValueError for
        what is no pickle.
    """
    # By object, what it unfolds to, and whether it is a tuple.
    stack: list[tuple[int, bool]] = []
    marks: list[int] = []
    memo: dict[Any, tuple[int, bool]] = {}
    for operation, argument, _ in pickletools.genops(file):
        allowance.spend("its pickle", 1, "steps")
        name, before = operation.name, operation.stack_before
        if name in ("GLOBAL", "INST") and argument in REFUSED:
            raise ArchiveError(
                f"it calls {argument.split()[-1]}, which makes an object of any size"
            )
        if type(argument) is int and argument.bit_length() > MAX_BITS and argument != MAGIC:
            raise ArchiveError(f"it holds a number of {argument.bit_length():,} bits")
        if name == "MARK":
            marks.append(len(stack))
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if argument is None else argument] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            size, is_tuple = memo[argument]
            if is_tuple:
                allowance.spend("a tuple", size, "steps")
            stack.append(memo[argument])
        else:
            start = len(stack) - len(before)
            if _MARK in before:
                start = marks.pop() - before.index(_MARK)
            if start < 0:
                raise ArchiveError("its pickle takes more than it has")
            size = 1 + sum(part for part, _ in stack[start:])
            size += len(argument) if isinstance(argument, str | bytes) else 0
            size = min(size, 2**MAX_BITS)
            is_tuple = "TUPLE" in name
            if is_tuple:
                allowance.spend("a tuple", size, "steps")
            del stack[start:]
            stack += [(size, is_tuple)] * len(operation.stack_after)
