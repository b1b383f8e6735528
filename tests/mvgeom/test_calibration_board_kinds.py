"""Every kind of board: exact corners, inverted and cut boards, and the reasons why one is not found."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import pytest

from helpers.boards import arc_of_cameras, draw_board, film, photograph, square_pattern
from helpers.errors import raises_input
from helpers.mvgeom_command import run
from mvgeom import CameraGroup
from mvgeom.calibration import (
    BoardSet,
    CalibrationError,
    CharucoBoard,
    Chessboard,
    FilmSearch,
    Source,
    TagGrid,
    detect_boards,
    open_source,
)
from mvgeom.calibration.boards import Board, corner_orders, object_points
from mvgeom.calibration.find_board import board_finder
from mvgeom.calibration.missing_boards import explain_missing_boards
from mvgeom.cli.board_input import parse_board

BOARDS: dict[str, Board] = {
    "chessboard": Chessboard(columns=7, rows=4, square_size=0.03),
    "charuco": CharucoBoard(columns=8, rows=5, square_size=0.03, marker_size=0.022),
    "charuco from number 9": CharucoBoard(columns=8, rows=5, square_size=0.03, marker_size=0.022, first_id=9),
    "aprilgrid": TagGrid(columns=6, rows=4, marker_size=0.03, spacing=0.3),
    "grid": TagGrid(
        columns=5, rows=4, marker_size=0.03, spacing=0.4, dictionary="DICT_4X4_50", from_bottom=False,
        corner_squares=False, first_id=3,
    ),
    "marker": TagGrid(
        columns=1, rows=1, marker_size=0.1, spacing=1, dictionary="DICT_5X5_50", from_bottom=False,
        corner_squares=False, first_id=7,
    ),
}  # fmt: skip
INVERTED = {f"inverted {name}": dataclasses.replace(board, inverted=True) for name, board in BOARDS.items()}
ALL = {**BOARDS, **INVERTED}
WITH_MARKERS = {name: board for name, board in BOARDS.items() if not isinstance(board, Chessboard)}

HOMOGRAPHY = np.array([[1900.0, -300, 190], [250, 1800, 150], [0.9, 0.3, 1]])
"""Board (meters) to pixels: turned a little, seen from the side."""


def small(board: Board) -> np.ndarray:
    """An image of the board at half the size."""
    return cv2.resize(shown(board)[0], (320, 240), interpolation=cv2.INTER_AREA)


def shown(board: Board, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """An image of the board with noise, and the places of its corners."""
    rng = np.random.default_rng(0)
    image = draw_board(board, HOMOGRAPHY, (640, 480), **options) + 2 * rng.normal(size=(480, 640))
    expected = cv2.perspectiveTransform(object_points(board)[None, :, :2], HOMOGRAPHY)[0]
    return np.clip(image, 0, 255).astype(np.uint8), expected


def source(folder: Path, image: np.ndarray, count: int = 1, name: str = "cam1") -> Source:
    """A camera that took the same image many times."""
    folder.mkdir(exist_ok=True)
    cv2.imwrite(str(folder / f"{name}.png"), image)
    opened = open_source(name, folder / f"{name}.png")
    return dataclasses.replace(opened, images=opened.images * count)


def test_all_kinds_are_here() -> None:
    assert {type(board) for board in BOARDS.values()} == set(get_args(Board)) - {BoardSet}  # tests of their own


@pytest.mark.parametrize("name", ALL)
def test_corners_are_exact(name: str) -> None:
    board = ALL[name]
    image, expected = shown(board)
    found = board_finder(board)(image)
    assert found is not None
    assert np.isfinite(found).all()
    errors = found - expected
    assert np.abs(errors.mean(axis=0)).max() < 0.05
    assert np.abs(errors).max() < 0.2


@pytest.mark.parametrize("bits", [1, 2])
def test_aprilgrids_have_borders_of_one_bit_or_two(bits: int) -> None:
    board = BOARDS["aprilgrid"]
    image, expected = shown(board, border_bits=bits)
    found = board_finder(board)(image)
    assert found is not None
    seen = np.isfinite(found).all(-1)
    assert seen.mean() >= 0.75
    assert np.abs(found - expected)[seen].max() < 0.2


@pytest.mark.parametrize("name", [name for name in WITH_MARKERS if name != "marker"])
def test_boards_with_markers_may_be_cut_by_the_image(name: str) -> None:
    board = WITH_MARKERS[name]
    image, expected = shown(board)
    for part, offset in ((image[:, 270:], (270, 0)), (image[:280], (0, 0))):
        found = board_finder(board)(np.ascontiguousarray(part))
        assert found is not None
        seen = np.isfinite(found).all(-1)
        assert 6 <= seen.sum() < len(seen)
        assert np.abs(found + offset - expected)[seen].max() < 0.2


def test_a_cut_chessboard_is_named(tmp_path: Path) -> None:
    board = Chessboard(columns=7, rows=4, square_size=0.03)
    image = small(board)
    sources = {
        "cam1": source(tmp_path, np.ascontiguousarray(image[:, 120:]), 2, "cam1"),
        "cam2": source(tmp_path, np.ascontiguousarray(image[:, :190]), 2, "cam2"),
        "cam3": source(tmp_path, image, 2, "cam3"),
    }
    found = detect_boards(sources, board)
    assert [(each.code, each.severity, each.cameras) for each in found.findings] == [
        ("cut_board", "error", ("cam1",)),
        ("cut_board", "error", ("cam2",)),
    ]
    assert found.findings[0].evidence["images_with_cut_board"] == 4
    assert "boards with markers" in found.findings[0].text or "a board with markers" in found.findings[0].text


@pytest.mark.parametrize("name", ALL)
def test_an_inverted_board_is_named_and_the_option_for_it(name: str, tmp_path: Path) -> None:
    board = ALL[name]
    image, _ = shown(board)
    wrong = dataclasses.replace(board, inverted=not board.inverted)
    given = {camera: source(tmp_path, image, 1, camera) for camera in ("cam1", "cam2")}
    # One camera's images show little of the board, but all cameras record the same one.
    given["cam2"] = source(tmp_path, np.full_like(image, 128), 1, "cam2")
    if isinstance(board, Chessboard) and board_finder(wrong)(image) is not None:
        pytest.skip("the squares of a chessboard are found either way")
    findings = detect_boards(given, wrong).findings
    assert {each.code for each in findings} == {"negative_board"}
    assert [each.cameras for each in findings] == [("cam1",), ("cam2",)]
    assert "--inverted" in findings[0].text


def test_small_boards_that_are_found_either_way_are_not_called_inverted() -> None:
    board = Chessboard(columns=6, rows=5, square_size=1.0)
    pattern = cv2.resize(square_pattern(board, 60)[0], None, fx=0.1, fy=0.1, interpolation=cv2.INTER_AREA)
    image = cv2.copyMakeBorder(pattern, 90, 90, 120, 120, cv2.BORDER_CONSTANT, value=120)
    image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.7), dtype=np.uint8)
    assert board_finder(board)(image) is not None
    assert explain_missing_boards({"cam1": [image] * 2}, board, {"cam1": 3}, {"cam1": 10}) == ()


def test_an_aprilgrid_is_numbered_as_kalibr_numbers_it() -> None:
    board = TagGrid(columns=3, rows=2, marker_size=0.1, spacing=0.3)
    points = object_points(board)
    np.testing.assert_allclose(points[:3], [[0, 0, 0], [0.1, 0, 0], [0.13, 0, 0]], atol=1e-12)
    np.testing.assert_allclose(points[-1], [0.36, 0.23, 0], atol=1e-12)
    np.testing.assert_allclose(points[board.corners_of(0)][:, :2].mean(axis=0), [0.05, 0.18])  # lower left
    np.testing.assert_allclose(points[board.corners_of(5)][:, :2].mean(axis=0), [0.31, 0.05])  # upper right
    assert sorted(np.concatenate([board.corners_of(number) for number in board.ids])) == list(range(24))
    assert corner_orders(board).shape == (1, 24)


def test_a_marker_that_is_there_twice_does_not_count() -> None:
    board = BOARDS["grid"]
    assert isinstance(board, TagGrid)
    image, expected = shown(board)
    marker = cv2.aruco.generateImageMarker(cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50), board.first_id, 60)
    image[370:, 530:] = 255
    image[400:460, 560:620] = marker
    found = board_finder(board)(image)
    assert found is not None
    assert np.isnan(found[board.corners_of(board.first_id)]).all()
    others = np.isfinite(found).all(-1)
    assert others.sum() == len(found) - 4
    assert np.abs(found - expected)[others].max() < 0.2


def test_a_wrong_corner_of_a_marker_is_left_out() -> None:
    board = BOARDS["grid"]
    assert isinstance(board, TagGrid)
    image, expected = shown(board)
    place = board.corners_of(board.first_id + 6)[1]
    x, y = expected[place].astype(int)
    cv2.line(image, (x - 14, y - 4), (x + 4, y - 4), 0, 7)  # the marker's upper edge becomes thicker at one end
    found = board_finder(board)(image)
    assert found is not None
    others = np.isfinite(found).all(-1)
    assert others.sum() >= len(found) - 6
    assert np.abs(found - expected)[others].max() < 1


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (CharucoBoard(columns=8, rows=5, square_size=0.03, marker_size=0.022, inverted=True), "negative_board"),
        (CharucoBoard(columns=5, rows=8, square_size=0.03, marker_size=0.022), "other_board_size"),
        (TagGrid(columns=5, rows=4, marker_size=0.03, spacing=0.3), "wrong_dictionary"),
    ],
    ids=["negative", "size", "kind"],
)  # fmt: skip
def test_a_wrong_board_is_found_after_a_sample(asked: Board, code: str, tmp_path: Path) -> None:
    image = small(BOARDS["charuco"])
    sources = {name: source(tmp_path, image, 200, name) for name in ("cam1", "cam2")}
    calls: list[object] = []
    with pytest.raises(CalibrationError) as caught:
        detect_boards(sources, asked, progress=lambda *call: calls.append(call))
    assert calls == []
    assert [(each.code, each.severity, each.cameras) for each in caught.value.findings] == [
        (code, "error", (name,)) for name in sources
    ]
    assert caught.value.findings[0].evidence["images"] == 24


def test_a_film_is_sampled_without_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "cam1.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 30, (320, 240))  # type: ignore[attr-defined]
    image = cv2.cvtColor(small(BOARDS["charuco"]), cv2.COLOR_GRAY2BGR)
    for _ in range(400):
        writer.write(image)
    writer.release()
    calls: list[object] = []
    for look in (detect_boards, FilmSearch):
        with raises_input("no-calibration"):
            look(  # type: ignore[operator]
                {"cam1": open_source("cam1", path)},
                INVERTED["inverted charuco"],
                progress=lambda *call: calls.append(call),
            )
    assert calls == []


def test_a_board_that_is_seldom_in_view_is_no_wrong_board(tmp_path: Path) -> None:
    empty = source(tmp_path, np.full((120, 160), 128, np.uint8), 400, "empty")
    board = source(tmp_path, shown(BOARDS["charuco"])[0][:, :640], 1, "board")
    with_board = dataclasses.replace(empty, images=empty.images[:399])
    found = detect_boards({"cam1": with_board}, BOARDS["charuco"])
    assert {each.code for each in found.findings} == {"no_boards"}
    assert detect_boards({"cam1": board}, BOARDS["charuco"]).seen.all()


OPTIONS = {
    "chessboard": None, "charuco": None, "aprilgrid": None, "marker_grid": None, "square": None, "marker": None,
    "spacing": None, "dictionary": None, "first_id": 0, "legacy": False, "inverted": False,
    "two_sided": None, "board": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"chessboard": "7x4", "square": 0.03, "inverted": True}, INVERTED["inverted chessboard"]),
        ({"charuco": "8x5", "square": 0.03, "marker": 0.022}, BOARDS["charuco"]),
        ({"charuco": "8x5", "square": 0.03, "marker": 0.022, "first_id": 9}, BOARDS["charuco from number 9"]),
        ({"aprilgrid": "6x4", "marker": 0.03, "spacing": 0.3}, BOARDS["aprilgrid"]),
        ({"marker_grid": "5x4", "marker": 0.03, "spacing": 0.4, "first_id": 3}, BOARDS["grid"]),
    ],
)
def test_options_of_boards(given: dict[str, Any], expected: Board) -> None:
    assert parse_board({**OPTIONS, **given}) == expected
    needed = [name for name in given if name in ("square", "marker", "spacing")]
    for name in needed:
        with raises_input("missing-argument", option=f"--{name}"):
            parse_board({**OPTIONS, **given, name: None})


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ({"chessboard": "7x4", "square": 1.0, "first_id": 3}, "--first-id"),
        ({"charuco": "7x5", "square": 1.0, "marker": 0.7, "spacing": 0.3}, "--spacing"),
        ({"board": Path("body.toml"), "inverted": True}, "--inverted"),
        ({"board": Path("body.toml"), "square": 1.0}, "--square"),
    ],
)
def test_options_of_other_boards(given: dict[str, Any], option: str) -> None:
    with raises_input("excluded-options", option=option):
        parse_board({**OPTIONS, **given})


def test_mistakes_in_grids_of_markers() -> None:
    with raises_input("out-of-range", argument="columns"):
        TagGrid(columns=0, rows=5, marker_size=1, spacing=0.3)
    with raises_input("out-of-range", argument="spacing", found=0):
        TagGrid(columns=2, rows=5, marker_size=1, spacing=0)
    with raises_input("out-of-range", argument="dictionary"):
        TagGrid(columns=10, rows=10, marker_size=1, spacing=0.3, dictionary="DICT_4X4_50")
    with raises_input("out-of-range", argument="first_id", found=-1):
        TagGrid(columns=2, rows=2, marker_size=1, spacing=0.3, first_id=-1)


@pytest.mark.parametrize(
    ("board", "options"),
    [
        (CharucoBoard(columns=7, rows=5, square_size=0.06, marker_size=0.045, inverted=True),
         ["--charuco", "7x5", "--square", 0.06, "--marker", 0.045, "--inverted"]),
        (TagGrid(columns=4, rows=3, marker_size=0.09, spacing=0.3),
         ["--aprilgrid", "4x3", "--marker", 0.09, "--spacing", 0.3]),
    ],
    ids=["inverted", "aprilgrid"],
)  # fmt: skip
def test_calibrate_with_each_kind(board: Board, options: list[object], tmp_path: Path) -> None:
    truth = arc_of_cameras(2, distortion=(), radius=1.1).resize([640.0, 512.0])
    arguments = []
    for name, images in zip(
        truth.names, photograph(truth, board, film(truth, 6, board=board, spread=0.1)), strict=True
    ):
        (tmp_path / name).mkdir()
        for frame, image in enumerate(images):
            cv2.imwrite(str(tmp_path / name / f"{name}-{frame}.png"), image)
        arguments.append(f"{name}={tmp_path / name}")
    output = tmp_path / "rig.toml"
    result = run("calibrate", *arguments, *options, "--coefficients", 0, "-o", output)
    assert result.exit_code == 0, result.output
    found = CameraGroup.load(output)
    np.testing.assert_allclose(found.matrix[:, 0, 0], truth.matrix[:, 0, 0], rtol=5e-3)
    baseline = np.linalg.norm(truth.centers[1] - truth.centers[0])
    assert np.linalg.norm(found.centers[1] - found.centers[0]) == pytest.approx(baseline, rel=5e-3)
