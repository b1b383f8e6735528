"""Images of videos of many codecs at their times, and the frames that they belong to."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from helpers.errors import raises_input
from helpers.videos import CODECS, FILES, damage_frames, drop, encode, ffmpeg, read_number
from mvgeom.errors import InputError
from mvgeom.videos import Video, frame_rate, match_videos, open_video, read_frames, read_times

GAP = (8, 9)
"""Images that are dropped, in the middle of a group of B-frames."""


def numbers(video: Video, start: int = 0) -> list[int | None]:
    return [read_number(image) for image in read_frames(video, start)]


@pytest.mark.parametrize(("codec", "suffix"), FILES)
def test_every_codec_gives_each_image_at_its_frame(codec: str, suffix: str, tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.{suffix}" for name in ("whole", "gap")]
    encode(paths, ("null", drop(*GAP)), "-c:v", *CODECS[codec])
    whole, gap = (open_video(path) for path in paths)
    assert numbers(whole) == list(range(20))
    assert frame_rate(gap) == pytest.approx(25, rel=1e-3)
    times = read_times(gap)
    np.testing.assert_allclose(np.diff(times), [0.12 if number == 7 else 0.04 for number in range(17)], atol=1e-6)
    matched = match_videos((whole, gap))
    assert numbers(matched[0]) == list(range(20))
    expected = [None if number in GAP else number for number in range(20)]
    assert numbers(matched[1]) == expected
    assert [matched[1].has_image(frame) for frame in range(20)] == [number is not None for number in expected]
    for start in (5, 9, 10, 19):
        assert numbers(matched[1], start) == expected[start:]


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_a_cut_at_any_image_without_encoding_keeps_the_times(suffix: str, tmp_path: Path) -> None:
    (path,) = encode([tmp_path / "long.mp4"], [drop(70, 71)], "-c:v", *CODECS["h264 with B-frames"], count=120)
    cut = tmp_path / f"cut.{suffix}"
    ffmpeg("-ss", "0.52", "-i", path, "-c", "copy", cut)  # image 13, between two key frames: mp4 hides those before
    found = numbers(open_video(cut))
    first = found[0]
    assert first is not None
    times = read_times(open_video(cut))
    shown = [(number, time) for number, time in zip(found, times, strict=True) if number is not None]
    assert [number for number, _ in shown] == [number for number in range(first, 120) if number not in (70, 71)]
    np.testing.assert_allclose(
        [time - times[0] for _, time in shown], [0.04 * (n - first) for n, _ in shown], atol=2e-3
    )


def test_an_edit_list_that_delays_a_video_is_part_of_its_times(tmp_path: Path) -> None:
    (path,) = encode([tmp_path / "a.mp4"], ["null"], "-c:v", *CODECS["h264 with B-frames"])
    ffmpeg("-itsoffset", "0.2", "-i", path, "-c", "copy", tmp_path / "later.mp4")
    first, later = match_videos([open_video(path), open_video(tmp_path / "later.mp4")])
    assert numbers(first) == list(range(20))
    assert numbers(later) == [None] * 5 + list(range(20))


def test_program_streams_whose_packets_share_times_have_no_gaps(tmp_path: Path) -> None:
    (path,) = encode([tmp_path / "a.mpg"], ["null"], "-c:v", "mpeg2video", "-q:v", "2")
    video = open_video(path)
    assert not video.is_regular
    np.testing.assert_allclose(np.diff(read_times(video)), 0.04, atol=1e-3)
    (same, _) = match_videos([video, video])
    assert numbers(same) == list(range(20))


def without_times(path: Path) -> Path:
    """A stream of h264 without container has no times; its suffix does not matter."""
    (coded,) = encode([path.with_suffix(".mkv")], ["null"], "-c:v", *CODECS["h264 with B-frames"])
    ffmpeg("-i", coded, "-c", "copy", "-f", "h264", path)
    return path


def test_without_times_images_are_matched_by_number_if_their_numbers_agree(tmp_path: Path) -> None:
    plain = open_video(without_times(tmp_path / "plain.mpg"))
    assert np.isnan(read_times(plain)).all()
    whole, gap = encode(
        [tmp_path / "a.mp4", tmp_path / "b.mp4"], ["null", drop(4)], "-c:v", *CODECS["h264 with B-frames"]
    )
    assert all(video.frames is None for video in match_videos([plain, open_video(whole)]))
    with raises_input("unmatched-frames", view="plain", found={"plain": 20, "gap": 19}):
        match_videos([plain, open_video(gap)], ["plain", "gap"])


@pytest.mark.parametrize("codec", ["h264 with B-frames", "mpeg4 with B-frames"])
def test_an_avi_with_b_frames_begins_with_the_views_of_other_kinds(codec: str, tmp_path: Path) -> None:
    paths = encode([tmp_path / "a.avi", tmp_path / "a.mkv"], ["null", "null"], "-c:v", *CODECS[codec])
    plain = encode([tmp_path / "b.avi"], ["null"], "-c:v", *CODECS["mjpeg"])
    for video in match_videos([open_video(path) for path in (*paths, *plain)]):
        assert numbers(video) == list(range(20))


INTERLACED = {
    "h264": ("avi", "libx264", "-x264-params", "tff=1:log-level=error", "-pix_fmt", "yuv420p"),
    "mpeg2": ("mpg", "mpeg2video", "-q:v", "2", "-flags", "+ildct+ilme"),
}


@pytest.mark.parametrize("kind", INTERLACED)
def test_interlaced_videos_are_read_or_refused(kind: str, tmp_path: Path) -> None:
    """OpenCV 4.13 to 5.0 gives the same image from anywhere in the memory for all of them, and no error."""
    suffix, *codec = INTERLACED[kind]
    path = tmp_path / f"film.{suffix}"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=1", "-c:v", *codec, path)
    try:
        video = open_video(path)
    except InputError as error:
        refused = error
    else:  # other versions
        images = [image for image in read_frames(video) if image is not None]
        assert len(images) == 25
        assert all((first != second).any() for first, second in pairwise(images))
        return
    assert (refused.code, refused.facts["path"], refused.facts["num_frames"]) == ("unsupported-file", path, 25)


def test_a_video_in_which_nothing_moves_is_read(tmp_path: Path) -> None:
    mpeg2 = ("mpeg2video", "-q:v", "2")
    for number, codec in enumerate(
        (*(CODECS[name] for name in ("h264 with B-frames", "h265 10 bit", "mjpeg", "raw")), mpeg2)
    ):
        path = tmp_path / f"{number}.mkv"
        ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=0.04,loop=24:1", "-c:v", *codec, path)
        assert len(list(read_frames(open_video(path)))) == 25


def test_a_video_that_begins_with_one_image_for_long_is_read(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    film = "testsrc2=s=160x120:r=25:d=40,tpad=start=400:start_mode=clone"
    ffmpeg("-f", "lavfi", "-i", film, "-c:v", "libx264", "-qp", "0", path)  # without loss, so that these are equal
    assert open_video(path).num_frames == 1400


def test_a_video_of_which_no_image_can_be_decoded_is_refused(tmp_path: Path) -> None:
    (path,) = encode([tmp_path / "a.avi"], ["null"], "-c:v", *CODECS["mjpeg"])
    damage_frames(path, range(20))
    with raises_input("unsupported-file", path=path, num_frames=20):
        open_video(path)
