"""`mvtrain import` and `mvtrain convert` as a user runs them, with files made and read by the foreign libraries."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import sleap_io
import xarray as xr
from movement.io import load_dataset

from helpers.command import Outcome, run_mvtrain
from helpers.foreign import (
    frame_number,
    read,
    sleap_labels,
    visible_points,
    write_anipose,
    write_coco,
    write_deeplabcut,
    write_prediction,
)
from helpers.runs import VIEWS, cameras, make_run
from helpers.tiny import TINY_MODEL, generate_tiny_project
from helpers.videos import write_session
from mvgeom import CameraGroup
from mvtrain.project.project import Project

FEW = {0: range(10), 1: range(2, 12), 2: range(0, 12, 2)}
"""Labeled rows of each view, so that most frames lack a view."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("original") / "project"
    return read(generate_tiny_project(folder, num_frames=12, num_sessions=2, image_format="png", occlusion=0.2))


@pytest.fixture
def mvtrain(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    def run(*arguments: object) -> Outcome:
        return run_mvtrain(capsys, monkeypatch, *arguments)

    return run


def assert_equal(imported: Project, original: Project, points: np.ndarray) -> None:
    """Compare views, frames, labels and cameras."""
    assert imported.view_names == original.view_names
    assert imported.keypoint_names == original.keypoint_names
    assert imported.sessions == original.sessions
    numbers = [[frame_number(name) for name in names] for names in imported.image_names]
    assert numbers == [[frame_number(name) for name in names] for names in original.image_names]
    np.testing.assert_allclose(imported.points, points, atol=1e-3)
    for ours, theirs in zip(imported.cameras, original.cameras, strict=True):
        assert ours is not None
        assert theirs is not None
        np.testing.assert_allclose(ours.matrix, theirs.matrix)
        np.testing.assert_allclose(ours.translation, theirs.translation)


def assert_same_images(imported: Project, original: Project, *, atol: int = 0) -> None:
    for ours, theirs in zip(imported.image_paths, original.image_paths, strict=True):
        for path, other in zip(ours, theirs, strict=True):
            difference = cv2.absdiff(cv2.imread(str(path)), cv2.imread(str(other)))
            assert difference.mean() <= atol, (path, other)


def test_anipose_project_passes_check_and_fits(project: Project, tmp_path: Path, mvtrain) -> None:
    source, out = write_anipose(tmp_path / "anipose", project), tmp_path / "out"
    outcome = mvtrain("import", "anipose", source, "--output", out, "--copy-videos")
    assert outcome.status == 0, outcome.err
    assert "3 views (cam1, cam2, cam3), 2 sessions (2 calibrated), 12 frames, 16 keypoints" in outcome.out
    imported = read(out)
    assert_equal(imported, project, visible_points(project))
    assert_same_images(imported, project)
    assert sorted(path.name for path in (out / "videos").iterdir()) == sorted(
        f"{session}_{view}.mp4" for session in set(project.sessions) for view in project.view_names
    )
    checked = mvtrain("check", out / "config.yaml", "--output", tmp_path / "check")
    assert checked.status == 0, checked.out + checked.err
    tiny = [f"model.{key}={value}" for key, value in TINY_MODEL.items() if key != "backbone_args"]
    tiny.append("model.backbone_args={depth: 1, embed_dim: 24, num_heads: 3}")
    tiny += ["training.accelerator=cpu", "training.num_workers=0", "training.train_batch_size=2"]
    fitted = mvtrain("fit", out / "config.yaml", *tiny, "--dry-run")
    assert fitted.status == 0, fitted.out + fitted.err


@pytest.mark.parametrize(
    ("index", "formats"), [("path", ("csv",)), ("levels", ("csv",)), ("levels", ("h5",)), ("path", ("h5",))]
)
def test_deeplabcut_project_of_all_views(
    project: Project, tmp_path: Path, mvtrain, index: str, formats: tuple[str, ...]
) -> None:
    source = write_deeplabcut(tmp_path / "dlc", project, index=index, formats=formats)
    calibrations = project.root / "calibrations"
    outcome = mvtrain("import", "deeplabcut", source, "--output", tmp_path / "out", "--calibration", calibrations)
    assert outcome.status == 0, outcome.err
    imported = read(tmp_path / "out")
    assert_equal(imported, project, visible_points(project))
    assert_same_images(imported, project)


def test_views_with_a_project_each_are_completed_from_their_videos(project: Project, tmp_path: Path, mvtrain) -> None:
    arguments: list[object] = ["import", "deeplabcut", "--calibration", project.root / "calibrations"]
    for view, name in enumerate(project.view_names):
        path = write_deeplabcut(tmp_path / name, project, views=[view], rows={view: FEW[view]}, name="{session}")
        arguments += ["--view", f"{name}={path}"]
    outcome = mvtrain(*arguments, "--output", tmp_path / "out")
    assert outcome.status == 0, outcome.err
    expected = np.full_like(project.points, np.nan)
    for view, rows in FEW.items():
        expected[list(rows), view] = visible_points(project)[list(rows), view]
    imported = read(tmp_path / "out")
    assert_equal(imported, project, expected)
    assert "10 images from videos" in outcome.out
    assert_same_images(imported, project, atol=6)  # videos are compressed with loss; another frame differs by more


@pytest.mark.parametrize("embed", [False, True])
def test_sleap_labels_with_videos_or_images_inside(project: Project, tmp_path: Path, mvtrain, embed: bool) -> None:
    path = tmp_path / ("labels.pkg.slp" if embed else "labels.slp")
    sleap_io.save_slp(sleap_labels(project), str(path), embed=embed, verbose=False)
    calibrations = project.root / "calibrations"
    outcome = mvtrain("import", "sleap", path, "--output", tmp_path / "out", "--calibration", calibrations)
    assert outcome.status == 0, outcome.err
    imported = read(tmp_path / "out")
    assert_equal(imported, project, project.points)
    np.testing.assert_array_equal(imported.visibility, project.visibility)
    assert (project.visibility == 1).any(), "the project has no occluded labels to test"
    assert_same_images(imported, project, atol=6)
    assert ("0 images from videos" in outcome.out) == embed


def test_coco_file_of_all_views(project: Project, tmp_path: Path, mvtrain) -> None:
    source = write_coco(tmp_path / "coco" / "annotations.json", project)
    calibrations = project.root / "calibrations"
    outcome = mvtrain("import", "coco", source, "--output", tmp_path / "out", "--calibration", calibrations)
    assert outcome.status == 0, outcome.err
    imported = read(tmp_path / "out")
    assert_equal(imported, project, project.points)
    np.testing.assert_array_equal(imported.visibility, project.visibility)
    assert_same_images(imported, project)


def test_labels_are_added_to_a_project(project: Project, tmp_path: Path, mvtrain) -> None:
    views = range(len(project.view_names))
    first = write_deeplabcut(tmp_path / "first", project, rows={view: range(9) for view in views}, with_videos=False)
    second = write_deeplabcut(tmp_path / "second", project, rows={view: range(5, 12) for view in views})
    given = ["--calibration", project.root / "calibrations"]
    assert mvtrain("import", "deeplabcut", first, "--output", tmp_path / "out", *given).status == 0
    outcome = mvtrain("import", "deeplabcut", second, "--into", tmp_path / "out", *given, "--copy-videos")
    assert outcome.status == 0, outcome.err
    assert "4 frames in the project already" in outcome.out
    assert "added 3 frames with" in outcome.out
    assert_equal(read(tmp_path / "out"), project, visible_points(project))
    assert (tmp_path / "out" / "videos").is_dir()
    for options in ([], ["--into", tmp_path / "out", "--output", tmp_path / "other"]):
        refused = mvtrain("import", "deeplabcut", second, *options)
        assert (refused.status, "--into" in refused.err) == (2, True)


def test_converted_predictions_are_the_same_in_every_format(project: Project, tmp_path: Path, mvtrain) -> None:
    rng = np.random.default_rng(0)
    session = project.sessions[0]
    rows = [row for row, name in enumerate(project.sessions) if name == session]
    points, likelihood = project.points[rows].copy(), rng.uniform(size=project.points[rows].shape[:3])
    points[1, 1] = likelihood[1, 1] = np.nan
    source = write_prediction(
        tmp_path / "video_preds",
        points,
        likelihood,
        session=session,
        view_names=project.view_names,
        keypoint_names=project.keypoint_names,
        cameras=project.cameras[0],
        calibration=project.root / "calibrations" / f"{session}.toml",
        videos=project.root / "videos",
    )
    written = pd.read_csv(source / f"{session}_cam2.csv", header=[0, 1, 2], index_col=0).to_numpy()
    written_3d = pd.read_csv(source / f"{session}_3d.csv", header=[0, 1, 2], index_col=0).to_numpy()
    written_3d = written_3d.reshape(len(rows), -1, 8)[..., :3]
    assert np.isfinite(written_3d).mean() > 0.5
    for name in ("deeplabcut", "anipose", "movement", "eks", "pose2sim"):
        outcome = mvtrain("convert", name, tmp_path, "--output", tmp_path / name, "--unit", "mm")
        assert outcome.status == 0, outcome.err
    dlc = load_dataset(tmp_path / "deeplabcut" / f"{session}_cam2DLC_mvtrain.h5", source_software="DeepLabCut")
    eks = load_dataset(tmp_path / "eks" / session / "cam2_0.csv", source_software="LightningPose")
    for dataset in (dlc, eks):
        found = np.concatenate([dataset.position.values, dataset.confidence.values[:, None]], axis=1)
        np.testing.assert_array_equal(np.swapaxes(found[..., 0], 1, 2).reshape(len(rows), -1), written)
    anipose = load_dataset(tmp_path / "anipose" / session / "pose-3d" / f"{session}.csv", source_software="Anipose")
    keypoint = anipose.position.dims[2]  # `keypoints` before movement 0.16
    anipose = anipose.sel({keypoint: list(project.keypoint_names)})  # movement sorts anipose's keypoints
    np.testing.assert_array_equal(np.swapaxes(anipose.position.values[..., 0], 1, 2), written_3d)


def test_files_of_predict_are_converted(tmp_path: Path, mvtrain) -> None:
    run = make_run(tmp_path / "run")
    write_session(tmp_path / "videos", VIEWS, [4, 4, 3], suffix=".mp4")
    cameras((64, 48)).save(tmp_path / "videos" / "calibration.toml")
    assert mvtrain("predict", run, tmp_path / "videos").status == 0
    outcome = mvtrain("convert", "movement", run, "--output", tmp_path / "nc")
    assert outcome.status == 0, outcome.err
    assert "1 recording for movement (mouse)" in outcome.out
    with xr.load_dataset(tmp_path / "nc" / "mouse.nc") as dataset:
        for view in VIEWS:
            written = pd.read_csv(run / "video_preds" / f"mouse_{view}.csv", header=[0, 1, 2], index_col=0)
            keypoint, individual = dataset.position.dims[-2:]
            found = dataset.sel({"view": view, keypoint: "spine", individual: "subject"})
            expected = written["mvtrain"]["spine"].reindex(range(4))
            np.testing.assert_array_equal(found.position, expected[["x", "y"]])
            np.testing.assert_array_equal(found.confidence, expected["likelihood"])
        assert dataset.attrs["fps"] == 25.0
    outcome = mvtrain("convert", "anipose", run, "--output", tmp_path / "anipose")
    assert outcome.status == 0, outcome.err
    assert CameraGroup.load(tmp_path / "anipose" / "mouse" / "calibration" / "calibration.toml").names == VIEWS
    twice = mvtrain("convert", "deeplabcut", run, run, "--output", tmp_path / "dlc")
    assert twice.status == 2
    assert "session 'mouse'" in twice.err
    ensemble = mvtrain("convert", "eks", run, run, "--output", tmp_path / "eks")
    assert ensemble.status == 0, ensemble.err
    assert {path.name for path in (tmp_path / "eks" / "mouse").iterdir()} == {
        f"{view}_{number}.csv" for view in VIEWS for number in range(2)
    }


MISTAKES: dict[str, tuple[list[str], list[str]]] = {
    "unknown format": (["import", "maDLC", "{dlc}"], ["maDLC", "anipose"]),
    "no such source": (["import", "sleap", "{tmp}/none.slp"], ["{tmp}/none.slp"]),
    "nothing": (["import", "sleap"], ["SOURCE", "--view"]),
    "view without path": (["import", "sleap", "--view", "top"], ["--view", "'top'"]),
    "out exists": (["import", "deeplabcut", "{dlc}", "--output", "{dlc}"], ["{dlc}"]),
    "no media": (["import", "deeplabcut", "{dlc}", "--media", "{tmp}/none"], ["{tmp}/none"]),
    "no calibration": (["import", "deeplabcut", "{dlc}", "--calibration", "{tmp}/c.toml"], ["{tmp}/c.toml"]),
    "other cameras": (
        ["import", "deeplabcut", "{dlc}", "--calibration", "{root}/calibrations", "--pattern", "<session>_cam<view>"],
        ["{root}/calibrations", "found cam1, cam2, cam3, expected 1, 2, 3"],
    ),
    "other views": (["import", "deeplabcut", "{dlc}", "--views", "cam1,cam2"], ["{dlc}", "cam3", "--pattern"]),
    "pattern of anipose": (["import", "anipose", "{dlc}", "--pattern", "<view>"], ["--pattern", "cam_regex"]),
    "unknown target": (["convert", "bvh", "{tmp}"], ["bvh", "anipose"]),
    "no prediction": (["convert", "eks", "{tmp}"], ["{tmp}", "_prediction.json"]),
    "unknown unit": (["convert", "pose2sim", "{tmp}", "--unit", "inch"], ["--unit", "'inch'", "m, cm, mm"]),
    "unknown axis": (["convert", "pose2sim", "{tmp}", "--up", "x"], ["--up", "'x'", "y, z"]),
}


@pytest.fixture(scope="module")
def dlc(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_deeplabcut(tmp_path_factory.mktemp("foreign") / "dlc", project)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_line_and_leave_nothing(
    project: Project, dlc: Path, tmp_path: Path, mvtrain, mistake: str
) -> None:
    arguments, facts = (
        [part.format(tmp=tmp_path, dlc=dlc, root=project.root) for part in parts] for parts in MISTAKES[mistake]
    )
    out = [] if "--output" in arguments else ["--output", tmp_path / "out"]
    outcome = mvtrain(*arguments, *out)
    assert outcome.status == 2
    assert len(outcome.err.strip().splitlines()) == 1, outcome.err
    for fact in facts:
        assert fact in outcome.err
    assert not list(tmp_path.iterdir())


def test_missing_images_are_named_and_can_be_left_out(project: Project, tmp_path: Path, mvtrain) -> None:
    source = write_deeplabcut(tmp_path / "dlc", project, rows=FEW, with_videos=False)
    outcome = mvtrain("import", "deeplabcut", source, "--output", tmp_path / "out")
    assert outcome.status == 2
    assert f"{source}: 10 images missing" in outcome.err
    lacking = frame_number(project.image_names[0][1])
    assert f"session {project.sessions[0]}, view cam2, frame {lacking};" in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["dlc"]
    outcome = mvtrain("import", "deeplabcut", source, "--output", tmp_path / "empty", "--allow-absent")
    assert outcome.status == 0, outcome.err
    assert sum(name is None for names in read(tmp_path / "empty").image_names for name in names) == 10
    outcome = mvtrain(
        *("import", "deeplabcut", source, "--output", tmp_path / "full", "--media", project.root / "videos")
    )
    assert outcome.status == 0, outcome.err
    assert "10 images from videos" in outcome.out
