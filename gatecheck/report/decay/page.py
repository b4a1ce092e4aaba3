"""Decay reports as a self-contained HTML page, and as Markdown with figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gatecheck.decay.result import DecayResult, Integrity, NetworkRow
from gatecheck.decay.study.advice import advise, compare, describe_training
from gatecheck.report.decay.figures import DrawnFigure
from gatecheck.report.decay.table import (
    LEGEND,
    PAGE_COLUMNS,
    TERMINAL_COLUMNS,
    decay_rows,
    network_notes,
    settings_line,
)
from gatecheck.report.decay.training_drawings import training_name
from gatecheck.report.pages import inline_svg, render_page

CHECK_HEADINGS = {
    "adjoint": "adjoint residual (nats)",
    "gradient": "against the kernel",
    "order": "order of the product",
}
INTEGRITY_LEGEND = (
    "Adjoint: ⟨u, J v⟩ against ⟨Jᵀu, v⟩ over the whole sequence. Against the kernel: a step's "
    "adjoint against the audited backward, derived independently; for a target, its own backward "
    "against differences of its forward. Order: three steps against dense Jacobians multiplied in "
    "the order of time. Volume: the sum of the exponents against the mean ln|det J|. All are zero "
    "up to rounding. Probes: by how much ln G can be low because it was measured from random "
    "cotangents. Index: 0 for an exponential, 1 for a power law."
)


def decay_html(result: DecayResult, drawn_figures: Sequence[DrawnFigure]) -> str:
    """Return a study as one HTML page without scripts or network resources.

    Parameters
    ----------
    result
        Result of the study.
    drawn_figures
        Its figures, from :func:`gatecheck.report.decay.figures.draw_figures`.

    Raises
    ------
    MissingExtraError
        If Jinja is not installed.
    """
    figures = _figure_values(result, drawn_figures)
    for figure, picture in zip(figures, drawn_figures, strict=True):
        figure["svg"] = inline_svg(picture.svg, f"figure-{figure['name']}", figure["alt"])
    return render_page("decay.html", _template_values(result) | {"figures": figures})


def decay_markdown(result: DecayResult, drawn_figures: Sequence[DrawnFigure]) -> str:
    """Return a study in Markdown, with links to its figures.

    They are the files that :func:`gatecheck.report.decay.figures.save_figures` writes. Parameters
    and errors are those of :func:`decay_html`.
    """
    return render_page(
        "decay.md", _template_values(result) | {"figures": _figure_values(result, drawn_figures)}
    )


def _figure_values(
    result: DecayResult, drawn_figures: Sequence[DrawnFigure]
) -> list[dict[str, str]]:
    return [
        {"name": f.name, "title": f.title, "caption": f.caption, "alt": _alt_text(f.title, result)}
        for f, *_ in drawn_figures
    ]


def _alt_text(title: str, result: DecayResult) -> str:
    names = ", ".join(row.name for row in result.rows)
    return f"{title}: {names}. The numbers are in the tables and in the JSON."


def _template_values(result: DecayResult) -> dict[str, Any]:
    lag = result.spec.get("lag")
    advice = [(row.name, advise(row, lag)) for row in result.rows]
    advice += [
        (training_name(training.setting), describe_training(training))
        for training in result.training
    ]
    return {
        "title": result.spec["title"],
        "result": result,
        "settings": settings_line(result),
        "columns": (*TERMINAL_COLUMNS, *PAGE_COLUMNS),
        "rows": decay_rows(result),
        "notes": network_notes(result),
        "legend": LEGEND
        + " K: steps of truncated backpropagation for a gradient that is 10 % or 1 % off.",
        "comparison": compare(result),
        "advice": advice,
        "theory": [
            (row.name, f"{line.rate:.4g} nats per step: {line.assumption}")
            for row in result.rows
            for line in row.theory
        ],
        "integrity": [(row.name, _integrity_cells(row)) for row in result.rows],
        "integrity_columns": (
            *CHECK_HEADINGS.values(),
            "volume residual (nats/step)",
            "probes (nats)",
            "index of decay (95 %)",
        ),
        "integrity_legend": INTEGRITY_LEGEND,
        "facts": _facts(result),
    }


def _integrity_cells(row: NetworkRow) -> list[str]:
    checks: Integrity = row.integrity
    volume = math.nan if row.spectrum is None else row.spectrum.volume_residual
    index = (
        "–"
        if math.isnan(row.kind_index)
        else f"{row.kind_index:.2f} ({row.kind_low:.2f} … {row.kind_high:.2f})"
    )
    return [
        *(_format_number(getattr(checks, name)) for name in CHECK_HEADINGS),
        _format_number(volume),
        f"{row.probe_offset:.3f}",
        index,
    ]


def _format_number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1e}"


def _facts(result: DecayResult) -> list[tuple[str, str]]:
    spec = result.spec
    return [
        ("dtype", "float64 throughout; trained in float32"),
        ("seed", str(spec["seed"])),
        ("versions", ", ".join(f"{name} {version}" for name, version in result.versions.items())),
        ("units", "rates in nats per step, lags and time constants in steps"),
    ]
