"""Adjoint profiles of any implementation, from its own backward, step by step.

A forward run keeps the states, one call a step. Then the cotangent of the last state is carried
back, one call a step, and scaled to norm 1 after each. So numbers stay of order one at any length,
in float32 too, and a wrong backward is measured as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cases import Case
from gatecheck.cells.validation import check_inputs
from gatecheck.decay.jacobians.profile import Profile
from gatecheck.decay.jobs.job import ReportProgress
from gatecheck.errors import ContractError, InputError, TargetError
from gatecheck.implementation import Subject, subject
from gatecheck.implementation.custom import CustomSubject
from gatecheck.implementation.custom_case import CustomCase

States = list[Array]
StepFunction = Callable[..., Sequence[Array]]
VJPFunction = Callable[[Any, Array, Sequence[Array], Sequence[Array]], Sequence[Array]]


def vjp_profile(
    step: StepFunction,
    vjp: VJPFunction,
    params: Any,
    x: Array,
    start: Sequence[Array],
    state: Sequence[Array],
    progress: ReportProgress | None = None,
) -> Profile:
    """Carry cotangents of the last state back through every step, with a given VJP.

    Parameters
    ----------
    step
        ``step(params, x_t, *states)``, the states after one step, of any shapes, which do not
        change.
    vjp
        ``vjp(params, x_t, states, dstates)``, the cotangents of the states before a step, from
        those of the states after it.
    params
        Parameters, passed on to both.
    x
        Inputs ``(T, ...)``; a step is called with one of the T entries.
    start
        k cotangents for each state, ``(k, ...)``. Each of the k costs one call a step.
    state
        The initial states.
    progress
        Called with steps done and steps to do (2 T).

    Returns
    -------
    Profile
        See :func:`gatecheck.decay.jacobians.profile.adjoint_profile`; the share is that of all
        states but the first. For states of different shapes the direction is ``(1, k, N)``, the
        flattened states concatenated.

    Raises
    ------
    InputError
        If `start` or `state` are not finite, or do not fit each other.
    ContractError
        If `step` or `vjp` return states of another number or shape.

    Notes
    -----
    All T states are kept in memory.
    """

    return carry_back(steps_from_functions(step, vjp, params), x, start, state, progress)


def subject_profile(
    target: Any,
    params: Mapping[str, Array],
    x: Array,
    start: Array,
    state: Array | None = None,
    progress: ReportProgress | None = None,
) -> Profile:
    """Measure the adjoint profile of a known cell's implementation by its backward.

    Parameters
    ----------
    target
        An implementation, or a :class:`~gatecheck.implementation.Subject`; it runs in float64, or
        in float32 if that is its only dtype.
    params, x, start, state, progress
        See :func:`gatecheck.decay.jacobians.profile.adjoint_profile`: canonical float64 arrays,
        whatever the target's convention. The k cotangents are rows of one batch, or separate calls
        where the target takes one row only.

    Raises
    ------
    TargetError
        If it has no backward, is not a single layer in one direction, requires other sizes, or
        fails.
    ConventionError
        If its convention has no place for a nonzero parameter.
    InputError
        If an array does not fit.
    """
    canonical = subject(target)
    check_target(canonical)
    cell, n = canonical.cell, len(canonical.cell.state)
    if not isinstance(x, np.ndarray) or x.ndim != 2:
        raise InputError(f"x has shape {np.shape(x)}, but should be a NumPy array of shape (T, D)")
    H = check_inputs(cell, params, x[:, None], dtypes=("float64",))[3]
    start, state = np.asarray(start), np.zeros((n, H)) if state is None else np.asarray(state)
    if start.ndim != 3 or start.shape[::2] != (n, H) or not start.shape[1]:
        raise InputError(
            f"start has shape {start.shape}, but should have shape (n, k, H) = ({n}, k, {H})"
        )
    if state.shape != (n, H):
        raise InputError(
            f"state has shape {state.shape}, but should have shape (n, H) = ({n}, {H})"
        )
    return carry_back(
        steps_from_subject(canonical, params, start.shape[1]), x, list(start), list(state), progress
    )


def check_target(subject: Subject | CustomSubject) -> None:
    """Raise if no gradient can be carried through a target.

    Raises
    ------
    TargetError
        If it has no backward, is not a single layer in one direction, or is a custom cell that does
        not run over time.
    """
    if "backward" not in subject.abilities:
        raise TargetError(
            f"{subject.name} has no backward, so no gradient can be carried through it"
        )
    if isinstance(subject, CustomSubject):
        if subject.time_axis is None:
            why = (
                "it takes no states or does not return them in their shapes, "
                "or time_axis has to say which axis of x is time"
            )
            raise TargetError(f"{subject.name} is not known to run over time: {why}")
    elif not {"plain_layer", "no_projection"} <= subject.cell.traits:
        limit = "a gradient can be carried through one layer in one direction without projection"
        raise TargetError(f"{subject.name} is a {subject.cell}, but {limit}")


# ---- one step forward, and one back


class StepFunctions(NamedTuple):
    """Forward and backward functions of one step of a cell.

    Attributes
    ----------
    step
        Takes the inputs and the states before the step; returns the states after it.
    pull
        Takes the inputs, the states before the step, and k cotangents of each state after it;
        returns k cotangents of each state before it.
    """

    step: Callable[[Array, States], States]
    pull: Callable[[Array, States, States], States]


def steps_from_functions(step: StepFunction, vjp: VJPFunction, params: Any) -> StepFunctions:
    """Return the step functions of :func:`vjp_profile`."""

    def pull(x_t: Array, states: States, block: States) -> States:
        rows = [
            _as_states(vjp(params, x_t, states, one), states, "vjp")
            for one in zip(*block, strict=True)
        ]
        return [np.stack(column) for column in zip(*rows, strict=True)]

    return StepFunctions(
        lambda x_t, states: _as_states(step(params, x_t, *states), states, "step"), pull
    )


def steps_from_subject(subject: Subject, params: Mapping[str, Array], k: int) -> StepFunctions:
    """Return the step functions of an implementation of a known cell.

    They take k cotangents a call, or one where the target takes one row only.

    Raises
    ------
    TargetError
        If it requires other sizes.
    """
    cell, dtype = subject.cell, working_dtype(subject)
    D, H = params["W"].shape[0], params["U"].shape[0]
    k = 1 if subject.sizes.get("B") == 1 else k
    for name, size in {"T": 1, "D": D, "H": H, "B": k}.items():
        if subject.sizes.get(name, size) != size:
            raise TargetError(
                f"{subject.name} runs at {name} = {subject.sizes[name]} only, "
                f"but would have to at {name} = {size}"
            )
    fixed = {name: np.asarray(a, dtype) for name, a in params.items()}

    def case(x_t: Array, states: Sequence[Array], more: Mapping[str, Array]) -> Case:
        rows = len(states[0])
        initial = {f"{name}0": s for name, s in zip(cell.state, states, strict=True)}
        arrays = {"x": np.broadcast_to(x_t, (1, rows, D)), **initial, **more}
        return Case(cell, fixed | {name: np.asarray(a, dtype) for name, a in arrays.items()})

    def step(x_t: Array, states: States) -> States:
        # The states are the same in all rows, but a target may require a number of rows.
        results = subject.forward(
            case(x_t, [np.tile(s, (subject.sizes.get("B", 1), 1)) for s in states], {})
        )
        return [results[f"{name}T"][0] for name in cell.state]

    def pull(x_t: Array, states: States, block: States) -> States:
        parts = []
        for rows in np.split(np.stack(block), len(block[0]) // k, axis=1):
            cotangents = {f"d{name}T": d for name, d in zip(cell.state, rows, strict=True)}
            results = subject.backward(case(x_t, [np.tile(s, (k, 1)) for s in states], cotangents))
            parts.append([results[f"d{name}0"] for name in cell.state])
        return [np.concatenate(column) for column in zip(*parts, strict=True)]

    return StepFunctions(step, pull)


def steps_from_custom_cell(subject: CustomSubject, example: CustomCase) -> StepFunctions:
    """Return the step functions of a custom cell, with an example's parameters."""
    ends = [end for _, end in example.state_pairs]
    one = example.with_arrays({name: example[name] for name in example.inputs}).replace(
        x=example["x"][:1]
    )
    zeros = {f"d{name}": np.zeros_like(a) for name, a in subject.forward(one).items()}
    one = one.with_arrays({**one.arrays, **zeros})

    def at(x_t: Array, states: Sequence[Array], cotangents: Sequence[Array]) -> CustomCase:
        given_cotangents = {f"d{end}": d for end, d in zip(ends, cotangents, strict=False)}
        return one.replace(
            x=x_t[None], **dict(zip(one.states, states, strict=True)), **given_cotangents
        )

    def step(x_t: Array, states: States) -> States:
        outputs = subject.forward(at(x_t, states, []))
        return _as_states([outputs[end] for end in ends], states, "forward")

    def pull(x_t: Array, states: States, block: States) -> States:
        rows = [subject.backward(at(x_t, states, d)) for d in zip(*block, strict=True)]
        return [np.stack([row[f"d{name}"] for row in rows]) for name in one.states]

    return StepFunctions(step, pull)


