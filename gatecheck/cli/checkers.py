"""The command ``checkers``."""

from __future__ import annotations

from pathlib import Path

import click

from gatecheck.cli.base import OutputFile, main, progress_bar, write_json
from gatecheck.report.terminal import Console


@main.command(
    short_help="See which faults other gradient checkers miss.",
    epilog="""\b
Examples:
  gatecheck checkers                                PyTorch's and JAX's, which must be installed
  gatecheck checkers --cell gru --against torch --json checkers.json""",
)
@click.option(
    "--cell",
    "cells",
    metavar="K",
    multiple=True,
    help="Try only the faults of this cell; repeatable.  [default: all cells]",
)
@click.option(
    "--against",
    metavar="NAMES",
    default="torch,jax",
    show_default=True,
    help="Packages whose checkers to try: torch, jax.",
)
@click.option(
    "--json", "json_path", metavar="F", type=OutputFile(), help="Write all verdicts as JSON."
)
def checkers(cells: tuple[str, ...], against: str, json_path: Path | None) -> None:
    """Try the gradient checkers of other packages on every backward fault.

    The checkers are used as published. A gradient checker compares a function with itself and so
    cannot catch forward faults; a sample of these is tried to show it.
    """
    with progress_bar("checkers") as tick:
        from gatecheck.mutation import checker_comparison
        from gatecheck.mutation.gradient_checkers import checkers_of
        from gatecheck.report.checkers_table import checkers_table

        names = checkers_of(against.split(","))
        comparison_data = checker_comparison.comparison_report(
            checker_comparison.compare(
                checker_comparison.sample_labels(cells), names, progress=tick
            ),
            names,
            cells,
        )
    Console().print(checkers_table(comparison_data))
    if json_path:
        write_json(json_path, comparison_data)
