"""Faults of a gated recurrent unit's backward pass, for either reset."""

from __future__ import annotations

from collections.abc import Iterator

from gatecheck.cells import Cell
from gatecheck.faults.edits import misread, other
from gatecheck.faults.tables.readings import EditRow, at_first, complement, earlier, later, zero


def backward(cell: Cell) -> Iterator[EditRow]:
    """Yield faults of the backward pass that both kinds share."""
    yield (
        "copy path missing in dh",
        "The carried gradient leaves out dh (1 - z).",
        misread("dh_prev", dh=zero("dh")),
    )
    yield (
        "1 - z missing in dh",
        "The carried gradient takes dh whole instead of dh (1 - z).",
        misread("dh_prev", z=zero("z")),
    )
    yield (
        "z for 1 - z in dh",
        "The carried gradient takes dh z instead of dh (1 - z).",
        misread("dh_prev", z=complement("z")),
    )
    yield (
        "z of the step after in dh",
        "The carried gradient uses the update gate of the step after.",
        misread("dh_prev", z=later("z")),
    )
    yield (
        "z of the first step in dh",
        "The carried gradient uses the first step's update gate at every step.",
        misread("dh_prev", z=at_first("z")),
        "lmnt-com/haste#43",
    )
    yield (
        "dz without the old state",
        "The gradient of the update gate is dh n instead of dh (n - h_prev).",
        misread("dz", h_prev=zero("h_prev")),
    )
    yield (
        "dz without the candidate",
        "The gradient of the update gate leaves out the candidate.",
        misread("dz", n=zero("n")),
    )
    yield (
        "dz with h for h_prev",
        "The gradient of the update gate uses the new state where the old one belongs.",
        misread("dz", h_prev=other("h")),
    )
    yield (
        "dz with the preactivation",
        "The gradient of the update gate uses the candidate before its tanh.",
        misread("dz", n=other("a_n")),
    )
    yield (
        "dz from dy only",
        "The gradient of the update gate leaves out what later steps carry back.",
        misread("dz", dh=other("dy")),
    )
    yield (
        "z missing in dn",
        "The gradient of the candidate is dh instead of dh z.",
        misread("dn", z=1),
    )
    yield (
        "1 - z in dn",
        "The gradient of the candidate is dh (1 - z) instead of dh z.",
        misread("dn", z=complement("z")),
    )
    yield (
        "z of the step before in dn",
        "The gradient of the candidate uses the update gate of the step before.",
        misread("dn", z=earlier("z")),
        "ooples/AiDotNet PR 722",
    )
    yield (
        "r in dn",
        "The gradient of the candidate uses the reset gate instead of the update gate.",
        misread("dn", z=other("r")),
    )
    yield (
        "dn from dy only",
        "The gradient of the candidate leaves out what later steps carry back.",
        misread("dn", dh=other("dy")),
    )
