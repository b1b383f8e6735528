"""One video, frame by frame, with every frame at its place also where some cannot be decoded."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mvgeom.tables import read_video_boxes

_RAW_PACKETS = -1
_SAME_TIME = 0.01


@dataclass(frozen=True, kw_only=True, eq=False)
class Video:
    """What the container says about a video.

    Attributes:
        path: the file.
        size: width and height in px, as decoded (a rotation that the file asks for is done).
        fps: frames per second; 0 where the file does not say.
        num_frames: how many frames it announces; the last ones may turn out not to be there.
        times: their distinct times in ms, ascending; a single one where the file gives no times.
    """

    path: Path
    size: tuple[int, int]
    fps: float
    num_frames: int
    times: np.ndarray

    def place(self, time: float) -> int:
        """How many frames come before a time in ms."""
        return int(np.searchsorted(self.times, time - _SAME_TIME))


def check_video(path: Path) -> None:
    """Whether a file can be opened as a video; reads its headers only.

    Raises:
        ValueError: it cannot.
    """
    _open(path).release()


def open_video(path: Path) -> Video:
    """Read a video's headers and list its frames, without decoding them (8 bytes of memory per frame).

    Raises:
        ValueError: the file cannot be opened as a video, or holds no frame.
    """
    packets = _open(path, cv2.CAP_PROP_FORMAT, _RAW_PACKETS)
    times = []
    while packets.grab():
        times.append(packets.get(cv2.CAP_PROP_POS_MSEC))
    packets.release()
    if not times:
        raise ValueError(f"{path} is a video without frames")
    decoder = _open(path)
    width, height = decoder.get(cv2.CAP_PROP_FRAME_WIDTH), decoder.get(cv2.CAP_PROP_FRAME_HEIGHT)
    fps = decoder.get(cv2.CAP_PROP_FPS)
    decoder.release()
    # Frames that a cut without re-encoding keeps for the decoder only are told by a time they share.
    distinct = np.unique(times)
    return Video(
        path=path,
        size=(int(width), int(height)),
        fps=fps if np.isfinite(fps) and fps > 0 else 0.0,
        num_frames=len(distinct) if len(distinct) > 1 else len(times),
        times=distinct,
    )


def read_frames(video: Video, start: int = 0) -> Generator[np.ndarray | None]:
    """Frames in order: (H, W, 3) uint8 BGR as OpenCV gives them, None for one that cannot be decoded.

    The last frame yielded is the last one that can be decoded. What a decoder patches up (a damaged part of a frame) is
    taken as it is.

    Args:
        video: to read.
        start: first frame wanted; those before are decoded and dropped, because seeking is not exact.

    Raises:
        ValueError: a frame has another size than the video.
    """
    capture = _open(video.path)
    try:
        position, offset, failures = -1, 0, 0
        # OpenCV fails once for each packet that the decoder rejects, and forever at the end of the file.
        while failures <= max(video.num_frames - position, 1):
            if not capture.grab():
                failures += 1
                continue
            previous, place = position, video.place(capture.get(cv2.CAP_PROP_POS_MSEC))
            if previous < 0 and failures == 0:
                offset = place  # some containers' times are all late by a frame or two
            # Frames may be missing without a failure next to them, because they are not stored in the order of time.
            position = max(place - offset, previous + 1)
            failures = 0
            for _ in range(max(previous + 1, start), position):
                yield None
            if position >= start:
                success, image = capture.retrieve()
                yield _checked(image, position, video) if success else None
    finally:
        capture.release()


def count_frames(video: Video) -> int:
    """Number of frames up to the last one that can be decoded; decodes the whole video."""
    return sum(1 for _ in read_frames(video))


def _open(path: Path, *parameters: int) -> cv2.VideoCapture:
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, parameters)
    if not capture.isOpened():
        what = "is empty" if path.is_file() and path.stat().st_size == 0 else "is no video, or damaged or cut off"
        raise ValueError(f"{path} cannot be opened as a video: it {what if path.exists() else 'does not exist'}")
    return capture


def _checked(image: np.ndarray, position: int, video: Video) -> np.ndarray:
    found = (image.shape[1], image.shape[0])
    if found != video.size:
        raise ValueError(
            f"{video.path}: frame {position} is {found[0]}x{found[1]} px, the video {video.size[0]}x{video.size[1]}; "
            "a video must keep its size"
        )
    return image


def find_boxes(videos: Sequence[Path], folder: Path | None) -> tuple[Path | None, ...]:
    """The files `<video>_bbox.csv` of a session's videos, None for all where there are none.

    Args:
        videos: of one session.
        folder: where the files are; None: beside the videos, if there.

    Raises:
        ValueError: only some views have boxes, or none in a folder that was named.
    """
    paths = [(folder or video.parent) / f"{video.stem}_bbox.csv" for video in videos]
    missing = [path.name for path in paths if not path.is_file()]
    if len(missing) == len(paths) and folder is None:
        return (None,) * len(paths)
    if missing:
        where = folder or videos[0].parent
        raise ValueError(f"bounding boxes are missing in {where}: {', '.join(missing)}; all views need them, or none")
    return tuple(paths)


def read_crops(videos: Sequence[Video], boxes: Sequence[Path | None]) -> tuple[np.ndarray, ...]:
    """(T, 4) x, y, width, height in frame px per view: of every frame, NaN where it has no box; or (1, 4) for all.

    Raises:
        ValueError: a file has another number of rows than its video has frames, or is not as it should be.
    """
    return tuple(_read(video, path) for video, path in zip(videos, boxes, strict=True))


def _read(video: Video, path: Path | None) -> np.ndarray:
    if path is None:
        return np.array([[0.0, 0.0, *video.size]])
    boxes = read_video_boxes(path)
    if len(boxes) == video.num_frames:
        return boxes
    # A damaged end, or a cut without re-encoding: the video is shorter than it says, and the boxes may know it.
    return read_video_boxes(path, count_frames(video))


def crop_at(crops: np.ndarray, position: int) -> np.ndarray:
    """(4,) the crop of one frame."""
    return np.asarray(crops[min(position, len(crops) - 1)])
