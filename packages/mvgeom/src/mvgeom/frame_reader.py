"""Frames of a video out of their order, exact and without decoding the whole video."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

import cv2
import numpy as np

from mvgeom.decoder import open_capture
from mvgeom.videos import Video

__all__ = ["FrameReader"]

_NEAR = 16
"""Images after the decoder's place up to which decoding on is as quick as seeking: OpenCV seeks to that many before."""

_STEPS_BACK = (0, 8, 64, 512)
"""Numbers of images before the wanted one at which decoding begins, until the decoder arrives before it."""


class FrameReader:
    """Decoder of one video that finds images by their times, because seeking by number is not exact.

    Args:
        video: Video to read, see `open_video`.

    Attributes:
        lock: Lock to hold while reading; one thread at a time may read.
    """

    def __init__(self, video: Video) -> None:
        self.lock = Lock()
        self._video = video
        self._is_ready = False
        self._capture: cv2.VideoCapture | None = None
        self._late = 0
        self._position = -1

    def read(self, numbers: Sequence[int]) -> list[tuple[int, np.ndarray]]:
        """Return those of some images, ascending, that can be decoded, as (H, W, 3) uint8 BGR with their numbers.

        Numbers are those of the images in the file, see `Video.image_of`.
        """
        if not numbers:
            return []
        video = self._open()
        capture = self._capture_before(numbers[0], video)
        found = []
        failures = 0
        while self._position < numbers[-1] and failures <= len(numbers):
            if not self._grab(video, capture):
                failures += 1
            elif self._position in numbers:
                success, image = capture.retrieve()
                if success and (image.shape[1], image.shape[0]) == video.size:
                    found.append((self._position, image))
        return found

    def _open(self) -> Video:
        if not self._is_ready:
            capture = self._start()
            if capture.grab():
                # Some containers' times are all late by a frame or two, as in `read_frames`.
                self._late = self._video.place(capture.get(cv2.CAP_PROP_POS_MSEC))
                self._position = 0
            self._is_ready = True
        return self._video

    def _start(self) -> cv2.VideoCapture:
        """Open the decoder before the first frame."""
        if self._capture is not None:
            self._capture.release()
        self._capture = open_capture(self._video.path)
        self._position = -1
        return self._capture

    def _capture_before(self, number: int, video: Video) -> cv2.VideoCapture:
        """Return the decoder where its next frame is not after `number`."""
        capture = self._capture if self._capture is not None else self._start()
        if self._position < number and self._is_on_the_way(number, video):
            return capture
        if len(video.times) > 1:
            for back in _STEPS_BACK:
                if number - 1 - back < 0:
                    break
                capture.set(cv2.CAP_PROP_POS_FRAMES, number - 1 - back)
                if self._grab(video, capture, after_seek=True) and self._position < number:
                    return capture
        return self._start()

    def _is_on_the_way(self, number: int, video: Video) -> bool:
        """Return True if the decoder would come by its present place, or nearly, if it sought an image after it."""
        return int(video.decoded_from(number)) <= self._position or number - self._position <= 2 * _NEAR

    def _grab(self, video: Video, capture: cv2.VideoCapture, *, after_seek: bool = False) -> bool:
        if not capture.grab():
            return False
        place = video.place(capture.get(cv2.CAP_PROP_POS_MSEC)) - self._late
        self._position = place if after_seek else max(place, self._position + 1)
        return True
