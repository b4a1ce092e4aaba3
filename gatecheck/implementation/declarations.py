"""Declarations of a target: read where the target is, checked where it is judged."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from gatecheck.cells import Cell, as_cell
from gatecheck.conventions import Convention, Layout, as_convention
from gatecheck.errors import GatecheckError, TargetError
from gatecheck.implementation.custom import CustomSubject, custom_subject
from gatecheck.implementation.custom_case import CUSTOM
from gatecheck.implementation.environment import check_original_functions
from gatecheck.implementation.plain import (
    class_name,
    describe_value,
    safe_text,
    to_plain,
    type_name,
)
from gatecheck.implementation.protocol import OPTIONS
from gatecheck.implementation.session import InProcess, Session
from gatecheck.implementation.subject import Subject

DECLARED = (
    "cell",
    "convention",
    "dtypes",
    "sizes",
    "options",
    "expected_failures",
    "own_weights",
    "bitwise",
    "few_shapes",
    "notes",
    "packages",
    "time_axis",
    "activation_ulps",
)
"""Attributes of a target that are read once."""

METHODS = ("forward", "backward", "tangent", "example", "shapes")
"""Methods that a target may have."""

MAX_SIZE = 2**16
"""Largest size that a target may declare."""

MAX_NOTES = 20
"""Largest number of notes that a target may declare."""


def read_declarations(target: Any, name: str | None = None) -> dict[str, Any]:
    """Return what a target declares, as plain data.

    Parameters
    ----------
    target
        The implementation, or a class that makes one without arguments.
    name
        Name for reports; by default that of its class.

    Returns
    -------
    dict
        :data:`DECLARED` as far as they are declared; ``name``, ``methods``, ``takes_lengths``,
        and ``activations``, their names.

    Raises
    ------
    TargetError
        If an attribute cannot be read.
    """
    label = name or safe_text(_attribute(type_name(target), target, "name") or type_name(target))
    found: dict[str, Any] = {"name": label}
    for attribute in DECLARED:
        value = _attribute(label, target, attribute, found)
        if value is not found:
            found[attribute] = _plain_declaration(value)
    functions = {k: _attribute(label, target, k) for k in METHODS}
    found["methods"] = [k for k, function in functions.items() if callable(function)]
    found["takes_lengths"] = _takes_lengths(functions["forward"])
    activations = _attribute(label, target, "activations")
    if activations is not None:
        is_mapping = isinstance(activations, Mapping)
        found["activations"] = (
            [str(k) for k in activations] if is_mapping else to_plain(activations)
        )
    return found


def make_instance(target: Any) -> Any:
    """Return a target, made without arguments if it is a class.

    Raises
    ------
    TargetError
        If the class cannot be called.
    """
    if not isinstance(target, type):
        return target
    try:
        return target()
    except (Exception, SystemExit) as error:
        raise TargetError(
            f"{class_name(target)}() raised {type_name(error)}: {safe_text(error)}"
        ) from error


def _plain_declaration(value: Any) -> Any:
    if isinstance(value, Cell):
        return {"Cell": {f.name: getattr(value, f.name) for f in fields(Cell)}}
    if isinstance(value, Convention):
        described = {f.name: getattr(value, f.name) for f in fields(Convention) if f.init}
        layouts = {kind: asdict(layout) for kind, layout in value.layouts.items()}
        return {"Convention": to_plain({**described, "layouts": layouts})}
    return to_plain(value)


def _read_cell(value: Any) -> Cell:
    if not isinstance(value, dict) or value.keys() != {"Cell"}:
        return as_cell(value)
    # By its name, since a class in the target's process may have made anything of it.
    try:
        return as_cell(Cell(**value["Cell"]).name)
    except (TypeError, ValueError, AttributeError) as error:
        raise TargetError("it declares a cell that is none") from error


def _read_convention(value: Any) -> Convention:
    if not isinstance(value, dict) or value.keys() != {"Convention"}:
        return as_convention(value)
    described = value["Convention"]
    try:
        layouts = {kind: Layout(**layout) for kind, layout in described["layouts"].items()}
        return Convention(**{**described, "layouts": layouts})
    except (TypeError, AttributeError) as error:
        raise TargetError("it declares a convention that is none") from error


def _takes_lengths(function: Any) -> bool:
    try:
        return "lengths" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def _attribute(label: str, target: Any, name: str, default: Any = None) -> Any:
    try:
        return getattr(target, name, default)
    except Exception as error:
        raise TargetError(
            f"{label}.{name} raised {type_name(error)}: {safe_text(error)}"
        ) from error


def subject(
    target: Any,
    *,
    cell: str | Cell | None = None,
    convention: str | Convention | None = None,
    name: str | None = None,
) -> Subject:
    """Return the subject of a known cell in this process.

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
    made = any_subject(target, cell=cell, convention=convention, name=name)
    if isinstance(made, CustomSubject):
        raise TargetError(f"{made.name} is a custom cell, where a known one is needed")
    return made


def any_subject(
    target: Any,
    *,
    cell: str | Cell | None = None,
    convention: str | Convention | None = None,
    name: str | None = None,
) -> Subject | CustomSubject:
    """Return the subject of any target in this process; see :func:`subject`."""
    if isinstance(target, Subject | CustomSubject):
        return target
    check_original_functions()
    # A wrong argument is a usage error, a wrong declaration the target's error.
    chosen = check_overrides(cell, convention)
    target = make_instance(target)
    declared = read_declarations(target, name)
    return subject_of(InProcess(target), declared, *chosen)


