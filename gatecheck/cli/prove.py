"""``gatecheck prove``."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.console import Console

from gatecheck.cli.base import FINDINGS, HOLDS, Output, bar, main, write_json

STRIDE = 4099
"""One float32 in so many takes a second; a prime, so that all last bits occur."""

SCHEMA = "gatecheck-proofs-1"


@main.command(
    short_help="Prove of the cells, for all inputs, what cases only suggest.",
    epilog="""\b
Examples:
  gatecheck prove                               every plain cell, and our activations on a part of all floats
  gatecheck prove gru lstm-peepholes            these
  gatecheck prove lstm --every-float32          our activations on each of the 4,294,967,296 float32: some minutes

\b
Exit status: 0 nothing is refuted and every range is proven, 1 otherwise, 2 the call is wrong, 3 python-flint is missing.""",
)
@click.argument("cells", metavar="[CELL]...", nargs=-1)
@click.option("--every-float32", is_flag=True, help="Try our σ and tanh on every float32.")
@click.option(
    "--stride",
    metavar="N",
    type=click.IntRange(min=2),
    default=STRIDE,
    show_default=True,
    help="Else on one in so many.",
)
@click.option("--json", "json_path", metavar="F", type=Output(), help="Write the proofs here.")
def prove(cells: tuple[str, ...], every_float32: bool, stride: int, json_path: Path | None) -> None:
    """Prove of each CELL's equations what interval evaluation can, for all inputs in a box that is
    printed with it.

    Gates lie in (0, 1); an LSTM's output in (-1, 1); a GRU's state between the old one and the
    candidate; and so on, each for any number of steps or as many as the box says. This is about
    real numbers; what float rounding adds is that a gate may round to 0 or 1. That it never leaves
    [0, 1] is tried on our own activations, which also hold their bound in units in the last place.

    Needs python-flint, the extra `certified`.
    """
    with bar("prove") as tick:
        from gatecheck.cells import CELLS, as_cell
        from gatecheck.kernels.activations import sigmoid, tanh
        from gatecheck.proofs.activations import activation_proofs
        from gatecheck.proofs.ranges import proofs
        from gatecheck.report.proofs_table import proofs_list

        found = []
        wanted = list(dict.fromkeys(as_cell(c) for c in cells or CELLS))
        for k, cell in enumerate(wanted):
            tick(k, len(wanted), cell.name)
            found += proofs(cell)
        ours, every = {"sigmoid": sigmoid, "tanh": tanh}, 1 if every_float32 else stride
        found += activation_proofs(ours, of="our activations", ulps=2, stride=every, progress=tick)
    Console().print(proofs_list(found, details=True))
    if json_path:
        write_json(json_path, {"schema": SCHEMA, "proofs": [p.to_json() for p in found]})
    sys.exit(HOLDS if all(p.outcome in ("proved", "sampled") for p in found) else FINDINGS)
