"""The command line. Exit status: 0 all hold, 1 findings or inconclusive, 2 the call is wrong, 3 the target could not be run."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

import gatecheck
from gatecheck.errors import GatecheckError, MissingExtraError, TargetError, UsageError

HOLDS, FINDINGS, WRONG_CALL, CANNOT_RUN, INTERRUPTED = 0, 1, 2, 3, 130

Tick = Callable[[int, int, str], None]


class _Commands(click.Group):
    """Turns our errors into one line and an exit status; anything else is a bug of ours and keeps its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (TargetError, MissingExtraError) as error:
            click.echo(f"gatecheck: {error}", err=True)
            ctx.exit(CANNOT_RUN)
        except GatecheckError as error:
            click.echo(f"gatecheck: {error}", err=True)
            ctx.exit(WRONG_CALL)
        except MemoryError:
            click.echo("gatecheck: there is not enough memory for these sizes", err=True)
            ctx.exit(WRONG_CALL)
        except KeyboardInterrupt:
            click.echo("gatecheck: interrupted; nothing more was written", err=True)
            ctx.exit(INTERRUPTED)


@click.group(
    cls=_Commands,
    epilog="""\b
Examples:
  gatecheck audit                       our cells and every framework installed
  gatecheck audit my_lstm.py:MyLSTM     an implementation of yours
  gatecheck decay                       how fast gradients fade, by cell and initialisation""",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(gatecheck.__version__, "--version", prog_name="gatecheck")
def main() -> None:
    """Is this GRU or LSTM right, claim by claim? How far back does it learn?"""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a console that cannot show ± still shows the verdict


@contextmanager
def _bar(label: str) -> Iterator[Tick]:
    """A progress bar on standard error that leaves nothing behind."""
    columns = [SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn()]
    columns += [TimeElapsedColumn(), TimeRemainingColumn()]
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(label, total=None)

        def tick(done: int, total: int, now: str) -> None:
            progress.update(task, completed=done, total=total, description=f"{label}  {now}"[:70])

        yield tick


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error


def _write_json(path: Path, data: Any) -> None:
    _write(path, json.dumps(data, indent=2, allow_nan=False))


def _check_writable(file: Path | None, folder: str | None = None) -> None:
    """Before a long run rather than after it."""
    if file is not None and not os.access(file if file.exists() else file.parent, os.W_OK):
        raise UsageError(
            f"{file} cannot be written: {'permission denied' if file.parent.is_dir() else f'there is no folder {file.parent}'}"
        )
    if folder is None:
        return
    existing = next(p for p in (Path(folder), *Path(folder).absolute().parents) if p.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise UsageError(
            f"counterexamples cannot be written into {folder}: {existing} is {'no folder' if existing.is_file() else 'read-only'}"
        )


def _print_audit(out: Console, result: Any, command: str) -> None:
    from gatecheck.report.audit_table import audit_table, verdict_line

    out.print(audit_table(result, command), crop=False)
    out.print(verdict_line(result), soft_wrap=True)


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"the folder {path} cannot be made: {error.strerror}") from error


@main.command(
    short_help="Try to refute an implementation, claim by claim.",
    epilog="""\b
Examples:
  gatecheck audit                                   our cells and every framework installed
  gatecheck audit torch.nn:LSTM --json out.json     one class of PyTorch
  gatecheck audit my_lstm.py:MyLSTM                 an implementation in a file
  gatecheck audit torch.nn:RNN --cell rnn-relu      where a class can be several cells
  gatecheck audit my_lstm.py:MyLSTM --replay gatecheck-cases/my_lstm-py-MyLSTM-gradients_within_budget.npz

\b
Exit status: 0 all hold, 1 findings or inconclusive, 2 the call is wrong, 3 the target could not be run.""",
)
@click.argument("target", required=False)
@click.option("--cell", metavar="K", help="Which cell it is, if it does not say: rnn, rnn-relu, rnn-sigmoid, gru, gru-before, lstm.")
@click.option("--convention", metavar="C", help="In which convention it takes parameters, instead of what it declares.")
@click.option("--profile", type=click.Choice(["quick", "ci", "thorough"]), help="How many cases.  [default: ci; quick without TARGET]")
@click.option("--only", metavar="P", multiple=True, help="Only this property; may be given several times.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the cases; the same seed repeats the audit.")
@click.option("--json", "json_path", metavar="F", type=click.Path(path_type=Path, dir_okay=False), help="Write the result here.")
@click.option("--replay", metavar="CASE.npz", help="Try a saved counterexample on TARGET instead.")
@click.option("--cases", "folder", metavar="DIR", default="gatecheck-cases", show_default=True, help="Where counterexamples are written.")
def audit(
    target: str | None,
    cell: str | None,
    convention: str | None,
    profile: str | None,
    only: tuple[str, ...],
    seed: int,
    json_path: Path | None,
    replay: str | None,
    folder: str,
) -> None:
    """Audit TARGET: every property that applies, float32 and float64, forward and gradients.

    TARGET is builtin:CELL, torch.nn:CLASS, package.module:OBJECT or path/to/file.py:OBJECT. Without one, our own cells and every
    supported framework that is installed are audited.
    """
    _check_writable(json_path, folder)
    if target is None:
        if replay is not None or cell or convention:
            raise click.UsageError("--replay, --cell and --convention need a TARGET")
        _audit_all(profile or "quick", only, seed, json_path, folder)
        return
    overrides = [word for option, value in (("--cell", cell), ("--convention", convention)) if value for word in (option, value)]
    command = shlex.join(["gatecheck", "audit", target, *overrides])
    out = Console()
    with _bar(target) as tick:
        from gatecheck.auditing import runner, targets  # a second or two, which the bar covers

        implementation = targets.load(target, cell=cell, convention=convention)
        if replay is None:
            result = runner.audit(implementation, profile=profile or "ci", only=only, seed=seed, progress=tick)
    if replay is not None:
        replayed = runner.replay(implementation, replay)
        out.print(f"{replayed.name} {replayed.outcome} on {replay}\n{replayed.reason}", markup=False, highlight=False)
        sys.exit(HOLDS if replayed.outcome in ("passed", "expected_failure") else FINDINGS)
    result = result.saving_counterexamples(folder)
    _print_audit(out, result, command)
    if json_path:
        _write_json(json_path, result.to_json())
    sys.exit(HOLDS if result.ok else FINDINGS)


def _audit_all(profile: str, only: tuple[str, ...], seed: int, json_path: Path | None, folder: str) -> None:
    with _bar("gatecheck"):
        from gatecheck.auditing import runner, targets
        from gatecheck.report.audit_table import matrix, verdict_line

    out, err = Console(), Console(stderr=True)
    results = []
    for name, cell in targets.installed():
        with _bar(name) as tick:
            implementation = targets.load(name, cell=cell)
            result = runner.audit(implementation, profile=profile, only=only, seed=seed, progress=tick)
        results.append(result.saving_counterexamples(folder))
        if not err.is_terminal:  # there the bar is the sign of life
            err.print(verdict_line(results[-1]), soft_wrap=True)
    out.print(matrix(results))
    for result in results:
        if not result.ok:
            _print_audit(out, result, f"gatecheck audit {result.implementation} --cell {result.cell}")
    if json_path:
        audits = {"schema": "gatecheck-audits-1", "audits": [r.to_json() for r in results]}
        _write_json(json_path, audits)
    sys.exit(HOLDS if all(r.ok for r in results) else FINDINGS)


@main.command(short_help="List every claim.")
def properties() -> None:
    """List every claim, what it needs to hold, and what it says."""
    from gatecheck.auditing.runner import claims
    from gatecheck.report.claims_table import claims_list

    Console().print(claims_list(claims()))


@main.command(short_help="State the theorem behind a property.", epilog="\b\nExample:\n  gatecheck explain update_gate_of_zeros_copies")
@click.argument("name")
def explain(name: str) -> None:
    """State the theorem behind a property: what it claims, why it holds, on which cases it is tried, and which faults it catches."""
    from gatecheck.auditing.matrix import catches
    from gatecheck.auditing.runner import claims
    from gatecheck.report.claims_table import catches_list, explanation

    (chosen,) = claims([name])
    Console().print(explanation(chosen))
    with _bar("planting faults") as tick:
        found = catches(chosen, progress=tick)
    Console().print(catches_list(found))


@main.command(
    short_help="Plant known faults and see which properties catch them.",
    epilog="""\b
Examples:
  gatecheck faults                                  every named fault, every property that applies
  gatecheck faults --cell gru --mutants             with every systematic misreading of the GRU's equations
  gatecheck faults --name "lstm: dc not carried"    one fault
  gatecheck faults --profile ci --json faults.json --figure faults.png""",
)
@click.option("--cell", metavar="K", help="Only the faults of this cell.")
@click.option("--name", metavar="LABEL", help="Only this fault.")
@click.option("--mutants", is_flag=True, help="The systematic misreadings too.")
@click.option("--first", is_flag=True, help="Stop at each fault's first kill.")
@click.option("--without-reference", is_flag=True, help="Leave out the properties that compare with another implementation.")
@click.option("--profile", type=click.Choice(["quick", "ci", "thorough"]), default="quick", show_default=True, help="How many cases.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the cases.")
@click.option("--json", "json_path", metavar="F", type=click.Path(path_type=Path, dir_okay=False), help="Write the matrix here.")
@click.option("--figure", metavar="F", type=click.Path(path_type=Path, dir_okay=False), help="Draw the matrix (PNG or SVG).")
def faults(
    cell: str | None,
    name: str | None,
    mutants: bool,
    first: bool,
    without_reference: bool,
    profile: str,
    seed: int,
    json_path: Path | None,
    figure: Path | None,
) -> None:
    """Plant every known fault in the reference and see which properties catch it.

    Exit status 1 if a fault that is not equivalent to the truth survives.
    """
    from gatecheck.report import faults_table as report

    with _bar("faults") as tick:
        from gatecheck.auditing import matrix
        from gatecheck.cells import CELLS
        from gatecheck.faults import catalogue

        chosen = [catalogue.find(name)] if name else [*catalogue.faults(cell)]
        if mutants and not name:
            chosen += [mutant for k in ([cell] if cell else CELLS) for mutant in catalogue.mutants(k)]
        labels = [f.label for f in chosen]
        killings = matrix.matrix(labels, profile=profile, seed=seed, first_only=first, without_reference=without_reference, progress=tick)
    console = Console()
    console.print(
        report.fault_table(killings[0])
        if name
        else report.faults_table(killings, f"profile {profile}, seed {seed}", whole=not (first or without_reference))
    )
    if json_path:
        _write_json(json_path, matrix.report(killings, profile, seed))
    if figure:
        report.save_faults_figure(killings, figure)
    sys.exit(HOLDS if all(k.killed for k in killings if not k.equivalent) else FINDINGS)


@main.command(
    short_help="Hold the rounding budget against code that is right.",
    epilog="""\b
Examples:
  gatecheck checkers                                PyTorch's and JAX's, which must be installed
  gatecheck checkers --cell gru --against torch --json checkers.json""",
)
@click.option("--cell", "cells", metavar="K", multiple=True, help="Only the faults of this cell; repeatable.  [default: all cells]")
@click.option("--against", metavar="NAMES", default="torch,jax", show_default=True, help="Whose checkers: torch, jax.")
@click.option("--json", "json_path", metavar="F", type=click.Path(path_type=Path, dir_okay=False), help="Write every verdict here.")
def checkers(cells: tuple[str, ...], against: str, json_path: Path | None) -> None:
    """What the gradient checkers of other packages let pass: every backward fault, judged by them as published.

    Forward faults are beyond a gradient checker, which compares a function with itself: a sample of them is tried to show it.
    """
    _check_writable(json_path)
    with _bar("checkers") as tick:
        from gatecheck.auditing import comparison
        from gatecheck.auditing.checkers import of_packages
        from gatecheck.report.checkers_table import checkers_table

        names = of_packages(against.split(","))
        found = comparison.report(comparison.compare(comparison.labels(cells), names, progress=tick), names, cells)
    Console().print(checkers_table(found))
    if json_path:
        _write(json_path, json.dumps(found, indent=1, allow_nan=False))


@main.command(
    epilog="""\b
Example:
  gatecheck calibrate torch.nn:GRU torch.nn:LSTM --cases 100 --json calibration.json""",
)
@click.argument("targets", nargs=-1, required=True)
@click.option("--cases", metavar="N", type=click.IntRange(min=1), default=50, show_default=True, help="Cases a target and dtype.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The same seed repeats the figures.")
@click.option("--json", "json_path", metavar="F", type=click.Path(path_type=Path, dir_okay=False), help="Write every figure here.")
def calibrate(targets: tuple[str, ...], cases: int, seed: int, json_path: Path | None) -> None:
    """Hold the rounding budget against TARGETS that are known to be right, on far wider cases than an audit's.

    Up to 200 steps and 128 units, contracting to chaotic, gate biases from -20 to 20; then how small an error is still seen. Exit status 1
    if a correct value was outside its budget.
    """
    from gatecheck.auditing import calibration
    from gatecheck.auditing.targets import load
    from gatecheck.report.calibration_table import calibration_table
    from gatecheck.versions import versions

    with _bar("calibrate") as tick:
        found = calibration.report([load(t) for t in targets], cases, seed, tick)
    Console().print(calibration_table(found))
    if json_path:
        _write_json(json_path, found | {"versions": versions("torch")})
    sys.exit(FINDINGS if any(row["alarms"] for row in found["calibration"]) else HOLDS)


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

    _make_folder(out)
    with _bar("decay") as tick:
        sizes = {"hidden": hidden, "inputs": inputs, "steps": steps, "seeds": seeds, "seed": seed}
        result = sweep.decay(cells or None, initialisers or None, **sizes, progress=tick)
    console = Console()
    console.print(decay_table(result))
    for reason in result.skipped:
        console.print(f"skipped {reason}", style="dim", highlight=False)
    written = [out / "decay.json"]
    _write(written[0], result.to_json())
    try:
        written += save_decay_figure(result, out)
    except MissingExtraError as error:
        console.print(f"no figure: {error}", style="yellow", markup=False, highlight=False)
    console.print(f"written: {', '.join(map(str, written))}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
