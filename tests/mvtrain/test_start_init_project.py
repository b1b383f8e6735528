"""`mvtrain init`: names read, calibrations of any format, links and copies, and what is refused with help."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from helpers.errors import raises_input
from helpers.rigs import ring
from helpers.videos import write_session
from mvgeom import CameraGroup
from mvgeom.clock_files import save_clocks
from mvgeom.clocks import Clocks
from mvgeom.errors import InputError
from mvgeom.formats import FORMATS
from mvtrain.config import load_config
from mvtrain.predict.recordings import find_sessions
from mvtrain.project.calibrations import find_calibrations, load_cameras, load_view_clocks
from mvtrain.project.frame_rows import read_frame_rows
from mvtrain.start.init_project import InitOptions, init_project
from mvtrain.start.session_plan import VideoInput

VIEWS = ("top", "left", "right")
SIZE = (64, 48)


def rig(names: Sequence[str] = VIEWS) -> CameraGroup:
    cameras = ring(len(names), size=64)
    return cameras.replace(names=tuple(names), sizes=[[64.0, 48.0]] * len(names))


def start(tmp_path: Path, *sources: Path | VideoInput, **options: Any) -> tuple[Path, str]:
    """Run the command; return the project and what was printed."""
    output = tmp_path / "project"
    console = Console(record=True, width=400, file=io.StringIO(), markup=False)
    given = InitOptions(**{"output": output, "keypoint_names": ("nose", "tail"), "cameras": {}, **options})
    inputs = [source if isinstance(source, VideoInput) else VideoInput(path=source) for source in sources]
    init_project(inputs, given, console)
    return output, console.export_text()


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Two sessions of three views."""
    for session in ("day10", "day2"):
        write_session(tmp_path / "raw", VIEWS, [3, 3, 3], session=session)
    return tmp_path / "raw"


@pytest.mark.parametrize("copy", [False, True])
def test_a_project_that_every_reader_reads(tmp_path: Path, raw: Path, copy: bool) -> None:
    rig().save(tmp_path / "rig.toml")
    (raw / "day2_top_bbox.csv").write_text("x,y,h,w\n")
    project, printed = start(tmp_path, raw, calibration=tmp_path / "rig.toml", copy=copy, skeleton=(("nose", "tail"),))
    config = load_config(project / "config.yaml")
    rows = read_frame_rows(config)
    assert (len(rows), rows.view_names, rows.keypoint_names) == (0, VIEWS, ("nose", "tail"))
    found = find_sessions([config.data.video_dir or project], VIEWS)
    assert {session.name for session in found.complete} == {"day2", "day10"}
    assert not found.incomplete
    assert all(video.is_symlink() != copy for session in found.complete for video in session.videos)
    assert (project / "videos" / "day2_top_bbox.csv").is_file()
    files, _ = find_calibrations(project, [("day2", "img1.png")], None)
    (cameras,) = load_cameras(files, VIEWS)
    assert cameras is not None
    assert (project / "calibration.toml").read_bytes() == (tmp_path / "rig.toml").read_bytes()
    assert config.training.imgaug_3d
    assert config.model.attention == "per_view"
    assert config.data.skeleton == (("nose", "tail"),)
    assert config.training.max_epochs is None
    assert f"Next: mvtrain frames {project}" in printed
    # The reading: natural order of the sessions, the calibration's order of the views.
    assert printed.index("day2") < printed.index("day10")


@pytest.mark.parametrize("name", [name for name, each in FORMATS.items() if not getattr(each, "READ_ONLY", False)])
def test_calibrations_of_every_format_that_is_written(tmp_path: Path, raw: Path, name: str) -> None:
    path = tmp_path / f"rig{next(iter(FORMATS[name].SUFFIXES), '')}"
    cameras = rig().replace(distortion=np.zeros((3, 0)))
    cameras.save(path, file_format=name)
    if name == "dlt":  # has no names of cameras
        with pytest.raises(InputError):
            start(tmp_path, raw, calibration=path)
        return
    project, _ = start(tmp_path, raw, calibration=path)
    written = CameraGroup.load(project / "calibration.toml").select(VIEWS)
    # DANNCE's files have no sizes, and get those of the videos.
    assert written.sizes.tolist() == [[64.0, 48.0]] * 3
    np.testing.assert_allclose(written.centers, cameras.centers, atol=1e-6)


