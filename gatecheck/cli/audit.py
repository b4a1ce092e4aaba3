"""The ``gatecheck audit`` command."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from gatecheck._util.atomic_write import check_folder, write_text
from gatecheck.cli.base import (
    ALL_HOLD,
    FINDINGS,
    OutputFile,
    SecondsType,
    as_json,
    main,
    progress_bar,
)
from gatecheck.cli.project import ExpectedFailures, ProjectCommand, target_options
from gatecheck.report.terminal import Console


def _write_files(
    results: Sequence[Any], data: Any, files: Mapping[str, Path | None], command: str
) -> None:
    """Write the requested files."""
    from gatecheck.report.audit_page import audit_html, audit_markdown, junit_xml

    texts: dict[str, Callable[[], str]] = {
        "json": lambda: as_json(data),
        "html": lambda: audit_html(results[0], command),
        "junit": lambda: junit_xml(results),
        "markdown": lambda: "\n".join(map(audit_markdown, results)),
    }
    for kind, path in files.items():
        if path is not None:
            write_text(path, texts[kind]() + "\n")


def _print_audit(out: Console, result: Any, command: str) -> None:
    from gatecheck.report.audit_table import audit_report, verdict_line

    out.print(audit_report(result, command), crop=False)
    out.print(verdict_line(result), soft_wrap=True)


@main.command(
    cls=ProjectCommand,
    short_help="Verify an implementation, property by property.",
    epilog="""\b
Examples:
  gatecheck audit                                   the built-in cells and installed frameworks
  gatecheck audit torch.nn:LSTM --html lstm.html    a PyTorch class, with an HTML report
  gatecheck audit my_lstm.py:MyLSTM                 an implementation in a file
  gatecheck audit my_net.py:Encoder --cell lstm     your own torch.nn.Module
  gatecheck audit torch.nn:RNN --cell rnn-relu      a class that can be several cells
  gatecheck audit torch.nn:LSTM --cell lstm-layers2-bidirectional
  gatecheck audit "torch.nn:GRU(bias=False)" --device cuda
  gatecheck audit my_lstm.py:MyLSTM --replay gatecheck-cases/CASE.npz

