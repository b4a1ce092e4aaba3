"""What other people's gradient checkers let pass, in the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text


def _outcomes(fault: dict[str, Any], checker: str) -> dict[str, str]:
    return {question: said["outcome"] for question, said in fault["verdicts"][checker].items()}


def _caught(fault: dict[str, Any], checker: str) -> bool:
    return "caught" in _outcomes(fault, checker).values()


def _grouped(faults: Iterable[dict[str, Any]]) -> str:
    """Names, each with the cells that have a fault of that name."""
    cells: dict[str, list[str]] = {}
    for fault in faults:
        cells.setdefault(fault["name"], []).append(fault["cell"])
    return "; ".join(f"{name} ({', '.join(which)})" for name, which in cells.items())


def _shares(report: dict[str, Any], sides: dict[str, list[dict[str, Any]]]) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        title=f"Caught of {len(sides['backward'])} backward faults",
    )
    table.add_column("checker", no_wrap=True)
    for heading in (*report["questions"], "either", "refused", "correct", "forward"):
        table.add_column(heading, justify="right", no_wrap=True)
    for dtype in dict.fromkeys(report["checkers"].values()):
        shown = [fault["shows"][dtype] for fault in sides["backward"]]
        counts = [*(sum(q in s for s in shown) for q in report["questions"]), sum(map(bool, shown))]
        table.add_row(f"gradients differ, {dtype}", *map(str, counts), style="dim")
    table.add_section()
    for checker in report["checkers"]:
        said = [_outcomes(fault, checker) for fault in sides["backward"]]
        caught = [
            str(sum(o[q] == "caught" for o in said)) if q in said[0] else ""
            for q in report["questions"]
        ]
        refused = sum("refused" in o.values() for o in said)
        either, correct, forward = (
            sum(_caught(f, checker) for f in sides[side])
            for side in ("backward", "correct", "forward")
        )
        apart = f"{correct} of {len(sides['correct'])}", f"{forward} of {len(sides['forward'])}"
        table.add_row(checker, *caught, str(either), str(refused), *apart)
    return table


def _passes(report: dict[str, Any], faults: list[dict[str, Any]]) -> Iterator[Text]:
    """The faults that each checker does not catch: those of every question that shows them, then
    those of one only.
    """
    for checker, dtype in report["checkers"].items():
        missed: dict[str, list[dict[str, Any]]] = {}
        for fault in faults:
            outcomes = _outcomes(fault, checker)
            could = [q for q in outcomes if q in (*fault["shows"][dtype], "all")]
            if let_pass := [q for q in could if outcomes[q] != "caught"]:
                missed.setdefault(
                    "wherever they show" if let_pass == could else f"in {let_pass[0]} only", []
                ).append(fault)
        for where in sorted(missed, reverse=True):
            yield Text.assemble(
                (f"{checker} does not catch {len(missed[where])} {where}: ", "bold"),
                _grouped(missed[where]),
                "\n",
            )


def _refusals(report: dict[str, Any], faults: list[dict[str, Any]]) -> Iterator[Text]:
    for fault in faults:
        for checker in report["checkers"]:
            for question, said in fault["verdicts"][checker].items():
                if said["outcome"] == "refused":
                    yield Text(
                        f"refused: {fault['cell']}: {fault['name']}: {checker}, {question}: {said['reason']}",
                        "yellow",
                    )


def checkers_table(report: dict[str, Any]) -> RenderableType:
    """What :func:`gatecheck.mutation.checker_comparison.report` found: how much each checker catches, and
    what it does not.
    """
    sides = {
        side: [f for f in report["faults"] if f["side"] == side]
        for side in ("correct", "backward", "forward")
    }
    asked = [
        Text(
            f"{name}: {', '.join(f'{k} = {v}' for k, v in question['sizes'].items())}; {question['meaning']}"
        )
        for name, question in report["questions"].items()
    ]
    columns = Text(
        "Where gradients do not differ from those of correct code, no checker can tell: a final state knows nothing of dy, four steps "
        "nothing of a step 16, float32 nothing of a cast to it. An audit draws its own cases. Under correct: how many correct cells it "
        "accuses; under forward: how many of the sample of forward faults it catches. Below, faults whose gradients do not differ in a "
        "question are left out there."
    )
    forward = Text(
        f"Of {report['forward_faults']} forward faults, listed apart, a sample of {len(sides['forward'])} was tried, each with the exact "
        "gradient of what it computes, as automatic differentiation gives it. A gradient checker compares a function with its own "
        f"gradient, and these agree; an audit is given the forward alone. The sample: {_grouped(sides['forward'])}"
    )
    every = report["faults"]
    cells = Text(f"cells: {', '.join(report['cells'])}")
    return Group(
        cells,
        *asked,
        _shares(report, sides),
        columns,
        Text(),
        *_passes(report, sides["backward"]),
        *_refusals(report, every),
        forward,
    )
