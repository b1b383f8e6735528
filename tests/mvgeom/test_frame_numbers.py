"""Frame numbers of tables: large ones, written as decimals, twice, or not in order; and boxes for some views only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers.boards import arc_of_cameras
from helpers.command_lines import keypoint_table, write_keypoints
from helpers.mvgeom_command import fails, run
from helpers.unsynchronized import irregular, record
from mvgeom.clock_files import load_clocks, save_clocks
from mvgeom.clocks import Clocks, interpolate_keypoints

FIRST = 10**9
FACTS = {"triangulate": "-o out.csv", "smooth": "-o out.csv", "refine": "-o out.toml", "check": "", "sync": "--fps 60"}
VIEWS = ("cam1=cam1.csv", "cam2=cam2.csv")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def clocks(offset: float, drift: float) -> Clocks:
    return Clocks(
        names=("cam1", "cam2"),
        reference="cam1",
        frame_rate=50.0,
        offset=np.array([0.0, offset / 50]),
        drift=np.array([0.0, drift]),
        offset_std=np.array([0.0, 0.01]),
        drift_std=np.array([0.0, 1e-6]),
    )


def read_3d(path: str) -> np.ndarray:
    return pd.read_csv(path, header=[0, 1, 2], index_col=0).to_numpy()


def test_large_frame_numbers_are_synchronized_like_small_ones(folder: Path) -> None:
    cameras = arc_of_cameras(2)
    cameras.save(folder / "rig.toml")
    pixels = record(cameras, irregular(1), 90, late=(0.0, 2.4))
    found = []
    for first in (0, FIRST):
        rows = [str(first + frame) for frame in range(len(pixels))]
        for view, name in enumerate(cameras.names):
            (folder / f"{name}.csv").write_text(keypoint_table(pixels[:, view], rows))
        result = run("sync", "rig.toml", *VIEWS, "--fps", 50, "--longest", 10)
        assert result.exit_code == 0, result.output
        assert load_clocks(folder / "rig.sync.json").offset_frames[1] == pytest.approx(2.4, abs=0.2)
        result = run("triangulate", "rig.toml", *VIEWS, "-o", "out.csv")
        assert result.exit_code == 0, result.output
        assert "rig.sync.json" in result.stdout
        found.append(read_3d("out.csv"))
    np.testing.assert_allclose(found[1], found[0], atol=1e-4, equal_nan=True)


def test_clocks_count_from_frame_0_wherever_the_rows_begin() -> None:
    own = clocks(2.5, 0.001)
    moved = own.from_frame(FIRST)
    assert own.from_frame(0) is own
    frames = FIRST + np.arange(0, 1000, 100)
    expected = FIRST + own.own_positions(np.arange(0, 1000, 100))
    np.testing.assert_allclose(moved.own_positions(frames), expected, atol=1e-5)
    assert moved.offset_std[0] == 0
    assert moved.offset_std[1] == pytest.approx(np.hypot(0.01, 1e-6 * FIRST / 50))


def test_interpolation_takes_frames_of_any_order_and_distance() -> None:
    rng = np.random.default_rng(0)
    points, likelihood = rng.normal(size=(40, 2, 3, 2)), rng.uniform(size=(40, 2, 3))
    points[20:25] = np.nan
    for shift in (clocks(2.4, 0.0), clocks(-3.0, 0.01)):
        whole = interpolate_keypoints(points, shift, likelihood)
        kept = np.delete(np.arange(40), np.s_[20:25])
        order = rng.permutation(len(kept))
        some = interpolate_keypoints(points[kept][order], shift, likelihood[kept][order], kept[order])
        for one, other in zip(whole, some, strict=True):
            known = np.isfinite(whole[0][kept][order]).all(-1)
            np.testing.assert_array_equal(one[kept][order][known], other[known])
            assert np.isnan(some[0][~known]).any(-1).all()
    nothing = interpolate_keypoints(points[:0], clocks(1.0, 0.0), None, np.array([], dtype=np.int64))
    assert len(nothing[0]) == 0


def test_rows_far_apart_are_no_recording(folder: Path) -> None:
    rows = [str(FIRST * frame) for frame in range(30)]
    write_keypoints(folder, rows)
    fails("out-of-range", "sync", "rig.toml", *VIEWS, "--fps", 50, path="cam1.csv", found=29 * FIRST + 1, expected=30)
    save_clocks(clocks(0.0, 0.0), folder / "rig.sync.json")
    result = run("triangulate", "rig.toml", *VIEWS, "-o", "out.csv")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("command", ["smooth", "sync"])
def test_frame_numbers_beyond_any_counter(command: str, folder: Path) -> None:
    write_keypoints(folder, [str(10**30 + frame) for frame in range(30)])
    fails("out-of-range", command, "rig.toml", *VIEWS, *FACTS[command].split(), path="cam1.csv", line=4)


@pytest.mark.parametrize("command", FACTS)
def test_a_frame_twice_is_named_with_its_line(command: str, folder: Path) -> None:
    rows = [str(frame) for frame in range(30)]
    rows[7] = "3"
    write_keypoints(folder, rows)
    arguments = (command, "rig.toml", *VIEWS, *FACTS[command].split())
    fails("duplicate-name", *arguments, path="cam1.csv", line=11, name="3")
    assert not list(folder.glob("out*"))


@pytest.mark.parametrize("command", ["smooth", "sync"])
def test_frames_that_do_not_ascend_are_named_with_their_line(command: str, folder: Path) -> None:
    rows = [str(frame) for frame in range(30)]
    rows[7], rows[8] = rows[8], rows[7]
    write_keypoints(folder, rows)
    result = run(command, "rig.toml", *VIEWS, *FACTS[command].split())
    assert "learning" not in result.stdout
    fails("bad-number", command, "rig.toml", *VIEWS, *FACTS[command].split(), path="cam1.csv", line=12, found="7")


def test_labeled_images_are_not_numbered(folder: Path) -> None:
    write_keypoints(folder, ["labeled-data/a/img7.png"] * 30)
    assert run("triangulate", "rig.toml", *VIEWS, "-o", "out.csv").exit_code == 0
    fails("bad-number", "smooth", "rig.toml", *VIEWS, "-o", "out.csv", path="cam1.csv", line=4)


@pytest.mark.parametrize("form", ["{}.0", "{}."])
def test_whole_decimals_are_frame_numbers(form: str, folder: Path) -> None:
    tables = []
    for shown in ("{}", form):
        write_keypoints(folder, [shown.format(frame) for frame in range(30)])
        assert run("triangulate", "rig.toml", *VIEWS, "-o", "out.csv").exit_code == 0
        tables.append((folder / "out.csv").read_bytes())
    assert tables[0] == tables[1]
    result = run("smooth", "rig.toml", *VIEWS, "-o", "smooth.csv")
    assert result.exit_code == 0, result.output
    write_keypoints(folder, [str(frame + 0.5) for frame in range(30)])
    fails("bad-number", "smooth", "rig.toml", *VIEWS, "-o", "smooth.csv", path="cam1.csv", line=4)


@pytest.mark.parametrize("command", FACTS)
def test_crops_need_boxes(command: str, folder: Path) -> None:
    write_keypoints(folder)
    (folder / "boxes.csv").write_text("x,y,h,w\n" + "0,0,1024,1280\n" * 30)
    arguments = (command, "rig.toml", *VIEWS, *FACTS[command].split())
    fails("missing-argument", *arguments, "--crop-size", "64x64", option="--boxes")
    boxes = ("--boxes", "cam1=boxes.csv")
    fails("missing-argument", *arguments, *boxes, option="--crop-size")
    fails("bad-option", *arguments, *boxes, "--crop-size", "0x64", option="--crop-size")
    fails("missing-view", *arguments, "--boxes", "top=boxes.csv", "--crop-size", "64x64", view="top")


def test_views_without_boxes_are_named(folder: Path) -> None:
    write_keypoints(folder)
    (folder / "boxes.csv").write_text("x,y,h,w\n" + "0,0,1024,1280\n" * 30)
    command = ("triangulate", "rig.toml", *VIEWS, "-o", "out.csv", "--crop-size", "1280x1024", "--boxes")
    (line,) = run(*command, "cam1=boxes.csv").stderr.splitlines()
    assert line.startswith("warning: ")
    assert "cam2" in line
    assert "cam1" not in line
    assert not run(*command, "cam1=boxes.csv", "--boxes", "cam2=boxes.csv").stderr
