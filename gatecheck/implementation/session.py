"""Sessions: calls of a target, here or in another process, and what they return.

All questions to a target are calls, and all answers plain data with the facts that only the process
of the target can see. Exact values, budgets and properties are computed by the caller of a session.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from gatecheck import errors
from gatecheck._util.typing import Array
from gatecheck.errors import ContractError, TargetError
from gatecheck.implementation.environment import check_environment
from gatecheck.implementation.plain import safe_text, to_plain, type_name

ERRORS: dict[str, type[errors.GatecheckError]] = {
    name: kind
    for name in errors.__all__
    if issubclass(kind := getattr(errors, name), errors.GatecheckError)
}
"""Errors of ours by name: those that a failure can stand for."""


class Seed(NamedTuple):
    """Argument that stands for NumPy's default generator from this seed."""

    number: int


@dataclass(frozen=True)
class Call:
    """One call of a method of a target.

    Attributes
    ----------
    method
        Name of the method, perhaps of an attribute: ``"activations.tanh"``.
    arguments
        Positional arguments by name: arrays, dicts of arrays, a :class:`Seed`, None.
    keywords
        Further arguments, which are passed by name.
    strided
        True if the arrays are not contiguous.
    array_likes
        See :func:`gatecheck.implementation.plain.to_plain`.
    """

    method: str
    arguments: Mapping[str, Any]
    keywords: Mapping[str, Any] = field(default_factory=dict)
    strided: bool = False
    array_likes: bool = False


class Failure(NamedTuple):
    """An exception as data.

    Attributes
    ----------
    kind
        Name of the error of ours that it is.
    message
        Its message.
    cause
        The exception itself, in the process in which it was raised.
    """

    kind: str
    message: str
    cause: BaseException | None = None

    def to_exception(self) -> Exception:
        """Return the exception."""
        error = ERRORS[self.kind](self.message)
        error.__cause__ = self.cause
        return error


@dataclass(frozen=True)
class Answer:
    """Answer to one call.

    Attributes
    ----------
    value
        Plain data of what was returned.
    failure
        The exception, if one was raised.
    changed
        Arguments that the call changed; only if it was watched, as the next two.
    shares_memory
        True if a returned array shares memory with an argument.
    overwritten
        True if a later call of the plan wrote into a returned array.
    """

    value: Any = None
    failure: Failure | None = None
    changed: tuple[str, ...] = ()
    shares_memory: bool = False
    overwritten: bool = False

    def result(self) -> Any:
        """Return the value, or raise the failure."""
        if self.failure is not None:
            raise self.failure.to_exception()
        return self.value


class Session(Protocol):
    """Process in which a target is called: this one, or one of its own."""

    def run(self, plan: Sequence[Call], *, watch: bool = False) -> list[Answer]:
        """Return the answer to each call of a plan, made one after the other.

        Parameters
        ----------
        plan
            The calls.
        watch
            True to look for changed arguments, shared memory and overwritten results.

        Raises
        ------
        TargetLostError
            If the process of the target was lost.
        """
        ...

    def notes(self) -> list[str]:
        """Return sentences on the calls so far that are not findings."""
        ...


class InProcess:
    """Session in this process, for our own cells and for objects that a caller holds.

    Attributes
    ----------
    target
        The implementation.
    """

    def __init__(self, target: Any) -> None:
        self.target = target

    def run(self, plan: Sequence[Call], *, watch: bool = False) -> list[Answer]:
        """Return the answer to each call; see :class:`Session`.

        Raises
        ------
        TargetError
            If a call changed what exact values are computed with in this process.
        """
        answers = list(perform(self.target, plan, watch=watch))
        check_environment(plan[-1].method if plan else "")
        return answers

    def notes(self) -> list[str]:
        """Return nothing: what it prints here is shown."""
        return []


CAUGHT = (Exception, SystemExit)
"""Exceptions of a target that do not end the process in which it is called."""

Exceptions = type[BaseException] | tuple[type[BaseException], ...]


def perform(
    target: Any, plan: Sequence[Call], *, watch: bool = False, caught: Exceptions = CAUGHT
) -> Iterator[Answer]:
    """Call a target; yield the answers one by one, or together if watched."""
    if not watch:
        for call in plan:
            returned, failure = _call(target, call, _arguments(call), caught)
            yield _answer(call, returned, failure)
        return
    watched = [_Watched(target, call, caught) for call in plan]
    for each in watched:
        yield each.answer()


