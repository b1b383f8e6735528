"""Contact sheets: cells with an image and its keypoints, put together to one image with titles and a legend."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mvaug import warp_image
from mvgeom import affine, boxes
from mvgeom.files import replace_file
from mvtrain.project.project import Project
from mvtrain.project.view_tables import frame_of_row

Color = tuple[int, int, int]

BACKGROUND: Color = (24, 24, 24)
TEXT: Color = (230, 230, 230)
ALARM: Color = (255, 40, 40)
LINE_HEIGHT = 20
CELL_WIDTH = 320
_GAP = 4
_SHADES = ((1.0, 1.0), (0.45, 1.0), (0.9, 0.75))
"""Saturation and value of the colors of a palette, in turn."""

_LUMINANCE = np.array([0.3, 0.59, 0.11])
_MIN_LIGHTNESS = 0.35
_BLACK: Color = (0, 0, 0)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FRACTION_BITS = 4
"""Fraction bits of OpenCV's fixed-point coordinates."""

_RADIUS = 4
_ZOOM_MARGIN = 0.25
"""Margin around the marks of an enlarged part, as a fraction of their extent."""

_ZOOM_BELOW = 0.6
"""Share of an image's width and height below which a part is shown enlarged."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Marks:
    """Marks to draw into one image.

    Attributes:
        points: (K, 2) labels in px of the image; NaN is not drawn.
        filled: (K,) True for a dot, False for a ring.
        expected: (K, 2) labels in px as the other views place them, drawn as a cross with a line to the label; NaN is
            not drawn.
        highlighted: (K,) True for labels with a large circle around them.
    """

    points: np.ndarray
    filled: np.ndarray
    expected: np.ndarray
    highlighted: np.ndarray


def palette(count: int) -> list[Color]:
    """Return distinct RGB colors: hues around the circle, neighbors of different lightness, none too dark to read."""
    colors: list[Color] = []
    for number in range(count):
        saturation, value = _SHADES[number % len(_SHADES)]
        rgb = np.array(colorsys.hsv_to_rgb(number / count, saturation, value))
        lightness = float(rgb @ _LUMINANCE)
        white = max(0.0, (_MIN_LIGHTNESS - lightness) / (1 - lightness))
        red, green, blue = (255 * (rgb + white * (1 - rgb))).round().astype(int).tolist()
        colors.append((red, green, blue))
    return colors


def draw_cell(
    image: np.ndarray, marks: Marks, colors: Sequence[Color], size: tuple[int, int], *, zoom: bool = True
) -> np.ndarray:
    """Draw an image with its keypoints, enlarged or reduced to the size of a cell.

    Args:
        image: (h, w, 3) uint8 RGB.
        marks: Marks in px of the image.
        colors: Colors of the K keypoints.
        size: Width and height of the cell in px.
        zoom: True shows only a part of the image where the keypoints fill only a small part of it.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    window = shown_window(marks, (image.shape[1], image.shape[0]), size[0] / size[1], zoom=zoom)
    to_cell = affine.from_box(window, np.array(size, dtype=np.float64))
    cell = warp_image(image, to_cell, size)
    # OpenCV's integers would overflow; points this far outside are not visible.
    far = 4.0 * max(size)
    points, expected = (np.clip(affine.apply(to_cell, each), -far, far) for each in (marks.points, marks.expected))
    for label, target, color in zip(points, expected, colors, strict=True):
        if np.isfinite(label).all() and np.isfinite(target).all():
            _line(cell, label, target, color)
    for target, color in zip(expected, colors, strict=True):
        if np.isfinite(target).all():
            _cross(cell, target, color)
    for number, (label, color) in enumerate(zip(points, colors, strict=True)):
        if np.isfinite(label).all():
            _dot(cell, label, color, filled=bool(marks.filled[number]))
            if marks.highlighted[number]:
                cv2.circle(cell, _fixed(label), 12 << _FRACTION_BITS, ALARM, 2, cv2.LINE_AA, _FRACTION_BITS)
            draw_text(cell, str(number + 1), (label[0] + 6, label[1] - 4), color, scale=0.4)
    return cell


