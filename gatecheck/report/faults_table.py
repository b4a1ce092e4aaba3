"""The kill matrix in the terminal and as a picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gatecheck.auditing.matrix import Killing
from gatecheck.report.figures import drawing


def faults_table(killings: Sequence[Killing], how: str, *, whole: bool) -> RenderableType:
    """Killed by cell, what each property catches, and the faults that survive.

    Parameters
    ----------
    killings
        Of the faults.
    how
        The profile and seed, for the last line.
    whole
        Whether every property was tried on every fault, so that it can be said which one alone catches it, and which fault is caught by
        comparison with another implementation alone.
    """
    counted = [k for k in killings if not k.equivalent]
    cells = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    cells.add_column("cell")
    for heading in ("faults", "killed", "equivalent", *(["without reference"] if whole else [])):
        cells.add_column(heading, justify="right")
    for cell in [*dict.fromkeys(k.cell for k in killings), None]:
        these = [k for k in counted if cell in (k.cell, None)]
        equal = sum(bool(k.equivalent) for k in killings if cell in (k.cell, None))
        alone = [str(sum(bool(k.killed_without_reference_by) for k in these))] if whole else []
        cells.add_row(cell or "all", str(len(these)), str(sum(k.killed for k in these)), str(equal), *alone)
    caught = Counter(name for k in counted for name in k.killed_by)
    catches = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    catches.add_column("property", no_wrap=True)
    for heading in ("kills", "it alone") if whole else ("first kills",):
        catches.add_column(heading, justify="right")
    for name, kills in caught.most_common():
        only = [str(sum(list(k.killed_by) == [name] for k in counted))] if whole else []
        catches.add_row(name, str(kills), *only)
    survivors = [Text(f"survives: {k.cell}: {k.name}", "bold red") for k in counted if not k.killed]
    needing = [k for k in counted if whole and k.killed and not k.killed_without_reference_by]
    lines = [Text(f"only by comparison: {k.cell}: {k.name}", "yellow") for k in needing]
    return Group(cells, catches, *survivors, *lines, Text(how))


def fault_table(killing: Killing) -> RenderableType:
    """One fault: what it does, and which properties catch it."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("killed by", no_wrap=True)
    table.add_column("in this share of examples", justify="right")
    for name, share in killing.killed_by.items():
        table.add_row(name, f"{share:.0%}")
    about = [Text(f"{killing.cell}: {killing.name}", "bold"), Text(killing.says)]
    about += [Text(f"seen in {killing.source}")] if killing.source else []
    about += [Text(f"cannot be told from the truth: {killing.equivalent}")] if killing.equivalent else []
    return Group(*about, table if killing.killed else Text("no property fails on it", "bold red" if not killing.equivalent else "dim"))


def save_faults_figure(killings: Sequence[Killing], path: Path) -> Path:
    """Faults by properties: a mark where one catches the other, darker the larger its share of examples.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    counted = sorted((k for k in killings if not k.equivalent), key=lambda k: k.cell)
    names = sorted({name for k in counted for name in k.killed_by}, key=lambda name: -sum(name in k.killed_by for k in counted))
    shares = [[k.killed_by.get(name, 0.0) for k in counted] for name in names]
    with drawing(14, 0.22 * len(names) + 2.2, {"figure.dpi": 110}) as figure:
        axes = figure.subplots()
        image = axes.imshow(shares, aspect="auto", cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
        axes.set_yticks(range(len(names)), names, fontsize=8)
        cells = [k.cell for k in counted]
        starts = [i for i, cell in enumerate(cells) if i == 0 or cells[i - 1] != cell]
        for start in starts[1:]:
            axes.axvline(start - 0.5, color="black", linewidth=0.8)
        ends = [*starts[1:], len(cells)]
        axes.set_xticks([(a + b - 1) / 2 for a, b in zip(starts, ends, strict=True)], [cells[a] for a in starts], fontsize=9)
        axes.set_xlabel(f"{len(counted)} faults, by cell")
        axes.set_title("Which property catches which fault")
        figure.colorbar(image, label="share of examples that fail", shrink=0.8, pad=0.01)
        figure.savefig(path, metadata={"Software": None})
    return path
