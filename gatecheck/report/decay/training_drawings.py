"""Figures of trainings in a decay report.

Each function draws one into an empty figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gatecheck.decay.result import DecayResult
from gatecheck.report.decay.style import (
    MAX_PANELS,
    marker_places,
    row_style,
    to_decades,
)
from gatecheck.report.figures import COLORS


def draw_training(figure: Any, result: DecayResult) -> None:
    """Draw the loss of each training, and the reach of gradients before and after."""
    chosen = result.training[:MAX_PANELS]
    panels = figure.subplots(len(chosen), 2, squeeze=False)
    for (losses, reach), training in zip(panels, chosen, strict=True):
        losses.fill_between(
            training.updates,
            training.loss.low,
            training.loss.high,
            color=COLORS[0],
            alpha=0.2,
            linewidth=0,
        )
        losses.plot(
            training.updates, training.loss.median, color=COLORS[0], linewidth=1.6, label="loss"
        )
        losses.axhline(
            training.baseline, color="0.2", linewidth=1, linestyle="--", label="best without memory"
        )
        losses.set_yscale("log")
        losses.set_ylabel("loss")
        losses.set_title(training_name(training.setting), fontsize=9, loc="left")
        losses.legend(frameon=False, fontsize=7.5)
        reach.set_xscale("log")
        for j, (label, curve) in enumerate(
            (("untrained", training.before), ("trained", training.after))
        ):
            low, high = (np.maximum(to_decades(q), -9) for q in (curve.low, curve.high))
            reach.fill_between(training.lags, low, high, color=COLORS[j], alpha=0.18, linewidth=0)
            n_visible = np.flatnonzero(to_decades(curve.median) > -6).size
            reach.plot(
                training.lags,
                to_decades(curve.median),
                label=label,
                markevery=marker_places(n_visible, j),
                **row_style(j),
            )
        reach.axvline(
            training.needed,
            color="0.2",
            linewidth=1,
            linestyle=":",
            label=f"the task's lag, {training.needed}",
        )
        lowest = min(
            float(np.min(to_decades(curve.low))) for curve in (training.before, training.after)
        )
        reach.set_ylim(
            max(-6.0, min(-1.0, lowest - 0.2)),
            max(0.5, float(np.max(to_decades(training.after.high))) + 0.2),
        )
        reach.set_ylabel(r"$\log_{10}\ G$ (decades)")
        reach.set_title("gradient against lag, on the task's inputs", fontsize=9, loc="left")
        reach.legend(frameon=False, fontsize=7.5)
        reach.grid(alpha=0.25, linewidth=0.6)
    panels[-1][0].set_xlabel("updates")
    panels[-1][1].set_xlabel("lag (steps)")


def training_name(setting: dict[str, Any]) -> str:
    """Return the name of a training."""
    return (
        f"{setting['cell']} {setting['init']} on {setting['task']}, "
        f"lag {setting['lag']}, H = {setting['hidden']}"
    )


def draw_sentences(figure: Any, result: DecayResult) -> None:
    """Draw the gates of the unit that remembers, word by word."""
    chosen: Sequence[Any] = [t for t in result.training if t.sentence is not None][:4]
    panels = figure.subplots(len(chosen), 1, squeeze=False)
    for (axes,), training in zip(panels, chosen, strict=True):
        words = training.sentence.words
        state = np.array(training.sentence.state)
        lines = [
            *training.sentence.gates.items(),
            ("state, scaled", state / max(float(np.max(np.abs(state))), 1e-300)),
        ]
        for j, (name, values) in enumerate(lines):
            axes.plot(range(len(words)), values, label=name, **row_style(j))
        axes.set_xticks(range(len(words)), words, rotation=40, ha="right", fontsize=8)
        axes.set_ylim(-1.05, 1.05)
        axes.set_ylabel("value")
        axes.set_title(
            f"{training_name(training.setting)}: unit {training.sentence.unit}",
            fontsize=9,
            loc="left",
        )
        axes.legend(frameon=False, fontsize=8, ncols=5, loc="lower left")
        axes.grid(alpha=0.25, linewidth=0.6)
