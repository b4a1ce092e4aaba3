"""Faults of what a subject keeps between calls, or changes from call to call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.faults.wrappers import (
    Call,
    FaultyWrapper,
    Wrapper,
    WrapperRow,
    change_results,
    result_wrapper,
)


def _keep_state(even_if_given: bool) -> Wrapper:
    def wrap(inner: Any) -> FaultyWrapper:
        kept: dict[str, Array] = {}

        def given(call: Call) -> Call:
            usable = {
                k: v
                for k, v in kept.items()
                if v.shape == (call["x"].shape[1], call["params"]["U"].shape[0])
            }
            return call | {k: v for k, v in usable.items() if even_if_given or call[k] is None}

        def outputs(call: Call, out: dict[str, Any]) -> dict[str, Any]:
            kept.update({f"{k[0]}0": v.copy() for k, v in out.items() if k != "y"})
            return out

        return FaultyWrapper(inner, given, outputs)

    return wrap


def _accumulate_gradients(inner: Any) -> FaultyWrapper:
    kept: dict[str, Array] = {}

    def gradients(call: Call, out: dict[str, Any]) -> dict[str, Any]:
        for k in call["params"]:
            if k in kept and kept[k].shape == out[k].shape:
                out[k] = out[k] + kept[k]
            kept[k] = out[k].copy()
        return out

    return FaultyWrapper(inner, on_gradients=gradients)


def _shapes(call: Call) -> tuple[Any, ...]:
    return (call["x"].shape, call["x"].dtype, call["params"]["U"].shape)


def _reuse_arguments(*names: str, first: bool = False) -> Wrapper:
    """Return the wrapper that reuses some arguments of an earlier call.

    That is the last forward of the same shape, or the first call.
    """

    def wrap(inner: Any) -> FaultyWrapper:
        kept: dict[tuple[Any, ...], Call] = {}

        def given(call: Call) -> Call:
            key, is_forward = _shapes(call), "dy" not in call
            if key not in kept or (is_forward and not first):
                kept[key] = {
                    k: ({n: a.copy() for n, a in v.items()} if k == "params" else v)
                    for k, v in call.items()
                    if k in names
                }
                kept[key] = {
                    k: v.copy() if isinstance(v, np.ndarray) else v for k, v in kept[key].items()
                }
            return call if is_forward and not first else call | kept[key]

        return FaultyWrapper(inner, given)

    return wrap


def _reuse_buffers(inner: Any) -> FaultyWrapper:
    buffers: dict[Any, Array] = {}

    def change(call: Call, out: dict[str, Any]) -> dict[str, Any]:
        for k, v in out.items():
            buffer = buffers.setdefault((k, v.shape, v.dtype), v)
            buffer[...] = v
            out[k] = buffer
        return out

    return FaultyWrapper(inner, None, change, change)


def _cache_by_x(inner: Any) -> FaultyWrapper:
    kept: dict[bytes, dict[str, Any]] = {}

    def outputs(call: Call, out: dict[str, Any]) -> dict[str, Any]:
        remembered = kept.setdefault(
            call["x"].tobytes() + call["params"]["U"].dtype.str.encode(),
            {k: v.copy() for k, v in out.items()},
        )
        return {k: v if v.shape == out[k].shape else out[k] for k, v in remembered.items()}

    return FaultyWrapper(inner, on_outputs=outputs)


def _zero_first_call(inner: Any) -> FaultyWrapper:
    called: list[bool] = []

    def given(call: Call) -> Call:
        first = not called
        called.append(True)
        return call | {"x": 0 * call["x"]} if first else call

    return FaultyWrapper(inner, given)


def _randomize(change: Callable[[np.random.Generator, Array], Array]) -> Wrapper:
    def wrap(inner: Any) -> Any:
        rng = np.random.default_rng(0)
        return result_wrapper(change_results(lambda v: change(rng, v).astype(v.dtype)))(inner)

    return wrap


def retained_state(cell: Cell) -> Iterator[WrapperRow]:
    """Yield faults that keep something between calls, or differ from call to call."""
    states = " and ".join(f"{k}0" for k in cell.state)
    yield (
        "state kept between calls",
        f"Where {states} is absent, a call continues from the final state of the last one.",
        _keep_state(False),
    )
    yield (
        "state kept although given",
        f"A call continues from the final state of the last one even where {states} is given.",
        _keep_state(True),
    )
    yield (
        "gradients accumulate",
        "The parameters' gradients are added to those of the call before.",
        _accumulate_gradients,
    )
    yield (
        "tape of the last forward",
        "The backward reads the inputs and the state of the last forward call instead of its own.",
        _reuse_arguments("x", "h0", "c0"),
    )
    yield (
        "weights of the first call",
        "Weights are packed at the first call and never again.",
        _reuse_arguments("params", first=True),
    )
    yield (
        "outputs in a reused buffer",
        "The arrays that a call returns are overwritten by the next call.",
        _reuse_buffers,
    )
    yield (
        "outputs cached by x",
        "A forward with an x seen before returns the earlier outputs, whatever else has changed.",
        _cache_by_x,
    )
    yield (
        "first call on zeros",
        "The first call runs before its input has arrived and reads zeros.",
        _zero_first_call,
    )
    yield (
        "noise",
        "Every call has other rounding errors, of about a millionth.",
        _randomize(lambda rng, v: v * (1 + 1e-6 * rng.standard_normal(v.shape))),
    )
    yield (
        "dropout left on",
        "A tenth of the results is set to zero at random.",
        _randomize(lambda rng, v: v * (rng.random(v.shape) > 0.1)),
    )
