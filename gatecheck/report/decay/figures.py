"""Figures of a decay report: their order, captions and files."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gatecheck._util.atomic_write import write_bytes, write_text
from gatecheck._util.typing import Progress
from gatecheck.decay.result import DecayResult
from gatecheck.report.decay import drawings as draw
from gatecheck.report.decay import style, training_drawings
from gatecheck.report.figures import RC_STYLE, figure_context
from gatecheck.report.pages import figure_to_svg


class FigureSpec(NamedTuple):
    """Figure of a report.

    Attributes
    ----------
    name
        Name of its files, and its anchor in a page.
    title, caption
        Heading and caption.
    panels
        Height in rows of panels; 0 if there is nothing to draw.
    draw
        Function that draws it into an empty figure.
    """

    name: str
    title: str
    caption: str
    panels: Callable[[DecayResult], float]
    draw: Callable[[Any, DecayResult], None]


def _panel_rows(attribute: str) -> Callable[[DecayResult], int]:
    return lambda result: -(-min(style.MAX_PANELS, len(style.rows_with(result, attribute))) // 3)


def _fixed_height(attribute: str) -> Callable[[DecayResult], int]:
    return lambda result: 2 if style.rows_with(result, attribute) else 0


REPORT_FIGURES = (
    FigureSpec(
        "decay",
        "How far back a gradient reaches",
        "Lines are medians over networks and inputs, bands the 10 % to 90 % quantiles, thin lines "
        "of the same color theory. Below, the slope that is flat shows the kind of decay.",
        lambda result: 4,
        draw.draw_lags,
    ),
    FigureSpec(
        "paths",
        "Paths of the gradient",
        "The gradient when everything but one path is cut: the kept state (an LSTM's cell state, a "
        "GRU's copy), the kept state with the candidate, the kept state with the derivatives of "
        "the gates. Where the first falls far below the whole, the kept state does not carry the "
        "gradient.",
        _panel_rows("paths"),
        draw.draw_paths,
    ),
    FigureSpec(
        "gates",
        "Gates and the memory of units",
        "Distribution of the values of each gate: shut is below 0.1, open above 0.9, where a gate "
        "hardly learns. And the time constant of each unit: the number of steps that its keeping "
        "gate lets it remember.",
        lambda result: -(-min(style.MAX_PANELS, len(style.rows_with(result, "gates"))) // 2),
        draw.draw_gates,
    ),
    FigureSpec(
        "spectrum",
        "Lyapunov spectrum",
        "Growth rates of a perturbation of the state in all directions, with 95 % bands. Above "
        "zero errors grow; far below zero a direction is forgotten at once. The largest is the "
        "rate of the headline table.",
        _fixed_height("spectrum"),
        draw.draw_spectrum,
    ),
    FigureSpec(
        "inputs",
        "Influence of each input",
        "The gradient with respect to the inputs, relative to that of the last one.",
        _fixed_height("input_curve"),
        draw.draw_inputs,
    ),
    FigureSpec(
        "truncation",
        "Error of truncation",
        "The relative error of the gradient of all parameters when it is carried back only K "
        "steps; thin lines follow from λ₁ alone.",
        _fixed_height("truncation"),
        draw.draw_truncation,
    ),
    FigureSpec(
        "training",
        "Trained against untrained",
        "Left: the loss, with the best loss of a predictor without memory. Right: the reach of "
        "gradients on the task's own inputs, before and after.",
        lambda result: 1.15 * min(style.MAX_PANELS, len(result.training)),
        training_drawings.draw_training,
    ),
    FigureSpec(
        "sentences",
        "Gates over a sentence",
        "The unit whose state best predicts, at the verb, whether the subject is singular or "
        "plural: its gates and its state, word by word.",
        lambda result: 1.5 * min(4, sum(t.sentence is not None for t in result.training)),
        training_drawings.draw_sentences,
    ),
    FigureSpec(
        "convergence",
        "Convergence of the rate",
        "λ₁ from the first steps alone, with its 95 % interval. If enough steps were measured, it "
        "is flat at the right end.",
        lambda result: 2,
        draw.draw_convergence,
    ),
)


class DrawnFigure(NamedTuple):
    """Drawn figure, as SVG text and as PNG."""

    figure: FigureSpec
    svg: str
    png: bytes


def draw_figures(result: DecayResult, progress: Progress | None = None) -> list[DrawnFigure]:
    """Draw every figure that has something to show.

    They depend only on the result and the version of matplotlib.

    Parameters
    ----------
    result
        Result to draw.
    progress
        Called with the number of figures drawn, their total, and a message.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    out = []
    chosen = [figure for figure in REPORT_FIGURES if figure.panels(result)]
    for k, figure in enumerate(chosen):
        if progress is not None:
            progress(k, len(chosen), f"drawing {figure.name}")
        with figure_context(
            10, 1.0 + 2.1 * figure.panels(result), RC_STYLE | {"figure.dpi": 120}
        ) as canvas:
            figure.draw(canvas, result)
            # Once for both formats, as the layout takes as long as the drawing.
            canvas.draw_without_rendering()
            canvas.set_layout_engine(None)
            png = io.BytesIO()
            canvas.savefig(png, format="png", metadata={"Software": None})
            out.append(DrawnFigure(figure, figure_to_svg(canvas), png.getvalue()))
    return out


def save_figures(figures: Sequence[DrawnFigure], folder: Path) -> list[Path]:
    """Write figures as PNG and SVG to an existing folder; return the files."""
    paths = []
    for picture in figures:
        paths += [folder / f"{picture.figure.name}.png", folder / f"{picture.figure.name}.svg"]
        write_bytes(paths[-2], picture.png)
        write_text(paths[-1], picture.svg)
    return paths
