"""Arguments of public calls, held to what they should be before anything is done with them."""

from __future__ import annotations

import functools
import inspect
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import numpy as np

from gatecheck.errors import GatecheckError, UsageError

F = TypeVar("F", bound=Callable[..., Any])


class Kind(NamedTuple):
    """What an argument should be: in words, and as a test."""

    called: str
    fits: Callable[[Any], bool]


def shown(value: Any) -> str:
    """What an argument is, for a message: itself where it is short and plain, and else its type."""
    if isinstance(value, np.ndarray):
        return f"a {value.dtype} array of shape {value.shape}"
    if value is None or isinstance(value, str | int | float | list | tuple | dict):
        try:
            spelled = repr(value)
        except Exception:  # of an int of many digits, of what is nested deeply, of an object's own
            return f"a {type(value).__name__}"
        return spelled if len(spelled) <= 60 else f"{spelled[:57]}…"
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"


def _whole(value: Any, least: int) -> bool:
    return (
        isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= least)
    )


def _finite(value: Any) -> bool:
    try:
        return (
            isinstance(value, int | float | np.integer | np.floating)
            and not isinstance(value, bool)
            and math.isfinite(value)
        )
    except OverflowError:
        return False


def _path(value: Any) -> bool:
    try:
        return isinstance(value, str | os.PathLike) and b"\0" not in os.fsencode(value)
    except (TypeError, ValueError):
        return False


def _list(value: Any) -> bool:
    try:
        iter(value)
    except Exception:
        return False
    return isinstance(value, Iterable) and not isinstance(value, str | bytes)


FLAG = Kind("True or False", lambda value: isinstance(value, bool | np.bool_))
SEED = Kind("a whole number of at least 0", lambda value: _whole(value, 0))
COUNT = Kind("a whole number of at least 1", lambda value: _whole(value, 1))
NUMBER = Kind("a finite number", _finite)
POSITIVE = Kind("a positive number", lambda value: _finite(value) and value > 0)
TEXT = Kind("a text", lambda value: isinstance(value, str))
PATH = Kind("the path of a file", _path)
FUNCTION = Kind("a function", callable)
LIST = Kind("a list", _list)
MAPPING = Kind(
    "a mapping from names",
    lambda value: isinstance(value, Mapping) and all(isinstance(name, str) for name in value),
)


def among(*values: Any) -> Kind:
    """One of these texts, numbers, or None."""
    words = [repr(value) for value in values]
    called = " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
    return Kind(
        called, lambda value: any(type(value) is type(one) and value == one for one in values)
    )


def perhaps(kind: Kind) -> Kind:
    """None, or this."""
    return Kind(f"{kind.called}, or None", lambda value: value is None or kind.fits(value))


def require(values: Mapping[str, Any], **kinds: Kind) -> None:
    """Hold values to their kinds, by name.

    Raises
    ------
    UsageError
        Naming the first that is something else, what it is and what it should be.
    """
    for name, kind in kinds.items():
        if not kind.fits(values[name]):
            raise UsageError(f"{name} is {shown(values[name])}, but should be {kind.called}")


def checked(**kinds: Kind) -> Callable[[F], F]:
    """Decorator for a function of which these arguments, where they are given, should be of these
    kinds; errors as of :func:`require`.
    """

    def decorate(function: F) -> F:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def call(*arguments: Any, **more: Any) -> Any:
            given = signature.bind(*arguments, **more).arguments
            require(given, **{name: kind for name, kind in kinds.items() if name in given})
            return function(*arguments, **more)

        return call  # type: ignore[return-value]

    return decorate


@contextmanager
def naming(name: str) -> Iterator[None]:
    """What is wrong in here is wrong with the argument of that name."""
    try:
        yield
    except GatecheckError as error:
        raise type(error)(f"{name}: {error}") from error
