"""Videos small enough to make in a test, whole and damaged."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

SIZE = (64, 48)
CODECS = {
    "h264 with B-frames": ("libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p"),
    "h265 10 bit": ("libx265", "-pix_fmt", "yuv420p10le", "-x265-params", "log-level=error"),
    "mjpeg": ("mjpeg", "-pix_fmt", "yuvj420p"),
    "raw": ("rawvideo", "-pix_fmt", "yuv420p"),
    "ffv1": ("ffv1", "-pix_fmt", "yuv420p"),
    "vp9": ("libvpx-vp9", "-deadline", "realtime", "-pix_fmt", "yuv420p"),
    "mpeg4 with B-frames": ("mpeg4", "-bf", "2", "-pix_fmt", "yuv420p"),
}
CONTAINERS = {
    "h264 with B-frames": ("mkv", "mp4", "mov", "avi"),
    "h265 10 bit": ("mkv", "mp4"),
    "mjpeg": ("mkv", "mp4", "avi"),
    "raw": ("mkv", "avi"),
    "ffv1": ("mkv", "avi"),
    "vp9": ("mkv", "mp4"),
    "mpeg4 with B-frames": ("mkv", "mp4", "avi"),
}
FILES = [(codec, suffix) for codec, suffixes in CONTAINERS.items() for suffix in suffixes]
"""Codecs and the suffixes of the containers that hold them."""


def moving_dot(number: int, view: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    """(h, w, 3) BGR: a bright square whose place says which frame of which view it is."""
    image = np.full((size[1], size[0], 3), 40 + 20 * view, dtype=np.uint8)
    x, y = 8 + (3 * number) % (size[0] - 20), 8 + (5 * number + 7 * view) % (size[1] - 20)
    image[y : y + 10, x : x + 10] = (255, 120, 30 * view)
    return image


def write_video(path: Path, images: Sequence[np.ndarray], *, codec: str = "MJPG", fps: float = 25.0) -> Path:
    """A video file; MJPG in AVI stores every frame on its own, mp4v in MP4 the differences to the frame before."""
    height, width = images[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, (width, height))
    assert writer.isOpened(), path
    for image in images:
        writer.write(image)
    writer.release()
    return path


def write_session(
    folder: Path,
    views: Sequence[str],
    lengths: Sequence[int],
    *,
    session: str = "mouse",
    sizes: Sequence[tuple[int, int]] | None = None,
    fps: Sequence[float] | None = None,
    suffix: str = ".avi",
) -> list[Path]:
    """Videos `<session>_<view>.avi`, one per view."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, (view, length) in enumerate(zip(views, lengths, strict=True)):
        size = SIZE if sizes is None else sizes[number]
        images = [moving_dot(frame, number, size) for frame in range(length)]
        rate = 25.0 if fps is None else fps[number]
        codec = "MJPG" if suffix == ".avi" else "mp4v"
        paths.append(write_video(folder / f"{session}_{view}{suffix}", images, codec=codec, fps=rate))
    return paths


def damage_frames(path: Path, numbers: Iterable[int]) -> None:
    """Overwrite the stored content of some frames with zeros, which no decoder takes for a frame."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
    packets = []
    while True:
        success, packet = capture.read()
        if not success:
            break
        packets.append(packet.tobytes())
    capture.release()
    content, start, places = path.read_bytes(), 0, []
    for packet in packets:  # stored in this order, and some are the same
        places.append(content.index(packet, start))
        start = places[-1] + len(packet)
    changed = bytearray(content)
    for number in numbers:
        changed[places[number] : places[number] + len(packets[number])] = bytes(len(packets[number]))
    path.write_bytes(changed)


def cut_off(path: Path, share: float) -> None:
    """Keep only the first part of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def numbered(count: int) -> list[np.ndarray]:
    """(48, 64, 3) BGR images that state their number in 8 blocks of black and white, for `read_number`."""
    images = []
    for number in range(count):
        bits = [255 * (number >> bit & 1) for bit in range(7)] + [255]  # the last says that there is an image
        blocks = np.array(bits, dtype=np.uint8).reshape(2, 4).repeat(24, axis=0).repeat(16, axis=1)
        images.append(np.repeat(blocks[..., None], 3, axis=-1))
    return images


def read_number(image: np.ndarray | None) -> int | None:
    """Number of an image of `numbered`, of any size and compression; None for no image, or a black one."""
    if image is None:
        return None
    gray = image if image.ndim == 2 else image.mean(axis=-1)
    height, width = gray.shape
    centers = gray[[height // 4, 3 * height // 4]][:, [(2 * block + 1) * width // 8 for block in range(4)]]
    *bits, shown = (centers.ravel() > 127).tolist()
    return sum(bit << place for place, bit in enumerate(bits)) if shown else None


def ffmpeg(*arguments: object, stdin: bytes | None = None) -> None:
    """Run the ffmpeg of imageio-ffmpeg, which sleap-io depends on; the test is skipped where it is not installed."""
    program = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    command = [program, "-y", "-v", "error", *map(str, arguments)]
    subprocess.run(command, input=stdin, check=True, capture_output=True)


def encode(paths: Sequence[Path], filters: Sequence[str], *codec: str, count: int = 20, fps: int = 25) -> list[Path]:
    """Encode `numbered` images as one video per path, each through a filter that may drop images or shift times."""
    split = f"[0:v]split={len(paths)}" + "".join(f"[in{view}]" for view in range(len(paths)))
    chains = [f"[in{view}]{each}[out{view}]" for view, each in enumerate(filters)]
    outputs = [
        argument
        for view, path in enumerate(paths)
        for argument in ("-map", f"[out{view}]", "-fps_mode", "passthrough", *codec, path)
    ]
    frames = b"".join(image.tobytes() for image in numbered(count))
    layout = ("-f", "rawvideo", "-pix_fmt", "bgr24", "-s", "64x48", "-r", fps)
    ffmpeg(*layout, "-i", "-", "-filter_complex", ";".join([split, *chains]), *outputs, stdin=frames)
    return list(paths)


def drop(*numbers: int) -> str:
    """Filter of `encode` that drops images, and keeps the times of the others."""
    return "select='not(" + ("+".join(f"eq(n,{number})" for number in numbers) or "0") + ")'"
