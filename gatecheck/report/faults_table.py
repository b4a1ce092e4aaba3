"""The kill matrix in the terminal and as a picture."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gatecheck.cases import Case
from gatecheck.cells import as_cell
from gatecheck.faults.fault import Fault
from gatecheck.mutation.kill_matrix import Killing, counted, survivors, worths
from gatecheck.report.figures import drawing, save_figure

NARROW = 0.03
"""Cells with a smaller share of the faults have one label together in the picture, where theirs
would overlap.
"""


def _table(first: str, *right: str, last: str = "") -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(first, no_wrap=True)
    for heading in right:
        table.add_column(heading, justify="right")
    if last:
        table.add_column(last)
    return table


def faults_table(killings: Sequence[Killing], how: str, *, whole: bool) -> RenderableType:
    """Killed by cell, what each property is worth, and the faults that survive.

    Parameters
    ----------
    killings
        Of the faults.
    how
        The profile and seed, for the last line.
    whole
        Whether every property was tried on every fault, so that it can be said which one alone
        catches it, and which fault is caught by comparison with another implementation alone, or by
        its shapes alone.
    """
    these = counted(killings)
    cells = _table(
        "cell", "faults", "killed", "equivalent", *(["without reference"] if whole else [])
    )
    for cell in [*dict.fromkeys(k.cell for k in killings), None]:
        own = [k for k in these if cell in (k.cell, None)]
        equal = sum(bool(k.equivalent) for k in killings if cell in (k.cell, None))
        alone = [str(sum(bool(k.killed_without_reference_by) for k in own))] if whole else []
        cells.add_row(
            cell or "all", str(len(own)), str(sum(k.killed for k in own)), str(equal), *alone
        )
    lines = [Text(f"survives: {label}", "bold red") for label in survivors(killings)]
    if whole:
        killed = [k for k in these if k.killed]
        lines += [_only_by_comparison(k) for k in killed if not k.killed_without_reference_by]
        lines += [
            Text(f"only by shape or dtype: {k.label}", "dim") for k in killed if k.only_by_contract
        ]
    checks = sum(k.examples for k in killings)
    return Group(
        cells,
        _worth_table(these) if whole else _first_table(these),
        *lines,
        Text(f"{how}; {checks:,} checks"),
    )


def _worth_table(killings: Sequence[Killing]) -> RenderableType:
    table = _table("property", "kills", "of", "it alone", last="rarest")
    tried = {k.label: len(k.tried) for k in killings}
    for w in worths(killings):
        rarest = (
            f"{w.rarest} ({w.rarest_killers} of {tried[w.rarest]})" if w.kills else "kills nothing"
        )
        table.add_row(
            w.name,
            str(w.kills),
            str(w.applies_to),
            str(w.alone),
            rarest,
            style=None if w.kills else "bold red",
        )
    return table


def _first_table(killings: Sequence[Killing]) -> RenderableType:
    table = _table("property", "first kills")
    for name, kills in Counter(name for k in killings for name in k.killed_by).most_common():
        table.add_row(name, str(kills))
    return table


def _only_by_comparison(killing: Killing) -> Text:
    line = Text(f"only by comparison: {killing.label}: ", "yellow")
    return (
        line.append(killing.reference_needed)
        if killing.reference_needed
        else line.append("no reason given", "bold red")
    )


def fault_in_full(faults: Sequence[Fault], killing: Killing) -> RenderableType:
    """A fault by its name: of the first of its cells all that is known, of the others how to try it
    there.
    """
    first, *others = faults
    side = first.side(as_cell(first.cell))
    where = "around the cell" if side == "around" else f"in the equations of the {side}"
    again = f"gatecheck faults --name {shlex.quote(first.label)}"
    lines = [
        Text(f"a fault {where}; to try it again:"),
        Text(f"  {again}", no_wrap=True, overflow="ignore"),
    ]
    lines += [Text(f"the same in: {', '.join(f.cell for f in others)}")] if others else []
    lines += [Text(f"  of a {f.cell}: {f.says}") for f in others if f.says != first.says]
    return Group(fault_table(killing), *lines)


def fault_table(killing: Killing) -> RenderableType:
    """One fault: what it does, and which properties catch it."""
    table = _table("killed by", "at example")
    for name, examples in killing.killed_by.items():
        table.add_row(name, str(examples))
    about = [Text(killing.label, "bold"), Text(killing.says)]
    about += [Text(f"seen in {killing.source}")] if killing.source else []
    about += (
        [Text(f"cannot be told from the truth: {killing.equivalent}")] if killing.equivalent else []
    )
    about += (
        [Text("only by its shape or dtype: no value was judged")]
        if killing.only_by_contract
        else []
    )
    return Group(
        *about,
        table
        if killing.killed
        else Text("no property fails on it", "bold red" if not killing.equivalent else "dim"),
    )


def seed_line(killings: Sequence[Killing], seed: int) -> Text:
    """How many faults are killed under one seed, and which survive."""
    surviving = survivors(killings)
    line = Text(
        f"seed {seed}: {sum(k.killed for k in counted(killings))} of {len(counted(killings))} killed"
    )
    return line.append(f"; survives: {', '.join(surviving)}", "bold red") if surviving else line


def shown(
    found: Sequence[Sequence[Killing]], seeds: Sequence[int], how: str, *, alone: bool, whole: bool
) -> RenderableType:
    """What there is to say of one matrix, perhaps of one fault `alone`, or of several, which are a
    line each.
    """
    if len(found) > 1:
        return Group(
            *(seed_line(killings, seed) for killings, seed in zip(found, seeds, strict=True))
        )
    return fault_table(found[0][0]) if alone else faults_table(found[0], how, whole=whole)


def untold_list(case: Case, faults: Sequence[Fault]) -> RenderableType:
    """What a case could not have told, a fault a line."""
    if not faults:
        return Text(f"{case}: tells every known fault in the equations of a {case.cell}")
    table = _table("fault", last="what it does")
    for fault in faults:
        table.add_row(fault.name, fault.says)
    return Group(
        Text(
            f"{case}\ncould not have told {len(faults)} of the known faults in the equations of a {case.cell}:"
        ),
        table,
    )


def save_faults_figure(killings: Sequence[Killing], path: Path) -> Path:
    """Faults by properties: darker the fewer examples the property needs; beside them how many
    faults each kills, and alone.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    cells = Counter(k.cell for k in counted(killings))
    few = {cell for cell, n in cells.items() if n < NARROW * cells.total()}
    these = sorted(counted(killings), key=lambda k: (k.cell in few, list(cells).index(k.cell)))
    properties = worths(these)
    shades = [[1 / n if (n := k.killed_by.get(w.name)) else 0.0 for k in these] for w in properties]
    with drawing(16, 0.19 * len(properties) + 2.6, {"figure.dpi": 150}) as figure:
        from matplotlib.colors import PowerNorm  # an extra, which `drawing` asks for

        axes, bars = figure.subplots(1, 2, sharey=True, width_ratios=(12, 2))
        # Not interpolated: a fault of two pixels keeps its own shade.
        # Nor linear: a kill at the fortieth example has to be told from none.
        image = axes.imshow(
            shades, aspect="auto", cmap="Greys", norm=PowerNorm(0.4, 0, 1), interpolation="nearest"
        )
        axes.set_yticks(range(len(properties)), [w.name for w in properties], fontsize=8)
        names = [
            f"{len(few)} more cells" if k.cell in few and len(few) > 1 else k.cell for k in these
        ]
        middles, labels, start = [], [], 0
        for name, n in Counter(names).items():
            middles.append(start + (n - 1) / 2)
            labels.append(f"{name} ({n})")
            start += n
            axes.axvline(start - 0.5, color="tab:red", linewidth=0.8)
        axes.set_xticks(middles, labels, fontsize=8)
        axes.tick_params(axis="x", length=0)
        axes.set_xlabel(f"{len(these)} faults, by cell")
        axes.set_title("Which property catches which fault, and how soon")
        marks = (1, 2, 5, 40)
        scale = figure.colorbar(image, ax=axes, location="left", shrink=0.6, pad=0.01, aspect=30)
        scale.set_ticks(
            [0, *(1 / n for n in marks)],
            labels=["never", *(f"example {n}" for n in marks)],
            fontsize=8,
        )
        bars.barh(range(len(properties)), [w.kills for w in properties], color="0.55", height=0.8)
        for row, w in enumerate(properties):
            bars.text(
                w.kills,
                row,
                f" {w.kills}" + (f" ({w.alone} alone)" if w.alone else ""),
                va="center",
                fontsize=7,
            )
        bars.set_xlim(0, 1.5 * max((w.kills for w in properties), default=1) + 1)
        bars.set_title("kills", fontsize=10)
        bars.tick_params(axis="y", left=False, labelleft=False)
        bars.spines[["top", "right"]].set_visible(False)
        save_figure(figure, path)
    return path
