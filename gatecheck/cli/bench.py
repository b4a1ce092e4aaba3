"""``gatecheck bench``."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from gatecheck._util.atomic_write import check_folder, make_folder, write_text
from gatecheck.bench.sections import KERNELS, SECTIONS
from gatecheck.cli.base import INTERRUPTED, Output, Seconds, bar, main, write_json
from gatecheck.errors import GatecheckError, MissingExtraError, UsageError
from gatecheck.report.figures import FIGURES

WIDTH = 140
"""Columns of the table in a report."""


@main.command(
    short_help="Measure how fast a cell is, side by side with what is installed.",
    epilog="""\b
Examples:
  gatecheck bench                                      our cells at all sizes, half an hour
  gatecheck bench --quick                              does it work? a minute
  gatecheck bench --cell gru --against torch --size 100,32,128,128 --threads 1
  gatecheck bench my_lstm.py:MyLSTM --json speed.json --figure speed.png
  gatecheck bench --section gradcheck --section audits what our checks and audits cost
  gatecheck bench --report reports/speed               everything, as files""",
)
@click.argument("target", required=False)
@click.option(
    "--against",
    metavar="P,P",
    default="",
    help="Peers, of torch, jax, onnxruntime, numpy and gatecheck.  [default: all]",
)
@click.option(
    "--cell",
    "cells",
    metavar="K",
    multiple=True,
    help="Which of our cells, repeatable; or which one TARGET is.",
)
@click.option(
    "--convention",
    metavar="C",
    help="In which convention TARGET takes parameters, instead of what it declares.",
)
@click.option(
    "--threads",
    metavar="N,N",
    default="1,2",
    show_default=True,
    help="Numbers of threads, each in a process of its own.",
)
@click.option(
    "--size",
    "sizes",
    metavar="T,B,D,H",
    multiple=True,
    help="Steps, rows, inputs and units; repeatable.  [default: six sizes]",
)
@click.option(
    "--dtype",
    "dtypes",
    type=click.Choice(["float32", "float64"]),
    multiple=True,
    help="Repeatable.  [default: both]",
)
@click.option(
    "--work",
    "works",
    type=click.Choice(["forward", "gradients"]),
    multiple=True,
    help="Repeatable.  [default: both]",
)
@click.option(
    "--section",
    "sections",
    type=click.Choice(SECTIONS),
    multiple=True,
    help="What is measured, repeatable.  [default: kernels; with --report all]",
)
@click.option(
    "--quick",
    is_flag=True,
    help="Small sizes and few rounds: whether it works, rather than how fast.",
)
@click.option(
    "--limit",
    metavar="S",
    type=Seconds(),
    default=1800,
    show_default=True,
    help="Seconds that the kernels may take, about.",
)
@click.option("--json", "json_path", metavar="F", type=Output(), help="Write the result here.")
@click.option(
    "--figure", "figure", metavar="F", type=Output(*FIGURES), help="Draw it here: PNG, SVG or PDF."
)
@click.option(
    "--report", "report", metavar="DIR", help="Write speed.txt, speed.json and speed.png here."
)
def bench(
    target: str | None,
    against: str,
    cells: tuple[str, ...],
    convention: str | None,
    threads: str,
    sizes: tuple[str, ...],
    dtypes: tuple[str, ...],
    works: tuple[str, ...],
    sections: tuple[str, ...],
    quick: bool,
    limit: float,
    json_path: Path | None,
    figure: Path | None,
    report: str | None,
) -> None:
    """How fast is TARGET (our cells without one), forward and gradients, against PyTorch, JAX, ONNX
    Runtime and NumPy?

    All run in turns in one process with the same arguments and number of threads, and a ratio is
    the median over rounds of their time over TARGET's. Whatever computes something else is refused.
    The matrix products alone are timed too: the floor under every cell. TARGET is written as for
    gatecheck audit. Exit status 0 says that it was measured, not that it was fast.

    The other sections are about gatecheck itself, in float64 and with the first number of threads.
    gradcheck: the check of an LSTM's full Jacobian, against PyTorch's. audits: gatecheck audit with
    and without compiled kernels, and import gatecheck. decay: the profile of a million steps,
    against its matrix products and PyTorch's autograd. Each has bars, and says which are not met.
    """
    from gatecheck.bench.points import parse_sizes
    from gatecheck.bench.run import Bench, Plan, run
    from gatecheck.report.bench.table import bench_table

    if report:
        check_folder(report)
    chosen = {k: v for k, v in (("dtypes", dtypes), ("works", works)) if v}
    result = Bench(
        Plan(
            target,
            cells,
            convention,
            tuple(filter(None, (word.strip() for word in against.split(",")))),
            _numbers(threads),
            tuple(map(parse_sizes, sizes)),
            sections=sections or (SECTIONS if report and target is None else (KERNELS,)),
            quick=quick,
            limit=limit,
            **chosen,
        )
    )
    out, failed = Console(), None
    try:
        with bar("bench") as tick:
            run(result, tick)
    except KeyboardInterrupt:
        result.interrupted = True
    except GatecheckError as error:
        if not result.measured:
            raise
        failed = error
    data = result.to_json()
    out.print(bench_table(data), crop=False, soft_wrap=False)
    if json_path:
        write_json(json_path, data)
    if figure:
        _draw(data, figure, out)
    if report:
        make_folder(report)
        text = io.StringIO()
        Console(file=text, width=WIDTH).print(bench_table(data))
        write_text(Path(report, "speed.txt"), text.getvalue())
        write_json(Path(report, "speed.json"), data)
        _draw(data, Path(report, "speed.png"), out)
    if failed is not None:
        raise failed
    if result.interrupted:
        sys.exit(INTERRUPTED)


def _draw(data: Mapping[str, Any], path: Path, out: Console) -> None:
    from gatecheck.report.bench.figure import save_bench_figure

    try:
        save_bench_figure(data, path)
    except (MissingExtraError, UsageError) as error:
        out.print(f"no figure: {error}", style="yellow", markup=False, highlight=False)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError as error:
        raise UsageError(
            f"--threads takes whole numbers with commas between them, as 1,2; {text!r} is not that"
        ) from error
