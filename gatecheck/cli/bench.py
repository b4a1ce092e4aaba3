"""The ``gatecheck bench`` command."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from gatecheck._util.atomic_write import check_folder, make_folder, write_text
from gatecheck.bench.sections import KERNELS, SECTIONS
from gatecheck.cli.base import (
    OutputFile,
    SecondsType,
    interruption_status,
    main,
    progress_bar,
    write_json,
)
from gatecheck.errors import GatecheckError, MissingExtraError, UsageError
from gatecheck.report.figures import FIGURE_EXTENSIONS
from gatecheck.report.terminal import Console

TABLE_WIDTH = 140
"""Width in columns of the table in ``speed.txt``."""


@main.command(
    short_help="Compare the speed of a cell with installed frameworks.",
    epilog="""\b
Examples:
  gatecheck bench                                      built-in cells at all sizes, half an hour
  gatecheck bench --quick                              a smoke test, one minute
  gatecheck bench --cell gru --against torch --size 100,32,128,128 --threads 1
  gatecheck bench my_lstm.py:MyLSTM --json speed.json --figure speed.png
  gatecheck bench --section gradcheck --section audits   the cost of checks and audits
  gatecheck bench --report reports/speed               all sections, written to files""",
)
@click.argument("target", required=False)
@click.option(
    "--against",
    metavar="P,P",
    default="",
    help="Peers to compare with: torch, jax, onnxruntime, numpy, gatecheck.  [default: all]",
)
@click.option(
    "--cell",
    "cells",
    metavar="K",
    multiple=True,
    help="Built-in cell to measure, repeatable; or the cell of TARGET.",
)
@click.option(
    "--convention",
    metavar="C",
    help="Convention of TARGET's parameters, instead of the declared one.",
)
@click.option(
    "--threads",
    metavar="N,N",
    default="1,2",
    show_default=True,
    help="Numbers of threads, each measured in a separate process.",
)
@click.option(
    "--size",
    "sizes",
    metavar="T,B,D,H",
    multiple=True,
    help="Steps, batch size, inputs and units; repeatable.  [default: six sizes]",
)
@click.option(
    "--dtype",
    "dtypes",
    type=click.Choice(["float32", "float64"]),
    multiple=True,
    help="Data type to measure; repeatable.  [default: both]",
)
@click.option(
    "--work",
    "works",
    type=click.Choice(["forward", "gradients"]),
    multiple=True,
    help="Work to measure; repeatable.  [default: both]",
)
@click.option(
    "--section",
    "sections",
    type=click.Choice(SECTIONS),
    multiple=True,
    help="Section to measure; repeatable.  [default: kernels; with --report all]",
)
@click.option(
    "--quick",
    is_flag=True,
    help="Use small sizes and few rounds, as a smoke test.",
)
@click.option(
    "--limit",
    metavar="S",
    type=SecondsType(),
    default=1800,
    show_default=True,
    help="Approximate time limit in seconds for the kernels.",
)
@click.option(
    "--json", "json_path", metavar="F", type=OutputFile(), help="Write the results as JSON."
)
@click.option(
    "--figure",
    "figure",
    metavar="F",
    type=OutputFile(*FIGURE_EXTENSIONS),
    help="Plot the results, as PNG, SVG or PDF.",
)
@click.option(
    "--report",
    "report",
    metavar="DIR",
    help="Write speed.txt, speed.json and speed.png to this folder.",
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
    """Compare the speed of TARGET with PyTorch, JAX, ONNX Runtime and NumPy.

    Forward and gradients are timed; without TARGET, those of the built-in cells. All run in turns
    in one process with the same arguments and number of threads, and a ratio is the median over
    rounds of a peer's time over TARGET's. A peer that computes something else is refused. The
    matrix products alone are timed too, as a lower bound for every cell. TARGET is written as for
    gatecheck audit. Exit status 0 means that the speed was measured, not that it was good.

    The other sections measure gatecheck itself, in float64 and with the first number of threads.
    gradcheck: the check of an LSTM's full Jacobian, against PyTorch's. audits: gatecheck audit with
    and without compiled kernels, and import gatecheck. decay: the profile of a million steps,
    against its matrix products and PyTorch's autograd. Each reports which of its bars are not met.
    """
    from gatecheck.bench.points import parse_sizes
    from gatecheck.bench.run import BenchResult, Plan, run
    from gatecheck.report.bench.table import bench_table

    if report:
        check_folder(report)
    overrides = {k: v for k, v in (("dtypes", dtypes), ("works", works)) if v}
    result = BenchResult(
        Plan(
            target,
            cells,
            convention,
            tuple(filter(None, (word.strip() for word in against.split(",")))),
            _parse_threads(threads),
            tuple(map(parse_sizes, sizes)),
            sections=sections or (SECTIONS if report and target is None else (KERNELS,)),
            quick=quick,
            limit=limit,
            **overrides,
        )
    )
    out, failed = Console(), None
    try:
        with progress_bar("bench") as tick:
            run(result, tick)
    except KeyboardInterrupt as interruption:
        result.interrupted = True
        _, exit_status = interruption_status(interruption)
    except GatecheckError as error:
        if not result.has_results:
            raise
        failed = error
    data = result.to_json()
    out.print(bench_table(data), crop=False, soft_wrap=False)
    if json_path:
        write_json(json_path, data)
    if figure:
        _save_figure(data, figure, out)
    if report:
        make_folder(report)
        text = io.StringIO()
        Console(file=text, width=TABLE_WIDTH).print(bench_table(data))
        write_text(Path(report, "speed.txt"), text.getvalue())
        write_json(Path(report, "speed.json"), data)
        _save_figure(data, Path(report, "speed.png"), out)
    if failed is not None:
        raise failed
    if result.interrupted:
        sys.exit(exit_status)


def _save_figure(data: Mapping[str, Any], path: Path, out: Console) -> None:
    from gatecheck.report.bench.figure import save_bench_figure

    try:
        save_bench_figure(data, path)
    except (MissingExtraError, UsageError) as error:
        out.print(f"no figure: {error}", style="yellow", markup=False, highlight=False)


def _parse_threads(text: str) -> tuple[int, ...]:
    try:
        return tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError as error:
        raise UsageError(
            f"--threads is {text!r}, but should be comma-separated whole numbers, such as 1,2"
        ) from error
