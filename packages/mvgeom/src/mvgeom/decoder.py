"""OpenCV's decoder of videos: opened for local files only, and refused where it does not give a file's images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import cv2
import numpy as np

from mvgeom.errors import InputError

__all__ = ["RAW_PACKETS", "check_images", "open_capture"]

RAW_PACKETS = -1
"""Value of OpenCV's CAP_PROP_FORMAT that reads packets without decoding them."""

_REPEATED_BYTES = (80, 1 / 800)
"""Bytes of a packet, and bytes for each pixel, beyond which it does more than repeat the image before."""

_SAME_IMAGES = 300
"""Equal images at the beginning of a video after which its packets are compared; generated films may show no change."""

_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
"""Variable of the environment with options that OpenCV gives to FFmpeg, as `name;value|name;value`."""

_CONTAINERS = (
    "avi,mov,mp4,m4v,m4a,3gp,matroska,webm,mpeg,mpegts,mpegvideo,h264,hevc,vvc,obu,av1,ivf,asf,flv,live_flv,ogg,mjpeg,"
    "mxf,gxf,dv,gif,apng,nut,wtv,rm,swf,vc1,yuv4mpegpipe,dirac,cavsvideo,r3d,nsv,roq,smk,bink,flic,evo"
)
"""FFmpeg's containers of videos. Playlists (`hls`, `concat`, `dash`), streams and devices are not here."""

_SAFE_OPTIONS = ("protocol_whitelist;file", f"format_whitelist;{_CONTAINERS}")

_opening = Lock()


def open_capture(path: Path, *parameters: int) -> cv2.VideoCapture:
    """Open OpenCV's decoder of a video.

    Only a local file that is itself a video is opened: no address, and no playlist, which names other files.

    Args:
        path: Path of the file.
        parameters: Properties of OpenCV and their values, one after the other.

    Raises:
        InputError: The file does not exist (`missing-file`), is empty (`empty-file`) or cannot be opened as a video
            (`unreadable-file`).
    """
    text = f"{path}: cannot be opened as a video"
    if "\0" in str(path) or not path.exists():
        raise InputError(f"{text}: it does not exist", code="missing-file", path=path)
    if not path.is_file():
        raise InputError(f"{text}: it is not a file", code="unreadable-file", path=path)
    if path.stat().st_size == 0:
        raise InputError(f"{text}: it is empty", code="empty-file", path=path)
    with _local_files_only():
        # An absolute path, because FFmpeg takes one such as `http:/host` for an address.
        capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG, parameters)
    if not capture.isOpened():
        raise InputError(f"{text}: it is not a video, or it is damaged or cut off", code="unreadable-file", path=path)
    return capture


@contextmanager
def _local_files_only() -> Iterator[None]:
    """Let FFmpeg, within the block, open no connection and no container that names other files.

    OpenCV takes FFmpeg's options from the environment only. Those that the user has set stay.
    """
    with _opening:
        given = os.environ.get(_OPTIONS)
        os.environ[_OPTIONS] = "|".join([*([given] if given else []), *_SAFE_OPTIONS])
        try:
            yield
        finally:
            if given is None:
                del os.environ[_OPTIONS]
            else:
                os.environ[_OPTIONS] = given


def check_images(path: Path, decoder: cv2.VideoCapture, num_images: int, num_pixels: int) -> None:
    """Check that images can be decoded, and that they are those of the file.

    From version 4.13 on, OpenCV does not convert interlaced images to BGR, says that it did, and gives what was in the
    memory: every image is the same. Images are decoded until one differs from the first, usually the second.

    Args:
        path: Path of the file, for messages.
        decoder: Its decoder, before the first image.
        num_images: Number of images in the file.
        num_pixels: Number of pixels of an image.

    Raises:
        InputError: `unsupported-file`.
    """
    # OpenCV fails once for each packet that the decoder rejects.
    if not any(decoder.grab() for _ in range(num_images + 1)):
        raise InputError(
            f"{path}: none of its images can be decoded, found {num_images}. They are damaged, or of a codec that "
            f"OpenCV {cv2.__version__} cannot decode here. Encode the video again, such as by ffmpeg -i IN -c:v "
            "libx264 -crf 15 OUT.mp4",
            code="unsupported-file",
            path=path,
            num_frames=num_images,
        )
    _, first = decoder.retrieve()
    number = 1
    while number < _SAME_IMAGES and decoder.grab():
        success, image = decoder.retrieve()
        if not success or not np.array_equal(image, first):
            return
        number += 1
    if number > 1 and _packets_differ(path, number, num_pixels):
        raise InputError(
            f"{path}: OpenCV {cv2.__version__} gives {number} images that are all the same, though those in the file "
            "differ. From version 4.13 on it does so with interlaced videos. Encode the video again without interlacing"
            ", such as by ffmpeg -i IN -vf bwdif=mode=send_frame -c:v libx264 -crf 15 OUT.mp4",
            code="unsupported-file",
            path=path,
            num_frames=number,
        )


def _packets_differ(path: Path, count: int, num_pixels: int) -> bool:
    """Return True if most of some packets, the first left out, are too long for images that only repeat another."""
    packets = open_capture(path, cv2.CAP_PROP_FORMAT, RAW_PACKETS)
    _, before = packets.read()
    differ: list[bool] = []
    least = _REPEATED_BYTES[0] + _REPEATED_BYTES[1] * num_pixels
    while len(differ) < count - 1 and (read := packets.read())[0]:
        packet = read[1]
        differ.append(packet.size > least and not np.array_equal(packet, before))
        before = packet
    packets.release()
    return sum(differ) > len(differ) / 2
