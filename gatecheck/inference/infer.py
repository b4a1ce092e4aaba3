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

from gatecheck._util.arguments import SEED, among, checked, perhaps
from gatecheck._util.typing import Array
from gatecheck.cases import Case, draw
from gatecheck.cells import Cell, Sizes, as_cell
from gatecheck.checking.budgets import forward_budget
from gatecheck.checking.evidence import Violation, agree
from gatecheck.conventions import CONVENTIONS, Convention, Layout, as_convention
from gatecheck.conventions.convention import AXES
from gatecheck.conventions.shape_analysis import (
    Axis,
    Shapes,
    Structure,
    axes,
    structures,
    vector_contents,
    whole,
)
from gatecheck.errors import ConventionError, TargetError, UsageError
from gatecheck.implementation import Subject
from gatecheck.reference import Results, ahead, equations

SCREEN = {"float32": 2e-4, "float64": 1e-9}
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
    states_seen
        True if the initial states matter; if an implementation ignores them, their order is open.
    asked
        Number of calls of the implementation.
    """

    found: tuple[tuple[Convention, Cell], ...]
    states_seen: bool
    asked: int

    @property
    def sentence(self) -> str:
        """The result, in words."""
        if not self.found:
            return "no convention that gatecheck can express explains it"
        described = [describe(convention, cell) for convention, cell in self.found]
        sentence = (
            described[0]
            if len(described) == 1
            else f"it cannot be decided here whether {'; or '.join(described)}"
        )
        return sentence + ("" if self.states_seen else "; the initial states are ignored")


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


class _Asked(NamedTuple):
    """One call of the implementation, of one step."""

    arrays: dict[str, Array]
    x: Array
    states: dict[str, Array]
    results: Results


class Questions:
    """Calls of one implementation with chosen arrays, and comparison of their results."""

    def __init__(self, target: Any, shapes: Shapes, cell: Cell, dtype: str, seed: int) -> None:
        self.target, self.shapes, self.cell, self.dtype = target, shapes, cell, dtype
        self.fixed: Mapping[str, int] = getattr(target, "sizes", {})
        # Distinct, so that no axis can be mistaken for another.
        self.sizes = Sizes(1, 2, 3, 5)._replace(**self.fixed)
        self.rng = np.random.default_rng(seed)
        self.asked = 0

    def normal(self, *shape: int) -> Array:
        return np.round(self.rng.standard_normal(shape), 3).astype(self.dtype)

    def arrays(self) -> dict[str, Array]:
        """Draw parameters of the implementation's own shapes."""
        _, _, D, H = self.sizes
        return {
            name: self.normal(*shape) / np.asarray(2, self.dtype)
            for name, shape in self.shapes(D, H).items()
        }

    def ask(
        self, frame: Convention, arrays: Mapping[str, Array], *, zero_states: bool = False
    ) -> _Asked | None:
        """Call the implementation for one step; return None if that fails."""
        T, B, D, H = self.sizes
        x, states = (
            self.normal(T, B, D),
            {f"{k}0": self.normal(B, H) / np.asarray(2, self.dtype) for k in self.cell.state},
        )
        states = {k: np.zeros_like(v) for k, v in states.items()} if zero_states else states
        caller = Subject(self.target, "", self.cell, frame, (self.dtype,), frozenset())
        case = Case(
            self.cell,
            {k: np.zeros(v, self.dtype) for k, v in self.cell.param_shapes(D, H).items()}
            | {"x": x}
            | states,
        )
        given = {"params": {k: v.copy() for k, v in arrays.items()}, "x": caller.laid_out(x)}
        given |= {k: frame.spell_state(self.cell, v) for k, v in states.items()}
        self.asked += 1
        try:
            results = caller.forward(case, given)
        except TargetError:
            return None
        return (
            _Asked(dict(arrays), x, states, results)
            if all(np.isfinite(v).all() for v in results.values())
            else None
        )

    def close(self, asked: _Asked, cell: Cell, params: Sequence[Mapping[str, Array]]) -> list[int]:
        """Return the indices of the parameters with which the cell reproduces a call."""
        stacked = {name: np.stack([p[name] for p in params]).astype(float) for name in params[0]}
        with np.errstate(all="ignore"):
            outputs, _ = ahead(
                equations(cell),
                stacked
                | {"x": asked.x.astype(float)}
                | {k: v.astype(float) for k, v in asked.states.items()},
            )
        fits = np.ones(len(params), bool)
        for name, value in asked.results.items():
            error = (
                np.abs(outputs[name] - value)
                .reshape(len(params) if outputs[name].ndim > value.ndim else 1, -1)
                .max(-1)
            )
            fits &= error <= SCREEN[self.dtype] * max(1.0, float(np.abs(value).max()))
        return [int(k) for k in np.flatnonzero(fits)]


