"""Common form of the labels of other programs: one entry per labeled image; predictions become labels to correct."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from mvgeom import CameraGroup
from mvgeom.errors import InputError
from mvgeom.tables import KeypointTable
from mvgeom.wording import counted
from mvtrain.project.names import NameRule, check_distinct, frame_number, split_name

K = TypeVar("K")
V = TypeVar("V")


class Place(NamedTuple):
    """Session, view and frame number of an image."""

    session: str
    view: str
    number: int


@dataclass(frozen=True, kw_only=True)
class ImageFile:
    """An image on disk.

    Attributes:
        path: Path of the file.
        crop: Top-left pixel (x, y) of the image in px of its video; None for a whole image.
    """

    path: Path
    crop: tuple[int, int] | None = None


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
        read: Function that returns (H, W, 3) uint8 or uint16 RGB.
    """

    name: str
    read: Callable[[], np.ndarray]


ImageSource = ImageFile | VideoFrame | DecodedImage


@dataclass(frozen=True, kw_only=True)
class LabelPixels:
    """The image as the labeling program showed it: labels are in its px.

    Attributes:
        size: Width and height in px that the label file states; None if it states none.
        turned: True for a program that turns images by their EXIF orientation; the image's file is read as stored.
    """

    size: tuple[int, int] | None = None
    turned: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class LabeledImage:
    """Labels of one image.

    Attributes:
        place: Session, view and frame number of the image.
        points: (K, 2) labels in crop px, or in px of the image that `pixels` describes; NaN where missing.
        visibility: (K,) int8: 0 not labeled, 1 occluded, 2 visible.
        image: File, video frame or reader of the image; None if the foreign project has lost it.
        crop: Top-left pixel (x, y) of the stored image in px of its video; None for a whole image.
        pixels: Image that the labeling program showed.
        origin: File and row of the labels, for messages.
        name: Path or name from which the place was read, for messages.
        predicted: True for predictions, which are labels only until a person has looked at them.
    """

    place: Place
    points: np.ndarray
    visibility: np.ndarray
    image: ImageSource | None
    crop: tuple[int, int] | None = None
    pixels: LabelPixels = LabelPixels()
    origin: str
    name: str = ""
    predicted: bool = False


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
        calibrations: Calibration files or cameras by session; the key None is for all other sessions.
        offsets: By view, the top-left pixel (x, y) of its videos and images in full-image px, for cameras that were
            recorded in part; views that are not in it have full images.
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
    calibrations: Mapping[str | None, Path | CameraGroup] = field(default_factory=dict)
    offsets: Mapping[str, tuple[int, int]] = field(default_factory=dict)
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
        min_likelihood: Lowest likelihood of the predictions to take as labels; None: labels made by hand only.
        every: Step of the frame numbers of the predictions to take, so that all views have the same frames.
    """

    rule: NameRule
    individual: str | None = None
    media: Path | None = None
    min_likelihood: float | None = None
    every: int = 1


def plain_visibility(points: np.ndarray) -> np.ndarray:
    """Return (..., K) visibility of points (..., K, 2): 2, or 0 where they are missing."""
    return np.where(np.isfinite(points).all(axis=-1), 2, 0).astype(np.int8)


def merge(parts: Sequence[ForeignLabels]) -> ForeignLabels:
    """Merge all sources, with the keypoints in the order of the first one.

    An image that is labeled twice counts once, if its labels are the same, or if one of the two has none or only
    predictions.

    Raises:
        InputError: Two keypoints of a source have one name (`duplicate-name`), sources have different keypoints
            (`keypoints-differ`), or two of them label the same image in different ways (`duplicate-name`).
    """
    for part in parts:
        check_distinct(part.keypoint_names, f"{part.origin}: keypoints", source=part.origin)
    first = parts[0]
    parts = [first, *(_reorder(part, first) for part in parts[1:])]
    chosen: dict[Place, LabeledImage] = {}
    num_equal = 0
    for image in (image for part in parts for image in part.images):
        other = chosen.setdefault(image.place, image)
        if other is not image:
            num_equal += _same_labels(other, image)
            chosen[image.place] = _choose(other, image)
    notes = dict.fromkeys(note for part in parts for note in part.notes)
    if num_equal:
        notes[f"{counted(num_equal, 'labeled image')} found twice with the same labels, taken once"] = None
    return ForeignLabels(
        origin=", ".join(dict.fromkeys(part.origin for part in parts)),
        keypoint_names=first.keypoint_names,
        images=tuple(chosen.values()),
        has_visibility=any(part.has_visibility for part in parts),
        skeleton=next((part.skeleton for part in parts if part.skeleton), ()),
        unlabeled=_first_of([part.unlabeled for part in parts]),
        videos=_first_of([part.videos for part in parts]),
        calibrations=_first_of([part.calibrations for part in parts]),
        offsets=_first_of([part.offsets for part in parts]),
        notes=tuple(notes),
    )


def _same_labels(first: LabeledImage, second: LabeledImage) -> bool:
    """Return True if two images have the same labels at the same place of the full image."""
    return (
        np.array_equal(first.points, second.points, equal_nan=True)
        and np.array_equal(first.visibility, second.visibility)
        and (first.crop or (0, 0)) == (second.crop or (0, 0))
    )


def _choose(first: LabeledImage, second: LabeledImage) -> LabeledImage:
    """Choose one of two labelings of the same image, the one with more; see `merge`."""
    if _same_labels(first, second):
        return second if first.image is None else first
    for one, other in ((first, second), (second, first)):
        if not other.visibility.any() or (other.predicted and not one.predicted):
            return one
    session, view, number = first.place
    raise InputError(
        f"frame {number} of view {view!r} of session {session!r} has two labeled images: {first.origin}; "
        f"{second.origin}. Rename one, or distinguish views and sessions with --view or --pattern",
        code="duplicate-name",
        session=session,
        view=view,
        frame=number,
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


def check_wanted(path: Path, options: ReadOptions) -> None:
    """Check that predictions are asked for.

    Raises:
        InputError: They are not (`no-labels`).
    """
    if options.min_likelihood is None:
        raise InputError(
            f"{path}: predictions of a network, not labels made by hand. Take them as labels with --min-likelihood "
            "LIKELIHOOD",
            code="no-labels",
            path=path,
        )


def to_labels(
    table: KeypointTable,
    name: str,
    videos: Sequence[Path],
    source: Source,
    options: ReadOptions,
    *,
    images: Mapping[int, ImageSource] | None = None,
    pixels: LabelPixels = LabelPixels(),
) -> ForeignLabels:
    """Convert predictions of one view to labels, those of the frames that `--every` takes.

    Args:
        table: Predictions with likelihoods; the rows are frame numbers, or names that contain one.
        name: Path of the recording, from which session and view are read.
        videos: Videos to search for that of the table's recording, else of this name; the first counts.
        source: Source with its view.
        options: Options of the reader; `min_likelihood` is a number.
        images: Images by frame number, for predictions of images.
        pixels: Images that the program showed, if it did not read a video.

    Raises:
        InputError: The name does not tell session and view, or a row no frame (`bad-name`).
    """
    assert options.min_likelihood is not None
    assert table.likelihood is not None
    parts = split_name(name, source.view, options.rule.without_frame or options.rule, str(table.path))
    recording = name.rpartition("/")[2]
    video = next((video for stem in (table.recording, recording) for video in videos if video.stem == stem), None)
    likely = table.likelihood >= options.min_likelihood
    points = np.where(likely[..., None], table.points, np.nan)
    found = images or {}
    labeled = []
    for row, each in zip(table.rows, points, strict=True):
        number = _frame(table.path, row, parts.view)
        if number % options.every or not np.isfinite(each).all(axis=-1).any():
            continue
        labeled.append(
            LabeledImage(
                place=Place(parts.session, parts.view, number),
                points=each,
                visibility=plain_visibility(each),
                image=found.get(number) if video is None else VideoFrame(path=video, number=number),
                pixels=pixels if video is None else LabelPixels(),
                origin=f"{table.path}, frame {row}",
                name=recording,
                predicted=True,
            )
        )
    problem = table.describe_without_likelihood()
    return ForeignLabels(
        origin=str(table.path),
        keypoint_names=table.keypoint_names,
        images=tuple(labeled),
        unlabeled={Place(parts.session, parts.view, number): image for number, image in found.items()},
        videos={} if video is None else {(parts.session, parts.view): video},
        notes=() if problem is None else (problem,),
    )


def _frame(path: Path, row: str, view: str) -> int:
    """Return the frame number of a row.

    Raises:
        InputError: It has none (`bad-name`).
    """
    number = int(row) if row.isdecimal() else frame_number(row, view)
    if number is None:
        raise InputError(
            f"{path}: the name {row!r} has no number that tells the frame, so it cannot be matched with other views",
            code="bad-name",
            path=path,
            name=row,
        )
    return number
