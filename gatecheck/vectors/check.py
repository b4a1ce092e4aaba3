"""Check of answers to vectors, judged as an audit judges.

They are compared with results and budgets that are computed here, from the inputs of a case. The
expected results in the folder are compared too, and otherwise not used.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gatecheck._util.text import list_names
from gatecheck._util.typing import Array, Progress
from gatecheck._util.versions import versions
from gatecheck.accuracy.ulps import absolute_errors, ulp_errors
from gatecheck.cases import STATES, Case
from gatecheck.certified.results import certified_results
from gatecheck.checking.budgets import case_budget
from gatecheck.checking.evidence import Violation, check_agreement, compare_blocks, result_blocks
from gatecheck.conventions import Convention
from gatecheck.errors import CaseFileError, TargetError, UsageError
from gatecheck.oracles.rounding import Budget
from gatecheck.vectors.export import to_convention, tolerance_to_convention
from gatecheck.vectors.files import EXTENSIONS, ManifestEntry, StoredCase, parse_case, read_manifest
from gatecheck.vectors.parsing import abbreviate, parse_array, parse_json, parse_npz, read_bytes
from gatecheck.vectors.result import AnswerOutcome, CaseAnswer, Quantity, VectorsResult

MAX_NAMES = 5
"""Number of unknown files or arrays that a sentence names."""


def check(folder: str | Path, *, progress: Progress | None = None) -> VectorsResult:
    """Judge the answers in a folder of vectors.

    Parameters
    ----------
    folder
        One that :func:`gatecheck.vectors.export.export` wrote, with ``answers/CASE.npz`` or
        ``answers/CASE.json`` in it.
    progress
        Called with the number of cases done, the total, and the name of the current case.

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
    answer_files = _answer_files(folder)
    known = {f"{e.name}.{ending}" for e in entries for ending in EXTENSIONS}
    if not known & set(answer_files):
        raise TargetError(
            f"{folder / 'answers'} holds no answers to these {len(entries)} cases: "
            f"write answers/{entries[0].name}.npz or .json and so on, "
            f"as {folder / 'README.md'} says"
        )
    notes = []
    if extra := [name for name in answer_files if name not in known]:
        notes.append(f"answers/ also holds {_join_names(extra)}, which answers no case")
    if not (folder / "cases").is_symlink() and (
        extra := [name for name in _file_names(folder / "cases") if name not in known]
    ):
        notes.append(f"cases/ also holds {_join_names(extra)}, which the manifest does not name")
    results = []
    reasons: dict[str, None] = {}
    for k, entry in enumerate(entries):
        if progress:
            progress(k, len(entries), entry.name)
        case_answer, case_notes, reason = _check_case(folder, entry, answer_files)
        results.append(case_answer)
        notes += case_notes
        if reason:
            reasons[reason] = None
    first = entries[0]
    package_versions = versions("python-flint")
    return VectorsResult(
        first.convention.name,
        first.dtype,
        manifest["seed"],
        results,
        notes,
        package_versions,
        list(reasons),
    )


def _answer_files(folder: Path) -> list[str]:
    answers = folder / "answers"
    if answers.is_symlink() or (answers.exists() and not answers.is_dir()):
        raise CaseFileError(f"{answers} is a link or a file, but should be a folder")
    return _file_names(answers)


def _file_names(folder: Path) -> list[str]:
    try:
        return sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise CaseFileError(f"{folder} cannot be read: {error.strerror}") from error


def _join_names(names: Sequence[str]) -> str:
    return list_names([abbreviate(name) for name in names], MAX_NAMES)


