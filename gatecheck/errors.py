"""Every exception that a user can meet."""

from __future__ import annotations

import warnings
from collections.abc import Callable
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


class GatecheckError(Exception):
    """Base of all errors that gatecheck raises on purpose."""


class BugError(GatecheckError, RuntimeError):
    """Code of gatecheck itself failed, which says nothing about what was under audit; the message
    asks for a report.
    """


class InputError(GatecheckError, ValueError):
    """An array, a parameter or an option is not what the call needs."""


class UsageError(GatecheckError, ValueError):
    """A command or a call was spelled wrongly: an unknown cell, property, convention or option."""


class ConventionError(GatecheckError, ValueError):
    """Parameters do not fit the convention that was declared, or cannot be expressed in it."""


class TargetError(GatecheckError, RuntimeError):
    """The implementation under audit could not be found, loaded or run."""


class TargetCrashError(TargetError):
    """The implementation under audit raised an exception, which is the cause of this one."""


class TargetLostError(TargetCrashError):
    """The process in which the implementation under audit ran is no more: it ended in the middle of
    a check, or could not be started.
    """


class TargetTimeoutError(TargetLostError):
    """The implementation under audit did not answer in time, and the process in which it ran was
    ended.
    """


class ContractError(TargetError):
    """The implementation under audit returned something that the protocol does not allow: a wrong
    shape, dtype or name.
    """


class MissingExtraError(GatecheckError, ImportError):
    """An optional package is needed; the message says which extra installs it."""


class ArchiveError(GatecheckError, ValueError):
    """A file of NumPy's is damaged, larger than it may be, or holds something else than numbers;
    whoever reads it says which file.
    """


class CaseFileError(GatecheckError, ValueError):
    """A file that should hold a case is missing, corrupt or of another schema."""


class WeightsFileError(GatecheckError, ValueError):
    """A file of trained weights or of sequences is missing, corrupt, too large, or holds something
    else.
    """


class OutputError(GatecheckError, OSError):
    """A file or a folder could not be written: it is not there, not permitted, or the disk is full."""


class LostNoiseError(GatecheckError, RuntimeError):
    """A term of a noisy run lost its rounding noise: the budget from it would be too small."""


class WorkerLostError(GatecheckError, RuntimeError):
    """A process that computed a part of a sweep is no more: it was killed, it ran out of memory, or
    its cluster is gone.
    """


class GatecheckWarning(RuntimeWarning):
    """What gatecheck worked around, and what its user can do about it; the command line shows it as
    one line.
    """


def hear(say: Callable[[str], Any]) -> None:
    """From now on have `say` told what a warning of ours says; others are shown as before."""
    warnings.showwarning = partial(_heard, say, warnings.showwarning)


def _heard(
    say: Callable[[str], Any],
    otherwise: Callable[..., None],
    message: Warning | str,
    category: type[Warning],
    *where: Any,
    **more: Any,
) -> None:
    if issubclass(category, GatecheckWarning):
        say(str(message))
    else:
        otherwise(message, category, *where, **more)


def first_line(error: Exception) -> str:
    """What an exception says in its first line, or its class where it says nothing."""
    return next(
        (line.strip(" ,") for line in str(error).splitlines() if line.strip()), type(error).__name__
    )


def printable(text: str) -> str:
    """A text in one line without control characters: names in a file may hold any."""
    return "".join(c if c.isprintable() else "�" for c in text)


def in_brief(text: str) -> str:
    """A message that may repeat what a file says: in one line, and of no more than a thousand
    characters.
    """
    return f"{printable(text[:999])}…" if len(text) > 1000 else printable(text)
