"""Terminal tables of a benchmark: points, means and ratios below 1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gatecheck.report.bench.sections import section_tables

Data = Mapping[str, Any]

ABBREVIATIONS = {"onnxruntime": "ort", "gatecheck": "ours", "forward": "fwd", "gradients": "grad"}
"""Short names that keep the table within 80 columns."""

BUSY_LOAD = 0.5
"""Load per core before the run above which the machine is reported as busy."""


def bench_table(data: Data) -> RenderableType:
    """Return all tables of a benchmark.

    Parameters
    ----------
    data
        Output of ``gatecheck bench --json``.
    """
    parts: list[RenderableType] = []
    for threads in data["floors"]:
        parts.append(_points_table(data, int(threads)))
        parts.append(_summary(data, threads))
    if parts:
        parts += _point_notes(data)
    for section in data["sections"].values():
        parts += section_tables(section)
    return Group(*parts, *_machine_notes(data))


def _peers(data: Data) -> list[str]:
    return list(dict.fromkeys(name for s in data["summary"].values() for name in s))


def _points_table(data: Data, threads: int) -> Table:
    peers = _peers(data)
    title = (
        f"{data['subject']}: time of each peer over the subject's, "
        f"{threads} thread{'s' if threads > 1 else ''}"
    )
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("cell", "dtype", "work"):
        table.add_column(heading, no_wrap=True)
    for heading in ("T,B,D,H", "ms", *(ABBREVIATIONS.get(name, name) for name in peers), "GEMM"):
        table.add_column(heading, justify="right", no_wrap=True)
    for p in data["points"]:
        if p["threads"] == threads:
            sizes, milliseconds = (
                ",".join(str(p[k]) for k in "TBDH"),
                f"{1e3 * p['seconds']['subject']:.3g}",
            )
            ratios = [_ratio_cell(p, name) for name in peers]
            table.add_row(
                p["cell"],
                p["dtype"],
                ABBREVIATIONS.get(p["work"], p["work"]),
                sizes,
                milliseconds,
                *ratios,
                f"{p['gemm_fraction']:.0%}",
            )
    return table


def _ratio_cell(point: Data, name: str) -> Text:
    if name in point["refused"]:
        return Text("wrong", "bold red")
    if name not in point["ratio"]:
        return Text("·", "dim")
    ratio = point["ratio"][name]
    low, high = point["interval"][name]
    unsure = "~" if low < 1 < high else " "
    return Text(f"{ratio:.2f}{unsure}", "bold red" if ratio < 1 else "green" if ratio >= 2 else "")


def _summary(data: Data, threads: str) -> Text:
    text = Text()
    for name, s in data["summary"][threads].items():
        bar = data["bars"].get(name)
        aim = (
            ""
            if bar is None
            else f", aim {bar:g}: {'reached' if s['geometric_mean'] >= bar else 'not reached'}"
        )
        style = "bold red" if bar is not None and s["geometric_mean"] < bar else ""
        text.append(
            f"{name}: geometric mean {s['geometric_mean']:.2f} over {s['points']} points{aim}",
            style,
        )
        text.append(
            f"; lowest {s['lowest']:.2f}; below 1: {s['below_1']}\n", "red" if s["below_1"] else ""
        )
    return text


def _point_notes(data: Data) -> Iterator[RenderableType]:
    yield Text(
        "ratios: medians over rounds; ~ the 10 % and 90 % quantiles lie on both sides of 1; "
        "· not measured",
        "dim",
    )
    yield Text(
        "grad: forward and all gradients; ms: median; "
        "GEMM: time of the matrix products alone over the time taken",
        "dim",
    )
    for threads, floors in data["floors"].items():
        rates = [
            f"{dtype} GEMM {r['gemm']:.3g}, GEMV {r['gemv']:.3g}" for dtype, r in floors.items()
        ]
        yield Text(f"{threads} thread(s), 1e9 operations a second: {'; '.join(rates)}")
    for name, install_hint in data["missing"].items():
        yield Text(f"{name} was not measured: it is not installed ({install_hint})", "yellow")
    for note in data["limitations"]:
        yield Text(f"limitation: {note}", "yellow")
    for reason in dict.fromkeys(r for p in data["points"] for r in p["absent"].values()):
        yield Text(f"· {reason}", "dim")
    for p in data["points"]:
        for name, reason in p["refused"].items():
            yield Text(f"{name} was refused at {_point_name(p)}: {reason}", "bold red")
    yield from _ratios_below_1(data)
    if data["unmeasured"]:
        listed = data["unmeasured"]
        yield Text(
            f"no time for {len(listed)} points (--limit), the first being {listed[0]}", "yellow"
        )
    yield Text()


def _machine_notes(data: Data) -> Iterator[RenderableType]:
    machine = data["machine"]
    yield Text("; ".join((f"{machine['processor']}, {machine['cores']} cores", *data["blas"])))
    loads = [machine[k] for k in ("load_before", "load_after")]
    if loads[0] is not None and loads[0] > BUSY_LOAD * machine["cores"]:
        yield Text(
            f"the machine was busy (load {loads[0]:.1f} before, {loads[1]:.1f} after): "
            "repeat this on an idle one",
            "yellow",
        )
    versions = data["versions"]
    yield Text(
        ", ".join(f"{name} {versions[name]}" for name in versions if name != "platform"), "dim"
    )
    if data["interrupted"]:
        yield Text("interrupted: these results are incomplete", "yellow")


def _ratios_below_1(data: Data) -> Iterator[RenderableType]:
    short = [
        (ratio, name, p) for p in data["points"] for name, ratio in p["ratio"].items() if ratio < 1
    ]
    if short:
        yield Text(f"{len(short)} ratios fall short of 1, the lowest first:", "bold red")
    for ratio, name, p in sorted(short, key=lambda s: s[0]):
        yield Text(f"  {ratio:.2f} {name} at {_point_name(p)}")


def _point_name(point: Data) -> str:
    sizes = ",".join(str(point[k]) for k in "TBDH")
    threads = f"{point['threads']} thread{'s' if point['threads'] > 1 else ''}"
    return f"{point['cell']} {point['dtype']} {point['work']} ({sizes}), {threads}"
