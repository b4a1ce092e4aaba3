"""What an audit in the profile ``thorough`` adds to cases: proofs for all inputs, of the equations
and of activations that are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gatecheck._util.typing import Progress
from gatecheck.cells import Cell
from gatecheck.errors import MissingExtraError, TargetError, UsageError, first_line
from gatecheck.proofs.proof import Proof

PROFILE = "thorough"
"""The profile in which proofs are tried."""

STRIDE_ELSEWHERE = 251
"""In a process of its own a target is tried on one float32 in so many: some seconds, where all of
them would outlast its time.
"""

Prove = Callable[[Progress], tuple[list[Proof], list[str]]]
"""From a progress to proofs, and what could not be looked at, in sentences."""


def proven(
    cell: Cell, activations: Callable[[Progress], list[Proof]], progress: Progress
) -> tuple[list[Proof], list[str]]:
    """Proofs of the equations of a cell, and of the activations of an implementation of it.

    Parameters
    ----------
    cell
        With any options; of a network, each of its layers.
    activations
        Tries those of the implementation; none if it shows none.
    progress
        Called with how much is done, of how much, and what is at hand.

    Returns
    -------
    proofs, notes
        And why there are none, if there are none.
    """
    try:
        from gatecheck.proofs.ranges import proofs
    except MissingExtraError as error:
        return [], [f"nothing is proven for all inputs: {error}"]
    progress(0, 1, "proofs over ranges")
    of_equations = proofs(cell)
    of_activations = activations(progress)
    shown = (
        ""
        if of_activations
        else "only of the equations something is proven for all inputs: it shows no activations of its own"
    )
    return [*of_equations, *of_activations], [shown] if shown else []


def of_activations(
    target: Any, name: str, dtypes: tuple[str, ...], progress: Progress, stride: int = 1
) -> list[Proof]:
    """Proofs of the ``activations`` that a target shows, if it does; it may promise
    ``activation_ulps``.

    What goes wrong in them is no error here: of that nothing is proven, which is said.
    """
    from gatecheck.proofs.activations import DEFAULT_ULPS, activation_proofs

    shown = getattr(target, "activations", None)
    if not shown:
        return []
    of = f"the activations of {name}"
    try:
        if not isinstance(shown, Mapping):
            raise UsageError(
                f"activations is a {type(shown).__name__}, but should be a dict of functions"
            )
        ulps = float(getattr(target, "activation_ulps", DEFAULT_ULPS))
        return activation_proofs(
            shown, of=of, ulps=ulps, dtypes=dtypes, stride=stride, progress=progress
        )
    except Exception as error:
        return [not_tried(of, error)]


def not_tried(of: str, error: Exception) -> Proof:
    """That activations could not be tried."""
    kind = "" if isinstance(error, UsageError | TargetError) else f"{type(error).__name__}: "
    return Proof(
        of,
        "they are functions of arrays",
        "every float",
        "not proved",
        f"{kind}{first_line(error)}",
    )
