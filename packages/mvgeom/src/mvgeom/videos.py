"""Frame-exact reading of videos, also where images cannot be decoded, and their matching to common frames."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from mvgeom.clocks import Clocks
from mvgeom.decoder import RAW_PACKETS, check_images, open_capture
from mvgeom.errors import InputError
from mvgeom.synchronization import match_images

__all__ = [
    "Video",
    "check_video",
    "count_frames",
    "frame_rate",
    "match_videos",
    "open_video",
    "read_frames",
    "read_times",
]

_SOUGHT_BEFORE = 17
"""Images before a sought one at which OpenCV begins to decode, or earlier."""

_TIME_TOLERANCE_MS = 0.01
"""Difference in ms up to which two times are the same."""

_DEFAULT_RATE = 25.0
"""Images/s where neither the header nor the times state a rate."""

_RATE_TOLERANCE = 0.01
"""Relative difference up to which the frame rate of a header is that of the times."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Video:
    """A video as its container describes it.

    Attributes:
        path: Path of the file.
        size: Width and height in px, as decoded (a rotation that the file asks for is applied).
        fps: Frames per second; 0 where the file does not state them.
        num_frames: Number of images that the container announces; the last ones may be missing.
        times: Distinct times of the images in ms since the first, ascending; a single one where the file gives none.
        start: Presentation time of the first image in s, to within half an image.
        is_regular: True if every stored image has a time of its own.
        frames: (T,) number of the frame that each image belongs to, ascending, see `match_videos`; negative for images
            that belong to none. Of two images of one frame the first counts. None where image n is that of frame n.
        keys: (N,) numbers of the images that are decoded without others, ascending; None if they are unknown.
    """

    path: Path
    size: tuple[int, int]
    fps: float
    num_frames: int
    times: np.ndarray
    start: float = 0.0
    is_regular: bool = True
    frames: np.ndarray | None = None
    keys: np.ndarray | None = None

    @property
    def end(self) -> int:
        """Number of the frame after the last announced image."""
        return self.num_frames if self.frames is None or not len(self.frames) else max(int(self.frames[-1]) + 1, 0)

    def has_image(self, frame: int) -> bool:
        """Return True if the file has an image of a frame, which may not be decodable."""
        if self.frames is None:
            return 0 <= frame < self.num_frames
        number = int(np.searchsorted(self.frames, frame))
        return number < len(self.frames) and int(self.frames[number]) == frame

    def image_of(self, frame: int) -> int | None:
        """Return the number of a frame's image; None if the file has none."""
        if not self.has_image(frame):
            return None
        return frame if self.frames is None else int(np.searchsorted(self.frames, frame))

    def place(self, time: float) -> int:
        """Return the number of images before a time in ms."""
        return int(np.searchsorted(self.times, time - _TIME_TOLERANCE_MS))

    def decoded_from(self, images: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Return the numbers of the images at which decoding begins if images of some numbers are sought.

        OpenCV begins at the last image that is decoded without others and lies at least 17 before the one it seeks.
        """
        latest = np.maximum(np.asarray(images) - _SOUGHT_BEFORE, 0)
        if self.keys is None:
            return np.asarray(latest, dtype=np.int64)
        keys = np.union1d(self.keys, 0)
        return np.asarray(keys[np.searchsorted(keys, latest, side="right") - 1], dtype=np.int64)


def check_video(path: Path) -> None:
    """Check that a file can be opened as a video; only its headers are read.

    Raises:
        InputError: The file cannot be opened as a video.
    """
    open_capture(path).release()


def open_video(path: Path) -> Video:
    """Read a video's headers and list its images (8 bytes of memory per image); of these only the first are decoded.

    Raises:
        InputError: The file cannot be opened as a video, or has no frame; none of its images can be decoded, or OpenCV
            does not convert them (`unsupported-file`).
    """
    packets = open_capture(path, cv2.CAP_PROP_FORMAT, RAW_PACKETS)
    times, counts, key_times = [], [], []
    while packets.grab():
        times.append(packets.get(cv2.CAP_PROP_POS_MSEC))
        if packets.get(cv2.CAP_PROP_LRF_HAS_KEY_FRAME) == 1:
            key_times.append(times[-1])
        counts.append(packets.get(cv2.CAP_PROP_PTS))
    packets.release()
    if not times:
        raise InputError(f"{path}: the video has no frames", code="empty-file", path=path)
    decoder = open_capture(path)
    width, height = decoder.get(cv2.CAP_PROP_FRAME_WIDTH), decoder.get(cv2.CAP_PROP_FRAME_HEIGHT)
    fps = decoder.get(cv2.CAP_PROP_FPS)
    check_images(path, decoder, len(times), int(width * height))
    decoder.release()
    # A cut without re-encoding keeps frames that only the decoder needs; they share their time with another frame.
    distinct = np.unique(times)
    rate = fps if np.isfinite(fps) and fps > 0 else 0.0
    return Video(
        path=path,
        size=(int(width), int(height)),
        fps=rate,
        num_frames=len(distinct) if len(distinct) > 1 else len(times),
        times=distinct,
        start=_start_time(np.array(times), np.array(counts), rate),
        is_regular=len(distinct) == len(times),
        keys=np.searchsorted(distinct, np.unique(key_times)) if len(distinct) > 1 else None,
    )


def read_times(video: Video) -> np.ndarray:
    """Read the presentation times (T,) of a video's images in s, ascending; NaN where the file has no times.

    One image is decoded; all are where packets have other times than the images shown: in MPEG program streams, and
    where an edit list hides images.
    """
    if len(video.times) == 1 < video.num_frames:
        return np.full(video.num_frames, np.nan)
    capture = open_capture(video.path)
    try:
        images = _grab_images(video, capture)
        position, first = next(images, (0, 0.0))
        # A cut without re-encoding keeps images that only the decoder needs, so that the first shown is no key frame.
        is_cut = int(capture.get(cv2.CAP_PROP_FRAME_TYPE)) in map(ord, "PB")
        if not video.is_regular or is_cut:
            shown = [(position, first, capture.get(cv2.CAP_PROP_PTS))]
            shown += [(position, time, capture.get(cv2.CAP_PROP_PTS)) for position, time in images]
            positions, times, counts = (np.array(each) for each in zip(*shown, strict=True))
            start = _start_time(times, counts, video.fps)
            step = 1000 / (frame_rate(video) or _DEFAULT_RATE)
            for number in range(1, len(times)):
                if times[number] <= times[number - 1]:
                    times[number] = times[number - 1] + step
            return np.asarray(start + np.interp(np.arange(positions[-1] + 1), positions, times) / 1000)
    finally:
        capture.release()
    # AVI has times in the order of decoding, not of showing: the decoder gives image n the time of a later one. The
    # first image is shown at the file's start all the same, as in the file that it was converted from.
    late = max(video.place(first) - position, 0)
    times_ms = video.times[late:]
    if late:
        step = float(np.median(np.diff(video.times)))
        times_ms = np.concatenate([times_ms, video.times[-1] + step * np.arange(1, late + 1)]) - times_ms[0]
    return np.asarray(video.start + times_ms / 1000)


def frame_rate(video: Video) -> float:
    """Return the frames per second of a video without its gaps; 0 where neither its header nor its times state them."""
    intervals = np.diff(video.times) / 1000
    if not video.is_regular or not len(intervals):
        return video.fps
    typical = np.median(intervals)
    step = float(intervals[np.abs(intervals - typical) <= 0.3 * typical].mean())
    # The header's rate counts the images of the whole duration, so that it is lower where images are missing.
    return video.fps if abs(video.fps * step - 1) <= _RATE_TOLERANCE else 1 / step


def match_videos(
    videos: Sequence[Video],
    names: Sequence[str] | None = None,
    *,
    clocks: Clocks | None = None,
    by_time: bool = True,
    multiples: bool = False,
) -> tuple[Video, ...]:
    """Match the images of videos to common frames by their presentation times, see `match_images`.

    With clocks, the frames are those of the reference: each image belongs to the frame that is nearest to it in time.
    Up to half a frame remains. Images from before the reference's first frame have negative numbers, which
    `read_frames` leaves out; of two images that are nearest to the same frame the first counts.

    Args:
        videos: One video per view.
        names: Names of the views, for messages; None takes the paths.
        clocks: Clocks of the views' cameras, in the same order; None for synchronized cameras.
        by_time: False matches the images by number, whatever their times.
        multiples: True allows frame rates that are whole multiples of each other, see `match_images`.

    Returns:
        The videos with the frame numbers of their images; as they are where image n of all is that of frame n.

    Raises:
        InputError: As for `match_images`; `rates-differ`, if a video has another frame rate than the clocks are for.
    """
    if len(videos) < 2:
        return tuple(videos)
    labels = names or [str(video.path) for video in videos]
    matched: Sequence[np.ndarray] = [np.arange(video.num_frames) for video in videos]
    if by_time:
        matched = match_images([read_times(video) for video in videos], labels, multiples=multiples)
    if clocks is not None:
        for video, label in zip(videos, labels, strict=True):
            clocks.check_rate(frame_rate(video), label)
        matched = [clocks.nearest_frames(view, frames) for view, frames in enumerate(matched)]
    if all(np.array_equal(frames, np.arange(len(frames))) for frames in matched):
        return tuple(videos)
    return tuple(replace(video, frames=frames) for video, frames in zip(videos, matched, strict=True))


def read_frames(
    video: Video, start: int = 0, *, is_wanted: Callable[[int], bool] | None = None
) -> Generator[np.ndarray | None]:
    """Yield the images frame by frame: (H, W, 3) uint8 BGR as OpenCV gives them.

    None stands for an image that cannot be decoded, and for a frame of which the video has no image (see
    `Video.has_image`). The last image yielded is the last one that can be decoded. An image that the decoder repairs
    (where a part of it is damaged) is taken as decoded.

    Args:
        video: Video to read.
        start: Number of the first frame to yield; those before are decoded and dropped, because seeking is not exact.
        is_wanted: Function of a frame's number; None stands for frames that are not wanted, without the cost of
            converting their colors. Without the function all are.

    Raises:
        InputError: An image has another size than the video.
    """
    wanted = is_wanted or (lambda _: True)
    if video.frames is None:
        yield from _read_images(video, start, wanted)
        return
    next_frame, first = start, int(np.searchsorted(video.frames, start))
    frames = video.frames.tolist()
    with closing(_read_images(video, first, lambda number: number < len(frames) and wanted(frames[number]))) as images:
        for frame, image in zip(frames[first:], images, strict=False):
            if frame < next_frame:
                continue  # a second image of one frame, of a camera whose clock is fast
            for _ in range(next_frame, frame):
                yield None
            yield image
            next_frame = frame + 1


def _read_images(video: Video, start: int, is_wanted: Callable[[int], bool]) -> Generator[np.ndarray | None]:
    """Yield the images in the order of showing; None for one that cannot be decoded, or whose number is not wanted."""
    capture = open_capture(video.path)
    try:
        next_position = start
        for position, _ in _grab_images(video, capture):
            # Images may be missing without a failure next to them, because they are not stored in the order of time.
            for _ in range(next_position, position):
                yield None
            if position >= start:
                success, image = capture.retrieve() if is_wanted(position) else (False, None)
                yield _check_size(image, position, video) if success and image is not None else None
                next_position = position + 1
    finally:
        capture.release()


def _grab_images(video: Video, capture: cv2.VideoCapture) -> Iterator[tuple[int, float]]:
    """Decode the images in the order of showing, and yield the number of each and its time in ms."""
    position, offset, failures = -1, 0, 0
    # OpenCV fails once for each packet that the decoder rejects, and forever at the end of the file.
    while failures <= max(video.num_frames - position, 1):
        if not capture.grab():
            failures += 1
            continue
        time = capture.get(cv2.CAP_PROP_POS_MSEC)
        place = video.place(time)
        if position < 0 and failures == 0:
            offset = place  # some containers' times are all late by a frame or two
        position = max(place - offset, position + 1)
        failures = 0
        yield position, time


def count_frames(video: Video) -> int:
    """Count the images up to the last one that can be decoded; this decodes the whole video."""
    return sum(1 for _ in _read_images(video, 0, lambda _: True))


def _start_time(times: np.ndarray, counts: np.ndarray, rate: float) -> float:
    """Return the presentation time in s of the image at time 0.

    OpenCV gives times since the first image, and the true times only in whole images of the average rate.

    Args:
        times: Times since the first image in ms.
        counts: True times in images, rounded.
        rate: Average rate in images/s; 0 if unknown.
    """
    if rate == 0:
        return 0.0
    excess = counts / rate - times / 1000
    lowest, highest = excess.max() - 0.5 / rate, excess.min() + 0.5 / rate
    if lowest <= 0 <= highest:
        return 0.0
    return float((lowest + highest) / 2)


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
