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
from gatecheck.conventions.shape_analysis import (
    Structure,
    is_complete,
    parse_axes,
    possible_structures,
    vector_contents,
)
from gatecheck.diagnosis.diagnose import TIME_LIMIT_S, diagnose
from gatecheck.errors import ConventionError, TargetError
from gatecheck.implementation import Subject
from gatecheck.inference.guess import (
    Guess,
    effect,
    frames,
    gate_orders,
    input_orders,
    known_conventions,
    match_input_weights,
    match_recurrent_weights,
    match_vectors,
)
from gatecheck.inference.infer import describe, infer
from gatecheck.inference.probe import Probe, make_probe

MAX_CONVENTIONS = 6
"""Maximum number of conventions in which a target is diagnosed."""


def resolve_convention(implementation: Subject) -> Subject:
    """Return an implementation with its convention inferred if it declares none.

    The result of the inference is among its notes.

    Raises
    ------
    TargetError
        If it has arrays of its own shapes and no convention was found for them, with or without a
        fault; or only that of another cell than the requested one, which these arrays cannot hold.
    """
    if (
        not implementation.convention_assumed
        or len(implementation.cell.param_suffixes) > 1
        or implementation.cell.projection
    ):
        return implementation
    inference = infer(implementation)
    if inference.matches:
        convention, cell = inference.matches[0]
        wanted = _with_declared_options(implementation.cell, cell)
        if wanted != cell:
            return _resolve_other_cell(implementation, convention, wanted, inference.sentence)
        notes = (
            ()
            if convention.name == "canonical" and cell == implementation.cell
            else (f"found: {inference.sentence}",)
        )
        return replace(
            implementation,
            convention=convention,
            cell=cell,
            convention_assumed=False,
            notes=(*implementation.notes, *notes),
        )
    if not implementation.has_shapes:
        # Canonical after all; recorded, so that it is not inferred again for every property.
        return replace(implementation, convention_assumed=False)
    faulty = _resolve_with_faults(implementation)
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
    for guess in known_conventions(make_probe(implementation)):
        note = (
            f"{inference.sentence}; the names of its arrays suggest the convention "
            f"{guess.convention.name}"
        )
        return replace(
            implementation,
            convention=guess.convention,
            cell=guess.cell,
            convention_assumed=False,
            notes=(*implementation.notes, note),
        )
    raise TargetError(
        f"{implementation.name}: {inference.sentence}, nor one with a fault; if it is meant to be "
        "right, declare its convention"
    )


def _with_declared_options(declared: Cell, inferred: Cell) -> Cell:
    """Return the inferred cell with the declared options.

    Options count as declared where they differ from the usual cell of the kind.
    """
    usual = CELLS[declared.kind]
    return replace(
        inferred,
        **{
            f.name: v
            for f in fields(Cell)
            if (v := getattr(declared, f.name)) != getattr(usual, f.name)
        },
    )


def _resolve_other_cell(
    implementation: Subject, convention: Convention, requested: Cell, sentence: str
) -> Subject:
    """Return an implementation of another cell than requested, as the requested cell."""
    note = f"it should be a {requested}, and is audited as one; found: {sentence}"
    try:
        convention.layout(requested)
    except ConventionError as error:
        if implementation.has_shapes:
            raise TargetError(
                f"{implementation.name} should be a {requested}, but {sentence}"
            ) from error
        convention = implementation.convention
    return replace(
        implementation,
        convention=convention,
        cell=requested,
        convention_assumed=False,
        notes=(*implementation.notes, note),
    )


def _resolve_with_faults(implementation: Subject) -> list[tuple[Subject, tuple[str, ...]]]:
    """Return the target in the conventions in which the fewest faults explain it.

    Each comes with the names of its faults, which explain all numbers. Conventions of which less
    was confirmed are left out.
    """
    deadline = time.process_time() + TIME_LIMIT_S
    candidates: list[tuple[Subject, tuple[str, ...]]] = []
    level = 0
    for guessed, guess in itertools.islice(
        _distinct_guesses(make_probe(implementation)), MAX_CONVENTIONS
    ):
        remaining = deadline - time.process_time()
        if remaining < 0 or (candidates and guessed > level):
            break
        subject = replace(
            implementation, convention=guess.convention, cell=guess.cell, convention_assumed=False
        )
        explanations = diagnose(subject, time_limit_s=remaining).explanations
        if explanations and (not candidates or len(explanations[0].names) <= len(candidates[0][1])):
            candidates = [
                (s, names) for s, names in candidates if len(names) == len(explanations[0].names)
            ] + [(subject, explanations[0].names)]
            level = guessed
    return candidates


