"""Inference of an implementation's convention, from calls with chosen arrays.

With recurrent weights and biases at zero, the outputs of one step determine the order, the polarity
and the place of the input weights; further calls determine those of the recurrent weights and the
place of the reset, then the biases. The result is confirmed on whole sequences within the rounding
budget.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gatecheck._util.arguments import SEED, one_of, optional, validate_args
from gatecheck.cases import draw
from gatecheck.cells import Cell, Sizes
from gatecheck.checking.budgets import forward_budget
from gatecheck.checking.evidence import Violation, check_agreement
from gatecheck.conventions import CONVENTIONS, Convention
from gatecheck.conventions.shape_analysis import Axis, parse_axes, possible_structures
from gatecheck.errors import TargetError, TargetLostError
from gatecheck.implementation import subject
from gatecheck.inference.guess import (
    Guess,
    effect,
    frames,
    input_orders,
    known_conventions,
    match_input_weights,
    match_recurrent_weights,
    match_vectors,
)
from gatecheck.inference.probe import Probe, make_probe


@dataclass(frozen=True)
class Inference:
    """The result of an inference.

    Attributes
    ----------
    matches
        Each convention that explains the results, with the cell; conventions that differ only in
        arrays that are added count as one.
    uses_initial_states
        True if the initial states matter; if an implementation ignores them, their order is open.
    n_calls
        Number of calls of the implementation.
    """

    matches: tuple[tuple[Convention, Cell], ...]
    uses_initial_states: bool
    n_calls: int

    @property
    def sentence(self) -> str:
        """The result, in words."""
        if not self.matches:
            return "no convention that gatecheck can express explains it"
        described = [describe(convention, cell) for convention, cell in self.matches]
        sentence = (
            described[0]
            if len(described) == 1
            else f"it cannot be decided here whether {'; or '.join(described)}"
        )
        return sentence + ("" if self.uses_initial_states else "; the initial states are ignored")


def describe(convention: Convention, cell: Cell) -> str:
    """Describe a convention of one cell in words."""
    layout = convention.layouts["gru-before" if cell.reset == "before" else cell.kind]
    contents = ", ".join(f"{name} = [{content}]" for name, content in layout.arrays.items())
    phrases = [
        f"it is a {cell}",
        f"in the convention {convention.name}"
        if convention.name in CONVENTIONS
        else f"with {contents}",
    ]
    phrases += ["a gate's block is a set of rows"] * convention.rows + [
        "gates interleaved"
    ] * convention.interleaved
    phrases += (
        [f"the opposite polarity in {' and '.join(layout.negated)}"] if layout.negated else []
    )
    phrases += [f"axes {convention.axes}"] if convention.axes != "TBD" else []
    phrases += ["states in columns"] * convention.columns + [
        f"states {convention.state_axes}"
    ] * bool(convention.state_axes)
    phrases += ["states in the order (c, h)"] * (convention.states == "ch")
    return ", ".join(phrases)


def _is_confirmed(probe: Probe, guess: Guess, *, zero_states: bool) -> bool:
    """Return whether whole sequences of other sizes agree within the budget."""
    candidate = probe.subject_in(guess.convention, guess.cell)
    for k, sizes in enumerate((Sizes(6, 3, 2, 4), Sizes(3, 1, 4, 2))):
        case = draw(guess.cell, sizes._replace(**probe.fixed_sizes), seed=k, dtype=probe.dtype)
        case = candidate.zero_unsupported(case).replace(
            **{f"{s}0": np.zeros_like(case[f"{s}0"]) for s in guess.cell.state if zero_states}
        )
        budget = forward_budget(case)
        probe.n_calls += 1
        try:
            check_agreement(guess.cell, candidate.forward(case), budget.exact, budget.tolerance)
        except TargetLostError:
            raise
        except (Violation, TargetError):
            return False
    return True


def _guess_groups(
    probe: Probe, arrays: Mapping[str, tuple[Axis, ...]], *, zero_states: bool
) -> Iterator[Iterator[Guess]]:
    """Yield groups of guesses; later groups matter only if no guess is confirmed."""
    yield known_conventions(probe)
    for structure in possible_structures(arrays, probe.cell):
        guesses = input_orders(probe, structure)
        for frame in frames(structure, probe.cell):
            for first in match_input_weights(probe, guesses, frame, zero_states=zero_states):
                for more in match_recurrent_weights(
                    probe, structure, first, zero_states=zero_states
                ):
                    yield match_vectors(probe, structure, more, zero_states=zero_states)


@validate_args(dtype=optional(one_of("float32", "float64")), seed=SEED)
def infer(
    target: Any, *, cell: str | Cell | None = None, dtype: str | None = None, seed: int = 0
) -> Inference:
    """Infer the convention of an implementation's parameters, sequences and states.

    Parameters
    ----------
    target
        Anything with a `forward` as in :class:`gatecheck.implementation.protocol.Implementation`.
        Of a declared convention only the names and shapes of the arrays are used; without one its
        ``shapes(D, H)`` gives them, and without that they are canonical.
    cell
        Overrides the cell that it declares. Its activations, the place of its reset, and a forget
        bias at run time are inferred too.
    dtype
        The dtype of the arrays of each call, ``"float32"`` or ``"float64"``; by default float64 if
        the target takes it.
    seed
        Seed of their numbers.

    Returns
    -------
    Inference
        Every convention that explains the results.

    Raises
    ------
    UsageError
        If the cell is a network: conventions of networks are not inferred.
    TargetError
        If the target declares no cell, or its shapes make no sense.
    """
    search = make_probe(subject(target, cell=cell), dtype, seed)
    arrays = parse_axes(search.shapes, search.subject.name)
    for zero_states in (False, True):
        for group in _guess_groups(search, arrays, zero_states=zero_states):
            confirmed: dict[bytes, tuple[Convention, Cell]] = {}
            for guess in group:
                if (key := effect(search, guess)) not in confirmed and _is_confirmed(
                    search, guess, zero_states=zero_states
                ):
                    confirmed[key] = guess.convention, guess.cell
            if confirmed:
                return Inference(tuple(confirmed.values()), not zero_states, search.n_calls)
    return Inference((), True, search.n_calls)
