"""Terminal tables of exported test vectors and of the answers to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gatecheck._util.text import list_names
from gatecheck.vectors.result import CaseAnswer, Quantity, VectorsResult

OUTCOME_STYLES = {"passed": "green", "inconclusive": "yellow"}
FAILURE_STYLE = "bold red"
VERDICT_STYLES = {"pass": "bold green", "inconclusive": "bold yellow"}

MAX_FAULTS = 12
"""Number of faults that a sentence names; the manifest lists all."""


def undetected_lines(manifest: Mapping[str, Any]) -> list[str]:
    """Return one line per cell with the known faults its cases cannot reveal."""
    lines = []
    for cell, fault_data in manifest["faults"].items():
        names = [fault["name"] for fault in fault_data["undetected"]]
        listed = list_names(names, MAX_FAULTS, " (see manifest.json)")
        if not fault_data["known"]:
            lines.append(
                f"{cell}: no known fault is specific to the equations of this cell; "
                "those of the plain one were not tried"
            )
        elif not names:
            lines.append(
                f"{cell}: these cases reveal "
                f"all {fault_data['known']} known faults in its equations"
            )
        else:
            lines.append(
                f"{cell}: of {fault_data['known']} known faults in its equations "
                f"these cases cannot reveal {len(names)}: {listed}"
            )
    return lines


def certified_line(manifest: Mapping[str, Any]) -> str:
    """Return whether the expected results are certified, and if not why."""
    if manifest["certified"]:
        return (
            "every expected number is certified to be the float64 number nearest to the exact one"
        )
    names = [row["name"] for row in manifest["cases"] if not row["certified"]]
    cases = (
        "the expected numbers"
        if len(names) == len(manifest["cases"])
        else f"the expected numbers of {', '.join(names)}"
    )
    reasons = "; ".join(manifest["uncertified"])
    return f"{cases} are the reference's in float64, and not certified: {reasons}"


def export_table(manifest: Mapping[str, Any], folder: str) -> RenderableType:
    """Return the cases of an export, and the faults that they cannot reveal."""
    table = _table(("case", "regime", "absent"), ("T", "B", "D", "H"))
    for row in manifest["cases"]:
        ragged = " (rows end early)" if "lengths" in row["inputs"] else ""
        table.add_row(
            row["name"],
            row["regime"] + ragged,
            " ".join(row["absent"]),
            *(str(row["sizes"][k]) for k in "TBDH"),
        )
    summary = (
        f"{len(manifest['cases'])} cases in {manifest['dtype']}, "
        f"convention {manifest['convention']}, seed {manifest['seed']}"
    )
    instructions = (
        f"written: {folder}; follow its README.md, then `gatecheck vectors check {folder}`"
    )
    lines = [Text(certified_line(manifest), "" if manifest["certified"] else "yellow")]
    lines += [
        Text(line, "yellow" if "cannot reveal" in line else "")
        for line in undetected_lines(manifest)
    ]
    return Group(table, Text(summary), *lines, Text(instructions))


def _table(names: tuple[str, ...], numbers: tuple[str, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in names:
        table.add_column(name, no_wrap=True)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _format_number(value: float | None) -> str:
    return "–" if value is None else "∞" if value == float("inf") else f"{value:.2g}"


def _quantities_table(result: VectorsResult, cell: str) -> RenderableType:
    table = _table(
        (cell, "outcome"), ("values", "ulps: median", "worst", "error/budget", "failed in")
    )
    answers = [c for c in result.cases if c.cell == cell and c.quantities]
    for q in result.totals(cell):
        outcomes = [own.outcome for c in answers for own in c.quantities if own.name == q.name]
        failures = f"{outcomes.count('failed')} of {len(outcomes)}" if "failed" in outcomes else ""
        numbers = (
            _format_number(q.median_ulps),
            _format_number(q.worst_ulps),
            _format_number(q.ratio),
        )
        table.add_row(q.name, _outcome_text(q), f"{q.ulps.size:,}", *numbers, failures)
    return table


def _outcome_text(answer: Quantity | CaseAnswer) -> Text:
    return Text(answer.outcome, OUTCOME_STYLES.get(answer.outcome, FAILURE_STYLE))


def _cases_table(result: VectorsResult) -> Table:
    table = _table(("case", "verdict", "answered"), ("error/budget",))
    table.add_column("wrong")
    for c in result.cases:
        answered = (
            "" if not c.quantities else "outputs, gradients" if c.has_gradients else "outputs"
        )
        wrong = " ".join(q.name for q in c.quantities if q.outcome == "failed")
        table.add_row(
            c.name,
            _outcome_text(c),
            answered,
            _format_number(c.worst_ratio) if c.quantities else "",
            wrong,
        )
    return table


def _findings(result: VectorsResult) -> Iterator[RenderableType]:
    for c in result.cases:
        if c.reason:
            yield Text.assemble(
                "\n",
                (f"{c.name} {c.outcome}", OUTCOME_STYLES.get(c.outcome, FAILURE_STYLE)),
                f"  {c.case}" if c.quantities else "",
            )
            yield Padding(Text(c.reason), (0, 0, 0, 2))


def answers_table(result: VectorsResult) -> RenderableType:
    """Return the judgment of the answers by quantity and by case, with findings."""
    cells = dict.fromkeys(c.cell for c in result.cases if c.quantities)
    origin = "the reference's results in float64" if result.uncertified else "certified results"
    legend = Text(
        f"ulps: units in the last place, from {origin}; "
        "near zero they may be many and yet within budget",
        "dim",
    )
    reasons: list[RenderableType] = [
        Padding(Text(f"not certified: {reason}", "yellow"), (0, 0, 0, 1))
        for reason in result.uncertified
    ]
    notes = [Padding(Text(f"note: {n}", "yellow"), (0, 0, 0, 1)) for n in result.notes]
    tables = [_quantities_table(result, cell) for cell in cells]
    return Group(
        *tables,
        *([legend, *reasons] if tables else []),
        _cases_table(result),
        *notes,
        *_findings(result),
        Text(""),
    )


def answers_line(result: VectorsResult) -> Text:
    """Return the verdict and the numbers of cases passed, failed, missing and so on."""
    counts = [
        f"{len(result.cases)} cases",
        f"{result.count('passed')} passed",
        f"{result.count('failed')} failed",
    ]
    for outcome in ("inconclusive", "missing", "malformed", "damaged"):
        if n := result.count(outcome):
            counts.append(f"{n} {outcome}")
    without = sum(bool(c.quantities) and not c.has_gradients for c in result.cases)
    counts += [f"{without} answered without gradients"] if without else []
    cells = ", ".join(dict.fromkeys(c.cell for c in result.cases))
    return Text.assemble(
        (result.verdict, VERDICT_STYLES.get(result.verdict, FAILURE_STYLE)),
        f"  vectors of {cells}: {', '.join(counts)}",
    )
