"""Readers of keypoints: every one gives the same table, keeps empty frames, and goes through the commands."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers.boards import arc_of_cameras
from helpers.errors import raises_input
from helpers.keypoint_files import (
    NAMES,
    WRITERS,
    frame_table,
    openpose_person,
    write_csv,
    write_mmpose_images,
    write_mmpose_video,
    write_openpose,
    write_sleap,
)
from helpers.mvgeom_command import run
from mvgeom import project
from mvgeom.tables import READERS, read_keypoint_blocks, read_keypoints, stack_views
from mvgeom.tables.readers.openpose_people import KEYPOINT_NAMES


def keypoints(frames: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points (frames, 4, 2), those of the third frame missing, and likelihoods."""
    rng = np.random.default_rng(seed)
    points, likelihood = rng.uniform(5, 600, (frames, 4, 2)), rng.uniform(0.6, 1, (frames, 4))
    points[2:3] = np.nan
    return points, np.where(np.isfinite(points).all(-1), likelihood, np.nan)


def test_every_reader_has_a_file_to_read() -> None:
    assert {reader for reader, _ in WRITERS.values()} == set(READERS)


@pytest.mark.parametrize("kind", WRITERS)
def test_every_reader_gives_the_same_table(kind: str, tmp_path: Path) -> None:
    reader, write = WRITERS[kind]
    points, likelihood = keypoints()
    path = write(tmp_path / "s1_top", points, likelihood)
    assert next(name for name, each in READERS.items() if each.matches(path)) == reader
    table = read_keypoints(path)
    assert table.keypoint_names == NAMES
    assert table.rows == tuple(map(str, range(6)))
    np.testing.assert_allclose(table.points, points, rtol=1e-6)
    assert table.likelihood is not None
    np.testing.assert_allclose(table.likelihood, likelihood, rtol=1e-6)
    assert table.recording == ("" if kind == "mmpose images" else "s1_top")


@pytest.mark.parametrize("kind", WRITERS)
def test_every_reader_serves_the_commands(kind: str, tmp_path: Path) -> None:
    cameras = arc_of_cameras(3)
    cameras.save(tmp_path / "rig.json")
    rng = np.random.default_rng(1)
    world = rng.uniform(-0.2, 0.2, (12, 4, 3))
    world[2] = np.nan
    pixels = project(world, cameras)
    arguments = []
    for view, name in enumerate(cameras.names):
        likelihood = np.where(np.isfinite(pixels[:, view]).all(-1), 0.9, np.nan)
        folder = tmp_path / "keypoints"
        folder.mkdir(exist_ok=True)
        arguments.append(f"{name}={WRITERS[kind][1](folder / f's_{name}', pixels[:, view], likelihood)}")
    output = tmp_path / "3d.csv"
    result = run("triangulate", tmp_path / "rig.json", *arguments, "-o", output)
    assert result.exit_code == 0, result.output
    assert "warning" not in result.stderr
    found = pd.read_csv(output, header=[0, 1, 2], index_col=0)["mvgeom"]
    back = np.stack([found[name][["x", "y", "z"]].to_numpy() for name in NAMES], axis=1)
    np.testing.assert_allclose(back, world, atol=1e-4)
    assert run("check", tmp_path / "rig.json", *arguments).exit_code == 0
    assert run("refine", tmp_path / "rig.json", *arguments, "-o", tmp_path / "refined.json").exit_code == 0


@pytest.mark.parametrize("kind", ["openpose", "mmpose images", "mmpose video", "sleap_analysis"])
def test_a_sparse_view_is_filled_with_empty_rows_and_states_so(kind: str, tmp_path: Path) -> None:
    points, likelihood = keypoints()
    write = WRITERS[kind][1]
    whole = read_keypoints(write(tmp_path / "s_a", points, likelihood))
    short = read_keypoints(write(tmp_path / "s_b", points[:4], likelihood[:4]))
    with pytest.warns(UserWarning, match="frames 0 to 3, other views have 0 to 5"):
        stack = stack_views({"a": whole, "b": short})
    assert stack.rows == whole.rows
    assert np.isnan(stack.points[4:, 1]).all()
    np.testing.assert_allclose(stack.points[:4, 1], points[:4], rtol=1e-6)
    dense = read_keypoints(write_csv(tmp_path / "s_c", points[:4], likelihood[:4]))
    with raises_input("tables-differ", view="a", row="4"):
        stack_views({"c": dense, "a": whole})


