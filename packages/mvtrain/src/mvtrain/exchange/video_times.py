"""Numbers of labeled images as frames that all views share, by the presentation times of their videos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from mvgeom.clocks import Clocks
from mvgeom.errors import InputError
from mvgeom.videos import match_videos, open_video
from mvgeom.wording import counted
from mvtrain.exchange.foreign_labels import ForeignLabels, Place, VideoFrame


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
