"""The ``gatecheck decay`` command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gatecheck._util.atomic_write import check_folder, make_folder, write_text
from gatecheck.cli.base import command_line, interruption_status, main, progress_bar, say
from gatecheck.errors import MissingExtraError, UsageError, WorkerLostError
from gatecheck.report.terminal import Console

if TYPE_CHECKING:
    from gatecheck.decay.jobs.checkpoints import PartStore
    from gatecheck.decay.result import DecayResult
    from gatecheck.decay.spec import Spec

PARTS_DIR = "parts"
"""Subfolder of DIR for the finished parts of an unfinished study."""


@main.command(
    short_help="Measure how far back gradients reach.",
    epilog="""\b
Examples:
  gatecheck decay                                       the headline table for RNN, GRU and LSTM
  gatecheck decay --cell lstm --init chrono:1000        one cell, one initialization
  gatecheck decay --weights model.pt --layer encoder --data x.npy --steps 500 --lag 200
  gatecheck decay --target my_gru.py:MyGRU --init uniform --hidden 32
  gatecheck decay --init-spec > study.toml              a commented study to edit
  gatecheck decay study.toml --out my-study --workers 4
  gatecheck decay --steps 1000000 --workers 4           hours; after Ctrl-C, --resume continues""",
)
@click.argument("spec", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--init-spec", is_flag=True, help="Print a commented SPEC.toml instead.")
@click.option(
    "--cell",
    metavar="K",
    multiple=True,
    help="Cell: rnn, rnn-relu, rnn-sigmoid, gru, gru-before, lstm; repeatable.",
)
@click.option(
    "--init",
    metavar="I",
    multiple=True,
    help="Initializer: uniform, glorot_orthogonal, unit_forget_bias, uniform_gate, chrono:TMAX; "
    "repeatable.",
)
@click.option(
    "--hidden",
    metavar="H",
    type=int,
    multiple=True,
    help="Hidden size; repeatable.  [default: 128]",
)
@click.option(
    "--inputs",
    metavar="D",
    type=int,
    help="Input size, with inputs drawn from N(0, 1).  [default: 16]",
)
@click.option(
    "--weights",
    metavar="FILE",
    help="File of trained weights to measure: .npz, .safetensors, .pt, .onnx, .keras, .h5.",
)
@click.option("--layer", metavar="NAME", help="Layer of the weights file.")
@click.option("--convention", metavar="C", help="Convention of the weights file or target.")
@click.option(
    "--target",
    metavar="T",
    help="Target to measure by its own backward, written as for gatecheck audit.",
)
@click.option(
    "--data",
    metavar="FILE",
    help="File of input sequences, (T, D) or (N, T, D): .npy, .npz, .csv.",
)
@click.option(
    "--lag",
    metavar="K",
    type=int,
    help="Number of steps back that your task needs, to be compared with the reach.",
)
@click.option(
    "--steps",
    metavar="T",
    type=int,
    help="Sequence length, and so the longest lag.  [default: 4000]",
)
@click.option(
    "--seeds",
    metavar="N",
    type=int,
    help="Networks per row, each with its own inputs.  [default: 5]",
)
@click.option(
    "--seed",
    metavar="S",
    type=int,
    help="Seed for networks and inputs; the same seed repeats the run.  [default: 0]",
)
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    default="gatecheck-decay",
    show_default=True,
    help="Output folder.",
)
@click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Number of processes on this machine.",
)
@click.option(
    "--dask",
    metavar="ADDRESS",
    help="Dask scheduler, such as tcp://host:8786, whose workers replace this machine's.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Continue an interrupted run from DIR/parts; the result is the same to the last bit.",
)
@click.pass_context
def decay(
    context: click.Context,
    /,
    spec: Path | None,
    init_spec: bool,
    out: Path,
    workers: int,
    dask: str | None,
    resume: bool,
    **options: Any,
) -> None:
    """Measure how far back gradients reach.

    Prints the headline table, and writes a report (HTML; Markdown with pictures) and all results
    (JSON). SPEC.toml or the options specify what to measure; without either, the usual cells and
    initializations are measured.
    """
    from gatecheck.decay.jobs.checkpoints import PartStore
    from gatecheck.decay.spec_keys import commented_spec
    from gatecheck.decay.study import run
    from gatecheck.decay.study.advice import compare
    from gatecheck.report.decay.table import decay_table, network_notes

    if init_spec:
        click.echo(commented_spec(), nl=False)
        return
    if dask is not None and workers > 1:
        raise UsageError("--workers is for this machine and --dask for a cluster: give one of them")
    study_spec = _read_spec(
        spec, {name: value for name, value in options.items() if value not in (None, ())}
    )
    make_folder(out)
    check_folder(out)
    store = PartStore(out / PARTS_DIR)
    with _report_interruption(context, store), progress_bar("decay") as tick:
        result = run.decay(
            study_spec,
            tick,
            workers=workers,
            store=store,
            resume=resume,
            dask=dask,
            notify=say,
        )
    console = Console()
    console.print(decay_table(result))
    for reason in result.skipped:
        console.print(f"skipped {reason}", style="dim", highlight=False)
    for name, note in network_notes(result):
        console.print(f"{name}: {note}", style="dim", markup=False, highlight=False)
    for sentence in compare(result):
        console.print(sentence, highlight=False)
    written = [out / "decay.json"]
    write_text(written[0], result.to_json() + "\n")
    store.clear()
    try:
        written += _write_report(result, out)
    except MissingExtraError as error:
        console.print(f"no report: {error}", style="yellow", markup=False, highlight=False)
    console.print(f"written: {', '.join(map(str, written))}", highlight=False, soft_wrap=True)


def _read_spec(path: Path | None, options: dict[str, Any]) -> Spec:
    from gatecheck.decay.spec import DEFAULT_NETWORKS, as_spec, read_spec

    if path is not None:
        if options:
            raise UsageError(
                f"--{next(iter(options))} and a SPEC.toml both say what to measure: "
                "give one of them"
            )
        return read_spec(path)
    content: dict[str, Any] = {
        name: list(value) if isinstance(value, tuple) else value for name, value in options.items()
    }
    entry = {
        name: content.pop(name)
        for name in ("target", "weights", "layer", "convention", "cell", "init")
        if name in content
    }
    if "target" in entry or "weights" in entry:
        content["network"] = [entry]
    elif entry:
        # A cell alone gets the usual initializers, and an initializer alone the usual cells.
        cells, inits = (list(dict.fromkeys(names)) for names in zip(*DEFAULT_NETWORKS, strict=True))
        content["network"] = [{"cell": cells, "init": inits} | entry]
    return as_spec(content, "options")


def _write_report(result: DecayResult, out: Path) -> list[Path]:
    from gatecheck.report.decay.figures import draw_figures, save_figures
    from gatecheck.report.decay.page import decay_html, decay_markdown

    with progress_bar("report") as tick:
        drawn = draw_figures(result, tick)
    for name, text in (
        ("decay.html", decay_html(result, drawn)),
        ("decay.md", decay_markdown(result, drawn)),
    ):
        write_text(out / name, text + "\n")
    return [out / "decay.html", out / "decay.md", *save_figures(drawn, out)]


@contextmanager
def _report_interruption(context: click.Context, store: PartStore) -> Iterator[None]:
    """Report what was saved at an interruption, and the command that continues."""
    try:
        yield
    except KeyboardInterrupt as interruption:
        how, exit_status = interruption_status(interruption)
        status = (
            f"{store.status}; to continue: {command_line(context, '--resume')}"
            if store.keys
            else "nothing was started"
        )
        say(f"{how}; {status}")
        context.exit(exit_status)
    except WorkerLostError as error:
        raise WorkerLostError(
            f"{error}; to continue: {command_line(context, '--resume')}"
        ) from error
