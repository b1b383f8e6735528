"""Boards in images: finding them, telling why they are not found, and which images are of one frame."""

from __future__ import annotations

import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.boards import arc_of_cameras, draw_board, film, photograph
from helpers.errors import raises_input
from mvgeom.calibration import CharucoBoard, Chessboard, Lens, Options, Source, calibrate, detect_boards, open_source
from mvgeom.calibration.boards import Board, object_points
from mvgeom.calibration.charuco import find_charuco
from mvgeom.calibration.checkerboard import find_chessboard
from mvgeom.calibration.grid_probe import probe_grids
from mvgeom.calibration.sources import count_frames, frame_names, read_frames

CHESSBOARD = Chessboard(columns=7, rows=5, square_size=0.03)
CHARUCO = CharucoBoard(columns=8, rows=6, square_size=0.03, marker_size=0.022)

HOMOGRAPHY = np.array([[2200.0, -300, 150], [250, 2000, 120], [0.9, 0.3, 1]])
"""Board (meters) to pixels: turned a little, seen from the side."""


def shown(board: Board, homography: np.ndarray = HOMOGRAPHY, **options: object) -> tuple[np.ndarray, np.ndarray]:
    """A image of the board, and where its corners are."""
    corners = object_points(board)[:, :2]
    expected = cv2.perspectiveTransform(corners[:, None], homography)[:, 0]
    return draw_board(board, homography, (800, 600), **options), expected  # type: ignore[arg-type]


def write(folder: Path, images: dict[str, np.ndarray]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in images.items():
        cv2.imwrite(str(folder / name), image)
    return folder


@settings(max_examples=15)
@given(turn=st.floats(-180, 180), tilt=st.floats(-0.6, 0.6), blur=st.floats(0.5, 1.5))
def test_chessboard_corners_are_exact_and_in_order(turn: float, tilt: float, blur: float) -> None:
    angle = np.deg2rad(turn)
    middle = np.array([[1, 0, -0.12], [0, 1, -0.09], [0, 0, 1]])
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, tilt, 1]])
    homography = np.array([[1500.0, 0, 400], [0, 1500, 300], [0, 0, 1]]) @ rotation @ middle
    image, expected = shown(CHESSBOARD, homography, blur=blur)
    found = find_chessboard(image, CHESSBOARD.grid)
    assert found is not None
    # 7 + 5 is even: the board turned by half looks the same, and either order is right.
    errors = [np.abs(order - expected).max() for order in (found, found[::-1])]
    assert min(errors) < 0.15


def test_order_is_unique_where_one_side_is_odd_and_the_other_even() -> None:
    board = Chessboard(columns=7, rows=4, square_size=0.03)
    for turn in (np.eye(3), np.array([[-1, 0, 799.0], [0, -1, 599], [0, 0, 1]])):  # and the image upside down
        image, expected = shown(board, turn @ HOMOGRAPHY)
        found = find_chessboard(image, board.grid)
        assert found is not None
        assert np.abs(found - expected).max() < 0.15


def test_charuco_corners_are_exact_also_where_some_are_hidden() -> None:
    image, expected = shown(CHARUCO)
    found = find_charuco(image, CHARUCO)
    assert found is not None
    assert np.isfinite(found).all()
    assert np.abs(found - expected).max() < 0.15
    image[:, :250] = 128
    part = find_charuco(image, CHARUCO)
    assert part is not None
    visible = np.isfinite(part).all(-1)
    assert 6 <= visible.sum() < len(expected)
    assert np.abs(part - expected)[visible].max() < 0.15
    image[:, :400] = 128
    assert find_charuco(image, CHARUCO) is None


def test_nothing_is_found_in_noise() -> None:
    image = np.random.default_rng(0).integers(0, 256, (480, 640), dtype=np.uint8)
    assert find_chessboard(image, (7, 5)) is None
    assert find_charuco(image, CHARUCO) is None
    assert probe_grids([image], (7, 5)) == {}


@pytest.mark.parametrize("asked", [(8, 6), (7, 4), (6, 5), (9, 5), (6, 4)])
def test_other_sizes_are_measured(asked: tuple[int, int]) -> None:
    images = [
        shown(CHESSBOARD)[0],
        shown(CHESSBOARD, np.array([[2000.0, 100, 100], [-200, 2100, 200], [0.3, 0.5, 1]]))[0],
    ]
    assert next(iter(probe_grids(images, asked))) == (7, 5)


