"""Audit reports as a self-contained HTML page, a Markdown summary and JUnit XML."""

from __future__ import annotations

import html
import math
import re
import shlex
from collections import defaultdict
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from gatecheck.auditing.audit import claims
from gatecheck.auditing.result import AuditResult, PropertyResult
from gatecheck.report.audit_table import MARKS, counts, ratio
from gatecheck.report.figures import STYLE, drawing
from gatecheck.report.pages import inline_svg, page, svg_of
from gatecheck.report.proofs_table import sentences

_FIGURE_SAYS = (
    "Largest error of each property relative to its budget, the rounding that correct code may "
    "show in that case. Errors right of the line are beyond their budget. Properties that hold "
    "exactly, or measure no error, are not drawn."
)
_BELOW = 1e-3
"""Smallest share of a budget on the axis; smaller errors are drawn there."""


def audit_html(result: AuditResult, command: str) -> str:
    """Return an audit as one HTML page without scripts or network resources.

    Parameters
    ----------
    result
        Result of the audit.
    command
        Command of the audit, for the lines that replay findings.

    Raises
    ------
    MissingExtraError
        If Jinja or matplotlib is not installed.
    """
    facts = {
        "target": result.implementation,
        "cell": result.cell,
        "convention": result.convention,
        "command": command,
    }
    facts |= {"profile": result.profile, "seed": str(result.seed), "checks": f"{result.checks:,}"}
    facts["versions"] = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    values = _values(result) | {
        "title": f"gatecheck: {result.implementation} as {result.cell}: {result.verdict}",
        "facts": facts.items(),
        "command": command,
        "figure": _figure(result),
        "figure_says": _FIGURE_SAYS,
        "theorems": defaultdict(str, {c.name: c.theorem for c in claims()}),
    }
    return page("audit.html", values, {"quoted": shlex.quote})


def audit_markdown(result: AuditResult) -> str:
    """Return an audit in Markdown, as for ``$GITHUB_STEP_SUMMARY``.

    Raises
    ------
    MissingExtraError
        If Jinja is not installed.
    """
    return page("audit.md", _values(result), {"inline": _inline, "fenced": _fenced})


def junit_xml(results: Sequence[AuditResult]) -> str:
    """Return audits as JUnit XML, one suite per audit and one test case per property.

    Expected failures count as skipped.
    """
    root = ElementTree.Element("testsuites", name="gatecheck")
    for result in results:
        skipped = result.count("skipped", "expected_failure")
        errors = result.count("crashed", "timed_out", "error")
        failures = result.count("failed", "inconclusive")
        counts = {
            "tests": len(result.properties),
            "failures": failures,
            "errors": errors,
            "skipped": skipped,
        }
        name = _printable(f"{result.implementation} as {result.cell}")
        suite = ElementTree.SubElement(
            root, "testsuite", {"name": name} | {k: str(v) for k, v in counts.items()}
        )
        for p in result.properties:
            case = ElementTree.SubElement(
                suite, "testcase", classname=name, name=_printable(p.name)
            )
            if (tag := _TAGS.get(p.outcome)) is not None:
                text = _printable(p.reason)
                element = ElementTree.SubElement(case, tag, message=text.partition("\n")[0])
                element.text = text + (
                    f"\nsmallest case: {_printable(str(p.counterexample))}"
                    if p.counterexample
                    else ""
                )
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True)


_TAGS = {
    "failed": "failure",
    "inconclusive": "failure",
    "crashed": "error",
    "timed_out": "error",
    "error": "error",
    "skipped": "skipped",
    "expected_failure": "skipped",
}


def _values(result: AuditResult) -> dict[str, Any]:
    return {
        "result": result,
        "sign": "✓" if result.ok else "✗" if result.verdict == "fail" else "?",
        "counts": counts(result),
        "diagnosis": result.diagnosis.sentences if result.diagnosis else [],
        "proofs": sentences(result.proofs),
        "marks": MARKS,
        "ratios": {p.name: ratio(p) if p.examples else "" for p in result.properties},
    }


def _figure(result: AuditResult) -> Any:
    drawn: list[tuple[PropertyResult, float]] = [
        (p, p.worst_ratio) for p in result.properties if p.worst_ratio
    ]
    drawn = sorted(drawn, key=lambda d: d[1])
    finite = [r for _, r in drawn if math.isfinite(r)]
    limit = 3 * max([1.0, *finite])
    with drawing(8.5, 0.9 + 0.2 * max(1, len(drawn)), STYLE) as figure:
        axes = figure.subplots()
        axes.set_xscale("log")
        for k, (_, value) in enumerate(drawn):
            within = value <= 1
            place = min(max(value, _BELOW), limit)
            axes.plot([_BELOW, place], [k, k], color="0.75", linewidth=1, zorder=1)
            axes.plot(
                place,
                k,
                marker="o" if within else "X",
                color="#0072B2" if within else "#A11D00",
                markersize=5 if within else 8,
            )
        axes.axvline(1, color="0.1", linewidth=1)
        axes.set_yticks(range(len(drawn)), [p.name for p, _ in drawn], fontsize=7.5)
        axes.set_xlim(_BELOW / 1.2, limit * 1.3)
        axes.set_ylim(-0.7, max(1, len(drawn)) - 0.3)
        axes.set_xlabel("largest error / budget (circle: within budget, cross: beyond)")
        exceeded = sum(r > 1 for _, r in drawn)
        return inline_svg(
            svg_of(figure),
            "budgets",
            f"{len(drawn)} properties measured an error; {exceeded} beyond their budget.",
        )


def _inline(text: str) -> str:
    """Escape text for Markdown."""
    return re.sub(
        r"([\\`*_{}\[\]()#+!|~-])", r"\\\1", html.escape(" ".join(str(text).split()), quote=False)
    )


def _fenced(text: str) -> str:
    """Return text in a code fence longer than any run of backticks in it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def _printable(text: str) -> str:
    """Replace control characters and lone surrogates, which XML 1.0 forbids."""
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "�", text)
