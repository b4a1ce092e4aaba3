"""The ``gatecheck vectors`` commands, for cells that Python cannot call."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from gatecheck.cli.base import ALL_HOLD, FINDINGS, OutputFile, main, progress_bar, write_json
from gatecheck.report.terminal import Console

FOLDER_TYPE = click.Path(path_type=Path)


@main.group(
    short_help="Test a cell that Python cannot call, through files.",
    epilog="""\b
Examples:
  gatecheck vectors export my-vectors --cell lstm --convention pytorch
  gatecheck vectors check my-vectors""",
)
def vectors() -> None:
    """Test a cell that Python cannot call: on a DSP, FPGA or MCU, in MATLAB.

    `export` writes cases and expected results to files; run your cell on them and write its answers
    back; `check` judges the answers.
    """


@vectors.command(
    short_help="Write cases and expected results to files.",
    epilog="""\b
Examples:
  gatecheck vectors export my-vectors            rnn, gru and lstm in float32
  gatecheck vectors export my-vectors --cell lstm --convention pytorch
  gatecheck vectors export my-vectors --cells gru,gru-before --dtype float64 --cases 20""",
)
@click.argument("folder", metavar="DIR", type=FOLDER_TYPE)
@click.option(
    "--cell",
    "--cells",
    "cells",
    metavar="C",
    multiple=True,
    help="Cells, repeatable or comma-separated.  [default: rnn, gru, lstm]",
)
@click.option(
    "--convention",
    metavar="NAME",
    default="canonical",
    show_default=True,
    help="Convention of the cell's parameters.",
)
@click.option(
    "--cases",
    metavar="N",
    type=click.IntRange(1, 100),
    default=8,
    show_default=True,
    help="Number of cases for each cell; 8 include one of each kind.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed for case generation; the same seed repeats the cases.",
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float64"]),
    default="float32",
    show_default=True,
    help="Data type in which the cell computes.",
)
@click.option(
    "--lengths",
    is_flag=True,
    help="Add a case for each cell whose rows have different lengths.",
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
    """Write cases and expected results to the new folder DIR, with instructions.

    DIR/README.md describes the files and the answers. Sizes differ from each other, numbers are
    short and nothing is zero or equal, states are absent once, and every expected value can be
    judged. Known faults that these cases cannot reveal are printed and recorded.

    With python-flint (the extra `certified`) every expected number is the float64 nearest to the
    exact one, proven by ball arithmetic; without it, it is the reference's.
    """
    with progress_bar("vectors") as tick:
        from gatecheck.report.vectors_readme import readme
        from gatecheck.report.vectors_table import export_table
        from gatecheck.vectors import export as vector_export

        options: dict[str, Any] = {
            "convention": convention,
            "cases": cases,
            "seed": seed,
            "dtype": dtype,
            "lengths": lengths,
        }
        cell_names = [
            name.strip() for names in cells or ("rnn,gru,lstm",) for name in names.split(",")
        ]
        manifest = vector_export.export(
            folder, readme=readme, cells=cell_names, **options, progress=tick
        )
    Console().print(export_table(manifest, str(folder)))


@vectors.command(
    short_help="Judge the answers of a cell.",
    epilog="""\b
Examples:
  gatecheck vectors check my-vectors
  gatecheck vectors check my-vectors --json judged.json

\b
Exit status: 0 all answers hold, 1 findings or inconclusive, 2 usage error,
3 there are no answers.""",
)
@click.argument("folder", metavar="DIR", type=FOLDER_TYPE)
@click.option(
    "--json", "json_path", metavar="F", type=OutputFile(), help="Write the results as JSON."
)
def check(folder: Path, json_path: Path | None) -> None:
    """Judge DIR/answers, quantity by quantity, against recomputed results.

    Nothing in DIR is trusted: checksums are compared, expected results are recomputed from the
    cases, and no file is unpickled.
    """
    with progress_bar("vectors") as tick:
        from gatecheck.report.vectors_table import answers_line, answers_table
        from gatecheck.vectors.check import check as checked

        result = checked(folder, progress=tick)
    out = Console()
    out.print(answers_table(result), crop=False)
    out.print(answers_line(result), soft_wrap=True)
    if json_path:
        write_json(json_path, result.to_json())
    sys.exit(ALL_HOLD if result.ok else FINDINGS)