def sources(folder: Path, board: Board, *, cameras: int = 2, frames: int = 3, **options: object) -> dict[str, Source]:
    """Folders of images, the board a little elsewhere in each."""
    result = {}
    for camera in range(1, cameras + 1):
        images = {}
        for frame in range(frames):
            moved = np.array([[1, 0, 8.0 * frame], [0, 1, 6.0 * camera], [0, 0, 1]]) @ HOMOGRAPHY
            images[f"cam{camera}_{frame:02d}.png"] = shown(board, moved, **options)[0]
        result[f"cam{camera}"] = open_source(f"cam{camera}", write(folder / f"cam{camera}", images))
    return result


@pytest.mark.parametrize("board", [CHESSBOARD, CHARUCO], ids=["chessboard", "charuco"])
def test_boards_of_all_cameras(board: Board, tmp_path: Path) -> None:
    calls = []
    found = detect_boards(
        sources(tmp_path, board), board, progress=lambda camera, done, total: calls.append((camera, done, total))
    )
    assert found.names == ("cam1", "cam2")
    assert found.frames == ("0", "1", "2")
    np.testing.assert_array_equal(found.sizes, [[800, 600], [800, 600]])
    assert found.seen.all()
    assert found.findings == ()
    assert calls == [(camera, done, 3) for camera in ("cam1", "cam2") for done in (1, 2, 3)]
    np.testing.assert_allclose(
        found.points[0, 1] - found.points[0, 0], np.tile([8.0, 0.0], (len(found.object_points), 1)), atol=0.4
    )


def test_the_orientation_of_photographs_is_ignored_and_noted(tmp_path: Path) -> None:
    """A camera that looks down writes any orientation, another one in the next image."""
    given = sources(tmp_path, CHESSBOARD)
    expected = detect_boards(given, CHESSBOARD)
    entry = b"\x01\x12\x00\x03\x00\x00\x00\x01\x00%c\x00\x00"  # tag 0x0112, one 16-bit number
    for number, path in enumerate(given["cam2"].images):
        exif = b"MM\x00\x2a\x00\x00\x00\x08\x00\x01" + entry % (1, 6, 3)[number] + b"\x00\x00\x00\x00"
        chunk = b"eXIf" + exif
        length, checksum = len(exif).to_bytes(4, "big"), zlib.crc32(chunk).to_bytes(4, "big")
        content = path.read_bytes()
        path.write_bytes(content[:33] + length + chunk + checksum + content[33:])  # behind the header
    assert cv2.imread(str(given["cam2"].images[1])).shape == (800, 600, 3)
    found = detect_boards(given, CHESSBOARD)
    np.testing.assert_array_equal(found.points, expected.points)
    np.testing.assert_array_equal(found.sizes, expected.sizes)
    (finding,) = found.findings
    assert (finding.code, finding.severity, finding.cameras) == ("turned_images", "note", ("cam2",))
    assert finding.evidence == {"images": 2}


def test_why_a_chessboard_is_not_found(tmp_path: Path) -> None:
    given = sources(tmp_path, CHESSBOARD)
    found = detect_boards(given, Chessboard(columns=8, rows=6, square_size=0.03))
    assert not found.seen.any()
    assert [(each.code, each.severity, each.cameras) for each in found.findings] == [
        ("other_board_size", "error", (camera,)) for camera in ("cam1", "cam2")
    ]
    assert "there is a board of 7x5 inner corners in" in found.findings[0].text
    assert "the size counts inner corners, not squares" in found.findings[0].text
    with raises_input("no-calibration"):
        calibrate(found)
    nothing = write(tmp_path / "empty", {"a.png": np.full((480, 640), 128, np.uint8)})
    (finding,) = detect_boards({"cam1": open_source("cam1", nothing)}, CHESSBOARD).findings
    assert finding.code == "no_boards"
    assert finding.cameras == ("cam1",)
    assert finding.evidence == {"found": 0, "images": 1}


