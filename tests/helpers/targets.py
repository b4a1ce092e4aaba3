"""Targets with changed attributes or methods."""

from __future__ import annotations


def with_attributes(target, **attributes):
    """Return the target with attributes set, such as declarations or methods."""
    for name, value in attributes.items():
        setattr(target, name, value)
    return target


def with_changed_result(target, change, method="forward"):
    """Return the target with `change(arguments, result)` applied to its results."""
    right = getattr(target, method)
    return with_attributes(
        target, **{method: lambda *arguments: change(arguments, right(*arguments))}
    )
