"""``gatecheck vectors``: cases for a cell that lives where Python does not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from gatecheck.cli.base import FINDINGS, HOLDS, Output, bar, main, write_json

FOLDER = click.Path(path_type=Path)


@main.group(
    short_help="Judge a cell that runs elsewhere: cases out, answers back.",
    epilog="""\b
Examples:
  gatecheck vectors export my-vectors --cell lstm --convention pytorch
  gatecheck vectors check my-vectors""",
)
def vectors() -> None:
    """Test a cell where Python cannot call it: a DSP, an FPGA, a microcontroller, MATLAB.

    `export` writes cases and expected results to files; you run them wherever the cell lives and
    write its answers back; `check` judges them.
    """


@vectors.command(
    short_help="Write cases and expected results to files.",
    epilog="""\b
Examples:
  gatecheck vectors export my-vectors                                    rnn, gru and lstm in float32
  gatecheck vectors export my-vectors --cell lstm --convention pytorch   with PyTorch's names and gate order
  gatecheck vectors export my-vectors --cells gru,gru-before --dtype float64 --cases 20""",
)
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option(
    "--cell",
    "--cells",
    "cells",
    metavar="C",
    multiple=True,
    help="A cell, or several with commas between.  [default: rnn, gru, lstm]",
)
@click.option(
    "--convention",
    metavar="NAME",
    default="canonical",
    show_default=True,
    help="How the cell names and orders its parameters.",
)
@click.option(
    "--cases",
    metavar="N",
    type=click.IntRange(1, 100),
    default=8,
    show_default=True,
    help="For each cell; 8 are one of each kind.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of the cases; the same seed gives the same.",
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float64"]),
    default="float32",
    show_default=True,
    help="In which the cell computes.",
)
@click.option(
    "--lengths",
    is_flag=True,
    help="One case more for each cell, whose rows end at lengths of their own.",
)
def export(
    folder: Path,
    cells: tuple[str, ...],
    convention: str,
    cases: int,
    seed: int,
    dtype: str,
    lengths: bool,
) -> None:
    """Write cases and expected results into the new folder DIR, with a README.md that says what to
    do with them.

    Sizes differ from each other, numbers are short and nothing is zero or equal, states are absent
    once, and every expected value can be judged. What known faults these cases could not have told
    is printed and written down.

    With python-flint (the extra `certified`) every expected number is the float64 that is nearest
    to the exact one, proven by ball arithmetic; without it they are the reference's.
    """
    with bar("vectors") as tick:
        from gatecheck.report.vectors_readme import readme
        from gatecheck.report.vectors_table import export_table
        from gatecheck.vectors import export as vector_export

        how: dict[str, Any] = {
            "convention": convention,
            "cases": cases,
            "seed": seed,
            "dtype": dtype,
            "lengths": lengths,
        }
        wanted = [name.strip() for given in cells or ("rnn,gru,lstm",) for name in given.split(",")]
        manifest = vector_export.export(folder, readme=readme, cells=wanted, **how, progress=tick)
    Console().print(export_table(manifest, str(folder)))


@vectors.command(
    short_help="Judge the answers.",
    epilog="""\b
Examples:
  gatecheck vectors check my-vectors
  gatecheck vectors check my-vectors --json judged.json

\b
Exit status: 0 all hold, 1 findings or inconclusive, 2 the call is wrong, 3 there are no answers.""",
)
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option("--json", "json_path", metavar="F", type=Output(), help="Write the result here.")
def check(folder: Path, json_path: Path | None) -> None:
    """Judge DIR/answers, quantity by quantity, against results that are computed anew.

    Nothing in DIR is believed: checksums are compared, expected results are computed from the
    cases, and no file is unpickled.
    """
    with bar("vectors") as tick:
        from gatecheck.report.vectors_table import answers_line, answers_table
        from gatecheck.vectors.check import check as checked

        result = checked(folder, progress=tick)
    out = Console()
    out.print(answers_table(result), crop=False)
    out.print(answers_line(result), soft_wrap=True)
    if json_path:
        write_json(json_path, result.to_json())
    sys.exit(HOLDS if result.ok else FINDINGS)
