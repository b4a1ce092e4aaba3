"""Faults of bidirectional and stacked layers: wrong halves, layers and states."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.faults.edited_cell import EditedCell
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

STATES = ("h0", "c0", "dhT", "dcT")


def _halves(a: Array) -> tuple[Array, Array]:
    """Return the forward and the reverse direction's share of the last axis."""
    P = a.shape[-1] // 2
    return a[..., :P], a[..., P:]


def _join_halves(forward: Array, reverse: Array) -> Array:
    return np.concatenate([forward, reverse], axis=-1)


def _change_params(change: Callable[[Call], Call]) -> Wrapper:
    """Return the wrapper that reads other parameters."""
    return wrapper(lambda call: call | {"params": change(call["params"])})


def _change_states(change: Callable[[Array], Array], *names: str) -> Wrapper:
    """Return the wrapper that reads other states, or other cotangents of states."""
    return wrapper(change_arguments(change, *names))


def _take(order: list[int]) -> Callable[[Array], Array]:
    """Return the change that takes the states of other passes."""
    return lambda a: a[order]


def _keep(holds: Callable[[int], bool]) -> Callable[[Array], Array]:
    """Return the change that sets the states of some passes to zero."""
    return lambda a: np.stack([state if holds(j) else 0 * state for j, state in enumerate(a)])


def _change_final_states(change: Callable[[Array], Array]) -> Wrapper:
    return wrapper(
        on_outputs=lambda call, out: {k: v if k == "y" else change(v) for k, v in out.items()}
    )


def _change_sequences(change: Callable[[Array], Array]) -> Wrapper:
    """Return the wrapper that changes y, and dy in the same way.

    The change is its own inverse, so the layer is consistent with itself.
    """
    return wrapper(change_arguments(change, "dy"), change_result("y", change))


def _zero(kind: str, where: str) -> Callable[[Call], Call]:
    """Return the change that sets some arrays to zero.

    Their names begin with `kind` and contain `where`.
    """
    return lambda arrays: {
        k: 0 * v if k[0] == kind and where in k else v for k, v in arrays.items()
    }


def _zero_gradient(kind: str, where: str) -> Wrapper:
    return wrapper(on_gradients=lambda call, out: _zero(kind, where)(out))


# ---- both directions


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
    swap, twice = _take([k ^ 1 for k in passes]), _take([k & ~1 for k in passes])
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
        _change_params(_exchange_directions),
    )
    yield (
        "directions share their weights",
        "The reverse direction runs with the forward's parameters.",
        _change_params(_share_params()),
    )
    yield (
        "directions share U",
        "The reverse direction runs with the forward's U.",
        _change_params(_share_params("U")),
    )
    yield (
        "directions share b",
        "The reverse direction runs with the forward's biases.",
        _change_params(_share_params("b", "c")),
    )
    yield (
        "directions' initial states exchanged",
        "Each direction begins from the other's state.",
        _change_states(swap, "h0", "c0"),
    )
    yield (
        "both directions begin from the forward's state",
        "The initial state of the forward direction is that of both.",
        _change_states(twice, "h0", "c0"),
    )
    yield (
        "directions' final states exchanged",
        "The final states of the directions are exchanged.",
        _change_final_states(swap),
    )
    yield (
        "final states of the forward direction twice",
        "The final state of the forward direction is returned as that of both.",
        _change_final_states(twice),
    )
    yield (
        "cotangents of the final states exchanged",
        "The cotangents dhT and dcT of the directions are exchanged.",
        _change_states(swap, "dhT", "dcT"),
    )
    yield (
        "dy overwritten before the reverse direction",
        "The forward direction's backward has used up dy before the reverse direction reads it.",
        _change_states(lambda a: _join_halves(_halves(a)[0], 0 * _halves(a)[1]), "dy"),
        "apache/mxnet PR 18203",
    )
    yield (
        "dy of the forward half for both",
        "Both directions' backwards read the forward half of dy.",
        _change_states(lambda a: _join_halves(_halves(a)[0], _halves(a)[0]), "dy"),
    )
    yield (
        "dy of the reverse half in the order of the run",
        "The reverse direction's backward reads dy from the first step on.",
        _change_states(lambda a: _join_halves(_halves(a)[0], _halves(a)[1][::-1]), "dy"),
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
            _zero_gradient(kind, ".reverse"),
        )
    yield (
        "dx backwards in time",
        "The gradient of the inputs is in the order of the reverse run.",
        wrapper(on_gradients=change_result("x", lambda a: a[::-1])),
    )


