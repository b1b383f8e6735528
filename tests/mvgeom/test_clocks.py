"""Clocks of cameras: their file beside the calibration, frames by them, and interpolated keypoints."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from helpers.errors import raises_input
from helpers.unsynchronized import same_clocks
from mvgeom.clock_files import clocks_file, copy_clocks, find_clocks, load_clocks, save_clocks
from mvgeom.clocks import Clocks, interpolate_keypoints

NAMES = ("a", "b", "c")


def make(offset: tuple[float, ...] = (0, 0.05, -0.02), drift: tuple[float, ...] = (0, 0, 1e-4)) -> Clocks:
    unknown = np.full(len(offset), np.nan)
    return Clocks(
        names=NAMES[: len(offset)],
        reference="a",
        frame_rate=50,
        offset=np.array(offset),
        drift=np.array(drift),
        offset_std=unknown,
        drift_std=unknown,
    )


def test_the_file_is_beside_the_calibration_and_read_as_written(tmp_path: Path) -> None:
    calibration = tmp_path / "rig.toml"
    assert clocks_file(calibration) == tmp_path / "rig.sync.json"
    assert find_clocks(calibration) is None
    clocks = replace(make(), offset_std=np.array([0, 0.001, 0.002]))
    save_clocks(clocks, clocks_file(calibration))
    found = find_clocks(calibration)
    assert found is not None
    assert same_clocks(found, clocks)
    text = clocks_file(calibration).read_text(encoding="utf-8")
    assert "offset + (1 + drift) t seconds" in text  # a person can read what the numbers mean


def test_the_file_of_a_calibration_that_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "v1.2").mkdir()
    assert clocks_file(tmp_path / "v1.2") == tmp_path / "v1.2.sync.json"
    monkeypatch.chdir(tmp_path / "v1.2")
    assert clocks_file(Path()) == tmp_path / "v1.2.sync.json"


def test_copies_follow_the_calibration_and_its_names(tmp_path: Path) -> None:
    first, second = tmp_path / "one.toml", tmp_path / "two.xml"
    assert copy_clocks(first, second) is None
    assert not clocks_file(second).exists()
    save_clocks(make(), clocks_file(first))
    assert copy_clocks(first, second, {"a": "top"}) == clocks_file(second)
    found = load_clocks(clocks_file(second))
    assert (found.names, found.reference) == (("top", "b", "c"), "top")


@given(offset=st.floats(-2, 2), drift=st.floats(-0.05, 0.05), frame=st.integers(-50, 5000))
def test_positions_and_nearest_frames_are_inverse(offset: float, drift: float, frame: int) -> None:
    clocks = make((0, offset), (0, drift))
    own = clocks.own_positions(np.array([frame]))
    assert own[0] == pytest.approx(frame)
    assert clocks.nearest_frames(1, own[1]).tolist() == [frame]
    assert (np.diff(clocks.nearest_frames(1, np.arange(200))) >= 0).all()


def test_selected_clocks_keep_their_reference() -> None:
    found = make().select(["c", "b"])
    assert (found.names, found.reference) == (("c", "b"), "a")
    assert found.offset.tolist() == [-0.02, 0.05]
    with raises_input("missing-view", view="d"):
        make().select(["a", "d"])


def test_keypoints_between_frames_are_on_a_line_and_gaps_stay() -> None:
    points = np.arange(8.0)[:, None, None, None] * np.ones((8, 2, 1, 2))
    points[4, 1] = np.nan
    likelihood = np.linspace(0.2, 0.9, 8)[:, None, None] * np.ones((8, 2, 1))
    moved, lowest = interpolate_keypoints(points, make((0, 0.03), (0, 0)), likelihood)  # 1.5 frames late
    assert np.array_equal(moved[:, 0], points[:, 0])
    assert moved[:, 1, 0, 0] == pytest.approx([1.5, 2.5, np.nan, np.nan, 5.5, 6.5, np.nan, np.nan], nan_ok=True)
    assert lowest[0, 1, 0] == likelihood[1, 1, 0]
    whole, _ = interpolate_keypoints(points, make((0, -0.04), (0, 0)))  # a whole frame needs no neighbor
    assert whole[:, 1, 0, 0] == pytest.approx([np.nan, np.nan, 0, 1, 2, 3, np.nan, 5], nan_ok=True)


@pytest.mark.parametrize("step", [1, 2, 10])
def test_rows_a_regular_step_apart_are_interpolated_and_gaps_are_not(step: int) -> None:
    frames = step * np.array([0, 1, 2, 3, 6, 7, 8])  # two rows are missing
    points = frames[:, None, None, None] * np.ones((7, 2, 1, 2))
    late = make((0, 0.25 * step / 50), (0, 0))  # a quarter of the step
    moved, _ = interpolate_keypoints(points, late, None, frames)
    assert np.array_equal(moved[:, 0], points[:, 0])
    expected = step * np.array([0.25, 1.25, 2.25, np.nan, 6.25, 7.25, np.nan])
    assert moved[:, 1, 0, 0] == pytest.approx(expected, nan_ok=True)


@given(frames=st.lists(st.integers(0, 500), min_size=1, max_size=20, unique=True), offset=st.floats(-0.05, 0.05))
def test_no_gap_beyond_one_frame_is_bridged_without_a_regular_step(frames: list[int], offset: float) -> None:
    numbers = np.sort(np.array([*frames, 1000, 1100, 1300]))
    widths = np.diff(numbers)
    assume(2 * np.unique(widths, return_counts=True)[1].max() <= len(widths))
    points = numbers[:, None, None, None] * np.ones((len(numbers), 2, 1, 2))
    moved, _ = interpolate_keypoints(points, make((0, offset), (0, 0)), None, numbers)
    at = numbers + 50 * offset
    for place, value in zip(at, moved[:, 1, 0, 0], strict=True):
        near = np.abs(numbers - place) < 1
        assert np.isnan(value) or value == pytest.approx(place, abs=1e-5)
        assert np.isnan(value) == (not (near.sum() > 1 or (np.abs(numbers - place) < 1e-6).any()))


def test_a_view_of_every_second_frame_keeps_its_own_step() -> None:
    points = np.arange(8.0)[:, None, None, None] * np.ones((8, 2, 1, 2))
    points[1::2, 1] = np.nan
    moved, _ = interpolate_keypoints(points, make((0, 0.01), (0, 0)))  # half a frame late
    assert moved[:, 1, 0, 0] == pytest.approx([0.5, 1.5, 2.5, 3.5, 4.5, 5.5, np.nan, np.nan], nan_ok=True)


def document(**changes: Any) -> dict[str, Any]:
    return {"reference": "a", "frame_rate": 50, "cameras": {"a": {"offset": 0, "drift": 0}}, **changes}


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("nothing", "invalid-syntax"),
        ([], "missing-field"),
        ({}, "missing-field"),
        (document(cameras={}), "missing-field"),
        (document(cameras={"a": {"offset": 0}}), "missing-field"),
        (document(cameras={"a": 3}), "bad-field"),
        (document(reference="b"), "bad-field"),
        (document(reference=None), "bad-field"),
        (document(reference=["a"]), "bad-field"),
        (document(frame_rate="50"), "bad-number"),
        (document(frame_rate=0), "out-of-range"),
        (document(frame_rate=float("inf")), "out-of-range"),
        (document(frame_rate=True), "bad-number"),
        (document(cameras={"a": {"offset": None, "drift": 0}}), "bad-number"),
        (document(cameras={"a": {"offset": float("nan"), "drift": 0}}), "not-finite"),
        (document(cameras={"a": {"offset": 0, "drift": 2}}), "out-of-range"),
    ],
)
def test_a_wrong_file_is_named(content: Any, code: str, tmp_path: Path) -> None:
    path = tmp_path / "rig.sync.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    with raises_input(code, path=path):
        load_clocks(path)


def test_another_frame_rate_is_refused_and_an_unknown_one_is_not() -> None:
    make().check_rate(50.2, "video")
    make().check_rate(0, "video")
    with raises_input("rates-differ", found=25, expected=50):
        make().check_rate(25, "video")
