"""The convention of a target that declares none: the one that was found to be its own, or that
would be, were it not for a fault.

A fault of the forward is seen in some of the questions by which a convention is found and not in
others. Those that it leaves as they are still say what they say; where it does not, the arrays are
taken to hold their gates in the order of the others, or of a known convention.
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
"""How many conventions a target is diagnosed in, at most."""


def settled(implementation: Subject) -> Subject:
    """An implementation with the convention that it was found to follow, if it declares none; what
    was found is among its notes.

    Raises
    ------
    TargetError
        If it has arrays of its own shapes, and no convention was found for them, with or without a
        fault; or one only as another cell than it is to be, which these arrays cannot be.
    """
    if (
        not implementation.undeclared
        or len(implementation.cell.tags) > 1
        or implementation.cell.projection
    ):
        return implementation
    found = infer(implementation.target, cell=implementation.cell)
    if found.found:
        convention, cell = found.found[0]
        wanted = _as_declared(implementation.cell, cell)
        if wanted != cell:
            return _another(implementation, convention, wanted, found.sentence)
        said = (
            ()
            if convention.name == "canonical" and cell == implementation.cell
            else (f"found: {found.sentence}",)
        )
        return replace(
            implementation,
            convention=convention,
            cell=cell,
            undeclared=False,
            notes=(*implementation.notes, *said),
        )
    if getattr(implementation.target, "shapes", None) is None:
        # canonical after all, and not to be asked again for every property
        return replace(implementation, undeclared=False)
    faulty = _faulty(implementation)
    if faulty:
        but = "; or ".join(
            f"{describe(s.convention, s.cell)}, with {' and '.join(map(repr, names))}"
            for s, names in faulty
        )
        note = f"{found.sentence}; but for a fault {but}. It is audited as {'that' if len(faulty) == 1 else 'the first of these'}"
        return replace(faulty[0][0], notes=(*implementation.notes, note))
    for guess in known(questions(implementation.target, implementation.cell)):
        note = f"{found.sentence}; from the names of its arrays it is taken for {guess.convention.name}"
        return replace(
            implementation,
            convention=guess.convention,
            cell=guess.cell,
            undeclared=False,
            notes=(*implementation.notes, note),
        )
    raise TargetError(
        f"{implementation.name}: {found.sentence}, nor one with a fault; if it is meant to be right, declare its convention"
    )


def _as_declared(declared: Cell, found: Cell) -> Cell:
    """What was found, with the options that were declared: those in which a declared cell is not
    the usual one of its kind.
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
    """An implementation of another cell than it is to be, audited as what it is to be."""
    note = f"it is to be a {wanted}, and is audited as that; found: {sentence}"
    try:
        convention.layout(wanted)
    except ConventionError as error:
        if getattr(implementation.target, "shapes", None) is not None:
            raise TargetError(
                f"{implementation.name} is to be a {wanted}, but {sentence}"
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
    """The target in each convention in which faults explain all numbers, the fewest, and which;
    none of which less was confirmed.
    """
    deadline = time.process_time() + BUDGET_S
    found: list[tuple[Subject, tuple[str, ...]]] = []
    at = 0
    for guessed, guess in itertools.islice(
        _distinct(questions(implementation.target, implementation.cell)), TRIED
    ):
        left = deadline - time.process_time()
        if left < 0 or (found and guessed > at):
            break
        subject = replace(
            implementation, convention=guess.convention, cell=guess.cell, undeclared=False
        )
        made = diagnose(subject, budget_s=left).explanations
        if made and (not found or len(made[0].names) <= len(found[0][1])):
            found = [(s, names) for s, names in found if len(names) == len(made[0].names)] + [
                (subject, made[0].names)
            ]
            at = guessed
    return found


# ---- what it may follow


def _distinct(search: Questions) -> Iterator[tuple[int, Guess]]:
    """Guesses with different effects and how much of each was guessed, those first of which more
    was confirmed by asking.
    """
    found = [(0, guess) for guess in known(search)]
    for structure in structures(axes(search.shapes, type(search.target).__name__), search.cell):
        guesses = orders(search, structure)
        for frame in frames(structure, search.cell):
            if search.ask(frame, search.arrays()) is not None:
                found += _partly(search, structure, guesses, frame)
    seen = set()
    for guessed, guess in sorted(found, key=lambda one: one[0]):
        if (made := effect(search, guess)) not in seen:
            seen.add(made)
            yield guessed, guess


def _partly(
    search: Questions, structure: Structure, guesses: list[Guess], frame: Convention
) -> Iterator[tuple[int, Guess]]:
    """Guesses in one frame, and how much of each was guessed."""
    # At zero states more faults are silent.
    told = list(inputs(search, guesses, frame, zero_states=True))
    for first in told or _usual(search, structure, frame):
        after = [(0, more) for more in recurrent(search, structure, first, zero_states=False)]
        for guessed, second in after or [(1, more) for more in _in_order(search, structure, first)]:
            third = [(0, more) for more in vectors(search, structure, second, zero_states=False)]
            for more, last in third or [(1, one) for one in _biases(search, structure, second)]:
                yield 4 * (not told) + 2 * guessed + more, last


def _usual(search: Questions, structure: Structure, frame: Convention) -> Iterator[Guess]:
    """The orders and polarities of the conventions that are known."""
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
    """What the matrices with a part hold, in that order."""
    return next(ordered(structure, order, part))


def _in_order(search: Questions, structure: Structure, so_far: Guess) -> Iterator[Guess]:
    """U in the order of W, with the reset where the target declares it to be or else before."""
    order = _order(structure, so_far)
    together = all("W" in parts for parts, _ in structure.matrices.values() if "U" in parts)
    for reset in (
        dict.fromkeys((search.cell.reset, "before", "after")) if search.cell.reset else (None,)
    ):
        yield so_far.having(
            replace(so_far.cell, reset=reset), **({} if together else _held(structure, order, "U"))
        )


def _biases(search: Questions, structure: Structure, so_far: Guess) -> Iterator[Guess]:
    """Biases in the order of W."""
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
