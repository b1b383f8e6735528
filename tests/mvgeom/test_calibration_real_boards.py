"""Real images of boards: against OpenCV's stereo calibration, and against a rig that Qualisys calibrated."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mvgeom import CameraGroup, project, triangulate
from mvgeom.calibration import (
    Chessboard,
    Detections,
    Lens,
    Options,
    calibrate,
    calibrate_lenses,
    detect_boards,
    from_points,
    open_source,
)

BOARDS = Path(__file__).parents[2].parent / "shared" / "boards"
pytestmark = pytest.mark.skipif(not BOARDS.is_dir(), reason=f"{BOARDS} is absent")

STEREO = BOARDS / "boards_opencv_stereo"
CHECKER = BOARDS / "boards_pose2sim_checker"

SCENE = np.array([[-2, 0.3, 0], [-2, 0, 0], [-2, -0.3, 0], [0, 0.3, 0], [0, 0, 0], [0, -0.3, 0]])
"""Corners and middles of the ends of a plank, meters, from the Config.toml beside the images."""

CLICKED = np.array(
    [
        [[np.nan] * 2, [224.5, 970.7], [117.7, 980.4], [832.6, 1441.9], [715.3, 1482.9], [578.6, 1529.4]],
        [[719.7, 1004.7], [622.9, 997.3], [np.nan] * 2, [np.nan] * 2, [468.6, 1357.8], [317.5, 1345.3]],
        [[828.9, 1494.2], [919.6, 1406.4], [993.2, 1328.2], [132.8, 1136.3], [220.2, 1086.4], [311.9, 1042.9]],
        [[386.1, 1615.7], [538.6, 1603.4], [712.0, 1586.2], [631.2, 1005.6], [726.3, 978.3], [842.0, 949.6]],
    ]
)
"""Their places in the four images of the scene, read by a person, to some 3 px; hidden ones are left out."""


@pytest.fixture(scope="module")
def stereo() -> Detections:
    sources = {side: open_source(side, STEREO / f"{side}*.jpg") for side in ("left", "right")}
    return detect_boards(sources, Chessboard(columns=9, rows=6, square_size=25.0))


@pytest.fixture(scope="module")
def checker() -> Detections:
    folders = {f"cam_0{number}": CHECKER / "intrinsics" / f"int_cam0{number}_img" for number in range(1, 5)}
    sources = {name: open_source(name, folder) for name, folder in folders.items()}
    return detect_boards(sources, Chessboard(columns=4, rows=7, square_size=0.06))


def test_all_boards_are_found(stereo: Detections, checker: Detections) -> None:
    assert stereo.seen.sum() == 26
    # Two of the 28 images do not show the whole board.
    np.testing.assert_array_equal(checker.seen.sum(axis=1), [7, 6, 7, 6])
    assert stereo.findings == checker.findings == ()


def opencv_stereo(found: Detections) -> tuple[float, np.ndarray, np.ndarray]:
    """RMS in px, rotation and translation of cv2.stereoCalibrate, all parameters free, from the same corners."""
    size = tuple(int(value) for value in found.sizes[0])
    images = [[points.astype(np.float32) for points in side] for side in found.points]
    board = [found.object_points.astype(np.float32)] * len(images[0])
    start = [cv2.calibrateCamera(board, side, size, None, None)[1:3] for side in images]  # type: ignore[call-overload]
    rms, *_, rotation, translation, _, _ = cv2.stereoCalibrate(
        board, *images, *start[0], *start[1], size, flags=cv2.CALIB_USE_INTRINSIC_GUESS, criteria=(3, 500, 1e-10)
    )
    return rms, rotation, translation.reshape(3)


def test_stereo_is_as_good_as_opencv(stereo: Detections) -> None:
    rms, rotation, translation = opencv_stereo(stereo)
    assert rms < 0.217  # what OpenCV's own detector gives
    result = calibrate(stereo, Options(loss="linear", lens=Lens(num_coefficients=5)))
    assert result.rms <= rms + 1e-6
    angle = np.rad2deg(Rotation.from_matrix(result.cameras.rotation[1] @ rotation.T).magnitude())
    assert angle < 0.01
    np.testing.assert_allclose(result.cameras.translation[1], translation, atol=0.02)
    default = calibrate(stereo)  # robust
    assert default.rms <= rms + 1e-3
    assert np.rad2deg(Rotation.from_matrix(default.cameras.rotation[1] @ rotation.T).magnitude()) < 0.1
    assert np.linalg.norm(default.cameras.translation[1]) == pytest.approx(83.2, abs=0.1)
    assert default.findings == ()


def test_example_in_the_docs(monkeypatch: pytest.MonkeyPatch) -> None:
    page = Path(__file__).parents[2] / "docs" / "calibration.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    (code,) = [block for block in blocks if "detect_boards" in block]
    monkeypatch.chdir(STEREO)
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["result"].rms == pytest.approx(0.2043, abs=5e-4)


def test_checker_intrinsics_against_qualisys(checker: Detections) -> None:
    qualisys = CameraGroup.load(CHECKER / "Calib_qualisys.toml")
    found = calibrate_lenses(checker, Lens(num_coefficients=2))
    assert (found.rms < 0.17).all()
    # One camera took the images of all four: focal lengths agree to half a percent, principal points do not.
    np.testing.assert_allclose(found.cameras.matrix[:, 0, 0], qualisys.matrix[:, 0, 0], rtol=5e-3)
    centers = found.cameras.matrix[:, :2, 2] - qualisys.matrix[:, :2, 2]
    assert (np.abs(centers) < 50).all()
    # Distortion in that TOML is 64 times too small (Qualisys stores 1/64 px); with that undone k1 agrees.
    np.testing.assert_allclose(found.cameras.distortion[:, 0], 64 * qualisys.distortion[:, 0], atol=0.02)


def test_scene_points_against_qualisys() -> None:
    qualisys = CameraGroup.load(CHECKER / "Calib_qualisys.toml")
    # The clicks are better than the measured scene: Qualisys's cameras put them a few centimeters beside it.
    seen = triangulate(CLICKED, qualisys)
    assert np.linalg.norm(seen - SCENE, axis=1).max() < 0.08
    points = from_points(qualisys.names, qualisys.sizes, SCENE, CLICKED[:, None])
    keep = Lens(num_coefficients=4, fix_intrinsics=True, fix_distortion=True)
    result = calibrate(points, Options(lens=keep, loss="linear", origin_frame="0"), intrinsics=qualisys)
    assert result.rms < 3
    there = np.isfinite(CLICKED).all(-1)
    by_qualisys = np.linalg.norm(project(SCENE, qualisys) - CLICKED, axis=-1)[there]
    assert np.median(by_qualisys) > 10
    angle = np.rad2deg(Rotation.from_matrix(result.cameras.rotation @ np.swapaxes(qualisys.rotation, 1, 2)).magnitude())
    assert (angle < 2).all()
    assert (np.linalg.norm(result.cameras.centers - qualisys.centers, axis=1) < 0.15).all()
