"""Terminal tables and a figure of the kill matrix."""

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
from gatecheck.mutation.kill_matrix import FaultResult, detection_powers, non_equivalent, survivors
from gatecheck.report.figures import figure_context, save_figure

NARROW_SHARE = 0.03
"""Share of the faults below which cells are labeled together in the figure.

Their labels would overlap.
"""


def _table(first: str, *right: str, last: str = "") -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(first, no_wrap=True)
    for heading in right:
        table.add_column(heading, justify="right")
    if last:
        table.add_column(last)
    return table


def faults_table(
    killings: Sequence[FaultResult], settings: str, *, is_complete: bool
) -> RenderableType:
    """Return kills by cell and by property, and the surviving faults.

    Parameters
    ----------
    killings
        Results of the faults.
    settings
        Profile and seed, for the last line.
    is_complete
        True if every property was tried on every fault. Only then does the table show which
        property alone catches a fault, and which faults are caught only by comparison with another
        implementation, or only by their shapes.
    """
    counted_killings = non_equivalent(killings)
    cells = _table(
        "cell", "faults", "killed", "equivalent", *(["without reference"] if is_complete else [])
    )
    for cell in [*dict.fromkeys(k.cell for k in killings), None]:
        cell_killings = [k for k in counted_killings if cell in (k.cell, None)]
        equal = sum(bool(k.equivalent) for k in killings if cell in (k.cell, None))
        alone = (
            [str(sum(bool(k.killed_without_reference_by) for k in cell_killings))]
            if is_complete
            else []
        )
        cells.add_row(
            cell or "all",
            str(len(cell_killings)),
            str(sum(k.killed for k in cell_killings)),
            str(equal),
            *alone,
        )
    lines = [Text(f"survives: {label}", "bold red") for label in survivors(killings)]
    if is_complete:
        killed = [k for k in counted_killings if k.killed]
        lines += [_only_by_comparison(k) for k in killed if not k.killed_without_reference_by]
        lines += [
            Text(f"only by shape or dtype: {k.label}", "dim") for k in killed if k.only_by_contract
        ]
    checks = sum(k.examples for k in killings)
    return Group(
        cells,
        _kills_table(counted_killings) if is_complete else _first_kills_table(counted_killings),
        *lines,
        Text(f"{settings}; {checks:,} checks"),
    )


def _kills_table(killings: Sequence[FaultResult]) -> RenderableType:
    table = _table("property", "kills", "of", "alone", last="rarest")
    tried = {k.label: len(k.properties_tried) for k in killings}
    for w in detection_powers(killings):
        rarest = (
            f"{w.rarest} ({w.rarest_killers} of {tried[w.rarest]})" if w.kills else "kills nothing"
        )
        table.add_row(
            w.name,
            str(w.kills),
            str(w.applies_to),
            str(w.unique_kills),
            rarest,
            style=None if w.kills else "bold red",
        )
    return table


def _first_kills_table(killings: Sequence[FaultResult]) -> RenderableType:
    table = _table("property", "first kills")
    for name, kills in Counter(name for k in killings for name in k.killed_by).most_common():
        table.add_row(name, str(kills))
    return table


def _only_by_comparison(killing: FaultResult) -> Text:
    line = Text(f"only by comparison: {killing.label}: ", "yellow")
    return (
        line.append(killing.reference_needed)
        if killing.reference_needed
        else line.append("no reason given", "bold red")
    )


def fault_in_full(faults: Sequence[Fault], killing: FaultResult) -> RenderableType:
    """Return an explanation of the faults of one name.

    The first fault is explained in full, for the others their cells and differing descriptions.
    """
    first, *others = faults
    side = first.side(as_cell(first.cell))
    where = (
        "in a wrapper around the cell" if side == "around" else f"in the equations of the {side}"
    )
    command = f"gatecheck faults --name {shlex.quote(first.label)}"
    lines = [
        Text(f"a fault {where}; to reproduce:"),
        Text(f"  {command}", no_wrap=True, overflow="ignore"),
    ]
    lines += [Text(f"the same in: {', '.join(f.cell for f in others)}")] if others else []
    lines += [
        Text(f"  in {f.cell}: {f.description}")
        for f in others
        if f.description != first.description
    ]
    return Group(fault_table(killing), *lines)


