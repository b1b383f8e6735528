"""`mvtrain predict` from the command line to the tables: outputs, damaged inputs, interruptions, refused inputs."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import mvtrain
from helpers.command import Outcome, run_mvtrain
from helpers.errors import raises_input
from helpers.runs import KEYPOINTS, VIEWS, cameras, make_run
from helpers.tiny import generate_tiny_project
from helpers.videos import SIZE, damage_frames, drop, encode, write_session
from mvgeom import CameraGroup
from mvgeom.tables import read_keypoints, read_video_boxes, write_video_boxes
from mvtrain.config import load_config, save_config
from mvtrain.model.reconstruction import Observations, estimate_noise, to_3d

LENGTH = 11
TABLES = ["mouse_left.csv", "mouse_right.csv", "mouse_top.csv"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("run") / "run")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with the videos of one session and their calibration."""
    folder = tmp_path_factory.mktemp("recorded")
    write_session(folder / "videos", VIEWS, (LENGTH,) * 3)
    (folder / "calibrations").mkdir()
    cameras(SIZE).save(folder / "calibrations" / "mouse.toml")
    return folder


@pytest.fixture
def predict(run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """`mvtrain predict RUN ...`; options may name another run first."""

    def command(*arguments: object, run_dir: Path = run) -> Outcome:
        return run_mvtrain(capsys, monkeypatch, "predict", run_dir, *arguments, "--device", "cpu")

    return command


def read(folder: Path, session: str = "mouse") -> tuple[np.ndarray, np.ndarray]:
    """Read the points (N, V, K, 2) and likelihood (N, V, K) of a session's tables."""
    tables = [read_keypoints(folder / f"{session}_{view}.csv") for view in VIEWS]
    assert all(table.keypoint_names == KEYPOINTS for table in tables)
    assert all(table.rows == tuple(map(str, range(len(table.rows)))) for table in tables)
    return np.stack([table.points for table in tables], 1), np.stack([table.likelihood for table in tables], 1)  # type: ignore[arg-type]


def contents(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def decoded(path: Path) -> np.ndarray:
    """Decode a video to (N, H, W, 3) RGB."""
    capture, images = cv2.VideoCapture(str(path)), []
    while (frame := capture.read())[0]:
        images.append(frame[1][..., ::-1])
    return np.stack(images)


@pytest.mark.parametrize("name", ["mouse_top.csv", "mouse_3d.csv", "labeled_videos/mouse_top_labeled.mp4"])
def test_files_of_others_are_not_replaced(recorded: Path, tmp_path: Path, predict, name: str) -> None:
    """Recorders write the times of the images beside the videos, and the output can be there, too."""
    folder = tmp_path / "videos"
    shutil.copytree(recorded / "videos", folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("0.00\n0.04\n")
    refused = predict(folder, "--output", folder)
    assert (refused.status, name in refused.err) == (2, True)
    assert (folder / name).read_text() == "0.00\n0.04\n"
    (folder / name).unlink()
    assert predict(folder, "--output", folder).status == 0
    assert "predicted before" in predict(folder, "--output", folder).out


def test_a_session_becomes_tables_in_2d_and_3d(run: Path, recorded: Path, tmp_path: Path, predict) -> None:
    out = tmp_path / "new" / "out"
    outcome = predict(recorded / "videos", "--output", out)
    assert outcome.status == 0, outcome.err
    expected_files = [*TABLES, *(f"evidence/{name}" for name in TABLES), "mouse_3d.csv", "mouse_prediction.json"]
    assert sorted(contents(out)) == sorted(expected_files)
    assert f"predicted mouse: {LENGTH} frames of 3 views" in outcome.out
    assert "3D with" in outcome.out
    assert str(Path("calibrations") / "mouse.toml") in outcome.out

    points, likelihood = read(out)
    images = [decoded(recorded / "videos" / f"mouse_{view}.avi") for view in VIEWS]
    expected = mvtrain.load_predictor(run).predict(images, cameras(SIZE))
    np.testing.assert_allclose(points, expected.points, atol=6e-5)
    np.testing.assert_allclose(likelihood, expected.confidence, atol=6e-5)

    table = (out / "mouse_3d.csv").read_text().splitlines()
    assert table[2] == "coords" + ",x,y,z,x_std,y_std,z_std,error,num_views" * len(KEYPOINTS)
    values = np.array([[float(cell or "nan") for cell in row.split(",")[1:]] for row in table[3:]])
    values = values.reshape(LENGTH, len(KEYPOINTS), 8)
    assert expected.points_3d is not None
    np.testing.assert_allclose(values[..., :3], expected.points_3d, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(values[..., 3:6], expected.std, rtol=1e-3)
    np.testing.assert_allclose(values[..., 6], expected.reprojection_error, rtol=1e-3)
    np.testing.assert_array_equal(values[..., 7], expected.num_views)

    summary = json.loads((out / "mouse_prediction.json").read_text())
    assert summary["frames"] == LENGTH
    assert [view["name"] for view in summary["views"]] == list(VIEWS)
    assert summary["calibration"]["file"].endswith("mouse.toml")


def test_videos_that_are_not_used_are_named(tmp_path: Path, predict) -> None:
    write_session(tmp_path / "videos", VIEWS, (2, 2, 2))
    shutil.copy(tmp_path / "videos" / "mouse_top.avi", tmp_path / "videos" / "mouse_top.short.avi")
    outcome = predict(tmp_path / "videos", "--output", tmp_path / "out")
    assert outcome.status == 0, outcome.err
    assert "mouse_top.short.avi" in outcome.out


def test_without_calibration_there_is_no_3d_and_it_is_printed(recorded: Path, tmp_path: Path, predict) -> None:
    shutil.copytree(recorded / "videos", tmp_path / "videos")
    outcome = predict(tmp_path / "videos", "--output", tmp_path / "out")
    assert outcome.status == 0, outcome.err
    assert re.search(r"^mouse: .*--calibration", outcome.out, re.MULTILINE)
    assert sorted(contents(tmp_path / "out")) == sorted([*TABLES, "mouse_prediction.json"])


def test_a_network_with_epipolar_attention_needs_and_uses_the_calibration(
    run: Path, recorded: Path, tmp_path: Path, predict
) -> None:
    epipolar = make_run(tmp_path / "run", model={"epipolar_attention": True})
    outcome = predict(recorded / "videos", "--output", tmp_path / "out", run_dir=epipolar)
    assert outcome.status == 0, outcome.err
    points, _ = read(tmp_path / "out")
    images = [decoded(recorded / "videos" / f"mouse_{view}.avi") for view in VIEWS]
    expected = mvtrain.load_predictor(epipolar).predict(images, cameras(SIZE))
    np.testing.assert_allclose(points, expected.points, atol=6e-5)
    assert np.abs(points - mvtrain.load_predictor(run).predict(images, cameras(SIZE)).points).max() > 0.01

    shutil.copytree(recorded / "videos", tmp_path / "videos")
    outcome = predict(tmp_path / "videos", "--output", tmp_path / "none", run_dir=epipolar)
    assert outcome.status == 2
    assert "'mouse'" in outcome.err
    assert "model.epipolar_attention" in outcome.err
    with raises_input("no-calibration", key="model.epipolar_attention"):
        mvtrain.load_predictor(epipolar).predict(images)


def test_predicted_sessions_are_skipped_and_changed_ones_are_not(recorded: Path, tmp_path: Path, predict) -> None:
    shutil.copytree(recorded, tmp_path / "project")
    videos, out = tmp_path / "project" / "videos", tmp_path / "out"
    command = (videos, "--output", out, "--overlay")
    assert predict(*command).status == 0
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    again = predict(*command)
    assert "mouse: predicted before, nothing to do" in again.out
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before

    def repeats(*arguments: object) -> bool:
        first = contents(out)
        outcome = predict(*command, *arguments)
        assert outcome.status == 0, outcome.err
        return "predicted mouse" in outcome.out and "drew" in outcome.out and contents(out) != first

    assert repeats("--checkpoint", "last")
    turned = cameras(SIZE).select(VIEWS).replace(translation=cameras(SIZE).translation + 0.1)
    turned.save(videos.parent / "calibrations" / "mouse.toml")
    assert repeats("--checkpoint", "last")
    write_session(videos, VIEWS, (LENGTH + 1,) * 3)
    assert repeats("--checkpoint", "last")
    # Without calibration an old 3D table must not stay beside new tables.
    shutil.rmtree(videos.parent / "calibrations")
    assert repeats("--checkpoint", "last")
    assert not (out / "mouse_3d.csv").exists()


def test_views_that_end_and_frames_that_are_damaged_lose_nothing_else(recorded: Path, tmp_path: Path, predict) -> None:
    shutil.copytree(recorded, tmp_path / "project")
    videos = tmp_path / "project" / "videos"
    assert predict(videos, "--output", tmp_path / "intact").status == 0
    write_session(videos, ["left"], [LENGTH - 2])
    # The images depend on the view's number, so take the recorded video, shortened.
    shutil.copy(recorded / "videos" / "mouse_left.avi", videos / "mouse_left.avi")
    damage_frames(videos / "mouse_left.avi", range(LENGTH - 2, LENGTH))
    damage_frames(videos / "mouse_top.avi", [5])
    outcome = predict(videos, "--output", tmp_path / "out")
    assert outcome.status == 0, outcome.err
    assert "mouse_top.avi: 1 frame could not be decoded, the first is number 5: empty rows" in outcome.out
    assert f"mouse_left.avi announces {LENGTH} frames but ends after {LENGTH - 2}" in outcome.out
    assert f"mouse_left.avi ends after {LENGTH - 2} of {LENGTH} frames: absent from then on" in outcome.out

    (intact, _), (points, likelihood) = read(tmp_path / "intact"), read(tmp_path / "out")
    assert points.shape == intact.shape
    absent = np.zeros((LENGTH, 3), dtype=bool)
    absent[5, 0], absent[LENGTH - 2 :, 1] = True, True
    np.testing.assert_array_equal(np.isnan(points).all((-1, -2)), absent)
    np.testing.assert_array_equal(np.isnan(likelihood).any(-1), absent)
    # The other views' predictions may differ in these frames; all other frames must be as they were.
    whole = ~absent.any(1)
    np.testing.assert_allclose(points[whole], intact[whole], atol=2e-3)
    summary = json.loads((tmp_path / "out" / "mouse_prediction.json").read_text())
    assert [view["not_decodable"] for view in summary["views"]] == [1, 0, 0]
    assert [view["frames"] for view in summary["views"]] == [LENGTH, LENGTH - 2, LENGTH]


def test_boxes_give_keypoints_in_full_image_px(run: Path, recorded: Path, tmp_path: Path, predict) -> None:
    boxes = np.tile([6.0, 4.0, 48.0, 32.0], (LENGTH, 1))
    boxes[:, 0] += np.arange(LENGTH) % 5
    boxes[3] = np.nan
    for view in VIEWS:
        write_video_boxes(tmp_path / f"mouse_{view}_bbox.csv", boxes)
    outcome = predict(recorded / "videos", "--output", tmp_path / "out", "--boxes", tmp_path)
    assert outcome.status == 0, outcome.err
    assert "mouse_top.avi: 1 frame without a bounding box: empty rows" in outcome.out
    points, _ = read(tmp_path / "out")
    images = [decoded(recorded / "videos" / f"mouse_{view}.avi") for view in VIEWS]
    expected = mvtrain.load_predictor(run).predict(images, cameras(SIZE), boxes=np.stack([boxes] * 3, axis=1))
    np.testing.assert_allclose(points, expected.points, atol=6e-5)
    assert np.isnan(points[3]).all()

    # Beside the videos they are found without being named, and can be ignored.
    shutil.copytree(recorded / "videos", tmp_path / "videos")
    shutil.copytree(recorded / "calibrations", tmp_path / "calibrations")
    for view in VIEWS:
        shutil.copy(tmp_path / f"mouse_{view}_bbox.csv", tmp_path / "videos")
    assert predict(tmp_path / "videos", "--output", tmp_path / "beside").status == 0
    np.testing.assert_array_equal(read(tmp_path / "beside")[0], points)
    assert predict(tmp_path / "videos", "--output", tmp_path / "whole", "--whole-frames").status == 0
    assert np.isfinite(read(tmp_path / "whole")[0]).all()


@pytest.mark.slow
def test_a_killed_prediction_resumes_to_the_same_bytes(run: Path, tmp_path: Path, predict) -> None:
    videos = tmp_path / "videos"
    write_session(videos, VIEWS, (100, 100, 90))
    damage_frames(videos / "mouse_right.avi", [40, 41])
    cameras(SIZE).save(tmp_path / "calibration.toml")
    options = (videos, "--batch-size", "2", "--device", "cpu")
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "mvtrain.cli.app", "predict", run, *options, "--output", out]
    # The last bits depend on the number of threads, on a CPU.
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen(
        list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment
    )
    records = out / ".partial" / "mouse" / "records"
    deadline = time.monotonic() + 120
    while not (records.exists() and records.stat().st_size > 4_000) and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stderr.close()  # type: ignore[union-attr]
    assert not any(path.suffix == ".csv" for path in out.iterdir())

    assert predict(videos, "--batch-size", 2, "--output", tmp_path / "whole").status == 0
    outcome = predict(videos, "--batch-size", 2, "--output", out)
    assert outcome.status == 0, outcome.err
    number = int(re.search(r"100 frames of 3 views \((\d+) of them before\)", outcome.out)[1])  # type: ignore[index]
    assert 0 < number < 100
    assert contents(out) == contents(tmp_path / "whole")


def interrupted(predict, out: Path, *arguments: object, **options: Path) -> Outcome:
    """Run `predict` into `out`, stopped by Ctrl-C as soon as a batch is written."""
    records = out / ".partial" / "mouse" / "records"

    def interrupt() -> None:
        deadline = time.monotonic() + 60
        while not (records.exists() and records.stat().st_size > 0) and time.monotonic() < deadline:
            time.sleep(0.002)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    outcome = predict(*arguments, "--output", out, **options)
    thread.join()
    assert outcome.status == 130
    assert records.exists()
    return outcome


def test_ctrl_c_stops_after_a_batch_and_the_same_command_resumes(run: Path, tmp_path: Path, predict) -> None:
    videos, out = tmp_path / "videos", tmp_path / "out"
    write_session(videos, VIEWS, (40, 40, 40))
    command = (videos, "--batch-size", 1)
    outcome = interrupted(predict, out, *command)
    assert re.search(r"mouse: stopped after \d+ of 40 frames", outcome.out)
    again = predict(*command, "--output", out)
    assert again.status == 0, again.err
    assert re.search(r"40 frames of 3 views \(\d+ of them before\)", again.out)
    assert not (out / ".partial").exists()
    assert np.isfinite(read(out)[0]).all()


@pytest.mark.parametrize(("epipolar", "fuse"), [(True, False), (False, True), (False, False)])
def test_other_cameras_restart_a_stopped_prediction_if_the_network_uses_them(
    epipolar: bool, fuse: bool, tmp_path: Path, predict
) -> None:
    run = make_run(tmp_path / "run", model={"epipolar_attention": epipolar, "fuse_views": fuse})
    write_session(tmp_path / "videos", VIEWS, (20, 20, 20))
    calibration, out = tmp_path / "calibration.toml", tmp_path / "out"
    command = (tmp_path / "videos", "--batch-size", 1, "--calibration", calibration)
    cameras(SIZE).save(calibration)
    interrupted(predict, out, *command, run_dir=run)
    calibration.write_text(calibration.read_text() + "\n")
    again = predict(*command, "--output", out, run_dir=run)
    assert again.status == 0, again.err
    assert ("of them before" in again.out) is not (epipolar or fuse)


def test_overlays_show_all_views(recorded: Path, tmp_path: Path, predict) -> None:
    out = tmp_path / "out"
    outcome = predict(recorded / "videos", "--output", out, "--overlay")
    assert outcome.status == 0, outcome.err
    video = cv2.VideoCapture(str(out / "mouse_overlay.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == LENGTH
    assert video.get(cv2.CAP_PROP_FPS) == 25
    still = cv2.imread(str(out / "mouse_overlay.png"))
    assert (video.get(cv2.CAP_PROP_FRAME_WIDTH), video.get(cv2.CAP_PROP_FRAME_HEIGHT)) == still.shape[1::-1]
    assert f"drew {out / 'mouse_overlay.mp4'}" in outcome.out
    # Drawn again from the tables when they were deleted.
    before = (out / "mouse_overlay.png").read_bytes()
    for name in ("mouse_overlay.mp4", "mouse_overlay.png"):
        (out / name).unlink()
    assert predict(recorded / "videos", "--output", out, "--overlay").status == 0
    assert (out / "mouse_overlay.png").read_bytes() == before


def test_labeled_images_of_a_project(tmp_path: Path, predict) -> None:
    project = generate_tiny_project(tmp_path / "project", num_frames=6, num_video_frames=6)
    config = load_config(project / "config.yaml")
    views, keypoints = config.data.view_names, config.data.keypoint_names
    assert views is not None
    assert keypoints is not None
    own = make_run(tmp_path / "own", views, keypoints)
    for number, path in enumerate((project / "config.yaml", project)):
        out = tmp_path / f"out{number}"
        outcome = predict(path, "--output", out, run_dir=own)
        assert outcome.status == 0, outcome.err
        assert f"predicted the 6 labeled frames of {project} into {out / 'project'}" in outcome.out
        tables = [read_keypoints(out / "project" / f"predictions_{name}.csv") for name in views]
        images = [np.stack([cv2.imread(str(project / row))[..., ::-1] for row in table.rows]) for table in tables]
        rig = CameraGroup.load(next((project / "calibrations").glob("*.toml")))
        expected = mvtrain.load_predictor(own).predict(images, rig)
        assert expected.points.shape == (6, 3, len(keypoints), 2)
        np.testing.assert_allclose(np.stack([table.points for table in tables], 1), expected.points, atol=6e-5)
        rows = (out / "project" / "predictions_3d.csv").read_text().splitlines()
        assert [row.split(",")[0] for row in rows[3:]] == list(tables[0].rows)
    outcome = predict(project, "--output", tmp_path / "other")
    assert outcome.status == 2
    for part in (str(project), "cam1, cam2, cam3", "top, left, right"):
        assert part in outcome.err
    # Another project of the same name replaces nothing; the same one does, also after it was moved.
    written = contents(tmp_path / "out0")
    second = Path(shutil.copytree(project, tmp_path / "second" / "project"))
    outcome = predict(second, "--output", tmp_path / "out0", run_dir=own)
    assert outcome.status == 2
    for part in (str(project), str(second), str(tmp_path / "out0" / "project"), "--output"):
        assert part in outcome.err
    assert contents(tmp_path / "out0") == written
    assert predict(project, "--output", tmp_path / "out0", run_dir=own).status == 0
    shutil.rmtree(project)
    assert predict(second, "--output", tmp_path / "out0", run_dir=own).status == 0


def test_a_subject_is_tracked_without_boxes(run: Path, recorded: Path, tmp_path: Path, predict) -> None:
    project = generate_tiny_project(tmp_path / "project", num_frames=8, num_video_frames=8, crop=True)
    config = load_config(project / "config.yaml")
    views, keypoints, tables = config.data.view_names, config.data.keypoint_names, config.data.bbox_file
    assert views is not None
    assert keypoints is not None
    assert tables is not None
    own = make_run(tmp_path / "own", views, keypoints, {"data_dir": str(project), "bbox_file": list(tables)})
    videos, out = project / "videos", tmp_path / "out"
    outcome = predict(videos, "--track", "--output", out, "--overlay", run_dir=own)
    assert outcome.status == 0, outcome.err
    (session,) = [path.name.removesuffix("_prediction.json") for path in out.glob("*.json")]
    made_with = json.loads((out / f"{session}_prediction.json").read_text())["made_with"]
    assert made_with["tracking"]["framing"]["aspect"] > 0
    for view in views:
        windows = read_video_boxes(out / f"{session}_{view}_track.csv", 8)
        points = read_keypoints(out / f"{session}_{view}.csv").points
        # A network of random weights finds the subject or not; either way both tables agree.
        np.testing.assert_array_equal(np.isnan(points).all((-1, -2)), np.isnan(windows).any(-1))
        inside = np.isfinite(windows[:, 0])
        corner, extent = windows[inside, None, :2], windows[inside, None, 2:]
        assert (np.abs(points[inside] + 0.5 - corner - extent / 2) <= extent / 2 + 1).all()
    assert "predicted before" in predict(videos, "--track", "--output", out, run_dir=own).out

    # Boxes in place of tracks: the files of the tracks are removed.
    again = predict(videos, "--output", out, run_dir=own)
    assert again.status == 0, again.err
    assert not list(out.glob("*_track.csv"))
    assert not list(out.glob("*_overlay.mp4"))

    for arguments, excluded in (
        ((videos, "--track", "--boxes", videos), "--boxes and --track"),
        ((videos, "--track", "--whole-frames"), "--track and --whole-frames"),
    ):
        outcome = predict(*arguments, "--output", out, run_dir=own)
        assert outcome.status == 2
        assert outcome.err.startswith(f"error: {excluded}")
        assert outcome.err.count("\n") == 1
    shutil.rmtree(project / "calibrations")
    outcome = predict(videos, "--track", "--output", tmp_path / "none", run_dir=own)
    assert outcome.status == 2
    assert repr(session) in outcome.err
    assert "--calibration" in outcome.err
    outcome = predict(recorded / "videos", "--track", "--output", tmp_path / "none")
    assert outcome.status == 2
    assert "--track" in outcome.err
    assert "data.data_dir" in outcome.err


def test_an_image_that_is_missing_by_its_time_is_an_empty_row_of_its_view(tmp_path: Path, predict) -> None:
    (tmp_path / "videos").mkdir()
    paths = [tmp_path / "videos" / f"mouse_{view}.mkv" for view in VIEWS]
    encode(paths, [drop(), drop(4, 5), drop(9)], "-c:v", "mjpeg", count=10)
    outcome = predict(tmp_path / "videos", "--output", tmp_path / "out")
    assert outcome.status == 0, outcome.err
    assert "mouse_left.mkv: by the times, no image for 2 frames" in outcome.out
    points, _ = read(tmp_path / "out")
    missing = np.zeros((10, 3), dtype=bool)
    missing[4:6, 1] = missing[9, 2] = True
    np.testing.assert_array_equal(np.isnan(points).all((-1, -2)), missing)
    summary = json.loads((tmp_path / "out" / "mouse_prediction.json").read_text())
    assert [view["frames"] for view in summary["views"]] == [10, 10, 9]
    assert [view.get("without_image") for view in summary["views"]] == [None, 2, None]

    again = predict(tmp_path / "videos", "--output", tmp_path / "out", "--ignore-frame-rates")
    assert again.status == 0, again.err
    assert not np.isnan(read(tmp_path / "out")[0][:8]).any()


def test_frame_rates_that_differ_are_refused(tmp_path: Path, predict) -> None:
    write_session(tmp_path / "videos", VIEWS, (4, 4, 4), fps=(25, 25, 50))
    command = (tmp_path / "videos", "--output", tmp_path / "out")
    outcome = predict(*command)
    assert outcome.status == 2
    for part in ("'mouse'", "mouse_right.avi 50", "--ignore-frame-rates"):
        assert part in outcome.err
    assert predict(*command, "--ignore-frame-rates").status == 0


def test_a_session_that_cannot_be_predicted_leaves_the_others(recorded: Path, tmp_path: Path, predict) -> None:
    write_session(tmp_path / "videos", VIEWS, (4, 4, 4), session="a", fps=(25, 25, 50))
    for session in ("b", "c"):
        write_session(tmp_path / "videos", VIEWS, (4, 4, 4), session=session)
    rig = recorded / "calibrations" / "mouse.toml"
    out = tmp_path / "out"
    outcome = predict(tmp_path / "videos", "--output", out, "--calibration", rig, "--smooth")
    assert outcome.status == 2
    assert outcome.err.count("\n") == 1
    for part in ("'a'", "a_right.avi 50", "1 recording of 3"):
        assert part in outcome.err
    for folder in (out, out / "smoothed"):
        assert sorted(path.name for path in folder.glob("*_3d.csv")) == ["b_3d.csv", "c_3d.csv"]
    assert not (out / ".partial").exists()


def test_a_calibration_file_or_a_folder_of_them(recorded: Path, tmp_path: Path, predict) -> None:
    file = tmp_path / "rig.toml"
    cameras(SIZE).save(file)
    tables = []
    for number, given in enumerate((file, recorded / "calibrations")):
        out = tmp_path / f"out{number}"
        outcome = predict(recorded / "videos" / "mouse_top.avi", "--output", out, "--calibration", given)
        assert outcome.status == 0, outcome.err
        tables.append((out / "mouse_3d.csv").read_bytes())
    assert tables[0] == tables[1]
    sizes = np.tile([1280.0, 720.0], (3, 1))
    cameras(SIZE).replace(sizes=sizes).save(file)
    outcome = predict(recorded / "videos", "--output", tmp_path / "sizes", "--calibration", file)
    assert outcome.status == 0
    assert re.search(r"mouse_top\.avi: .*camera top of .*64x48 px.*1280x720 px", outcome.out)


def test_the_calibration_of_the_runs_project_is_used(recorded: Path, tmp_path: Path, predict) -> None:
    own = make_run(tmp_path / "own")
    project = tmp_path / "own" / "project"
    project.mkdir()
    cameras(SIZE).save(project / "calibration.toml")
    shutil.copytree(recorded / "videos", tmp_path / "elsewhere" / "videos")
    outcome = predict(tmp_path / "elsewhere" / "videos", run_dir=own)
    assert outcome.status == 0, outcome.err
    assert f"3D with {project / 'calibration.toml'}" in outcome.out
    points, likelihood = read(tmp_path / "own" / "video_preds" / "evidence")
    rig = CameraGroup.load(project / "calibration.toml").select(VIEWS)
    observed = Observations(points=points, weights=np.nan_to_num(likelihood / (1 - likelihood)))
    found = to_3d(observed, rig, estimate_noise(observed, rig))
    rows = (tmp_path / "own" / "video_preds" / "mouse_3d.csv").read_text().splitlines()[3:]
    first = np.array([float(cell or "nan") for cell in rows[0].split(",")[1:4]])
    np.testing.assert_allclose(first, found.points[0, 0], rtol=1e-3, atol=1e-3)


def no_checkpoint(project: Path, run: Path) -> None:
    del project
    shutil.rmtree(run / "checkpoints")


def damaged_checkpoint(project: Path, run: Path) -> None:
    del project
    (weights,) = (run / "checkpoints" / "best").glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-10])


def a_view_less(project: Path, run: Path) -> None:
    del run
    (project / "videos" / "mouse_left.avi").unlink()


def a_broken_video(project: Path, run: Path) -> None:
    del run
    write_session(project / "videos", VIEWS, (3, 3, 3), session="another")
    (project / "videos" / "mouse_left.avi").write_bytes(b"nothing")


def other_cameras(project: Path, run: Path) -> None:
    del run
    rig = cameras(SIZE)
    rig.replace(names=("a", "b", "top")).save(project / "calibrations" / "mouse.toml")


def short_boxes(project: Path, run: Path) -> None:
    del run
    for view in VIEWS:
        write_video_boxes(project / "videos" / f"mouse_{view}_bbox.csv", np.tile([1.0, 2, 30, 30], (LENGTH - 1, 1)))


def no_videos(project: Path, run: Path) -> None:
    del run
    for path in (project / "videos").iterdir():
        path.rename(path.with_suffix(".dat"))


def nothing(project: Path, run: Path) -> None:
    del project, run


def blocked_output(project: Path, run: Path) -> None:
    del run
    (project / "out").write_text("a file")


def an_unknown_edge(project: Path, run: Path) -> None:
    del project
    config = load_config(run / "config.yaml", ["data.skeleton=[[nose, wing]]"])
    save_config(config, run / "config.yaml")


@pytest.mark.parametrize(
    ("damage", "options", "parts"),
    [
        (no_checkpoint, [], ["mvtrain fit --resume"]),
        (damaged_checkpoint, [], ["best"]),
        (a_view_less, [], ["'mouse'", "view left", "mouse_right.avi, mouse_top.avi"]),
        (a_broken_video, [], ["mouse_left.avi"]),
        (other_cameras, [], ["calibrations/mouse.toml", "'a', 'b', 'top'", "'left', 'right'"]),
        (short_boxes, [], ["_bbox.csv", str(LENGTH - 1), str(LENGTH)]),
        (no_videos, [], ["{project}/videos", "<session>_<view>.mp4", "top, left, right"]),
        (blocked_output, [], ["{project}/out", "Not a directory"]),
        (nothing, ["--calibration", "/nowhere"], ["/nowhere"]),
        (nothing, ["--calibration", "{project}/videos"], ["{project}/videos", "mouse.toml", "calibration.toml"]),
        (nothing, ["--boxes", "{project}"], ["{project}", "mouse_top_bbox.csv"]),
        (nothing, ["--checkpoint", "first"], ["'first'", "best, last"]),
        (nothing, ["--boxes", "{project}", "--whole-frames"], ["--boxes and --whole-frames"]),
        (an_unknown_edge, ["--overlay"], ["data.skeleton", "wing", "nose"]),
    ],
)
def test_a_users_mistakes_are_reported_in_one_line(
    damage: Callable[[Path, Path], None],
    options: list[str],
    parts: list[str],
    run: Path,
    recorded: Path,
    tmp_path: Path,
    predict,
) -> None:
    project, own = tmp_path / "project", tmp_path / "own"
    shutil.copytree(recorded, project)
    shutil.copytree(run, own)
    damage(project, own)
    options = [option.format(project=project) for option in options]
    outcome = predict(project / "videos", "--output", project / "out", *options, run_dir=own)
    assert outcome.status == 2
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("\n") == 1
    for part in parts:
        assert part.format(project=project) in outcome.err
    # Nothing was predicted, and nothing is left behind.
    assert not (project / "out").is_dir() or not any((project / "out").iterdir())


@pytest.mark.slow
def test_two_processes_share_the_sessions(run: Path, tmp_path: Path, predict) -> None:
    for session in ("a", "b", "c"):
        write_session(tmp_path / "videos", VIEWS, (6, 6, 6), session=session)
    options = (tmp_path / "videos", "--device", "cpu", "--output")
    command = [sys.executable, "-m", "mvtrain.cli.app", "predict", run, *options, tmp_path / "two", "--devices", "2"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True, timeout=300)
    assert sorted(re.findall(r"predicted (\w): 6 frames", done.stdout)) == ["a", "b", "c"]
    assert predict(tmp_path / "videos", "--output", tmp_path / "one").status == 0
    assert contents(tmp_path / "one").keys() == contents(tmp_path / "two").keys()
    for session in ("a", "b", "c"):
        ours, theirs = read(tmp_path / "one", session), read(tmp_path / "two", session)
        np.testing.assert_allclose(np.array(ours[0]), np.array(theirs[0]), atol=2e-4)


@pytest.mark.parametrize(
    "device",
    [
        ("--device", "nonsense"),
        ("--device", "tpu"),
        ("--device", "cuda:99"),
        ("--device", "cpu:0", "--devices", "2"),
    ],
    ids=" ".join,
)
def test_a_device_of_no_name_or_not_here_is_one_line(
    device: tuple[str, ...],
    run: Path,
    recorded: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outcome = run_mvtrain(
        capsys, monkeypatch, "predict", run, recorded / "videos", *device, "--output", tmp_path / "out"
    )
    assert outcome.status == 2
    assert outcome.err.count("\n") == 1
    assert device[1] in outcome.err
