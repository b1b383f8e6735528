"""Labels of a foreign project as every reader gives them: one entry per labelled image, wherever the image is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from mvtrain.project.names import NameRule

K = TypeVar("K")
V = TypeVar("V")


class Place(NamedTuple):
    """Which image: a frame of a view of a session."""

    session: str
    view: str
    number: int


@dataclass(frozen=True, kw_only=True)
class ImageFile:
    """An image on disk."""

    path: Path


@dataclass(frozen=True, kw_only=True)
class VideoFrame:
    """A frame of a video on disk, counted from 0."""

    path: Path
    number: int


@dataclass(frozen=True, kw_only=True, eq=False)
class DecodedImage:
    """An image that only its library can read, such as one inside a SLEAP package.

    Attributes:
        name: of the image, for messages.
        read: gives (H, W, 3) uint8 RGB.
    """

    name: str
    read: Callable[[], np.ndarray]


ImageSource = ImageFile | VideoFrame | DecodedImage


@dataclass(frozen=True, kw_only=True, eq=False)
class LabeledImage:
    """The labels of one image.

    Attributes:
        place: which image it is.
        points: (K, 2) px of the stored image; NaN where missing.
        visibility: (K,) int8: 0 not labelled, 1 occluded, 2 visible.
        image: where its pixels are; None where the foreign project has lost them.
        crop: x and y in frame px of the stored image's top-left pixel; None where it is the whole frame.
        origin: file and row, for messages.
    """

    place: Place
    points: np.ndarray
    visibility: np.ndarray
    image: ImageSource | None
    crop: tuple[int, int] | None = None
    origin: str


@dataclass(frozen=True, kw_only=True, eq=False)
class ForeignLabels:
    """What a source holds.

    Attributes:
        origin: the source, for messages.
        keypoint_names: K names.
        images: labelled images.
        has_visibility: whether the source tells occluded keypoints from unlabelled ones.
        skeleton: pairs of keypoints to join by a line.
        unlabelled: images that are there without labels.
        videos: by session and view.
        calibrations: files by session; the key None is for all other sessions.
        notes: what the user should know.
    """

    origin: str
    keypoint_names: tuple[str, ...]
    images: tuple[LabeledImage, ...]
    has_visibility: bool = False
    skeleton: tuple[tuple[str, str], ...] = ()
    unlabelled: Mapping[Place, ImageSource] = field(default_factory=dict)
    videos: Mapping[tuple[str, str], Path] = field(default_factory=dict)
    calibrations: Mapping[str | None, Path] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Source:
    """A path that the user named, and the view it is said to be."""

    path: Path
    view: str | None = None


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """What readers are told.

    Attributes:
        rule: how foreign names tell session and view.
        individual: which animal to take where there are several.
        media: folder in which to look for images and videos that are not where the foreign project says.
    """

    rule: NameRule
    individual: str | None = None
    media: Path | None = None


def plain_visibility(points: np.ndarray) -> np.ndarray:
    """(..., K) 2 where points (..., K, 2) are, 0 where they are missing."""
    return np.where(np.isfinite(points).all(axis=-1), 2, 0).astype(np.int8)


def merge(parts: Sequence[ForeignLabels]) -> ForeignLabels:
    """All sources as one, with the keypoints in the first one's order.

    Raises:
        ValueError: sources differ in their keypoints, or two of them label the same image.
    """
    first = parts[0]
    parts = [first, *(_reorder(part, first) for part in parts[1:])]
    images = tuple(image for part in parts for image in part.images)
    seen: dict[Place, LabeledImage] = {}
    for image in images:
        other = seen.setdefault(image.place, image)
        if other is not image:
            session, view, number = image.place
            raise ValueError(
                f"two labelled images would be frame {number} of view {view!r} of session {session!r}: {other.origin} "
                f"and {image.origin}; rename one, or tell views and sessions apart with --view or --pattern"
            )
    return ForeignLabels(
        origin=", ".join(dict.fromkeys(part.origin for part in parts)),
        keypoint_names=first.keypoint_names,
        images=images,
        has_visibility=any(part.has_visibility for part in parts),
        skeleton=next((part.skeleton for part in parts if part.skeleton), ()),
        unlabelled=_first_of([part.unlabelled for part in parts]),
        videos=_first_of([part.videos for part in parts]),
        calibrations=_first_of([part.calibrations for part in parts]),
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
    )


def _first_of(mappings: Sequence[Mapping[K, V]]) -> dict[K, V]:
    """All entries; where two mappings have a key, the earlier one's."""
    return {key: value for mapping in reversed(mappings) for key, value in mapping.items()}


def _reorder(part: ForeignLabels, first: ForeignLabels) -> ForeignLabels:
    """The same labels with the keypoints in the order of `first`."""
    if part.keypoint_names == first.keypoint_names:
        return part
    lacking = [name for name in first.keypoint_names if name not in part.keypoint_names]
    extra = [name for name in part.keypoint_names if name not in first.keypoint_names]
    if lacking or extra:
        differences = [f"lacks {', '.join(lacking)}"] if lacking else []
        differences += [f"has {', '.join(extra)} besides"] if extra else []
        raise ValueError(
            f"all sources must have the same keypoints: {part.origin} {' and '.join(differences)}, compared with "
            f"{first.origin}"
        )
    order = [part.keypoint_names.index(name) for name in first.keypoint_names]
    images = tuple(
        replace(image, points=image.points[order], visibility=image.visibility[order]) for image in part.images
    )
    return replace(part, keypoint_names=first.keypoint_names, images=images)
