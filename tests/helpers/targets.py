"""Targets of which something is set or changed."""

from __future__ import annotations


def having(target, **attributes):
    """The target with attributes set, which may be its declarations or its methods."""
    for name, value in attributes.items():
        setattr(target, name, value)
    return target


def after(target, change, method="forward"):
    """The target, and after each call of a method `change(arguments, result)`, which it returns."""
    right = getattr(target, method)
    return having(target, **{method: lambda *arguments: change(arguments, right(*arguments))})
