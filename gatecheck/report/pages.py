"""Pages that stand alone: one file, no network, no script, every string from outside escaped."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

from gatecheck.errors import MissingExtraError


def ready() -> None:
    """See that what pages need is installed, before the work that they are to show is done.

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


def page(
    template: str,
    values: Mapping[str, Any],
    filters: Mapping[str, Callable[[Any], str]] | None = None,
) -> str:
    """A page from a template in ``gatecheck/report/templates``.

    Parameters
    ----------
    template
        Its file name. One that ends in ``.html`` escapes what it is given.
    values
        What it is filled with; to name one that is missing is an error.
    filters
        Functions that the template may use behind a ``|``.

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
    # A lone surrogate, as of a file name that is no UTF-8, cannot be written to a file.
    text: str = (
        environment.get_template(template)
        .render(values)
        .encode("utf-8", "backslashreplace")
        .decode()
    )
    return text


def svg_of(figure: Any) -> str:
    """A matplotlib figure as SVG text that depends on nothing but what is drawn and the version of
    matplotlib.
    """
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue()


def inline_svg(drawn: str, name: str, description: str) -> str:
    """SVG text as an ``<svg>`` for a page, which a screen reader reads as an image with that
    description.

    Parameters
    ----------
    drawn
        From :func:`svg_of`.
    name
        Unique in the page: ids within the picture begin with it, since all pictures of a page share
        theirs.
    description
        What is to be seen.
    """
    from markupsafe import Markup, escape

    drawn = drawn[drawn.index("<svg") :]
    drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn, flags=re.DOTALL)
    drawn = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", drawn)
    drawn = re.sub(r' (?:width|height)="[\d.]+pt"', "", drawn, count=2)
    opening = f'<svg role="img" aria-labelledby="{name}-title"'
    named = f'><title id="{name}-title">{escape(description)}</title>'
    svg: str = Markup(drawn.replace("<svg", opening, 1).replace(">", named, 1))
    return svg
