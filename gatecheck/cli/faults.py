"""The command ``faults``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from gatecheck.cli.base import ALL_HOLD, FINDINGS, OutputFile, main, progress_bar, write_json
from gatecheck.report.figures import FIGURE_EXTENSIONS
from gatecheck.report.terminal import Console


@main.command(
    short_help="Inject known faults and see which properties catch them.",
    epilog="""\b
Examples:
  gatecheck faults                                  every named fault, every property that applies
  gatecheck faults --cell gru --mutants             with every systematic misreading of the GRU
  gatecheck faults --case case.npz                  the faults that a saved case cannot reveal
  gatecheck faults --name "lstm: dc not carried"    one fault
  gatecheck faults --first --seed 1 --seeds 9       whether any survives under other seeds
  gatecheck faults --profile ci --json faults.json --figure faults.png""",
)
@click.option("--cell", metavar="K", help="Try only the faults of this cell.")
@click.option("--name", metavar="LABEL", help="Try only this fault.")
@click.option(
    "--mutants", is_flag=True, help="Also try every systematic misreading of the equations."
)
@click.option("--first", is_flag=True, help="Stop at the first property that catches each fault.")
@click.option(
    "--without-reference",
    is_flag=True,
    help="Exclude properties that compare with another implementation.",
)
@click.option(
    "--profile",
    type=click.Choice(["quick", "ci", "thorough"]),
    default="quick",
    show_default=True,
    help="Number of cases per property.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed for case generation.",
)
@click.option(
    "--seeds",
    metavar="N",
    type=click.IntRange(1, 10_000),
    default=1,
    help="With --first: number of seeds, from --seed on; prints a line for each.",
)
@click.option(
    "--json", "json_path", metavar="F", type=OutputFile(), help="Write the kill matrix as JSON."
)
@click.option(
    "--figure",
    metavar="F",
    type=OutputFile(*FIGURE_EXTENSIONS),
    help="Plot the kill matrix, as PNG, SVG or PDF.",
)
@click.option(
    "--case",
    "case_path",
    metavar="CASE.npz",
    help="Only list the faults that this saved case cannot reveal.",
)
def faults(
    cell: str | None,
    name: str | None,
    mutants: bool,
    first: bool,
    without_reference: bool,
    profile: str,
    seed: int,
    seeds: int,
    json_path: Path | None,
    figure: Path | None,
    case_path: str | None,
) -> None:
    """Inject every known fault into the reference and see which properties catch it.

    Exit status 1 if a fault survives that is not equivalent to correct code.
    """
    from gatecheck.report import faults_table as report

    if seeds > 1 and (figure or not first):
        raise click.UsageError("--seeds is for --first, and draws no figure")
    if case_path:
        _print_undetected(case_path)
        return
    with progress_bar("faults") as tick:
        from gatecheck.mutation import kill_matrix

        labels, seed_range = (
            kill_matrix.select_labels(cell, name, with_mutants=mutants),
            range(seed, seed + seeds),
        )
        options: dict[str, Any] = {
            "profile": profile,
            "first_only": first,
            "without_reference": without_reference,
        }
        kill_matrices = kill_matrix.run_matrices(labels, seeds=seed_range, **options, progress=tick)
    summary = f"profile {profile}, seed {seed}"
    Console().print(
        report.faults_report(
            kill_matrices,
            seed_range,
            summary,
            is_single=name is not None,
            is_complete=not (first or without_reference),
        )
    )
    if json_path:
        write_json(
            json_path,
            kill_matrix.kill_report(kill_matrices[0], profile, seed)
            if seeds == 1
            else kill_matrix.report_seeds(kill_matrices, profile, seed_range),
        )
    if figure:
        report.save_faults_figure(kill_matrices[0], figure)
    sys.exit(FINDINGS if any(map(kill_matrix.survivors, kill_matrices)) else ALL_HOLD)


def _print_undetected(path: str) -> None:
    from gatecheck.cases import Case
    from gatecheck.diagnosis.undetected import undetected_faults
    from gatecheck.report.faults_table import undetected_list

    case, _ = Case.load(path)
    Console().print(undetected_list(case, undetected_faults([case])))
