"""`mvgeom sync`, and the commands that use what it stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation

from helpers.boards import Filmed, arc_of_cameras, photograph
from helpers.mvgeom_command import fails, run
from helpers.unsynchronized import NUM_KEYPOINTS, irregular, record, same_clocks
from helpers.videos import write_video
from mvgeom.calibration import Chessboard, from_points
from mvgeom.calibration.board_tracks import board_tracks
from mvgeom.calibration.boards import object_points
from mvgeom.clock_files import load_clocks

CAMERAS = arc_of_cameras(3)
LATE = (0.0, 4.3, -6.6)


def write_tables(folder: Path, points: np.ndarray, *, images: bool = False) -> list[str]:
    """Tables of DeepLabCut, and the arguments that name them."""
    names = [f"k{number}" for number in range(points.shape[2])]
    for view, camera in enumerate(CAMERAS.names[: points.shape[1]]):
        lines = [
            "scorer," + ",".join("me" for _ in names for _ in "xy"),
            "bodyparts," + ",".join(name for name in names for _ in "xy"),
            "coords," + ",".join(axis for _ in names for axis in "xy"),
        ]
        for frame, row in enumerate(points[:, view]):
            label = f"labeled-data/s_{camera}/img{frame:04d}.png" if images else str(frame)
            lines.append(f"{label}," + ",".join("" if np.isnan(value) else f"{value:.3f}" for value in row.ravel()))
        (folder / f"{camera}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [f"{camera}={folder / f'{camera}.csv'}" for camera in CAMERAS.names[: points.shape[1]]]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A calibration with the file of `mvgeom sync`, and the arguments for the tables."""
    folder = tmp_path_factory.mktemp("recording")
    CAMERAS.save(folder / "rig.toml")
    views = write_tables(folder, record(CAMERAS, irregular(1), late=LATE))
    result = run("sync", folder / "rig.toml", *views, "--fps", 50, "--longest", 15)
    assert result.exit_code == 0, result.output
    assert str(folder / "rig.sync.json") in result.stdout
    return folder / "rig.toml", views


def test_the_offsets_are_stored_in_seconds(recording: tuple[Path, list[str]]) -> None:
    clocks = load_clocks(recording[0].with_name("rig.sync.json"))
    assert clocks.names == CAMERAS.names
    assert clocks.offset * 50 == pytest.approx(LATE, abs=0.1)
    assert (clocks.offset_std[1:] > 0).all()


def test_cameras_that_were_started_by_hand_begin_and_end_at_frames_of_their_own(tmp_path: Path) -> None:
    points = record(CAMERAS, irregular(1), late=LATE)
    CAMERAS.save(tmp_path / "rig.toml")
    views = write_tables(tmp_path, points)
    for camera, kept in {"cam2": slice(0, 180), "cam3": slice(9, 190)}.items():
        lines = (tmp_path / f"{camera}.csv").read_text(encoding="utf-8").splitlines()
        (tmp_path / f"{camera}.csv").write_text("\n".join([*lines[:3], *lines[3:][kept]]) + "\n", encoding="utf-8")
    fails("tables-differ", "triangulate", tmp_path / "rig.toml", *views, "-o", tmp_path / "points.csv", view="cam2")
    result = run("sync", tmp_path / "rig.toml", *views, "--fps", 50, "--longest", 15)
    assert result.exit_code == 0, result.output
    assert load_clocks(tmp_path / "rig.sync.json").offset * 50 == pytest.approx(LATE, abs=0.1)
    result = run("triangulate", tmp_path / "rig.toml", *views, "-o", tmp_path / "points.csv")
    assert result.exit_code == 0, result.output
    assert len((tmp_path / "points.csv").read_text(encoding="utf-8").splitlines()) == 3 + 200


def error_of(table: Path) -> float:
    """Median distance in the world's unit of triangulated points from the truth at the reference's frames."""
    truth = irregular(1)(np.arange(200.0))
    lines = table.read_text(encoding="utf-8").splitlines()
    heads = [line.split(",") for line in lines[:3]]
    chosen = [column for column, axis in enumerate(heads[2]) if axis in ("x", "y", "z")]
    cells = [line.split(",") for line in lines[3:]]
    found = np.array([[float(row[column] or "nan") for column in chosen] for row in cells])
    return float(np.nanmedian(np.linalg.norm(found.reshape(200, NUM_KEYPOINTS, 3) - truth, axis=-1)))


