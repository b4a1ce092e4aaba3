"""Faults of outputs and gradients that are exchanged, scaled or missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.faults.wrappers import Call, Wrapper, WrapperRow, change_result, wrapper


def outputs(cell: Cell) -> Iterator[WrapperRow]:
    """Yield faults with outputs in the wrong place."""
    yield (
        "y backwards in time",
        "The outputs are returned from the last to the first.",
        wrapper(on_outputs=change_result("y", lambda v: v[::-1])),
    )
    yield (
        "y of the neighbouring row",
        "Each row of the outputs is that of its neighbor.",
        wrapper(on_outputs=change_result("y", lambda v: np.roll(v, 1, 1))),
    )
    yield (
        "y one step late",
        "Each output is that of the step before, and the first is zero.",
        wrapper(on_outputs=change_result("y", lambda v: np.concatenate([0 * v[:1], v[:-1]]))),
    )
    yield (
        "y of the last step only",
        "Every output is that of the last step.",
        wrapper(on_outputs=change_result("y", lambda v: v[-1:] + 0 * v)),
    )
    yield (
        "hT is the first output",
        "The final state is the first output.",
        wrapper(on_outputs=lambda call, out: out | {"hT": out["y"][0]} if len(out["y"]) else out),
    )
    yield (
        "hT one step early",
        "The final state is that before the last step.",
        wrapper(
            on_outputs=lambda call, out: out | {"hT": out["y"][-2]} if len(out["y"]) > 1 else out
        ),
    )
    yield (
        "hT of the neighbouring row",
        "Each row of the final state is that of its neighbor.",
        wrapper(on_outputs=change_result("hT", lambda v: np.roll(v, 1, 0))),
    )
    yield (
        "hT is zero",
        "The final state is never written.",
        wrapper(on_outputs=change_result("hT", lambda v: 0 * v)),
    )
    yield (
        "final state missing",
        "Only the outputs are returned.",
        wrapper(on_outputs=lambda call, out: {"y": out["y"]}),
    )
    yield (
        "a list of outputs",
        "The outputs are a list of one array a step.",
        wrapper(on_outputs=change_result("y", list)),
    )
    if "c" in cell.state:
        yield (
            "hT and cT exchanged",
            "The two final states are returned in the other order.",
            wrapper(on_outputs=lambda call, out: {"y": out["y"], "hT": out["cT"], "cT": out["hT"]}),
        )
        yield (
            "cT is hT",
            "The final output is returned as the final cell state too.",
            wrapper(on_outputs=lambda call, out: out | {"cT": out["hT"]}),
        )
        yield (
            "cT after its tanh",
            "The final cell state is returned after its tanh.",
            wrapper(on_outputs=change_result("cT", np.tanh)),
        )
        yield (
            "y is c",
            "The outputs of the last step are the cell state.",
            wrapper(
                on_outputs=lambda call, out: (
                    out | {"y": np.concatenate([out["y"][:-1], out["cT"][None]])}
                    if len(out["y"])
                    else out
                )
            ),
        )


def _change_param_gradients(change: Callable[[Call, Array], Array]) -> Wrapper:
    return wrapper(
        on_gradients=lambda call, out: {
            k: change(call, v) if k in call["params"] else v for k, v in out.items()
        }
    )


def _change_gradients(change: Callable[[Call, Array], Array]) -> Wrapper:
    return wrapper(on_gradients=lambda call, out: {k: change(call, v) for k, v in out.items()})


def _drop_gradient(name: str) -> Wrapper:
    return wrapper(on_gradients=lambda call, out: {k: v for k, v in out.items() if k != name})


def _clip_by_norm(call: Call, out: dict[str, Any]) -> dict[str, Any]:
    norm = np.sqrt(sum(float(np.sum(np.square(out[k], dtype=float))) for k in call["params"]))
    return {
        k: (v / max(1.0, norm)).astype(v.dtype) if k in call["params"] else v
        for k, v in out.items()
    }


def gradients(cell: Cell) -> Iterator[WrapperRow]:
    """Yield faults with scaled, exchanged or missing gradients."""
    yield (
        "gradients averaged over the batch",
        "Every gradient is divided by the number of rows.",
        _change_gradients(lambda call, v: v / max(1, call["x"].shape[1])),
    )
    yield (
        "parameter gradients averaged over the steps and rows",
        "The parameters' gradients are divided by the number of steps and rows.",
        _change_param_gradients(
            lambda call, v: v / max(1, call["x"].shape[0] * call["x"].shape[1])
        ),
    )
    yield (
        "gradients of descent",
        "Every gradient has the sign of a step of descent.",
        _change_gradients(lambda call, v: -v),
    )
    yield (
        "loss scale left in",
        "Every gradient is still multiplied by a loss scale of 128.",
        _change_gradients(lambda call, v: 128 * v),
    )
    yield (
        "gradients clipped by their norm",
        "The parameters' gradients are clipped to a norm of one.",
        wrapper(on_gradients=_clip_by_norm),
    )
    yield (
        "gradients clipped by value",
        "The parameters' gradients are clipped to one.",
        _change_param_gradients(lambda call, v: np.clip(v, -1, 1)),
    )
    yield (
        "gradients in bfloat16",
        "Gradients are rounded to eight bits.",
        _change_gradients(lambda call, v: _round_to_eight_bits(v)),
    )
    yield (
        "dW of an average row",
        "The gradient of W is divided by the number of rows.",
        wrapper(on_gradients=lambda call, out: out | {"W": out["W"] / max(1, call["x"].shape[1])}),
    )
    yield (
        "dx backwards in time",
        "The gradient of the inputs is returned from the last to the first.",
        wrapper(on_gradients=change_result("x", lambda v: v[::-1])),
    )
    for name in ("x", *(f"{k}0" for k in cell.state)):
        yield (
            f"d{name} of the neighbouring row",
            f"Each row of the gradient of {name} is that of its neighbor.",
            wrapper(on_gradients=change_result(name, lambda v: np.roll(v, 1, -2))),
        )
        yield (
            f"no gradient of {name}",
            f"The backward returns no gradient of {name}.",
            _drop_gradient(name),
        )
    if "c" in cell.state:
        yield (
            "dh0 and dc0 exchanged",
            "The gradients of the two initial states are exchanged.",
            wrapper(on_gradients=lambda call, out: out | {"h0": out["c0"], "c0": out["h0"]}),
        )
    if cell.reset == "after":
        yield (
            "no gradient of c_n",
            "The backward returns no gradient of c_n.",
            _drop_gradient("c_n"),
        )


def _round_to_eight_bits(v: Array) -> Array:
    mantissa, exponent = np.frexp(v)
    return np.ldexp(np.round(mantissa * 256) / 256, exponent).astype(v.dtype)
