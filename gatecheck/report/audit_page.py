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

from gatecheck.auditing.result import AuditResult, PropertyResult
from gatecheck.auditing.selection import select_properties
from gatecheck.errors import LAYOUT, printable
from gatecheck.report.audit_table import MARKS, count_summary, format_ratio
from gatecheck.report.figures import RC_STYLE, figure_context
from gatecheck.report.pages import figure_to_svg, inline_svg, render_page
from gatecheck.report.proofs_table import proof_sentences

_FIGURE_CAPTION = (
    "Largest error of each property relative to its budget, the rounding that correct code may "
    "show in that case. Errors right of the line are beyond their budget. Properties that hold "
    "exactly, or measure no error, are not drawn."
)
_SMALLEST_RATIO = 1e-3
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
    facts |= {"profile": result.profile, "seed": str(result.seed), "checks": f"{result.n_checks:,}"}
    facts["versions"] = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    values = _template_values(result) | {
        "title": f"gatecheck: {result.implementation} as {result.cell}: {result.verdict}",
        "facts": facts.items(),
        "command": command,
        "figure": _figure(result),
        "figure_caption": _FIGURE_CAPTION,
        "theorems": defaultdict(str, {c.name: c.theorem for c in select_properties()}),
    }
    return render_page("audit.html", values, {"quoted": shlex.quote})


def audit_markdown(result: AuditResult) -> str:
    """Return an audit in Markdown, as for ``$GITHUB_STEP_SUMMARY``.

    Raises
    ------
    MissingExtraError
        If Jinja is not installed.
    """
    return render_page(
        "audit.md", _template_values(result), {"inline": _escape_markdown, "fenced": _fence}
    )


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
        name = printable(f"{result.implementation} as {result.cell}")
        suite = ElementTree.SubElement(
            root, "testsuite", {"name": name} | {k: str(v) for k, v in counts.items()}
        )
        for p in result.properties:
            case = ElementTree.SubElement(suite, "testcase", classname=name, name=printable(p.name))
            if (tag := _JUNIT_TAGS.get(p.outcome)) is not None:
                text = printable(p.reason, LAYOUT)
                element = ElementTree.SubElement(case, tag, message=text.partition("\n")[0])
                element.text = text + (
                    f"\nsmallest case: {printable(str(p.counterexample))}"
                    if p.counterexample
                    else ""
                )
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True)


_JUNIT_TAGS = {
    "failed": "failure",
    "inconclusive": "failure",
    "crashed": "error",
    "timed_out": "error",
    "error": "error",
    "skipped": "skipped",
    "expected_failure": "skipped",
}


def _template_values(result: AuditResult) -> dict[str, Any]:
    return {
        "result": result,
        "sign": "✓" if result.ok else "✗" if result.verdict == "fail" else "?",
        "counts": count_summary(result),
        "diagnosis": result.diagnosis.sentences if result.diagnosis else [],
        "proofs": proof_sentences(result.proofs),
        "marks": MARKS,
        "ratios": {p.name: format_ratio(p) if p.examples else "" for p in result.properties},
    }


def _figure(result: AuditResult) -> Any:
    drawn: list[tuple[PropertyResult, float]] = [
        (p, p.worst_ratio) for p in result.properties if p.worst_ratio
    ]
    drawn = sorted(drawn, key=lambda d: d[1])
    finite = [r for _, r in drawn if math.isfinite(r)]
    limit = 3 * max([1.0, *finite])
    with figure_context(8.5, 0.9 + 0.2 * max(1, len(drawn)), RC_STYLE) as figure:
        axes = figure.subplots()
        axes.set_xscale("log")
        for k, (_, value) in enumerate(drawn):
            within = value <= 1
            place = min(max(value, _SMALLEST_RATIO), limit)
            axes.plot([_SMALLEST_RATIO, place], [k, k], color="0.75", linewidth=1, zorder=1)
            axes.plot(
                place,
                k,
                marker="o" if within else "X",
                color="#0072B2" if within else "#A11D00",
                markersize=5 if within else 8,
            )
        axes.axvline(1, color="0.1", linewidth=1)
        axes.set_yticks(range(len(drawn)), [p.name for p, _ in drawn], fontsize=7.5)
        axes.set_xlim(_SMALLEST_RATIO / 1.2, limit * 1.3)
        axes.set_ylim(-0.7, max(1, len(drawn)) - 0.3)
        axes.set_xlabel("largest error / budget (circle: within budget, cross: beyond)")
        exceeded = sum(r > 1 for _, r in drawn)
        return inline_svg(
            figure_to_svg(figure),
            "budgets",
            f"{len(drawn)} properties measured an error; {exceeded} beyond their budget.",
        )


def _escape_markdown(text: str) -> str:
    """Escape text for Markdown."""
    return re.sub(
        r"([\\`*_{}\[\]()#+!|~-])", r"\\\1", html.escape(" ".join(str(text).split()), quote=False)
    )


def _fence(text: str) -> str:
    """Return text in a code fence longer than any run of backticks in it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"
