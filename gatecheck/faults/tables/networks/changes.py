"""Changes of a network's parameters, states and gradients."""

from __future__ import annotations

from collections.abc import Callable

from gatecheck._util.typing import Array
from gatecheck.faults.wrappers import Call, Wrapper, change_arguments, wrapper


def change_params(change: Callable[[Call], Call]) -> Wrapper:
    """Return the wrapper that reads other parameters."""
    return wrapper(lambda call: call | {"params": change(call["params"])})


def change_states(change: Callable[[Array], Array], *names: str) -> Wrapper:
    """Return the wrapper that reads other states, or other cotangents of states."""
    return wrapper(change_arguments(change, *names))


def take(order: list[int]) -> Callable[[Array], Array]:
    """Return the change that takes the states of other passes."""
    return lambda a: a[order]


def change_final_states(change: Callable[[Array], Array]) -> Wrapper:
    return wrapper(
        on_outputs=lambda call, out: {k: v if k == "y" else change(v) for k, v in out.items()}
    )


def zero(kind: str, where: str) -> Callable[[Call], Call]:
    """Return the change that sets some arrays to zero.

    Their names begin with `kind` and contain `where`.
    """
    return lambda arrays: {
        k: 0 * v if k[0] == kind and where in k else v for k, v in arrays.items()
    }


def zero_gradient(kind: str, where: str) -> Wrapper:
    return wrapper(on_gradients=lambda call, out: zero(kind, where)(out))