def test_frames_without_a_file_are_empty_rows(tmp_path: Path) -> None:
    points, likelihood = keypoints()
    folder = write_openpose(tmp_path / "cam", points, likelihood)
    (folder / "cam_000000000004_keypoints.json").unlink()
    table = read_keypoints(folder)
    assert table.rows == tuple("012345")
    assert np.isnan(table.points[[2, 4]]).all()


def test_of_several_people_the_most_certain_one_counts(tmp_path: Path) -> None:
    points, likelihood = keypoints(2)[0], np.full((2, 4), 0.5)
    folder = write_openpose(tmp_path / "openpose", points, likelihood)
    path = folder / "openpose_000000000001_keypoints.json"
    document = json.loads(path.read_text())
    document["people"] += [openpose_person(points[1] + 50, np.array([0.9, 0.9, 0.9, 0.0]))]
    path.write_text(json.dumps(document))
    with pytest.warns(UserWarning, match="several people in 1 of 2 frames, the first is 1"):
        table = read_keypoints(folder)
    np.testing.assert_allclose(table.points[1, :3], points[1, :3] + 50)
    assert np.isnan(table.points[1, 3]).all()

    video = write_mmpose_video(tmp_path / "mmpose", points, likelihood)
    frames = json.loads(video.read_text())
    frames[0]["instances"].insert(0, {"keypoints": (points[0] + 9).tolist(), "keypoint_scores": [0.4] * 4})
    video.write_text(json.dumps(frames))
    with pytest.warns(UserWarning, match="several people in 1 of 2 frames"):
        np.testing.assert_allclose(read_keypoints(video).points[0], points[0])


def test_pose2sim_names_its_files_in_another_way(tmp_path: Path) -> None:
    points, likelihood = keypoints()
    folder = write_openpose(tmp_path / "cam01", points, likelihood)
    expected = read_keypoints(folder)
    for file in folder.iterdir():
        file.rename(folder / f"cam01_{int(file.stem.split('_')[1]):06d}.json")
    table = read_keypoints(folder)
    assert (table.rows, table.recording) == (expected.rows, "cam01")
    np.testing.assert_array_equal(table.points, expected.points)


def test_openpose_names_its_keypoints_by_their_number(tmp_path: Path) -> None:
    assert {count: len(set(names)) for count, names in KEYPOINT_NAMES.items()} == {
        count: count for count in (25, 18, 15, 17, 26, 135)
    }
    # Numbers of OpenPose's poseParameters.cpp and of COCO.
    for count, known in (
        (25, {0: "Nose", 1: "Neck", 4: "RWrist", 8: "MidHip", 11: "RAnkle", 14: "LAnkle", 17: "REar", 24: "RHeel"}),
        (18, {4: "RWrist", 8: "RHip", 13: "LAnkle", 14: "REye", 17: "LEar"}),
        (15, {0: "Head", 8: "RHip", 14: "Chest"}),
        (17, {0: "Nose", 1: "LEye", 5: "LShoulder", 10: "RWrist", 16: "RAnkle"}),
        (26, {16: "RAnkle", 17: "Head", 18: "Neck", 19: "Hip", 20: "LBigToe", 23: "RSmallToe", 24: "LHeel"}),
        (135, {17: "UpperNeck", 24: "RHeel", 25: "LThumb1CMC", 44: "LPinky4FingerTip", 64: "RPinky4FingerTip"}),
    ):
        assert {number: KEYPOINT_NAMES[count][number] for number in known} == known
    rng = np.random.default_rng(0)
    folder = write_openpose(tmp_path / "v", rng.uniform(2, 9, (1, 25, 2)), np.ones((1, 25)))
    assert read_keypoints(folder).keypoint_names == KEYPOINT_NAMES[25]


