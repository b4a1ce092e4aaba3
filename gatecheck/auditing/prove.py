"""Proofs for all inputs, which the profile ``thorough`` adds to an audit.

They are of the equations of the cell, and of activations that the target exposes.
"""

from __future__ import annotations

from functools import partial

from gatecheck._util.typing import Array, Progress
from gatecheck.errors import MissingExtraError, TargetError, UsageError, first_line
from gatecheck.implementation import InProcess, Subject
from gatecheck.implementation.base import BaseSubject
from gatecheck.implementation.plain import describe_value
from gatecheck.implementation.session import Call
from gatecheck.proofs.proof import Proof

PROOF_PROFILE = "thorough"
"""Profile in which proofs are tried."""

ISOLATED_STRIDE = 251
"""Step between the float32 values tried on a target in a separate process.

This takes some seconds; all values would take minutes.
"""


def prove(implementation: Subject, progress: Progress) -> tuple[list[Proof], list[str]]:
    """Return proofs of the equations of a cell and of a target's activations.

    Parameters
    ----------
    implementation
        Its cell may have any options; each layer of a network is proven.
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
    of_equations = prove_cell(implementation.cell)
    of_activations = prove_activations(implementation, progress)
    note = (
        ""
        if of_activations
        else "only the equations are proven for all inputs: it exposes no activations"
    )
    return [*of_equations, *of_activations], [note] if note else []


def prove_activations(
    implementation: BaseSubject, progress: Progress, stride: int | None = None
) -> list[Proof]:
    """Return proofs of the ``activations`` that a target exposes, if any.

    The target may promise ``activation_ulps``. An exception in an activation is not an error here:
    the proof then states it.
    """
    from gatecheck.proofs.activations import DEFAULT_ULPS, prove_activations

    names = implementation.activations
    if not names:
        return []
    of = f"the activations of {implementation.name}"
    try:
        if not isinstance(names, list):
            raise UsageError(
                f"activations is {describe_value(names)}, but should be a dict of functions"
            )
        promised = implementation.activation_ulps
        is_local = isinstance(implementation.session, InProcess)
        return prove_activations(
            {name: partial(_activation, implementation, name) for name in names},
            owner=of,
            ulps=DEFAULT_ULPS if promised is None else float(promised),
            dtypes=implementation.dtypes,
            stride=stride or (1 if is_local else ISOLATED_STRIDE),
            progress=progress,
        )
    except Exception as error:
        return [untried_proof(of, error)]


def _activation(implementation: BaseSubject, name: str, x: Array) -> Array:
    call = Call(f"activations.{name}", {"x": x}, array_likes=True)
    (answer,) = implementation.session.run([call])
    result: Array = answer.result()
    return result


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