def _check_case(
    folder: Path, entry: ManifestEntry, answer_files: Sequence[str]
) -> tuple[CaseAnswer, list[str], str]:
    """Judge the answer to a case.

    Returns
    -------
    answer
        The answer, judged.
    notes
        Anything else that was noticed.
    reason
        Why ulps are not from certified values; empty if they are.
    """
    stored, notes = _load_case(folder, entry)
    if stored is None:
        return CaseAnswer(entry.name, entry.cell.name, "damaged", reason="; ".join(notes)), [], ""
    cell, case = entry.cell, stored.case
    budget = case_budget(case)
    expected = to_convention(cell, entry.convention, budget.exact)
    tolerance = tolerance_to_convention(cell, entry.convention, budget.tolerance)
    fields: dict[str, Any] = {"name": entry.name, "cell": cell.name, "case": str(case)}

    def unjudged(outcome: AnswerOutcome, why: str) -> tuple[CaseAnswer, list[str], str]:
        return (
            CaseAnswer(**fields, outcome=outcome, reason=why),
            [*notes, *_differences(entry, stored, expected, tolerance, None)],
            "",
        )

    names = [
        name for name in (f"{entry.name}.{ending}" for ending in EXTENSIONS) if name in answer_files
    ]
    if not names:
        return unjudged("missing", f"there is no answers/{entry.name}.npz or .json")
    if len(names) > 1:
        return unjudged("malformed", f"both {' and '.join(names)} answer it: keep one")
    try:
        answer = _read_answer(folder, names[0], entry, case, expected)
    except CaseFileError as error:
        return unjudged("malformed", f"answers/{names[0]}: {error}")
    # This takes seconds, so only once there is something to judge.
    certified, reason = certified_results(case)
    nearest = to_convention(cell, entry.convention, certified) if certified else None
    notes += _differences(entry, stored, expected, tolerance, nearest)
    quantities, wrong = judge(case, entry.convention, answer, budget, nearest)
    outcome: AnswerOutcome = (
        "failed"
        if wrong
        else "inconclusive"
        if all(q.outcome == "inconclusive" for q in quantities)
        else "passed"
    )
    return CaseAnswer(**fields, outcome=outcome, reason=wrong, quantities=quantities), notes, reason


def _load_case(folder: Path, entry: ManifestEntry) -> tuple[StoredCase | None, list[str]]:
    """Return the case, from the first of its files that is as exported.

    The second value is what is wrong with the other files.
    """
    stored, notes = None, []
    for ending in EXTENSIONS:
        path = f"cases/{entry.name}.{ending}"
        try:
            data = read_bytes(folder, path)
            if hashlib.sha256(data).hexdigest() != entry.checksums[path]:
                notes.append(
                    f"{path} is not what was exported: its checksum is not that of the manifest"
                )
            elif stored is None:
                stored = parse_case(entry, ending, data)
        except CaseFileError as error:
            notes.append(f"{path}: {error}")
    return stored, notes


def _differences(
    entry: ManifestEntry,
    stored: StoredCase,
    expected: Mapping[str, Array],
    tolerance: Mapping[str, Array],
    nearest: Mapping[str, Array] | None,
) -> list[str]:
    """Report where the folder's expected results differ from the recomputed ones.

    On another machine they may differ by rounding, within the budget. Those that the folder calls
    certified may not, where the nearest numbers are known: there is only one nearest.
    """

    def same(actual: Array | None, desired: Array, atol: Array) -> bool:
        with np.errstate(all="ignore"):
            return (
                actual is not None
                and actual.shape == desired.shape
                and bool((np.abs(actual - desired) <= atol).all())
            )

    wrong = [k for k, v in expected.items() if not same(stored.expected.get(k), v, tolerance[k])]
    wrong += [
        f"the tolerance of {k}"
        for k, v in tolerance.items()
        if not same(stored.tolerance.get(k), v, v / 2)
    ]
    if not wrong and entry.certified and nearest:
        not_nearest = [k for k, v in nearest.items() if not np.array_equal(stored.expected[k], v)]
        return (
            [
                f"{entry.name}: its files call {', '.join(not_nearest)} certified, "
                "but not every number is the nearest"
            ]
            if not_nearest
            else []
        )
    if not wrong:
        return []
    return [
        f"{entry.name}: its files differ from what was recomputed, and are ignored, "
        f"in {', '.join(wrong)}"
    ]


