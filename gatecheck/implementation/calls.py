"""Calls of a target, and checks of what they return."""

from __future__ import annotations

from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.errors import ContractError, TargetCrashError, TargetError


def call_safely(target: Any, method: str, *arguments: Any, **more: Any) -> Any:
    """Call a method of a target and return its result.

    Raises
    ------
    TargetCrashError
        If it raised an exception.
    """
    try:
        with np.errstate():  # what a target sets here does not reach its caller
            return getattr(target, method)(*arguments, **more)
    except (Exception, SystemExit) as error:
        if isinstance(error, TargetError):
            raise
        raise TargetCrashError(f"{method} raised {type(error).__name__}: {error}") from error


def describe_type(value: Any) -> str:
    """Describe a value of a wrong type in two or three words."""
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)} items"
    return f"a {type(value).__name__}"


def validated_output(name: str, value: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return a plain copy of an array that a target returned.

    Raises
    ------
    ContractError
        If it is not an array, or has another shape or dtype.
    """
    if not isinstance(value, np.ndarray):
        raise ContractError(
            f"{name} is {describe_type(value)}, but should be a NumPy array of shape {shape}"
        )
    if value.shape != shape:
        raise ContractError(f"{name} has shape {value.shape}, but should have shape {shape}")
    if value.dtype != dtype:
        raise ContractError(
            f"{name} has dtype {value.dtype}, but should have dtype {dtype}, like x"
        )
    # A copy, since the target's next call may overwrite its buffer; plain, since a mask would hide
    # entries.
    return np.array(value)
