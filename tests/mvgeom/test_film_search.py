"""Search of long films for boards, and calibrations from what it finds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from helpers.board_films import BOARD, film_board, small_rig
from helpers.mvgeom_command import run
from helpers.videos import CODECS, damage_frames, encode
from mvgeom import CameraGroup
from mvgeom.calibration import (
    Calibration,
    CalibrationError,
    Chessboard,
    Detections,
    FilmSearch,
    Lens,
    Options,
    calibrate,
    calibrate_films,
    from_points,
    open_source,
)
from mvgeom.calibration.checkerboard import find_chessboard
from mvgeom.calibration.film_calibration import _is_plenty
from mvgeom.calibration.film_search import _stillest
from mvgeom.calibration.located_chessboard import find_located_chessboard
from mvgeom.calibration.sources import read_frames

RIG = small_rig()
NUM_FRAMES = 240


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return film_board(tmp_path_factory.mktemp("films"), RIG, NUM_FRAMES, away=[(0, 40), (120, 160)])


def search(films: dict[str, Path], board: Chessboard = BOARD) -> FilmSearch:
    return FilmSearch({name: open_source(name, path) for name, path in films.items()}, board)


def fit(detections: Detections) -> Calibration:
    return calibrate(detections, Options(lens=Lens(num_coefficients=0)))


def largest_errors(found: CameraGroup) -> tuple[float, float]:
    """Return errors of the focal length, relative, and of rotations against the first camera, in degrees."""
    focal = np.abs(found.matrix[:, 0, 0] / RIG.matrix[:, 0, 0] - 1).max()
    turns = [
        found.rotation[view] @ found.rotation[0].T @ RIG.rotation[0] @ RIG.rotation[view].T
        for view in range(1, len(RIG))
    ]
    return float(focal), float(np.rad2deg(Rotation.from_matrix(turns).magnitude()).max())


@pytest.mark.slow
def test_a_part_of_the_films_calibrates_as_well_as_asked(films: dict[str, Path]) -> None:
    searching = search(films)
    found = calibrate_films(searching, fit)
    assert searching.num_searched < 0.75 * NUM_FRAMES
    assert (found.detections.seen.sum(axis=1) >= 40).all()
    focal, degrees = largest_errors(found.cameras)
    assert focal < 0.004
    assert degrees < 0.2


def test_each_round_adds_frames_beside_the_board_only(films: dict[str, Path]) -> None:
    searching = search(films)
    assert searching.search_next() == 48
    assert searching.search_next() == 48
    assert searching.num_searched == 96
    assert 0 < searching.search_next() <= 72
    frames = np.array([int(name) for name in searching.detections().frames])
    assert ((frames >= 40) & ~((frames >= 120) & (frames < 160))).all()


def test_between_two_frames_a_slow_board_is_worth_a_look(films: dict[str, Path]) -> None:
    turning = Chessboard(columns=6, rows=4, square_size=0.08)  # may be listed from either end
    searching = search(films, turning)
    x, y = np.meshgrid(np.arange(6), np.arange(4))
    corners = 12.0 * np.stack([x, y], axis=-1).reshape(-1, 2) + 40
    for listed in (corners, corners[::-1]):
        promising = {}
        for shift in (1, 16, 100):  # px in 20 frames of 320 px: at rest, slow, blurred
            searching._searched = {0: {"cam1": corners}, 20: {"cam1": listed + np.array([shift, 0])}}
            promising[shift] = searching._is_promising([0, 20])
        assert promising == {1: False, 16: True, 100: False}
    searching._searched = {0: {"cam1": corners}, 20: {}}
    assert searching._is_promising([0, 20])
    assert not searching._is_promising([20])


def test_the_frame_with_the_least_motion_is_taken() -> None:
    images = {number: np.zeros((48, 64), np.uint8) for number in range(5)}
    for number, column in enumerate((0, 20, 40, 41, 55)):  # rests from image 2 to 3
        images[number][10:30, column : column + 8] = 250
    resting = dict.fromkeys(range(5), images[0])
    assert _stillest(range(5), [images, resting]) in (2, 3)
    assert _stillest(range(5), [resting]) == 2
    incomplete = {number: images[number] for number in (0, 1)}
    assert _stillest(range(5), [images, incomplete]) in (0, 1)


def test_films_are_entered_where_decoding_is_short(tmp_path: Path) -> None:
    paths = [tmp_path / f"cam{view}.mp4" for view in (1, 2)]
    encode(paths, ["null"] * 2, "-g", "60", "-keyint_min", "60", "-sc_threshold", "0", "-c:v",
           *CODECS["h264 with B-frames"], count=120)  # fmt: skip
    searching = search({path.stem: path for path in paths})
    for first, end in ((0, 60), (60, 120)):
        start, *_ = searching._candidates(first, end)
        (decoded_from,) = {int(video.decoded_from(start)) for video in searching._videos.values()}
        assert first <= decoded_from <= start <= decoded_from + 32  # OpenCV decodes 17 images before any


def test_boards_are_plenty_once_there_are_many_and_coverage_stands() -> None:
    y, x = np.mgrid[:5, :6]
    whole = np.stack([x * 60 + 10, y * 55 + 10], axis=-1).reshape(-1, 2)
    seen = {
        count: from_points(RIG.names, RIG.sizes, BOARD, np.tile(whole, (3, count, 1, 1)).astype(float))
        for count in (10, 60)
    }
    full, nothing = np.ones(3), np.zeros(0)
    assert not _is_plenty(seen[10], full, nothing)
    assert _is_plenty(seen[60], full, nothing)
    assert not _is_plenty(seen[60], np.full(3, 0.5), np.full(3, 0.4))
    assert _is_plenty(seen[60], np.full(3, 0.5), np.full(3, 0.49))


@pytest.mark.slow
def test_a_late_camera_is_named_though_few_frames_were_looked_at(tmp_path: Path) -> None:
    pair = small_rig(2)
    searching = search(film_board(tmp_path, pair, 1000, late={"cam2": 5}, seed=3))
    with pytest.raises(CalibrationError) as raised:
        calibrate_films(searching, fit)
    late = [each for each in raised.value.findings if each.code == "late_camera"]
    assert [each.cameras for each in late] == [("cam2",)]
    assert late[0].evidence["frames"] == 5
    assert searching.num_searched < 500


def test_films_without_the_board_end_after_two_rounds(films: dict[str, Path]) -> None:
    searching = search(films, Chessboard(columns=9, rows=8, square_size=0.08))
    with pytest.raises(CalibrationError) as raised:
        calibrate_films(searching, fit)
    assert searching.num_searched == 96
    assert {each.severity for each in raised.value.findings} == {"error"}


def test_images_that_cannot_be_decoded_are_left_out(tmp_path: Path) -> None:
    films = film_board(tmp_path, small_rig(2), 240, seed=1)
    damage_frames(films["cam2"], range(100, 150))
    searching = search(films)
    searching.search_next()
    seen = searching.detections()
    assert seen.seen[0].sum() > seen.seen[1].sum() > 20


def test_a_located_chessboard_has_the_corners_of_the_whole_image(films: dict[str, Path]) -> None:
    compared = missed = 0
    for number, image in read_frames(open_source("cam1", films["cam1"])):
        if number % 15 == 0 and (whole := find_chessboard(image, BOARD.grid)) is not None:
            located = find_located_chessboard(image, BOARD.grid)
            missed += located is None
            if located is not None:
                compared += 1
                assert np.median(np.linalg.norm(located - whole, axis=-1)) < 0.05
    assert compared >= 10
    assert missed <= 0.2 * compared


@pytest.mark.slow
def test_the_command_searches_long_films(films: dict[str, Path], tmp_path: Path) -> None:
    output = tmp_path / "rig.toml"
    views = [f"{name}={path}" for name, path in films.items()]
    board = ("--chessboard", "6x5", "--square", "0.08", "--coefficients", 0)
    result = run("calibrate", *views, *board, "--origin-frame", 87, "-o", output)
    assert result.exit_code == 0, result.output
    assert f"searching {NUM_FRAMES} frames of {len(films)} films" in result.stdout.splitlines()[1]
    assert f"of {NUM_FRAMES} frames; boards in" in result.stdout
    assert largest_errors(CameraGroup.load(output))[0] < 0.004
    lenses = tmp_path / "lenses.toml"
    result = run("calibrate", views[0], *board, "--lenses-only", "-o", lenses)
    assert result.exit_code == 0, result.output
    assert np.abs(CameraGroup.load(lenses).matrix[:, 0, 0] / 300 - 1).max() < 0.01
