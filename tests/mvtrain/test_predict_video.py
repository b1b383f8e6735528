"""Frames of a video at their numbers, also in damaged files."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.errors import raises_input
from helpers.videos import cut_off, damage_frames, moving_dot, write_session, write_video
from mvgeom.videos import count_frames, open_video, read_frames

CODECS = {"MJPG": ".avi", "mp4v": ".mp4"}


def make_video(folder: Path, codec: str, length: int = 20, fps: float = 25.0) -> Path:
    images = [moving_dot(number) for number in range(length)]
    return write_video(folder / f"clip{CODECS[codec]}", images, codec=codec, fps=fps)


def decode_all(path: Path) -> list[np.ndarray]:
    """Decode with a plain loop over OpenCV."""
    capture, images = cv2.VideoCapture(str(path)), []
    while (frame := capture.read())[0]:
        images.append(frame[1])
    return images


@pytest.mark.parametrize("codec", CODECS)
def test_an_intact_video_is_read_as_opencv_reads_it(codec: str, tmp_path: Path) -> None:
    path = make_video(tmp_path, codec)
    video = open_video(path)
    assert (video.size, video.fps, video.num_frames) == ((64, 48), 25.0, 20)
    np.testing.assert_array_equal(np.stack(list(read_frames(video))), np.stack(decode_all(path)))
    assert count_frames(video) == 20


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("start", [1, 7, 19])
def test_reading_from_the_middle_gives_the_same_frames(codec: str, start: int, tmp_path: Path) -> None:
    video = open_video(make_video(tmp_path, codec))
    np.testing.assert_array_equal(np.stack(list(read_frames(video, start))), np.stack(list(read_frames(video)))[start:])


@pytest.mark.parametrize("start", [20, 25])
def test_nothing_is_left_after_the_end(start: int, tmp_path: Path) -> None:
    assert list(read_frames(open_video(make_video(tmp_path, "MJPG")), start)) == []


@pytest.mark.parametrize("damaged", [[7], [7, 8, 9], [3, 11], [0], [0, 1]])
@pytest.mark.parametrize("start", [0, 5])
def test_frames_that_cannot_be_decoded_leave_gaps_and_the_others_keep_their_numbers(
    damaged: list[int], start: int, tmp_path: Path
) -> None:
    path = make_video(tmp_path, "MJPG")
    intact = decode_all(path)
    damage_frames(path, damaged)
    frames = list(read_frames(open_video(path), start))
    assert len(frames) == 20 - start
    for number, frame in enumerate(frames, start):
        if number in damaged:
            assert frame is None
        else:
            np.testing.assert_array_equal(frame, intact[number])


def test_a_damaged_frame_of_a_video_with_predicted_frames_leaves_one_gap(tmp_path: Path) -> None:
    path = make_video(tmp_path, "mp4v", length=30)
    intact = decode_all(path)
    damage_frames(path, [15])
    frames = list(read_frames(open_video(path)))
    assert [number for number, frame in enumerate(frames) if frame is None] == [15]
    assert len(frames) == 30
    np.testing.assert_array_equal(np.stack(frames[:15]), np.stack(intact[:15]))  # type: ignore[arg-type]


def test_a_damaged_end_ends_the_video_earlier_than_announced(tmp_path: Path) -> None:
    path = make_video(tmp_path, "MJPG")
    damage_frames(path, [18, 19])
    video = open_video(path)
    assert video.num_frames == 20
    assert count_frames(video) == 18


def test_a_cut_off_file_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = make_video(tmp_path, "MJPG", length=40)
    intact = decode_all(path)
    cut_off(path, 0.6)
    frames = [frame for frame in read_frames(open_video(path)) if frame is not None]
    assert 10 < len(frames) < 40
    # The last frame may be half there, and is taken as the decoder gives it.
    np.testing.assert_array_equal(np.stack(frames[:-1]), np.stack(intact[: len(frames) - 1]))


def test_files_that_are_not_videos_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("hello")
    (tmp_path / "empty.mp4").touch()
    cut_off(make_video(tmp_path, "mp4v"), 0.5)  # the index of an MP4 stands at its end
    for name, code in (
        ("text.mp4", "unreadable-file"),
        ("empty.mp4", "empty-file"),
        ("clip.mp4", "unreadable-file"),
        ("absent.mp4", "missing-file"),
    ):
        with raises_input(code, path=tmp_path / name):
            open_video(tmp_path / name)


def test_frames_that_are_not_wanted_are_none(tmp_path: Path) -> None:
    (path,) = write_session(tmp_path, ["top"], [9])
    video = open_video(path)
    every = list(read_frames(video))
    for start in (0, 4):
        some = list(read_frames(video, start, is_wanted={2, 5, 6}.__contains__))
        assert [number for number, image in enumerate(some, start) if image is not None] == [
            number for number in (2, 5, 6) if number >= start
        ]
        assert all(
            np.array_equal(image, every[number]) for number, image in enumerate(some, start) if image is not None
        )