class Guess(NamedTuple):
    """A partial result: a convention that holds the weights, and the cell."""

    convention: Convention
    cell: Cell
    layout: Layout

    def having(self, cell: Cell | None = None, **arrays: str) -> Guess:
        chosen = cell or self.cell
        layout = replace(self.layout, arrays={**self.layout.arrays, **arrays})
        kind = "gru-before" if chosen.reset == "before" else chosen.kind
        return Guess(replace(self.convention, layouts={kind: layout}), chosen, layout)

    def read(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        return self.convention.read(
            self.cell, {name: arrays[name] for name in self.convention.shapes(self.cell, 1, 1)}
        )


def _dialects(cell: Cell) -> list[Cell]:
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


def ordered(
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


def _zeroed(
    partial_: Convention, cell: Cell, arrays: dict[str, Array], keep: str
) -> dict[str, Array]:
    """Return the arrays with everything zero but some canonical parameters."""
    names = partial_.shapes(cell, 1, 1)
    params = partial_.read(cell, {name: arrays[name] for name in names})
    values = {name: v if name in keep.split() else np.zeros_like(v) for name, v in params.items()}
    return {name: np.zeros_like(v) for name, v in arrays.items()} | partial_.spell(cell, values)


def orders(search: Questions, structure: Structure) -> list[Guess]:
    """Return a guess for each order in which the matrices may hold the input weights.

    All have the same frame, which does not affect parameters.
    """
    # Without U the reset has no effect.
    cell = replace(search.cell, reset="before") if search.cell.reset else search.cell
    kind = "gru-before" if cell.reset else cell.kind
    frame, plain = next(frames(structure, search.cell)), replace(cell, peepholes=False)
    interleaving = (False, True) if any(n > 1 for _, n in structure.matrices.values()) else (False,)
    guesses: list[Guess] = []
    for held, between in itertools.product(ordered(structure, cell.gates), interleaving):
        contents = next(ordered(structure, cell.gates, "U")) | held
        layout = Layout("".join(cell.gates), contents)
        guesses.append(
            Guess(replace(frame, interleaved=between, layouts={kind: layout}), plain, layout)
        )
    return guesses


def inputs(
    search: Questions, guesses: Sequence[Guess], frame: Convention, *, zero_states: bool
) -> Iterator[Guess]:
    """Yield guesses that agree on the input weights and the activations.

    They determine the order, polarity and place of the input weights.
    """
    plain = guesses[0].cell
    kind = "gru-before" if plain.reset else plain.kind
    arrays = _zeroed(guesses[0].convention, plain, search.arrays(), "W")
    asked = search.ask(frame, arrays, zero_states=zero_states)
    if asked is None:
        return
    read = [guess.read(arrays) for guess in guesses]
    for negated in itertools.chain.from_iterable(
        itertools.combinations(plain.sigmoid_gates, k) for k in range(4)
    ):
        H = search.sizes[-1]
        signs = np.concatenate([np.full(H, -1.0 if k in negated else 1.0) for k in plain.gates])
        turned = [
            {name: v * signs if name in ("W", "U", "b") else v for name, v in params.items()}
            for params in read
        ]
        for dialect in _dialects(plain):
            for k in search.close(asked, dialect, turned):
                layout = replace(guesses[k].layout, negated="".join(negated))
                spelled = replace(
                    frame, interleaved=guesses[k].convention.interleaved, layouts={kind: layout}
                )
                yield Guess(spelled, dialect, layout)


def recurrent(
    search: Questions, structure: Structure, so_far: Guess, *, zero_states: bool
) -> Iterator[Guess]:
    """Yield guesses that agree on the recurrent weights: order and place of the reset."""
    arrays = _zeroed(so_far.convention, so_far.cell, search.arrays(), "W U")
    asked = search.ask(so_far.convention, arrays, zero_states=zero_states)
    if asked is None:
        return
    together = all("W" in parts for parts, _ in structure.matrices.values() if "U" in parts)
    held = [{}] if together else list(ordered(structure, so_far.cell.gates, "U"))
    resets: tuple[Any, ...] = ("before", "after") if so_far.cell.reset else (None,)
    for reset in resets:
        cell = replace(so_far.cell, reset=reset)
        guesses = [so_far.having(cell, **order) for order in held]
        for k in search.close(asked, cell, [guess.read(arrays) for guess in guesses]):
            yield guesses[k]


def vectors(
    search: Questions, structure: Structure, so_far: Guess, *, zero_states: bool
) -> Iterator[Guess]:
    """Yield guesses that agree on the biases and peepholes, one array at a time."""
    cell = replace(so_far.cell, peepholes=search.cell.peepholes)
    fitting: list[list[dict[str, str]]] = []
    for name, (multiple, rows) in structure.vectors.items():
        drawn = search.arrays()
        arrays = {
            k: np.zeros_like(v) if k in structure.vectors and k != name else v
            for k, v in drawn.items()
        }
        asked = search.ask(so_far.convention, arrays, zero_states=zero_states)
        if asked is None:
            return
        alone = replace(cell, peepholes=False)
        fits = []
        for content in vector_contents(multiple, rows, cell):
            guess = so_far.having(cell if content.startswith("p") else alone, **{name: content})
            fits += (
                [{name: content}] if search.close(asked, guess.cell, [guess.read(arrays)]) else []
            )
        fitting.append(fits)
    matrices = [
        content for name, content in so_far.layout.arrays.items() if name in structure.matrices
    ]
    for chosen in itertools.product(*fitting):
        contents = {name: content for one in chosen for name, content in one.items()}
        if whole([*matrices, *contents.values()], cell):
            yield so_far.having(cell, **contents)


def _confirmed(search: Questions, guess: Guess, *, zero_states: bool) -> bool:
    """Return whether whole sequences of other sizes agree within the budget."""
    subject = Subject(
        search.target, "", guess.cell, guess.convention, (search.dtype,), frozenset(), search.fixed
    )
    for k, sizes in enumerate((Sizes(6, 3, 2, 4), Sizes(3, 1, 4, 2))):
        case = draw(guess.cell, sizes._replace(**search.fixed), seed=k, dtype=search.dtype)
        case = subject.possible(case).having(
            **{f"{s}0": np.zeros_like(case[f"{s}0"]) for s in guess.cell.state if zero_states}
        )
        budget = forward_budget(case)
        search.asked += 1
        try:
            agree(guess.cell, subject.forward(case), budget.exact, budget.tolerance)
        except (Violation, TargetError):
            return False
    return True


def known(search: Questions) -> Iterator[Guess]:
    """Yield the named conventions with arrays of these names and shapes."""
    kinds = (
        [replace(search.cell, reset=reset) for reset in ("after", "before")]
        if search.cell.reset
        else [search.cell]
    )
    for convention, cell in itertools.product(CONVENTIONS.values(), kinds):
        try:
            same = all(
                convention.shapes(cell, D, H) == dict(search.shapes(D, H))
                for D, H in ((3, 5), (4, 6))
            )
        except ConventionError:
            continue
        if same:
            layout = convention.layouts["gru-before" if cell.reset == "before" else cell.kind]
            yield from (Guess(convention, dialect, layout) for dialect in _dialects(cell))


def _guesses(
    search: Questions, arrays: Mapping[str, tuple[Axis, ...]], *, zero_states: bool
) -> Iterator[Iterator[Guess]]:
    """Yield groups of guesses; later groups matter only if no guess is confirmed."""
    yield known(search)
    for structure in structures(arrays, search.cell):
        guesses = orders(search, structure)
        for frame in frames(structure, search.cell):
            for first in inputs(search, guesses, frame, zero_states=zero_states):
                for more in recurrent(search, structure, first, zero_states=zero_states):
                    yield vectors(search, structure, more, zero_states=zero_states)


@checked(dtype=perhaps(among("float32", "float64")), seed=SEED)
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
    search = questions(target, cell, dtype, seed)
    arrays = axes(search.shapes, type(target).__name__)
    for zero_states in (False, True):
        for group in _guesses(search, arrays, zero_states=zero_states):
            confirmed: dict[bytes, tuple[Convention, Cell]] = {}
            for guess in group:
                if (key := effect(search, guess)) not in confirmed and _confirmed(
                    search, guess, zero_states=zero_states
                ):
                    confirmed[key] = guess.convention, guess.cell
            if confirmed:
                return Inference(tuple(confirmed.values()), not zero_states, search.asked)
    return Inference((), True, search.asked)


def questions(
    target: Any, cell: str | Cell | None, dtype: str | None = None, seed: int = 0
) -> Questions:
    declared = as_cell(getattr(target, "cell", None) or "" if cell is None else cell)
    if len(declared.tags) > 1 or declared.projection:
        raise UsageError(
            f"the convention of a {declared} is not inferred: only that of one layer in one "
            "direction, without a projection"
        )
    convention = as_convention(getattr(target, "convention", None))
    own: Shapes = getattr(target, "shapes", partial(convention.shapes, declared))
    usual = "float64" if "float64" in getattr(target, "dtypes", ("float64",)) else "float32"
    return Questions(target, own, declared, dtype or usual, seed)


def effect(search: Questions, guess: Guess) -> bytes:
    """Return the meaning of a guess: equal bytes for guesses that cannot differ."""
    rng = np.random.default_rng(0)
    _, _, D, H = search.sizes
    arrays = {name: rng.standard_normal(shape) for name, shape in search.shapes(D, H).items()}
    frame = guess.convention
    read = b"".join(v.tobytes() for v in guess.read(arrays).values())
    return (
        read + f"{guess.cell}{frame.axes}{frame.columns}{frame.state_axes}{frame.states}".encode()
    )
