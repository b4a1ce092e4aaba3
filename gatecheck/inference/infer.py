"""Inference of an implementation's convention, from calls with chosen arrays.

With recurrent weights and biases at zero, the outputs of one step determine the order, the polarity
and the place of the input weights; further calls determine those of the recurrent weights and the
place of the reset, then the biases. The result is confirmed on whole sequences within the rounding
budget.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gatecheck._util.arguments import SEED, one_of, optional, validate_args
from gatecheck._util.typing import Array
from gatecheck.cases import Case, draw
from gatecheck.cells import Cell, Sizes, as_cell
from gatecheck.checking.budgets import forward_budget
from gatecheck.checking.evidence import Violation, check_agreement
from gatecheck.conventions import CONVENTIONS, Convention, Layout, as_convention
from gatecheck.conventions.convention import AXES
from gatecheck.conventions.shape_analysis import (
    Axis,
    Shapes,
    Structure,
    is_complete,
    parse_axes,
    possible_structures,
    vector_contents,
)
from gatecheck.errors import ConventionError, TargetError, UsageError
from gatecheck.implementation import Subject
from gatecheck.reference import Results, equations, network_forward

SCREENING_TOLERANCE = {"float32": 2e-4, "float64": 1e-9}
"""Largest relative error of the outputs of one step, by dtype.

Far above rounding, and far below the error of another convention.
"""


@dataclass(frozen=True)
class Inference:
    """The result of an inference.

    Attributes
    ----------
    found
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


class _ProbeCall(NamedTuple):
    """One call of the implementation, of one step."""

    arrays: dict[str, Array]
    x: Array
    states: dict[str, Array]
    results: Results


class Probe:
    """Calls of one implementation with chosen arrays, and comparison of their results."""

    def __init__(self, target: Any, shapes: Shapes, cell: Cell, dtype: str, seed: int) -> None:
        self.target, self.shapes, self.cell, self.dtype = target, shapes, cell, dtype
        self.fixed_sizes: Mapping[str, int] = getattr(target, "sizes", {})
        # Distinct, so that no axis can be mistaken for another.
        self.sizes = Sizes(1, 2, 3, 5)._replace(**self.fixed_sizes)
        self.rng = np.random.default_rng(seed)
        self.n_calls = 0

    def draw_normal(self, *shape: int) -> Array:
        return np.round(self.rng.standard_normal(shape), 3).astype(self.dtype)

    def draw_params(self) -> dict[str, Array]:
        """Draw parameters of the implementation's own shapes."""
        _, _, D, H = self.sizes
        return {
            name: self.draw_normal(*shape) / np.asarray(2, self.dtype)
            for name, shape in self.shapes(D, H).items()
        }

    def call(
        self, frame: Convention, arrays: Mapping[str, Array], *, zero_states: bool = False
    ) -> _ProbeCall | None:
        """Call the implementation for one step; return None if that fails."""
        T, B, D, H = self.sizes
        x, states = (
            self.draw_normal(T, B, D),
            {f"{k}0": self.draw_normal(B, H) / np.asarray(2, self.dtype) for k in self.cell.state},
        )
        states = {k: np.zeros_like(v) for k, v in states.items()} if zero_states else states
        caller = Subject(self.target, "", self.cell, frame, (self.dtype,), frozenset())
        case = Case(
            self.cell,
            {k: np.zeros(v, self.dtype) for k, v in self.cell.param_shapes(D, H).items()}
            | {"x": x}
            | states,
        )
        given = {"params": {k: v.copy() for k, v in arrays.items()}, "x": caller.to_layout(x)}
        given |= {k: frame.state_from_canonical(self.cell, v) for k, v in states.items()}
        self.n_calls += 1
        try:
            results = caller.forward(case, given)
        except TargetError:
            return None
        return (
            _ProbeCall(dict(arrays), x, states, results)
            if all(np.isfinite(v).all() for v in results.values())
            else None
        )

    def matching_indices(
        self, probe_call: _ProbeCall, cell: Cell, params: Sequence[Mapping[str, Array]]
    ) -> list[int]:
        """Return the indices of the parameters with which the cell reproduces a call."""
        stacked = {name: np.stack([p[name] for p in params]).astype(float) for name in params[0]}
        with np.errstate(all="ignore"):
            outputs, _ = network_forward(
                equations(cell),
                stacked
                | {"x": probe_call.x.astype(float)}
                | {k: v.astype(float) for k, v in probe_call.states.items()},
            )
        fits = np.ones(len(params), bool)
        for name, value in probe_call.results.items():
            error = (
                np.abs(outputs[name] - value)
                .reshape(len(params) if outputs[name].ndim > value.ndim else 1, -1)
                .max(-1)
            )
            fits &= error <= SCREENING_TOLERANCE[self.dtype] * max(1.0, float(np.abs(value).max()))
        return [int(k) for k in np.flatnonzero(fits)]


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


def _is_confirmed(probe: Probe, guess: Guess, *, zero_states: bool) -> bool:
    """Return whether whole sequences of other sizes agree within the budget."""
    subject = Subject(
        probe.target,
        "",
        guess.cell,
        guess.convention,
        (probe.dtype,),
        frozenset(),
        probe.fixed_sizes,
    )
    for k, sizes in enumerate((Sizes(6, 3, 2, 4), Sizes(3, 1, 4, 2))):
        case = draw(guess.cell, sizes._replace(**probe.fixed_sizes), seed=k, dtype=probe.dtype)
        case = subject.zero_unsupported(case).replace(
            **{f"{s}0": np.zeros_like(case[f"{s}0"]) for s in guess.cell.state if zero_states}
        )
        budget = forward_budget(case)
        probe.n_calls += 1
        try:
            check_agreement(guess.cell, subject.forward(case), budget.exact, budget.tolerance)
        except (Violation, TargetError):
            return False
    return True


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
        Anything with a `forward` as in :class:`gatecheck.implementation.protocol.Implementation`. Of a declared
        convention only the names and shapes of the arrays are used; without one its
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
    if not callable(getattr(target, "forward", None)):
        raise TargetError(
            f"{type(target).__name__} has no forward(params, x, h0, c0=None), so it is not an "
            "implementation"
        )
    search = make_probe(target, cell, dtype, seed)
    arrays = parse_axes(search.shapes, type(target).__name__)
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


def make_probe(
    target: Any, cell: str | Cell | None, dtype: str | None = None, seed: int = 0
) -> Probe:
    declared = as_cell(getattr(target, "cell", None) or "" if cell is None else cell)
    if len(declared.param_suffixes) > 1 or declared.projection:
        raise UsageError(
            f"the convention of a {declared} is not inferred: only that of one layer in one "
            "direction, without a projection"
        )
    convention = as_convention(getattr(target, "convention", None))
    own: Shapes = getattr(target, "shapes", partial(convention.shapes, declared))
    usual = "float64" if "float64" in getattr(target, "dtypes", ("float64",)) else "float32"
    return Probe(target, own, declared, dtype or usual, seed)


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
