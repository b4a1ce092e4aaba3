"""Validation of the arguments of public calls."""

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
    """Kind of argument: its description in words, and a test for it."""

    called: str
    fits: Callable[[Any], bool]


def shown(value: Any) -> str:
    """Return an argument's repr if it is short and plain, else its type."""
    if isinstance(value, np.ndarray):
        return f"a {value.dtype} array of shape {value.shape}"
    if value is None or isinstance(value, str | int | float | list | tuple | dict):
        try:
            text = repr(value)
        except Exception:  # too many digits, deep nesting, or an object's own __repr__
            return f"a {type(value).__name__}"
        return text if len(text) <= 60 else f"{text[:57]}…"
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
    """Return the kind of argument that is one of these texts, numbers, or None."""
    words = [repr(value) for value in values]
    called = " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
    return Kind(
        called, lambda value: any(type(value) is type(one) and value == one for one in values)
    )


def perhaps(kind: Kind) -> Kind:
    """Return the kind of argument that is None or of this kind."""
    return Kind(f"{kind.called}, or None", lambda value: value is None or kind.fits(value))


def require(values: Mapping[str, Any], **kinds: Kind) -> None:
    """Raise unless the values, by name, are of these kinds.

    Raises
    ------
    UsageError
        If one is of another kind; names the first, what it is and what it should be.
    """
    for name, kind in kinds.items():
        if not kind.fits(values[name]):
            raise UsageError(f"{name} is {shown(values[name])}, but should be {kind.called}")


def checked(**kinds: Kind) -> Callable[[F], F]:
    """Return a decorator that validates these arguments, if they are given.

    Errors are those of :func:`require`.
    """

    def decorate(function: F) -> F:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def call(*arguments: Any, **keywords: Any) -> Any:
            bound = signature.bind(*arguments, **keywords).arguments
            require(bound, **{name: kind for name, kind in kinds.items() if name in bound})
            return function(*arguments, **keywords)

        return call  # type: ignore[return-value]

    return decorate


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Prefix gatecheck's errors in this context with the name of an argument."""
    try:
        yield
    except GatecheckError as error:
        raise type(error)(f"{name}: {error}") from error