def test_triangulate_uses_them_and_can_ignore_them(recording: tuple[Path, list[str]], tmp_path: Path) -> None:
    calibration, views = recording
    used = run("triangulate", calibration, *views, "-o", tmp_path / "used.csv")
    assert used.exit_code == 0, used.output
    assert "rig.sync.json" in used.stdout
    ignored = run("triangulate", calibration, *views, "-o", tmp_path / "ignored.csv", "--ignore-sync")
    assert ignored.exit_code == 0, ignored.output
    assert "rig.sync.json" not in ignored.output
    assert error_of(tmp_path / "used.csv") < 0.2 * error_of(tmp_path / "ignored.csv")


@pytest.mark.parametrize("command", ["check", "refine", "smooth"])
def test_the_other_commands_use_them_too(command: str, recording: tuple[Path, list[str]], tmp_path: Path) -> None:
    calibration = recording[0]
    views = write_tables(tmp_path, record(CAMERAS, irregular(1), late=LATE)[:40])
    out = {"check": [], "refine": ["-o", tmp_path / "refined.toml"], "smooth": ["-o", tmp_path / "points.csv"]}
    result = run(command, calibration, *views, *out[command])
    assert result.exit_code == 0, result.output
    assert "rig.sync.json" in result.stdout
    if command == "refine":
        assert (tmp_path / "refined.sync.json").is_file()


def test_world_uses_them_and_can_ignore_them(recording: tuple[Path, list[str]], tmp_path: Path) -> None:
    calibration, views = recording
    clocks = load_clocks(calibration.with_name("rig.sync.json"))
    arguments = ("world", calibration, *views, "--axes", "k0", "k1", "k2")
    for options in ((), ("--ignore-sync",)):
        result = run(*arguments, "-o", tmp_path / "world.toml", *options)
        assert result.exit_code == 0, result.output
        assert ("rig.sync.json" in result.stdout) == (not options)
        assert same_clocks(load_clocks(tmp_path / "world.sync.json"), clocks)
    short = write_tables(tmp_path, record(CAMERAS, irregular(1), late=LATE)[:6])
    fails("clocks-differ", "world", calibration, *short, "--floor", "k0", "-o", tmp_path / "new.toml", view="cam3")


def test_convert_and_show_keep_them(recording: tuple[Path, list[str]], tmp_path: Path) -> None:
    converted = run("convert", recording[0], "-o", tmp_path / "other.json")
    assert converted.exit_code == 0, converted.output
    assert load_clocks(tmp_path / "other.sync.json").offset * 50 == pytest.approx(LATE, abs=0.1)
    assert "cam2 +4." in run("show", tmp_path / "other.json").stdout


def test_without_the_file_nothing_changes(recording: tuple[Path, list[str]], tmp_path: Path) -> None:
    calibration, views = recording
    CAMERAS.save(tmp_path / "rig.toml")
    plain = run("triangulate", tmp_path / "rig.toml", *views, "-o", tmp_path / "plain.csv")
    ignored = run("triangulate", calibration, *views, "-o", tmp_path / "ignored.csv", "--ignore-sync")
    assert (tmp_path / "plain.csv").read_bytes() == (tmp_path / "ignored.csv").read_bytes()
    # The first and last lines have the paths, the last one --ignore-sync for the next command.
    assert plain.stdout.splitlines()[1:-1] == ignored.stdout.splitlines()[1:-1]
    run("convert", tmp_path / "rig.toml", "-o", tmp_path / "copy.toml")
    assert not list(tmp_path.glob("*.sync.json"))


def test_offsets_of_another_recording_are_refused(recording: tuple[Path, list[str]], tmp_path: Path) -> None:
    synchronous = write_tables(tmp_path, record(CAMERAS, irregular(2), late=(0, 0, 0)))
    arguments = ("triangulate", recording[0], *synchronous, "-o", tmp_path / "points.csv")
    assert "--ignore-sync" in fails("clocks-differ", *arguments)
    assert not (tmp_path / "points.csv").exists()
    assert run(*arguments, "--ignore-sync").exit_code == 0


def keep_rows(views: list[str], wanted: slice) -> None:
    """Leave only some rows in the tables of the views."""
    for view in views:
        path = Path(view.partition("=")[2])
        lines = path.read_text(encoding="utf-8").splitlines()
        path.write_text("\n".join([*lines[:3], *lines[3:][wanted]]) + "\n", encoding="utf-8")


