"""Faults of two directions: wrong halves, weights and states."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.faults.tables.networks.changes import (
    change_final_states,
    change_params,
    change_states,
    take,
    zero_gradient,
)
from gatecheck.faults.wrappers import (
    Call,
    FaultyWrapper,
    ResultHook,
    Wrapper,
    WrapperRow,
    change_arguments,
    change_result,
    wrapper,
)


def _halves(a: Array) -> tuple[Array, Array]:
    """Return the forward and the reverse direction's share of the last axis."""
    P = a.shape[-1] // 2
    return a[..., :P], a[..., P:]


def _join_halves(forward: Array, reverse: Array) -> Array:
    return np.concatenate([forward, reverse], axis=-1)


def _change_sequences(change: Callable[[Array], Array]) -> Wrapper:
    """Return the wrapper that changes y, and dy in the same way.

    The change is its own inverse, so the layer is consistent with itself.
    """
    return wrapper(change_arguments(change, "dy"), change_result("y", change))


def _other_direction(name: str) -> str:
    """Return the name of the same parameter of the other direction."""
    return name.removesuffix(".reverse") if name.endswith(".reverse") else f"{name}.reverse"


def _exchange_directions(params: Call) -> Call:
    """Return the parameters with the directions exchanged.

    In upper layers this leaves W's rows where they are.
    """
    return {k: params[_other_direction(k)] for k in params}


def _add_directions(kind: str) -> ResultHook:
    """Return the hook that adds the gradients of one kind over both directions."""
    return lambda call, out: {
        k: v + out[_other_direction(k)] if k in call["params"] and k[0] == kind else v
        for k, v in out.items()
    }


def _mean_of_halves(a: Array) -> Array:
    forward, reverse = _halves(a)
    return _join_halves((forward + reverse) / 2, (forward + reverse) / 2)


def _share_params(*kinds: str) -> Callable[[Call], Call]:
    """Return the change that gives the reverse direction the other's parameters.

    With `kinds`, only those of some kinds.
    """
    return lambda params: {
        k: params[k.removesuffix(".reverse")]
        if k.endswith(".reverse") and (not kinds or k[0] in kinds)
        else v
        for k, v in params.items()
    }


def _change_reverse_half(name: str, change: Callable[[Array], Array]) -> ResultHook:
    def hook(call: Call, out: dict[str, Any]) -> dict[str, Any]:
        forward, reverse = _halves(out[name])
        return out | {name: _join_halves(forward, change(reverse))}

    return hook


def _one_direction_of_dx(which: int) -> Wrapper:
    """Return the wrapper whose dx is the share of one direction alone.

    That is dx of a call in which the other direction's weights are zero.
    """

    def wrap(inner: Any) -> FaultyWrapper:
        def gradients(call: Call, out: dict[str, Any]) -> dict[str, Any]:
            dropped = {
                k: 0 * v if k.endswith(".reverse") != bool(which) else v
                for k, v in call["params"].items()
            }
            return out | {"x": inner.backward(**call | {"params": dropped})["x"]}

        return FaultyWrapper(inner, on_gradients=gradients)

    return wrap


def _run_reverse_forwards(inner: Any) -> FaultyWrapper:
    """Return the wrapper whose reverse direction runs forwards."""

    def outputs(call: Call, out: dict[str, Any]) -> dict[str, Any]:
        other = inner.forward(
            **call
            | {"params": _exchange_directions(call["params"])}
            | {k: call[k][::-1] for k in ("h0", "c0") if call.get(k) is not None}
        )
        out["y"] = _join_halves(_halves(out["y"])[0], _halves(other[0])[0])
        return out | {
            k: np.stack([out[k][0], v[0]]) for k, v in zip(("hT", "cT"), other[1:], strict=False)
        }

    return FaultyWrapper(inner, on_outputs=outputs)


