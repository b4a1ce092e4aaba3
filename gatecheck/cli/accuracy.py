"""The ``gatecheck accuracy`` command."""

from __future__ import annotations

from pathlib import Path

import click

from gatecheck.cli.base import OutputFile, main, progress_bar, write_json
from gatecheck.report.figures import FIGURE_EXTENSIONS
from gatecheck.report.terminal import Console


@main.command(
    short_help="Measure errors in ulps against certified values.",
    epilog="""\b
Examples:
  gatecheck accuracy                           built-in cells and installed frameworks, ten minutes
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
    help="Cases at each point.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed for case generation; the same seed repeats the figures.",
)
@click.option(
    "--sample",
    metavar="N",
    type=click.IntRange(1, 1 << 30),
    default=1 << 18,
    show_default=True,
    help="Approximate number of arguments of σ and tanh.",
)
@click.option(
    "--json", "json_path", metavar="F", type=OutputFile(), help="Write all figures as JSON."
)
@click.option(
    "--figure",
    metavar="F",
    type=OutputFile(*FIGURE_EXTENSIONS),
    help="Plot errors against length, as PNG, SVG or PDF.",
)
def accuracy(
    targets: tuple[str, ...],
    cases: int,
    seed: int,
    sample: int,
    json_path: Path | None,
    figure: Path | None,
) -> None:
    """Measure the accuracy of TARGETS, forward and gradients, in float32 and float64.

    Without TARGETS, the built-in cells and every installed framework are measured. Errors are in
    units in the last place, against values whose last bit is proven by ball arithmetic
    (python-flint, the extra `certified`): entry by entry, and by the norm of a block, over sizes,
    lengths and regimes; then of sigmoid and tanh over the whole range, as the cells use them. Exit
    status 0 means that the accuracy was measured, not that it was good.
    """
    with progress_bar("accuracy") as tick:
        from gatecheck.accuracy.report import accuracy_report
        from gatecheck.report.accuracy_table import accuracy_table
        from gatecheck.targets.loading import installed_targets

        selected = [(target, None) for target in targets] or installed_targets()
        data = accuracy_report(selected, cases=cases, seed=seed, sample=sample, progress=tick)
    Console().print(accuracy_table(data), crop=False)
    if json_path:
        write_json(json_path, data)
    if figure:
        from gatecheck.report.accuracy_figure import save_accuracy_figure

        save_accuracy_figure(data, figure)
