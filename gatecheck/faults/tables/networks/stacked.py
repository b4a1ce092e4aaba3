"""Faults of several layers: wrong weights, states and gradients between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.faults.edited_cell import EditedCell
from gatecheck.faults.tables.networks.changes import (
    change_final_states,
    change_params,
    change_states,
    take,
    zero,
    zero_gradient,
)
from gatecheck.faults.wrappers import (
    Call,
    ResultHook,
    WrapperRow,
    change_arguments,
    change_result,
    wrapper,
)

STATES = ("h0", "c0", "dhT", "dcT")


def _keep(holds: Callable[[int], bool]) -> Callable[[Array], Array]:
    """Return the change that sets the states of some passes to zero."""
    return lambda a: np.stack([state if holds(j) else 0 * state for j, state in enumerate(a)])


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
        change_params(_share_first_layer("U")),
    )
    yield (
        "layers share b",
        "Every layer runs with the first layer's biases.",
        change_params(_share_first_layer("b", "c")),
    )
    for kind in ("W", "U", "b"):
        yield (
            f"{kind} of the upper layers not used",
            f"Upper layers run with a {kind} of zeros.",
            change_params(zero(kind, ".l")),
        )
        yield (
            f"d{kind} of the upper layers missing",
            f"The gradient of the upper layers' {kind} is zero.",
            zero_gradient(kind, ".l"),
        )
    N = len(cell.param_suffixes)
    first, last = take([j % k for j in range(N)]), take([N - k + j % k for j in range(N)])
    turned = take([N - k - (j - j % k) + j % k for j in range(N)])
    above, below = _keep(lambda j: j < k), _keep(lambda j: j >= N - k)
    yield (
        "every layer begins from the first's state",
        "The first layer's initial state is that of every layer.",
        change_states(first, "h0", "c0"),
    )
    yield (
        "upper layers begin from zero",
        "Only the first layer reads its initial state.",
        change_states(above, "h0", "c0"),
    )
    yield (
        "layers' initial states in the opposite order",
        "The layers' initial states are read from the top.",
        change_states(turned, "h0", "c0"),
    )
    yield (
        "layers' final states in the opposite order",
        "The layers' final states are returned from the top.",
        change_final_states(turned),
    )
    yield (
        "final state of the last layer for all",
        "The last layer's final state is returned as that of every layer.",
        change_final_states(last),
    )
    yield (
        "final state of the first layer for all",
        "The first layer's final state is returned as that of every layer.",
        change_final_states(first),
    )
    yield (
        "dhT of the last layer only",
        "The cotangents of the lower layers' final states are ignored.",
        change_states(below, "dhT", "dcT"),
    )
    yield (
        "dhT of the last layer for all",
        "The cotangent of the last layer's final state is that of every layer.",
        change_states(last, "dhT", "dcT"),
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
        mixed = take([(j % cell.layers) * k + j // cell.layers for j in range(N)])
        yield (
            "states by direction first",
            "States are ordered by direction first, and by layer in each.",
            wrapper(change_arguments(mixed, *STATES)),
        )
        yield (
            "final states by direction first",
            "Final states are ordered by direction first, and by layer in each.",
            change_final_states(mixed),
        )
        yield (
            "upper layers read the halves exchanged",
            "The upper layers' W is applied to the halves of the layer below in the wrong order.",
            change_params(
                lambda params: {
                    n: np.roll(v, len(v) // 2, 0) if n[0] == "W" and ".l" in n else v
                    for n, v in params.items()
                }
            ),
        )
        yield (
            "upper layers read the forward half only",
            "Upper layers see the forward half of the layer below only.",
            change_params(
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
