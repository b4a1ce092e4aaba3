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


class ArgumentKind(NamedTuple):
    """Kind of argument: its description in words, and a test for it."""

    description: str
    accepts: Callable[[Any], bool]


def describe_argument(value: Any) -> str:
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


def _is_whole(value: Any, least: int) -> bool:
    return (
        isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= least)
    )


def _is_finite(value: Any) -> bool:
    try:
        return (
            isinstance(value, int | float | np.integer | np.floating)
            and not isinstance(value, bool)
            and math.isfinite(value)
        )
    except OverflowError:
        return False


def _is_path(value: Any) -> bool:
    try:
        return isinstance(value, str | os.PathLike) and b"\0" not in os.fsencode(value)
    except (TypeError, ValueError):
        return False


def _is_iterable(value: Any) -> bool:
    try:
        iter(value)
    except Exception:
        return False
    return isinstance(value, Iterable) and not isinstance(value, str | bytes)


FLAG = ArgumentKind("True or False", lambda value: isinstance(value, bool | np.bool_))
SEED = ArgumentKind("a whole number of at least 0", lambda value: _is_whole(value, 0))
COUNT = ArgumentKind("a whole number of at least 1", lambda value: _is_whole(value, 1))


def count_up_to(most: int) -> ArgumentKind:
    """Return the kind of whole numbers from 1 to `most`."""
    return ArgumentKind(
        f"a whole number from 1 to {most}", lambda v: _is_whole(v, 1) and bool(v <= most)
    )


NUMBER = ArgumentKind("a finite number", _is_finite)
POSITIVE = ArgumentKind("a positive number", lambda value: _is_finite(value) and value > 0)
TEXT = ArgumentKind("a text", lambda value: isinstance(value, str))
PATH = ArgumentKind("the path of a file", _is_path)
FUNCTION = ArgumentKind("a function", callable)
LIST = ArgumentKind("a list", _is_iterable)
MAPPING = ArgumentKind(
    "a mapping from names",
    lambda value: isinstance(value, Mapping) and all(isinstance(name, str) for name in value),
)


def one_of(*values: Any) -> ArgumentKind:
    """Return the kind of argument that is one of these texts, numbers, or None."""
    words = [repr(value) for value in values]
    called = " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
    return ArgumentKind(
        called, lambda value: any(type(value) is type(one) and value == one for one in values)
    )


def optional(kind: ArgumentKind) -> ArgumentKind:
    """Return the kind of argument that is None or of this kind."""
    return ArgumentKind(
        f"{kind.description}, or None", lambda value: value is None or kind.accepts(value)
    )


def require_kinds(values: Mapping[str, Any], **kinds: ArgumentKind) -> None:
    """Raise unless the values, by name, are of these kinds.

    Raises
    ------
    UsageError
        If one is of another kind; names the first, what it is and what it should be.
    """
    for name, kind in kinds.items():
        if not kind.accepts(values[name]):
            raise UsageError(
                f"{name} is {describe_argument(values[name])}, but should be {kind.description}"
            )


def validate_args(**kinds: ArgumentKind) -> Callable[[F], F]:
    """Return a decorator that validates these arguments, if they are given.

    Errors are those of :func:`require_kinds`.
    """

    def decorate(function: F) -> F:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def call(*arguments: Any, **keywords: Any) -> Any:
            bound = signature.bind(*arguments, **keywords).arguments
            require_kinds(bound, **{name: kind for name, kind in kinds.items() if name in bound})
            return function(*arguments, **keywords)

        return call  # type: ignore[return-value]

    return decorate


@contextmanager
def error_context(name: str) -> Iterator[None]:
    """Prefix gatecheck's errors in this context with the name of an argument."""
    try:
        yield
    except GatecheckError as error:
        raise type(error)(f"{name}: {error}") from error
