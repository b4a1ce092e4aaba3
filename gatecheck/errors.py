"""Exceptions that a user can meet, the warning, and short texts of them."""

from __future__ import annotations

import signal
import unicodedata
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

__all__ = [
    "ArchiveError",
    "BugError",
    "CaseFileError",
    "ContractError",
    "ConventionError",
    "GatecheckError",
    "GatecheckWarning",
    "InputError",
    "LostNoiseError",
    "MissingExtraError",
    "OutputError",
    "TargetCrashError",
    "TargetError",
    "TargetLostError",
    "TargetTimeoutError",
    "UsageError",
    "WeightsFileError",
    "WorkerLostError",
]


WITHOUT_DOCSTRINGS = (
    "Python was told to strip docstrings, in which the properties state their theorems: run it "
    "without -OO and PYTHONOPTIMIZE=2"
)


class GatecheckError(Exception):
    """Base of all errors that gatecheck raises on purpose."""

    def __init__(self, *arguments: object) -> None:
        # A message may quote a target or a file, and whoever catches it may print it.
        super().__init__(*map(_printable_argument, arguments))


class BugError(GatecheckError, RuntimeError):
    """Failure of gatecheck's own code; the message asks for a report.

    It says nothing about the implementation under audit.
    """


class InputError(GatecheckError, ValueError):
    """Array, parameter or option that is not what the call needs."""


class UsageError(GatecheckError, ValueError):
    """Wrong command or call: an unknown cell, property, convention or option."""


class ConventionError(GatecheckError, ValueError):
    """Parameters that do not fit their convention or cannot be expressed in it."""


class TargetError(GatecheckError, RuntimeError):
    """Target that could not be found, loaded or run."""


class TargetCrashError(TargetError):
    """Target that raised an exception, which is the cause of this one."""


class TargetLostError(TargetCrashError):
    """Target whose process died in a check or could not be started."""


class TargetTimeoutError(TargetLostError):
    """Target that did not answer in time; its process was ended."""


class ContractError(TargetError):
    """Target that returned something that the protocol does not allow.

    It has a wrong shape, dtype or name.
    """


class MissingExtraError(GatecheckError, ImportError):
    """Missing optional package; the message says which extra installs it."""


class ArchiveError(GatecheckError, ValueError):
    """File that is damaged, takes too much, or holds something else than numbers.

    The caller adds which file.
    """


class CaseFileError(GatecheckError, ValueError):
    """Case file that is missing, corrupt or of another schema."""


class WeightsFileError(GatecheckError, ValueError):
    """File of trained weights or of sequences that cannot be read.

    It is missing, corrupt, too large, or holds something else.
    """


class OutputError(GatecheckError, OSError):
    """File or folder that could not be written.

    It does not exist, is not permitted, or the disk is full.
    """


class LostNoiseError(GatecheckError, RuntimeError):
    """Term of a noisy run that lost its rounding noise.

    The budget from it would be too small.
    """


class WorkerLostError(GatecheckError, RuntimeError):
    """Process that died while it computed a part of a sweep.

    It was killed, it ran out of memory, or its cluster is gone.
    """


class Interrupted(KeyboardInterrupt):
    """Signal that asked the command to end, as Ctrl-C does.

    Attributes
    ----------
    number
        Number of the signal.
    """

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(number)
        self.number = int(number)


class GatecheckWarning(RuntimeWarning):
    """Warning of what gatecheck worked around, and what its user can do about it.

    The command line shows it as one line.
    """

    def __init__(self, *arguments: object) -> None:
        super().__init__(*map(_printable_argument, arguments))


def route_warnings(callback: Callable[[str], Any]) -> None:
    """Send gatecheck's warnings to `callback`; others are shown as before."""
    warnings.showwarning = partial(_show_warning, callback, warnings.showwarning)


def _show_warning(
    callback: Callable[[str], Any],
    default: Callable[..., None],
    message: Warning | str,
    category: type[Warning],
    *where: Any,
    **more: Any,
) -> None:
    if issubclass(category, GatecheckWarning):
        callback(str(message))
    else:
        default(message, category, *where, **more)


def first_line(error: Exception) -> str:
    """Return the first line of an exception's message, else the name of its class."""
    return next(
        (line.strip(" ,") for line in str(error).splitlines() if line.strip()), type(error).__name__
    )


def printable(text: str, keep: str = "") -> str:
    """Return a text without characters that act on what shows it.

    These are control characters, such as the start of a terminal's commands, those that reorder or
    hide text, line separators, and what no font has. Names in files and messages of targets may
    hold any.

    Parameters
    ----------
    text
        The text, which may be others'.
    keep
        Characters that stay; :data:`LAYOUT` for a text of several lines.
    """
    bare = text.translate(dict.fromkeys(map(ord, keep))) if keep else text
    if bare.isprintable():
        return text
    text = text.replace("\r\n", "\n")
    return "".join(
        c if c.isprintable() or c in keep or unicodedata.category(c) == "Zs" else "�" for c in text
    )


def printable_data(data: Any) -> Any:
    """Return plain data whose texts and keys are printable."""
    if isinstance(data, str):
        return printable(data, LAYOUT)
    if isinstance(data, Mapping):
        return {printable_data(key): printable_data(value) for key, value in data.items()}
    return [*map(printable_data, data)] if isinstance(data, list | tuple) else data


def _printable_argument(argument: object) -> object:
    return printable(argument, LAYOUT) if isinstance(argument, str) else argument


LAYOUT = "\n\t"
"""Control characters of a text of several lines."""


def shorten(text: str) -> str:
    """Return a message in one line of at most a thousand characters.

    It may quote a file.
    """
    return f"{printable(text[:999])}…" if len(text) > 1000 else printable(text)