def assemble_sheet(
    rows: Sequence[tuple[str, Sequence[np.ndarray | None]]],
    column_titles: Sequence[str],
    legend: Sequence[tuple[str, Color]],
    key: Sequence[str],
    size: tuple[int, int],
) -> np.ndarray:
    """Put cells together in rows and columns, with a title over each row and column, and a legend at the right.

    Args:
        rows: Title of each row and its cells, one per column; None leaves a gap.
        column_titles: Titles of the columns.
        legend: Names and colors of the numbered entries at the right.
        key: Lines of text below the legend.
        size: Width and height of a cell in px.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    width, height = size
    top, row_height = LINE_HEIGHT, height + LINE_HEIGHT
    total = max(top + row_height * len(rows), LINE_HEIGHT * (min(len(legend) + len(key), 20) + 1))
    per_column = max(1, total // LINE_HEIGHT - 1)
    entries = [(f"{number + 1} {name}", color) for number, (name, color) in enumerate(legend)]
    entries += [(line, TEXT) for line in key]
    legend_width = 24 + max((_text_width(text) for text, _ in entries), default=0)
    right = (width + _GAP) * len(column_titles)
    columns = -(-len(entries) // per_column)
    sheet = np.full((total, right + legend_width * columns, 3), BACKGROUND, dtype=np.uint8)
    for column, title in enumerate(column_titles):
        draw_text(sheet, title, (column * (width + _GAP) + 6, top - 6), TEXT)
    for row, (title, cells) in enumerate(rows):
        start = top + row * row_height
        draw_text(sheet, title, (6, start + LINE_HEIGHT - 6), TEXT)
        for column, cell in enumerate(cells):
            if cell is not None:
                left = column * (width + _GAP)
                sheet[start + LINE_HEIGHT : start + row_height, left : left + width] = cell
    for number, (text, color) in enumerate(entries):
        left = right + 6 + legend_width * (number // per_column)
        draw_text(sheet, text, (left, LINE_HEIGHT * (number % per_column + 1) - 6), color)
    return sheet


def save_png(path: Path, image: np.ndarray) -> None:
    """Write an RGB image as PNG, whole or not at all.

    Raises:
        InputError: The file cannot be written.
    """
    encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, lambda temporary: temporary.write_bytes(encoded.tobytes()))


def draw_text(image: np.ndarray, text: str, place: tuple[float, float], color: Color, *, scale: float = 0.45) -> None:
    """Draw text with a dark border into an image, its lower left corner at `place` in px."""
    x, y = round(place[0]), round(place[1])
    # Shifted copies and not thicker letters for the border: in OpenCV 5 thicker letters are also wider.
    for shift_x, shift_y in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        cv2.putText(image, text, (x + shift_x, y + shift_y), _FONT, scale, _BLACK, 1, cv2.LINE_AA)
    cv2.putText(image, text, (x, y), _FONT, scale, color, 1, cv2.LINE_AA)


def shown_window(marks: Marks, image_size: tuple[int, int], aspect: float, *, zoom: bool) -> np.ndarray:
    """Return the part of an image to show: all of it, or the part that the marks fill.

    Args:
        marks: Marks in px of the image; those outside of it are ignored.
        image_size: Width and height of the image in px.
        aspect: Width of the part divided by its height.
        zoom: True allows a part where the marks fill only that.

    Returns:
        (4,) x, y, width, height in px; it may reach beyond the image only to have the aspect.
    """
    whole = np.array([0.0, 0.0, *image_size])
    inside = np.concatenate([marks.points, marks.expected])
    inside = inside[((inside >= -0.5) & (inside <= np.array(image_size) - 0.5)).all(axis=-1)]
    if zoom and len(inside) > 1:
        part = boxes.from_keypoints(inside, margin=_ZOOM_MARGIN, min_size=32.0, aspect=aspect)
        if (part[2:] < _ZOOM_BELOW * whole[2:]).all():
            corner = np.clip(part[:2], 0, whole[2:] - part[2:])
            return np.concatenate([corner, part[2:]])
    return np.asarray(boxes.with_aspect(whole, aspect))


def frame_title(project: Project, row: int) -> str:
    """Return the session and the file name of a frame, which all views have in common."""
    return "/".join(frame_of_row(project.image_names[row], project.view_names))


def cell_size(project: Project) -> tuple[int, int]:
    """Return the width and height of cells for images of a project's median aspect."""
    sizes = project.file_sizes.reshape(-1, 2)
    sizes = sizes[(sizes > 0).all(axis=-1)]
    ratio = float(np.clip(np.median(sizes[:, 1] / sizes[:, 0]), 0.5, 1.5))
    return CELL_WIDTH, round(CELL_WIDTH * ratio)


def _text_width(text: str) -> int:
    return int(cv2.getTextSize(text, _FONT, 0.45, 1)[0][0])


def _fixed(point: np.ndarray) -> tuple[int, int]:
    """Convert a point to OpenCV's fixed-point coordinates."""
    x, y = point.tolist()  # NumPy would take ten times as long for two numbers
    return round(x * (1 << _FRACTION_BITS)), round(y * (1 << _FRACTION_BITS))


def _line(cell: np.ndarray, start: np.ndarray, end: np.ndarray, color: Color) -> None:
    cv2.line(cell, _fixed(start), _fixed(end), color, 1, cv2.LINE_AA, _FRACTION_BITS)


def _cross(cell: np.ndarray, center: np.ndarray, color: Color) -> None:
    for width, shade in ((3, _BLACK), (1, color)):
        for direction in ((1, 1), (1, -1)):
            arm = np.array(direction) * float(_RADIUS)
            cv2.line(cell, _fixed(center - arm), _fixed(center + arm), shade, width, cv2.LINE_AA, _FRACTION_BITS)


def _dot(cell: np.ndarray, center: np.ndarray, color: Color, *, filled: bool) -> None:
    radius = _RADIUS << _FRACTION_BITS
    cv2.circle(cell, _fixed(center), radius + 8, _BLACK, -1 if filled else 3, cv2.LINE_AA, _FRACTION_BITS)
    cv2.circle(cell, _fixed(center), radius - 8, color, -1 if filled else 1, cv2.LINE_AA, _FRACTION_BITS)
