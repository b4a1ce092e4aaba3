"""Targets with changed attributes or methods."""

from __future__ import annotations


def having(target, **attributes):
    """Return the target with attributes set, such as declarations or methods."""
    for name, value in attributes.items():
        setattr(target, name, value)
    return target


def after(target, change, method="forward"):
    """Return the target with `change(arguments, result)` applied to its results."""
    right = getattr(target, method)
    return having(target, **{method: lambda *arguments: change(arguments, right(*arguments))})
