"""``gatecheck decay``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from gatecheck.cli.base import INTERRUPTED, again, bar, main, make_folder, write
from gatecheck.errors import MissingExtraError, UsageError, WorkerLostError

if TYPE_CHECKING:
    from gatecheck.decay.store import Store

PARTS = "parts"
"""The folder in that of the results where a sweep keeps what is done, as long as it is not done."""


@main.command(
    short_help="Measure how far back gradients reach.",
    epilog="""\b
Examples:
  gatecheck decay                                       the headline table for RNN, GRU and LSTM
  gatecheck decay --cell lstm --init chrono:1000        one cell, one initialisation
  gatecheck decay --cell gru --cell lstm --init uniform --hidden 64 --steps 100000 --seeds 3 --out my-decay
  gatecheck decay --steps 1000000 --workers 4           hours; Ctrl-C keeps what is done, and the same with --resume goes on""",
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
@click.option("--workers", metavar="N", type=click.IntRange(min=1), default=1, show_default=True, help="Processes on this machine.")
@click.option("--dask", metavar="ADDRESS", help="A Dask scheduler, as in tcp://host:8786, whose workers measure instead of this machine.")
@click.option(
    "--resume", is_flag=True, help="Go on from what an interrupted run kept in DIR/parts; the result is the same to the last bit."
)
@click.pass_context
def decay(
    context: click.Context,
    cells: tuple[str, ...],
    initialisers: tuple[str, ...],
    hidden: int,
    inputs: int,
    steps: int,
    seeds: int,
    seed: int,
    out: Path,
    workers: int,
    dask: str | None,
    resume: bool,
) -> None:
    """How far back do gradients reach? The headline table, a plot over the lag (PNG, SVG) and every number (JSON)."""
    from gatecheck.decay import sweep
    from gatecheck.decay.store import Store
    from gatecheck.report.decay_figure import save_decay_figure
    from gatecheck.report.decay_table import decay_table

    if dask is not None and workers > 1:
        raise UsageError("--workers is for this machine and --dask for a cluster: give one of them")
    make_folder(out)
    store = Store(out / PARTS)
    sizes: Any = {"hidden": hidden, "inputs": inputs, "steps": steps, "seeds": seeds, "seed": seed}
    with _kept(context, store), bar("decay") as tick:
        result = sweep.decay(
            cells or None,
            initialisers or None,
            **sizes,
            progress=tick,
            workers=workers,
            store=store,
            resume=resume,
            dask=dask,
            say=lambda message: click.echo(f"gatecheck: {message}", err=True),
        )
    console = Console()
    console.print(decay_table(result))
    for reason in result.skipped:
        console.print(f"skipped {reason}", style="dim", highlight=False)
    written = [out / "decay.json"]
    write(written[0], result.to_json())
    store.clear()
    try:
        written += save_decay_figure(result, out)
    except MissingExtraError as error:
        console.print(f"no figure: {error}", style="yellow", markup=False, highlight=False)
    console.print(f"written: {', '.join(map(str, written))}", highlight=False, soft_wrap=True)


@contextmanager
def _kept(context: click.Context, store: Store) -> Iterator[None]:
    """Says what outlives an interruption, and the command that goes on from there."""
    try:
        yield
    except KeyboardInterrupt:
        how = f"{store.status}; to go on: {again(context, '--resume')}" if store.keys else "nothing had begun"
        click.echo(f"gatecheck: interrupted; {how}", err=True)
        context.exit(INTERRUPTED)
    except WorkerLostError as error:
        raise WorkerLostError(f"{error}; to go on: {again(context, '--resume')}") from error
