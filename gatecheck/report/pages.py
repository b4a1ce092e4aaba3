"""Self-contained pages: one file, no network, no scripts, external text escaped."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

from gatecheck.errors import LAYOUT, MissingExtraError, printable


def require_report_extra() -> None:
    """Check that the packages for pages are installed, before the work starts.

    Raises
    ------
    MissingExtraError
        If Jinja or matplotlib is not installed.
    """
    if missing := [
        name
        for name, package in {"Jinja": "jinja2", "matplotlib": "matplotlib"}.items()
        if find_spec(package) is None
    ]:
        raise MissingExtraError(
            f'pages need {" and ".join(missing)}: pip install "gatecheck[report]"'
        )


def render_page(
    template: str,
    values: Mapping[str, Any],
    filters: Mapping[str, Callable[[Any], str]] | None = None,
) -> str:
    """Render a template of ``gatecheck/report/templates``.

    Parameters
    ----------
    template
        File name. Values are escaped in an ``.html`` template.
    values
        Values of the template's variables; a missing one is an error.
    filters
        Additional Jinja filters.

    Raises
    ------
    MissingExtraError
        If Jinja is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise MissingExtraError('pages need Jinja: pip install "gatecheck[report]"') from error
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("gatecheck.report"),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(filters or {})
    return printable(environment.get_template(template).render(values), LAYOUT)


def figure_to_svg(figure: Any) -> str:
    """Return a matplotlib figure as reproducible SVG text.

    It depends only on the drawing and the version of matplotlib.
    """
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue()


def inline_svg(svg_text: str, name: str, description: str) -> str:
    """Return SVG text as an ``<svg>`` element with a description for screen readers.

    Parameters
    ----------
    svg_text
        Text from :func:`figure_to_svg`.
    name
        Name unique in the page, and the prefix of all ids in the figure, which are otherwise the
        same in all figures of a page.
    description
        Text that describes the image.
    """
    from markupsafe import Markup, escape

    svg_text = svg_text[svg_text.index("<svg") :]
    svg_text = re.sub(r"<metadata>.*?</metadata>", "", svg_text, flags=re.DOTALL)
    svg_text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg_text)
    svg_text = re.sub(r' (?:width|height)="[\d.]+pt"', "", svg_text, count=2)
    open_tag = f'<svg role="img" aria-labelledby="{name}-title"'
    title = f'><title id="{name}-title">{escape(description)}</title>'
    svg: str = Markup(svg_text.replace("<svg", open_tag, 1).replace(">", title, 1))
    return svg