def test_clocks_follow_the_calibration_under_the_names_of_the_views(tmp_path: Path, raw: Path) -> None:
    cameras = ("c0", "c1", "c2")
    rig(cameras).save(tmp_path / "rig.json")
    zeros = np.zeros(3)
    clocks = Clocks(
        names=cameras, reference="c0", frame_rate=25, offset=zeros, drift=zeros, offset_std=zeros, drift_std=zeros
    )
    save_clocks(clocks, tmp_path / "rig.sync.json")
    renamed = dict(zip(cameras, VIEWS, strict=True))
    project, _ = start(tmp_path, raw, calibration=tmp_path / "rig.json", cameras=renamed)
    found = load_view_clocks(project / "calibration.toml", VIEWS)
    assert found is not None
    assert found.reference == VIEWS[0]


def test_calibrations_by_session(tmp_path: Path, raw: Path) -> None:
    (tmp_path / "rigs").mkdir()
    rig().save(tmp_path / "rigs" / "day2.toml")
    project, printed = start(tmp_path, raw, calibration=tmp_path / "rigs")
    assert [path.name for path in (project / "calibrations").iterdir()] == ["day2.toml"]
    assert "2 sessions (1 calibrated)" in printed
    config = load_config(project / "config.yaml")
    assert config.training.imgaug_3d
    assert config.model.attention == "joint"


def test_cameras_under_other_names(tmp_path: Path, raw: Path) -> None:
    rig(("c0", "c1", "c2")).save(tmp_path / "rig.json")
    with raises_input("bad-name", suggestion=None):
        start(tmp_path, raw, calibration=tmp_path / "rig.json")
    renamed = {"c0": "right", "c1": "top", "c2": "left"}
    project, _ = start(tmp_path, raw, calibration=tmp_path / "rig.json", cameras=renamed)
    assert CameraGroup.load(project / "calibration.toml").names == ("right", "top", "left")
    assert read_frame_rows(load_config(project / "config.yaml")).view_names == ("right", "top", "left")
    with raises_input("missing-view", view="c9"):
        start(tmp_path, raw, calibration=tmp_path / "rig.json", cameras={"c9": "top"}, output=tmp_path / "other")


def test_views_that_the_calibration_lacks(tmp_path: Path, raw: Path) -> None:
    rig(("top", "left")).save(tmp_path / "rig.toml")
    with raises_input("missing-view", view="right", expected=VIEWS):
        start(tmp_path, raw, calibration=tmp_path / "rig.toml", view_names=VIEWS)


def test_a_calibration_may_have_more_cameras(tmp_path: Path, raw: Path) -> None:
    rig(("back", *VIEWS)).save(tmp_path / "rig.toml")
    project, _ = start(tmp_path, raw, calibration=tmp_path / "rig.toml")
    assert read_frame_rows(load_config(project / "config.yaml")).view_names == VIEWS


def test_one_view_without_calibration(tmp_path: Path) -> None:
    write_session(tmp_path / "raw", ["top"], [3])
    project, printed = start(tmp_path, tmp_path / "raw")
    config = load_config(project / "config.yaml")
    assert read_frame_rows(config).view_names == ("top",)
    assert not config.training.imgaug_3d
    assert "no calibration" not in printed


def test_videos_without_a_view_in_their_names(tmp_path: Path) -> None:
    write_session(tmp_path / "raw", ["1"], [3], session="mouse")
    (tmp_path / "raw" / "mouse_1.avi").rename(tmp_path / "raw" / "mouse1.avi")
    with raises_input("bad-name"):
        start(tmp_path, tmp_path / "raw")
    project, _ = start(tmp_path, VideoInput(path=tmp_path / "raw", view="top"))
    assert (project / "videos" / "mouse1_top.avi").exists()


def test_folders_for_sessions(tmp_path: Path) -> None:
    for session in ("a", "b"):
        for path in write_session(tmp_path / "raw" / session, VIEWS, [2, 2, 2], session="x"):
            path.rename(path.with_name(path.name.removeprefix("x_")))
    with raises_input("bad-name", suggestion="<session>/<view>"):
        start(tmp_path, tmp_path / "raw")
    project, _ = start(tmp_path, tmp_path / "raw", pattern="<session>/<view>")
    assert {path.name for path in (project / "videos").iterdir()} >= {"a_top.avi", "b_right.avi"}


def test_names_that_do_not_fit_are_shown_with_the_pattern_that_helps(tmp_path: Path) -> None:
    rig().save(tmp_path / "rig.toml")
    for view in VIEWS:
        write_session(tmp_path / "raw", ["day1"], [2], session=view)
    with raises_input("bad-name", suggestion="<view>_<session>"):
        start(tmp_path, tmp_path / "raw", calibration=tmp_path / "rig.toml")
    project, _ = start(tmp_path, tmp_path / "raw", calibration=tmp_path / "rig.toml", pattern="<view>_<session>")
    assert (project / "videos" / "day1_top.avi").exists()


