"""Figures of measured networks in a decay report.

Each function draws one into an empty figure.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from gatecheck.decay.result import DecayResult, NetworkRow
from gatecheck.report.decay.style import (
    LINE_STYLES,
    MAX_PANELS,
    add_legend,
    marker_places,
    row_style,
    rows_with,
    to_decades,
)
from gatecheck.report.figures import COLORS

LOG10_FLOAT32_ZERO = -150 * math.log10(2)
"""log10 of half the smallest float32."""

LEVELS = ((1 / 2, "1/2"), (1 / math.e, "1/e"), (1e-3, "1/1000"))


def draw_lags(figure: Any, result: DecayResult) -> None:
    """Draw gradients against lag, and their local slopes.

    Above, the first decades with theory and the whole range of float32; below, the local rate and
    power, of which one is flat.
    """
    (near, far), (rates, powers) = figure.subplots(2, 2)
    for axes, floor in ((near, -4.0), (far, -48.0)):
        axes.set_xscale("log")
        highest = 0.3
        for k, row in enumerate(result.rows):
            _draw_curve(axes, row, k, floor)
            highest = max(highest, float(np.max(to_decades(row.curve.high))) + 0.1)
        axes.set_ylim(floor, highest)
        _format_lag_axis(axes, result)
    for level, name in LEVELS:
        near.axhline(math.log10(level), color="0.4", linewidth=0.7, linestyle=(0, (1, 2)))
        near.annotate(
            name,
            (1.01, math.log10(level)),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=8,
            color="0.3",
        )
    far.axhline(LOG10_FLOAT32_ZERO, color="0.2", linewidth=1)
    far.annotate(
        "below this line a float32 gradient is zero",
        (1.15, LOG10_FLOAT32_ZERO + 0.6),
        fontsize=8,
        color="0.2",
    )
    near.set_ylabel(r"$\log_{10}\ G$: gradient relative to lag 1 (decades)")
    near.set_title("The first decades; thin lines are theory", fontsize=9, loc="left")
    far.set_title("Down to the end of float32", fontsize=9, loc="left")
    for k, row in enumerate(result.rows):
        _draw_slopes(rates, powers, row, k)
    for axes, name, title in (
        (rates, r"$-d\ln G\,/\,dk$ (nats per step)", "Local rate: flat where decay is exponential"),
        (powers, r"$-d\ln G\,/\,d\ln k$", "Local power: flat where decay is a power law"),
    ):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_ylabel(name)
        axes.set_title(title, fontsize=9, loc="left")
        _format_lag_axis(axes, result)
    add_legend(figure, near, 4)


def _draw_curve(axes: Any, row: NetworkRow, k: int, floor: float) -> None:
    lags, median = np.array(row.lags), to_decades(row.curve.median)
    for line in row.theory:
        axes.plot(
            lags, to_decades(line.log_size), color=COLORS[k % len(COLORS)], linewidth=0.7, zorder=1
        )
    low, high = (np.maximum(to_decades(q), floor - 1) for q in (row.curve.low, row.curve.high))
    axes.fill_between(lags, low, high, color=COLORS[k % len(COLORS)], alpha=0.18, linewidth=0)
    visible = np.flatnonzero(median > floor)
    axes.plot(
        lags, median, label=row.name, markevery=marker_places(visible.size, k), **row_style(k)
    )


def _draw_slopes(rates: Any, powers: Any, row: NetworkRow, k: int) -> None:
    lags, median = np.array(row.lags, dtype=float), np.array(row.curve.median)
    # A few points per octave, so that noise of single steps does not hide the slope.
    index = np.unique(
        np.searchsorted(
            lags, np.geomspace(1, lags[-1], max(8, int(4 * math.log2(lags[-1])) or 8))
        ).clip(0, lags.size - 1)
    )
    lags, median = lags[index], median[index]
    with np.errstate(invalid="ignore", divide="ignore"):
        decrease = -np.diff(median)
        rate, power = decrease / np.diff(lags), decrease / np.diff(np.log(lags))
    middle = np.sqrt(lags[1:] * lags[:-1])
    for axes, value in ((rates, rate), (powers, power)):
        valid = np.isfinite(value) & (value > 0)
        axes.plot(
            middle[valid], value[valid], markevery=max(1, int(valid.sum()) // 5), **row_style(k)
        )


def _format_lag_axis(axes: Any, result: DecayResult) -> None:
    axes.set_xlim(1, max(row.lags[-1] for row in result.rows))
    axes.set_xlabel("lag (steps)")
    axes.grid(alpha=0.25, linewidth=0.6)


def _grid(figure: Any, count: int, columns: int = 3) -> Iterator[Any]:
    rows = math.ceil(count / columns)
    axes = np.atleast_1d(
        figure.subplots(rows, min(columns, count), sharex=True, sharey=True, squeeze=False)
    ).ravel()
    for extra in axes[count:]:
        extra.set_axis_off()
    yield from axes[:count]


PATHS = ("total", "keep", "candidate", "gates")
PATH_NAMES = {
    "total": "all paths",
    "keep": "kept state only",
    "candidate": "kept state and candidate (gates held)",
    "gates": "kept state and gates (candidate cut)",
}


def draw_paths(figure: Any, result: DecayResult) -> None:
    """Draw the gradient that remains when only one path is open."""
    chosen = rows_with(result, "paths")[:MAX_PANELS]
    for axes, (_, row) in zip(_grid(figure, len(chosen)), chosen, strict=True):
        axes.set_xscale("log")
        for j, path in enumerate(p for p in PATHS if p in row.paths):
            size = to_decades(row.paths[path])
            n_visible = np.flatnonzero(size > -9).size
            axes.plot(
                row.lags,
                size,
                label=PATH_NAMES[path],
                markevery=marker_places(n_visible, j),
                **row_style(j),
            )
        axes.set_ylim(-8, 1)
        axes.set_title(row.name, fontsize=9, loc="left")
        _format_lag_axis(axes, result)
        axes.set_ylabel(r"$\log_{10}$ size (decades)")
    add_legend(figure, _axes_with_most_labels(figure), 2)


def _axes_with_most_labels(figure: Any) -> Any:
    return max(figure.axes, key=lambda axes: len(axes.get_legend_handles_labels()[1]))


def draw_gates(figure: Any, result: DecayResult) -> None:
    """Draw histograms of gate values and the time constants of units."""
    chosen = rows_with(result, "gates")[:MAX_PANELS]
    panels = figure.subplots(-(-len(chosen) // 2), 4, squeeze=False).reshape(-1, 2)
    for extra in panels[len(chosen) :].ravel():
        extra.set_axis_off()
    for (values, constants), (k, row) in zip(panels, chosen, strict=False):
        for j, (name, gate) in enumerate(row.gates.items()):
            edges = np.linspace(0, 1, len(gate.histogram) + 1)
            label = f"{name}: {gate.shut:.0%} shut, {gate.open:.0%} open"
            values.stairs(
                gate.histogram,
                edges,
                label=label,
                color=COLORS[j],
                linestyle=LINE_STYLES[j],
                linewidth=1.6,
            )
        values.set_xlim(0, 1)
        values.set_ylim(0, 1.7 * max(max(gate.histogram) for gate in row.gates.values()))
        values.set_ylabel("share of values")
        values.set_xlabel("value of the gate")
        values.set_title(f"{row.name}: gates", fontsize=8, loc="left")
        values.legend(frameon=False, fontsize=7, loc="upper left", handlelength=1.5)
        order = (np.arange(len(row.time_constants)) + 0.5) / max(1, len(row.time_constants))
        constants.plot(row.time_constants, order, **row_style(k) | {"marker": None})
        constants.set_xscale("log")
        constants.xaxis.set_minor_formatter("")
        constants.set_xlim(min(0.8, *row.time_constants), max(100.0, *row.time_constants))
        constants.set_ylim(0, 1)
        constants.set_ylabel("share of units below")
        constants.set_xlabel("time constant (steps)")
        constants.grid(alpha=0.25, linewidth=0.6)


def draw_spectrum(figure: Any, result: DecayResult) -> None:
    """Draw the Lyapunov spectrum of each network."""
    axes = figure.subplots()
    for k, row in rows_with(result, "spectrum"):
        if row.spectrum is not None:
            exponents = np.array(row.spectrum.exponents)
            valid = np.isfinite(exponents)
            place = (np.arange(exponents.size) + 0.5) / exponents.size
            spread = 1.96 * np.nan_to_num(np.array(row.spectrum.errors))
            axes.plot(
                place[valid],
                exponents[valid],
                label=row.name,
                markevery=marker_places(int(valid.sum()), k),
                **row_style(k),
            )
            low, high = (exponents - spread)[valid], (exponents + spread)[valid]
            axes.fill_between(
                place[valid], low, high, color=COLORS[k % len(COLORS)], alpha=0.2, linewidth=0
            )
    axes.axhline(0, color="0.2", linewidth=0.8)
    axes.set_xlabel("index of the exponent / size of the state")
    axes.set_ylabel("Lyapunov exponent (nats per step)")
    axes.grid(alpha=0.25, linewidth=0.6)
    add_legend(figure, axes)


def draw_inputs(figure: Any, result: DecayResult) -> None:
    """Draw the dependence of the last state on each input."""
    axes = figure.subplots()
    axes.set_xscale("log")
    for k, row in rows_with(result, "input_curve"):
        if row.input_curve is not None:
            size = to_decades(row.input_curve.median)
            low, high = to_decades(row.input_curve.low), to_decades(row.input_curve.high)
            axes.fill_between(
                row.lags, low, high, color=COLORS[k % len(COLORS)], alpha=0.18, linewidth=0
            )
            axes.plot(
                row.lags,
                size,
                label=row.name,
                markevery=marker_places(np.flatnonzero(size > -8).size, k),
                **row_style(k),
            )
    axes.set_ylim(-8, 1)
    axes.set_ylabel(
        r"$\log_{10}\ \|\partial\ell/\partial x\|$ relative to the last input (decades)"
    )
    _format_lag_axis(axes, result)
    axes.set_xlabel("steps before the last, plus one")
    add_legend(figure, axes)


def draw_truncation(figure: Any, result: DecayResult) -> None:
    """Draw the error of the parameter gradient when truncated after K steps."""
    axes = figure.subplots()
    axes.set_xscale("log")
    axes.set_yscale("log")
    for k, row in rows_with(result, "truncation"):
        if row.truncation is not None:
            bias = np.array(row.truncation.bias.median)
            n_visible = np.flatnonzero(bias > 1e-4).size
            axes.plot(
                row.truncation.K,
                bias,
                label=row.name,
                markevery=marker_places(n_visible, k),
                **row_style(k),
            )
            if row.truncation.bound:
                axes.plot(
                    row.truncation.K,
                    row.truncation.bound,
                    color=COLORS[k % len(COLORS)],
                    linewidth=0.7,
                )
    for level, name in ((0.1, "10 %"), (0.01, "1 %")):
        axes.axhline(level, color="0.4", linewidth=0.8, linestyle=(0, (1, 2)))
        axes.annotate(
            name,
            (1.01, level),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=8,
            color="0.3",
        )
    axes.set_ylim(1e-4, 2)
    axes.set_xlabel("K: steps carried back")
    axes.set_ylabel(r"$\|g_K - g\|\ /\ \|g\|$")
    axes.grid(alpha=0.25, linewidth=0.6)
    add_legend(figure, axes)


def draw_convergence(figure: Any, result: DecayResult) -> None:
    """Draw the rate measured from the first steps alone."""
    axes = figure.subplots()
    axes.set_xscale("log")
    for k, row in enumerate(result.rows):
        steps = np.array(row.convergence.steps)
        rate = np.array(row.convergence.rate)
        valid = np.isfinite(rate)
        low, high = np.array(row.convergence.low), np.array(row.convergence.high)
        axes.fill_between(
            steps[valid],
            low[valid],
            high[valid],
            color=COLORS[k % len(COLORS)],
            alpha=0.18,
            linewidth=0,
        )
        axes.plot(steps[valid], rate[valid], label=row.name, **row_style(k))
    axes.set_xlabel("steps measured")
    axes.set_ylabel(r"$\lambda_1$ and its 95 % interval (nats per step)")
    axes.grid(alpha=0.25, linewidth=0.6)
    add_legend(figure, axes)
