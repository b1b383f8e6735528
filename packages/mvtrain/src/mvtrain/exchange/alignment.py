"""Labelled images of all views, put side by side: a row per moment, matched by session and frame number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mvtrain.exchange.foreign_labels import ForeignLabels, ImageSource, LabeledImage, Place, VideoFrame

_SHOWN = 6


@dataclass(frozen=True, kw_only=True, eq=False)
class AlignedFrames:
    """N moments, V views, K keypoints.

    Attributes:
        view_names: V names.
        keypoint_names: K names.
        frames: N pairs of session and frame number, ascending.
        points: (N, V, K, 2) px of the stored images; NaN where missing.
        visibility: (N, V, K) int8, 0 where missing.
        images: N x V; None where a view has no image of a moment.
        crops: N x V top-left corners in frame px; None where the image is the whole frame, or missing.
        num_empty: moments without any label, which are left out.
    """

    view_names: tuple[str, ...]
    keypoint_names: tuple[str, ...]
    frames: tuple[tuple[str, int], ...]
    points: np.ndarray
    visibility: np.ndarray
    images: tuple[tuple[ImageSource | None, ...], ...]
    crops: tuple[tuple[tuple[int, int] | None, ...], ...]
    num_empty: int

    def __len__(self) -> int:
        return len(self.frames)


def align(labels: ForeignLabels, view_names: Sequence[str] = (), *, allow_absent: bool = False) -> AlignedFrames:
    """Match the views by session and frame number.

    A moment that is not labelled in a view has no points there; its image is one that the foreign project has without
    labels, else a frame of the view's video.

    Args:
        labels: of all sources together.
        view_names: the views in their order; empty: those there are, in alphabetical order.
        allow_absent: whether a view may have no image of a moment.

    Raises:
        ValueError: no label at all, a view other than the given ones or a given one without labels, no moment that two
            views share, and images that are nowhere (unless `allow_absent`).
    """
    by_place = {image.place: image for image in labels.images}
    views = _views(labels, tuple(view_names))
    labelled = {place[::2] for place, image in by_place.items() if (image.visibility > 0).any()}
    frames = tuple(sorted(labelled))
    if not frames:
        raise ValueError(f"{labels.origin}: no image with a label")
    if len(views) > 1:
        _check_shared(labels, views)
    num_keypoints = len(labels.keypoint_names)
    points = np.full((len(frames), len(views), num_keypoints, 2), np.nan)
    visibility = np.zeros((len(frames), len(views), num_keypoints), dtype=np.int8)
    images: list[tuple[ImageSource | None, ...]] = []
    crops: list[tuple[tuple[int, int] | None, ...]] = []
    for row, (session, number) in enumerate(frames):
        entries = [by_place.get(Place(session, view, number)) for view in views]
        for view, entry in enumerate(entries):
            if entry is not None:
                points[row, view], visibility[row, view] = entry.points, entry.visibility
        places = [Place(session, view, number) for view in views]
        images.append(tuple(_image(labels, place, by_place.get(place)) for place in places))
        crops.append(tuple(None if entry is None else entry.crop for entry in entries))
    if not allow_absent:
        _check_images(labels, frames, views, images)
    return AlignedFrames(
        view_names=views,
        keypoint_names=labels.keypoint_names,
        frames=frames,
        points=points,
        visibility=visibility,
        images=tuple(images),
        crops=tuple(crops),
        num_empty=len({place[::2] for place in by_place}) - len(frames),
    )


def _views(labels: ForeignLabels, given: tuple[str, ...]) -> tuple[str, ...]:
    found = tuple(sorted({image.place.view for image in labels.images}))
    if not given:
        return found
    unknown = [view for view in found if view not in given]
    lacking = [view for view in given if view not in found]
    if unknown or lacking:
        raise ValueError(
            f"{labels.origin}: labels are of the views {', '.join(found)}, but the views were said to be "
            f"{', '.join(given)}; --pattern says how names tell the view"
        )
    return given


def _check_shared(labels: ForeignLabels, views: tuple[str, ...]) -> None:
    """Whether some session is in more than one view: else names were taken apart in a wrong way."""
    sessions = {view: sorted({i.place.session for i in labels.images if i.place.view == view}) for view in views}
    together = [session for names in sessions.values() for session in names]
    if len(set(together)) == len(together):
        listed = "; ".join(f"{view}: {', '.join(names[:_SHOWN])}" for view, names in sessions.items())
        raise ValueError(
            f"{labels.origin}: no session is labelled in more than one view, so no moments can be matched; sessions by "
            f"view are {listed}; say how names are made with --pattern, such as '<view>_<session>'"
        )


def _image(labels: ForeignLabels, place: Place, entry: LabeledImage | None) -> ImageSource | None:
    if entry is not None and (entry.image is not None or entry.crop is not None):
        return entry.image
    if place in labels.unlabelled:
        return labels.unlabelled[place]
    video = labels.videos.get((place.session, place.view))
    return None if video is None else VideoFrame(path=video, number=place.number)


def _check_images(
    labels: ForeignLabels,
    frames: Sequence[tuple[str, int]],
    views: Sequence[str],
    images: Sequence[Sequence[ImageSource | None]],
) -> None:
    missing = [
        f"{session}, view {view}, frame {number}"
        for (session, number), row in zip(frames, images, strict=True)
        for view, image in zip(views, row, strict=True)
        if image is None
    ]
    if missing:
        shown = "; ".join(missing[:_SHOWN]) + ("; ..." if len(missing) > _SHOWN else "")
        raise ValueError(
            f"{labels.origin}: {len(missing)} images are missing, and there is no video to take them from: {shown}. "
            "Name a folder with the videos or images by --media, or leave those views empty with --allow-absent"
        )
