"""The page, rendered from `templates/`: texts are escaped, Markup and Plotly figures are inserted as they are."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.colors import qualitative
from plotly.offline import get_plotlyjs

from mvtrain.evaluation.error_tables import ALL
from mvtrain.project.held_out import HELD_OUT_SPLITS

_JPEG_QUALITY = 82
_TEMPLATES = Environment(
    loader=PackageLoader("mvtrain.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)

INK = "#1f2933"
FAINT = "#7b8794"
GRID = "#e4e7eb"
PREDICTED = "#1f6feb"
KNOWN = "#d9730d"

SET_COLORS = {
    "train": "#9aa5b1",
    "validation": "#d9730d",
    "test": "#1f6feb",
    "unused": "#57a773",
    **dict(zip(HELD_OUT_SPLITS, ("#c0392b", "#8e44ad"), strict=True)),
}
"""Colors of the splits, the same in every figure."""

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_AXIS: dict[str, Any] = {
    "gridcolor": GRID,
    "linecolor": GRID,
    "zeroline": False,
    "automargin": True,
    "title": {"standoff": 8, "font": {"size": 13}},
}
_CONFIG = {
    "responsive": True,
    "displaylogo": False,
    "modeBarButtonsToRemove": ["lasso2d", "select2d", "autoScale2d"],
}
_TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": _FONT, "size": 13, "color": INK},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "colorway": qualitative.D3,
        "margin": {"l": 50, "r": 16, "t": 40, "b": 44},
        "hovermode": "closest",
        "modebar": {"bgcolor": "rgba(255,255,255,0.8)", "color": FAINT, "activecolor": INK},
        "legend": {"orientation": "h", "yanchor": "top", "y": -0.2, "x": 0},
        "title": {"x": 0, "y": 1, "yanchor": "top", "font": {"size": 14}, "pad": {"l": 4, "t": 10}},
        "xaxis": _AXIS,
        "yaxis": _AXIS,
    }
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


def figure(title: str, **layout: Any) -> go.Figure:
    """Create an empty figure in the style of the report; `layout` is plotly's."""
    return go.Figure(layout={"template": _TEMPLATE, "title": {"text": title}, **layout})


def plain(text: object) -> str:
    """Escape a user's text for a figure, because plotly reads texts as a kind of HTML."""
    return html.escape(str(text), quote=False)


def color(position: int) -> str:
    """Return the color of the view, session or curve at a position."""
    palette = qualitative.D3
    return str(palette[position % len(palette)])


def figure_html(drawn: go.Figure, anchor: str, height: int) -> Markup:
    """Render a figure for a page that has plotly's script, as wide as there is room.

    Args:
        drawn: Figure to render.
        anchor: Id of the figure without its prefix `plot-`.
        height: Height in CSS px.
    """
    content = drawn.to_html(
        full_html=False,
        include_plotlyjs=False,
        include_mathjax=False,
        div_id=f"plot-{anchor}",
        auto_play=False,
        config=_CONFIG,
        default_height=f"{height}px",
    )
    return plot(Markup(content))
