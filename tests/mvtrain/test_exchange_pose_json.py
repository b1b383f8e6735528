"""`mvtrain import` of predictions of people in MMPose's and OpenPose's JSON."""

from __future__ import annotations

import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console

from helpers.command import run_mvtrain
from helpers.errors import raises_input
from helpers.keypoint_files import Write, write_mmpose_images, write_mmpose_video, write_openpose
from helpers.videos import SIZE, moving_dot, write_session, write_video
from mvtrain.config import load_config
from mvtrain.exchange.run_import import ImportOptions, import_project
from mvtrain.project.project import Project, read_project

VIEWS = ("side", "top")
NUM_FRAMES = 6
KINDS: dict[str, tuple[str, Write]] = {
    "mmpose video": ("mmpose", write_mmpose_video),
    "mmpose images": ("mmpose", write_mmpose_images),
    "openpose": ("openpose", write_openpose),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def keypoints(view: int) -> tuple[np.ndarray, np.ndarray]:
    """(6, 4, 2) points and likelihoods; nobody is in the first frame, and one keypoint of each other is unlikely."""
    rng = np.random.default_rng(view)
    points, likelihood = rng.uniform(2, 40, (NUM_FRAMES, 4, 2)), np.full((NUM_FRAMES, 4), 0.9)
    likelihood[:, 1] = 0.25
    points[0], likelihood[0] = np.nan, np.nan
    return points, likelihood


def write_views(folder: Path, kind: str) -> Path:
    """The predictions of all views in one folder."""
    folder.mkdir(parents=True)
    for number, view in enumerate(VIEWS):
        KINDS[kind][1](folder / f"mouse_{view}", *keypoints(number))
    return folder


def run(source: Path | None, kind: str, out: Path, **options: object) -> tuple[Project, str]:
    console = Console(file=io.StringIO(), width=300)
    given = ImportOptions(out=out, **{"predictions": 0.5, **options})  # type: ignore[arg-type]
    import_project(KINDS[kind][0], [] if source is None else [source], given, console)
    assert isinstance(console.file, io.StringIO)
    return read_project(load_config(out / "config.yaml")), console.file.getvalue()


def image_of(number: int, view: int) -> np.ndarray:
    return cv2.cvtColor(moving_dot(number, view), cv2.COLOR_BGR2RGB)


@every_kind
@pytest.mark.parametrize("place", ["beside", "media"])
def test_predictions_become_labels_of_the_videos_images(kind: str, place: str, tmp_path: Path) -> None:
    source = write_views(tmp_path / "source", kind)
    write_session(source if place == "beside" else tmp_path / "media", VIEWS, [NUM_FRAMES] * 2)
    media = None if place == "beside" else tmp_path / "media"
    project, output = run(source, kind, tmp_path / "out", media=media, every=2)
    assert "warning: predictions as labels in 4 images" in output
    assert [name.split("/")[-1] for (name, _) in project.image_names] == ["img00000002.png", "img00000004.png"]
    for view in range(2):
        points, _ = keypoints(view)
        for row, frame in enumerate((2, 4)):
            expected = np.where(np.arange(4)[:, None] == 1, np.nan, points[frame])
            np.testing.assert_allclose(project.points[row, view], expected)
            error = np.abs(project.read_image(row, view).astype(int) - image_of(frame, view))
            assert error.mean() < 5


@every_kind
def test_predictions_of_images_find_them_by_their_numbers(kind: str, tmp_path: Path) -> None:
    source = write_views(tmp_path / "source", kind)
    for number, view in enumerate(VIEWS):
        folder = tmp_path / "media" / f"mouse_{view}"
        folder.mkdir(parents=True)
        for frame in range(NUM_FRAMES):
            cv2.imwrite(str(folder / f"img{frame:04d}.png"), moving_dot(frame, number))
            cv2.imwrite(str(folder / f"{frame}_rendered.png"), np.zeros((SIZE[1], SIZE[0], 3), np.uint8))
    project, _ = run(source, kind, tmp_path / "out", media=tmp_path / "media")
    assert len(project) == NUM_FRAMES - 1
    for row, view in np.ndindex(NUM_FRAMES - 1, 2):
        np.testing.assert_array_equal(project.read_image(row, view), image_of(row + 1, view))


@every_kind
def test_a_source_for_each_view(kind: str, tmp_path: Path) -> None:
    """Videos of the same name in a folder of each view."""
    for number, view in enumerate(VIEWS):
        folder = tmp_path / view
        folder.mkdir()
        path = KINDS[kind][1](folder / "trial", *keypoints(number))
        path.rename(folder / f"json{path.suffix}") if kind == "openpose" else None
        write_video(folder / "trial.avi", [moving_dot(frame, number) for frame in range(NUM_FRAMES)])
    sources = {view: next(p for p in (tmp_path / view).iterdir() if p.suffix != ".avi") for view in VIEWS}
    views = tuple(f"{view}={path}" for view, path in sources.items())
    # The folder of MMPose's JSON of images has the name of the video, too.
    project, _ = run(None, kind, tmp_path / "out", views=views)
    assert project.view_names == VIEWS
    assert {name.split("/")[1] for names in project.image_names for name in names if name} == {
        "trial_side",
        "trial_top",
    }


@every_kind
def test_predictions_are_taken_on_request_only(kind: str, tmp_path: Path) -> None:
    source = write_views(tmp_path / "source", kind)
    with raises_input("no-labels", path=source) as caught:
        run(source, kind, tmp_path / "out", predictions=None)
    assert "--min-likelihood" in str(caught.value)
    (tmp_path / "none").mkdir()
    with raises_input("no-labels", path=tmp_path / "none"):
        run(tmp_path / "none", kind, tmp_path / "out")
    with raises_input("unknown-choice", found="mouse"):
        run(source, kind, tmp_path / "out", individual="mouse")
    with raises_input("missing-frame"):
        run(source, kind, tmp_path / "out")


def test_frames_that_mmpose_counts_from_one_are_those_of_the_video(tmp_path: Path) -> None:
    source = write_views(tmp_path / "source", "mmpose video")
    write_session(source, VIEWS, [NUM_FRAMES] * 2)
    for path in list(source.glob("*.json")):  # as the demo scripts name and number it
        frames = [{**frame, "frame_id": frame["frame_id"] + 1} for frame in json.loads(path.read_text())]
        document = {"meta_info": {}, "instance_info": frames}
        path.with_name(f"results_{path.name}").write_text(json.dumps(document))
        path.unlink()
    project, _ = run(source, "mmpose video", tmp_path / "out")
    np.testing.assert_allclose(project.points[0, 0, 0], keypoints(0)[0][1, 0])
    assert np.abs(project.read_image(0, 0).astype(int) - image_of(1, 0)).mean() < 5


@every_kind
def test_what_is_left_out_is_reported(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    for number, view in enumerate(VIEWS):
        points, likelihood = keypoints(number)
        likelihood[3, 2] = np.nan
        KINDS[kind][1](folder / f"mouse_{view}", points, likelihood)
    write_session(folder, VIEWS, [NUM_FRAMES] * 2)
    _, output = run(folder, kind, tmp_path / "out")
    # OpenPose's keypoints without confidence were not found.
    assert ("1 keypoint with x and y but no likelihood" in output) == (kind != "openpose")


@every_kind
def test_videos_of_other_rates_are_matched_by_number_on_request(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_views(tmp_path / "source", kind)
    write_session(source, VIEWS, [NUM_FRAMES] * 2, fps=[25.0, 40.0])
    words = ("import", KINDS[kind][0], source, "--min-likelihood", 0.5, "-o", tmp_path / "out")
    outcome = run_mvtrain(capsys, monkeypatch, *words)
    assert outcome.status == 2
    for part in ("session mouse", "25", "40", "--ignore-frame-rates"):
        assert part in outcome.err
    assert not (tmp_path / "out").exists()
    outcome = run_mvtrain(capsys, monkeypatch, *words, "--ignore-frame-rates")
    assert outcome.status == 0, outcome.err
    assert f"{NUM_FRAMES - 1} frames" in outcome.out
