"""Export of vectors: cases and expected results as files.

They are for cells that run where Python does not.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gatecheck._util.typing import Array, Progress
from gatecheck._util.versions import versions
from gatecheck.cases import COTANGENTS, STATES, Case
from gatecheck.cells import Cell, as_cell
from gatecheck.certified.results import certified_results
from gatecheck.checking.budgets import case_budget
from gatecheck.conventions import Convention, as_convention
from gatecheck.diagnosis.undetected import undetected_faults
from gatecheck.errors import UsageError
from gatecheck.faults.catalogue import faults
from gatecheck.vectors.cases import CASE_KINDS, RAGGED_KIND, draw_case
from gatecheck.vectors.files import CASE_SCHEMA, SCHEMA, case_json, case_npz


def to_convention(
    cell: Cell, convention: Convention, results: Mapping[str, Array]
) -> dict[str, Array]:
    """Return canonical results as an implementation in a convention returns them.

    These are y, hT, (cT), ``dNAME`` for its parameters, dx, dh0, (dc0).
    """
    gradients = convention.gradients(cell, {k: results[f"d{k}"] for k in cell.param_shapes(1, 1)})
    outputs = {k: results[k] for k in ("y", *(f"{k}T" for k in cell.state))}
    inputs = {k: results[k] for k in ("dx", *(f"d{k}0" for k in cell.state))}
    return outputs | {f"d{k}": v for k, v in gradients.items()} | inputs


def tolerance_to_convention(
    cell: Cell, convention: Convention, tolerance: Mapping[str, Array]
) -> dict[str, Array]:
    """Return canonical tolerances as those of results in a convention.

    They have no sign, while a gate of the other polarity has a negated gradient.
    """
    return {k: np.abs(v) for k, v in to_convention(cell, convention, tolerance).items()}


def export(
    folder: str | Path,
    *,
    readme: Callable[[Mapping[str, Any]], str],
    cells: Iterable[str | Cell] = ("rnn", "gru", "lstm"),
    convention: str | Convention = "canonical",
    cases: int = len(CASE_KINDS),
    seed: int = 0,
    dtype: str = "float32",
    lengths: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write cases and what a cell should answer into a new folder.

    With python-flint what it should answer is certified: the float64 numbers that are nearest to
    the exact results.

    Parameters
    ----------
    folder
        The folder to write. It is written whole or not at all, and must not exist, or be empty.
    readme
        Function that returns the text of ``README.md`` for a manifest.
    cells, convention, dtype, seed
        Cells, the convention of their parameters, and their dtype; equal seeds give equal cases.
    cases
        Number of cases for each cell.
    lengths
        Whether to add one case for each cell whose rows have different lengths.
    progress
        Called with the work done, the total, and a label of the current step.

    Returns
    -------
    dict
        The manifest as it was written.

    Raises
    ------
    UsageError
        If the folder is in use or cannot be written, or there is no such cell, convention or dtype.
    ConventionError
        If the convention cannot express a cell.
    """
    folder, target_convention = Path(folder), as_convention(convention)
    _check_unused(folder)
    if dtype not in ("float32", "float64"):
        raise UsageError(f"dtype is {dtype!r}, but should be 'float32' or 'float64'")
    if cases < 1:
        raise UsageError(f"cases is {cases}, but should be at least 1")
    wanted = list(dict.fromkeys(as_cell(c) for c in cells))
    for cell in wanted:
        target_convention.shapes(cell, 1, 1)  # raise now rather than after a minute
    kinds = [CASE_KINDS[k % len(CASE_KINDS)] for k in range(cases)] + [RAGGED_KIND] * lengths
    tick, total = progress or (lambda done, of, now: None), len(wanted) * (len(kinds) + 1)
    rows: list[dict[str, Any]] = []
    reasons: list[str] = []
    files: dict[str, bytes] = {}
    fault_counts: dict[str, Any] = {}
    for n, cell in enumerate(wanted):
        chosen = []
        for k, kind in enumerate(kinds):
            tick(n * (len(kinds) + 1) + k, total, f"{cell}: case {k + 1}")
            chosen.append(draw_case(cell, kind, seed=seed, number=k, dtype=dtype))
            row, own, reason = _case_files(f"{cell.name}-{k + 1}", chosen[-1], target_convention)
            rows.append(row)
            reasons += [reason] if reason else []
            files |= own
        tick(n * (len(kinds) + 1) + len(kinds), total, f"{cell}: faults that these cases detect")
        undetected = undetected_faults(chosen)
        known = sum(1 for fault in faults(cell.name) if fault.edit and not fault.equivalent)
        fault_counts[cell.name] = {
            "known": known,
            "undetected": [
                {"name": fault.name, "description": fault.description} for fault in undetected
            ],
        }
    manifest: dict[str, Any] = {
        "schema": SCHEMA,
        "versions": versions("python-flint"),
        "certified": all(row["certified"] for row in rows),
        "uncertified": list(dict.fromkeys(reasons)),
        "seed": seed,
        "convention": target_convention.name,
        "dtype": dtype,
        "cells": [cell.name for cell in wanted],
        "faults": fault_counts,
        "cases": rows,
    }
    files |= {
        "manifest.json": (json.dumps(manifest, indent=1) + "\n").encode(),
        "README.md": readme(manifest).encode(),
    }
    _write_folder(folder, files)
    return manifest


