"""Faults of damaged and absent arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.faults.edited_cell import EditedCell
from gatecheck.faults.edits import Edit, misread
from gatecheck.faults.wrappers import (
    Call,
    FaultyWrapper,
    ResultHook,
    Wrapper,
    WrapperRow,
    change_arguments,
    crash,
    replace_absent,
    result_wrapper,
    wrapper,
)

# ---- damaged arguments


def _damage_argument(name: str, damage: Callable[[Any, dict[str, Any]], None]) -> ResultHook:
    def change(call: Call, out: dict[str, Any]) -> dict[str, Any]:
        if call.get(name) is not None:
            damage(call[name], out)
        return out

    return change


def _halve(a: Array, out: dict[str, Any]) -> None:
    a[...] = a / 2


def _scale_weights(params: Call, out: dict[str, Any]) -> None:
    params["U"][...] = params["U"] / 2


def _store(params: Call, out: dict[str, Any]) -> None:
    params["workspace"] = params["U"].copy()


def _copy_from(name: str) -> Callable[[Any, dict[str, Any]], None]:
    def damage(a: Array, out: dict[str, Any]) -> None:
        a[...] = out[name]

    return damage


def damage(cell: Cell) -> Iterator[WrapperRow]:
    """Yield faults that change the arrays that a call is given."""
    yield (
        "x scaled in place",
        "Every call halves the caller's x when it is done.",
        result_wrapper(_damage_argument("x", _halve)),
    )
    yield (
        "U scaled in place",
        "Every call halves the caller's U when it is done.",
        result_wrapper(_damage_argument("params", _scale_weights)),
    )
    yield (
        "workspace left in params",
        "Every call leaves an extra array in the caller's params.",
        # which does not mind a name too many
        lambda inner: result_wrapper(_damage_argument("params", _store))(EditedCell(inner.cell)),
    )
    yield (
        "dy overwritten",
        "The backward uses the caller's dy as a workspace.",
        wrapper(on_gradients=_damage_argument("dy", _halve)),
    )
    yield (
        "dhT overwritten",
        "The backward carries its gradient in the caller's dhT.",
        wrapper(on_gradients=_damage_argument("dhT", _copy_from("h0"))),
    )
    yield (
        "h0 overwritten",
        "The forward keeps its state in the caller's h0.",
        wrapper(on_outputs=_damage_argument("h0", _copy_from("hT"))),
    )
    if "c" in cell.state:
        yield (
            "c0 overwritten",
            "The forward keeps its cell state in the caller's c0.",
            wrapper(on_outputs=_damage_argument("c0", _copy_from("cT"))),
        )


# ---- absent arguments


def _constant_state(call: Call, value: float) -> Array:
    return np.full((call["x"].shape[1], call["params"]["U"].shape[0]), value, call["x"].dtype)


def _is_absent(name: str) -> Callable[[Call], bool]:
    return lambda call: name in call and call[name] is None


def _compute_other_cell(edit: Edit, when: Callable[[Call], bool]) -> Wrapper:
    """Return the wrapper that computes another cell in some calls."""

    def wrap(inner: Any) -> Any:
        wrong = EditedCell(inner.cell, edit)

        def outputs(call: Call, out: dict[str, Any]) -> dict[str, Any]:
            return dict(zip(out, wrong.forward(**call), strict=True)) if when(call) else out

        return FaultyWrapper(inner, on_outputs=outputs)

    return wrap


def absences(cell: Cell) -> Iterator[WrapperRow]:
    """Yield faults that take an absent array for something else than zero."""
    for k in cell.state:
        yield (
            f"absent {k}0 as ones",
            f"Where {k}0 is absent it is taken for ones.",
            wrapper(replace_absent(f"{k}0", lambda call: _constant_state(call, 1))),
        )
        yield (
            f"absent {k}0 refused",
            f"A call without {k}0 raises an exception.",
            crash(f"{k}0 is needed", _is_absent(f"{k}0")),
        )
        yield (
            f"absent d{k}T as ones",
            f"Where d{k}T is absent it is taken for ones.",
            wrapper(replace_absent(f"d{k}T", lambda call: _constant_state(call, 1))),
        )
    if "c" in cell.state:
        yield (
            "absent c0 as h0",
            "Where c0 is absent, h0 is taken for it.",
            wrapper(replace_absent("c0", lambda call: call["h0"])),
        )
    yield (
        "absent dy as ones",
        "Where dy is absent it is taken for ones.",
        wrapper(
            replace_absent(
                "dy",
                lambda call: np.ones(
                    (*call["x"].shape[:2], call["params"]["U"].shape[0]), call["x"].dtype
                ),
            )
        ),
    )
    yield (
        "absent dy refused",
        "A backward without dy raises an exception.",
        crash("dy is needed", _is_absent("dy")),
        "pytorch/pytorch#96416",
    )
    yield (
        "h0 of the first row",
        "The first row of h0 is the initial state of every row.",
        wrapper(change_arguments(lambda a: a[:1] + 0 * a, "h0")),
    )
    yield (
        "backward from zero state",
        "The backward runs the forward again from a zero state.",
        wrapper(lambda call: call | {"h0": None, "c0": None} if "dy" in call else call),
    )
    if cell.reset == "after":
        edit = misread("q", c_n=lambda s: s.c_n * (s.t > 0))
        says = "Where h0 is absent the first step leaves out the candidate's inner bias."
        yield (
            "c_n skipped without h0",
            says,
            _compute_other_cell(edit, lambda call: call["h0"] is None),
            "ml-explore/mlx#3249",
        )
