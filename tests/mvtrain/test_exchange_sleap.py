"""Reader of SLEAP's labels with sleap-io, and its errors."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import sleap_io

from helpers.errors import raises_input
from helpers.videos import moving_dot, write_video
from mvgeom import CameraGroup
from mvtrain.exchange import from_sleap as sleap
from mvtrain.exchange.foreign_labels import (
    DecodedImage,
    ForeignLabels,
    ImageFile,
    Place,
    ReadOptions,
    Source,
    VideoFrame,
)
from mvtrain.exchange.media import write_calibrations
from mvtrain.project.names import pattern_rule

RULE = pattern_rule("<session>_<view>")
SKELETON = sleap_io.Skeleton(["tail", "nose"], edges=[("nose", "tail")])


def instance(offset: float = 0.0, track: sleap_io.Track | None = None) -> sleap_io.Instance:
    points = np.array([[1.0, 2.0], [3.0, 4.0]]) + offset
    return sleap_io.Instance.from_numpy(points, skeleton=SKELETON, track=track)


def save(folder: Path, *frames: list[sleap_io.Instance], embed: bool = False, tracks=()) -> Path:
    """Write labels of the frames 0, 2, 4, ... of one video beside the file."""
    video = write_video(folder / "mouse_top.avi", [moving_dot(number) for number in range(8)])
    opened = sleap_io.Video.from_filename(str(video), grayscale=False)
    labeled = [
        sleap_io.LabeledFrame(video=opened, frame_idx=2 * number, instances=instances)
        for number, instances in enumerate(frames)
    ]
    labels = sleap_io.Labels(labeled, skeletons=[SKELETON], videos=[opened], tracks=list(tracks))
    path = folder / ("labels.pkg.slp" if embed else "labels.slp")
    sleap_io.save_slp(labels, str(path), embed=embed, verbose=False)
    return path


def read(path: Path, individual: str | None = None, media: Path | None = None) -> ForeignLabels:
    options = ReadOptions(rule=RULE, individual=individual, media=media)
    return sleap.read([Source(path=path)], options)[0]


def test_labels_made_by_hand_are_read_and_predictions_left_out(tmp_path: Path) -> None:
    predicted = sleap_io.PredictedInstance.from_numpy(np.ones((2, 2)), skeleton=SKELETON)
    labels = read(save(tmp_path, [instance()], [predicted], [predicted, instance(5.0)]))
    assert labels.keypoint_names == ("tail", "nose")
    assert labels.skeleton == (("nose", "tail"),)
    assert [image.place for image in labels.images] == [("mouse", "top", 0), ("mouse", "top", 4)]
    np.testing.assert_array_equal(labels.images[1].points, [[6, 7], [8, 9]])
    (note,) = labels.notes
    assert f"{tmp_path / 'labels.slp'}: left out 1 frame without" in note


def test_a_node_with_coordinates_that_is_not_visible_is_occluded_and_keeps_them(tmp_path: Path) -> None:
    hidden, missing = instance(), instance()
    hidden.points["visible"][1] = False
    missing.points["xy"][0] = np.nan
    first, second = read(save(tmp_path, [hidden], [missing])).images
    assert first.visibility.tolist() == [2, 1]
    np.testing.assert_array_equal(first.points, [[1, 2], [3, 4]])
    assert second.visibility.tolist() == [0, 2]
    assert np.isnan(second.points[0]).all()


def test_images_are_in_the_video_or_inside_the_package(tmp_path: Path) -> None:
    (image,) = read(save(tmp_path, [instance()])).images
    assert image.image == VideoFrame(path=tmp_path / "mouse_top.avi", number=0)
    (_, second) = read(save(tmp_path, [instance()], [instance()], embed=True)).images
    assert isinstance(second.image, DecodedImage)
    # SLEAP's package is RGB, OpenCV's video BGR.
    difference = second.image.read()[..., ::-1].astype(int) - moving_dot(2)
    assert np.abs(difference).mean() < 3


def test_images_without_labels_of_lists_and_packages_are_there_for_other_views(tmp_path: Path) -> None:
    names = [tmp_path / "mouse_top" / f"img{number}.png" for number in (7, 100_007)]
    names[0].parent.mkdir()
    for number, name in enumerate(names):
        cv2.imwrite(str(name), moving_dot(number))
    images = sleap_io.Video.from_filename([str(name) for name in names])
    first = sleap_io.LabeledFrame(video=images, frame_idx=0, instances=[instance()])
    sleap_io.save_slp(sleap_io.Labels([first]), str(tmp_path / "list.slp"), embed=False, verbose=False)
    assert read(tmp_path / "list.slp").unlabeled == {Place("mouse", "top", 100_007): ImageFile(path=names[1])}
    predicted = sleap_io.PredictedInstance.from_numpy(np.ones((2, 2)), skeleton=SKELETON)
    package = read(save(tmp_path, [instance()], [predicted], embed=True))
    assert [image.place.number for image in package.images] == [0]
    assert list(package.unlabeled) == [Place("mouse", "top", 2)]


def test_a_video_that_moved_is_found_beside_the_file_and_in_media(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    path = save(tmp_path / "a", [instance()])
    path = path.rename(tmp_path / "labels.slp")
    moved = (tmp_path / "a" / "mouse_top.avi").rename(tmp_path / "b" / "mouse_top.avi")
    assert read(path).images[0].image is None
    assert read(path, media=tmp_path / "b").images[0].image == VideoFrame(path=moved, number=0)
    beside = moved.rename(tmp_path / "mouse_top.avi")
    labels = read(path)
    assert labels.images[0].image == VideoFrame(path=beside, number=0)
    assert labels.videos == {("mouse", "top"): beside}


def test_several_animals(tmp_path: Path) -> None:
    tracks = [sleap_io.Track("alice"), sleap_io.Track("bob")]
    path = save(tmp_path, [instance(0.0, tracks[0]), instance(9.0, tracks[1])], tracks=tracks)
    np.testing.assert_array_equal(read(path, "bob").images[0].points, [[10, 11], [12, 13]])
    with raises_input("several-individuals", path=path, frame=0) as caught:
        read(path)
    assert "mouse_top.avi" in str(caught.value)
    assert "'alice', 'bob'" in str(caught.value)
    with raises_input("unknown-choice", option="--individual", found="eve", expected=("alice", "bob")):
        read(path, "eve")


def test_predictions_are_labels_on_request(tmp_path: Path) -> None:
    predicted = sleap_io.PredictedInstance.from_numpy(
        np.array([[1.0, 2.0], [3.0, 4.0]]), skeleton=SKELETON, point_scores=np.array([0.9, 0.3])
    )
    path = save(tmp_path, [predicted], [predicted, instance(5.0)], [predicted])
    (labels,) = sleap.read([Source(path=path)], ReadOptions(rule=RULE, min_likelihood=0.5))
    assert [(image.place.number, image.predicted) for image in labels.images] == [(0, True), (2, False), (4, True)]
    np.testing.assert_array_equal(labels.images[0].points, [[1, 2], [np.nan, np.nan]])
    assert labels.images[0].visibility.tolist() == [2, 0]
    (labels,) = sleap.read([Source(path=path)], ReadOptions(rule=RULE, min_likelihood=0.5, every=4))
    assert [image.place.number for image in labels.images] == [0, 2, 4]
    only = save(tmp_path, [predicted], [predicted])
    with raises_input("no-labels", path=only, found=2) as caught:
        read(only)
    assert "--min-likelihood" in str(caught.value)


@pytest.mark.parametrize("preset", ["matlab", "standard"])
def test_analysis_files_are_predictions(tmp_path: Path, preset: str) -> None:
    predicted = sleap_io.PredictedInstance.from_numpy(
        np.array([[1.0, 2.0], [3.0, 4.0]]), skeleton=SKELETON, point_scores=np.array([0.9, 0.3])
    )
    labels = sleap_io.load_slp(str(save(tmp_path, [predicted], [predicted])))
    path = tmp_path / "labels.v001.000_mouse_top.analysis.h5"
    sleap_io.save_analysis_h5(labels, str(path), preset=preset)
    with raises_input("no-labels", path=path, found=2):
        read(path)
    (found,) = sleap.read([Source(path=path)], ReadOptions(rule=RULE, min_likelihood=0.5))
    assert [image.place for image in found.images] == [("mouse", "top", 0), ("mouse", "top", 2)]
    assert found.images[1].image == VideoFrame(path=tmp_path / "mouse_top.avi", number=2)
    assert found.keypoint_names == ("tail", "nose")
    np.testing.assert_array_equal(found.images[0].points, [[1, 2], [np.nan, np.nan]])


def save_sessions(folder: Path, names: list[list[str]], *, calibrated: bool = True, embed: bool = False) -> Path:
    """Write a labeled frame of each video, and recording sessions of the cameras back and side."""
    sessions, frames, videos = [], [], []
    for number, pair in enumerate(names):
        matrix = np.array([[50.0, 0, 32], [0, 50, 24], [0, 0, 1]]) if calibrated else np.eye(3)
        cameras = [
            sleap_io.Camera(name=name, matrix=matrix, size=(64, 48), rvec=[0, 0.1, 0], tvec=[1, 2, 3 + number])
            for name in ("back", "side")
        ]
        session = sleap_io.RecordingSession(camera_group=sleap_io.CameraGroup(cameras=cameras))
        for camera, name in zip(cameras, pair, strict=True):
            path = write_video(folder / f"{name}.avi", [moving_dot(each) for each in range(4)])
            video = sleap_io.Video.from_filename(str(path), grayscale=False)
            session.add_video(video, camera)
            videos.append(video)
            frames.append(sleap_io.LabeledFrame(video=video, frame_idx=2, instances=[instance()]))
        sessions.append(session)
    labels = sleap_io.Labels(frames, skeletons=[SKELETON], videos=videos, sessions=sessions)
    path = folder / ("many.pkg.slp" if embed else "many.slp")
    sleap_io.save_slp(labels, str(path), embed=embed, verbose=False)
    return path


def test_cameras_and_sessions_of_the_file_are_used(tmp_path: Path) -> None:
    labels = read(save_sessions(tmp_path, [["GX01", "GX02"], ["GX03", "GX04"]]))
    places = [(f"many_{number}", view, 2) for number in (1, 2) for view in ("back", "side")]
    assert [image.place for image in labels.images] == places
    assert set(labels.calibrations) == {"many_1", "many_2"}
    cameras = labels.calibrations["many_2"]
    assert isinstance(cameras, CameraGroup)
    assert cameras.names == ("back", "side")
    np.testing.assert_allclose(cameras.translation, [[1, 2, 4]] * 2)
    np.testing.assert_allclose(
        cameras.rotation[0], [[np.cos(0.1), 0, np.sin(0.1)], [0, 1, 0], [-np.sin(0.1), 0, np.cos(0.1)]]
    )
    assert labels.videos["many_1", "side"].name == "GX02.avi"
    written = write_calibrations(tmp_path / "calibrations", labels.calibrations, ["many_1", "many_2"], ("side", "back"))
    assert list(written) == ["many_1", "many_2"]
    loaded = CameraGroup.load(tmp_path / "calibrations" / "many_2.toml")
    np.testing.assert_allclose(loaded.rotation, cameras.rotation, atol=1e-12)
    np.testing.assert_array_equal(loaded.sizes, [[64, 48]] * 2)
    with raises_input("missing-view", view="top", found=("back", "side")):
        write_calibrations(tmp_path / "calibrations", labels.calibrations, ["many_1"], ("top",))


def test_a_session_has_the_name_in_its_videos(tmp_path: Path) -> None:
    path = save_sessions(tmp_path, [["day1_back", "day1_side"]], calibrated=False)
    labels = read(path)
    assert [image.place for image in labels.images] == [("day1", "back", 2), ("day1", "side", 2)]
    assert labels.calibrations == {}
    assert any("not calibrated" in note for note in labels.notes)


def test_sessions_without_videos_are_reported(tmp_path: Path) -> None:
    # sleap-io 0.9 drops the videos from the sessions of a package.
    labels = read(save_sessions(tmp_path, [["day1_back", "day1_side"]], embed=True))
    assert [image.place for image in labels.images] == [("day1", "back", 2), ("day1", "side", 2)]
    assert any("1 recording session " in note for note in labels.notes)


def test_a_pattern_of_the_user_comes_before_the_cameras_of_the_file(tmp_path: Path) -> None:
    path = save_sessions(tmp_path, [["a-x", "b-x"]])
    rule = pattern_rule("<view>-<session>", given=True)
    (labels,) = sleap.read([Source(path=path)], ReadOptions(rule=rule))
    assert [image.place for image in labels.images] == [("x", "a", 2), ("x", "b", 2)]


def test_videos_of_the_same_name_are_found_by_their_folders(tmp_path: Path) -> None:
    for view in ("top", "side", "."):
        (tmp_path / view).mkdir(exist_ok=True)
        write_video(tmp_path / view / "1.avi", [moving_dot(number) for number in range(3)])
    frames = []
    for view in ("top", "side"):
        metadata = {"type": "MediaVideo", "filename": f"D:\\rig\\{view}\\1.avi", "shape": [3, 48, 64, 3]}
        video = sleap_io.Video(metadata["filename"], backend_metadata=metadata, open_backend=False)
        frames.append(sleap_io.LabeledFrame(video=video, frame_idx=1, instances=[instance()]))
    path = tmp_path / "labels.slp"
    sleap_io.save_slp(sleap_io.Labels(frames, skeletons=[SKELETON]), str(path), verbose=False)
    rule = pattern_rule("<view>/*", given=True)
    (labels,) = sleap.read([Source(path=path)], ReadOptions(rule=rule))
    expected = [VideoFrame(path=tmp_path / view / "1.avi", number=1) for view in ("top", "side")]
    assert [image.image for image in labels.images] == expected


def test_a_file_without_labels(tmp_path: Path) -> None:
    path = tmp_path / "labels.slp"
    path.write_bytes(b"no HDF5")
    with raises_input("damaged-file", path=path):
        read(path)
    with raises_input("damaged-file", path=tmp_path):
        read(tmp_path)


def test_without_sleap_io(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path, [instance()])
    monkeypatch.setitem(sys.modules, "sleap_io", None)
    with raises_input("missing-library", library="sleap_io", extra="exchange"):
        read(path)


def test_a_fault_of_our_own_is_no_damaged_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path, [instance()])
    read(path)
    monkeypatch.setattr(sleap, "located_points", lambda *_: np.stack([np.zeros(2), np.zeros(3)]))
    with pytest.raises(ValueError, match="same shape") as caught:
        read(path)
    assert type(caught.value) is ValueError