def bidirectional(cell: Cell) -> Iterator[WrapperRow]:
    """Yield faults of two directions."""
    passes = range(len(cell.param_suffixes))
    swap, twice = take([k ^ 1 for k in passes]), take([k & ~1 for k in passes])
    yield (
        "halves exchanged",
        "The halves of the output are exchanged.",
        _change_sequences(lambda a: _join_halves(*reversed(_halves(a)))),
    )
    yield (
        "reverse half in the order of the run",
        "The reverse half of the output goes from the last step to the first.",
        _change_sequences(lambda a: _join_halves(_halves(a)[0], _halves(a)[1][::-1])),
        "onnx/keras-onnx#523",
    )
    yield (
        "halves interleaved",
        "The two directions' outputs alternate instead of standing side by side.",
        wrapper(
            on_outputs=change_result("y", lambda a: np.stack(_halves(a), axis=-1).reshape(a.shape))
        ),
    )
    yield (
        "halves averaged",
        "Both halves are the mean of the two.",
        wrapper(on_outputs=change_result("y", _mean_of_halves)),
    )
    yield (
        "reverse half zero",
        "The reverse direction is not run.",
        wrapper(on_outputs=_change_reverse_half("y", lambda a: 0 * a)),
    )
    yield (
        "reverse half one step late",
        "The reverse half of the output is shifted by a step.",
        wrapper(on_outputs=_change_reverse_half("y", lambda a: np.concatenate([a[1:], 0 * a[:1]]))),
    )
    if cell.layers == 1:
        yield (
            "reverse direction runs forwards",
            "Both directions run from the first step to the last.",
            _run_reverse_forwards,
            "onnx/onnx PR 7935",
        )
        yield (
            "hT of the reverse direction from the last output",
            "The reverse direction's final state is its output at the last step, where it begins.",
            wrapper(
                on_outputs=lambda call, out: (
                    out | {"hT": np.stack([out["hT"][0], _halves(out["y"])[1][-1]])}
                    if len(out["y"])
                    else out
                )
            ),
            "yalesong/pvse#13",
        )
        for which, name in enumerate(("forward", "reverse")):
            yield (
                f"dx of the {name} direction only",
                f"The gradient of the inputs is that through the {name} direction alone.",
                _one_direction_of_dx(which),
            )
    yield (
        "directions' weights exchanged",
        "Each direction runs with the other's parameters.",
        change_params(_exchange_directions),
    )
    yield (
        "directions share their weights",
        "The reverse direction runs with the forward's parameters.",
        change_params(_share_params()),
    )
    yield (
        "directions share U",
        "The reverse direction runs with the forward's U.",
        change_params(_share_params("U")),
    )
    yield (
        "directions share b",
        "The reverse direction runs with the forward's biases.",
        change_params(_share_params("b", "c")),
    )
    yield (
        "directions' initial states exchanged",
        "Each direction begins from the other's state.",
        change_states(swap, "h0", "c0"),
    )
    yield (
        "both directions begin from the forward's state",
        "The initial state of the forward direction is that of both.",
        change_states(twice, "h0", "c0"),
    )
    yield (
        "directions' final states exchanged",
        "The final states of the directions are exchanged.",
        change_final_states(swap),
    )
    yield (
        "final states of the forward direction twice",
        "The final state of the forward direction is returned as that of both.",
        change_final_states(twice),
    )
    yield (
        "cotangents of the final states exchanged",
        "The cotangents dhT and dcT of the directions are exchanged.",
        change_states(swap, "dhT", "dcT"),
    )
    yield (
        "dy overwritten before the reverse direction",
        "The forward direction's backward has used up dy before the reverse direction reads it.",
        change_states(lambda a: _join_halves(_halves(a)[0], 0 * _halves(a)[1]), "dy"),
        "apache/mxnet PR 18203",
    )
    yield (
        "dy of the forward half for both",
        "Both directions' backwards read the forward half of dy.",
        change_states(lambda a: _join_halves(_halves(a)[0], _halves(a)[0]), "dy"),
    )
    yield (
        "dy of the reverse half in the order of the run",
        "The reverse direction's backward reads dy from the first step on.",
        change_states(lambda a: _join_halves(_halves(a)[0], _halves(a)[1][::-1]), "dy"),
    )
    for kind in ("W", "U", "b"):
        yield (
            f"d{kind} of the directions added",
            f"The gradients of {kind} of both directions go into one accumulator.",
            wrapper(on_gradients=_add_directions(kind)),
        )
        yield (
            f"d{kind} of the reverse direction missing",
            f"The gradient of {kind} of the reverse direction is zero.",
            zero_gradient(kind, ".reverse"),
        )
    yield (
        "dx backwards in time",
        "The gradient of the inputs is in the order of the reverse run.",
        wrapper(on_gradients=change_result("x", lambda a: a[::-1])),
    )
