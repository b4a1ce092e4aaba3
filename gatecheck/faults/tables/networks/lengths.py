"""Faults of rows with different lengths: masks, padding, and final states."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.faults.edited_cell import EditedCell
from gatecheck.faults.edits import Edit, misread, times
from gatecheck.faults.tables.readings import at_first, earlier, later
from gatecheck.faults.wrappers import (
    Call,
    FaultyWrapper,
    ResultHook,
    Wrapper,
    WrapperRow,
    crash,
    wrapper,
)
from gatecheck.reference import Equations
from gatecheck.reference.equations import Equation

# ---- the mask at one step


def _with_mask_edit(edit: Edit) -> Wrapper:
    return lambda inner: EditedCell(inner.cell, mask_edit=edit)


def _replace_past_end(name: str, instead: Callable[[Any], Any]) -> Edit:
    """Return the edit that replaces a term where a row has ended."""

    def edit(equations: Equations) -> dict[str, Equation]:
        right = equations[name]
        return {name: lambda s: np.where(s.valid, right(s), instead(s))}

    return edit


def masks(cell: Cell) -> Iterator[WrapperRow]:
    """Yield faults with a mask that is missing, or is that of another step or row."""
    states = " ".join(cell.state)
    carried = " ".join(f"d{k}_prev" for k in cell.state)
    deltas = [f"da_{k}" for k in cell.gates if k != "r"]  # that of r follows from that of n
    yield (
        "lengths: padding moves the state",
        "Past the end of a row the state is moved on by the biases, on inputs of zero.",
        _with_mask_edit(misread(states, valid=True)),
        "keras-team/keras#1300",
    )
    for k in cell.state:
        if len(cell.state) > 1:
            yield (
                f"lengths: {k} not held",
                f"Past the end of a row {k} is not held.",
                _with_mask_edit(misread(k, valid=True)),
            )
        yield (
            f"lengths: {k} zero past the end",
            f"Past the end of a row {k} is zero.",
            _with_mask_edit(_replace_past_end(k, times(0, f"{k}_prev"))),
        )
        yield (
            f"lengths: d{k} stops in the padding",
            f"The gradient of {k} at the end of a row is lost in the padding behind it.",
            _with_mask_edit(_replace_past_end(f"d{k}_prev", times(0, f"d{k}_next"))),
            "apache/mxnet PR 15278",
        )
        yield (
            f"lengths: d{k} doubled in the padding",
            f"Each step of padding doubles the gradient of {k}.",
            _with_mask_edit(_replace_past_end(f"d{k}_prev", times(2, f"d{k}_next"))),
        )
    yield (
        "lengths: gradient goes through the cell in the padding",
        "Past the end of a row the gradient is carried through the gates instead of past them.",
        _with_mask_edit(misread(carried, valid=True)),
    )
    for da in deltas:
        yield (
            f"lengths: {da} in the padding",
            f"Past the end of a row {da} is not zero, and counts in the sums.",
            _with_mask_edit(misread(da, valid=True)),
        )
    everything = " ".join([states, carried, *deltas])
    backward = " ".join([carried, *deltas])
    yield (
        "lengths: mask of the first step",
        "The mask of the first step is used at every step.",
        _with_mask_edit(misread(everything, valid=at_first("valid"))),
    )
    yield (
        "lengths: backward with the mask of the first step",
        "The backward uses the mask of the first step at every step.",
        _with_mask_edit(misread(backward, valid=at_first("valid"))),
        "lmnt-com/haste#43",
    )
    yield (
        "lengths: mask one step late",
        "The mask of each step is that of the step before, so that a row takes one step too many.",
        _with_mask_edit(misread(everything, valid=earlier("valid"))),
    )
    yield (
        "lengths: backward with the mask of the step before",
        "The backward reads the mask of the step before.",
        _with_mask_edit(misread(backward, valid=earlier("valid"))),
    )
    yield (
        "lengths: backward with the mask of the step after",
        "The backward reads the mask of the step after.",
        _with_mask_edit(misread(backward, valid=later("valid"))),
        "PufferAI/PufferLib#622",
    )
    yield (
        "lengths: backward with the mask of the neighbouring row",
        "The backward reads the mask of the neighboring row.",
        _with_mask_edit(misread(backward, valid=lambda s: np.roll(s.valid, 1, -2))),
    )
    yield (
        "lengths: mask from the third row on that of the second",
        "From the third row on, the mask is that of the second row.",
        _with_mask_edit(
            misread(everything, valid=lambda s: s.valid[np.minimum(np.arange(len(s.valid)), 1)])
        ),
        "tensorflow/tensorflow#60192",
    )
    yield (
        "lengths: mask inverted",
        "The state is held in a row's steps and moved in its padding.",
        _with_mask_edit(misread(everything, valid=lambda s: ~s.valid)),
    )


# ---- the lengths as they are given


def _change_lengths(
    change: Callable[[Array, int], Array], holds: Callable[[Call], bool] = lambda call: True
) -> Wrapper:
    def given(call: Call) -> Call:
        if "lengths" not in call or not holds(call):
            return call
        return call | {"lengths": change(call["lengths"], len(call["x"])).astype(np.int64)}

    return wrapper(given)


def _is_backward(call: Call) -> bool:
    return "dy" in call


def arguments(cell: Cell) -> Iterator[WrapperRow]:
    """Yield faults that read other lengths."""
    source = "onnx/onnx PR 7935"
    yield (
        "lengths: ignored",
        "Every row is run over the whole sequence.",
        _change_lengths(np.full_like),
        source,
    )
    yield (
        "lengths: ignored in the backward",
        "The backward takes every row for full.",
        _change_lengths(np.full_like, _is_backward),
        "apache/mxnet PR 15278",
    )
    yield (
        "lengths: ignored in the forward",
        "The forward takes every row for full.",
        _change_lengths(np.full_like, lambda call: not _is_backward(call)),
    )
    yield (
        "lengths: one too long",
        "A row that ends early takes one step too many.",
        _change_lengths(lambda n, T: np.minimum(n + 1, T)),
    )
    yield (
        "lengths: one too short",
        "Every row ends one step too early.",
        _change_lengths(lambda n, T: np.maximum(n - 1, 0)),
    )
    yield (
        "lengths: of the neighbouring row",
        "Each row has the length of its neighbor.",
        _change_lengths(lambda n, T: np.roll(n, 1)),
    )
    yield (
        "lengths: of the first row",
        "Every row has the length of the first.",
        _change_lengths(lambda n, T: n[:1] + 0 * n),
    )
    yield (
        "lengths: the longest",
        "Every row has the length of the longest.",
        _change_lengths(lambda n, T: np.full_like(n, n.max(initial=0))),
    )
    yield (
        "lengths: the shortest",
        "Every row has the length of the shortest.",
        _change_lengths(lambda n, T: np.full_like(n, n.min(initial=T))),
    )
    yield (
        "lengths: sorted, rows not",
        "The lengths are sorted from the longest to the shortest, and the rows are not.",
        _change_lengths(lambda n, T: np.sort(n)[::-1]),
    )
    yield (
        "lengths: padding at the front",
        "A row's padding is taken to stand before it.",
        wrapper(_pad_front),
    )
    yield (
        "lengths: short rows refused",
        "A row that ends early raises an exception.",
        crash(
            "rows must be full",
            lambda call: bool(np.any(call.get("lengths", np.zeros(0)) < len(call["x"]))),
        ),
    )


def _pad_front(call: Call) -> Call:
    if "lengths" not in call:
        return call
    T = len(call["x"])
    order = (np.arange(T)[:, None] + call["lengths"]) % max(T, 1)
    turned = {
        k: np.take_along_axis(call[k], order[..., None], 0)
        for k in ("x", "dy")
        if call.get(k) is not None
    }
    return call | turned


# ---- the results


def _is_past_end(call: Call) -> Array:
    past: Array = np.arange(len(call["x"]))[:, None] >= call["lengths"]
    return past[..., None]


def _if_ragged(change: ResultHook) -> ResultHook:
    return lambda call, out: change(call, out) if "lengths" in call and len(call["x"]) else out


def _last_steps(call: Call, back: int = 1) -> Array:
    """Return the step of each row's last output, or one before it; at least the first."""
    ends: Array = np.maximum(call["lengths"] - back, 0)
    return ends


