"""Common form of the labels of other programs: one entry per labeled image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from mvgeom.errors import InputError
from mvtrain.project.names import NameRule

K = TypeVar("K")
V = TypeVar("V")


class Place(NamedTuple):
    """Session, view and frame number of an image."""

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
        name: Name of the image, for messages.
        read: Function that returns (H, W, 3) uint8 RGB.
    """

    name: str
    read: Callable[[], np.ndarray]


ImageSource = ImageFile | VideoFrame | DecodedImage


@dataclass(frozen=True, kw_only=True, eq=False)
class LabeledImage:
    """Labels of one image.

    Attributes:
        place: Session, view and frame number of the image.
        points: (K, 2) labels in crop px; NaN where missing.
        visibility: (K,) int8: 0 not labeled, 1 occluded, 2 visible.
        image: File, video frame or reader of the image; None if the foreign project has lost it.
        crop: Full-image px (x, y) of the stored image's top-left pixel; None for a full image.
        origin: File and row of the labels, for messages.
    """

    place: Place
    points: np.ndarray
    visibility: np.ndarray
    image: ImageSource | None
    crop: tuple[int, int] | None = None
    origin: str


@dataclass(frozen=True, kw_only=True, eq=False)
class ForeignLabels:
    """Labels of a source, with its other images, videos and calibrations.

    Attributes:
        origin: Name of the source, for messages.
        keypoint_names: K names of the keypoints.
        images: Labeled images.
        has_visibility: True if the source distinguishes occluded keypoints from unlabeled ones.
        skeleton: Pairs of keypoints that a line joins.
        unlabeled: Images without labels.
        videos: Videos by session and view.
        calibrations: Calibration files by session; the key None is for all other sessions.
        frames: (T,) frame numbers of a video's images by session and view, where image n is not that of frame n; see
            `number_by_time`.
        notes: Remarks for the user.
    """

    origin: str
    keypoint_names: tuple[str, ...]
    images: tuple[LabeledImage, ...]
    has_visibility: bool = False
    skeleton: tuple[tuple[str, str], ...] = ()
    unlabeled: Mapping[Place, ImageSource] = field(default_factory=dict)
    videos: Mapping[tuple[str, str], Path] = field(default_factory=dict)
    calibrations: Mapping[str | None, Path] = field(default_factory=dict)
    frames: Mapping[tuple[str, str], np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Source:
    """A path that the user gave, and its view if the user gave one."""

    path: Path
    view: str | None = None


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """Options of the readers.

    Attributes:
        rule: Rule that splits foreign names into session and view.
        individual: Name of the animal to take from several.
        media: Folder with images and videos that are not at the path in the foreign project.
    """

    rule: NameRule
    individual: str | None = None
    media: Path | None = None


def plain_visibility(points: np.ndarray) -> np.ndarray:
    """Return (..., K) visibility of points (..., K, 2): 2, or 0 where they are missing."""
    return np.where(np.isfinite(points).all(axis=-1), 2, 0).astype(np.int8)


def merge(parts: Sequence[ForeignLabels]) -> ForeignLabels:
    """Merge all sources, with the keypoints in the order of the first one.

    Raises:
        InputError: Sources have different keypoints (`keypoints-differ`), or two of them label the same image
            (`duplicate-name`).
    """
    first = parts[0]
    parts = [first, *(_reorder(part, first) for part in parts[1:])]
    images = tuple(image for part in parts for image in part.images)
    seen: dict[Place, LabeledImage] = {}
    for image in images:
        other = seen.setdefault(image.place, image)
        if other is not image:
            session, view, number = image.place
            raise InputError(
                f"frame {number} of view {view!r} of session {session!r} has two labeled images: {other.origin}; "
                f"{image.origin}. Rename one, or distinguish views and sessions with --view or --pattern",
                code="duplicate-name",
                session=session,
                view=view,
                frame=number,
            )
    return ForeignLabels(
        origin=", ".join(dict.fromkeys(part.origin for part in parts)),
        keypoint_names=first.keypoint_names,
        images=images,
        has_visibility=any(part.has_visibility for part in parts),
        skeleton=next((part.skeleton for part in parts if part.skeleton), ()),
        unlabeled=_first_of([part.unlabeled for part in parts]),
        videos=_first_of([part.videos for part in parts]),
        calibrations=_first_of([part.calibrations for part in parts]),
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
    )


def _first_of(mappings: Sequence[Mapping[K, V]]) -> dict[K, V]:
    """Merge mappings; the first one that has a key gives its value."""
    return {key: value for mapping in reversed(mappings) for key, value in mapping.items()}


def _reorder(part: ForeignLabels, first: ForeignLabels) -> ForeignLabels:
    """Return the same labels with the keypoints in the order of `first`."""
    if part.keypoint_names == first.keypoint_names:
        return part
    lacking = [name for name in first.keypoint_names if name not in part.keypoint_names]
    extra = [name for name in part.keypoint_names if name not in first.keypoint_names]
    if lacking or extra:
        differences = [f"lacks {', '.join(lacking)}"] if lacking else []
        differences += [f"has {', '.join(extra)} in addition"] if extra else []
        raise InputError(
            f"{part.origin}: other keypoints than in {first.origin}: it {' and '.join(differences)}",
            code="keypoints-differ",
            source=part.origin,
            found=part.keypoint_names,
            expected=first.keypoint_names,
        )
    order = [part.keypoint_names.index(name) for name in first.keypoint_names]
    images = tuple(
        replace(image, points=image.points[order], visibility=image.visibility[order]) for image in part.images
    )
    return replace(part, keypoint_names=first.keypoint_names, images=images)
