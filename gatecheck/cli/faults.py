"""What the claims are worth: ``gatecheck properties``, ``faults``, ``checkers``, ``calibrate``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from gatecheck.cli.base import FINDINGS, HOLDS, Output, bar, main, write_json
from gatecheck.report.figures import FIGURES


@main.command(short_help="List every claim.")
def properties() -> None:
    """List every claim, what it needs to hold, and what it says."""
    from gatecheck.auditing.audit import claims
    from gatecheck.report.claims_table import claims_list

    Console().print(claims_list(claims()))


@main.command(
    short_help="Plant known faults and see which properties catch them.",
    epilog="""\b
Examples:
  gatecheck faults                                  every named fault, every property that applies
  gatecheck faults --cell gru --mutants             with every systematic misreading of the GRU's equations
  gatecheck faults --case case.npz                  what a saved case could not have told
  gatecheck faults --name "lstm: dc not carried"    one fault
  gatecheck faults --first --seed 1 --seeds 9       does any survive under other seeds?
  gatecheck faults --profile ci --json faults.json --figure faults.png""",
)
@click.option("--cell", metavar="K", help="Only the faults of this cell.")
@click.option("--name", metavar="LABEL", help="Only this fault.")
@click.option("--mutants", is_flag=True, help="The systematic misreadings too.")
@click.option("--first", is_flag=True, help="Stop at each fault's first kill.")
@click.option(
    "--without-reference",
    is_flag=True,
    help="Leave out the properties that compare with another implementation.",
)
@click.option(
    "--profile",
    type=click.Choice(["quick", "ci", "thorough"]),
    default="quick",
    show_default=True,
    help="How many cases.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the cases."
)
@click.option(
    "--seeds",
    metavar="N",
    type=click.IntRange(1, 10_000),
    default=1,
    help="With --first: so many seeds from --seed on, a line each.",
)
@click.option("--json", "json_path", metavar="F", type=Output(), help="Write the matrix here.")
@click.option(
    "--figure", metavar="F", type=Output(*FIGURES), help="Draw the matrix here: PNG, SVG or PDF."
)
@click.option(
    "--case",
    "case_path",
    metavar="CASE.npz",
    help="Plant nothing; name the faults that this saved case could not have told.",
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
    """Plant every known fault in the reference and see which properties catch it.

    Exit status 1 if a fault that is not equivalent to the truth survives.
    """
    from gatecheck.report import faults_table as report

    if seeds > 1 and (figure or not first):
        raise click.UsageError("--seeds is for --first, and draws no figure")
    if case_path:
        _untold(case_path)
        return
    with bar("faults") as tick:
        from gatecheck.mutation import kill_matrix

        labels, seen = (
            kill_matrix.chosen_labels(cell, name, with_mutants=mutants),
            range(seed, seed + seeds),
        )
        how: dict[str, Any] = {
            "profile": profile,
            "first_only": first,
            "without_reference": without_reference,
        }
        found = kill_matrix.matrices(labels, seeds=seen, **how, progress=tick)
    summary = f"profile {profile}, seed {seed}"
    Console().print(
        report.shown(
            found, seen, summary, alone=name is not None, whole=not (first or without_reference)
        )
    )
    if json_path:
        write_json(
            json_path,
            kill_matrix.report(found[0], profile, seed)
            if seeds == 1
            else kill_matrix.report_seeds(found, profile, seen),
        )
    if figure:
        report.save_faults_figure(found[0], figure)
    sys.exit(FINDINGS if any(map(kill_matrix.survivors, found)) else HOLDS)


def _untold(path: str) -> None:
    from gatecheck.cases import Case
    from gatecheck.diagnosis.undetected import untold
    from gatecheck.report.faults_table import untold_list

    case, _ = Case.load(path)
    Console().print(untold_list(case, untold([case])))


@main.command(
    short_help="See what other packages' gradient checkers let pass.",
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
    help="Only the faults of this cell; repeatable.  [default: all cells]",
)
@click.option(
    "--against",
    metavar="NAMES",
    default="torch,jax",
    show_default=True,
    help="Whose checkers: torch, jax.",
)
@click.option("--json", "json_path", metavar="F", type=Output(), help="Write every verdict here.")
def checkers(cells: tuple[str, ...], against: str, json_path: Path | None) -> None:
    """What the gradient checkers of other packages let pass: every backward fault, judged by them
    as published.

    Forward faults are beyond a gradient checker, which compares a function with itself: a sample of
    them is tried to show it.
    """
    with bar("checkers") as tick:
        from gatecheck.mutation import checker_comparison
        from gatecheck.mutation.gradient_checkers import of_packages
        from gatecheck.report.checkers_table import checkers_table

        names = of_packages(against.split(","))
        found = checker_comparison.report(
            checker_comparison.compare(checker_comparison.labels(cells), names, progress=tick),
            names,
            cells,
        )
    Console().print(checkers_table(found))
    if json_path:
        write_json(json_path, found)


@main.command(
    short_help="Hold the rounding budget against code that is right.",
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
    help="Cases a target and dtype.",
)
@click.option(
    "--tight",
    metavar="N",
    type=click.IntRange(1, 100_000),
    default=2,
    show_default=True,
    help="For tightness: cases a regime and length; four times as many of chaotic ones.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="The same seed repeats the figures.",
)
@click.option("--json", "json_path", metavar="F", type=Output(), help="Write every figure here.")
def calibrate(
    targets: tuple[str, ...], cases: int, tight: int, seed: int, json_path: Path | None
) -> None:
    """Hold the rounding budget against TARGETS that are known to be right, on far wider cases than
    an audit's.

    Up to 200 steps and 128 units, contracting to chaotic, gate biases from -20 to 20; then how near
    the spread is to the true error of an ensemble of correct spellings, by regime and length, and
    how small an error is still seen. Exit status 1 if a correct value was outside its budget.
    """
    from gatecheck._util.versions import versions
    from gatecheck.accuracy import calibration
    from gatecheck.implementation import Subject
    from gatecheck.report.calibration_table import calibration_table
    from gatecheck.targets.loading import load

    known = []
    for name in targets:
        loaded = load(name)
        if not isinstance(loaded, Subject):
            raise click.UsageError(
                f"{name} is a cell of its own, for which there is no budget to hold against it"
            )
        known.append(loaded)
    with bar("calibrate") as tick:
        found = calibration.report(known, cases, seed, tight=tight, progress=tick)
    Console().print(calibration_table(found))
    if json_path:
        write_json(json_path, found | {"versions": versions("torch")})
    sys.exit(FINDINGS if any(row["alarms"] for row in found["calibration"]) else HOLDS)
