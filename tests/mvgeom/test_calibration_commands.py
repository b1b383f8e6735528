"""mvgeom calibrate, refine and check, as a user runs them: output, files, exit codes, mistakes; and the reports."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from helpers.boards import BOARD as LARGER_BOARD
from helpers.boards import arc_of_cameras, film, photograph
from helpers.errors import check_error, raises_input
from helpers.human4 import CROP, FOLDER, human4
from helpers.mvgeom_command import fails, run, run_next
from mvgeom import CameraGroup, project
from mvgeom.calibration import CharucoBoard, Chessboard, calibrate, from_points, write_calibration_report
from mvgeom.calibration.board_figure import draw_boards

BOARD = Chessboard(columns=7, rows=4, square_size=0.06)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[CameraGroup, list[str]]:
    """A rig of two cameras without distortion, and CAMERA=FOLDER arguments of images it took of a board."""
    truth = arc_of_cameras(2, distortion=()).resize([640.0, 512.0])
    arguments = []
    for name, images in zip(
        truth.names, photograph(truth, BOARD, film(truth, 7, board=BOARD, spread=0.2)), strict=True
    ):
        folder = tmp_path_factory.mktemp(name)
        for frame, image in enumerate(images):
            cv2.imwrite(str(folder / f"{name}-{frame}.png"), image)
        arguments.append(f"{name}={folder}")
    return truth, arguments


@pytest.fixture(scope="module")
def keypoints(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[str]]:
    """A good and a bad calibration of four cameras (the third is turned by 1.5 degrees), and VIEW=CSV arguments."""
    folder = tmp_path_factory.mktemp("keypoints")
    truth = arc_of_cameras(4)
    truth.save(folder / "good.toml")
    turn = cv2.Rodrigues(np.deg2rad([0.9, 1.2, 0.0]))[0]
    rotation, translation = truth.rotation.copy(), truth.translation.copy()
    rotation[2], translation[2] = turn @ rotation[2], turn @ translation[2]
    truth.replace(rotation=rotation, translation=translation).save(folder / "bad.toml")
    rng = np.random.default_rng(0)
    pixels = project(rng.uniform(-0.4, 0.4, (60, 3, 3)), truth)
    pixels += 0.5 * rng.normal(size=pixels.shape)
    columns = pd.MultiIndex.from_product(
        [["net"], ["nose", "tail", "paw"], ["x", "y"]], names=["scorer", "bodyparts", "coords"]
    )
    arguments = []
    for view, name in enumerate(truth.names):
        pd.DataFrame(pixels[:, view].reshape(60, -1), columns=columns).to_csv(folder / f"{name}.csv")
        arguments.append(f"{name}={folder / name}.csv")
    return folder / "good.toml", folder / "bad.toml", arguments


def test_calibrate(images: tuple[CameraGroup, list[str]], tmp_path: Path) -> None:
    truth, arguments = images
    board = ["--chessboard", "7x4", "--square", 0.06, "--coefficients", 0]
    output, report = tmp_path / "rig.toml", tmp_path / "report"
    result = run("calibrate", *arguments, *board, "-o", output, "--report", report, "--origin-frame", 3)
    assert result.exit_code == 0, result.output
    cameras = CameraGroup.load(output)
    assert cameras.names == truth.names
    np.testing.assert_allclose(cameras.matrix[:, 0, 0], truth.matrix[:, 0, 0], rtol=1e-2)
    assert "cam1 - cam2" in result.stdout
    assert "px over 7 boards; corner noise" in result.stdout
    assert "warning: camera 'cam1' saw the board in" in result.stdout
    assert result.stderr.strip() == ""
    assert {path.name for path in report.iterdir()} == {
        "report.json",
        "residuals.csv",
        *(f"{name}{kind}.png" for name in ("cam1", "cam2") for kind in ("", "_boards")),
    }
    content = json.loads((report / "report.json").read_text())
    assert content["rms_px"] < 0.3
    assert content["pairs"][0]["cameras"] == ["cam1", "cam2"]
    assert {each["code"] for each in content["findings"]} >= {"too_few_boards"}

    assert run_next(result).exit_code == 0

    only = run("calibrate", *arguments, *board, "-o", tmp_path / "my lenses.json", "--lenses-only")
    assert only.stdout.endswith(f"--intrinsics '{tmp_path / 'my lenses.json'}'\n")
    only = run("calibrate", *arguments, *board, "-o", tmp_path / "lenses.mat", "--lenses-only")
    assert only.exit_code == 0, only.output
    assert run_next(only).exit_code == 0  # which writes lenses.json
    assert "cam2: rms 0." in only.stdout
    lenses = CameraGroup.load(tmp_path / "lenses.json")
    np.testing.assert_array_equal(lenses.translation, 0)
    kept = run(
        "calibrate", *arguments, *board, "-o", output, "--intrinsics", tmp_path / "lenses.json", "--fix-intrinsics",
        "--fix-distortion", "--reference", "cam2", "--every", 2,
    )  # fmt: skip
    assert kept.exit_code == 0, kept.output
    again = CameraGroup.load(output)
    np.testing.assert_allclose(again.matrix, lenses.matrix)
    np.testing.assert_allclose(again.translation[1], 0, atol=1e-9)


def test_calibrate_names_the_reason_of_a_failure(images: tuple[CameraGroup, list[str]], tmp_path: Path) -> None:
    _, arguments = images
    output = tmp_path / "rig.toml"
    result = run("calibrate", *arguments, "--chessboard", "8x5", "--square", 1, "-o", output)
    assert result.exit_code == 2
    check_error(result.error, "no-calibration")
    lines = result.stderr.splitlines()
    assert [line[:21] for line in lines] == ["error: camera 'cam1':", "error: camera 'cam2':"]
    assert all("there is a board of 7x4 inner corners" in line for line in lines)
    assert not output.exists()


def test_calibrate_charuco(tmp_path: Path) -> None:
    board = CharucoBoard(columns=7, rows=5, square_size=0.04, marker_size=0.03)
    truth = arc_of_cameras(1, distortion=())
    (images,) = photograph(truth, board, film(truth, 7, board=board, spread=0.2))
    for frame, image in enumerate(images):
        cv2.imwrite(str(tmp_path / f"{frame}.png"), image)
    options = ["--charuco", "7x5", "--square", 0.04, "--marker", 0.03, "--coefficients", 0, "-o", tmp_path / "rig.json"]
    result = run("calibrate", f"cam1={tmp_path}", *options)
    assert result.exit_code == 0, result.output
    found = CameraGroup.load(tmp_path / "rig.json")
    assert found.matrix[0, 0, 0] == pytest.approx(truth.matrix[0, 0, 0], rel=0.01)


def test_calibrate_mistakes(images: tuple[CameraGroup, list[str]], tmp_path: Path) -> None:
    _, arguments = images
    board = ["--chessboard", "7x4", "--square", 0.06]
    output = ["-o", tmp_path / "rig.toml"]
    fails("bad-option", "calibrate", *arguments, *output, option="--chessboard")
    fails("bad-option", "calibrate", *arguments, *board, "--charuco", "7x5", *output, option="--chessboard")
    fails("missing-argument", "calibrate", *arguments, "--chessboard", "7x4", *output, option="--square")
    charuco = ["--charuco", "7x4", "--square", 1]
    fails("missing-argument", "calibrate", *arguments, *charuco, *output, option="--marker")
    fails("bad-option", "calibrate", *arguments, "--chessboard", "7", *board[2:], *output, option="--chessboard")
    fails("missing-file", "calibrate", "cam1=nowhere", *board, *output, path="nowhere")
    fails("bad-option", "calibrate", "nowhere", *board, *output, option="CAMERA=PATH")
    fails("unknown-format", "calibrate", *arguments, *board, "-o", tmp_path / "rig.bin", path="rig.bin")
    fails("missing-file", "calibrate", *arguments, *board, "-o", tmp_path / "no" / "rig.toml", path="no")
    coefficients = [*board, "--coefficients"]
    fails("unsupported-camera", "calibrate", *arguments, *coefficients, 8, *output, field="distortion")
    fails("unknown-choice", "calibrate", *arguments, *coefficients, 3, *output, argument="num_coefficients")
    fixed = ["--fix-intrinsics", "--every", 6]
    fails("missing-argument", "calibrate", *arguments, *board, *fixed, *output, argument="intrinsics")


def test_check(keypoints: tuple[Path, Path, list[str]]) -> None:
    good, bad, arguments = keypoints
    result = run("check", good, *arguments)
    assert result.exit_code == 0, result.output
    assert "no camera disagrees with the others" in result.stdout
    result = run("check", bad, *arguments)
    assert result.exit_code == 1
    assert "error: camera 'cam3' disagrees with the others" in result.stdout
    assert "Turned by 1.5" in result.stdout
    result = run("check", good, *arguments, "--image-size", "cam2=640x512")
    assert result.exit_code == 1
    assert "camera 'cam2' was calibrated for images of 1280x1024 px, they are 640x512 px" in result.stdout
    swapped = [arguments[0].replace("cam1=", "cam2="), arguments[1].replace("cam2=", "cam1="), *arguments[2:]]
    result = run("check", good, *swapped)
    assert result.exit_code == 1
    assert "the keypoints of 'cam2' and 'cam1' are exchanged" in result.stdout


def test_refine(keypoints: tuple[Path, Path, list[str]], tmp_path: Path) -> None:
    good, bad, arguments = keypoints
    output, report = tmp_path / "refined.toml", tmp_path / "report"
    result = run("refine", bad, *arguments, "-o", output, "--hold", "cam1", "--report", report)
    assert result.exit_code == 0, result.output
    np.testing.assert_allclose(CameraGroup.load(output).rotation, CameraGroup.load(good).rotation, atol=2e-3)
    assert "median reprojection error" in result.stdout
    assert run("check", output, *arguments).exit_code == 0
    with (report / "residuals.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * 60
    assert rows[0].keys() == {"camera", "row", "points", "rms_px", "max_px"}
    content = json.loads((report / "report.json").read_text())
    assert content["turned_deg"]["cam3"] == pytest.approx(1.5, abs=0.1)
    assert content["median_error_after_px"] < content["median_error_before_px"]
    assert content["standard_deviations"]["rotation_deg"]["cam1"] == [0, 0, 0]
    assert (report / "cam4.png").stat().st_size > 10_000


def test_refine_and_check_mistakes(keypoints: tuple[Path, Path, list[str]], tmp_path: Path) -> None:
    good, _, arguments = keypoints
    output = ["-o", tmp_path / "refined.toml"]
    fails("missing-view", "refine", good, *arguments, *output, "--hold", "cam9", view="cam9")
    fails("too-few-views", "refine", good, arguments[0], *output, found=1)
    fails("unknown-format", "refine", good, *arguments, "-o", tmp_path / "a.bin", path="a.bin")
    fails("missing-file", "check", good, arguments[0], "cam2=none.csv", path="none.csv")
    fails("missing-view", "check", good, arguments[0], arguments[1].replace("cam2=", "side="), view="side")
    fails("bad-option", "check", good, *arguments, "--image-size", "cam1=big", option="--image-size")
    fails("missing-view", "check", good, *arguments, "--image-size", "top=10x10", view="top")


def test_report_of_a_calibration_with_views_left_out(tmp_path: Path) -> None:
    filmed = film(arc_of_cameras(2), 12, noise=0.2, spread=0.5)
    points = filmed.points.copy()
    points[1, 4] += 40.0
    cameras = filmed.cameras
    result = calibrate(from_points(cameras.names, cameras.sizes, LARGER_BOARD, points))
    files = write_calibration_report(result, tmp_path / "a" / "b")
    assert [path.name for path in files] == [
        *("report.json", "residuals.csv", "cam1.png", "cam2.png"),
        *("cam1_boards.png", "cam2_boards.png"),
    ]
    with files[1].open() as file:
        rows = list(csv.DictReader(file))
    # Two cameras contradict each other; one of them keeps the board.
    (left_out,) = [row for row in rows if row["used"] == "0"]
    assert left_out["frame"] == "4"
    assert float(left_out["rms_px"]) > 10
    assert all(float(row["rms_px"]) < 1 for row in rows if row["used"] == "1")
    (tmp_path / "file").write_text("")
    with raises_input("unwritable-file", path="x"):
        write_calibration_report(result, tmp_path / "file" / "x")


def test_human4(tmp_path: Path) -> None:
    cameras, _ = human4()
    views = [f"{name}={FOLDER / f'CollectedData_{name}.csv'}" for name in cameras.names]
    boxes = [part for name in cameras.names for part in ("--boxes", f"{name}={FOLDER / f'bboxes_{name}.csv'}")]
    crop = ["--crop-size", "{}x{}".format(*CROP)]
    checked = run("check", FOLDER / "calibration.toml", *views, *boxes, *crop)
    assert checked.exit_code == 1
    assert "error: camera 'cam3' disagrees with the others" in checked.stdout
    refined = run("refine", FOLDER / "calibration.toml", *views, *boxes, *crop, "-o", tmp_path / "refined.toml")
    assert refined.exit_code == 0, refined.output
    assert "median reprojection error 12.07 -> 6.9" in refined.stdout
    assert run("check", tmp_path / "refined.toml", *views, *boxes, *crop).exit_code == 0


@pytest.mark.parametrize(("distortion", "ends"), [(-0.1, False), (-0.9, True)])
def test_the_figure_of_boards_states_where_the_lens_ends(distortion: float, ends: bool) -> None:
    rig = arc_of_cameras(2, distortion=(distortion, 0, 0, 0, 0))
    points = film(arc_of_cameras(2, distortion=(-0.1, 0, 0, 0, 0)), 20).points[0]
    used = np.arange(20) >= 2
    (axes,) = draw_boards(rig.select(["cam1"]), points, used).axes
    legend = axes.get_legend()
    assert legend is not None
    assert any("viewing ray" in text.get_text() for text in legend.get_texts()) == ends
    outlines = [line for line in axes.get_lines() if line.get_linestyle() == "--"]
    assert len(outlines) == np.isfinite(points[:2]).any((1, 2)).sum()