def test_openpose_states_what_it_leaves_out_and_refuses_shares_of_the_image(tmp_path: Path) -> None:
    points, likelihood = keypoints(2)[0], np.ones((2, 4))
    folder = write_openpose(tmp_path / "v", points, likelihood)
    path = folder / "v_000000000000_keypoints.json"
    document = json.loads(path.read_text())
    document["people"][0]["hand_left_keypoints_2d"] = [1.0, 2.0, 0.5]
    path.write_text(json.dumps(document))
    with pytest.warns(UserWarning, match="faces and hands are left out"):
        read_keypoints(folder)
    with raises_input("out-of-range", path="shares"):
        read_keypoints(write_openpose(tmp_path / "shares", points / 600, likelihood))


def test_mmpose_demo_scripts_name_keypoints_and_their_frames_from_one_are_numbered_from_zero(tmp_path: Path) -> None:
    points, likelihood = keypoints(2)[0], np.full((2, 4), 0.5)
    frames = json.loads(write_mmpose_video(tmp_path / "v", points, likelihood).read_text())
    for number, frame in enumerate(frames):
        frame["frame_id"] = number + 1
    meta = {"dataset_name": "d", "keypoint_id2name": {str(number): f"part{number}" for number in range(4)}}
    path = tmp_path / "results_s1_top.json"
    path.write_text(json.dumps({"meta_info": meta, "instance_info": frames}, indent="\t"))
    table = read_keypoints(path)
    assert table.keypoint_names == ("part0", "part1", "part2", "part3")
    assert table.rows == ("0", "1")
    assert table.recording == "s1_top"


def test_sleap_in_either_order_of_dimensions(tmp_path: Path) -> None:
    points, likelihood = keypoints()
    for preset in ("matlab", "standard"):
        table = read_keypoints(write_sleap(tmp_path / preset, points, likelihood, preset=preset))
        np.testing.assert_allclose(table.points, points)


