"""The ``gatecheck conventions`` command."""

from __future__ import annotations

import sys

import click

from gatecheck.cli.base import ALL_HOLD, FINDINGS, main
from gatecheck.report.terminal import Console


@main.command(
    short_help="List parameter conventions, or infer that of a target.",
    epilog="""\b
Examples:
  gatecheck conventions                                every known convention
  gatecheck conventions --name keras                   one convention
  gatecheck conventions my_lstm.py:MyLSTM              the convention of an implementation""",
)
@click.argument("target", required=False)
@click.option("--cell", metavar="K", help="Cell of TARGET, instead of the declared one.")
@click.option("--name", metavar="C", help="List only this convention.")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed for the arrays on which TARGET is called.",
)
def conventions(target: str | None, cell: str | None, name: str | None, seed: int) -> None:
    """List the parameter conventions, or infer that of TARGET by calling it.

    An array's content is in MATLAB's notation: W are the weights of x, U those of h, b a bias, c a
    second one, p peepholes, R a projection; [U; W] is one matrix on [h, x].
    """
    from gatecheck.conventions import CONVENTIONS, as_convention
    from gatecheck.report.conventions_table import conventions_table

    if target is None:
        if cell:
            raise click.UsageError("--cell needs a TARGET")
        Console().print(
            conventions_table([as_convention(name)] if name else [*CONVENTIONS.values()])
        )
        return
    if name:
        raise click.UsageError("--name lists a convention; it does not apply to a TARGET")
    from gatecheck.inference.infer import infer
    from gatecheck.targets.loading import load

    inference = infer(load(target, cell=cell), seed=seed)
    Console().print(inference.sentence, markup=False, highlight=False)
    sys.exit(ALL_HOLD if len(inference.matches) == 1 else FINDINGS)
