"""``gatecheck audit``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from gatecheck._util.atomic_write import check_folder, write_text
from gatecheck.cli.base import FINDINGS, HOLDS, Output, Seconds, as_json, bar, main
from gatecheck.cli.project import Configured, Expected, about_the_target


def _write(
    results: Sequence[Any], data: Any, files: Mapping[str, Path | None], command: str
) -> None:
    """The files that were asked for."""
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
    from gatecheck.report.audit_table import audit_table, verdict_line

    out.print(audit_table(result, command), crop=False)
    out.print(verdict_line(result), soft_wrap=True)


@main.command(
    cls=Configured,
    short_help="Try to refute an implementation, claim by claim.",
    epilog="""\b
Examples:
  gatecheck audit                                   our cells and every framework installed
  gatecheck audit torch.nn:LSTM --html lstm.html    one class of PyTorch, and a page about it
  gatecheck audit my_lstm.py:MyLSTM                 an implementation in a file
  gatecheck audit my_net.py:Encoder --cell lstm     a torch.nn.Module of your own
  gatecheck audit torch.nn:RNN --cell rnn-relu      where a class can be several cells
  gatecheck audit torch.nn:LSTM --cell lstm-layers2-bidirectional
  gatecheck audit "torch.nn:GRU(bias=False)" --device cuda
  gatecheck audit my_lstm.py:MyLSTM --replay gatecheck-cases/my_lstm-py-MyLSTM-gradients_within_budget.npz