def working_dtype(subject: Subject | CustomSubject) -> str:
    """Return the most precise dtype of a subject."""
    return "float64" if "float64" in subject.dtypes else "float32"


def carry_back(
    steps: StepFunctions,
    x: Array,
    start: Sequence[Array],
    state: Sequence[Array],
    progress: ReportProgress | None = None,
) -> Profile:
    """Carry cotangents back through the steps; see :func:`vjp_profile`."""
    T, block, states = (
        len(x),
        [np.asarray(a, np.float64) for a in start],
        [np.asarray(s) for s in state],
    )
    counts = {len(a) for a in block if a.ndim}
    if [a.shape[1:] for a in block] != [s.shape for s in states] or len(counts) != 1 or 0 in counts:
        raise InputError(
            f"start has shapes {[a.shape for a in block]}, "
            f"but should be k cotangents of states {[s.shape for s in states]}"
        )
    block, norm, first = _rescale_block(block)
    if not 0 < norm < math.inf:
        raise InputError(f"start has norm {norm}, but should be finite and not zero")
    if not all(np.isfinite(s).all() for s in states):
        raise InputError("state is not finite")
    history = []
    for t in range(T):
        history.append(states)
        states = steps.step(x[t], states)
        if progress is not None:
            progress(t + 1, 2 * T)
    norms, shares = np.empty(T + 1), np.empty(T + 1)
    norms[0], shares[0] = norm, first
    for lag in range(1, T + 1):
        block, norms[lag], shares[lag] = _rescale_block(
            steps.pull(x[T - lag], history.pop(), block)
        )
        if progress is not None:
            progress(T + lag, 2 * T)
    with np.errstate(divide="ignore"):  # an exact zero is -inf
        logs = np.log(norms)
    flat = [a.reshape(len(a), -1) for a in block]
    direction = (
        np.stack(flat) if len({a.shape for a in flat}) == 1 else np.concatenate(flat, axis=1)[None]
    )
    return Profile(np.cumsum(logs), shares, direction)


def _rescale_block(block: Sequence[Array]) -> tuple[States, float, float]:
    """Scale a block to norm 1, in float64.

    Returns it, its norm before, and the share of all states but the first in the squared norm.
    """
    wide = [np.asarray(a, np.float64) for a in block]
    squares = [float(np.sum(a * a)) for a in wide]
    norm = math.sqrt(sum(squares))
    if norm == 0:  # a zero block stays zero
        return wide, norm, math.nan
    return [a / norm for a in wide], norm, sum(squares[1:]) / sum(squares)


def _as_states(returned: Any, states: States, function_name: str) -> States:
    """Return a function's output as arrays, checked to have the shapes of `states`."""
    shapes = [s.shape for s in states]
    returned_shapes = (
        [np.shape(a) for a in returned]
        if isinstance(returned, tuple | list)
        else type(returned).__name__
    )
    if returned_shapes != shapes:
        raise ContractError(
            f"{function_name} returned {returned_shapes}, "
            f"but should return a tuple of states of shapes {shapes}"
        )
    return [np.asarray(a) for a in returned]