# ---- layers upon layers


def _first_layer_cell(cell: Cell) -> Cell:
    return replace(cell, layers=1)


def _first_layer_call(cell: Cell, call: Call) -> Call:
    """Return the call of the first layer alone."""
    k = cell.directions
    own = {name: call["params"][name] for name in _first_layer_cell(cell).param_shapes(1, 1)}
    states = {n: call[n] if k > 1 else call[n][0] for n in STATES if call.get(n) is not None}
    states = {n: v[:k] if k > 1 else v for n, v in states.items()}
    return (
        dict.fromkeys(n for n in STATES if n in call)
        | {n: v for n, v in call.items() if n not in STATES}
        | {"params": own}
        | states
    )


def _first_layer_y(cell: Cell) -> Callable[[Call], Array]:
    def y(call: Call) -> Array:
        bottom_call = _first_layer_call(cell, call)
        outputs: Array = EditedCell(_first_layer_cell(cell)).forward(
            bottom_call["params"],
            bottom_call["x"],
            bottom_call["h0"],
            bottom_call.get("c0"),
            bottom_call.get("lengths"),
        )[0]
        return outputs

    return y


def _first_layer_gradients_from_dy(cell: Cell) -> ResultHook:
    """Return the hook that computes the first layer's gradients from dy itself.

    It is treated as the only layer.
    """

    def hook(call: Call, out: dict[str, Any]) -> dict[str, Any]:
        bottom_call = _first_layer_call(cell, call)
        rest: dict[str, Any] = {"c0": None, "dcT": None} | bottom_call
        gradients = EditedCell(_first_layer_cell(cell)).backward(**rest)
        return out | {k: gradients[k] for k in (*bottom_call["params"], "x")}

    return hook


def _share_first_layer(*kinds: str) -> Callable[[Call], Call]:
    """Return the change that gives upper layers the parameters of the first.

    It applies to kinds that have the same shape in both.
    """

    def change(params: Call) -> Call:
        def first(name: str) -> str:
            return name.partition(".")[0] + (".reverse" if name.endswith(".reverse") else "")

        return {
            k: params[first(k)] if k[0] in kinds and ".l" in k else v for k, v in params.items()
        }

    return change


