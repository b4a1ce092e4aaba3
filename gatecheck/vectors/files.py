"""Files of a folder of vectors: written, and read back without trust.

The folder passes through other machines and other hands. Nothing is unpickled, no link is followed,
no path is taken from a file, and whatever is read, unpacked or computed is bounded. Every defect is
one :class:`~gatecheck.errors.CaseFileError`, in one line.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cases import COTANGENTS, STATES, Case
from gatecheck.cells import Cell, as_cell
from gatecheck.cells.validation import check_cotangents, check_inputs, check_lengths
from gatecheck.conventions import Convention, as_convention
from gatecheck.errors import CaseFileError, GatecheckError
from gatecheck.vectors.parsing import (
    MAX_CASES,
    abbreviate,
    parse_array,
    parse_json,
    parse_npz,
    read_bytes,
)

SCHEMA = "gatecheck-vectors-1"
CASE_SCHEMA = "gatecheck-vectors-case-1"

EXTENSIONS = ("npz", "json")

MAX_LAYERS = 64

MAX_STATES = 10**5
"""Largest number of values of h over all steps, rows and layers of a case.

Its budget takes some kB for each.
"""

_NAME = re.compile(r"[a-z0-9][a-z0-9.+-]{0,99}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class ManifestEntry(NamedTuple):
    """One case of the manifest, checked.

    It has the name, how the arrays are to be read, and the checksums of the files. It also has
    whether the manifest calls the expected results certified, which is not trusted.
    """

    name: str
    cell: Cell
    convention: Convention
    dtype: str
    checksums: Mapping[str, str]
    certified: bool


class StoredCase(NamedTuple):
    """One case as a file holds it, with its expected results and tolerances.

    Those are in the convention's names.
    """

    case: Case
    expected: Mapping[str, Array]
    tolerance: Mapping[str, Array]


# ---- writing


def case_npz(
    inputs: Mapping[str, Array], expected: Mapping[str, Array], tolerance: Mapping[str, Array]
) -> bytes:
    """Return the ``.npz`` of a case.

    Inputs are under their names, results under ``expected.NAME`` and ``tolerance.NAME``.
    """
    out = io.BytesIO()
    results = {f"expected.{k}": v for k, v in expected.items()} | {
        f"tolerance.{k}": v for k, v in tolerance.items()
    }
    np.savez(out, **inputs, **results)  # type: ignore[arg-type]  # its last keyword is a bool
    return out.getvalue()


def case_json(
    header: Mapping[str, Any],
    inputs: Mapping[str, Array],
    expected: Mapping[str, Array],
    tolerance: Mapping[str, Array],
) -> bytes:
    """Return the ``.json`` of a case.

    Every number is a hexadecimal float, which is exact and which C, Python and many others read.
    """
    head = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in header.items()]
    head.append(
        f'"inputs": {{\n{_format_arrays({k: {"values": v} for k, v in inputs.items()})}\n}}'
    )
    results = {k: {"values": v, "tolerance": tolerance[k]} for k, v in expected.items()}
    head.append(f'"expected": {{\n{_format_arrays(results)}\n}}')
    return ("{\n" + ",\n".join(head) + "\n}\n").encode()


def _format_arrays(arrays: Mapping[str, Mapping[str, Array]]) -> str:
    """Return one array a line, so that a program without a JSON library can find it."""
    lines = []
    for name, parts in arrays.items():
        shape = list(next(iter(parts.values())).shape)
        members = {"shape": shape} | {
            k: [_format_number(v) for v in a.ravel().tolist()] for k, a in parts.items()
        }
        lines.append(f"{json.dumps(name)}: {json.dumps(members)}")
    return ",\n".join(lines)


def _format_number(value: float) -> Any:
    return value.hex() if isinstance(value, float) else value


# ---- reading


def read_manifest(folder: Path) -> tuple[dict[str, Any], list[ManifestEntry]]:
    """Read the manifest of a folder, and its cases.

    Raises
    ------
    CaseFileError
        If it is missing, damaged, of another schema, or inconsistent.
    """
    path = folder / "manifest.json"
    data = read_bytes(folder, "manifest.json")
    try:
        manifest = parse_json(data)
        if manifest.get("schema") != SCHEMA:
            raise CaseFileError(
                f"it has schema {abbreviate(manifest.get('schema'))}, but this version "
                f"reads {SCHEMA!r}"
            )
        seed, cases = manifest.get("seed"), manifest.get("cases")
        if type(seed) is not int or not isinstance(cases, list) or not 0 < len(cases) <= MAX_CASES:
            raise CaseFileError(f"it should have a seed, and a list of 1 to {MAX_CASES:,} cases")
        convention, dtype = (
            as_convention(_short_text(manifest, "convention")),
            _short_text(manifest, "dtype"),
        )
        if dtype not in ("float32", "float64"):
            raise CaseFileError(
                f"it has dtype {abbreviate(dtype)}, but should have float32 or float64"
            )
        entries = [_parse_entry(row, convention, dtype) for row in cases]
        if len({e.name for e in entries}) < len(entries):
            raise CaseFileError("it names a case twice")
    except GatecheckError as error:
        raise CaseFileError(f"{path} is not a manifest of vectors: {error}") from error
    return manifest, entries


def _short_text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or len(value) > 100 or not value.isprintable():
        raise CaseFileError(f"its {key} is {abbreviate(value)}, but should be a short name")
    return value


def _parse_entry(row: Any, convention: Convention, dtype: str) -> ManifestEntry:
    if not isinstance(row, dict):
        raise CaseFileError(f"a case is {abbreviate(row)}, but should be an object {{…}}")
    name = _short_text(row, "name")
    if not _NAME.fullmatch(name):
        raise CaseFileError(
            f"the name of a case is {abbreviate(name)}, but should consist of lower-case letters, "
            "digits, dots and dashes"
        )
    cell = as_cell(_short_text(row, "cell"))
    if cell.layers > MAX_LAYERS:
        raise CaseFileError(f"{name} has {cell.layers} layers, which is more than {MAX_LAYERS}")
    expected, files = {f"cases/{name}.{ending}" for ending in EXTENSIONS}, row.get("files")
    if not isinstance(files, dict) or set(files) != expected:
        raise CaseFileError(f"{name} names other files than {' and '.join(sorted(expected))}")
    if not all(isinstance(v, str) and _SHA256.fullmatch(v) for v in files.values()):
        raise CaseFileError(f"{name} has a checksum that is not 64 hexadecimal digits")
    convention.shapes(cell, 1, 1)  # raises if the convention cannot express the cell
    return ManifestEntry(name, cell, convention, dtype, files, row.get("certified") is True)


def parse_case(entry: ManifestEntry, ending: str, data: bytes) -> StoredCase:
    """Return the case that a file of the folder holds.

    Raises
    ------
    CaseFileError
        If the file is damaged, its arrays do not fit each other, or computing it would take very
        long.
    """
    if ending == "npz":
        inputs = parse_npz(data)
        expected, tolerance = (
            {k.removeprefix(p): inputs.pop(k) for k in list(inputs) if k.startswith(p)}
            for p in ("expected.", "tolerance.")
        )
    else:
        inputs, expected, tolerance = _parse_case_json(parse_json(data), entry)
    convention_params = {
        k: inputs.pop(k) for k in entry.convention.shapes(entry.cell, 1, 1) if k in inputs
    }
    if unknown := set(inputs) - {"x", "lengths", *STATES, *COTANGENTS} or "x" not in inputs:
        raise CaseFileError(
            "it has no x"
            if unknown is True
            else f"it holds unknown arrays {', '.join(map(abbreviate, sorted(unknown)[:5]))}"
        )
    try:
        params = entry.convention.to_canonical(entry.cell, convention_params)
        x = inputs["x"]
        sizes = check_inputs(
            entry.cell, params, x, *(inputs.get(k) for k in STATES), dtypes=[entry.dtype]
        )
        check_cotangents(entry.cell, sizes, x.dtype, *(inputs.get(k) for k in COTANGENTS))
        if "lengths" in inputs:
            check_lengths(sizes, inputs["lengths"])
    except GatecheckError as error:
        raise CaseFileError(f"its arrays do not fit a {entry.cell}: {error}") from error
    if (
        math.prod(max(1, n) for n in (sizes.T, sizes.B, sizes.H)) * len(entry.cell.param_suffixes)
        > MAX_STATES
    ):
        raise CaseFileError(
            f"it has sizes {tuple(sizes)}, which are more than {MAX_STATES:,} states"
        )
    arrays = params | inputs
    if not all(np.isfinite(a).all() for a in arrays.values()):
        raise CaseFileError("it holds numbers that are not finite")
    return StoredCase(Case(entry.cell, arrays), expected, tolerance)


def _parse_case_json(
    document: dict[str, Any], entry: ManifestEntry
) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
    stored_inputs, results = document.get("inputs"), document.get("expected")
    if (
        not isinstance(stored_inputs, dict)
        or not isinstance(results, dict)
        or not all(isinstance(v, dict) for v in results.values())
    ):
        raise CaseFileError('it should have "inputs" and "expected", objects of arrays')
    # Inputs are checked later for numbers that overflow the dtype.
    with np.errstate(all="ignore"):
        inputs = {
            k: parse_array(k, v).astype(np.int64 if k == "lengths" else entry.dtype)
            for k, v in stored_inputs.items()
        }
    expected = {k: parse_array(k, v) for k, v in results.items()}
    tolerance = {
        k: parse_array(k, {"shape": v.get("shape"), "values": v.get("tolerance")})
        for k, v in results.items()
    }
    return inputs, expected, tolerance