def test_sleap_tracks(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    points, _ = keypoints()

    def write(name: str, tracks: np.ndarray) -> Path:
        path = tmp_path / f"{name}.h5"
        with h5py.File(path, "w") as file:  # as sleap itself writes: no attribute tells the order
            file["tracks"] = tracks.transpose(1, 3, 2, 0)
            file["point_scores"] = np.full((2, 4, 6), np.nan)
            file["node_names"] = [name.encode() for name in NAMES]
            file["track_names"] = [b"mouse", b"rat"]
        return path

    both = np.stack([points, points + 7], axis=1)
    path = write("both", both)
    with raises_input("several-individuals", found=("mouse", "rat"), path="both.h5"):
        read_keypoints(path)
    with raises_input("unknown-choice", found="cat", path="both.h5"):
        read_keypoints(path, "cat")
    table = read_keypoints(path, "rat")
    np.testing.assert_allclose(table.points, points + 7)
    assert table.likelihood is not None
    np.testing.assert_array_equal(table.likelihood[0], 1)  # labeled by hand: no score
    pieces = both.copy()
    pieces[:3, 1], pieces[3:, 0] = np.nan, np.nan
    with pytest.warns(UserWarning, match="2 tracks, never two in one frame"):
        table = read_keypoints(write("pieces", pieces))
    np.testing.assert_allclose(table.points, np.concatenate([points[:3], points[3:] + 7]))


def test_deeplabcut_of_several_animals_and_of_labels(tmp_path: Path) -> None:
    pytest.importorskip("tables")
    points, likelihood = keypoints()
    animals = {animal: frame_table(points + shift, likelihood) for animal, shift in (("m1", 0), ("m2", 30))}
    unique = {"single": frame_table(points[:, :1] + 60, likelihood[:, :1], ("corner",))}
    whole = pd.concat(
        {animal: table["net"] for animal, table in {**animals, **unique}.items()}, axis=1, names=["individuals"]
    )
    whole = pd.concat({"net": whole}, axis=1, names=["scorer"])
    whole.to_hdf(tmp_path / "several.h5", key="df_with_missing", format="table", mode="w")
    whole.to_csv(tmp_path / "several.csv")
    for name in ("several.h5", "several.csv"):
        with raises_input("several-individuals", found=("m1", "m2"), path=name):
            read_keypoints(tmp_path / name)
        table = read_keypoints(tmp_path / name, "m2")
        assert table.keypoint_names == (*NAMES, "corner")
        np.testing.assert_allclose(table.points, np.concatenate([points + 30, points[:, :1] + 60], axis=1))
    labels = frame_table(points, likelihood).drop(columns="likelihood", level="coords")
    labels.index = pd.MultiIndex.from_tuples([("labeled-data", "s_top", f"img{row}.png") for row in range(6)])
    labels.to_hdf(tmp_path / "labels.h5", key="df_with_missing", mode="w")
    labels.to_csv(tmp_path / "labels.csv")
    for name in ("labels.h5", "labels.csv"):
        table = read_keypoints(tmp_path / name)
        assert table.rows[5] == "labeled-data/s_top/img5.png"
        assert table.likelihood is None


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("bad.json", "[{", raises_input("bad-header", path="bad.json")),
        ("cut.json", '[{"frame_id": 0, "instances": [{', raises_input("invalid-syntax", path="cut.json")),
        ("half.json", '{"people": [{"pose_keypoints_2d": [1, 2]}]}', raises_input("bad-field", path="half.json")),
        ("nobody.json", '{"version": 1.3, "people": []}', raises_input("no-labels", path="nobody.json")),
        ("short.json", '[{"keypoints": [[1, 2]], "keypoint_scores": []}]', raises_input("bad-field")),
        ("bad.h5", b"\x89HDF\r\n\x1a\nnothing", raises_input("damaged-file", path="bad.h5")),
    ],
)
def test_damaged_files(name: str, content: str | bytes, expected: object, tmp_path: Path) -> None:
    if name.endswith(".h5"):
        pytest.importorskip("tables")
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with expected:  # type: ignore[attr-defined]
        read_keypoints(tmp_path / name)


def test_folders_of_several_recordings_are_refused(tmp_path: Path) -> None:
    points, likelihood = keypoints()
    folder = write_openpose(tmp_path / "a", points, likelihood)
    for file in sorted(folder.iterdir()):
        (folder / file.name.replace("a_", "b_")).write_bytes(file.read_bytes())
    with raises_input("duplicate-name", name="0", path="a"):
        read_keypoints(folder)
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in ("a", "b"):
        write_mmpose_video(videos / name, points, likelihood)
    with raises_input("duplicate-name", name="a.json", path="videos"):
        read_keypoints(videos)
    (tmp_path / "empty").mkdir()
    with raises_input("unknown-format", path="empty"):
        read_keypoints(tmp_path / "empty")
    images = write_mmpose_images(tmp_path / "images", points, likelihood)
    (images / "cover.json").write_text("[]")
    assert read_keypoints(images).rows[:2] == ("cover", "img0000")


