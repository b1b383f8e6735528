"""Frames of a video at their places, whatever is wrong with the file."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.videos import cut_off, damage_frames, moving_dot, write_video
from mvtrain.predict.video import count_frames, open_video, read_frames

CODECS = {"MJPG": ".avi", "mp4v": ".mp4"}


def make(folder: Path, codec: str, length: int = 20, fps: float = 25.0) -> Path:
    images = [moving_dot(number) for number in range(length)]
    return write_video(folder / f"clip{CODECS[codec]}", images, codec=codec, fps=fps)


def decode_all(path: Path) -> list[np.ndarray]:
    """What a plain loop over OpenCV gives."""
    capture, images = cv2.VideoCapture(str(path)), []
    while (frame := capture.read())[0]:
        images.append(frame[1])
    return images


@pytest.mark.parametrize("codec", CODECS)
def test_a_sound_video_is_read_as_opencv_reads_it(codec: str, tmp_path: Path) -> None:
    path = make(tmp_path, codec)
    video = open_video(path)
    assert (video.size, video.fps, video.num_frames) == ((64, 48), 25.0, 20)
    np.testing.assert_array_equal(np.stack(list(read_frames(video))), np.stack(decode_all(path)))
    assert count_frames(video) == 20


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("start", [1, 7, 19])
def test_reading_from_the_middle_gives_the_same_frames(codec: str, start: int, tmp_path: Path) -> None:
    video = open_video(make(tmp_path, codec))
    np.testing.assert_array_equal(np.stack(list(read_frames(video, start))), np.stack(list(read_frames(video)))[start:])


@pytest.mark.parametrize("start", [20, 25])
def test_nothing_is_left_after_the_end(start: int, tmp_path: Path) -> None:
    assert list(read_frames(open_video(make(tmp_path, "MJPG")), start)) == []


@pytest.mark.parametrize("damaged", [[7], [7, 8, 9], [3, 11], [0], [0, 1]])
@pytest.mark.parametrize("start", [0, 5])
def test_frames_that_cannot_be_decoded_leave_gaps_and_move_nothing(
    damaged: list[int], start: int, tmp_path: Path
) -> None:
    path = make(tmp_path, "MJPG")
    sound = decode_all(path)
    damage_frames(path, damaged)
    frames = list(read_frames(open_video(path), start))
    assert len(frames) == 20 - start
    for number, frame in enumerate(frames, start):
        if number in damaged:
            assert frame is None
        else:
            np.testing.assert_array_equal(frame, sound[number])


def test_a_damaged_frame_of_a_video_of_differences_leaves_one_gap(tmp_path: Path) -> None:
    path = make(tmp_path, "mp4v", length=30)
    sound = decode_all(path)
    damage_frames(path, [15])
    frames = list(read_frames(open_video(path)))
    assert [number for number, frame in enumerate(frames) if frame is None] == [15]
    assert len(frames) == 30
    np.testing.assert_array_equal(np.stack(frames[:15]), np.stack(sound[:15]))  # type: ignore[arg-type]


def test_a_damaged_end_ends_the_video_earlier_than_it_says(tmp_path: Path) -> None:
    path = make(tmp_path, "MJPG")
    damage_frames(path, [18, 19])
    video = open_video(path)
    assert video.num_frames == 20
    assert count_frames(video) == 18


def test_a_cut_off_file_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = make(tmp_path, "MJPG", length=40)
    sound = decode_all(path)
    cut_off(path, 0.6)
    frames = [frame for frame in read_frames(open_video(path)) if frame is not None]
    assert 10 < len(frames) < 40
    # The last frame may be half there, and is taken as the decoder gives it.
    np.testing.assert_array_equal(np.stack(frames[:-1]), np.stack(sound[: len(frames) - 1]))


def test_what_is_no_video_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("hello")
    (tmp_path / "empty.mp4").touch()
    cut_off(make(tmp_path, "mp4v"), 0.5)  # the index of an MP4 stands at its end
    for name, problem in (
        ("text.mp4", "it is no video, or damaged or cut off"),
        ("empty.mp4", "it is empty"),
        ("clip.mp4", "it is no video, or damaged or cut off"),
        ("absent.mp4", "it does not exist"),
    ):
        with pytest.raises(ValueError, match=rf"{name} cannot be opened as a video: {problem}"):
            open_video(tmp_path / name)