\b
Exit status: 0 all hold, 1 findings or inconclusive, 2 the call is wrong, 3 the target could not be run.""",
)
@click.argument("target", required=False)
@click.option(
    "--cell",
    metavar="K",
    help="Which cell it is, if it does not say: gru, rnn-relu, lstm-layers2-bidirectional, …",
)
@click.option(
    "--convention",
    metavar="C",
    help="In which convention it takes parameters, instead of what it declares.",
)
@click.option("--device", metavar="D", help="Where PyTorch computes, such as cuda.  [default: cpu]")
@click.option(
    "--profile",
    type=click.Choice(["quick", "ci", "thorough"]),
    help="How many cases.  [default: ci; quick without TARGET]",
)
@click.option(
    "--only", metavar="P", multiple=True, help="Only this property; may be given several times."
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of the cases; the same seed repeats the audit.",
)
@click.option(
    "--expect",
    metavar="F",
    type=Expected(),
    help='Failures that are documented: a TOML file of lines like empty_sequence = "refuses T = 0: its manual, § 3". '
    "One that holds is a finding.",
)
@click.option("--json", metavar="F", type=Output(), help="Write every number here.")
@click.option(
    "--html", metavar="F", type=Output(), help="Write one page that stands alone; needs a TARGET."
)
@click.option(
    "--junit", metavar="F", type=Output(), help="Write JUnit's XML, a test case a property."
)
@click.option(
    "--markdown",
    metavar="F",
    type=Output(),
    help='Write a summary for a CI job, as to "$GITHUB_STEP_SUMMARY".',
)
@click.option("--replay", metavar="CASE.npz", help="Try a saved counterexample on TARGET instead.")
@click.option(
    "--timeout",
    metavar="S",
    type=Seconds(),
    default=60,
    show_default=True,
    help="Seconds that a check of TARGET may take; the first has at least 60. Our own cells are not timed.",
)
@click.option(
    "--cases",
    "folder",
    metavar="DIR",
    default="gatecheck-cases",
    show_default=True,
    help="Where counterexamples are written.",
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
    folder: str,
    timeout: float,
    **about: Any,
) -> None:
    """Audit TARGET: every property that applies, float32 and float64, forward and gradients.

    TARGET is one of ours (builtin:CELL); a class of a framework (torch.nn:CLASS, and so for
    keras.layers, flax.linen, flax.nnx, equinox.nn, haiku, onnxruntime and onnx.reference);
    package.module:OBJECT or path/to/file.py:OBJECT, an implementation or a class of
    torch.nn.Module; path/to/model.onnx:NODE; path/to/library.so:FUNCTION (C; its header is in the
    folder that python -c "import gatecheck; print(gatecheck.get_include())" prints); or
    "exec:PROGRAM ARGUMENT ..." (any language; python -m pydoc gatecheck.targets.adapters.program
    says how it is asked). Without one, our own cells and every supported framework that is
    installed are audited, as many at a time as there are cores.

    A cell is rnn[-relu|-sigmoid], gru[-before][-hard5|-hard6] or
    lstm[-hard5|-hard6][-peepholes][-coupled][-clipNUMBER][-forgetNUMBER][-projNUMBER], and behind
    any of them [-layersNUMBER][-bidirectional].

    In [tool.gatecheck] of the nearest pyproject.toml a project may say target, cell, convention,
    device, profile, seed, timeout and expect, or have the expected failures in a table of their
    own, [tool.gatecheck.expected_failures]. What is given here wins.
    """
    files = {"json": json, "html": html, "junit": junit, "markdown": markdown}
    check_folder(folder)
    if html or markdown:
        from gatecheck.report.pages import ready

        ready()
    about = about_the_target(ctx, target, about)
    if target is None:
        if replay is not None or any(v is not None for v in about.values()):
            raise click.UsageError(
                "--replay, --cell, --convention, --device and --expect need a TARGET"
            )
        if html is not None:
            raise click.UsageError("--html is a page about one TARGET; name it")
        _audit_all(profile or "quick", only, seed, files, folder, timeout)
        return
    expected: Any = about.pop("expect")
    overrides = [word for name, value in about.items() if value for word in (f"--{name}", value)]
    command = shlex.join(["gatecheck", "audit", target, *overrides])
    out = Console()
    with bar(target) as tick:
        from gatecheck.auditing.isolation import process as isolation

        with isolation.Isolation(timeout) as process:
            asked: dict[str, Any] = {"asked": about, "expected_failures": expected}
            if replay is None:
                result = isolation.audit(
                    process,
                    target,
                    **asked,
                    profile=profile or "ci",
                    only=only,
                    seed=seed,
                    progress=tick,
                )
            else:
                replayed, notes = isolation.replay(process, target, replay, **asked)
    if replay is not None:
        lines = [f"{replayed.name} {replayed.outcome} on {replay}", replayed.reason, *notes]
        out.print("\n".join(lines), markup=False, highlight=False)
        sys.exit(HOLDS if replayed.outcome in ("passed", "expected_failure") else FINDINGS)
    result = result.saving_counterexamples(folder)
    _print_audit(out, result, command)
    _write([result], result.to_json(), files, command)
    sys.exit(HOLDS if result.ok else FINDINGS)


def _audit_all(
    profile: str,
    only: tuple[str, ...],
    seed: int,
    files: Mapping[str, Path | None],
    folder: str,
    timeout: float,
) -> None:
    out, err = Console(), Console(stderr=True)
    with bar("gatecheck") as tick:
        from gatecheck.auditing.audit_installed import audit_installed
        from gatecheck.report.audit_table import matrix, verdict_line

        def done(number: int, of: int, result: Any) -> None:
            tick(number, of, result.implementation)
            if not err.is_terminal:  # there the bar is the sign of life
                err.print(verdict_line(result), soft_wrap=True)

        results = audit_installed(timeout, folder, done=done, profile=profile, only=only, seed=seed)
    out.print(matrix(results))
    for result in results:
        if not result.ok:
            _print_audit(
                out, result, f"gatecheck audit {result.implementation} --cell {result.cell}"
            )
    _write(
        results,
        {"schema": "gatecheck-audits-1", "audits": [r.to_json() for r in results]},
        files,
        "gatecheck audit",
    )
    sys.exit(HOLDS if all(r.ok for r in results) else FINDINGS)
