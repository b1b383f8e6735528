"""Frames of videos out of their order, which are those that reading from the start gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers.videos import CODECS, FILES, drop, encode, moving_dot, read_number, write_video
from mvgeom.frame_reader import FrameReader
from mvgeom.videos import open_video, read_frames

GAP = (40, 41, 77)


@pytest.mark.parametrize(("codec", "suffix"), [("MJPG", ".avi"), ("mp4v", ".mp4")])
def test_blocks_of_frames_are_those_that_reading_from_the_start_gives(tmp_path: Path, codec: str, suffix: str) -> None:
    path = write_video(tmp_path / f"s{suffix}", [moving_dot(number) for number in range(70)], codec=codec)
    expected = list(read_frames(open_video(path)))
    reader = FrameReader(open_video(path))
    for start in (40, 64, 0, 8, 32, 16, 66, 0):
        found = dict(reader.read(range(start, start + 8)))
        assert list(found) == [number for number in range(start, start + 8) if number < 70]
        for number, image in found.items():
            np.testing.assert_array_equal(image, expected[number])


@pytest.mark.parametrize(("codec", "suffix"), FILES)
def test_any_frame_of_any_codec_is_found_at_once(codec: str, suffix: str, tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.{suffix}" for name in ("whole", "gap")]
    encode(paths, ("null", drop(*GAP)), "-g", "30", "-c:v", *CODECS[codec], count=120)
    whole = list(range(120))
    for path, expected in zip(paths, (whole, [number for number in whole if number not in GAP]), strict=True):
        reader = FrameReader(open_video(path))
        for number in (100, 3, 60, 61, 59, 116, 0, 35, 40, 90):
            found = reader.read([number])
            assert [(each, read_number(image)) for each, image in found] == [(number, expected[number])]
        several = reader.read([5, 31, 33, 99])
        assert [(each, read_number(image)) for each, image in several] == [(n, expected[n]) for n in (5, 31, 33, 99)]


def test_decoding_begins_at_a_key_image(tmp_path: Path) -> None:
    (path,) = encode([tmp_path / "s.mp4"], ["null"], "-g", "30", "-keyint_min", "30", "-sc_threshold", "0", "-c:v",
                     *CODECS["h264 with B-frames"], count=100)  # fmt: skip
    video = open_video(path)
    assert video.keys is not None
    assert video.keys.tolist() == [0, 30, 60, 90]
    assert video.decoded_from([0, 10, 46, 47, 76, 77, 99]).tolist() == [0, 0, 0, 30, 30, 60, 60]
