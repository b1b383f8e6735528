"""Search of long films for frames that calibrate: the board in view, nearly at rest, and elsewhere each time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from mvgeom.calibration.board_sample import stop_at_wrong_board
from mvgeom.calibration.boards import Board, Chessboard, Floats, Ints, corner_orders
from mvgeom.calibration.detections import Detections, gather
from mvgeom.calibration.find_board import board_finder, upright_colors
from mvgeom.calibration.located_chessboard import find_located_chessboard
from mvgeom.calibration.missing_boards import explain_missing_boards
from mvgeom.calibration.sources import Image, Source, match_sources, source_video
from mvgeom.frame_reader import FrameReader
from mvgeom.videos import frame_rate

__all__ = ["FilmSearch"]

_FIRST_PLACES = 48
_MOST_PLACES = 768
_EVERYWHERE = 2
"""Rounds that look everywhere. Later ones look beside frames in which the board was."""

_SECONDS_BETWEEN = 0.05
_CANDIDATES = 5
"""Images of a place from which the one with the least motion is taken, and the time between them."""

_SAME_PLACE = 0.02
"""Mean distance of corners, as a fraction of the image's longer side, below which nothing new is between two frames."""

_TOO_FAST = 0.003
"""Motion per frame, in the same shares, beyond which images are blurred, and boards between two frames not worth it."""

_CHEAP = 15
"""Images to decode that do not matter in the choice of a frame."""

_SMALL = 160
"""px; longer side of the images that are compared for motion."""

_NUM_CLOSE_PLACES = 3
_CLOSE_FRAMES = 48
_MOST_ADJUSTED = 200
"""Frames; `Options.max_frames` takes a choice of more."""

_NUM_SAMPLES = 6


