"""Proofs for all inputs, which the profile ``thorough`` adds to an audit.

They are of the equations of the cell, and of activations that the target exposes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gatecheck._util.typing import Progress
from gatecheck.cells import Cell
from gatecheck.errors import MissingExtraError, TargetError, UsageError, first_line
from gatecheck.proofs.proof import Proof

PROOF_PROFILE = "thorough"
"""Profile in which proofs are tried."""

ISOLATED_STRIDE = 251
"""Step between the float32 values tried on a target in a separate process.

This takes some seconds; all values would exceed its time limit.
"""

Prove = Callable[[Progress], tuple[list[Proof], list[str]]]
"""Function from a progress to proofs, and to notes on what could not be proven."""


def prove(
    cell: Cell, activations: Callable[[Progress], list[Proof]], progress: Progress
) -> tuple[list[Proof], list[str]]:
    """Return proofs of the equations of a cell and of a target's activations.

    Parameters
    ----------
    cell
        The cell with any options; each layer of a network.
    activations
        Tries the activations of the implementation; returns an empty list if it exposes none.
    progress
        Called with the number done, the total, and the current step.

    Returns
    -------
    proofs, notes
        The proofs, and notes on those that are missing.
    """
    try:
        from gatecheck.proofs.ranges import prove_cell
    except MissingExtraError as error:
        return [], [f"nothing is proven for all inputs: {error}"]
    progress(0, 1, "proofs over ranges")
    of_equations = prove_cell(cell)
    of_activations = activations(progress)
    note = (
        ""
        if of_activations
        else "only the equations are proven for all inputs: it exposes no activations"
    )
    return [*of_equations, *of_activations], [note] if note else []


def prove_activations(
    target: Any, name: str, dtypes: tuple[str, ...], progress: Progress, stride: int = 1
) -> list[Proof]:
    """Return proofs of the ``activations`` that a target exposes, if any.

    The target may promise ``activation_ulps``. An exception in an activation is not an error here:
    the proof then states it.
    """
    from gatecheck.proofs.activations import DEFAULT_ULPS, prove_activations

    functions = getattr(target, "activations", None)
    if not functions:
        return []
    of = f"the activations of {name}"
    try:
        if not isinstance(functions, Mapping):
            raise UsageError(
                f"activations is a {type(functions).__name__}, but should be a dict of functions"
            )
        ulps = float(getattr(target, "activation_ulps", DEFAULT_ULPS))
        return prove_activations(
            functions, owner=of, ulps=ulps, dtypes=dtypes, stride=stride, progress=progress
        )
    except Exception as error:
        return [untried_proof(of, error)]


def untried_proof(subject_name: str, error: Exception) -> Proof:
    """Return a proof stating that activations could not be tried."""
    kind = "" if isinstance(error, UsageError | TargetError) else f"{type(error).__name__}: "
    return Proof(
        subject_name,
        "they are functions of arrays",
        "every float",
        "not proved",
        f"{kind}{first_line(error)}",
    )
