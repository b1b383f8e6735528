"""Videos small enough to make in a test, whole and damaged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

SIZE = (64, 48)


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
