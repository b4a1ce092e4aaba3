"""The command ``calibrate``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from gatecheck.cli.base import ALL_HOLD, FINDINGS, OutputFile, main, progress_bar, write_json
from gatecheck.report.terminal import Console


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
