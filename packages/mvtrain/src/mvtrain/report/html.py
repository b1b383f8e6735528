"""Pieces of a page. Text goes in plain and comes out escaped; what is named HTML is taken as it is."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from mvtrain.evaluate.error_tables import ALL

_JPEG_QUALITY = 82


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page.

    Attributes:
        anchor: its id, for links.
        title: plain text.
        how_to_read: plain text under the title.
        body_html: HTML.
    """

    anchor: str
    title: str
    how_to_read: str
    body_html: str


def escape(text: object) -> str:
    """Plain text as HTML."""
    return html.escape(str(text))


def number(value: float, digits: int = 2) -> str:
    """A figure with fixed digits; a dash where there is none."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "\u2013"


def significant(value: float) -> str:
    """A figure in an unknown unit, with four significant digits; a dash where there is none."""
    return f"{value:.4g}" if math.isfinite(value) else "\u2013"


def sentence(phrase: str) -> str:
    """A phrase with a capital letter and a full stop."""
    return phrase[:1].upper() + phrase[1:] + "."


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph; `kind` is a class of the style sheet, such as `note`."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def table(anchor: str, head: Sequence[str], rows: Iterable[Sequence[str]], *, num_text_columns: int = 1) -> str:
    """A table that scrolls within itself where the window is too narrow for it.

    Args:
        anchor: id of the table.
        head: titles of the columns.
        rows: cells.
        num_text_columns: how many columns from the left are names; the others are figures and stand at the right. Rows
            that are named `all` stand out.
    """

    def line(cells: Sequence[str], tag: str) -> str:
        total = ' class="total"' if ALL in cells[:num_text_columns] else ""
        kinds = ["" if column < num_text_columns else ' class="figure"' for column in range(len(cells))]
        filled = "".join(f"<{tag}{kind}>{escape(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True))
        return f"<tr{total}>{filled}</tr>"

    body = "\n".join(line(cells, "td") for cells in rows)
    return (
        f'<div class="scroll"><table id="{escape(anchor)}"><thead>{line(head, "th")}</thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )


def facts(entries: Mapping[str, str]) -> str:
    """Names and what they are."""
    return (
        '<dl class="facts">'
        + "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in entries.items())
        + "</dl>"
    )


def card(anchor: str, title: str, value: str, detail: str) -> str:
    """One figure, large."""
    return (
        f'<div class="card" id="{escape(anchor)}"><div class="card-title">{escape(title)}</div>'
        f'<div class="card-value">{escape(value)}</div><div class="card-detail">{escape(detail)}</div></div>'
    )


def grid(parts_html: Iterable[str], kind: str = "grid") -> str:
    """Pieces side by side as far as there is room."""
    return f'<div class="{kind}">' + "\n".join(parts_html) + "</div>"


def folded(title: str, body_html: str) -> str:
    """What only some readers want to see."""
    return f"<details><summary>{escape(title)}</summary>{body_html}</details>"


def jpeg(image: np.ndarray, description: str) -> str:
    """A picture inside the page.

    Args:
        image: (h, w, 3) uint8 RGB.
        description: of it in words.
    """
    parameters = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), parameters)[1]
    content = base64.b64encode(encoded.tobytes()).decode("ascii")
    height, width = image.shape[:2]
    return (
        f'<img src="data:image/jpeg;base64,{content}" width="{width}" height="{height}" alt="{escape(description)}" '
        'loading="lazy">'
    )