def stacked(cell: Cell) -> Iterator[WrapperRow]:
    """Yield faults of several layers."""
    k = cell.directions
    yield (
        "layers share U",
        "Every layer runs with the first layer's U.",
        _change_params(_share_first_layer("U")),
    )
    yield (
        "layers share b",
        "Every layer runs with the first layer's biases.",
        _change_params(_share_first_layer("b", "c")),
    )
    for kind in ("W", "U", "b"):
        yield (
            f"{kind} of the upper layers not used",
            f"Upper layers run with a {kind} of zeros.",
            _change_params(_zero(kind, ".l")),
        )
        yield (
            f"d{kind} of the upper layers missing",
            f"The gradient of the upper layers' {kind} is zero.",
            _zero_gradient(kind, ".l"),
        )
    N = len(cell.param_suffixes)
    first, last = _take([j % k for j in range(N)]), _take([N - k + j % k for j in range(N)])
    turned = _take([N - k - (j - j % k) + j % k for j in range(N)])
    above, below = _keep(lambda j: j < k), _keep(lambda j: j >= N - k)
    yield (
        "every layer begins from the first's state",
        "The first layer's initial state is that of every layer.",
        _change_states(first, "h0", "c0"),
    )
    yield (
        "upper layers begin from zero",
        "Only the first layer reads its initial state.",
        _change_states(above, "h0", "c0"),
    )
    yield (
        "layers' initial states in the opposite order",
        "The layers' initial states are read from the top.",
        _change_states(turned, "h0", "c0"),
    )
    yield (
        "layers' final states in the opposite order",
        "The layers' final states are returned from the top.",
        _change_final_states(turned),
    )
    yield (
        "final state of the last layer for all",
        "The last layer's final state is returned as that of every layer.",
        _change_final_states(last),
    )
    yield (
        "final state of the first layer for all",
        "The first layer's final state is returned as that of every layer.",
        _change_final_states(first),
    )
    yield (
        "dhT of the last layer only",
        "The cotangents of the lower layers' final states are ignored.",
        _change_states(below, "dhT", "dcT"),
    )
    yield (
        "dhT of the last layer for all",
        "The cotangent of the last layer's final state is that of every layer.",
        _change_states(last, "dhT", "dcT"),
    )
    yield (
        "dh0 of the layers in the opposite order",
        "The gradients of the layers' initial states are returned from the top.",
        wrapper(
            on_gradients=lambda call, out: (
                out | {n: turned(out[n]) for n in ("h0", "c0") if n in out}
            )
        ),
    )
    yield (
        "dh0 of the upper layers missing",
        "The gradient of the upper layers' initial states is zero.",
        wrapper(
            on_gradients=lambda call, out: (
                out | {n: above(out[n]) for n in ("h0", "c0") if n in out}
            )
        ),
    )
    if cell.bidirectional:
        mixed = _take([(j % cell.layers) * k + j // cell.layers for j in range(N)])
        yield (
            "states by direction first",
            "States are ordered by direction first, and by layer in each.",
            wrapper(change_arguments(mixed, *STATES)),
        )
        yield (
            "final states by direction first",
            "Final states are ordered by direction first, and by layer in each.",
            _change_final_states(mixed),
        )
        yield (
            "upper layers read the halves exchanged",
            "The upper layers' W is applied to the halves of the layer below in the wrong order.",
            _change_params(
                lambda params: {
                    n: np.roll(v, len(v) // 2, 0) if n[0] == "W" and ".l" in n else v
                    for n, v in params.items()
                }
            ),
        )
        yield (
            "upper layers read the forward half only",
            "Upper layers see the forward half of the layer below only.",
            _change_params(
                lambda params: {
                    n: np.concatenate([v[: len(v) // 2], 0 * v[len(v) // 2 :]])
                    if n[0] == "W" and ".l" in n
                    else v
                    for n, v in params.items()
                }
            ),
        )
    yield (
        "y of the first layer",
        "The output is that of the first layer.",
        wrapper(on_outputs=lambda call, out: out | {"y": _first_layer_y(cell)(call)}),
    )
    yield (
        "y with a residual",
        "The output of the layer below is added to that of the last layer.",
        wrapper(on_outputs=lambda call, out: out | {"y": out["y"] + _first_layer_y(cell)(call)}),
    )
    yield (
        "first layer's gradients from dy",
        "The first layer's backward reads dy instead of the gradient from the layer above.",
        wrapper(on_gradients=_first_layer_gradients_from_dy(cell)),
    )
    yield (
        "no gradient below the last layer",
        "The gradient is not handed down from the last layer.",
        wrapper(
            on_gradients=lambda call, out: {
                n: v
                if any(
                    n == f"{m}{tag}"
                    for tag in cell.param_suffixes[-k:]
                    for m in cell.layer_cell.param_shapes(1, 1)
                )
                or n in ("h0", "c0")
                else 0 * v
                for n, v in out.items()
            }
        ),
    )
    yield (
        "dx doubled",
        "The gradient of the inputs is counted twice.",
        wrapper(on_gradients=change_result("x", lambda v: 2 * v)),
    )


def rows(cell: Cell) -> Iterator[WrapperRow]:
    """Yield faults of the directions and layers that a network has."""
    if cell.bidirectional:
        yield from bidirectional(cell)
    if cell.layers > 1:
        yield from stacked(cell)
