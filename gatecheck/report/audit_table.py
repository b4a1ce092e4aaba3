"""Terminal reports of audits: properties, findings with replays, and the verdict."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from string import ascii_letters

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gatecheck.auditing.result import FAILED, AuditResult, Outcome, PropertyResult
from gatecheck.report.proofs_table import proofs_list

STYLES = {
    "passed": "green",
    "failed": "bold red",
    "crashed": "bold red",
    "timed_out": "bold red",
    "error": "bold magenta",
    "inconclusive": "yellow",
    "expected_failure": "cyan",
    "skipped": "dim",
}
MARKS = {
    "passed": "✓",
    "failed": "✗",
    "crashed": "✗",
    "timed_out": "✗",
    "error": "!",
    "inconclusive": "?",
    "expected_failure": "x",
    "skipped": "·",
}
NAMED = 6
"""Number of properties that a sentence names; the table lists all."""

VERDICTS = {
    "pass": "bold green",
    "fail": "bold red",
    "inconclusive": "bold yellow",
    "error": "bold red",
}


def counts(result: AuditResult) -> str:
    """Return the numbers of properties that ran, failed, were skipped and so on."""
    kinds: tuple[Outcome, ...] = ("crashed", "timed_out")
    breakdown = " and ".join(
        f"{n} {kind.replace('_', ' ')}" for kind in kinds if (n := result.count(kind))
    )
    parts = [
        f"{result.ran} ran",
        f"{result.count(*FAILED)} failed" + (f" ({breakdown})" if breakdown else ""),
    ]
    parts += [f"{n} in which gatecheck failed"] if (n := result.count("error")) else []
    parts += [f"{result.count('skipped')} skipped", f"{result.count('inconclusive')} inconclusive"]
    if expected := result.count("expected_failure"):
        parts.append(f"{expected} failed as documented")
    return ", ".join(parts)


def verdict_line(result: AuditResult) -> Text:
    """Return the verdict with its counts and the seed that repeats it."""
    verdict = (result.verdict, VERDICTS[result.verdict])
    return Text.assemble(
        verdict, f"  {result.implementation} as {result.cell}: {counts(result)}; seed {result.seed}"
    )


def ratio(p: PropertyResult) -> str:
    """Format the largest error over its budget."""
    if p.worst_ratio is None:
        return "–"
    return (
        "exact"
        if p.worst_ratio == 0
        else "∞"
        if p.worst_ratio == float("inf")
        else f"{p.worst_ratio:.2g}"
    )


def _lines(result: AuditResult) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("property", "outcome"):
        table.add_column(heading, no_wrap=True)
    for heading in ("cases", "error/budget", "unsure"):
        table.add_column(heading, justify="right", no_wrap=True)
    for p in result.properties:
        share = f"{p.inconclusive:.0%}" if p.examples else ""
        table.add_row(
            p.name,
            Text(p.outcome, STYLES[p.outcome]),
            str(p.examples or ""),
            ratio(p) if p.examples else "",
            share,
        )
    return table


def _reasons(result: AuditResult) -> Iterator[RenderableType]:
    """Yield one line per reason for skipped, expected or inconclusive outcomes."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for p in result.properties:
        if p.outcome in ("skipped", "expected_failure", "inconclusive"):
            grouped.setdefault((p.outcome, p.reason), []).append(p.name)
    for (outcome, reason), names in grouped.items():
        listed = ", ".join(names[:NAMED]) + (
            f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        )
        yield Padding(
            Text.assemble((f"{outcome} ", STYLES[outcome]), listed, f": {reason}"), (0, 0, 0, 1)
        )


def _findings(result: AuditResult, command: str) -> Iterator[RenderableType]:
    for p in result.findings:
        yield Text.assemble("\n", (f"{p.name} {p.outcome}", STYLES[p.outcome]))
        lines = p.reason.splitlines() + (
            [f"smallest case: {p.counterexample}"] if p.counterexample else []
        )
        yield Padding(Text("\n".join(lines)), (0, 0, 0, 2))
        if p.saved and result.cell == "custom":
            yield Text(f"  its arrays: {p.saved}", no_wrap=True, overflow="ignore")
        elif p.saved:
            # Not wrapped, so that it can be copied.
            replays = (
                f"  replay: {command} --replay {shlex.quote(p.saved)}",
                f'  python: gatecheck.replay(implementation, "{p.saved}")',
            )
            yield Text("\n".join(replays), no_wrap=True, overflow="ignore")


def _diagnosis(result: AuditResult) -> Iterator[RenderableType]:
    if result.diagnosis is not None:
        yield Text("\ndiagnosis", "bold")
        yield from (
            Padding(Text(sentence), (0, 0, 0, 2)) for sentence in result.diagnosis.sentences
        )


def audit_table(result: AuditResult, command: str) -> RenderableType:
    """Return the report of one audit, without its verdict.

    Parameters
    ----------
    result
        Result of the audit.
    command
        Command of the audit, for the lines that replay findings.
    """
    narrowed = [
        Padding(Text(f"limitation: {n}", "yellow"), (0, 0, 0, 1)) for n in result.narrowings
    ]
    legend = Text(
        "unsure: the share of values whose budget is larger than half of their size", "dim"
    )
    proofs = [Text("\nfor all inputs", "bold"), proofs_list(result.proofs)] if result.proofs else []
    parts = (
        *narrowed,
        *_reasons(result),
        *_findings(result, command),
        *_diagnosis(result),
        *proofs,
    )
    return Group(_lines(result), legend, *parts, Text(""))


def _summary(results: Sequence[AuditResult]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("", "implementation", "cell", "verdict"):
        table.add_column(heading, no_wrap=True)
    for heading in ("ran", "✗", "?", "x", "·", "checks"):
        table.add_column(heading, justify="right", no_wrap=True)
    for k, r in enumerate(results):
        counts = (
            r.ran,
            r.count(*FAILED, "error"),
            *(r.count(o) for o in ("inconclusive", "expected_failure", "skipped")),
        )
        table.add_row(
            ascii_letters[k],
            r.implementation,
            r.cell,
            Text(r.verdict, VERDICTS[r.verdict]),
            *(str(n or "·") for n in counts),
            f"{r.checks:,}",
        )
    total = sum(r.checks for r in results)
    table.add_section()
    table.add_row("", "all", "", "", *([""] * 5), f"{total:,}")
    return table


def matrix(results: Sequence[AuditResult]) -> RenderableType:
    """Return the outcomes of several audits by property, and their verdicts."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False)
    table.add_column("property", no_wrap=True)
    for k in range(len(results)):
        table.add_column(ascii_letters[k], no_wrap=True)
    names = dict.fromkeys(p.name for r in results for p in r.properties)
    outcomes = [{p.name: p.outcome for p in r.properties} for r in results]
    for name in names:
        table.add_row(name, *(Text(MARKS[o[name]], STYLES[o[name]]) for o in outcomes))
    legend = Text("✓ holds  ✗ fails  ? inconclusive  x fails as documented  · does not apply")
    reasons = dict.fromkeys(
        p.reason for r in results for p in r.properties if p.outcome == "expected_failure"
    )
    return Group(table, legend, *(Text(f"x {reason}") for reason in reasons), _summary(results))
