"""Spec of a synthetic project, with the checks of its values, and random numbers keyed by their purpose."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mvgeom.errors import InputError
from mvgeom.wording import counted

Floats = npt.NDArray[np.float64]

SMALLEST_SIDE = 32
"""Smallest side of an image in px: in smaller ones the animal is a few pixels long and its keypoints coincide."""


class Purpose(enum.IntEnum):
    """Purpose of a stream. The numbers belong to a seed's results: new purposes go to the end."""

    RIG = 0
    RIG_SHIFT = 1
    ANIMAL = 2
    MOTION = 3
    OCCLUDERS = 4
    ROOM = 5
    SENSOR = 6
    SENSOR_NOISE = 7
    LABELED_FRAMES = 8
    LABEL_NOISE = 9
    MISSING_LABELS = 10


def generator(seed: int, purpose: Purpose, *where: int) -> np.random.Generator:
    """Make the stream of one purpose at one place, such as (session, camera, frame)."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(int(purpose), *where))))


def smooth_noise(rng: np.random.Generator, times: Floats, fastest: float, num_waves: int = 6) -> Floats:
    """Draw a smooth random function of time with mean 0 and standard deviation 1 over all such functions.

    Args:
        rng: Generator of the waves; the number of draws does not depend on `times`.
        times: (T,) times in s.
        fastest: Highest frequency in Hz.
        num_waves: Number of sinusoids in the sum.

    Returns:
        (T,) values, within 2 of 0 most of the time.
    """
    frequencies = fastest * (0.15 + 0.85 * rng.random(num_waves))
    phases = 2 * np.pi * rng.random(num_waves)
    waves = np.sin(2 * np.pi * frequencies * times[:, None] + phases)
    return waves.sum(axis=1) * np.sqrt(2 / num_waves)


@dataclass(frozen=True, kw_only=True)
class SyntheticSpec:
    """Spec of a synthetic project; two equal specs give the same bytes.

    Attributes:
        num_views: Number of cameras on a ring around the arena, at least 1.
        num_frames: Number of labeled frames over all sessions; each has an image in every view.
        size: Width and height of the images in px, one number for squares; even, because the video codec requires it.
            Becomes a tuple (width, height).
        occlusion: Strength of the occlusion, from 0 (nothing moves between camera and animal) to 1 (large obstacles
            often do).
        label_noise: Standard deviation in px, per coordinate, of the noise on the 2D labels; 3D truth has none.
        missing_labels: Fraction of the 2D labels that are missing at random, as if the annotator had skipped them.
        sensor_noise: Standard deviation of the images' noise in gray levels.
        seed: Random seed, not negative; it decides the rig, the animals and their movements.
        num_sessions: Number of sessions; each has its own animal (size, coat, movement), room, and a slightly shifted
            rig.
        num_video_frames: Number of frames of each session's videos; the labeled frames are drawn from them, spread in
            time.
        fps: Frames per second of the videos.
        crop: True to store the labeled images as square crops around the animal, with `bboxes_<view>.csv`.
        crop_size: Side in px to which stored crops are resized; None keeps each box's own size.
        image_format: Format of the labeled images, "jpg" (quality 95) or "png".
        symmetric: True to color left and right alike, so that only the pose tells a left limb from a right one.

    Raises:
        InputError: A field is not valid; the fact `argument` is its name.
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
    symmetric: bool = False

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
            raise _bad_field("fps", "a number above 0 and at most 1000", self.fps)
        for field in ("crop", "symmetric"):
            if not isinstance(getattr(self, field), bool):
                raise _bad_field(field, "true or false", getattr(self, field))
        if self.crop_size is not None:
            _check_integer("crop_size", self.crop_size, SMALLEST_SIDE)
            if not self.crop:
                raise InputError(
                    f"crop_size is {self.crop_size} but crop is False. Set crop to True to store crops",
                    code="excluded-options",
                    argument="crop_size",
                    other="crop",
                )
        if self.image_format not in ("jpg", "png"):
            raise _bad_field("image_format", "'jpg' or 'png'", self.image_format)
        if self.num_frames < self.num_sessions:
            raise InputError(
                f"num_frames is {self.num_frames}, fewer than num_sessions {self.num_sessions}: "
                "every session needs a labeled frame",
                code="out-of-range",
                argument="num_frames",
                found=self.num_frames,
                expected=self.num_sessions,
            )
        most = -(-self.num_frames // self.num_sessions)
        if most > self.num_video_frames:
            raise InputError(
                f"num_frames {self.num_frames} over {counted(self.num_sessions, 'session')} is "
                f"{counted(most, 'labeled frame')} per session, more than num_video_frames {self.num_video_frames}. "
                "Lengthen the videos or add sessions",
                code="out-of-range",
                argument="num_video_frames",
                found=self.num_video_frames,
                expected=most,
            )

    @property
    def frame_size(self) -> tuple[int, int]:
        """Return width and height of the full images in px."""
        assert isinstance(self.size, tuple)
        width, height = self.size
        return width, height

    @property
    def view_names(self) -> tuple[str, ...]:
        """Return the names of the cameras: cam1, cam2, ..."""
        return tuple(f"cam{n + 1}" for n in range(self.num_views))

    @property
    def session_names(self) -> tuple[str, ...]:
        """Return the names of the sessions: session1, session2, ..."""
        return tuple(f"session{n + 1}" for n in range(self.num_sessions))


def _bad_field(field: str, expected: str, found: object) -> InputError:
    return InputError(f"{field} must be {expected}, found {found!r}", code="bad-value", argument=field, found=found)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _check_integer(field: str, value: Any, lowest: int) -> None:
    if not isinstance(value, Integral) or isinstance(value, bool) or value < lowest:
        raise _bad_field(field, f"a whole number of at least {lowest}", value)


def _check_number(field: str, value: Any, highest: float) -> None:
    if not _is_number(value) or not 0 <= value <= highest:
        upper = "" if math.isinf(highest) else f" and at most {highest:g}"
        raise _bad_field(field, f"a number of at least 0{upper}", value)


def _width_and_height(size: Any) -> tuple[int, int]:
    sides = tuple(size) if isinstance(size, Sequence) and not isinstance(size, str) else (size, size)
    whole = all(isinstance(side, Integral) and not isinstance(side, bool) for side in sides)
    if len(sides) != 2 or not whole or any(side < SMALLEST_SIDE or side % 2 for side in sides):
        expected = f"one even number of px or a pair of them (width, height), each at least {SMALLEST_SIDE}"
        raise _bad_field("size", expected, size)
    return int(sides[0]), int(sides[1])