def test_sessions_without_a_view(tmp_path: Path, raw: Path) -> None:
    (raw / "day2_left.avi").unlink()
    with raises_input("missing-view", session="day2", view="left"):
        start(tmp_path, raw)
    assert not (tmp_path / "project").exists()
    project, printed = start(tmp_path, raw, skip=True)
    assert {path.name for path in (project / "videos").iterdir()} == {f"day10_{view}.avi" for view in VIEWS}
    assert "left out: session 'day2'" in printed


def test_a_dry_run_writes_nothing(tmp_path: Path, raw: Path) -> None:
    project, printed = start(tmp_path, raw, dry_run=True)
    assert not project.exists()
    assert "day2_left.avi (64x48)" in printed


def test_a_video_of_another_size_than_its_camera(tmp_path: Path, raw: Path) -> None:
    rig().replace(sizes=[[128.0, 96.0]] * 3).save(tmp_path / "rig.toml")
    _, printed = start(tmp_path, raw, calibration=tmp_path / "rig.toml")
    assert "warning: day2_top.avi is 64x48 px" in printed


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda raw: write_session(raw, ["top"], [2], session="day2", suffix=".mp4"), "duplicate-name"),
        (lambda raw: (raw / "day2_top.avi").write_bytes(b"no video"), "unreadable-file"),
    ],
)
def test_faulty_videos(tmp_path: Path, raw: Path, change: Any, code: str) -> None:
    change(raw)
    with raises_input(code):
        start(tmp_path, raw)
    assert not (tmp_path / "project").exists()


def test_names_that_the_project_would_read_as_others(tmp_path: Path) -> None:
    for name in ("cam-a_left", "left_cam-a_left"):
        write_session(tmp_path / "raw", ["v"], [2], session=name)[0].rename(tmp_path / "raw" / f"{name}.avi")
    with raises_input("bad-name", session="a_left", view="cam"):
        start(tmp_path, tmp_path / "raw", pattern="<view>-<session>", view_names=("cam", "left_cam"))


def test_an_existing_folder_is_not_touched(tmp_path: Path, raw: Path) -> None:
    (tmp_path / "project").mkdir()
    with raises_input("occupied-folder", path="project"):
        start(tmp_path, raw)


@pytest.mark.parametrize("kind", ["folder", "pattern", "file"])
def test_a_video_of_two_views_is_refused(tmp_path: Path, raw: Path, kind: str) -> None:
    path = {"folder": raw, "pattern": raw / "day2*", "file": raw / "day2_top.avi"}[kind]
    if kind == "file":
        path = next(raw.glob("day2_top.*"))
    with raises_input("duplicate-name", views=("top", "left")):
        start(tmp_path, VideoInput(path=path, view="top"), VideoInput(path=path, view="left"))


@pytest.mark.parametrize("skip", [False, True])
def test_a_given_view_that_the_project_would_not_have_is_refused(tmp_path: Path, raw: Path, skip: bool) -> None:
    sources = [VideoInput(path=raw / f"*_{view}.*", view=view) for view in VIEWS]
    with raises_input("missing-view", view="right"):
        start(tmp_path, *sources, view_names=("top", "left"), skip=skip)
    rig(("top", "left")).save(tmp_path / "rig.toml")
    with raises_input("missing-view", view="right"):
        start(tmp_path, *sources, calibration=tmp_path / "rig.toml", skip=skip)


def test_given_views_end_the_name_of_the_session(tmp_path: Path) -> None:
    views = ("cam_left", "cam_right")
    write_session(tmp_path / "raw", views, [2, 2], session="m_1")
    sources = [VideoInput(path=tmp_path / "raw" / f"*_{view}.*", view=view) for view in views]
    project, _ = start(tmp_path, *sources)
    rows = read_frame_rows(load_config(project / "config.yaml"))
    assert rows.view_names == views


def test_a_video_of_a_folder_may_be_given_again_with_its_view(tmp_path: Path, raw: Path) -> None:
    project, _ = start(tmp_path, VideoInput(path=next(raw.glob("day2_top.*")), view="top"), raw)
    assert read_frame_rows(load_config(project / "config.yaml")).view_names == ("left", "right", "top")


def test_a_view_is_named_once(tmp_path: Path, raw: Path) -> None:
    with raises_input("duplicate-name", option="--views", found=("top",)):
        start(tmp_path, raw, view_names=("top", "side", "top"))
