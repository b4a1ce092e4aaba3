"""The ``gatecheck prove`` command."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from gatecheck.cli.base import ALL_HOLD, FINDINGS, OutputFile, main, progress_bar, write_json
from gatecheck.report.terminal import Console

DEFAULT_STRIDE = 4099
"""Default step through the float32 numbers.

It takes a second, and is a prime so that all last bits occur.
"""

SCHEMA = "gatecheck-proofs-1"


@main.command(
    short_help="Prove properties of the cells for all inputs.",
    epilog="""\b
Examples:
  gatecheck prove                               every plain cell; activations on a sample of floats
  gatecheck prove gru lstm-peepholes            these cells
  gatecheck prove lstm --every-float32          activations on all 4,294,967,296 floats, minutes

\b
Exit status: 0 nothing is refuted and every range is proven, 1 otherwise, 2 usage error,
3 python-flint is missing.""",
)
@click.argument("cells", metavar="[CELL]...", nargs=-1)
@click.option("--every-float32", is_flag=True, help="Try the built-in σ and tanh on every float32.")
@click.option(
    "--stride",
    metavar="N",
    type=click.IntRange(min=2),
    default=DEFAULT_STRIDE,
    show_default=True,
    help="Otherwise try one float32 in N.",
)
@click.option(
    "--json", "json_path", metavar="F", type=OutputFile(), help="Write the proofs as JSON."
)
def prove(cells: tuple[str, ...], every_float32: bool, stride: int, json_path: Path | None) -> None:
    """Prove properties of each CELL's equations by interval evaluation.

    A proof holds for all inputs in a box that is printed with it: gates lie in (0, 1); an LSTM's
    output in (-1, 1); a GRU's state between the old one and the candidate; and so on, each for any
    number of steps or as many as the box states. Proofs are about real numbers; in floating point a
    gate may round to 0 or 1. The built-in activations are tried too: that they never leave
    [0, 1], and that they keep their error bound in units in the last place.

    Needs python-flint, the extra `certified`.
    """
    with progress_bar("prove") as tick:
        from gatecheck.cells import CELLS, as_cell
        from gatecheck.kernels.activations import sigmoid, tanh
        from gatecheck.proofs.activations import prove_activations
        from gatecheck.proofs.ranges import prove_cell
        from gatecheck.report.proofs_table import proofs_list

        results = []
        cell_list = list(dict.fromkeys(as_cell(c) for c in cells or CELLS))
        for k, cell in enumerate(cell_list):
            tick(k, len(cell_list), cell.name)
            results += prove_cell(cell)
        activations, step = {"sigmoid": sigmoid, "tanh": tanh}, 1 if every_float32 else stride
        results += prove_activations(
            activations, owner="our activations", ulps=2, stride=step, progress=tick
        )
    Console().print(proofs_list(results, details=True))
    if json_path:
        write_json(json_path, {"schema": SCHEMA, "proofs": [p.to_json() for p in results]})
    sys.exit(ALL_HOLD if all(p.outcome in ("proved", "sampled") for p in results) else FINDINGS)
