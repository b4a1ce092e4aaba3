"""The commands ``properties``, ``faults``, ``checkers`` and ``calibrate``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from gatecheck.cli.base import ALL_HOLD, FINDINGS, OutputFile, main, progress_bar, write_json
from gatecheck.report.figures import FIGURE_EXTENSIONS


@main.command(short_help="List every property.")
def properties() -> None:
    """List every property with its preconditions and its statement."""
    from gatecheck.auditing.selection import select_properties
    from gatecheck.report.properties_table import properties_list

    Console().print(properties_list(select_properties()))


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


@main.command(
    short_help="See which faults other gradient checkers miss.",
    epilog="""\b
Examples:
  gatecheck checkers                                PyTorch's and JAX's, which must be installed
  gatecheck checkers --cell gru --against torch --json checkers.json""",
)
@click.option(
    "--cell",
    "cells",
    metavar="K",
    multiple=True,
    help="Try only the faults of this cell; repeatable.  [default: all cells]",
)
@click.option(
    "--against",
    metavar="NAMES",
    default="torch,jax",
    show_default=True,
    help="Packages whose checkers to try: torch, jax.",
)
@click.option(
    "--json", "json_path", metavar="F", type=OutputFile(), help="Write all verdicts as JSON."
)
def checkers(cells: tuple[str, ...], against: str, json_path: Path | None) -> None:
    """Try the gradient checkers of other packages on every backward fault.

    The checkers are used as published. A gradient checker compares a function with itself and so
    cannot catch forward faults; a sample of these is tried to show it.
    """
    with progress_bar("checkers") as tick:
        from gatecheck.mutation import checker_comparison
        from gatecheck.mutation.gradient_checkers import checkers_of
        from gatecheck.report.checkers_table import checkers_table

        names = checkers_of(against.split(","))
        comparison_data = checker_comparison.comparison_report(
            checker_comparison.compare(
                checker_comparison.sample_labels(cells), names, progress=tick
            ),
            names,
            cells,
        )
    Console().print(checkers_table(comparison_data))
    if json_path:
        write_json(json_path, comparison_data)


@main.command(
    short_help="Check the rounding budget on correct code.",
    epilog="""\b
Example:
  gatecheck calibrate torch.nn:GRU torch.nn:LSTM --cases 100 --json calibration.json""",
)
@click.argument("targets", nargs=-1, required=True)
@click.option(
    "--cases",
    metavar="N",
    type=click.IntRange(1, 1_000_000),
    default=50,
    show_default=True,
    help="Number of cases per target and dtype.",
)
@click.option(
    "--tight",
    metavar="N",
    type=click.IntRange(1, 100_000),
    default=2,
    show_default=True,
    help="Tightness cases per regime and length; chaotic regimes get four times as many.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed for case generation; the same seed repeats the figures.",
)
@click.option(
    "--json", "json_path", metavar="F", type=OutputFile(), help="Write all figures as JSON."
)
def calibrate(
    targets: tuple[str, ...], cases: int, tight: int, seed: int, json_path: Path | None
) -> None:
    """Check the rounding budget on TARGETS that are known to be correct.

    Cases range far wider than an audit's: up to 200 steps and 128 units, contracting to chaotic,
    gate biases from -20 to 20. Then measures how near the spread is to the true error of an
    ensemble of correct formulations, by regime and length, and how small an error is still
    detected. Exit status 1 if a correct value was outside its budget.
    """
    from gatecheck._util.versions import versions
    from gatecheck.accuracy import calibration
    from gatecheck.implementation import Subject
    from gatecheck.report.calibration_table import calibration_table
    from gatecheck.targets.loading import load

    subjects = []
    for target in targets:
        loaded = load(target)
        if not isinstance(loaded, Subject):
            raise click.UsageError(
                f"{target} is a custom cell, for which there is no budget to check"
            )
        subjects.append(loaded)
    with progress_bar("calibrate") as tick:
        data = calibration.calibration_report(
            subjects, cases, seed, tightness_cases=tight, progress=tick
        )
    Console().print(calibration_table(data))
    if json_path:
        write_json(json_path, data | {"versions": versions("torch")})
    sys.exit(FINDINGS if any(row["alarms"] for row in data["calibration"]) else ALL_HOLD)