def fault_table(killing: FaultResult) -> RenderableType:
    """Return the description of a fault and the properties that catch it."""
    table = _table("killed by", "at example")
    for name, examples in killing.killed_by.items():
        table.add_row(name, str(examples))
    description = [Text(killing.label, "bold"), Text(killing.description)]
    description += [Text(f"seen in {killing.source}")] if killing.source else []
    description += (
        [Text(f"equivalent to correct code: {killing.equivalent}")] if killing.equivalent else []
    )
    description += (
        [Text("only by its shape or dtype: no value was judged")]
        if killing.only_by_contract
        else []
    )
    return Group(
        *description,
        table
        if killing.killed
        else Text("no property fails on it", "bold red" if not killing.equivalent else "dim"),
    )


def seed_line(killings: Sequence[FaultResult], seed: int) -> Text:
    """Return the number of faults killed under one seed, and the survivors."""
    surviving = survivors(killings)
    line = Text(
        f"seed {seed}: "
        f"{sum(k.killed for k in non_equivalent(killings))} of "
        f"{len(non_equivalent(killings))} killed"
    )
    return line.append(f"; survives: {', '.join(surviving)}", "bold red") if surviving else line


def faults_report(
    matrices: Sequence[Sequence[FaultResult]],
    seeds: Sequence[int],
    settings: str,
    *,
    is_single: bool,
    is_complete: bool,
) -> RenderableType:
    """Return the report of one matrix or of several.

    Of several, one line for each; of one, its tables, or that of a single fault if `is_single`.
    """
    if len(matrices) > 1:
        return Group(
            *(seed_line(killings, seed) for killings, seed in zip(matrices, seeds, strict=True))
        )
    return (
        fault_table(matrices[0][0])
        if is_single
        else faults_table(matrices[0], settings, is_complete=is_complete)
    )


def undetected_list(case: Case, faults: Sequence[Fault]) -> RenderableType:
    """Return the faults that a case cannot reveal, one per row."""
    if not faults:
        return Text(f"{case}: reveals every known fault in the equations of a {case.cell}")
    table = _table("fault", last="what it does")
    for fault in faults:
        table.add_row(fault.name, fault.description)
    return Group(
        Text(
            f"{case}\ncannot reveal {len(faults)} of the known faults "
            f"in the equations of a {case.cell}:"
        ),
        table,
    )


def save_faults_figure(killings: Sequence[FaultResult], path: Path) -> Path:
    """Plot faults by properties, and the number of kills of each property.

    A kill is darker the fewer examples the property needs. The bars count all kills, and the labels
    also those of the property alone.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    cells = Counter(k.cell for k in non_equivalent(killings))
    small_cells = {cell for cell, n in cells.items() if n < NARROW_SHARE * cells.total()}
    ordered = sorted(
        non_equivalent(killings), key=lambda k: (k.cell in small_cells, list(cells).index(k.cell))
    )
    properties = detection_powers(ordered)
    shades = [
        [1 / n if (n := k.killed_by.get(w.name)) else 0.0 for k in ordered] for w in properties
    ]
    with figure_context(16, 0.19 * len(properties) + 2.6, {"figure.dpi": 150}) as figure:
        from matplotlib.colors import PowerNorm  # `drawing` has checked this extra

        axes, bars = figure.subplots(1, 2, sharey=True, width_ratios=(12, 2))
        # Not interpolated, so that a fault of two pixels keeps its shade; not linear, so that a
        # kill at the fortieth example differs from none.
        image = axes.imshow(
            shades, aspect="auto", cmap="Greys", norm=PowerNorm(0.4, 0, 1), interpolation="nearest"
        )
        axes.set_yticks(range(len(properties)), [w.name for w in properties], fontsize=8)
        names = [
            f"{len(small_cells)} more cells"
            if k.cell in small_cells and len(small_cells) > 1
            else k.cell
            for k in ordered
        ]
        middles, labels, start = [], [], 0
        for name, n in Counter(names).items():
            middles.append(start + (n - 1) / 2)
            labels.append(f"{name} ({n})")
            start += n
            axes.axvline(start - 0.5, color="tab:red", linewidth=0.8)
        axes.set_xticks(middles, labels, fontsize=8)
        axes.tick_params(axis="x", length=0)
        axes.set_xlabel(f"{len(ordered)} faults, by cell")
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
                f" {w.kills}" + (f" ({w.unique_kills} alone)" if w.unique_kills else ""),
                va="center",
                fontsize=7,
            )
        bars.set_xlim(0, 1.5 * max((w.kills for w in properties), default=1) + 1)
        bars.set_title("kills", fontsize=10)
        bars.tick_params(axis="y", left=False, labelleft=False)
        bars.spines[["top", "right"]].set_visible(False)
        save_figure(figure, path)
    return path
