"""Frame-exact reading of one video, also where frames cannot be decoded, and the boxes that crop its frames."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mvgeom.errors import InputError
from mvgeom.tables import read_video_boxes

_RAW_PACKETS = -1
"""Value of OpenCV's CAP_PROP_FORMAT that reads packets without decoding them."""

_TIME_TOLERANCE_MS = 0.01
"""Difference in ms up to which two times are the same."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Video:
    """A video as its container describes it.

    Attributes:
        path: Path of the file.
        size: Width and height in px, as decoded (a rotation that the file asks for is applied).
        fps: Frames per second; 0 where the file does not state them.
        num_frames: Number of frames that the container announces; the last ones may be missing.
        times: Distinct times of the frames in ms, ascending; a single one where the file gives no times.
    """

    path: Path
    size: tuple[int, int]
    fps: float
    num_frames: int
    times: np.ndarray

    def place(self, time: float) -> int:
        """Return the number of frames before a time in ms."""
        return int(np.searchsorted(self.times, time - _TIME_TOLERANCE_MS))


def check_video(path: Path) -> None:
    """Check that a file can be opened as a video; only its headers are read.

    Raises:
        InputError: The file cannot be opened as a video.
    """
    _open(path).release()


def open_video(path: Path) -> Video:
    """Read a video's headers and list its frames, without decoding them (8 bytes of memory per frame).

    Raises:
        InputError: The file cannot be opened as a video, or has no frame.
    """
    packets = _open(path, cv2.CAP_PROP_FORMAT, _RAW_PACKETS)
    times = []
    while packets.grab():
        times.append(packets.get(cv2.CAP_PROP_POS_MSEC))
    packets.release()
    if not times:
        raise InputError(f"{path}: the video has no frames", code="empty-file", path=path)
    decoder = _open(path)
    width, height = decoder.get(cv2.CAP_PROP_FRAME_WIDTH), decoder.get(cv2.CAP_PROP_FRAME_HEIGHT)
    fps = decoder.get(cv2.CAP_PROP_FPS)
    decoder.release()
    # A cut without re-encoding keeps frames that only the decoder needs; they share their time with another frame.
    distinct = np.unique(times)
    return Video(
        path=path,
        size=(int(width), int(height)),
        fps=fps if np.isfinite(fps) and fps > 0 else 0.0,
        num_frames=len(distinct) if len(distinct) > 1 else len(times),
        times=distinct,
    )


def read_frames(
    video: Video, start: int = 0, *, is_wanted: Callable[[int], bool] | None = None
) -> Generator[np.ndarray | None]:
    """Yield the frames in order: (H, W, 3) uint8 BGR as OpenCV gives them, None for one that cannot be decoded.

    The last frame yielded is the last one that can be decoded. A frame that the decoder repairs (where a part of it is
    damaged) is taken as decoded.

    Args:
        video: Video to read.
        start: Number of the first frame to yield; those before are decoded and dropped, because seeking is not exact.
        is_wanted: Function of a frame's number; None is yielded in place of frames that are not wanted, without the
            cost of converting their colors. Without the function all are.

    Raises:
        InputError: A frame has another size than the video.
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
                wanted = is_wanted is None or is_wanted(position)
                success, image = capture.retrieve() if wanted else (False, np.empty(0))
                yield _check_size(image, position, video) if success else None
    finally:
        capture.release()


def count_frames(video: Video) -> int:
    """Count the frames up to the last one that can be decoded; this decodes the whole video."""
    return sum(1 for _ in read_frames(video))


def find_boxes(videos: Sequence[Path], folder: Path | None) -> tuple[Path | None, ...]:
    """Find the files `<video>_bbox.csv` of a session's videos.

    Args:
        videos: Paths of one session's videos.
        folder: Folder of the box files, which must then have all of them; None looks for them beside the videos.

    Returns:
        One path per video; None for all videos where there are no boxes.

    Raises:
        InputError: Only some views have boxes, or the named folder lacks some.
    """
    paths = [(folder or video.parent) / f"{video.stem}_bbox.csv" for video in videos]
    missing = [path for path in paths if not path.is_file()]
    if len(missing) == len(paths) and folder is None:
        return (None,) * len(paths)
    if missing:
        names = ", ".join(path.name for path in missing)
        raise InputError(
            f"{folder or videos[0].parent}: bounding boxes are missing: {names}. Give boxes for all views, or for none",
            code="missing-file",
            path=missing[0],
            paths=tuple(missing),
        )
    return tuple(paths)


def read_crops(videos: Sequence[Video], boxes: Sequence[Path | None]) -> tuple[np.ndarray, ...]:
    """Read the crops of a session's videos.

    Args:
        videos: One video per view.
        boxes: Path of each video's box file; None takes whole images.

    Returns:
        Per view (T, 4) x, y, width, height in full-image px, one row per frame, NaN where a frame has no box; (1, 4)
        for all frames where whole images are taken.

    Raises:
        InputError: A file has another number of rows than its video has frames, or is not a table of boxes.
    """
    return tuple(_read_crop(video, path) for video, path in zip(videos, boxes, strict=True))


def crop_at(crops: np.ndarray, position: int) -> np.ndarray:
    """Return the crop (4,) of one frame."""
    return np.asarray(crops[min(position, len(crops) - 1)])


def _read_crop(video: Video, path: Path | None) -> np.ndarray:
    if path is None:
        return np.array([[0.0, 0.0, *video.size]])
    boxes = read_video_boxes(path)
    if len(boxes) == video.num_frames:
        return boxes
    # A damaged end, or a cut without re-encoding: the video is shorter than it announces, and the boxes may match that.
    return read_video_boxes(path, count_frames(video))


def _open(path: Path, *parameters: int) -> cv2.VideoCapture:
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, parameters)
    if not capture.isOpened():
        text = f"{path}: cannot be opened as a video"
        if not path.exists():
            raise InputError(f"{text}: it does not exist", code="missing-file", path=path)
        if path.is_file() and path.stat().st_size == 0:
            raise InputError(f"{text}: it is empty", code="empty-file", path=path)
        raise InputError(f"{text}: it is not a video, or it is damaged or cut off", code="unreadable-file", path=path)
    return capture


def _check_size(image: np.ndarray, position: int, video: Video) -> np.ndarray:
    found = (image.shape[1], image.shape[0])
    if found != video.size:
        raise InputError(
            f"{video.path}: frame {position} has another size than the video, found {found[0]}x{found[1]} px, expected "
            f"{video.size[0]}x{video.size[1]} px. Encode the video again with one size",
            code="size-mismatch",
            path=video.path,
            frame=position,
            found=found,
            expected=video.size,
        )
    return image