@pytest.mark.parametrize(
    ("change", "asked", "code", "evidence"),
    [
        (None, {"dictionary": "DICT_5X5_50"}, "wrong_dictionary", {"markers", "markers_of_best"}),
        (lambda image: np.ascontiguousarray(image[:, ::-1]), {}, "mirrored_images", {"markers", "mirrored_markers"}),
        (lambda image: 255 - image, {}, "negative_board", {"markers", "negative_markers"}),
        (None, {"legacy": True}, "other_pattern", {"markers"}),
        (None, {"columns": 6, "rows": 4}, "other_board_size", {"markers", "foreign_share"}),
        (None, {"columns": 6, "rows": 8}, "other_board_size", {"markers"}),
    ],
    ids=["dictionary", "mirrored", "negative", "legacy", "smaller", "exchanged"],
)
def test_why_a_charuco_board_is_not_found(
    change: object, asked: dict, code: str, evidence: set[str], tmp_path: Path
) -> None:
    image, _ = shown(CHARUCO)
    images = {f"{number}.png": change(image) if callable(change) else image for number in range(1)}
    board = CharucoBoard(**{"columns": 8, "rows": 6, "square_size": 0.03, "marker_size": 0.022, **asked})
    (finding,) = detect_boards({"cam1": open_source("cam1", write(tmp_path / "a", images))}, board).findings
    assert finding.code == code
    assert finding.severity == "error"
    assert set(finding.evidence) - {"found", "images"} == evidence
    assert finding.cameras == ("cam1",)


