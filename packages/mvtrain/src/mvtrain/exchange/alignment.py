"""Labeled images of all views, matched by session and by frame number or presentation time: a row per frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mvgeom.clocks import Clocks
from mvgeom.errors import InputError
from mvgeom.videos import match_videos, open_video
from mvgeom.wording import counted
from mvtrain.exchange.foreign_labels import ForeignLabels, ImageFile, ImageSource, LabeledImage, Place, VideoFrame
from mvtrain.exchange.media import check_one_place

_SHOWN = 6


def number_by_time(
    labels: ForeignLabels, clocks: Mapping[str | None, Clocks | None] | None = None, *, by_time: bool = True
) -> ForeignLabels:
    """Replace numbers of images in videos by numbers of frames, where the videos of a session have gaps.

    Labels made on a video are numbered by its images. Where images are missing in one view, image n of it is of another
    time than image n of the other views. So is it where cameras are not synchronized: with their clocks, frames are
    those of the reference, and images that are nearest to none of them are left out. Sessions whose videos have neither
    gaps nor clocks stay as they are.

    Args:
        labels: Labels as read.
        clocks: Clocks of the cameras by session, the key None for all other sessions; None where there are none.
        by_time: False takes image n of a video for frame n of its camera, whatever its time.

    Returns:
        The labels, with the frame numbers of the images of each video with gaps, and a note for each session whose
        numbers were changed or whose times do not tell which images belong together.

    Raises:
        InputError: A video cannot be read, or its times do not tell which images belong together (`rates-differ`,
            `unmatched-frames`), and an image is to be taken from it that nobody labeled.
    """
    sessions = dict.fromkeys(image.place.session for image in labels.images)
    frames: dict[tuple[str, str], np.ndarray] = {}
    notes = []
    for session in sessions:
        videos = {view: path for (name, view), path in labels.videos.items() if name == session}
        known = None if not clocks else clocks.get(session, clocks.get(None))
        try:
            found = _match(videos, known, by_time=by_time)
        except InputError as error:
            if known is not None:
                raise error.prefixed(f"session {session}: ", session=session) from error
            if _needs_video(labels, session):
                advised = error.advised("Give --ignore-frame-rates, or the images of all views by --media.")
                raise advised.prefixed(f"session {session}: ", session=session) from error
            notes.append(f"session {session}: images are matched by their numbers, not by the times in videos: {error}")
            continue
        if known is not None and len(videos) < 2:
            notes.append(
                f"session {session}: there are no videos, so that numbers of images stay, whatever the offsets in time"
            )
        if found:
            frames |= {(session, view): numbers for view, numbers in found.items()}
            why = "images are missing in a video by its times"
            if known is not None:
                why = f"cameras have offsets in time ({known.describe()})"
            notes.append(
                f"session {session}: {why}, so that frames are numbered by time, not by the images of each video"
            )
            without = {image.place.view for image in labels.images if image.place.session == session} - set(found)
            notes += [f"session {session}: view {view} has no video, so its numbers stay" for view in sorted(without)]
    if not frames and not notes:
        return labels
    images = [(image, _frame_of(image.place, frames)) for image in labels.images]
    left_out = sum(place is None for _, place in images)
    if left_out:
        number = counted(left_out, "image")
        notes.append(f"left out {number} without a frame of the reference at that time, by the offsets in time")
    unlabeled = [(_frame_of(place, frames), image) for place, image in labels.unlabeled.items()]
    return replace(
        labels,
        images=tuple(replace(image, place=place) for image, place in images if place is not None),
        unlabeled={place: image for place, image in unlabeled if place is not None},
        frames=frames,
        notes=(*labels.notes, *notes),
    )


def _match(videos: Mapping[str, Path], clocks: Clocks | None, *, by_time: bool) -> dict[str, np.ndarray]:
    """Return the frame numbers of the images of each view's video; empty where image n is that of frame n."""
    if len(videos) < 2 or (clocks is None and not by_time):
        return {}
    names = [path.name for path in videos.values()]
    opened = [open_video(path) for path in videos.values()]
    own = None if clocks is None else clocks.select(videos)
    matched = match_videos(opened, names, clocks=own, by_time=by_time)
    return {view: video.frames for view, video in zip(videos, matched, strict=True) if video.frames is not None}


