"""Vectors in the terminal: what was exported and what it cannot tell, and what came back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gatecheck.vectors.result import CaseAnswer, Quantity, VectorsResult

STYLES = {"passed": "green", "inconclusive": "yellow"}
BAD = "bold red"
VERDICTS = {"pass": "bold green", "inconclusive": "bold yellow"}

NAMED = 12
"""How many faults a sentence names; the manifest has them all."""


def hidden_lines(manifest: Mapping[str, Any]) -> list[str]:
    """For each cell, which known faults its cases could not have told."""
    lines = []
    for cell, found in manifest["faults"].items():
        names = [fault["name"] for fault in found["untold"]]
        listed = ", ".join(names[:NAMED]) + (
            f" and {len(names) - NAMED} more (see manifest.json)" if len(names) > NAMED else ""
        )
        if not found["known"]:
            lines.append(
                f"{cell}: no fault is known in the equations of this cell beyond those of the plain one, which were not tried"
            )
        elif not names:
            lines.append(
                f"{cell}: these cases tell all {found['known']} known faults in its equations"
            )
        else:
            lines.append(
                f"{cell}: of {found['known']} known faults in its equations these cases could not have told {len(names)}: {listed}"
            )
    return lines


def certified_line(manifest: Mapping[str, Any]) -> str:
    """Whether the expected results of an export are certified, and if not why."""
    if manifest["certified"]:
        return "every expected number is certified: of all float64 numbers it is the nearest to the exact one"
    which = [row["name"] for row in manifest["cases"] if not row["certified"]]
    cases = (
        "the expected numbers"
        if len(which) == len(manifest["cases"])
        else f"the expected numbers of {', '.join(which)}"
    )
    return f"{cases} are the reference's in float64, and not certified: {'; '.join(manifest['uncertified'])}"


def export_table(manifest: Mapping[str, Any], folder: str) -> RenderableType:
    """What an export wrote."""
    table = _table(("case", "regime", "absent"), ("T", "B", "D", "H"))
    for row in manifest["cases"]:
        ragged = " (rows end early)" if "lengths" in row["inputs"] else ""
        table.add_row(
            row["name"],
            row["regime"] + ragged,
            " ".join(row["absent"]),
            *(str(row["sizes"][k]) for k in "TBDH"),
        )
    what = f"{len(manifest['cases'])} cases in {manifest['dtype']}, convention {manifest['convention']}, seed {manifest['seed']}"
    after = (
        f"written: {folder}; its README.md says what to do, then `gatecheck vectors check {folder}`"
    )
    lines = [Text(certified_line(manifest), "" if manifest["certified"] else "yellow")]
    lines += [
        Text(line, "yellow" if "could not" in line else "") for line in hidden_lines(manifest)
    ]
    return Group(table, Text(what), *lines, Text(after))


def _table(names: tuple[str, ...], numbers: tuple[str, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in names:
        table.add_column(name, no_wrap=True)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else "∞" if value == float("inf") else f"{value:.2g}"


def _quantities(result: VectorsResult, cell: str) -> RenderableType:
    table = _table(
        (cell, "outcome"), ("values", "ulps: median", "worst", "error/budget", "failed in")
    )
    answers = [c for c in result.cases if c.cell == cell and c.quantities]
    for q in result.in_all(cell):
        of = [own.outcome for c in answers for own in c.quantities if own.name == q.name]
        bad = f"{of.count('failed')} of {len(of)}" if "failed" in of else ""
        numbers = (_number(q.median_ulps), _number(q.worst_ulps), _number(q.ratio))
        table.add_row(q.name, _outcome(q), f"{q.ulps.size:,}", *numbers, bad)
    return table


def _outcome(what: Quantity | CaseAnswer) -> Text:
    return Text(what.outcome, STYLES.get(what.outcome, BAD))


def _cases(result: VectorsResult) -> Table:
    table = _table(("case", "verdict", "answered"), ("error/budget",))
    table.add_column("wrong")
    for c in result.cases:
        answered = (
            "" if not c.quantities else "outputs, gradients" if c.with_gradients else "outputs"
        )
        wrong = " ".join(q.name for q in c.quantities if q.outcome == "failed")
        table.add_row(
            c.name, _outcome(c), answered, _number(c.worst_ratio) if c.quantities else "", wrong
        )
    return table


def _findings(result: VectorsResult) -> Iterator[RenderableType]:
    for c in result.cases:
        if c.reason:
            yield Text.assemble(
                "\n",
                (f"{c.name} {c.outcome}", STYLES.get(c.outcome, BAD)),
                f"  {c.case}" if c.quantities else "",
            )
            yield Padding(Text(c.reason), (0, 0, 0, 2))


def answers_table(result: VectorsResult) -> RenderableType:
    """What came back, quantity by quantity and case by case, and for every finding what is wrong."""
    cells = dict.fromkeys(c.cell for c in result.cases if c.quantities)
    origin = "the reference's results in float64" if result.uncertified else "certified results"
    legend = Text(
        f"ulps: units in the last place, from {origin}; near zero they may be many and yet within budget",
        "dim",
    )
    why: list[RenderableType] = [
        Padding(Text(f"not certified: {reason}", "yellow"), (0, 0, 0, 1))
        for reason in result.uncertified
    ]
    notes = [Padding(Text(f"note: {n}", "yellow"), (0, 0, 0, 1)) for n in result.notes]
    tables = [_quantities(result, cell) for cell in cells]
    return Group(
        *tables,
        *([legend, *why] if tables else []),
        _cases(result),
        *notes,
        *_findings(result),
        Text(""),
    )


def answers_line(result: VectorsResult) -> Text:
    """The verdict, and how many cases passed, failed, are missing and so on."""
    counts = [
        f"{len(result.cases)} cases",
        f"{result.count('passed')} passed",
        f"{result.count('failed')} failed",
    ]
    for outcome in ("inconclusive", "missing", "malformed", "damaged"):
        if n := result.count(outcome):
            counts.append(f"{n} {outcome}")
    without = sum(bool(c.quantities) and not c.with_gradients for c in result.cases)
    counts += [f"{without} answered without gradients"] if without else []
    cells = ", ".join(dict.fromkeys(c.cell for c in result.cases))
    return Text.assemble(
        (result.verdict, VERDICTS.get(result.verdict, BAD)),
        f"  vectors of {cells}: {', '.join(counts)}",
    )
