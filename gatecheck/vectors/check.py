"""The answers to vectors, judged as an audit judges: against results and budgets that are computed
here, from the inputs of a case.

What the folder says that they should be is compared, and otherwise not used.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gatecheck._util.typing import Array, Progress
from gatecheck._util.versions import versions
from gatecheck.accuracy.ulps import errors, ulps
from gatecheck.cases import STATES, Case
from gatecheck.certified.results import certified_results
from gatecheck.checking.budgets import case_budget
from gatecheck.checking.evidence import Violation, agree, blocks, compared
from gatecheck.conventions import Convention
from gatecheck.errors import CaseFileError, TargetError, UsageError
from gatecheck.oracles.rounding import Budget
from gatecheck.vectors.export import in_convention, tolerance_in_convention
from gatecheck.vectors.files import (
    ENDINGS,
    Entry,
    Stored,
    json_array,
    parsed_case,
    parsed_json,
    parsed_npz,
    read_bytes,
    read_manifest,
    shown,
)
from gatecheck.vectors.result import CaseAnswer, Outcome, Quantity, VectorsResult

NAMED = 5
"""How many unknown files or arrays a sentence names."""


def check(folder: str | Path, *, progress: Progress | None = None) -> VectorsResult:
    """Judge the answers in a folder of vectors.

    Parameters
    ----------
    folder
        One that :func:`export` wrote, with ``answers/CASE.npz`` or ``answers/CASE.json`` in it.
    progress
        Called with how many cases are done, of how many, and which is at hand.

    Raises
    ------
    UsageError
        If there is no such folder.
    CaseFileError
        If its manifest is damaged, or its folder of answers is a link.
    TargetError
        If there are no answers.
    """
    folder = Path(folder)
    if not os.path.isdir(folder):
        raise UsageError(
            f"there is no folder {folder}; `gatecheck vectors export {folder}` makes one"
        )
    manifest, entries = read_manifest(folder)
    found = _answer_files(folder)
    known = {f"{e.name}.{ending}" for e in entries for ending in ENDINGS}
    if not known & set(found):
        raise TargetError(
            f"{folder / 'answers'} holds no answers to these {len(entries)} cases: "
            f"write answers/{entries[0].name}.npz or .json and so on, as {folder / 'README.md'} says"
        )
    notes = []
    if extra := [name for name in found if name not in known]:
        notes.append(f"answers/ also holds {_listed(extra)}, which answers no case")
    if not (folder / "cases").is_symlink() and (
        extra := [name for name in _names(folder / "cases") if name not in known]
    ):
        notes.append(f"cases/ also holds {_listed(extra)}, which the manifest does not name")
    results = []
    reasons: dict[str, None] = {}
    for k, entry in enumerate(entries):
        if progress:
            progress(k, len(entries), entry.name)
        answered, more, reason = _check_case(folder, entry, found)
        results.append(answered)
        notes += more
        if reason:
            reasons[reason] = None
    first = entries[0]
    about = versions("python-flint")
    return VectorsResult(
        first.convention.name, first.dtype, manifest["seed"], results, notes, about, list(reasons)
    )


def _answer_files(folder: Path) -> list[str]:
    answers = folder / "answers"
    if answers.is_symlink() or (answers.exists() and not answers.is_dir()):
        raise CaseFileError(f"{answers} is a link or a file, but should be a folder")
    return _names(answers)


def _names(folder: Path) -> list[str]:
    try:
        return sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise CaseFileError(f"{folder} cannot be read: {error.strerror}") from error


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(shown, names[:NAMED])) + (
        f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    )


def _check_case(
    folder: Path, entry: Entry, found: Sequence[str]
) -> tuple[CaseAnswer, list[str], str]:
    """What came back for a case, what else was seen, and why its ulps are not from certified
    values: nothing if they are.
    """
    stored, notes = _stored(folder, entry)
    if stored is None:
        return CaseAnswer(entry.name, entry.cell.name, "damaged", reason="; ".join(notes)), [], ""
    cell, case = entry.cell, stored.case
    budget = case_budget(case)
    expected = in_convention(cell, entry.convention, budget.exact)
    tolerance = tolerance_in_convention(cell, entry.convention, budget.tolerance)
    about: dict[str, Any] = {"name": entry.name, "cell": cell.name, "case": str(case)}

    def unjudged(outcome: Outcome, why: str) -> tuple[CaseAnswer, list[str], str]:
        return (
            CaseAnswer(**about, outcome=outcome, reason=why),
            [*notes, *_differences(entry, stored, expected, tolerance, None)],
            "",
        )

    given = [name for name in (f"{entry.name}.{ending}" for ending in ENDINGS) if name in found]
    if not given:
        return unjudged("missing", f"there is no answers/{entry.name}.npz or .json")
    if len(given) > 1:
        return unjudged("malformed", f"both {' and '.join(given)} answer it: keep one")
    try:
        answer = _read_answer(folder, given[0], entry, case, expected)
    except CaseFileError as error:
        return unjudged("malformed", f"answers/{given[0]}: {error}")
    # which takes seconds, so not before there is something to judge
    certified, reason = certified_results(case)
    nearest = in_convention(cell, entry.convention, certified) if certified else None
    notes += _differences(entry, stored, expected, tolerance, nearest)
    quantities, wrong = judge(case, entry.convention, answer, budget, nearest)
    outcome: Outcome = (
        "failed"
        if wrong
        else "inconclusive"
        if all(q.outcome == "inconclusive" for q in quantities)
        else "passed"
    )
    return CaseAnswer(**about, outcome=outcome, reason=wrong, quantities=quantities), notes, reason


def _stored(folder: Path, entry: Entry) -> tuple[Stored | None, list[str]]:
    """The case, from the first of its files that is as it was exported, and what is wrong with the
    others.
    """
    stored, notes = None, []
    for ending in ENDINGS:
        path = f"cases/{entry.name}.{ending}"
        try:
            data = read_bytes(folder, path)
            if hashlib.sha256(data).hexdigest() != entry.checksums[path]:
                notes.append(
                    f"{path} is not what was exported: its checksum is not that of the manifest"
                )
            elif stored is None:
                stored = parsed_case(entry, ending, data)
        except CaseFileError as error:
            notes.append(f"{path}: {error}")
    return stored, notes


def _differences(
    entry: Entry,
    stored: Stored,
    expected: Mapping[str, Array],
    tolerance: Mapping[str, Array],
    nearest: Mapping[str, Array] | None,
) -> list[str]:
    """Where the folder's own expected results are not what was recomputed; elsewhere they may
    differ by rounding, within the budget.

    Those that the folder calls certified may not, where the nearest numbers are known: there is but
    one nearest.
    """

    def same(given: Array | None, wanted: Array, within: Array) -> bool:
        with np.errstate(all="ignore"):
            return (
                given is not None
                and given.shape == wanted.shape
                and bool((np.abs(given - wanted) <= within).all())
            )

    wrong = [k for k, v in expected.items() if not same(stored.expected.get(k), v, tolerance[k])]
    wrong += [
        f"the tolerance of {k}"
        for k, v in tolerance.items()
        if not same(stored.tolerance.get(k), v, v / 2)
    ]
    if not wrong and entry.certified and nearest:
        off = [k for k, v in nearest.items() if not np.array_equal(stored.expected[k], v)]
        return (
            [
                f"{entry.name}: its files call {', '.join(off)} certified, but not every number is the nearest"
            ]
            if off
            else []
        )
    if not wrong:
        return []
    return [
        f"{entry.name}: its files say otherwise than was recomputed, and are not believed, about {', '.join(wrong)}"
    ]


def _read_answer(
    folder: Path, name: str, entry: Entry, case: Case, expected: Mapping[str, Array]
) -> dict[str, Array]:
    """The arrays that answer a case, of the right names, shapes and dtypes.

    Raises
    ------
    CaseFileError
        Naming everything that is wrong with them.
    """
    data = read_bytes(folder, f"answers/{name}")
    answer = (
        parsed_npz(data)
        if name.endswith(".npz")
        else {k: json_array(k, v) for k, v in parsed_json(data).items()}
    )
    outputs = ["y", *(f"{k}T" for k in entry.cell.state)]
    gradients = [k for k in expected if k not in outputs]
    # The gradient with respect to a state that was absent is often not to be had.
    needed = [k for k in gradients if k[1:] not in STATES or case.get(k[1:]) is not None]
    wrong = []
    if extra := sorted(set(answer) - set(expected)):
        wrong.append(
            f"it holds unknown arrays {_listed(extra)}; the names are {', '.join(expected)}"
        )
    if missing := [
        k for k in (*outputs, *(needed if set(answer) & set(gradients) else ())) if k not in answer
    ]:
        wrong.append(f"it has no {', '.join(missing)}")
    for k in expected:
        if k in answer and answer[k].shape != expected[k].shape:
            wrong.append(
                f"{k} has shape {answer[k].shape}, but should have shape {expected[k].shape}"
            )
        elif k in answer and answer[k].dtype not in (np.dtype(entry.dtype), np.dtype(np.float64)):
            wrong.append(f"{k} has dtype {answer[k].dtype}, but should have dtype {entry.dtype}")
    if wrong:
        raise CaseFileError("; ".join(wrong))
    return answer


def judge(
    case: Case,
    convention: Convention,
    answer: Mapping[str, Array],
    budget: Budget,
    nearest: Mapping[str, Array] | None = None,
) -> tuple[list[Quantity], str]:
    """Each quantity of an answer, and what is wrong with it: nothing if all hold.

    Parameters
    ----------
    case
        What was answered.
    convention
        In whose names and layout.
    answer
        Outputs, and all gradients or none but those of absent states.
    budget
        Of the case.
    nearest
        Certified results in the convention, from which ulps are counted; None to count from the
        budget's.
    """
    cell = case.cell
    expected = in_convention(cell, convention, budget.exact)
    tolerance = tolerance_in_convention(cell, convention, budget.tolerance)
    counts = {
        k: v > 0
        for k, v in tolerance_in_convention(cell, convention, _judgeable(case, budget)).items()
    }
    given = {k: v for k, v in answer.items() if k in expected}
    near = nearest or expected
    quantities = [
        _quantity(k, given[k], expected[k], near[k], tolerance[k], counts[k], budget.dtype)
        for k in expected
        if k in given
    ]
    canonical = {
        k: v
        for k, v in given.items()
        if k in budget.exact and k not in _own_gradients(case, convention)
    }
    if "dx" in given:
        own = {k: given[f"d{k}"] for k in convention.shapes(cell, *case.sizes[2:])}
        canonical |= {f"d{k}": v for k, v in convention.pull_back(cell, own).items()}
    try:
        agree(cell, canonical, budget.exact, budget.tolerance)
    except Violation as violation:
        return quantities, str(violation)
    # Two biases that are added are judged together above, where what one lacks the other may make
    # up for.
    wrong = [q.name for q in quantities if q.outcome == "failed"]
    return quantities, "\n".join(
        _worst_entry(k, given[k], expected[k], tolerance[k]) for k in wrong
    )


def _own_gradients(case: Case, convention: Convention) -> set[str]:
    return {f"d{k}" for k in convention.shapes(case.cell, *case.sizes[2:])}


def _judgeable(case: Case, budget: Budget) -> dict[str, Array]:
    """One for every entry of a block that can be judged, zero for the others."""
    judged = {
        b.label: b.judged for b in compared(case.cell, budget.exact, budget.exact, budget.tolerance)
    }
    out = {k: np.zeros(v.shape) for k, v in budget.exact.items()}
    for name, array in out.items():
        for label, where in blocks(case.cell, name, array):
            array[where] = judged.get(label, True)
    return out


def _ratios(found: Array, expected: Array, tolerance: Array) -> Array:
    with np.errstate(all="ignore"):
        ratios: Array = errors(found, expected) / tolerance
    return ratios


def _quantity(
    name: str,
    found: Array,
    expected: Array,
    nearest: Array,
    tolerance: Array,
    counts: Array,
    dtype: str,
) -> Quantity:
    # A NaN where a number belongs is wrong however large the budget.
    ratios = _ratios(found, expected, tolerance)[counts | np.isinf(errors(found, expected))]
    return Quantity(
        name,
        ulps(found, nearest, dtype).ravel(),
        float(ratios.max()) if ratios.size else None if expected.size else 0.0,
    )


def _worst_entry(name: str, found: Array, expected: Array, tolerance: Array) -> str:
    ratios = _ratios(found, expected, tolerance)
    index = tuple(int(i) for i in np.unravel_index(np.argmax(ratios), ratios.shape))
    f, e, t = (a[index] for a in (found, expected, tolerance))
    return f"{name}[{', '.join(map(str, index))}] is {f:.9g}, but should be {e:.9g} ± {t:.1e} ({ratios[index]:.3g} times its budget)"