def _select_steps(sequence: Array, steps: Array) -> Array:
    taken: Array = np.take_along_axis(sequence, steps[None, :, None], 0)[0]
    return taken


Choice = Callable[[Call, dict[str, Any], dict[str, Any]], dict[str, Any]]
"""Choice of results, from a call, its results and those without lengths."""


def _replace_past_the_end(name: str) -> Choice:
    return lambda call, out, plain: (
        out | ({name: np.where(_is_past_end(call), plain[name], out[name])} if name in out else {})
    )


def _replace_whole(name: str) -> Choice:
    return lambda call, out, plain: out | ({name: plain[name]} if name in out else {})


def _use_results_without_lengths(choose: Choice) -> Wrapper:
    """Return the wrapper with some results of a call without lengths."""

    def wrap(inner: Any) -> FaultyWrapper:
        def outputs(call: Call, out: dict[str, Any]) -> dict[str, Any]:
            plain = inner.forward(**{k: v for k, v in call.items() if k != "lengths"})
            return choose(call, out, dict(zip(out, plain, strict=True)))

        def gradients(call: Call, out: dict[str, Any]) -> dict[str, Any]:
            return choose(
                call, out, inner.backward(**{k: v for k, v in call.items() if k != "lengths"})
            )

        return FaultyWrapper(inner, None, _if_ragged(outputs), _if_ragged(gradients))

    return wrap


