"""Guesses at a convention, one array after the other, that agree with calls."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.conventions import CONVENTIONS, Convention, Layout
from gatecheck.conventions.convention import AXES
from gatecheck.conventions.shape_analysis import Structure, is_complete, vector_contents
from gatecheck.errors import ConventionError
from gatecheck.inference.probe import Probe


class Guess(NamedTuple):
    """A partial result: a convention that holds the weights, and the cell."""

    convention: Convention
    cell: Cell
    layout: Layout

    def replace(self, cell: Cell | None = None, **arrays: str) -> Guess:
        chosen = cell or self.cell
        layout = replace(self.layout, arrays={**self.layout.arrays, **arrays})
        kind = "gru-before" if chosen.reset == "before" else chosen.kind
        return Guess(replace(self.convention, layouts={kind: layout}), chosen, layout)

    def to_canonical(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        return self.convention.to_canonical(
            self.cell, {name: arrays[name] for name in self.convention.shapes(self.cell, 1, 1)}
        )


def _cell_variants(cell: Cell) -> list[Cell]:
    """Return the cell with other activations or a forget bias at run time."""
    if cell.kind == "rnn":
        return [replace(cell, activation=a) for a in ("tanh", "relu", "sigmoid")]
    biases_at_run_time = (0.0, 1.0) if cell.kind == "lstm" else (0.0,)
    return [
        replace(cell, hard=hard, forget_bias=bias)
        for hard in (None, 5, 6)
        for bias in biases_at_run_time
    ]


def frames(structure: Structure, cell: Cell) -> Iterator[Convention]:
    """Yield the possible layouts of sequences and states."""
    orders = ("hc", "ch") if "c" in cell.state else ("hc",)
    state_layouts: tuple[dict[str, Any], ...] = (
        {},
        {"columns": True},
        {"state_axes": "BNH"},
        {"state_axes": "NBH"},
    )
    own: dict[str, Any] = {
        "rows": structure.rows,
        "vectors": structure.form,
        "stacked": structure.stacked,
    }
    for axes_, of_states, states in itertools.product(AXES, state_layouts, orders):
        yield Convention("inferred", {}, axes=axes_, states=states, **own, **of_states)


def gate_orders(
    structure: Structure, gates: Sequence[str], part: str = "W"
) -> Iterator[dict[str, str]]:
    """Yield the contents of matrices with a part, by name, for each gate order."""
    holders = {name: own for name, own in structure.matrices.items() if part in own[0].split("; ")}
    for order in itertools.permutations(gates):
        remaining, out = list(order), {}
        for name, (parts, n) in holders.items():
            out[name] = f"{parts} : {''.join(remaining[:n])}"
            del remaining[:n]
        yield out


def _zero_other_params(
    convention: Convention, cell: Cell, arrays: dict[str, Array], kept_params: str
) -> dict[str, Array]:
    """Return the arrays with everything zero but some canonical parameters."""
    names = convention.shapes(cell, 1, 1)
    params = convention.to_canonical(cell, {name: arrays[name] for name in names})
    values = {
        name: v if name in kept_params.split() else np.zeros_like(v) for name, v in params.items()
    }
    return {name: np.zeros_like(v) for name, v in arrays.items()} | convention.from_canonical(
        cell, values
    )


def input_orders(probe: Probe, structure: Structure) -> list[Guess]:
    """Return a guess for each order in which the matrices may hold the input weights.

    All have the same frame, which does not affect parameters.
    """
    # Without U the reset has no effect.
    cell = replace(probe.cell, reset="before") if probe.cell.reset else probe.cell
    kind = "gru-before" if cell.reset else cell.kind
    frame, plain = next(frames(structure, probe.cell)), replace(cell, peepholes=False)
    interleaving = (False, True) if any(n > 1 for _, n in structure.matrices.values()) else (False,)
    guesses: list[Guess] = []
    for held, between in itertools.product(gate_orders(structure, cell.gates), interleaving):
        contents = next(gate_orders(structure, cell.gates, "U")) | held
        layout = Layout("".join(cell.gates), contents)
        guesses.append(
            Guess(replace(frame, interleaved=between, layouts={kind: layout}), plain, layout)
        )
    return guesses


def match_input_weights(
    probe: Probe, guesses: Sequence[Guess], frame: Convention, *, zero_states: bool
) -> Iterator[Guess]:
    """Yield guesses that agree on the input weights and the activations.

    They determine the order, polarity and place of the input weights.
    """
    plain = guesses[0].cell
    kind = "gru-before" if plain.reset else plain.kind
    arrays = _zero_other_params(guesses[0].convention, plain, probe.draw_params(), "W")
    asked = probe.call(frame, arrays, zero_states=zero_states)
    if asked is None:
        return
    read = [guess.to_canonical(arrays) for guess in guesses]
    for negated in itertools.chain.from_iterable(
        itertools.combinations(plain.sigmoid_gates, k) for k in range(4)
    ):
        H = probe.sizes[-1]
        signs = np.concatenate([np.full(H, -1.0 if k in negated else 1.0) for k in plain.gates])
        turned = [
            {name: v * signs if name in ("W", "U", "b") else v for name, v in params.items()}
            for params in read
        ]
        for dialect in _cell_variants(plain):
            for k in probe.matching_indices(asked, dialect, turned):
                layout = replace(guesses[k].layout, negated="".join(negated))
                spelled = replace(
                    frame, interleaved=guesses[k].convention.interleaved, layouts={kind: layout}
                )
                yield Guess(spelled, dialect, layout)


def match_recurrent_weights(
    probe: Probe, structure: Structure, partial_guess: Guess, *, zero_states: bool
) -> Iterator[Guess]:
    """Yield guesses that agree on the recurrent weights: order and place of the reset."""
    arrays = _zero_other_params(
        partial_guess.convention, partial_guess.cell, probe.draw_params(), "W U"
    )
    asked = probe.call(partial_guess.convention, arrays, zero_states=zero_states)
    if asked is None:
        return
    together = all("W" in parts for parts, _ in structure.matrices.values() if "U" in parts)
    held = [{}] if together else list(gate_orders(structure, partial_guess.cell.gates, "U"))
    resets: tuple[Any, ...] = ("before", "after") if partial_guess.cell.reset else (None,)
    for reset in resets:
        cell = replace(partial_guess.cell, reset=reset)
        guesses = [partial_guess.replace(cell, **order) for order in held]
        for k in probe.matching_indices(
            asked, cell, [guess.to_canonical(arrays) for guess in guesses]
        ):
            yield guesses[k]


def match_vectors(
    probe: Probe, structure: Structure, partial_guess: Guess, *, zero_states: bool
) -> Iterator[Guess]:
    """Yield guesses that agree on the biases and peepholes, one array at a time."""
    cell = replace(partial_guess.cell, peepholes=probe.cell.peepholes)
    fitting: list[list[dict[str, str]]] = []
    for name, (multiple, rows) in structure.vectors.items():
        drawn = probe.draw_params()
        arrays = {
            k: np.zeros_like(v) if k in structure.vectors and k != name else v
            for k, v in drawn.items()
        }
        asked = probe.call(partial_guess.convention, arrays, zero_states=zero_states)
        if asked is None:
            return
        alone = replace(cell, peepholes=False)
        fits = []
        for content in vector_contents(multiple, rows, cell):
            guess = partial_guess.replace(
                cell if content.startswith("p") else alone, **{name: content}
            )
            fits += (
                [{name: content}]
                if probe.matching_indices(asked, guess.cell, [guess.to_canonical(arrays)])
                else []
            )
        fitting.append(fits)
    matrices = [
        content
        for name, content in partial_guess.layout.arrays.items()
        if name in structure.matrices
    ]
    for chosen in itertools.product(*fitting):
        contents = {name: content for one in chosen for name, content in one.items()}
        if is_complete([*matrices, *contents.values()], cell):
            yield partial_guess.replace(cell, **contents)


def known_conventions(probe: Probe) -> Iterator[Guess]:
    """Yield the named conventions with arrays of these names and shapes."""
    kinds = (
        [replace(probe.cell, reset=reset) for reset in ("after", "before")]
        if probe.cell.reset
        else [probe.cell]
    )
    for convention, cell in itertools.product(CONVENTIONS.values(), kinds):
        try:
            same = all(
                convention.shapes(cell, D, H) == dict(probe.shapes(D, H))
                for D, H in ((3, 5), (4, 6))
            )
        except ConventionError:
            continue
        if same:
            layout = convention.layouts["gru-before" if cell.reset == "before" else cell.kind]
            yield from (Guess(convention, dialect, layout) for dialect in _cell_variants(cell))


def effect(probe: Probe, guess: Guess) -> bytes:
    """Return the meaning of a guess: equal bytes for guesses that cannot differ."""
    rng = np.random.default_rng(0)
    _, _, D, H = probe.sizes
    arrays = {name: rng.standard_normal(shape) for name, shape in probe.shapes(D, H).items()}
    frame = guess.convention
    read = b"".join(v.tobytes() for v in guess.to_canonical(arrays).values())
    return (
        read + f"{guess.cell}{frame.axes}{frame.columns}{frame.state_axes}{frame.states}".encode()
    )
