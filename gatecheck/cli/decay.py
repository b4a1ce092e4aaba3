"""``gatecheck decay``."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from gatecheck.cli.base import bar, main, make_folder, write
from gatecheck.errors import MissingExtraError


@main.command(
    short_help="Measure how far back gradients reach.",
    epilog="""\b
Examples:
  gatecheck decay                                       the headline table for RNN, GRU and LSTM
  gatecheck decay --cell lstm --init chrono:1000        one cell, one initialisation
  gatecheck decay --cell gru --cell lstm --init uniform --hidden 64 --steps 100000 --seeds 3 --out my-decay""",
)
@click.option("--cell", "cells", metavar="K", multiple=True, help="A cell: rnn, rnn-relu, rnn-sigmoid, gru, gru-before, lstm; repeatable.")
@click.option(
    "--init",
    "initialisers",
    metavar="I",
    multiple=True,
    help="An initialiser: uniform, glorot_orthogonal, unit_forget_bias, uniform_gate, chrono:TMAX; repeatable.",
)
@click.option("--hidden", metavar="H", type=int, default=128, show_default=True, help="Hidden size.")
@click.option("--inputs", metavar="D", type=int, default=16, show_default=True, help="Input size; inputs are drawn from N(0, 1).")
@click.option("--steps", metavar="T", type=int, default=4000, show_default=True, help="Sequence length, which is the longest lag.")
@click.option("--seeds", metavar="N", type=int, default=5, show_default=True, help="Networks a row, each with inputs of its own.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the whole run; the same seed repeats it.")
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    default="gatecheck-decay",
    show_default=True,
    help="For files.",
)
def decay(
    cells: tuple[str, ...], initialisers: tuple[str, ...], hidden: int, inputs: int, steps: int, seeds: int, seed: int, out: Path
) -> None:
    """How far back do gradients reach? The headline table, a plot over the lag (PNG, SVG) and every number (JSON)."""
    from gatecheck.decay import sweep
    from gatecheck.report.decay_figure import save_decay_figure
    from gatecheck.report.decay_table import decay_table

    make_folder(out)
    with bar("decay") as tick:
        sizes = {"hidden": hidden, "inputs": inputs, "steps": steps, "seeds": seeds, "seed": seed}
        result = sweep.decay(cells or None, initialisers or None, **sizes, progress=tick)
    console = Console()
    console.print(decay_table(result))
    for reason in result.skipped:
        console.print(f"skipped {reason}", style="dim", highlight=False)
    written = [out / "decay.json"]
    write(written[0], result.to_json())
    try:
        written += save_decay_figure(result, out)
    except MissingExtraError as error:
        console.print(f"no figure: {error}", style="yellow", markup=False, highlight=False)
    console.print(f"written: {', '.join(map(str, written))}", highlight=False, soft_wrap=True)
