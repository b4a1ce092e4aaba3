"""Resolution of the convention of a target that declares none, tolerating faults.

A fault of the forward shows in some of the calls from which a convention is inferred, and not in
others. The calls that it leaves unchanged are used as they are; for the rest, the arrays are
assumed to hold their gates in the order of the other arrays, or of a known convention.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import fields, replace

from gatecheck.cells import CELLS, Cell
from gatecheck.conventions import CONVENTIONS, Convention, Layout
from gatecheck.conventions.shape_analysis import Structure, axes, structures, vector_contents, whole
from gatecheck.diagnosis.diagnose import BUDGET_S, diagnose
from gatecheck.errors import ConventionError, TargetError
from gatecheck.implementation import Subject
from gatecheck.inference.infer import (
    Guess,
    Questions,
    describe,
    effect,
    frames,
    infer,
    inputs,
    known,
    ordered,
    orders,
    questions,
    recurrent,
    vectors,
)

TRIED = 6
"""Maximum number of conventions in which a target is diagnosed."""


def settled(implementation: Subject) -> Subject:
    """Return an implementation with its convention inferred if it declares none.

    The result of the inference is among its notes.

    Raises
    ------
    TargetError
        If it has arrays of its own shapes and no convention was found for them, with or without a
        fault; or only that of another cell than the requested one, which these arrays cannot hold.
    """
    if (
        not implementation.undeclared
        or len(implementation.cell.tags) > 1
        or implementation.cell.projection
    ):
        return implementation
    inference = infer(implementation.target, cell=implementation.cell)
    if inference.found:
        convention, cell = inference.found[0]
        wanted = _as_declared(implementation.cell, cell)
        if wanted != cell:
            return _another(implementation, convention, wanted, inference.sentence)
        notes = (
            ()
            if convention.name == "canonical" and cell == implementation.cell
            else (f"found: {inference.sentence}",)
        )
        return replace(
            implementation,
            convention=convention,
            cell=cell,
            undeclared=False,
            notes=(*implementation.notes, *notes),
        )
    if getattr(implementation.target, "shapes", None) is None:
        # Canonical after all; recorded, so that it is not inferred again for every property.
        return replace(implementation, undeclared=False)
    faulty = _faulty(implementation)
    if faulty:
        described = "; or ".join(
            f"{describe(s.convention, s.cell)}, with {' and '.join(map(repr, names))}"
            for s, names in faulty
        )
        note = (
            f"{inference.sentence}; apart from a fault, {described}. "
            f"It is audited as {'that' if len(faulty) == 1 else 'the first of these'}"
        )
        return replace(faulty[0][0], notes=(*implementation.notes, note))
    for guess in known(questions(implementation.target, implementation.cell)):
        note = (
            f"{inference.sentence}; the names of its arrays suggest the convention "
            f"{guess.convention.name}"
        )
        return replace(
            implementation,
            convention=guess.convention,
            cell=guess.cell,
            undeclared=False,
            notes=(*implementation.notes, note),
        )
    raise TargetError(
        f"{implementation.name}: {inference.sentence}, nor one with a fault; if it is meant to be "
        "right, declare its convention"
    )


def _as_declared(declared: Cell, found: Cell) -> Cell:
    """Return the inferred cell with the declared options.

    Options count as declared where they differ from the usual cell of the kind.
    """
    usual = CELLS[declared.kind]
    return replace(
        found,
        **{
            f.name: v
            for f in fields(Cell)
            if (v := getattr(declared, f.name)) != getattr(usual, f.name)
        },
    )


def _another(
    implementation: Subject, convention: Convention, wanted: Cell, sentence: str
) -> Subject:
    """Return an implementation of another cell than requested, as the requested cell."""
    note = f"it should be a {wanted}, and is audited as one; found: {sentence}"
    try:
        convention.layout(wanted)
    except ConventionError as error:
        if getattr(implementation.target, "shapes", None) is not None:
            raise TargetError(
                f"{implementation.name} should be a {wanted}, but {sentence}"
            ) from error
        convention = implementation.convention
    return replace(
        implementation,
        convention=convention,
        cell=wanted,
        undeclared=False,
        notes=(*implementation.notes, note),
    )


def _faulty(implementation: Subject) -> list[tuple[Subject, tuple[str, ...]]]:
    """Return the target in the conventions in which the fewest faults explain it.

    Each comes with the names of its faults, which explain all numbers. Conventions of which less
    was confirmed are left out.
    """
    deadline = time.process_time() + BUDGET_S
    candidates: list[tuple[Subject, tuple[str, ...]]] = []
    level = 0
    for guessed, guess in itertools.islice(
        _distinct(questions(implementation.target, implementation.cell)), TRIED
    ):
        remaining = deadline - time.process_time()
        if remaining < 0 or (candidates and guessed > level):
            break
        subject = replace(
            implementation, convention=guess.convention, cell=guess.cell, undeclared=False
        )
        explanations = diagnose(subject, budget_s=remaining).explanations
        if explanations and (not candidates or len(explanations[0].names) <= len(candidates[0][1])):
            candidates = [
                (s, names) for s, names in candidates if len(names) == len(explanations[0].names)
            ] + [(subject, explanations[0].names)]
            level = guessed
    return candidates


# ---- candidates


def _distinct(search: Questions) -> Iterator[tuple[int, Guess]]:
    """Yield guesses with different effects, and how much of each was assumed.

    Those of which more was confirmed by calls come first.
    """
    candidates = [(0, guess) for guess in known(search)]
    for structure in structures(axes(search.shapes, type(search.target).__name__), search.cell):
        guesses = orders(search, structure)
        for frame in frames(structure, search.cell):
            if search.ask(frame, search.arrays()) is not None:
                candidates += _partly(search, structure, guesses, frame)
    seen = set()
    for guessed, guess in sorted(candidates, key=lambda one: one[0]):
        if (key := effect(search, guess)) not in seen:
            seen.add(key)
            yield guessed, guess


def _partly(
    search: Questions, structure: Structure, guesses: list[Guess], frame: Convention
) -> Iterator[tuple[int, Guess]]:
    """Yield guesses in one frame, and how much of each was assumed."""
    # More faults are silent at zero states.
    inferred = list(inputs(search, guesses, frame, zero_states=True))
    for first in inferred or _usual(search, structure, frame):
        after = [(0, more) for more in recurrent(search, structure, first, zero_states=False)]
        for guessed, second in after or [(1, more) for more in _in_order(search, structure, first)]:
            third = [(0, more) for more in vectors(search, structure, second, zero_states=False)]
            for more, last in third or [(1, one) for one in _biases(search, structure, second)]:
                yield 4 * (not inferred) + 2 * guessed + more, last


def _usual(search: Questions, structure: Structure, frame: Convention) -> Iterator[Guess]:
    """Yield the orders and polarities of the known conventions."""
    kind = "gru-before" if search.cell.reset else search.cell.kind
    cell = replace(search.cell, peepholes=False, reset="before" if search.cell.reset else None)
    pairs = {
        (own.order, own.negated)
        for c in CONVENTIONS.values()
        for name, own in c.layouts.items()
        if name.startswith(search.cell.kind)
    }
    for order, negated in sorted(pairs, key=lambda pair: pair[0] != "".join(cell.gates)):
        layout = Layout(
            order, {**_held(structure, order, "U"), **_held(structure, order, "W")}, negated=negated
        )
        yield Guess(replace(frame, layouts={kind: layout}), cell, layout)


def _held(structure: Structure, order: str, part: str) -> dict[str, str]:
    """Return the contents of the matrices with a part, in an order of gates."""
    return next(ordered(structure, order, part))


def _in_order(search: Questions, structure: Structure, so_far: Guess) -> Iterator[Guess]:
    """Yield U in the order of W, with the reset as declared or else before."""
    order = _order(structure, so_far)
    together = all("W" in parts for parts, _ in structure.matrices.values() if "U" in parts)
    for reset in (
        dict.fromkeys((search.cell.reset, "before", "after")) if search.cell.reset else (None,)
    ):
        yield so_far.having(
            replace(so_far.cell, reset=reset), **({} if together else _held(structure, order, "U"))
        )


def _biases(search: Questions, structure: Structure, so_far: Guess) -> Iterator[Guess]:
    """Yield biases in the order of W."""
    cell, order = replace(so_far.cell, peepholes=search.cell.peepholes), _order(structure, so_far)
    each = []
    for name, (multiple, rows) in structure.vectors.items():
        contents = [
            c for c in vector_contents(multiple, rows, cell) if c.partition(" : ")[2] in order
        ]
        each.append(
            [(name, c) for c in sorted(contents, key=lambda c: order.index(c.partition(" : ")[2]))]
        )
    matrices = [
        content for name, content in so_far.layout.arrays.items() if name in structure.matrices
    ]
    for chosen in itertools.product(*each):
        if whole([*matrices, *(content for _, content in chosen)], cell):
            yield so_far.having(cell, **dict(chosen))
            return


def _order(structure: Structure, so_far: Guess) -> str:
    contents = [
        so_far.layout.arrays[name]
        for name, (parts, _) in structure.matrices.items()
        if "W" in parts.split("; ")
    ]
    return "".join(content.partition(" : ")[2] for content in contents)