def used_views(table: Path) -> int:
    """Number of keypoints from which the points of a 3D table were triangulated."""
    lines = [line.split(",") for line in table.read_text(encoding="utf-8").splitlines()]
    return sum(int(row[column]) for row in lines[3:] for column, head in enumerate(lines[2]) if head == "num_views")


def test_tables_of_every_second_frame_keep_all_views(recording: tuple[Path, list[str]], tmp_path: Path) -> None:
    views = write_tables(tmp_path, record(CAMERAS, irregular(1), late=LATE, noise=0.1))
    keep_rows(views, slice(None, None, 2))
    result = run("triangulate", recording[0], *views, "-o", tmp_path / "points.csv", "--method", "linear")
    assert result.exit_code == 0, result.output
    lost = NUM_KEYPOINTS * (3 + 4)  # 4.3 frames at the end of one view, 6.6 at the beginning of another one
    assert used_views(tmp_path / "points.csv") == 3 * 100 * NUM_KEYPOINTS - lost
    assert f"cam2 {3 * NUM_KEYPOINTS} of {100 * NUM_KEYPOINTS}, cam3 {4 * NUM_KEYPOINTS} of" in result.stdout
    assert f"of {300 * NUM_KEYPOINTS} keypoints (0 below the likelihood, {lost} without" in result.stdout


def test_offsets_beyond_the_tables_are_refused(recording: tuple[Path, list[str]], tmp_path: Path) -> None:
    calibration = recording[0]
    views = write_tables(tmp_path, record(CAMERAS, irregular(1), late=LATE))
    keep_rows(views, slice(7))
    for command in ("triangulate", "smooth", "check", "refine"):
        output = ["-o", tmp_path / ("out.toml" if command == "refine" else "out.csv")] if command != "check" else []
        fails("clocks-differ", command, calibration, *views, *output, view="cam3", found=0, expected=7 * NUM_KEYPOINTS)
        assert not list(tmp_path.glob("out.*"))


def test_offsets_after_which_no_frame_is_shared_are_refused(recording: tuple[Path, list[str]], tmp_path: Path) -> None:
    points = record(CAMERAS, irregular(1), 30, late=LATE)[:, :2]
    points[:10, 0] = points[13:, 0] = np.nan
    points[:10, 1] = points[13:, 1] = np.nan
    views = write_tables(tmp_path, points)
    fails("clocks-differ", "triangulate", recording[0], *views, "-o", tmp_path / "points.csv")
    assert not (tmp_path / "points.csv").exists()


def test_labeled_images_are_not_moved(recording: tuple[Path, list[str]], tmp_path: Path) -> None:
    labels = write_tables(tmp_path, record(CAMERAS, irregular(2), 40, late=(0, 0, 0)), images=True)
    result = run("triangulate", recording[0], *labels, "-o", tmp_path / "points.csv")
    assert result.exit_code == 0, result.output
    assert "not used" in result.stderr


def test_a_still_subject_ends_with_1_and_no_file(tmp_path: Path) -> None:
    CAMERAS.save(tmp_path / "rig.toml")
    views = write_tables(tmp_path, record(CAMERAS, irregular(1, speed=0), 100, late=LATE))
    result = run("sync", tmp_path / "rig.toml", *views, "--fps", 50)
    assert result.exit_code == 1, result.output
    assert "cannot be determined" in result.stdout
    assert "Traceback" not in result.output
    assert not list(tmp_path.glob("*.json"))


def test_wrong_options(recording: tuple[Path, list[str]], tmp_path: Path) -> None:
    calibration, views = recording
    fails("missing-argument", "sync", calibration, *views, option="--fps")
    fails("bad-option", "sync", calibration, *views, "--fps", 0, option="--fps")
    fails("bad-option", "sync", calibration, *views, "--fps", 50, "--longest", 0, option="--longest")
    fails("missing-view", "sync", calibration, *views, "--fps", 50, "--reference", "cam9", view="cam9")
    fails("missing-file", "sync", calibration, *views, "--fps", 50, "-o", tmp_path / "no" / "x.json")
    fails("too-few-views", "sync", calibration, views[0], "--fps", 50)
    board = ("--chessboard", "4x3", "--square", 1)
    fails("unsupported-file", "sync", calibration, *views, *board, view="cam1")