def check_overrides(
    cell: str | Cell | None, convention: str | Convention | None
) -> tuple[Cell | str | None, Convention | None]:
    """Return the cell and the convention that replace the declared ones.

    Raises
    ------
    UsageError
        If they do not exist.
    """
    is_custom = isinstance(cell, str) and cell == CUSTOM.name
    return (
        cell if cell is None or is_custom else as_cell(cell),
        None if convention is None else as_convention(convention),
    )


def subject_of(
    session: Session,
    declared: Mapping[str, Any],
    cell: Cell | str | None = None,
    convention: Convention | None = None,
) -> Subject | CustomSubject:
    """Return the subject of a target that a session calls.

    Parameters
    ----------
    session
        Calls the target.
    declared
        See :func:`read_declarations`.
    cell, convention
        Replacements for what it declares; see :func:`check_overrides`.

    Raises
    ------
    TargetError
        See :func:`subject`.
    """
    label = declared["name"]
    declared_cell = declared.get("cell") if cell is None else cell
    if isinstance(declared_cell, str) and declared_cell == CUSTOM.name:
        return custom_subject(session, declared, **_common(declared))
    if "forward" not in declared["methods"]:
        raise TargetError(
            f"{label} has no forward(params, x, h0, c0=None), so it is not an implementation"
        )
    if declared_cell is None:
        raise TargetError(
            f"{label} does not say which cell it is: "
            'set cell = "rnn", "gru" or "lstm", or give --cell'
        )
    sizes = _declaration(declared, "sizes", dict, {})
    if any(
        k not in ("T", "B", "D", "H") or type(v) is not int or not 1 <= v <= MAX_SIZE
        for k, v in sizes.items()
    ):
        raise TargetError(
            f"{label} declares sizes {sizes}, but should name T, B, D or H with a whole number "
            f"from 1 to {MAX_SIZE}"
        )
    options = _declaration(declared, "options", dict, {})
    if any(k not in OPTIONS or not isinstance(v, bool) for k, v in options.items()):
        raise TargetError(
            f"{label} declares options {options}, "
            f"but should say True or False of {' or '.join(OPTIONS)}"
        )
    own_weights = _declaration(declared, "own_weights", dict, {})
    for name, weights in own_weights.items():
        if not isinstance(weights, np.ndarray):
            raise TargetError(
                f"{label} declares own_weights in which {name} is {describe_value(weights)}, "
                "but should be an array of numbers"
            )
    assumed = convention is None and declared.get("convention") is None
    try:
        subject_cell = _read_cell(declared_cell)
        subject_convention = convention or _read_convention(declared.get("convention"))
        return Subject(
            session=session,
            cell=subject_cell,
            convention=subject_convention,
            sizes=sizes,
            options=frozenset(k for k, v in options.items() if v),
            convention_assumed=assumed,
            has_shapes="shapes" in declared["methods"],
            few_shapes=bool(declared.get("few_shapes")),
            own_weights=(
                subject_convention.to_canonical(subject_cell, own_weights) if own_weights else {}
            ),
            **_common(declared),
        )
    except GatecheckError as error:
        raise TargetError(f"{label}: {error}") from error


def _common(declared: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of every subject."""
    label = declared["name"]
    dtypes = _declaration(declared, "dtypes", tuple | list, ("float32", "float64"))
    known = all(isinstance(d, str) for d in dtypes)
    if (
        not known
        or not set(dtypes) <= {"float32", "float64", "complex128"}
        or not ({"float32", "float64"} & set(dtypes))
    ):
        raise TargetError(
            f"{label} declares dtypes {dtypes}, but gatecheck can audit float32 and float64"
        )
    abilities = {
        "backward": "backward" in declared["methods"],
        "tangent": "tangent" in declared["methods"],
        "complex": "complex128" in dtypes,
        "bitwise": bool(declared.get("bitwise")),
        "lengths": declared["takes_lengths"],
        "own_weights": bool(declared.get("own_weights")),
    }
    expected = _declaration(declared, "expected_failures", dict, {})
    for name, reason in expected.items():
        if not isinstance(reason, str) or not reason.strip():
            raise TargetError(f"{label} expects a failure of {name} without a reason")
    notes = _declaration(declared, "notes", tuple | list, ())
    packages = _declaration(declared, "packages", tuple | list, ())
    return {
        "name": label,
        "dtypes": tuple(d for d in dtypes if d != "complex128"),
        "abilities": frozenset(k for k, v in abilities.items() if v),
        "expected_failures": expected,
        "notes": tuple(safe_text(note) for note in notes[:MAX_NOTES]),
        "packages": tuple(p for p in packages if isinstance(p, str)),
        "activations": declared.get("activations"),
        "activation_ulps": declared.get("activation_ulps"),
    }


def _declaration(declared: Mapping[str, Any], name: str, kind: Any, default: Any) -> Any:
    value = declared.get(name, default)
    if not isinstance(value, kind):
        wanted = "a dict" if kind is dict else "a tuple of names"
        raise TargetError(
            f"{declared['name']} declares {name} {value!r}, but should declare {wanted}"
        )
    return value