def _arguments(call: Call) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments as the target takes them."""

    def made(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: made(v) for k, v in value.items()}
        if isinstance(value, Seed):
            return np.random.default_rng(value.number)
        return as_strided(value) if call.strided and isinstance(value, np.ndarray) else value

    if not call.strided and call.method != "example":
        return list(call.arguments.values()), dict(call.keywords)
    return [made(v) for v in call.arguments.values()], {
        k: made(v) for k, v in call.keywords.items()
    }


def as_strided(a: Array) -> Array:
    """Return the same values in a strided view of a larger array in Fortran order.

    They are every second entry along each axis.
    """
    wide = np.full(tuple(2 * n for n in reversed(a.shape)), np.nan, a.dtype).T
    view = wide[(slice(None, None, 2),) * a.ndim]
    view[...] = a
    return view


def _call(
    target: Any, call: Call, arguments: tuple[list[Any], dict[str, Any]], caught: Exceptions
) -> tuple[Any, Failure | None]:
    """Return what the target returned, and the failure if it raised an exception."""
    positional, keywords = arguments
    try:
        attribute, _, key = call.method.partition(".")
        function = getattr(target, attribute)
        function = function[key] if key else function
        with np.errstate():  # what a target sets here does not reach its caller
            return function(*positional, **keywords), None
    except caught as error:
        return None, to_failure(call.method, error)


def error_kind(error: errors.GatecheckError) -> str:
    """Return the name of the nearest class of ours.

    Others exist only where the target does.
    """
    return next(k.__name__ for k in type(error).__mro__ if ERRORS.get(k.__name__) is k)


def to_failure(what: str, error: BaseException) -> Failure:
    """Return an exception that `what` raised as data.

    One of ours keeps its class, since an adapter raised it; any other is a TargetCrashError.
    """
    if isinstance(error, TargetError):
        kind = error_kind(error)
        crashed = kind == "TargetError" and error.__cause__ is not None
        return Failure("TargetCrashError" if crashed else kind, safe_text(error), error.__cause__)
    text = f"{type_name(error)}: {safe_text(error)}".rstrip(": ")
    return Failure("TargetCrashError", f"{what} raised {text}{_place(error)}", error)


def _place(error: BaseException) -> str:
    """Return the innermost line outside of gatecheck and installed packages."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = str(Path(errors.__file__).parent)
    own = [f for f in frames if not f.filename.startswith((ours, "<"))]
    users = [f for f in own if "site-packages" not in f.filename] or own
    return f" ({Path(users[-1].filename).name}, line {users[-1].lineno})" if users else ""


def _answer(call: Call, returned: Any, failure: Failure | None, **facts: Any) -> Answer:
    try:
        value = to_plain(returned, array_likes=call.array_likes)
    except ContractError as error:
        failure = Failure("ContractError", f"{call.method} returned {error}")
        value = None
    return Answer(value, failure, **facts)


class _Watched:
    """One call with its arguments and its result, before and after."""

    def __init__(self, target: Any, call: Call, caught: Exceptions) -> None:
        self.call = call
        positional, keywords = _arguments(call)
        self.arguments = dict(zip(call.arguments, positional, strict=True)) | keywords
        before = _bytes_by_name(self.arguments)
        returned, failure = _call(target, call, (positional, keywords), caught)
        after = _bytes_by_name(self.arguments)
        self.changed = tuple(k for k, v in before.items() if after.get(k) != v)
        self.changed += ("params",) * (list(after) != list(before))
        self.results = _arrays_of(returned)
        self.result_bytes = [a.tobytes() for a in self.results]
        self.early = _answer(call, returned, failure)

    def answer(self) -> Answer:
        """Return the answer, with what later calls did to its arrays."""
        given = [a for value in self.arguments.values() for a in _arrays_of(value)]
        return Answer(
            self.early.value,
            self.early.failure,
            self.changed,
            any(np.shares_memory(r, a) for r in self.results for a in given),
            any(
                a.tobytes() != kept for a, kept in zip(self.results, self.result_bytes, strict=True)
            ),
        )


def _bytes_by_name(arguments: Mapping[str, Any]) -> dict[str, bytes]:
    # Bytes, since comparisons of numbers would find a flushed subnormal number equal to zero.
    out: dict[str, bytes] = {}
    for name, value in arguments.items():
        if isinstance(value, dict):
            out |= _bytes_by_name(value)
        elif isinstance(value, np.ndarray):
            out[str(name)] = f"{value.shape}{value.dtype}".encode() + value.tobytes()
    return out


def _arrays_of(value: Any) -> list[Array]:
    """Return the arrays that a value is or holds."""
    if isinstance(value, Mapping):
        value = list(value.values())
    values = value if isinstance(value, tuple | list) else [value]
    return [np.ndarray.view(v, np.ndarray) for v in values if isinstance(v, np.ndarray)]
