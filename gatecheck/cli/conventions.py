"""How frameworks spell the same cells, and how a target does: ``gatecheck conventions``."""

from __future__ import annotations

import sys

import click
from rich.console import Console

from gatecheck.cli.base import FINDINGS, HOLDS, main


@main.command(
    short_help="How frameworks spell the cells, or how a target does.",
    epilog="""\b
Examples:
  gatecheck conventions                                every convention that is known
  gatecheck conventions --name keras                   one of them
  gatecheck conventions my_lstm.py:MyLSTM              which one does my cell follow?""",
)
@click.argument("target", required=False)
@click.option("--cell", metavar="K", help="Which cell TARGET is, instead of what it declares.")
@click.option("--name", metavar="C", help="Only this convention.")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of the numbers that TARGET is asked with.",
)
def conventions(target: str | None, cell: str | None, name: str | None, seed: int) -> None:
    """Print how each framework spells the cells; or find how TARGET does, by asking it.

    An array's content is in MATLAB's notation: W are the weights of x, U those of h, b a bias, c a
    second one, p peepholes, R a projection; [U; W] is one matrix on [h, x].
    """
    from gatecheck.conventions import CONVENTIONS, as_convention
    from gatecheck.report.conventions_table import table

    if target is None:
        if cell:
            raise click.UsageError("--cell needs a TARGET")
        Console().print(table([as_convention(name)] if name else [*CONVENTIONS.values()]))
        return
    if name:
        raise click.UsageError("--name lists a convention; it does not apply to a TARGET")
    from gatecheck.inference.infer import infer
    from gatecheck.targets.loading import load

    found = infer(load(target, cell=cell).target, cell=cell, seed=seed)
    Console().print(found.sentence, markup=False, highlight=False)
    sys.exit(HOLDS if len(found.found) == 1 else FINDINGS)
