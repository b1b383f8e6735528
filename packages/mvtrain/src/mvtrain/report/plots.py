"""Plotly figures in the style of the report, and their HTML."""

from __future__ import annotations

import html
from typing import Any

import plotly.graph_objects as go
from markupsafe import Markup
from plotly.colors import qualitative

from mvtrain.project.held_out import HELD_OUT_SPLITS
from mvtrain.report.html import plot

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
