"""Which pictures a decay report has, in which order, what each says, and how they are written."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gatecheck._util.atomic_write import write_bytes, write_text
from gatecheck.decay.result import DecayResult
from gatecheck.report.decay import drawings as draw
from gatecheck.report.figures import STYLE, drawing
from gatecheck.report.pages import svg_of


class Figure(NamedTuple):
    """One picture of a report.

    Attributes
    ----------
    name
        Of its files, and of its place in a page.
    title, says
        Its heading, and what it shows and how to read it.
    panels
        How many rows of panels it has room for; 0 if there is nothing to draw.
    draw
        Draws it into an empty figure.
    """

    name: str
    title: str
    says: str
    panels: Callable[[DecayResult], float]
    draw: Callable[[Any, DecayResult], None]


def _thirds(attribute: str) -> Callable[[DecayResult], int]:
    return lambda result: -(-min(draw.PANELS, len(draw.rows_with(result, attribute))) // 3)


def _any(attribute: str) -> Callable[[DecayResult], int]:
    return lambda result: 2 if draw.rows_with(result, attribute) else 0


FIGURES = (
    Figure(
        "decay",
        "How far back a gradient reaches",
        "Lines are medians over networks and inputs, bands the 10 % to 90 % quantiles, thin lines of the same colour theory. Below: "
        "which of the two slopes is flat tells the kind of decay.",
        lambda result: 4,
        draw.draw_lags,
    ),
    Figure(
        "paths",
        "Which path carries it",
        "The gradient when everything but one path is cut: the state that is kept (an LSTM's cell state, a GRU's copy), the kept state "
        "with the candidate, the kept state with the derivatives of the gates. Where the first falls far below the whole, it is not "
        "the kept state that carries the gradient.",
        _thirds("paths"),
        draw.draw_paths,
    ),
    Figure(
        "gates",
        "Gates and the memory of units",
        "How often a gate has which value: shut is below 0.1, open above 0.9, where a gate hardly learns. And the time constant of "
        "each unit, which is how many steps its keeping gate lets it remember.",
        lambda result: -(-min(draw.PANELS, len(draw.rows_with(result, "gates"))) // 2),
        draw.draw_gates,
    ),
    Figure(
        "spectrum",
        "Lyapunov spectrum",
        "Growth rates of a perturbation of the state in all directions, with 95 % bands. Above zero errors grow; far below zero a "
        "direction is forgotten at once. The largest is the rate of the headline table.",
        _any("spectrum"),
        draw.draw_spectrum,
    ),
    Figure(
        "inputs",
        "What each input still does",
        "The gradient with respect to the inputs, relative to that of the last one.",
        _any("input_curve"),
        draw.draw_inputs,
    ),
    Figure(
        "truncation",
        "What truncation leaves out",
        "The relative error of the gradient of all parameters when it is carried back K steps only; thin lines are what follows from "
        "λ₁ alone.",
        _any("truncation"),
        draw.draw_truncation,
    ),
    Figure(
        "training",
        "Trained against untrained",
        "Left: the loss, with the best that a predictor without memory reaches. Right: how far gradients reach on the task's own inputs, "
        "before and after.",
        lambda result: 1.15 * min(draw.PANELS, len(result.training)),
        draw.draw_training,
    ),
    Figure(
        "sentences",
        "Gates over a sentence",
        "The unit whose state tells best, at the verb, whether the subject was one or many: its gates and its state, word by word.",
        lambda result: 1.5 * min(4, sum(t.sentence is not None for t in result.training)),
        draw.draw_sentences,
    ),
    Figure(
        "convergence",
        "Was it measured long enough?",
        "λ₁ from the first steps alone, with its 95 % interval. It should be flat at the right end.",
        lambda result: 2,
        draw.draw_convergence,
    ),
)


class Picture(NamedTuple):
    """A picture that was drawn: which, as SVG text and as PNG."""

    figure: Figure
    svg: str
    png: bytes


def pictures(
    result: DecayResult, progress: Callable[[int, int, str], None] | None = None
) -> list[Picture]:
    """Draw every picture that has something to show. They depend on the result and the version of
    matplotlib alone.

    Parameters
    ----------
    result
        What to draw.
    progress
        Called with pictures drawn, pictures to draw, and the name of one.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    out = []
    chosen = [figure for figure in FIGURES if figure.panels(result)]
    for k, figure in enumerate(chosen):
        if progress is not None:
            progress(k, len(chosen), f"drawing {figure.name}")
        with drawing(10, 1.0 + 2.1 * figure.panels(result), STYLE | {"figure.dpi": 120}) as canvas:
            figure.draw(canvas, result)
            # Once for both formats; to find its layout takes as long as to draw it.
            canvas.draw_without_rendering()
            canvas.set_layout_engine(None)
            png = io.BytesIO()
            canvas.savefig(png, format="png", metadata={"Software": None})
            out.append(Picture(figure, svg_of(canvas), png.getvalue()))
    return out


def save_pictures(drawn: Sequence[Picture], folder: Path) -> list[Path]:
    """Write pictures as PNG and SVG into a folder, which is there; the files written."""
    paths = []
    for picture in drawn:
        paths += [folder / f"{picture.figure.name}.png", folder / f"{picture.figure.name}.svg"]
        write_bytes(paths[-2], picture.png)
        write_text(paths[-1], picture.svg)
    return paths
