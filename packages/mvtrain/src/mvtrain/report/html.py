"""The page and its parts, rendered from the templates in `templates/`: texts are escaped, Markup is inserted as is."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from mvtrain.evaluation.error_tables import ALL

_JPEG_QUALITY = 82
_TEMPLATES = Environment(
    loader=PackageLoader("mvtrain.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page.

    Attributes:
        anchor: Id of the section, for links.
        title: Title as text.
        how_to_read: Text under the title.
        body_html: Rendered content.
    """

    anchor: str
    title: str
    how_to_read: str
    body_html: Markup


@dataclass(frozen=True, kw_only=True)
class Card:
    """One value, shown large.

    Attributes:
        anchor: Id of the card.
        title: Text above the value.
        value: The value with its unit.
        detail: Text below the value.
    """

    anchor: str
    title: str
    value: str
    detail: str


def page_html(title: str, overview: Markup, sections: Sequence[Section], *, version: str, date: str) -> Markup:
    """Render the whole page, which loads nothing from anywhere.

    Args:
        title: Title of the window.
        overview: Rendered head of the page, from `overview_html`.
        sections: Sections in their order.
        version: Version of mvtrain.
        date: Date of the report.
    """
    return _render(
        "page",
        title=title,
        overview=overview,
        sections=sections,
        plotly=Markup(get_plotlyjs()),
        version=version,
        date=date,
    )


def head_html(title: str, cards: Sequence[Card], facts: Mapping[str, str]) -> Markup:
    """Render the head of the page.

    Args:
        title: Name of the run.
        cards: Cards in their order.
        facts: Names of facts with their texts.
    """
    return _render("overview", title=title, cards=cards, facts=facts)


def join_parts(parts: Iterable[Markup]) -> Markup:
    """Join parts of a section."""
    return Markup("\n").join(parts)


def heading(text: str, kind: str = "") -> Markup:
    """Render a title within a section; `kind` is a class of the style sheet."""
    return _render("heading", text=text, kind=kind)


def paragraph(text: str, kind: str = "") -> Markup:
    """Render a paragraph; `kind` is a class of the style sheet, such as `note` or `caption`."""
    return _render("message", text=text, kind=kind)


def table(anchor: str, head: Sequence[str], rows: Iterable[Sequence[str]], *, num_text_columns: int = 1) -> Markup:
    """Render a table that scrolls within itself where the window is too narrow.

    Args:
        anchor: Id of the table.
        head: Titles of the columns.
        rows: Cells of each row. Rows named `all` stand out.
        num_text_columns: Number of columns from the left that hold names; the others hold values, at the right.
    """
    return _render("table", anchor=anchor, head=head, rows=list(rows), num_text_columns=num_text_columns, total=ALL)


def grid(parts: Iterable[Markup], kind: str = "grid") -> Markup:
    """Render parts side by side as far as there is room; `kind` is a class of the style sheet."""
    return _render("grid", parts=list(parts), kind=kind)


def plot(content: Markup) -> Markup:
    """Render a figure of plotly from plotly's own HTML."""
    return _render("figure", content=content)


def jpeg(image: np.ndarray, caption: str) -> Markup:
    """Render an image inside the page, with a caption.

    Args:
        image: (h, w, 3) uint8 RGB.
        caption: Text below the image.
    """
    parameters = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), parameters)[1]
    content = base64.b64encode(encoded.tobytes()).decode("ascii")
    height, width = image.shape[:2]
    return _render("image", content=content, width=width, height=height, caption=caption)


def legend(entries: Iterable[tuple[str, tuple[int, int, int]]]) -> Markup:
    """Render numbered names with their RGB colors."""
    return _render("legend", entries=list(entries))


def folded_text(title: str, text: str) -> Markup:
    """Render a text with line breaks that is shown on demand."""
    return _render("folded_text", title=title, text=text)


def number(value: float, digits: int = 2) -> str:
    """Format a value with fixed digits; a dash where there is none."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "\u2013"


def significant(value: float) -> str:
    """Format a value of an unknown unit with four significant digits; a dash where there is none."""
    return f"{value:.4g}" if math.isfinite(value) else "\u2013"


def sentence(phrase: str) -> str:
    """Format a phrase with a capital letter and a period."""
    return phrase[:1].upper() + phrase[1:] + "."


def _render(template: str, **values: object) -> Markup:
    return Markup(_TEMPLATES.get_template(f"{template}.html.j2").render(values))
