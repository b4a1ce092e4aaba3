"""Terminal tables of the faults that other gradient checkers miss."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text


def _outcomes(fault: dict[str, Any], checker: str) -> dict[str, str]:
    return {
        question: verdict["outcome"] for question, verdict in fault["verdicts"][checker].items()
    }


def _is_caught(fault: dict[str, Any], checker: str) -> bool:
    return "caught" in _outcomes(fault, checker).values()


def _names_with_cells(faults: Iterable[dict[str, Any]]) -> str:
    """Return the names of faults, each with its cells."""
    cells: dict[str, list[str]] = {}
    for fault in faults:
        cells.setdefault(fault["name"], []).append(fault["cell"])
    return "; ".join(f"{name} ({', '.join(cell_names)})" for name, cell_names in cells.items())


def _shares_table(report: dict[str, Any], sides: dict[str, list[dict[str, Any]]]) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        title=f"Caught of {len(sides['backward'])} backward faults",
    )
    table.add_column("checker", no_wrap=True)
    for heading in (*report["usages"], "either", "refused", "correct", "forward"):
        table.add_column(heading, justify="right", no_wrap=True)
    for dtype in dict.fromkeys(report["checkers"].values()):
        visible = [fault["differs_in"][dtype] for fault in sides["backward"]]
        counts = [
            *(sum(q in s for s in visible) for q in report["usages"]),
            sum(map(bool, visible)),
        ]
        table.add_row(f"gradients differ, {dtype}", *map(str, counts), style="dim")
    table.add_section()
    for checker in report["checkers"]:
        outcomes = [_outcomes(fault, checker) for fault in sides["backward"]]
        caught = [
            str(sum(o[q] == "caught" for o in outcomes)) if q in outcomes[0] else ""
            for q in report["usages"]
        ]
        refused = sum("refused" in o.values() for o in outcomes)
        either, correct, forward = (
            sum(_is_caught(f, checker) for f in sides[side])
            for side in ("backward", "correct", "forward")
        )
        controls = f"{correct} of {len(sides['correct'])}", f"{forward} of {len(sides['forward'])}"
        table.add_row(checker, *caught, str(either), str(refused), *controls)
    return table


def _missed_faults(report: dict[str, Any], faults: list[dict[str, Any]]) -> Iterator[Text]:
    """Yield the faults that each checker does not catch.

    First those missed in every question that shows them, then those missed in one only.
    """
    for checker, dtype in report["checkers"].items():
        missed: dict[str, list[dict[str, Any]]] = {}
        for fault in faults:
            outcomes = _outcomes(fault, checker)
            relevant = [q for q in outcomes if q in (*fault["differs_in"][dtype], "all")]
            if missed_questions := [q for q in relevant if outcomes[q] != "caught"]:
                missed.setdefault(
                    "wherever they show"
                    if missed_questions == relevant
                    else f"in {missed_questions[0]} only",
                    [],
                ).append(fault)
        for where in sorted(missed, reverse=True):
            yield Text.assemble(
                (f"{checker} does not catch {len(missed[where])} {where}: ", "bold"),
                _names_with_cells(missed[where]),
                "\n",
            )


def _refusals(report: dict[str, Any], faults: list[dict[str, Any]]) -> Iterator[Text]:
    for fault in faults:
        for checker in report["checkers"]:
            for question, verdict in fault["verdicts"][checker].items():
                if verdict["outcome"] == "refused":
                    yield Text(
                        f"refused: {fault['cell']}: {fault['name']}: "
                        f"{checker}, {question}: {verdict['reason']}",
                        "yellow",
                    )


def checkers_table(report: dict[str, Any]) -> RenderableType:
    """Return the faults that each checker catches and misses.

    The data is that of :func:`gatecheck.mutation.checker_comparison.comparison_report`.
    """
    sides = {
        side: [f for f in report["faults"] if f["side"] == side]
        for side in ("correct", "backward", "forward")
    }
    questions = [
        Text(
            f"{name}: {', '.join(f'{k} = {v}' for k, v in question['sizes'].items())}; "
            f"{question['description']}"
        )
        for name, question in report["usages"].items()
    ]
    column_note = Text(
        "No checker can catch a fault whose gradients equal those of correct code: a final state "
        "does not depend on dy, four steps do not reach a step 16, float32 does not show a cast to "
        "float32. An audit draws its own cases. correct: number of correct cells that the checker "
        "rejects; forward: number of faults caught in the sample of forward faults. Below, faults "
        "whose gradients do not differ in a question are omitted from it."
    )
    forward_note = Text(
        f"Of {report['forward_faults']} forward faults, listed separately, a sample of "
        f"{len(sides['forward'])} was tried, each with the exact gradient of what it computes, as "
        "automatic differentiation gives it. A gradient checker compares a function with its own "
        "gradient, and these agree; an audit gets only the forward. "
        f"The sample: {_names_with_cells(sides['forward'])}"
    )
    faults = report["faults"]
    cells = Text(f"cells: {', '.join(report['cells'])}")
    return Group(
        cells,
        *questions,
        _shares_table(report, sides),
        column_note,
        Text(),
        *_missed_faults(report, sides["backward"]),
        *_refusals(report, faults),
        forward_note,
    )
