"""Contact sheets: marks, cells and legends at their places, distinct colors."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mvtrain.drawing.sheets import (
    BACKGROUND,
    LINE_HEIGHT,
    Marks,
    assemble_sheet,
    draw_cell,
    palette,
    save_png,
    shown_window,
)

RED, GREEN = (255, 0, 0), (0, 255, 0)
NOWHERE = np.full((1, 2), np.nan)


def marks(points: np.ndarray, expected: np.ndarray | None = None, *, filled: bool = True) -> Marks:
    return Marks(
        points=points,
        filled=np.full(len(points), filled),
        expected=np.full_like(points, np.nan) if expected is None else expected,
        highlighted=np.zeros(len(points), dtype=bool),
    )


def draw_spots(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Draw a bright spot around each point into a gray image."""
    image = np.full((size[1], size[0], 3), 60, dtype=np.uint8)
    for x, y in points:
        cv2.circle(image, (round(x), round(y)), 4, (220, 220, 220), -1)
    return image


@settings(max_examples=40, deadline=None)
@given(
    left=st.tuples(st.integers(10, 150), st.integers(10, 290)),
    right=st.tuples(st.integers(200, 390), st.integers(10, 290)),
    zoom=st.booleans(),
)
def test_marks_are_at_their_points(left: tuple[int, int], right: tuple[int, int], zoom: bool) -> None:
    """Check that the bright spot of the image is visible inside a ring, which leaves its middle free."""
    places = np.array([left, right], dtype=np.float64)
    marked, size = marks(places, filled=False), (320, 240)
    cell = draw_cell(draw_spots(places, (400, 300)), marked, [RED, RED], size, zoom=zoom)
    window = shown_window(marked, (400, 300), size[0] / size[1], zoom=zoom)
    for place in places:
        x, y = np.round((place - window[:2] + 0.5) * size / window[2:] - 0.5).astype(int)
        assert cell[y, x].min() > 150
        around = cell[max(y - 4, 0) : y + 5, max(x - 4, 0) : x + 5]
        assert ((around[..., 0] > 150) & (around[..., 1] < 100)).sum() >= 8


def test_label_and_expected_place_are_joined() -> None:
    image = np.full((60, 60, 3), 60, dtype=np.uint8)
    cell = draw_cell(image, marks(np.array([[10.0, 30.0]]), np.array([[50.0, 30.0]])), [GREEN], (300, 300), zoom=False)
    green = (cell[..., 1] > 150) & (cell[..., 0] < 100)
    row, label, expected = (round((value + 0.5) * 5 - 0.5) for value in (30, 10, 50))
    assert green[row, label]
    assert green[row - 1 : row + 2, label + 8 : expected - 8].any(axis=0).all()
    assert green[row - 3, expected - 3]
    assert green[row + 3, expected - 3]


def test_points_far_outside_are_ignored() -> None:
    image = np.full((60, 60, 3), 60, dtype=np.uint8)
    far = np.array([[1e9, -1e9], [30.0, 30.0]])
    cell = draw_cell(image, marks(far), [RED, GREEN], (300, 300))
    assert (cell == GREEN).all(axis=-1).any()
    assert not (cell == RED).all(axis=-1).any()


def test_small_subjects_are_shown_enlarged_and_inside_the_image() -> None:
    places = np.array([[2.0, 2.0], [40.0, 30.0]])
    image = draw_spots(places, (1000, 800))
    whole = draw_cell(image, marks(places, filled=False), [RED, RED], (320, 256), zoom=False)
    close = draw_cell(image, marks(places, filled=False), [RED, RED], (320, 256))

    def bright(cell: np.ndarray) -> int:
        return int((cell.min(axis=-1) > 150).sum())

    assert bright(close) > 5 * bright(whole)
    assert close.min(axis=-1)[200:, 200:].min() > 30  # no black: nothing outside of the image is shown


@pytest.mark.parametrize("count", [1, 2, 19, 60])
def test_colors_are_distinct_and_light_enough(count: int) -> None:
    colors = np.array(palette(count), dtype=float)
    assert len(np.unique(colors, axis=0)) == count
    assert (colors @ [0.3, 0.59, 0.11]).min() > 80
    assert palette(0) == []


def test_cells_are_at_their_row_and_column(tmp_path: Path) -> None:
    size = (40, 30)
    cells = [np.full((30, 40, 3), (shade, 7, 9), dtype=np.uint8) for shade in (100, 150, 200)]
    image = assemble_sheet(
        [("first", cells[:2]), ("second", [None, cells[2]])], ["a", "b"], [("nose", RED)], ["key"], size
    )
    shades = {shade: np.argwhere((image == (shade, 7, 9)).all(axis=-1)) for shade in (100, 150, 200)}
    corners = {shade: tuple(places.min(axis=0)) for shade, places in shades.items()}
    assert all(len(places) == 30 * 40 for places in shades.values())
    assert corners[100] == (2 * LINE_HEIGHT, 0)
    assert corners[150][0] == corners[100][0]
    assert corners[150][1] == corners[200][1] >= 40
    assert corners[200][0] == corners[100][0] + 30 + LINE_HEIGHT
    assert (image[3 * LINE_HEIGHT + 30 + 5, 10] == BACKGROUND).all()
    assert (image == RED).all(axis=-1).any()

    path = tmp_path / "new" / "sheet.png"
    save_png(path, image)
    np.testing.assert_array_equal(cv2.imread(str(path))[..., ::-1], image)


def test_a_legend_longer_than_the_sheet_has_several_columns() -> None:
    legend = [(f"keypoint{k}", color) for k, color in enumerate(palette(70))]
    image = assemble_sheet([("", [np.zeros((30, 40, 3), dtype=np.uint8)])], ["a"], legend, [], (40, 30))
    assert image.shape[0] < 25 * LINE_HEIGHT
    seen = {tuple(color) for color in image.reshape(-1, 3).tolist()}
    assert all(color in seen for _, color in legend)