def _check_unused(folder: Path) -> None:
    try:
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise UsageError(
                f"{folder} is a file or a link, and no folder can be made there; choose another"
            )
        if folder.is_dir() and any(folder.iterdir()):
            raise UsageError(
                f"{folder} is not empty, and nothing in it is overwritten: "
                "choose another folder, or remove this one"
            )
        parent = next(p for p in folder.absolute().parents if p.exists())
    except OSError as error:
        raise UsageError(f"the folder {folder} cannot be made: {error.strerror}") from error
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise UsageError(
            f"the folder {folder} cannot be made: "
            f"{parent} is {'read-only' if parent.is_dir() else 'not a folder'}"
        )


def _case_files(
    name: str, case: Case, convention: Convention
) -> tuple[dict[str, Any], dict[str, bytes], str]:
    """Return the manifest's row of a case, its files, and a reason.

    The reason is why its results are not certified; it is empty if they are.
    """
    budget = case_budget(case)
    certified, reason = certified_results(case)
    params = convention.from_canonical(case.cell, case.params)
    inputs = {k: case[k] for k in ("x", *STATES, *COTANGENTS, "lengths") if k in case.arrays}
    expected = to_convention(case.cell, convention, certified or budget.exact)
    tolerance = tolerance_to_convention(case.cell, convention, budget.tolerance)
    description = {
        "name": name,
        "cell": case.cell.name,
        "regime": case.origin["regime"],
        "sizes": case.sizes._asdict(),
        "parameters": {k: list(v.shape) for k, v in params.items()},
        "certified": certified is not None,
    }
    stored = {
        "schema": CASE_SCHEMA,
        "convention": convention.name,
        "dtype": case.dtype.name,
    } | description
    files = {
        f"cases/{name}.npz": case_npz(params | inputs, expected, tolerance),
        f"cases/{name}.json": case_json(stored, params | inputs, expected, tolerance),
    }
    row = description | {
        "inputs": {k: list(v.shape) for k, v in inputs.items()},
        "absent": [f"{k}0" for k in case.cell.state if f"{k}0" not in inputs],
        "results": {k: list(v.shape) for k, v in expected.items()},
        "files": {path: hashlib.sha256(data).hexdigest() for path, data in files.items()},
    }
    return row, files, reason


def _write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write all files into a temporary folder, which then takes the final name.

    So a partial folder is never visible.
    """
    temporary = folder.absolute().with_name(f".{folder.absolute().name}.{os.getpid()}")
    try:
        temporary.mkdir(parents=True)
        try:
            for name, data in files.items():
                path = temporary / name
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(data)
            if folder.exists():
                folder.rmdir()  # only an empty one can be removed so
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise UsageError(f"the folder {folder} cannot be written: {error.strerror}") from error