def _needs_video(labels: ForeignLabels, session: str) -> bool:
    """Return True if images of a session are chosen by number alone: those that a view lacks, and those of predictions.

    Images that a person labeled are there with the number that they have, which the person saw in all views.
    """
    own = [image for image in labels.images if image.place.session == session]
    if any(image.predicted and isinstance(image.image, VideoFrame) for image in own):
        return True
    present = {image.place for image in labels.images if image.image is not None} | set(labels.unlabeled)
    views = {image.place.view for image in labels.images}
    numbers = {image.place.number for image in own}
    return any(
        Place(session, view, number) not in present
        for view in views
        for number in numbers
        if (session, view) in labels.videos
    )


def _frame_of(place: Place, frames: Mapping[tuple[str, str], np.ndarray]) -> Place | None:
    """Return the place with the number of its frame in place of that of its image; None if it belongs to no frame."""
    numbers = frames.get((place.session, place.view))
    if numbers is None or not len(numbers):
        return place
    beyond = max(place.number - len(numbers) + 1, 0)
    image = place.number - beyond
    if numbers[image] + beyond < 0 or (image > 0 and numbers[image] == numbers[image - 1]):
        return None
    return place._replace(number=int(numbers[image]) + beyond)


@dataclass(frozen=True, kw_only=True, eq=False)
class AlignedFrames:
    """Labels of N frames, V views and K keypoints.

    Attributes:
        view_names: V names of the views.
        keypoint_names: K names of the keypoints.
        frames: N pairs of session and frame number, ascending.
        points: (N, V, K, 2) labels in crop px; NaN where missing.
        visibility: (N, V, K) int8, 0 where missing.
        images: N x V images; None where a view has no image of a frame.
        crops: N x V top-left corners of the images in full-image px; None for a full image or a missing one.
        entries: N x V labeled images; None where a view has no labels of a frame.
        num_empty: Number of frames without any label, which are left out.
        num_lost: Number of labeled images that are lost, whose labels are left out.
        num_lost_frames: Number of frames that are left out because all their labeled images are lost.
    """

    view_names: tuple[str, ...]
    keypoint_names: tuple[str, ...]
    frames: tuple[tuple[str, int], ...]
    points: np.ndarray
    visibility: np.ndarray
    images: tuple[tuple[ImageSource | None, ...], ...]
    crops: tuple[tuple[tuple[int, int] | None, ...], ...]
    entries: tuple[tuple[LabeledImage | None, ...], ...]
    num_empty: int
    num_lost: int = 0
    num_lost_frames: int = 0

    def __len__(self) -> int:
        return len(self.frames)

    def take(self, rows: Sequence[int]) -> AlignedFrames:
        """Return some of the frames."""
        return replace(
            self,
            frames=tuple(self.frames[row] for row in rows),
            points=self.points[list(rows)],
            visibility=self.visibility[list(rows)],
            images=tuple(self.images[row] for row in rows),
            crops=tuple(self.crops[row] for row in rows),
            entries=tuple(self.entries[row] for row in rows),
        )


