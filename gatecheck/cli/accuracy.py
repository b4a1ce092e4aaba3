"""``gatecheck accuracy``."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from gatecheck.cli.base import Output, bar, main, write_json
from gatecheck.report.figures import FIGURES


@main.command(
    short_help="Count errors in ulps against certified values.",
    epilog="""\b
Examples:
  gatecheck accuracy                                       our cells and every framework installed, ten minutes
  gatecheck accuracy torch.nn:LSTM my_lstm.py:MyLSTM --cases 1
  gatecheck accuracy --json accuracy.json --figure accuracy.png""",
)
@click.argument("targets", nargs=-1)
@click.option(
    "--cases",
    metavar="N",
    type=click.IntRange(1, 100_000),
    default=3,
    show_default=True,
    help="Draws at each of the points.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="The same seed repeats the figures.",
)
@click.option(
    "--sample",
    metavar="N",
    type=click.IntRange(1, 1 << 30),
    default=1 << 18,
    show_default=True,
    help="Arguments of σ and tanh, about.",
)
@click.option("--json", "json_path", metavar="F", type=Output(), help="Write every figure here.")
@click.option(
    "--figure",
    metavar="F",
    type=Output(*FIGURES),
    help="Draw errors against length: PNG, SVG or PDF.",
)
def accuracy(
    targets: tuple[str, ...],
    cases: int,
    seed: int,
    sample: int,
    json_path: Path | None,
    figure: Path | None,
) -> None:
    """How accurate are TARGETS (our cells and every framework installed without one), forward and
    gradients, float32 and float64?

    Errors are in units in the last place, against values whose last bit is proven by ball
    arithmetic (python-flint, the extra `certified`): entry by entry, and by the norm of a block,
    over sizes, lengths and regimes. Then sigmoid and tanh over the whole range, as the cells use
    them. Exit status 0 says that it was measured, not that it was accurate.
    """
    with bar("accuracy") as tick:
        from gatecheck.accuracy.report import report
        from gatecheck.report.accuracy_table import accuracy_table
        from gatecheck.targets.loading import installed

        chosen = [(target, None) for target in targets] or installed()
        found = report(chosen, cases=cases, seed=seed, sample=sample, progress=tick)
    Console().print(accuracy_table(found), crop=False)
    if json_path:
        write_json(json_path, found)
    if figure:
        from gatecheck.report.accuracy_figure import save_accuracy_figure

        save_accuracy_figure(found, figure)
