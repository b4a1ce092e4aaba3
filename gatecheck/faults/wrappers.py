"""Faults around a cell: damaged inputs, state between calls, and absent arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.faults.edited_cell import EditedCell
from gatecheck.faults.edits import Edit, misread

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
    given
        Hook for the arguments of every call.
    outputs, gradients
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


def _constant_state(call: Call, value: float) -> Array:
    return np.full((call["x"].shape[1], call["params"]["U"].shape[0]), value, call["x"].dtype)


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


# ---- memory between calls


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


# ---- absent arguments


def crash(message: str, when: Callable[[Call], bool]) -> Wrapper:
    def given(call: Call) -> Call:
        if when(call):
            raise ValueError(message)
        return call

    return wrapper(given)


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


def rows(cell: Cell) -> Iterator[WrapperRow]:
    """Yield all of these faults."""
    yield from damage(cell)
    yield from retained_state(cell)
    yield from absences(cell)