def _add_padding_to_dhT(call: Call) -> Call:
    if "lengths" not in call or call.get("dy") is None:
        return call
    padding = np.where(_is_past_end(call), call["dy"], 0).sum(0)
    return call | {"dhT": padding if call["dhT"] is None else call["dhT"] + padding}


def results(cell: Cell) -> Iterator[WrapperRow]:
    """Yield faults of the results for the padding, and of the final state."""
    yield (
        "lengths: y held past the end",
        "Past the end of a row y repeats its last output.",
        wrapper(
            on_outputs=_if_ragged(
                lambda call, out: (
                    out
                    | {
                        "y": np.where(
                            _is_past_end(call), _select_steps(out["y"], _last_steps(call)), out["y"]
                        )
                    }
                )
            )
        ),
    )
    yield (
        "lengths: y uninitialised past the end",
        "Past the end of a row y is what the memory held.",
        wrapper(
            on_outputs=_if_ragged(
                lambda call, out: (
                    out | {"y": np.where(_is_past_end(call), call["x"].dtype.type(7), out["y"])}
                )
            )
        ),
        "microsoft/onnxruntime PR 1193",
    )
    yield (
        "lengths: y goes on past the end",
        "Past the end of a row y continues with the contents of the padding.",
        _use_results_without_lengths(_replace_past_the_end("y")),
    )
    for k in cell.state:
        yield (
            f"lengths: {k}T of the last step",
            f"The final state {k}T is taken after the last step instead of at the end of each row.",
            _use_results_without_lengths(_replace_whole(f"{k}T")),
        )
    yield (
        "lengths: hT is the last output",
        "The final state is the output of the last step, which is padding where a row ends early.",
        wrapper(on_outputs=_if_ragged(lambda call, out: out | {"hT": out["y"][-1].copy()})),
        "yalesong/pvse#13",
    )
    yield (
        "lengths: hT one step before the end",
        "The final state is the next-to-last output of each row.",
        wrapper(
            on_outputs=_if_ragged(
                lambda call, out: out | {"hT": _select_steps(out["y"], _last_steps(call, 2))}
            )
        ),
    )
    yield (
        "lengths: dy of the padding read",
        "The cotangents of padding are taken for those of the state at the end of the row.",
        wrapper(_add_padding_to_dhT),
        "apache/mxnet PR 15278",
    )
    yield (
        "lengths: dx in the padding",
        "The gradient of the padding is that of a call without lengths.",
        _use_results_without_lengths(_replace_past_the_end("x")),
    )
    yield (
        "lengths: NaN of the padding in the sums",
        "Padding is multiplied by zero instead of left out, so a NaN there reaches everything.",
        wrapper(
            on_outputs=_if_ragged(
                lambda call, out: {
                    k: v + 0 * np.where(_is_past_end(call), call["x"], 0).sum()
                    for k, v in out.items()
                }
            )
        ),
    )
    yield (
        "lengths: gradients averaged over a row's steps",
        "The parameters' gradients are divided by the number of steps that are not padding.",
        wrapper(
            on_gradients=_if_ragged(
                lambda call, out: {
                    k: v / max(1, int(call["lengths"].sum())) if k in call["params"] else v
                    for k, v in out.items()
                }
            )
        ),
    )


def rows(cell: Cell) -> Iterator[WrapperRow]:
    """Yield all of these faults."""
    for some in (masks, arguments, results):
        yield from some(cell)
