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

from gatecheck._util.text import list_names
from gatecheck.auditing.result import FAILED_OUTCOMES, AuditResult, PropertyOutcome, PropertyResult
from gatecheck.errors import printable
from gatecheck.report.proofs_table import proofs_list

OUTCOME_STYLES = {
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
MAX_NAMES = 6
"""Number of properties that a sentence names; the table lists all."""

VERDICT_STYLES = {
    "pass": "bold green",
    "fail": "bold red",
    "inconclusive": "bold yellow",
    "error": "bold red",
}


def count_summary(result: AuditResult) -> str:
    """Return the numbers of properties that ran, failed, were skipped and so on."""
    kinds: tuple[PropertyOutcome, ...] = ("crashed", "timed_out")
    breakdown = " and ".join(
        f"{n} {kind.replace('_', ' ')}" for kind in kinds if (n := result.count(kind))
    )
    parts = [
        f"{result.n_tried} ran",
        f"{result.count(*FAILED_OUTCOMES)} failed" + (f" ({breakdown})" if breakdown else ""),
    ]
    parts += [f"{n} in which gatecheck failed"] if (n := result.count("error")) else []
    parts += [f"{result.count('skipped')} skipped", f"{result.count('inconclusive')} inconclusive"]
    if expected := result.count("expected_failure"):
        own = sum(
            p.outcome == "expected_failure" and p.name in result.expected_by_target
            for p in result.properties
        )
        parts.append(
            f"{expected} failed as documented" + f" ({own} by the target itself)" * bool(own)
        )
    return ", ".join(parts)


def verdict_line(result: AuditResult) -> Text:
    """Return the verdict with its counts and the seed that repeats it."""
    verdict = (result.verdict, VERDICT_STYLES[result.verdict])
    return Text.assemble(
        verdict,
        f"  {printable(result.implementation)} as {result.cell}: ",
        f"{count_summary(result)}; seed {result.seed}",
        "; interrupted" * result.interrupted,
    )


def format_ratio(result: PropertyResult) -> str:
    """Format the largest error over its budget."""
    if result.worst_ratio is None:
        return "–"
    return (
        "exact"
        if result.worst_ratio == 0
        else "∞"
        if result.worst_ratio == float("inf")
        else f"{result.worst_ratio:.2g}"
    )


def _property_table(result: AuditResult) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("property", "outcome"):
        table.add_column(heading, no_wrap=True)
    for heading in ("cases", "error/budget", "unsure"):
        table.add_column(heading, justify="right", no_wrap=True)
    for p in result.properties:
        share = f"{p.inconclusive:.0%}" if p.examples else ""
        table.add_row(
            p.name,
            Text(p.outcome, OUTCOME_STYLES[p.outcome]),
            str(p.examples or ""),
            format_ratio(p) if p.examples else "",
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
        listed = list_names(names, MAX_NAMES)
        yield Padding(
            Text.assemble((f"{outcome} ", OUTCOME_STYLES[outcome]), listed, f": {reason}"),
            (0, 0, 0, 1),
        )


def _findings(result: AuditResult, command: str) -> Iterator[RenderableType]:
    for p in result.findings:
        yield Text.assemble("\n", (f"{p.name} {p.outcome}", OUTCOME_STYLES[p.outcome]))
        lines = p.reason.splitlines() + (
            [f"smallest case: {p.counterexample}"] if p.counterexample else []
        )
        yield Padding(Text("\n".join(lines)), (0, 0, 0, 2))
        if p.saved_path and result.cell == "custom":
            yield Text(f"  its arrays: {p.saved_path}", no_wrap=True, overflow="ignore")
        elif p.saved_path:
            # Not wrapped, so that it can be copied.
            replays = (
                f"  replay: {command} --replay {shlex.quote(p.saved_path)}",
                f'  python: gatecheck.replay(implementation, "{p.saved_path}")',
            )
            yield Text("\n".join(replays), no_wrap=True, overflow="ignore")


def _diagnosis(result: AuditResult) -> Iterator[RenderableType]:
    if result.diagnosis is not None:
        yield Text("\ndiagnosis", "bold")
        yield from (
            Padding(Text(sentence), (0, 0, 0, 2)) for sentence in result.diagnosis.sentences
        )


def audit_report(result: AuditResult, command: str) -> RenderableType:
    """Return the report of one audit, without its verdict.

    Parameters
    ----------
    result
        Result of the audit.
    command
        Command of the audit, for the lines that replay findings.
    """
    narrowed = [
        Padding(Text(f"limitation: {n}", "yellow"), (0, 0, 0, 1)) for n in result.limitations
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
    return Group(_property_table(result), legend, *parts, Text(""))


def _summary(results: Sequence[AuditResult]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("", "implementation", "cell", "verdict"):
        table.add_column(heading, no_wrap=True)
    for heading in ("ran", "✗", "?", "x", "·", "checks"):
        table.add_column(heading, justify="right", no_wrap=True)
    for k, r in enumerate(results):
        counts = (
            r.n_tried,
            r.count(*FAILED_OUTCOMES, "error"),
            *(r.count(o) for o in ("inconclusive", "expected_failure", "skipped")),
        )
        table.add_row(
            ascii_letters[k],
            r.implementation,
            r.cell,
            Text(r.verdict, VERDICT_STYLES[r.verdict]),
            *(str(n or "·") for n in counts),
            f"{r.n_checks:,}",
        )
    total = sum(r.n_checks for r in results)
    table.add_section()
    table.add_row("", "all", "", "", *([""] * 5), f"{total:,}")
    return table


def outcome_matrix(results: Sequence[AuditResult]) -> RenderableType:
    """Return the outcomes of several audits by property, and their verdicts."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False)
    table.add_column("property", no_wrap=True)
    for k in range(len(results)):
        table.add_column(ascii_letters[k], no_wrap=True)
    names = dict.fromkeys(p.name for r in results for p in r.properties)
    outcomes = [{p.name: p.outcome for p in r.properties} for r in results]
    for name in names:
        table.add_row(name, *(Text(MARKS[o[name]], OUTCOME_STYLES[o[name]]) for o in outcomes))
    legend = Text("✓ holds  ✗ fails  ? inconclusive  x fails as documented  · does not apply")
    reasons = dict.fromkeys(
        p.reason for r in results for p in r.properties if p.outcome == "expected_failure"
    )
    return Group(table, legend, *(Text(f"x {reason}") for reason in reasons), _summary(results))