def test_videos(tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "cam1.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (800, 600))  # type: ignore[attr-defined]
    for number in range(6):
        moved = np.array([[1, 0, 5.0 * number], [0, 1, 0], [0, 0, 1]]) @ HOMOGRAPHY
        writer.write(cv2.cvtColor(shown(CHESSBOARD, moved)[0], cv2.COLOR_GRAY2BGR))
    writer.release()
    source = open_source("cam1", tmp_path / "cam1.avi", step=2)
    assert count_frames(source) == 3
    assert [number for number, _ in read_frames(source)] == [0, 2, 4]
    found = detect_boards({"cam1": source}, CHESSBOARD)
    assert found.frames == ("0", "2", "4")
    (tmp_path / "cam2.mp4").write_text("not a video")
    with raises_input("unreadable-file", view="cam2", path="cam2.mp4"):
        detect_boards({"cam2": open_source("cam2", tmp_path / "cam2.mp4")}, CHESSBOARD)


@pytest.mark.parametrize(
    ("first", "second", "names"),
    [
        (["left01", "left02", "left10"], ["right01", "right02", "right10"], ["1", "2", "10"]),
        (["cam01_01_int", "cam01_02_int"], ["cam02_01_int", "cam02_02_int"], ["1", "2"]),
        (["img8", "img9", "img10"], ["b-8", "b-9", "b-10"], ["8", "9", "10"]),
        (["scene_a", "scene_b"], ["other_a", "other_b"], ["a", "b"]),
        (["cam03_ext"], ["cam04_ext"], ["0"]),
    ],
)
def test_frames_by_the_names_of_images(first: list[str], second: list[str], names: list[str]) -> None:
    found = frame_names(
        {
            camera: Source(name=camera, images=tuple(Path(f"{stem}.png") for stem in stems))
            for camera, stems in (("a", first), ("b", second))
        }
    )
    assert found == {"a": names, "b": names}


def test_frames_by_order() -> None:
    given = {
        camera: Source(name=camera, images=tuple(Path(f"{stem}.png") for stem in stems))
        for camera, stems in (("a", ["x1", "x2"]), ("b", ["y7", "y8"]))
    }
    with raises_input("unmatched-frames", views=("a", "b")):
        frame_names(given)
    assert frame_names(given, "order") == {"a": ["0", "1"], "b": ["0", "1"]}
    mixed = {"a": given["a"], "b": Source(name="b", video=Path("b.mp4"))}
    with raises_input("unmatched-frames"):
        frame_names(mixed)


@pytest.mark.parametrize("names", [("001.png", "001.jpg", "002.png"), ("1.png", "01.png", "2.png"), ("a.png", "a.jpg")])
def test_two_images_of_one_frame_are_refused(names: tuple[str, ...]) -> None:
    source = Source(name="cam1", images=tuple(map(Path, names)))
    with raises_input("duplicate-name", view="cam1", path=names[1], other=names[0]):
        frame_names({"cam1": source})
    assert frame_names({"cam1": source}, "order") == {"cam1": [str(number) for number in range(len(names))]}


def test_images_are_sorted_by_number(tmp_path: Path) -> None:
    blank = np.zeros((8, 8), np.uint8)
    write(tmp_path / "a", {"img10.png": blank, "img9.png": blank, "IMG1.PNG": blank, "img2.png": blank})
    (tmp_path / "a" / "notes.txt").write_text("")
    assert [path.name for path in open_source("a", tmp_path / "a" / "img*.png").images] == [
        "img2.png",
        "img9.png",
        "img10.png",
    ]
    assert len(open_source("a", tmp_path / "a").images) == 4
    assert [path.name for path in open_source("a", tmp_path / "a" / "img9.png").images] == ["img9.png"]


def test_brackets_in_a_name_are_no_pattern(tmp_path: Path) -> None:
    """Downloaded copies are called so; a row of asterisks is what a hasty user types."""
    blank = np.zeros((8, 8), np.uint8)
    write(tmp_path / "a [1]", {"img[1].png": blank, "img1.png": blank})
    assert [path.name for path in open_source("a", tmp_path / "a [1]" / "img[1].png").images] == ["img[1].png"]
    (tmp_path / "film[1].mp4").write_bytes(b"")
    assert open_source("a", tmp_path / "film[1].mp4").video == tmp_path / "film[1].mp4"
    assert len(open_source("a", tmp_path / "a [1]" / "img[0-9].png").images) == 1
    assert len(open_source("a", tmp_path / "a [1]" / "img**.png").images) == 2


def test_mistakes_in_images(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with raises_input("missing-file", view="a", path="empty"):
        open_source("a", tmp_path / "empty")
    with raises_input("missing-file", view="a", path="left*.png"):
        open_source("a", tmp_path / "left*.png")
    with raises_input("missing-file", view="a", path="nothing"):
        open_source("a", tmp_path / "nothing")
    with raises_input("out-of-range", argument="step", found=0):
        open_source("a", tmp_path / "empty", step=0)
    (tmp_path / "notes.txt").write_text("")
    with raises_input("unknown-format", view="a", path="notes.txt"):
        open_source("a", tmp_path / "notes.txt")
    (tmp_path / "bad.png").write_text("not an image")
    with raises_input("unreadable-file", view="a", path="bad.png"):
        list(read_frames(open_source("a", tmp_path / "bad.png")))
    write(tmp_path / "sizes", {"1.png": np.zeros((20, 30), np.uint8), "2.png": np.zeros((20, 40), np.uint8)})
    with raises_input("size-mismatch", view="a"):
        detect_boards({"a": open_source("a", tmp_path / "sizes")}, CHESSBOARD)


def test_mistakes_in_boards() -> None:
    with raises_input("out-of-range", argument="columns"):
        Chessboard(columns=2, rows=5, square_size=1)
    with raises_input("out-of-range", argument="square_size", found=0):
        Chessboard(columns=4, rows=5, square_size=0)
    with raises_input("out-of-range", argument="columns"):
        CharucoBoard(columns=2, rows=5, square_size=1, marker_size=0.5)
    with raises_input("out-of-range", argument="marker_size"):
        CharucoBoard(columns=5, rows=5, square_size=1, marker_size=2)
    with raises_input("unknown-choice", argument="dictionary", found="DICT_3X3_50"):
        CharucoBoard(columns=5, rows=5, square_size=1, marker_size=0.5, dictionary="DICT_3X3_50")
    with raises_input("out-of-range", argument="dictionary"):
        CharucoBoard(columns=12, rows=10, square_size=1, marker_size=0.5)


def test_from_images_to_a_rig(tmp_path: Path) -> None:
    """Rendered images of two cameras without distortion, through detection and calibration."""
    truth = arc_of_cameras(2, distortion=()).resize([640.0, 512.0])
    board = Chessboard(columns=7, rows=4, square_size=0.06)
    filmed = film(truth, 8, board=board, spread=0.2)
    given = {}
    for name, taken in zip(truth.names, photograph(truth, board, filmed), strict=True):
        images = {f"{name}-{frame}.png": image for frame, image in enumerate(taken)}
        given[name] = open_source(name, write(tmp_path / name, images))
    found = detect_boards(given, board)
    assert found.seen.sum() >= 0.9 * np.isfinite(filmed.points).all((-1, -2)).sum()
    result = calibrate(found, Options(lens=Lens(num_coefficients=0)))
    assert result.rms < 0.15
    np.testing.assert_allclose(result.cameras.matrix[:, 0, 0], truth.matrix[:, 0, 0], rtol=5e-3)
    baseline = np.linalg.norm(truth.centers[1] - truth.centers[0])
    assert np.linalg.norm(result.cameras.centers[1]) == pytest.approx(baseline, rel=5e-3)