@pytest.mark.parametrize(("fps", "expected"), [(0.0, None), (60.0, 60.0), (0.0, 48.0)])
def test_the_frame_rate_of_films_is_known_before_boards_are_looked_for(
    fps: float, expected: float | None, recording: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    films, detected, used = [], [], []
    for name in CAMERAS.names:
        path = recording[0].with_name(f"{name}.avi")
        films.append(f"{name}={write_video(path, [np.zeros((48, 64, 3), np.uint8)] * 3)}")
    stated = {"cam1.avi": 0.0, "cam2.avi": 0.0 if expected is None else 24.0, "cam3.avi": 48.0 if expected else 0.0}
    monkeypatch.setattr("mvgeom.videos.frame_rate", lambda video: stated[video.path.name])
    monkeypatch.setattr("mvgeom.cli.sync_command.detect", lambda *arguments: detected.append(arguments))
    monkeypatch.setattr("mvgeom.calibration.board_tracks.board_tracks", lambda found: np.zeros((1, 3, 1, 2)))

    def synchronize(*_: object, frame_rate: float, **__: object) -> None:
        used.append(frame_rate)
        raise KeyboardInterrupt

    monkeypatch.setattr("mvgeom.calibration.synchronize", synchronize)
    arguments = ("sync", recording[0], *films, "--chessboard", "4x3", "--square", 1)
    if expected is None:
        fails("missing-argument", *arguments, option="--fps")
        fails("missing-view", *arguments, "--fps", 60, "--reference", "cam9", view="cam9")
        assert not detected
    else:
        run(*arguments, *(["--fps", fps] if fps else []))
        assert (len(detected), used) == (1, [expected])


def test_options_of_keypoints_do_not_apply_to_boards(recording: tuple[Path, list[str]]) -> None:
    calibration, views = recording
    options = {"--boxes": "cam1=boxes.csv", "--crop-size": "8x8", "--min-likelihood": 0.2, "--individual": "mouse"}
    for option, value in options.items():
        arguments = (calibration, *views, "--chessboard", "4x3", "--square", 1, option, value)
        fails("excluded-options", "sync", *arguments, option=option)


def test_a_chessboard_is_its_center_whichever_way_its_corners_are_listed() -> None:
    board = Chessboard(columns=4, rows=3, square_size=0.05)
    corners = object_points(board)
    offset = np.array([0.02, -0.05, 0.1])
    image = (corners + offset) @ np.array([[900, 30, 0], [-20, 950, 0], [640, 500, 1.0]])
    pixels = image[:, :2] / (1 + 0.8 * corners[:, :1])
    listed = np.stack([pixels, pixels[::-1]])[None]
    tracks = board_tracks(from_points(("a",), np.array([[1280.0, 1024]]), board, listed, ("0", "3")))
    assert tracks.shape == (4, 1, 1, 2)
    assert tracks[0] == pytest.approx(tracks[3])
    assert np.isnan(tracks[1:3]).all()


def test_films_of_a_moving_board_show_the_offset(tmp_path: Path) -> None:
    board, late = Chessboard(columns=4, rows=3, square_size=0.16), (0.0, 2.6)
    cameras = arc_of_cameras(2, distortion=()).resize([320.0, 256.0])
    cameras.save(tmp_path / "rig.toml")
    rng = np.random.default_rng(0)
    knots = np.arange(-30, 90, 8.0)
    path = CubicSpline(knots, rng.uniform(-0.1, 0.1, (len(knots), 3)))
    turns = CubicSpline(knots, rng.uniform(-15, 15, (len(knots), 3)))
    arguments = []
    for view, name in enumerate(cameras.names):
        times = np.arange(48) - late[view]
        rotation = Rotation.from_euler("xyz", turns(times), degrees=True).as_matrix()
        position = path(times) - rotation @ object_points(board).mean(axis=0)
        filmed = Filmed(
            cameras=cameras.select([name]), rotation=rotation, position=position, points=np.zeros((1, 48, 12, 2))
        )
        (images,) = photograph(filmed.cameras, board, filmed)
        colored = [np.repeat(image[..., None], 3, axis=2) for image in images]
        arguments.append(f"{name}={write_video(tmp_path / f'{name}.avi', colored, fps=50)}")
    options = ("--chessboard", "4x3", "--square", 0.16, "--longest", 10)
    result = run("sync", tmp_path / "rig.toml", *arguments, *options)
    assert result.exit_code == 0, result.output
    clocks = load_clocks(tmp_path / "rig.sync.json")
    assert clocks.frame_rate == 50
    assert clocks.offset * 50 == pytest.approx(late, abs=0.1)