class FilmSearch:
    """Boards in the films of all cameras, more with each round.

    The first rounds look at frames all over the films, twice as many each time. Later rounds look between frames that
    show the board at different places, unless it moved so fast that images are blurred. Of the images within a quarter
    of a second, the frame with the least motion is taken. Where a film can be entered only at some images, frames
    shortly after these are taken.

    Args:
        films: Films by camera name, see `open_source`.
        board: Board to detect.
        match: Method of matching frames of different films, see `match_sources`.
        progress: Function that is called with the number of places of a round that were looked at, and of all.

    Raises:
        CalibrationError: A sample of long films shows another board; see `stop_at_wrong_board`.
        InputError: A film cannot be read; `rates-differ` or `unmatched-frames`, if the times of the images do not tell
            which of them belong together.
    """

    def __init__(
        self,
        films: Mapping[str, Source],
        board: Board,
        *,
        match: Literal["name", "order"] = "name",
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._board = board
        self._orders = corner_orders(board)
        self._find = _quick_finder(board)
        self._notify = progress or (lambda done, total: None)
        matched = match_sources(films, match)
        stop_at_wrong_board(matched, board)
        self._videos = {name: source_video(source) for name, source in matched.items()}
        self._readers = {name: FrameReader(video) for name, video in self._videos.items()}
        self._num_frames = max(video.end for video in self._videos.values())
        rate = max(frame_rate(video) for video in self._videos.values())
        self._between = max(1, round(rate * _SECONDS_BETWEEN))
        self._num_slots = _FIRST_PLACES
        self._rounds = 0
        self._searched: dict[int, dict[str, Floats]] = {}
        self._close: set[int] = set()
        self._seen_images = dict.fromkeys(self._videos, 0)
        self._samples: dict[str, list[Image]] = {name: [] for name in self._videos}

    @property
    def num_frames(self) -> int:
        """Number of frames of the longest film."""
        return self._num_frames

    @property
    def num_searched(self) -> int:
        """Number of frames in which the board was looked for."""
        return len(self._searched)

    @property
    def num_found(self) -> int:
        """Number of frames in which a camera saw the board."""
        return sum(bool(each) for each in self._searched.values())

    def search_next(self) -> int:
        """Look at more places; return their number, 0 where nothing new is expected any more."""
        while self._num_slots <= _MOST_PLACES and self._num_slots < 2 * self._num_frames:
            slots = self._slots()
            self._num_slots *= 2
            self._rounds += 1
            if slots:
                self._search_places([self._candidates(first, end) for first, end in slots])
                return len(slots)
        return 0

    def search_frames(self, frames: Sequence[int]) -> None:
        """Look at some frames."""
        self._search_places([[frame] for frame in frames if frame not in self._searched])

    def search_closely(self) -> int:
        """Look at all frames of a few places where the board moves; return the number of frames.

        Delays of cameras show in consecutive frames.
        """
        places = sorted(self._moving_places(), reverse=True)[:_NUM_CLOSE_PLACES]
        frames = sorted({frame for _, first in places for frame in range(first, first + _CLOSE_FRAMES)})
        frames = [frame for frame in frames if frame not in self._searched and frame < self._num_frames]
        self.search_frames(frames)
        self._close = set(frames)
        return len(frames)

    def detections(self, *, close: bool = False) -> Detections:
        """Return what was found so far; a camera that hardly ever saw the board has a finding that says why.

        Args:
            close: Return the frames of `search_closely`, and no more of the others than a calibration takes together.
        """
        frames = sorted(self._searched)
        if close:
            others = [frame for frame in frames if self._searched[frame] and frame not in self._close]
            count = min(len(others), max(_MOST_ADJUSTED - len(self._close), 0))
            spread = np.linspace(0, len(others) - 1, count).round().astype(int)
            frames = sorted({*self._close, *(others[place] for place in spread)})
        found = {
            name: {str(frame): self._searched[frame][name] for frame in frames if name in self._searched[frame]}
            for name in self._videos
        }
        counts = {name: len(each) for name, each in found.items()}
        reasons = explain_missing_boards(self._samples, self._board, counts, self._seen_images)
        return gather({name: video.size for name, video in self._videos.items()}, found, self._board, reasons)

    def _slots(self) -> list[tuple[int, int]]:
        """Return the parts of the films to look into, as first and last frame + 1."""
        ends = np.linspace(0, self._num_frames, self._num_slots + 1).astype(int).tolist()
        searched = np.array(sorted(self._searched), dtype=np.int64)
        slots = []
        for first, end in pairwise(ends):
            place = int(np.searchsorted(searched, first))
            if end <= first or (place < len(searched) and searched[place] < end):
                continue
            if self._rounds < _EVERYWHERE or self._is_promising(searched[max(place - 1, 0) : place + 1].tolist()):
                slots.append((first, end))
        return slots

    def _is_promising(self, beside: Sequence[int]) -> bool:
        """Return True if new boards are expected between two frames, or before or after one."""
        found = [self._searched[frame] for frame in beside]
        if len(beside) < 2 or not any(found):
            return any(found)
        motion = self._motion(*found)
        return motion > _SAME_PLACE and not _TOO_FAST * (beside[1] - beside[0]) < motion < np.inf

    def _motion(self, before: Mapping[str, Floats], after: Mapping[str, Floats]) -> float:
        """Return the largest motion of the board between two frames, in shares of an image; infinite if unknown."""
        motions = []
        for name in before.keys() | after.keys():
            if name not in before or name not in after:
                return np.inf
            # A detector lists the corners of some boards from either end.
            distances = np.linalg.norm(before[name] - after[name][self._orders], axis=-1)
            if not np.isfinite(distances).any():
                return np.inf
            motions.append(float(np.nanmean(distances, axis=-1).min()) / max(self._videos[name].size))
        return max(motions, default=0.0)

    def _moving_places(self) -> list[tuple[float, int]]:
        """Return motions per frame between neighboring frames that at least two cameras saw, and frames to look at."""
        searched = sorted(frame for frame, each in self._searched.items() if len(each) >= min(2, len(self._videos)))
        places = []
        for first, second in pairwise(searched):
            motion = self._motion(
                {name: each for name, each in self._searched[first].items() if name in self._searched[second]},
                {name: each for name, each in self._searched[second].items() if name in self._searched[first]},
            )
            if 0 < motion < np.inf and second - first <= 4 * _CLOSE_FRAMES:
                places.append((motion / (second - first), max((first + second - _CLOSE_FRAMES) // 2, 0)))
        return places

    def _candidates(self, first: int, end: int) -> list[int]:
        """Return some frames of a part of the films that are quickly decoded, near to its middle."""
        frames = np.arange(first, end)
        cost = np.zeros(len(frames))
        for video in self._videos.values():
            images = frames if video.frames is None else np.searchsorted(video.frames, frames)
            cost += images - video.decoded_from(images)
        cheap = frames[cost <= cost.min() + _CHEAP * len(self._videos)]
        start = int(cheap[np.abs(cheap - (first + end) / 2).argmin()])
        return list(range(start, min(start + _CANDIDATES * self._between, end), self._between))

    def _search_places(self, places: Sequence[Sequence[int]]) -> None:
        """Detect the board in one frame of each place, in all films."""
        every = max(1, len(places) // _NUM_SAMPLES)
        with ThreadPoolExecutor(max_workers=max(os.cpu_count() or 1, 2)) as pool:
            for number, candidates in enumerate(places):
                images = dict(zip(self._videos, pool.map(self._read, self._videos, [candidates] * len(self._videos)),
                                  strict=True))  # fmt: skip
                frame = _stillest(candidates, images.values())
                seen = {name: each[frame] for name, each in images.items() if frame in each}
                found = pool.map(self._find, seen.values())
                self._searched[frame] = {
                    name: corners for name, corners in zip(seen, found, strict=True) if corners is not None
                }
                for name, image in seen.items():
                    self._seen_images[name] += 1
                    if number % every == 0 and len(self._samples[name]) < _NUM_SAMPLES:
                        self._samples[name].append(image)
                self._notify(number + 1, len(places))

    def _read(self, name: str, frames: Iterable[int]) -> dict[int, Image]:
        """Read some frames of one film, in gray."""
        video = self._videos[name]
        wanted = {image: frame for frame in frames if (image := video.image_of(frame)) is not None}
        return {
            wanted[number]: np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
            for number, image in self._readers[name].read(sorted(wanted))
        }


def _quick_finder(board: Board) -> Callable[[Image], Floats | None]:
    """Return the function that detects the board's corners; a film has images enough to miss some."""
    if isinstance(board, Chessboard):
        return lambda image: find_located_chessboard(upright_colors(image, board), board.grid)
    return board_finder(board)


def _stillest(candidates: Sequence[int], films: Iterable[Mapping[int, Image]]) -> int:
    """Return the frame with the least motion in all films that have it, the middle one where nothing moves."""
    motion = np.zeros(len(candidates))
    counts: Ints = np.zeros(len(candidates), dtype=np.int64)
    for images in films:
        small = [_shrink(images[frame]) if frame in images else None for frame in candidates]
        for place, image in enumerate(small):
            beside = [small[at] for at in (place - 1, place + 1) if 0 <= at < len(small)]
            changes = [_difference(image, other) for other in beside if image is not None and other is not None]
            motion[place] += float(np.mean(changes)) if changes else 0.0
            counts[place] += image is not None
    middle = np.abs(np.arange(len(candidates)) - len(candidates) // 2)
    order = np.lexsort((middle, motion.round(3), -counts))
    return candidates[int(order[0])]


def _shrink(image: Image) -> npt.NDArray[np.float32]:
    scale = min(_SMALL / max(image.shape), 1.0)
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.float32)


def _difference(image: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> float:
    return float(np.abs(image - other).mean())