@pytest.mark.parametrize("library", ["h5py", "tables"])
def test_a_missing_library_is_named(library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(library)
    points, likelihood = keypoints()
    path = WRITERS["deeplabcut_h5"][1](tmp_path / "t", points, likelihood)
    monkeypatch.setitem(__import__("sys").modules, library, None)
    with raises_input("missing-library", library=library, path="t.h5"):
        read_keypoints(path)


@pytest.mark.parametrize("separator", [";", "\t"])
def test_spreadsheets_with_either_decimal_separator(separator: str, tmp_path: Path) -> None:
    points, likelihood = keypoints()
    table = frame_table(points, likelihood)
    for decimal in ".,":
        table.to_csv(tmp_path / "t.csv", sep=separator, decimal=decimal)
        np.testing.assert_allclose(read_keypoints(tmp_path / "t.csv").points, points)
    text = (tmp_path / "t.csv").read_text().splitlines()
    text[3] = separator.join("1.234" if number == 1 else cell for number, cell in enumerate(text[3].split(separator)))
    (tmp_path / "mixed.csv").write_text("\n".join(text))
    with raises_input("bad-number", path="mixed.csv"):
        read_keypoints(tmp_path / "mixed.csv")


@pytest.mark.parametrize("kind", WRITERS)
def test_every_reader_takes_a_keypoint_that_no_frame_has(kind: str, tmp_path: Path) -> None:
    """MMPose writes no person with a missing keypoint; a column without a number is not one of texts."""
    if kind.startswith("mmpose"):
        return
    points, likelihood = keypoints()
    points[:, 1] = np.nan
    likelihood[:, 1] = 0
    found = read_keypoints(WRITERS[kind][1](tmp_path / "t", points, likelihood))
    np.testing.assert_allclose(found.points, points)


@pytest.mark.parametrize("kind", WRITERS)
def test_every_reader_warns_of_places_without_likelihood(kind: str, tmp_path: Path) -> None:
    """OpenPose's without a confidence were not found, those of SLEAP were placed by hand."""
    points, likelihood = keypoints()
    likelihood[1, 2] = np.nan
    path = WRITERS[kind][1](tmp_path / "s1_top", points, likelihood)
    if kind == "openpose":
        assert np.isnan(read_keypoints(path).points[1, 2]).all()
        return
    if kind == "sleap_analysis":
        assert np.equal(1, read_keypoints(path).likelihood)[1, 2]
        return
    with pytest.warns(UserWarning, match=f"1 keypoint with x and y but no likelihood.*{NAMES[2]}.* row 1;"):
        read_keypoints(path)


@pytest.mark.parametrize("kind", WRITERS)
def test_every_reader_warns_of_likelihoods_in_percent(kind: str, tmp_path: Path) -> None:
    points, likelihood = keypoints()
    path = WRITERS[kind][1](tmp_path / "s1_top", points, 80 + 10 * likelihood)
    with pytest.warns(UserWarning, match=r"likelihoods up to 8\d.*expected 0 to 1"):
        read_keypoints(path)
    scores = WRITERS[kind][1](tmp_path / "s2_top", points, 1.1 * likelihood)  # SLEAP's peaks may be above 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_keypoints(scores)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_rows_of_a_csv_table_that_are_no_frames(separator: str, tmp_path: Path) -> None:
    """Spreadsheets write blank rows as separators, and pandas the name of the index into a row of its own."""
    points, likelihood = keypoints()
    points[0] = np.nan
    table = frame_table(points, likelihood)
    table.index.name = "frame"
    path = tmp_path / "t.csv"
    table.to_csv(path, sep=separator)
    lines = path.read_text().splitlines()
    assert lines[3].startswith(f"frame{separator}")
    blank = separator * lines[4].count(separator)
    path.write_text("\n".join([*lines[:5], blank, *lines[5:], blank, ""]))
    found = read_keypoints(path)
    assert found.rows == tuple(map(str, range(len(points))))
    np.testing.assert_allclose(found.points, points)
    blocks = list(read_keypoint_blocks(path, 1))
    assert [row for block in blocks for row in block.rows] == list(found.rows)
    path.write_text("\n".join([*lines[:4], blank]))
    with raises_input("empty-file", path="t.csv"):
        read_keypoints(path)
    with raises_input("empty-file", path="t.csv"):
        list(read_keypoint_blocks(path, 1))
    path.write_text("\n".join([*lines[:3], f"img7{blank}", lines[5]]))  # an image without labels
    assert read_keypoints(path).rows == ("img7", "1")


def test_no_reader_warns_of_a_usual_file(tmp_path: Path) -> None:
    points, likelihood = keypoints()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        for number, (_, write) in enumerate(WRITERS.values()):
            read_keypoints(write(tmp_path / f"file{number}_top", points, likelihood))
