"""``gatecheck audit``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from gatecheck.cli.base import FINDINGS, HOLDS, bar, check_writable, main, write_json
from gatecheck.cli.project import Configured, Expected, about_the_target


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
  gatecheck audit torch.nn:LSTM --json out.json     one class of PyTorch
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
@click.option("--cell", metavar="K", help="Which cell it is, if it does not say: gru, rnn-relu, lstm-layers2-bidirectional, …")
@click.option("--convention", metavar="C", help="In which convention it takes parameters, instead of what it declares.")
@click.option("--device", metavar="D", help="Where PyTorch computes, such as cuda.  [default: cpu]")
@click.option("--profile", type=click.Choice(["quick", "ci", "thorough"]), help="How many cases.  [default: ci; quick without TARGET]")
@click.option("--only", metavar="P", multiple=True, help="Only this property; may be given several times.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the cases; the same seed repeats the audit.")
@click.option(
    "--expect",
    metavar="F",
    type=Expected(),
    help='Failures that are documented: a TOML file of lines like empty_sequence = "refuses T = 0: its manual, § 3". '
    "One that holds is a finding.",
)
@click.option("--json", "json_path", metavar="F", type=click.Path(path_type=Path, dir_okay=False), help="Write the result here.")
@click.option("--replay", metavar="CASE.npz", help="Try a saved counterexample on TARGET instead.")
@click.option(
    "--timeout",
    metavar="S",
    type=click.FloatRange(min=0, min_open=True),
    default=60,
    show_default=True,
    help="Seconds that a check of TARGET may take; the first has at least 60. Our own cells are not timed.",
)
@click.option("--cases", "folder", metavar="DIR", default="gatecheck-cases", show_default=True, help="Where counterexamples are written.")
@click.pass_context
def audit(
    ctx: click.Context,
    /,
    target: str | None,
    profile: str | None,
    only: tuple[str, ...],
    seed: int,
    json_path: Path | None,
    replay: str | None,
    folder: str,
    timeout: float,
    **about: Any,
) -> None:
    """Audit TARGET: every property that applies, float32 and float64, forward and gradients.

    TARGET is one of ours (builtin:CELL); a class of a framework (torch.nn:CLASS, and so for keras.layers, flax.linen, flax.nnx,
    equinox.nn, haiku, onnxruntime and onnx.reference); package.module:OBJECT or path/to/file.py:OBJECT, an implementation or a class of
    torch.nn.Module; path/to/model.onnx:NODE; path/to/library.so:FUNCTION (C; its header is in the folder that
    python -c "import gatecheck; print(gatecheck.get_include())" prints); or "exec:PROGRAM ARGUMENT ..." (any language;
    python -m pydoc gatecheck.auditing.adapters.process says how it is asked). Without one, our own cells and every supported framework
    that is installed are audited.

    A cell is rnn[-relu|-sigmoid], gru[-before][-hard5|-hard6] or
    lstm[-hard5|-hard6][-peepholes][-coupled][-clipNUMBER][-forgetNUMBER][-projNUMBER], and behind any of them
    [-layersNUMBER][-bidirectional].

    In [tool.gatecheck] of the nearest pyproject.toml a project may say target, cell, convention, device, profile, seed, timeout and
    expect, or have the expected failures in a table of their own, [tool.gatecheck.expected_failures]. What is given here wins.
    """
    check_writable(json_path, folder)
    about = about_the_target(ctx, target, about)
    if target is None:
        if replay is not None or any(v is not None for v in about.values()):
            raise click.UsageError("--replay, --cell, --convention, --device and --expect need a TARGET")
        _audit_all(profile or "quick", only, seed, json_path, folder, timeout)
        return
    expected: Any = about.pop("expect")
    overrides = [word for name, value in about.items() if value for word in (f"--{name}", value)]
    command = shlex.join(["gatecheck", "audit", target, *overrides])
    out = Console()
    with bar(target) as tick:
        from gatecheck.auditing import isolation  # a second or two, which the bar covers

        with isolation.Isolation(timeout) as process:
            asked: dict[str, Any] = {"asked": about, "expected_failures": expected}
            if replay is None:
                result = isolation.audit(process, target, **asked, profile=profile or "ci", only=only, seed=seed, progress=tick)
            else:
                replayed, notes = isolation.replay(process, target, replay, **asked)
    if replay is not None:
        lines = [f"{replayed.name} {replayed.outcome} on {replay}", replayed.reason, *notes]
        out.print("\n".join(lines), markup=False, highlight=False)
        sys.exit(HOLDS if replayed.outcome in ("passed", "expected_failure") else FINDINGS)
    result = result.saving_counterexamples(folder)
    _print_audit(out, result, command)
    if json_path:
        write_json(json_path, result.to_json())
    sys.exit(HOLDS if result.ok else FINDINGS)


def _audit_all(profile: str, only: tuple[str, ...], seed: int, json_path: Path | None, folder: str, timeout: float) -> None:
    with bar("gatecheck"):
        from gatecheck.auditing import isolation, targets
        from gatecheck.report.audit_table import matrix, verdict_line

    out, err = Console(), Console(stderr=True)
    results = []
    with isolation.Isolation(timeout) as process:
        for name, cell in targets.installed():
            with bar(name) as tick:
                result = isolation.audit(process, name, asked={"cell": cell}, profile=profile, only=only, seed=seed, progress=tick)
            results.append(result.saving_counterexamples(folder))
            if not err.is_terminal:  # there the bar is the sign of life
                err.print(verdict_line(results[-1]), soft_wrap=True)
    out.print(matrix(results))
    for result in results:
        if not result.ok:
            _print_audit(out, result, f"gatecheck audit {result.implementation} --cell {result.cell}")
    if json_path:
        audits = {"schema": "gatecheck-audits-1", "audits": [r.to_json() for r in results]}
        write_json(json_path, audits)
    sys.exit(HOLDS if all(r.ok for r in results) else FINDINGS)
