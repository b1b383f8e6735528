"""`SyntheticSpec`: everything that decides what a synthetic project holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal

SMALLEST_SIDE = 32
"""Below this many px the animal is a few pixels long and its keypoints fall together."""


@dataclass(frozen=True, kw_only=True)
class SyntheticSpec:
    """What to generate; checked on construction. Two equal specs give the same bytes.

    Attributes:
        num_views: cameras on a ring around the arena, at least 1.
        num_frames: labelled moments over all sessions; each has an image in every view.
        size: frame width and height in px, one number for squares; even, because the video codec wants that. Becomes a
            tuple (width, height).
        occlusion: from 0 (nothing moves between camera and animal) to 1 (large obstacles often do).
        label_noise: standard deviation in px, per coordinate, of the noise on the 2D labels; 3D truth has none.
        missing_labels: fraction of the 2D labels taken away at random, as if the annotator had skipped them.
        sensor_noise: standard deviation of the images' noise in grey levels.
        seed: not negative; another seed is another rig, other animals and other movements.
        num_sessions: recordings; each has its own animal (size, coat, movement), room, and a slightly shifted rig.
        num_video_frames: length of each session's videos; the labelled frames are drawn from them, spread in time.
        fps: frames per second of the videos.
        crop: store the labelled images as square crops around the animal, with `bboxes_<view>.csv`.
        crop_size: side in px to which stored crops are resized; None keeps each box's own size.
        image_format: "jpg" (quality 95) or "png".
    """

    num_views: int = 4
    num_frames: int = 200
    size: int | Sequence[int] = 256
    occlusion: float = 0.3
    label_noise: float = 0.0
    missing_labels: float = 0.0
    sensor_noise: float = 3.0
    seed: int = 0
    num_sessions: int = 2
    num_video_frames: int = 200
    fps: float = 15.0
    crop: bool = False
    crop_size: int | None = None
    image_format: Literal["jpg", "png"] = "jpg"

    def __post_init__(self) -> None:
        for field in ("num_views", "num_frames", "num_sessions", "num_video_frames"):
            _check_integer(field, getattr(self, field), 1)
        _check_integer("seed", self.seed, 0)
        object.__setattr__(self, "size", _width_and_height(self.size))
        for field, highest in (
            ("occlusion", 1.0),
            ("missing_labels", 1.0),
            ("label_noise", math.inf),
            ("sensor_noise", math.inf),
        ):
            _check_number(field, getattr(self, field), highest)
        if not (_is_number(self.fps) and 0 < self.fps <= 1000):
            raise ValueError(f"fps must be a number above 0 and at most 1000, got {self.fps!r}")
        if self.crop_size is not None:
            _check_integer("crop_size", self.crop_size, SMALLEST_SIDE)
            if not self.crop:
                raise ValueError(f"crop_size is {self.crop_size} but crop is False: set crop=True to store crops")
        if self.image_format not in ("jpg", "png"):
            raise ValueError(f"image_format must be 'jpg' or 'png', got {self.image_format!r}")
        if self.num_frames < self.num_sessions:
            raise ValueError(
                f"num_frames is {self.num_frames}, fewer than num_sessions {self.num_sessions}: "
                "every session needs a labelled frame"
            )
        most = -(-self.num_frames // self.num_sessions)
        if most > self.num_video_frames:
            raise ValueError(
                f"num_frames {self.num_frames} over {self.num_sessions} sessions is {most} labelled frames a session, "
                f"more than num_video_frames {self.num_video_frames}: lengthen the videos or add sessions"
            )

    @property
    def frame_size(self) -> tuple[int, int]:
        """Width and height of the frames in px."""
        assert isinstance(self.size, tuple)
        width, height = self.size
        return width, height

    @property
    def view_names(self) -> tuple[str, ...]:
        """Names of the cameras: cam1, cam2, ..."""
        return tuple(f"cam{n + 1}" for n in range(self.num_views))

    @property
    def session_names(self) -> tuple[str, ...]:
        """Names of the recordings: session1, session2, ..."""
        return tuple(f"session{n + 1}" for n in range(self.num_sessions))


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _check_integer(field: str, value: Any, lowest: int) -> None:
    if not isinstance(value, Integral) or isinstance(value, bool) or value < lowest:
        raise ValueError(f"{field} must be a whole number of at least {lowest}, got {value!r}")


def _check_number(field: str, value: Any, highest: float) -> None:
    if not _is_number(value) or not 0 <= value <= highest:
        upper = "" if math.isinf(highest) else f" and at most {highest:g}"
        raise ValueError(f"{field} must be a number of at least 0{upper}, got {value!r}")


def _width_and_height(size: Any) -> tuple[int, int]:
    sides = tuple(size) if isinstance(size, Sequence) and not isinstance(size, str) else (size, size)
    whole = all(isinstance(side, Integral) and not isinstance(side, bool) for side in sides)
    if len(sides) != 2 or not whole or any(side < SMALLEST_SIDE or side % 2 for side in sides):
        raise ValueError(
            f"size must be one even number of px or a pair of them (width, height), each at least {SMALLEST_SIDE}, "
            f"got {size!r}"
        )
    return int(sides[0]), int(sides[1])
