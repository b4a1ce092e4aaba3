"""Declarations of a target, from which its subject is made."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from gatecheck.cells import Cell, as_cell
from gatecheck.conventions import Convention, as_convention
from gatecheck.errors import GatecheckError, TargetError
from gatecheck.implementation.protocol import OPTIONS
from gatecheck.implementation.subject import Subject


def _takes_lengths(function: Any) -> bool:
    try:
        return "lengths" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def subject(
    target: Any,
    *,
    cell: str | Cell | None = None,
    convention: str | Convention | None = None,
    name: str | None = None,
) -> Subject:
    """Return the subject of a target, with its declarations.

    Parameters
    ----------
    target
        Implementation, or a class that makes one without arguments.
    cell, convention
        Replacements for what it declares.
    name
        Name for reports; by default that of its class.

    Raises
    ------
    UsageError
        If `cell` or `convention` does not exist.
    TargetError
        If it has no forward, declares no cell, or declares something that does not exist.
    """
    if isinstance(target, Subject):
        return target
    # A wrong argument is a usage error, a wrong declaration the target's error.
    chosen_cell = None if cell is None else as_cell(cell)
    chosen_convention = None if convention is None else as_convention(convention)
    if isinstance(target, type):
        try:
            target = target()
        except (Exception, SystemExit) as error:
            raise TargetError(
                f"{target.__name__}() raised {type(error).__name__}: {error}"
            ) from error
    label = str(name or _attribute("the target", target, "name") or type(target).__name__)
    if not callable(_attribute(label, target, "forward")):
        raise TargetError(
            f"{label} has no forward(params, x, h0, c0=None), so it is not an implementation"
        )
    declared = chosen_cell or _attribute(label, target, "cell")
    if declared is None:
        raise TargetError(
            f"{label} does not say which cell it is: "
            'set cell = "rnn", "gru" or "lstm", or give --cell'
        )
    dtypes = _declaration(label, target, "dtypes", tuple | list, ("float32", "float64"))
    if not set(dtypes) <= {"float32", "float64", "complex128"} or not {"float32", "float64"} & set(
        dtypes
    ):
        raise TargetError(
            f"{label} declares dtypes {dtypes}, but gatecheck can audit float32 and float64"
        )
    sizes = _declaration(label, target, "sizes", Mapping, {})
    if any(
        k not in ("T", "B", "D", "H") or not isinstance(v, int) or v < 1 for k, v in sizes.items()
    ):
        raise TargetError(
            f"{label} declares sizes {sizes}, "
            "but should name T, B, D or H with a whole number of at least 1"
        )
    options = _declaration(label, target, "options", Mapping, {})
    if any(k not in OPTIONS or not isinstance(v, bool) for k, v in options.items()):
        raise TargetError(
            f"{label} declares options {options}, "
            f"but should say True or False of {' or '.join(OPTIONS)}"
        )
    expected_failures = _declaration(label, target, "expected_failures", Mapping, {})
    own_weights = _declaration(label, target, "own_weights", Mapping, {})
    abilities = {
        "backward": callable(_attribute(label, target, "backward")),
        "tangent": callable(_attribute(label, target, "tangent")),
        "complex": "complex128" in dtypes,
        "bitwise": bool(_attribute(label, target, "bitwise")),
        "lengths": _takes_lengths(_attribute(label, target, "forward")),
        "own_weights": bool(own_weights),
    }
    try:
        subject_cell = as_cell(declared)
        subject_convention = chosen_convention or as_convention(
            _attribute(label, target, "convention")
        )
        return Subject(
            target,
            label,
            subject_cell,
            subject_convention,
            tuple(d for d in dtypes if d != "complex128"),
            frozenset(k for k, v in abilities.items() if v),
            dict(sizes),
            frozenset(k for k, v in options.items() if v),
            dict(expected_failures),
            chosen_convention is None and _attribute(label, target, "convention") is None,
            bool(_attribute(label, target, "few_shapes")),
            tuple(str(note) for note in _declaration(label, target, "notes", tuple | list, ())),
            subject_convention.to_canonical(subject_cell, own_weights) if own_weights else {},
        )
    except GatecheckError as error:
        raise TargetError(f"{label}: {error}") from error


def _attribute(label: str, target: Any, name: str, default: Any = None) -> Any:
    try:
        return getattr(target, name, default)
    except Exception as error:
        raise TargetError(f"{label}.{name} raised {type(error).__name__}: {error}") from error


def _declaration(label: str, target: Any, name: str, kind: Any, default: Any) -> Any:
    value = _attribute(label, target, name, default)
    if not isinstance(value, kind):
        wanted = "a dict" if kind is Mapping else "a tuple of names"
        raise TargetError(f"{label} declares {name} {value!r}, but should declare {wanted}")
    return value
