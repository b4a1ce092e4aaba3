"""Wrappers that damage the calls and results of a correct implementation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gatecheck._util.typing import Array

Call = dict[str, Any]
"""Arguments of one call by name.

They are params, x, h0, c0, in a backward dy, dhT, dcT, and lengths where there are any.
"""

CallHook = Callable[[Call], Call]
ResultHook = Callable[[Call, dict[str, Any]], dict[str, Any]]
Wrapper = Callable[[Any], Any]
WrapperRow = tuple[str, str, Wrapper] | tuple[str, str, Wrapper, str]


class FaultyWrapper:
    """Implementation with faulty hooks around its calls.

    Parameters
    ----------
    inner
        A correct implementation with canonical arrays.
    on_call
        Hook for the arguments of every call.
    on_outputs, on_gradients
        Hooks for the results of forward (``y``, ``hT``, ``cT`` by name) and of backward.
    """

    convention = "canonical"

    def __init__(
        self,
        inner: Any,
        on_call: CallHook | None = None,
        on_outputs: ResultHook | None = None,
        on_gradients: ResultHook | None = None,
    ) -> None:
        self.cell, self._inner = inner.cell, inner
        self._on_call, self._on_outputs, self._on_gradients = on_call, on_outputs, on_gradients

    def _arguments(self, lengths: Array | None, **call: Any) -> Call:
        call |= {} if lengths is None else {"lengths": lengths}
        return self._on_call(call) if self._on_call else call

    def forward(
        self,
        params: dict[str, Array],
        x: Array,
        h0: Array | None,
        c0: Array | None = None,
        lengths: Array | None = None,
    ) -> tuple[Array, ...]:
        """Return the outputs, as in the protocol, with the fault."""
        call = self._arguments(lengths, params=params, x=x, h0=h0, c0=c0)
        out = dict(zip(("y", "hT", "cT"), self._inner.forward(**call), strict=False))
        return tuple((self._on_outputs(call, out) if self._on_outputs else out).values())

    def backward(
        self,
        params: dict[str, Array],
        x: Array,
        h0: Array | None,
        c0: Array | None,
        dy: Array | None,
        dhT: Array | None,
        dcT: Array | None,
        lengths: Array | None = None,
    ) -> dict[str, Any]:
        """Return the gradients, as in the protocol, with the fault."""
        call = self._arguments(lengths, params=params, x=x, h0=h0, c0=c0, dy=dy, dhT=dhT, dcT=dcT)
        out = self._inner.backward(**call)
        return self._on_gradients(call, out) if self._on_gradients else out


def wrapper(
    on_call: CallHook | None = None,
    on_outputs: ResultHook | None = None,
    on_gradients: ResultHook | None = None,
) -> Wrapper:
    """Return the wrapper with these hooks, which keep nothing between calls."""
    return lambda inner: FaultyWrapper(inner, on_call, on_outputs, on_gradients)


def result_wrapper(change: ResultHook) -> Wrapper:
    """Return the wrapper with one hook for the results of both passes."""
    return wrapper(None, change, change)


def change_result(name: str, change: Callable[[Any], Any]) -> ResultHook:
    """Return the hook that changes one result."""
    return lambda call, out: out | {name: change(out[name])}


def change_results(change: Callable[[Any], Any], *names: str) -> ResultHook:
    """Return the hook that changes these results, or all of them."""
    return lambda call, out: {
        k: change(v) if not names or k in names else v for k, v in out.items()
    }


def change_arguments(change: Callable[[Any], Any], *names: str) -> CallHook:
    """Return the hook that changes these arguments where they are given.

    ``params`` stands for each of the parameters.
    """

    def given(call: Call) -> Call:
        new = {
            k: change(v) if k in names and v is not None else v
            for k, v in call.items()
            if k != "params"
        }
        return {
            "params": {k: change(v) for k, v in call["params"].items()}
            if "params" in names
            else call["params"]
        } | new

    return given


def replace_absent(name: str, instead: Callable[[Call], Any]) -> CallHook:
    """Return the hook that puts something else where an argument is absent."""
    return lambda call: (
        call | {name: instead(call)} if name in call and call[name] is None else call
    )


def crash(message: str, when: Callable[[Call], bool]) -> Wrapper:
    def given(call: Call) -> Call:
        if when(call):
            raise ValueError(message)
        return call

    return wrapper(given)