\b
Exit status: 0 all properties hold, 1 findings or inconclusive, 2 usage error,
3 the target could not be loaded.""",
)
@click.argument("target", required=False)
@click.option(
    "--cell",
    metavar="K",
    help="Cell of TARGET, if it declares none: gru, rnn-relu, lstm-layers2-bidirectional, …",
)
@click.option(
    "--convention",
    metavar="C",
    help="Convention of TARGET's parameters, instead of the declared one.",
)
@click.option("--device", metavar="D", help="Device for PyTorch, such as cuda.  [default: cpu]")
@click.option(
    "--profile",
    type=click.Choice(["quick", "ci", "thorough"]),
    help="Number of cases per property.  [default: ci; quick without TARGET]",
)
@click.option("--only", metavar="P", multiple=True, help="Check only this property; repeatable.")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed for case generation; the same seed repeats the audit.",
)
@click.option(
    "--expect",
    metavar="F",
    type=ExpectedFailures(),
    help="TOML file of documented failures, with lines like "
    'empty_sequence = "refuses T = 0: its manual, § 3". '
    "An expected failure that holds is a finding.",
)
@click.option("--json", metavar="F", type=OutputFile(), help="Write all results as JSON.")
@click.option(
    "--html",
    metavar="F",
    type=OutputFile(),
    help="Write a self-contained HTML report; needs a TARGET.",
)
@click.option(
    "--junit", metavar="F", type=OutputFile(), help="Write JUnit XML, one test case per property."
)
@click.option(
    "--markdown",
    metavar="F",
    type=OutputFile(),
    help='Write a Markdown summary for a CI job, as to "$GITHUB_STEP_SUMMARY".',
)
@click.option(
    "--replay", metavar="CASE.npz", help="Replay a saved counterexample on TARGET instead."
)
@click.option(
    "--timeout",
    metavar="S",
    type=SecondsType(),
    default=60,
    show_default=True,
    help="Time limit in seconds for a check of TARGET; the first has at least 60. "
    "Built-in cells are not timed.",
)
@click.option(
    "--cases",
    "cases_dir",
    metavar="DIR",
    default="gatecheck-cases",
    show_default=True,
    help="Folder for counterexamples.",
)
@click.pass_context
def audit(
    ctx: click.Context,
    /,
    target: str | None,
    profile: str | None,
    only: tuple[str, ...],
    seed: int,
    json: Path | None,
    html: Path | None,
    junit: Path | None,
    markdown: Path | None,
    replay: str | None,
    cases_dir: str,
    timeout: float,
    **given: Any,
) -> None:
    """Check every property that applies to TARGET.

    Forward and gradients are checked, in float32 and float64.

    TARGET is a built-in cell (builtin:CELL); a class of a framework (torch.nn:CLASS, and likewise
    for keras.layers, flax.linen, flax.nnx, equinox.nn, haiku, onnxruntime and onnx.reference);
    package.module:OBJECT or path/to/file.py:OBJECT, an implementation or a subclass of
    torch.nn.Module; path/to/model.onnx:NODE; path/to/library.so:FUNCTION (C; its header is in the
    folder that python -c "import gatecheck; print(gatecheck.get_include())" prints); or
    "exec:PROGRAM ARGUMENT ..." (any language; the protocol is described by python -m pydoc
    gatecheck.targets.adapters.program). Without TARGET, the built-in cells and every supported
    framework that is installed are audited, as many at a time as there are cores.

    A cell is rnn[-relu|-sigmoid], gru[-before][-hard5|-hard6] or
    lstm[-hard5|-hard6][-peepholes][-coupled][-clipNUMBER][-forgetNUMBER][-projNUMBER], each
    optionally followed by [-layersNUMBER][-bidirectional].

    Defaults for target, cell, convention, device, profile, seed, timeout and expect are read from
    [tool.gatecheck] of the nearest pyproject.toml; expected failures may also be listed in
    [tool.gatecheck.expected_failures]. The command line takes precedence.
    """
    files = {"json": json, "html": html, "junit": junit, "markdown": markdown}
    check_folder(cases_dir)
    if html or markdown:
        from gatecheck.report.pages import require_report_extra

        require_report_extra()
    options_of_target = target_options(ctx, target, given)
    if target is None:
        if replay is not None or any(v is not None for v in options_of_target.values()):
            raise click.UsageError(
                "--replay, --cell, --convention, --device and --expect need a TARGET"
            )
        if html is not None:
            raise click.UsageError("--html reports on one TARGET; name it")
        _audit_all(profile or "quick", only, seed, files, cases_dir, timeout)
        return
    expected: Any = options_of_target.pop("expect")
    overrides = [
        word for name, value in options_of_target.items() if value for word in (f"--{name}", value)
    ]
    command = shlex.join(["gatecheck", "audit", target, *overrides])
    out = Console()
    with progress_bar(target) as tick:
        from gatecheck.auditing.isolation.process import Isolation
        from gatecheck.auditing.options import AuditOptions, TargetOptions
        from gatecheck.targets.loading import is_builtin

        given_for_target = TargetOptions(**options_of_target)
        options = AuditOptions(profile or "ci", only, seed, expected, progress=tick)
        with Isolation(timeout) as process:
            # The target loads while this process imports what judges it.
            if not is_builtin(target):
                process.start_loading(target, given_for_target)
            from gatecheck.auditing.audit import run_audit, run_replay
            from gatecheck.auditing.isolation.run import open_target

            with open_target(process, target, given_for_target) as opened:
                if replay is None:
                    result, interruption = _until_interrupted(lambda: run_audit(opened, options))
                else:
                    replayed, notes = run_replay(opened, replay, expected), opened.session.notes()
    if replay is not None:
        lines = [f"{replayed.name} {replayed.outcome} on {replay}", replayed.reason, *notes]
        out.print("\n".join(lines), markup=False, highlight=False)
        sys.exit(ALL_HOLD if replayed.outcome in ("passed", "expected_failure") else FINDINGS)
    result = result.save_counterexamples(cases_dir)
    _print_audit(out, result, command)
    _write_files([result], result.to_json(), files, command)
    if interruption is not None:
        raise interruption
    sys.exit(ALL_HOLD if result.ok else FINDINGS)


def _until_interrupted(run: Callable[[], Any]) -> tuple[Any, KeyboardInterrupt | None]:
    """Return a result, or what is known of it and the interruption."""
    try:
        return run(), None
    except KeyboardInterrupt as interruption:
        if not hasattr(interruption, "partial_result"):
            raise
        return interruption.partial_result, interruption


def _audit_all(
    profile: str,
    only: tuple[str, ...],
    seed: int,
    files: Mapping[str, Path | None],
    cases_dir: str,
    timeout: float,
) -> None:
    out, err = Console(), Console(stderr=True)
    with progress_bar("gatecheck") as tick:
        from gatecheck.auditing.audit_installed import audit_installed
        from gatecheck.auditing.options import AuditOptions
        from gatecheck.report.audit_table import outcome_matrix, verdict_line

        known: list[Any] = []

        def report_done(number: int, total: int, result: Any) -> None:
            known.append(result)
            tick(number, total, result.implementation)
            if not err.is_terminal:  # a terminal has the bar
                err.print(verdict_line(result), soft_wrap=True)

        options = AuditOptions(profile, only, seed)
        try:
            results = audit_installed(timeout, cases_dir, options=options, done=report_done)
        except KeyboardInterrupt:
            if known:
                out.print(outcome_matrix(known))
            raise
    out.print(outcome_matrix(results))
    for result in results:
        if not result.ok:
            _print_audit(
                out, result, f"gatecheck audit {result.implementation} --cell {result.cell}"
            )
    _write_files(
        results,
        {"schema": "gatecheck-audits-1", "audits": [r.to_json() for r in results]},
        files,
        "gatecheck audit",
    )
    sys.exit(ALL_HOLD if all(r.ok for r in results) else FINDINGS)