def align(labels: ForeignLabels, view_names: Sequence[str] = (), *, allow_absent: bool = False) -> AlignedFrames:
    """Match the views by session and frame number.

    A frame without labels in a view has no points there; its image is an unlabeled image of the foreign project, else a
    frame of the view's video. There is none where the video has a gap. A label without an image is left out with
    `allow_absent`, and so is a frame that then has no label; `entries` keep it.

    Args:
        labels: Labels of all sources together.
        view_names: Names of the views in their order; empty: all views of the labels in alphabetical order.
        allow_absent: Allow views without an image of a frame.

    Raises:
        InputError: There are no labels (`no-labels`), the views are not the given ones (`views-differ`), no frame has
            images of two views (`no-shared-frame`), a file is the image of two views (`ambiguous-file`), or images are
            missing and `allow_absent` is not set, or no labeled image is left (`missing-frame`).
    """
    by_place = {image.place: image for image in labels.images}
    views = _views(labels, tuple(view_names))
    labeled = {place[::2] for place, image in by_place.items() if (image.visibility > 0).any()}
    frames = tuple(sorted(labeled))
    if not frames:
        raise InputError(f"{labels.origin}: no image has a label", code="no-labels", source=labels.origin)
    num_keypoints = len(labels.keypoint_names)
    points = np.full((len(frames), len(views), num_keypoints, 2), np.nan)
    visibility = np.zeros((len(frames), len(views), num_keypoints), dtype=np.int8)
    images: list[tuple[ImageSource | None, ...]] = []
    crops: list[tuple[tuple[int, int] | None, ...]] = []
    all_entries: list[tuple[LabeledImage | None, ...]] = []
    for row, (session, number) in enumerate(frames):
        entries = [by_place.get(Place(session, view, number)) for view in views]
        for view, entry in enumerate(entries):
            if entry is not None:
                points[row, view], visibility[row, view] = entry.points, entry.visibility
        places = [Place(session, view, number) for view in views]
        images.append(tuple(_image(labels, place, by_place.get(place)) for place in places))
        all_entries.append(tuple(entries))
        crops.append(
            tuple(
                _corner(entry, image, labels.offsets.get(view))
                for view, entry, image in zip(views, entries, images[-1], strict=True)
            )
        )
    if len(views) > 1:
        _check_shared(labels, views, frames, images)
    check_one_place(
        (Place(session, view, number), image)
        for (session, number), row in zip(frames, images, strict=True)
        for view, image in zip(views, row, strict=True)
    )
    if not allow_absent:
        _check_images(labels, frames, views, images)
    return _leave_out_lost(
        AlignedFrames(
            view_names=views,
            keypoint_names=labels.keypoint_names,
            frames=frames,
            points=points,
            visibility=visibility,
            images=tuple(images),
            crops=tuple(crops),
            entries=tuple(all_entries),
            num_empty=len({place[::2] for place in by_place}) - len(frames),
        ),
        labels,
    )


def _leave_out_lost(aligned: AlignedFrames, labels: ForeignLabels) -> AlignedFrames:
    """Return the frames without the labels of lost images, and without the frames that then have no label.

    Raises:
        InputError: No labeled image is left (`missing-frame`).
    """
    labeled = (aligned.visibility > 0).any(axis=-1)
    lost = labeled & np.array([[image is None for image in row] for row in aligned.images])
    if not lost.any():
        return aligned
    kept = np.flatnonzero((labeled & ~lost).any(axis=1))
    if not len(kept):
        places = tuple(
            Place(session, aligned.view_names[view], number)
            for (session, number), row in zip(aligned.frames, lost, strict=True)
            for view in np.flatnonzero(row)
        )
        raise InputError(
            f"{labels.origin}: all labeled images are missing ({lost.sum()}), and there is no video with them: "
            f"{_list_places(places)}. Give a folder with the videos or images by --media",
            code="missing-frame",
            source=labels.origin,
            places=places,
        )
    cleared = replace(
        aligned,
        points=np.where(lost[..., None, None], np.nan, aligned.points),
        visibility=np.where(lost[..., None], 0, aligned.visibility).astype(np.int8),
        num_lost=int(lost.sum()),
        num_lost_frames=len(aligned) - len(kept),
    )
    return cleared.take(kept.tolist())


def _views(labels: ForeignLabels, given: tuple[str, ...]) -> tuple[str, ...]:
    """Return the given views, else all views of the labels."""
    found = tuple(sorted({image.place.view for image in labels.images}))
    if not given:
        return found
    unknown = [view for view in found if view not in given]
    lacking = [view for view in given if view not in found]
    if unknown or lacking:
        raise InputError(
            f"{labels.origin}: the views of the labels are not the given ones, found {', '.join(found)}, expected "
            f"{', '.join(given)}. Describe the names with --pattern",
            code="views-differ",
            source=labels.origin,
            found=found,
            expected=given,
        )
    return given