# ---- candidates


def _distinct_guesses(probe: Probe) -> Iterator[tuple[int, Guess]]:
    """Yield guesses with different effects, and how much of each was assumed.

    Those of which more was confirmed by calls come first.
    """
    candidates = [(0, guess) for guess in known_conventions(probe)]
    for structure in possible_structures(parse_axes(probe.shapes, probe.subject.name), probe.cell):
        guesses = input_orders(probe, structure)
        for frame in frames(structure, probe.cell):
            if probe.call(frame, probe.draw_params()) is not None:
                candidates += _partial_guesses(probe, structure, guesses, frame)
    seen = set()
    for guessed, guess in sorted(candidates, key=lambda one: one[0]):
        if (key := effect(probe, guess)) not in seen:
            seen.add(key)
            yield guessed, guess


def _partial_guesses(
    probe: Probe, structure: Structure, guesses: list[Guess], frame: Convention
) -> Iterator[tuple[int, Guess]]:
    """Yield guesses in one frame, and how much of each was assumed."""
    # More faults are silent at zero states.
    inferred = list(match_input_weights(probe, guesses, frame, zero_states=True))
    for first in inferred or _usual_orders(probe, structure, frame):
        after = [
            (0, more)
            for more in match_recurrent_weights(probe, structure, first, zero_states=False)
        ]
        for guessed, second in after or [
            (1, more) for more in _recurrent_in_input_order(probe, structure, first)
        ]:
            third = [
                (0, more) for more in match_vectors(probe, structure, second, zero_states=False)
            ]
            for more, last in third or [
                (1, one) for one in _biases_in_input_order(probe, structure, second)
            ]:
                yield 4 * (not inferred) + 2 * guessed + more, last


def _usual_orders(probe: Probe, structure: Structure, frame: Convention) -> Iterator[Guess]:
    """Yield the orders and polarities of the known conventions."""
    kind = "gru-before" if probe.cell.reset else probe.cell.kind
    cell = replace(probe.cell, peepholes=False, reset="before" if probe.cell.reset else None)
    pairs = {
        (own.order, own.negated)
        for c in CONVENTIONS.values()
        for name, own in c.layouts.items()
        if name.startswith(probe.cell.kind)
    }
    for order, negated in sorted(pairs, key=lambda pair: pair[0] != "".join(cell.gates)):
        layout = Layout(
            order,
            {**_matrix_contents(structure, order, "U"), **_matrix_contents(structure, order, "W")},
            negated=negated,
        )
        yield Guess(replace(frame, layouts={kind: layout}), cell, layout)


def _matrix_contents(structure: Structure, order: str, part: str) -> dict[str, str]:
    """Return the contents of the matrices with a part, in an order of gates."""
    return next(gate_orders(structure, order, part))


def _recurrent_in_input_order(
    probe: Probe, structure: Structure, partial_guess: Guess
) -> Iterator[Guess]:
    """Yield U in the order of W, with the reset as declared or else before."""
    order = _input_order(structure, partial_guess)
    together = all("W" in parts for parts, _ in structure.matrices.values() if "U" in parts)
    for reset in (
        dict.fromkeys((probe.cell.reset, "before", "after")) if probe.cell.reset else (None,)
    ):
        yield partial_guess.replace(
            replace(partial_guess.cell, reset=reset),
            **({} if together else _matrix_contents(structure, order, "U")),
        )


def _biases_in_input_order(
    probe: Probe, structure: Structure, partial_guess: Guess
) -> Iterator[Guess]:
    """Yield biases in the order of W."""
    cell, order = (
        replace(partial_guess.cell, peepholes=probe.cell.peepholes),
        _input_order(structure, partial_guess),
    )
    each = []
    for name, (multiple, rows) in structure.vectors.items():
        contents = [
            c for c in vector_contents(multiple, rows, cell) if c.partition(" : ")[2] in order
        ]
        each.append(
            [(name, c) for c in sorted(contents, key=lambda c: order.index(c.partition(" : ")[2]))]
        )
    matrices = [
        content
        for name, content in partial_guess.layout.arrays.items()
        if name in structure.matrices
    ]
    for chosen in itertools.product(*each):
        if is_complete([*matrices, *(content for _, content in chosen)], cell):
            yield partial_guess.replace(cell, **dict(chosen))
            return


def _input_order(structure: Structure, partial_guess: Guess) -> str:
    contents = [
        partial_guess.layout.arrays[name]
        for name, (parts, _) in structure.matrices.items()
        if "W" in parts.split("; ")
    ]
    return "".join(content.partition(" : ")[2] for content in contents)