def _read_answer(
    folder: Path, name: str, entry: ManifestEntry, case: Case, expected: Mapping[str, Array]
) -> dict[str, Array]:
    """Read the arrays that answer a case, and check names, shapes and dtypes.

    Raises
    ------
    CaseFileError
        Naming everything that is wrong with them.
    """
    data = read_bytes(folder, f"answers/{name}")
    answer = (
        parse_npz(data)
        if name.endswith(".npz")
        else {k: parse_array(k, v) for k, v in parse_json(data).items()}
    )
    outputs = ["y", *(f"{k}T" for k in entry.cell.state)]
    gradients = [k for k in expected if k not in outputs]
    # Often there is no gradient with respect to a state that was absent.
    needed = [k for k in gradients if k[1:] not in STATES or case.get(k[1:]) is not None]
    wrong = []
    if extra := sorted(set(answer) - set(expected)):
        wrong.append(
            f"it holds unknown arrays {_join_names(extra)}; the names are {', '.join(expected)}"
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
    """Judge each quantity of an answer, and say what is wrong with the answer.

    The second value is empty if all quantities hold.

    Parameters
    ----------
    case
        The case that was answered.
    convention
        The convention whose names and layout the answer has.
    answer
        Outputs, and all gradients or none; those of absent states may be missing.
    budget
        Budget of the case.
    nearest
        Certified results in the convention, from which ulps are counted; None to count from the
        budget's.
    """
    cell = case.cell
    expected = to_convention(cell, convention, budget.exact)
    tolerance = tolerance_to_convention(cell, convention, budget.tolerance)
    counts = {
        k: v > 0
        for k, v in tolerance_to_convention(cell, convention, _judged_mask(case, budget)).items()
    }
    results = {k: v for k, v in answer.items() if k in expected}
    reference = nearest or expected
    quantities = [
        _quantity(k, results[k], expected[k], reference[k], tolerance[k], counts[k], budget.dtype)
        for k in expected
        if k in results
    ]
    canonical = {
        k: v
        for k, v in results.items()
        if k in budget.exact and k not in _parameter_gradients(case, convention)
    }
    if "dx" in results:
        gradients = {k: results[f"d{k}"] for k in convention.shapes(cell, *case.sizes[2:])}
        canonical |= {f"d{k}": v for k, v in convention.pull_back(cell, gradients).items()}
    try:
        check_agreement(cell, canonical, budget.exact, budget.tolerance)
    except Violation as violation:
        return quantities, str(violation)
    # Above, two biases that are added are judged by their sum, so that errors could cancel.
    wrong = [q.name for q in quantities if q.outcome == "failed"]
    return quantities, "\n".join(
        _worst_entry(k, results[k], expected[k], tolerance[k]) for k in wrong
    )


def _parameter_gradients(case: Case, convention: Convention) -> set[str]:
    return {f"d{k}" for k in convention.shapes(case.cell, *case.sizes[2:])}


def _judged_mask(case: Case, budget: Budget) -> dict[str, Array]:
    """Return one for entries of blocks that can be judged, zero for the others."""
    judged = {
        b.label: b.judged
        for b in compare_blocks(case.cell, budget.exact, budget.exact, budget.tolerance)
    }
    out = {k: np.zeros(v.shape) for k, v in budget.exact.items()}
    for name, array in out.items():
        for label, where in result_blocks(case.cell, name, array):
            array[where] = judged.get(label, True)
    return out


def _ratios(actual: Array, expected: Array, tolerance: Array) -> Array:
    with np.errstate(all="ignore"):
        ratios: Array = absolute_errors(actual, expected) / tolerance
    return ratios


def _quantity(
    name: str,
    actual: Array,
    expected: Array,
    nearest: Array,
    tolerance: Array,
    judged: Array,
    dtype: str,
) -> Quantity:
    # A NaN instead of a number is wrong however large the budget.
    ratios = _ratios(actual, expected, tolerance)[
        judged | np.isinf(absolute_errors(actual, expected))
    ]
    return Quantity(
        name,
        ulp_errors(actual, nearest, dtype).ravel(),
        float(ratios.max()) if ratios.size else None if expected.size else 0.0,
    )


def _worst_entry(name: str, actual: Array, expected: Array, tolerance: Array) -> str:
    ratios = _ratios(actual, expected, tolerance)
    index = tuple(int(i) for i in np.unravel_index(np.argmax(ratios), ratios.shape))
    f, e, t = (a[index] for a in (actual, expected, tolerance))
    return (
        f"{name}[{', '.join(map(str, index))}] is {f:.9g}, but should be {e:.9g} ± {t:.1e} "
        f"({ratios[index]:.3g} times its budget)"
    )