def _check_shared(
    labels: ForeignLabels,
    views: tuple[str, ...],
    frames: Sequence[tuple[str, int]],
    images: Sequence[Sequence[ImageSource | None]],
) -> None:
    """Check that a frame has images or labels of two views; otherwise the names were split in a wrong way."""
    labeled = {image.place for image in labels.images}
    for (session, number), row in zip(frames, images, strict=True):
        present = [
            image is not None or Place(session, view, number) in labeled for view, image in zip(views, row, strict=True)
        ]
        if sum(present) > 1:
            return
    examples = [
        image
        for view in views
        for image in [image for image in labels.images if image.place.view == view][: max(1, _SHOWN // len(views))]
    ]
    raise InputError(
        f"{labels.origin}: no frame has images of two views, so views cannot be matched. The names were read so: "
        f"{_list_names(examples)}. If that is wrong, describe the names with --pattern, such as '<view>_<session>' or "
        "'<session>/<view>/*_<frame>'. If it is right, give a folder with the videos by --media",
        code="no-shared-frame",
        source=labels.origin,
        found={view: sorted({i.place.session for i in labels.images if i.place.view == view}) for view in views},
        examples=tuple((image.name, image.place) for image in examples),
    )


def describe_single_view(labels: ForeignLabels, advice: str) -> tuple[str, ...]:
    """Return a note on how names were read where several sessions have the same single view; else nothing.

    The sessions can be those of one camera, or the names of several cameras end alike (`left_cam`, `right_cam`).

    Args:
        labels: Labels of all sources together, whose views are from names.
        advice: Advice for several cameras.
    """
    views = {image.place.view for image in labels.images}
    by_session = {image.place.session: image for image in reversed(labels.images)}
    if len(views) != 1 or len(by_session) < 2:
        return ()
    examples = [by_session[session] for session in sorted(by_session)][:_SHOWN]
    return (
        f"one view, {', '.join(views)}, in {len(by_session)} sessions. The names were read so: "
        f"{_list_names(examples)}. If these are several cameras, {advice}",
    )


def _list_names(images: Sequence[LabeledImage]) -> str:
    """List how names were read, for messages."""
    return "; ".join(
        f"{image.name or image.origin} is session {image.place.session}, view {image.place.view}, frame "
        f"{image.place.number}"
        for image in images
    )


def _corner(
    entry: LabeledImage | None, image: ImageSource | None, offset: tuple[int, int] | None
) -> tuple[int, int] | None:
    """Return the top-left pixel of an image in full-image px; None for a full image or a missing one."""
    if image is None:
        return None
    own = image.crop if isinstance(image, ImageFile) else None
    crop = own if entry is None or entry.crop is None else entry.crop
    if crop is None or offset is None:
        return crop or offset
    return (crop[0] + offset[0], crop[1] + offset[1])


def _image(labels: ForeignLabels, place: Place, entry: LabeledImage | None) -> ImageSource | None:
    """Find the image of a place; None if there is none."""
    if entry is not None and (entry.image is not None or entry.crop is not None):
        return entry.image
    if place in labels.unlabeled:
        return labels.unlabeled[place]
    video = labels.videos.get((place.session, place.view))
    if video is None or _is_gap(labels, place):
        return None
    frames = labels.frames.get((place.session, place.view))
    return VideoFrame(path=video, number=place.number if frames is None else int(np.searchsorted(frames, place.number)))


def _is_gap(labels: ForeignLabels, place: Place) -> bool:
    """Return True if the video of a place has images before and after it, but none of it."""
    frames = labels.frames.get((place.session, place.view))
    return frames is not None and place.number < frames[-1] and place.number not in frames


def _check_images(
    labels: ForeignLabels,
    frames: Sequence[tuple[str, int]],
    views: Sequence[str],
    images: Sequence[Sequence[ImageSource | None]],
) -> None:
    """Check that every view has an image of every frame; unlabeled ones may be in a gap of a video."""
    labeled = {image.place for image in labels.images if (image.visibility > 0).any()}
    missing = [
        Place(session, view, number)
        for (session, number), row in zip(frames, images, strict=True)
        for view, image in zip(views, row, strict=True)
        if image is None and ((place := Place(session, view, number)) in labeled or not _is_gap(labels, place))
    ]
    if missing:
        raise InputError(
            f"{labels.origin}: {counted(len(missing), 'image')} missing, and no video instead: "
            f"{_list_places(missing)}. Give a "
            "folder with the videos or images by --media, or leave those views empty with --allow-absent",
            code="missing-frame",
            source=labels.origin,
            places=tuple(missing),
        )


def _list_places(places: Sequence[Place]) -> str:
    """List the first of some places, for messages."""
    listed = [f"session {session}, view {view}, frame {number}" for session, view, number in places[:_SHOWN]]
    return "; ".join(listed) + ("; ..." if len(places) > _SHOWN else "")
