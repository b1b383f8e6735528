"""Reader of SLEAP labels with sleap-io: `.slp` files with their videos, and `.pkg.slp` files with images inside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from mvgeom.calibration.sources import VIDEO_SUFFIXES
from mvgeom.errors import InputError
from mvtrain.exchange.foreign_labels import (
    DecodedImage,
    ForeignLabels,
    ImageFile,
    ImageSource,
    LabeledImage,
    LabelPixels,
    Place,
    ReadOptions,
    Source,
    VideoFrame,
)
from mvtrain.exchange.media import find_file, videos_by_view
from mvtrain.project.images import image_size
from mvtrain.project.names import split_image_name, split_name
from mvtrain.runtime.optional_imports import need

_SLEAP_ERRORS = (OSError, KeyError, IndexError, TypeError, AttributeError, ValueError)
"""Errors of sleap-io over a file that it cannot read."""


def read(sources: Sequence[Source], options: ReadOptions) -> list[ForeignLabels]:
    """Read the labels that people made; SLEAP's predictions are left out.

    Raises:
        InputError: sleap-io is not installed (`missing-library`), a source is not an `.slp` file (`damaged-file`) or
            has several skeletons (`wrong-count`), a frame has several animals and none is chosen
            (`several-individuals`), or names do not contain the view (`bad-name`).
    """
    return [_read_file(source, options) for source in sources]


def _read_file(source: Source, options: ReadOptions) -> ForeignLabels:
    """Read one file; see `read`."""
    sleap_io = need("sleap_io", "import sleap")
    try:
        labels = sleap_io.load_slp(str(source.path), open_videos=True)
    except _SLEAP_ERRORS as error:
        raise InputError(
            f"{source.path}: not a labels file of SLEAP (.slp), or damaged: {error}",
            code="damaged-file",
            path=source.path,
        ) from error
    if len(labels.skeletons) != 1:
        raise InputError(
            f"{source.path}: wrong number of skeletons, found {len(labels.skeletons)}, expected 1",
            code="wrong-count",
            path=source.path,
            found=len(labels.skeletons),
            expected=1,
        )
    skeleton = labels.skeletons[0]
    names = tuple(str(name) for name in skeleton.node_names)
    images, num_predicted = [], 0
    for frame in labels.labeled_frames:
        instance = _choose(frame, source.path, options.individual)
        if instance is None:
            num_predicted += 1
        else:
            images.append(_labeled(frame, instance, names, source, options))
    if options.individual is not None and not images:
        tracks = tuple(str(track.name) for track in labels.tracks)
        raise InputError(
            f"{source.path}: no labels of this animal, found --individual {options.individual!r}, expected a track, "
            f"one of {', '.join(map(repr, tracks)) or 'none'}",
            code="unknown-choice",
            path=source.path,
            option="--individual",
            found=options.individual,
            expected=tracks,
        )
    notes = [f"{source.path}: {num_predicted} frames without labels made by hand are left out"] if num_predicted else []
    videos = [_find_video(video, source.path, options.media) for video in labels.videos]
    return ForeignLabels(
        origin=str(source.path),
        keypoint_names=names,
        images=tuple(images),
        has_visibility=True,
        skeleton=tuple((str(edge.source.name), str(edge.destination.name)) for edge in skeleton.edges),
        videos=videos_by_view([video for video in videos if video is not None], source.view, options),
        notes=tuple(notes),
    )


def _choose(frame: Any, path: Path, individual: str | None) -> Any | None:
    """Choose the animal of a frame that a person labeled; None if there is none."""
    instances = list(frame.user_instances)
    if individual is not None:
        instances = [each for each in instances if each.track is not None and each.track.name == individual]
    if len(instances) > 1:
        tracks = ", ".join("none" if each.track is None else repr(each.track.name) for each in instances)
        raise InputError(
            f"{path}, {_video_name(frame.video)}, frame {frame.frame_idx}: labels of several animals, found "
            f"{len(instances)} (tracks: {tracks}), expected one. Choose it with --individual TRACK",
            code="several-individuals",
            path=path,
            frame=int(frame.frame_idx),
        )
    return instances[0] if instances else None


def _labeled(frame: Any, instance: Any, names: Sequence[str], source: Source, options: ReadOptions) -> LabeledImage:
    """Convert the labels of one frame."""
    points = np.asarray(instance.points["xy"], dtype=np.float64)
    located = np.asarray(np.isfinite(points).all(axis=-1))
    # A node with coordinates that is not visible was placed by a person who knew that it was occluded.
    visible = np.asarray(instance.points["visible"], dtype=bool)
    number = int(frame.frame_idx)
    origin = f"{source.path}, {_video_name(frame.video)}, frame {number}"
    return LabeledImage(
        place=_place(frame.video, number, source, options, origin),
        points=np.where(located[:, None], points, np.nan),
        visibility=np.where(located, np.where(visible, 2, 1), 0).astype(np.int8),
        image=_image(frame.video, number, source.path, options.media),
        pixels=LabelPixels(size=_stated_size(frame.video, source.path, options.media)),
        origin=origin,
    )


def _place(video: Any, number: int, source: Source, options: ReadOptions, origin: str) -> Place:
    """Find session, view and frame number of an image."""
    if isinstance(video.filename, list):
        parts = split_image_name(_image_name(video, number, origin), source.view, options.rule, origin)
        assert parts.frame is not None
        return Place(parts.session, parts.view, parts.frame)
    parts = split_name(PurePosixPath(_video_name(video)).stem, source.view, options.rule, origin)
    return Place(parts.session, parts.view, number)


def _image_name(video: Any, number: int, origin: str) -> str:
    """Return the path of an image in a list of images."""
    if number >= len(video.filename):
        raise InputError(
            f"{origin}: there is no such image, found {len(video.filename)} images", code="missing-frame", frame=number
        )
    return str(video.filename[number])


def _video_name(video: Any) -> str:
    """Return the name of the recording: of the video that embedded images are from, else of the file itself."""
    original = video
    while original.source_video is not None:
        original = original.source_video
    name = original.filename[0] if isinstance(original.filename, list) else original.filename
    path = PurePosixPath(str(name).replace("\\", "/"))
    return path.parent.name if isinstance(original.filename, list) else path.name


def _image(video: Any, number: int, slp: Path, media: Path | None) -> ImageSource | None:
    """Find an image: a file, a frame of a video, or inside the package; None if it is lost."""
    if isinstance(video.filename, list):
        path = find_file(str(video.filename[number]), [slp.parent, media])
        return None if path is None else ImageFile(path=path)
    if _is_video(video.filename):
        found = find_file(str(video.filename), [slp.parent, media])
        return None if found is None else VideoFrame(path=found, number=number)
    if not video.exists() or video.backend is None or not video.backend.has_frame(number):
        return None
    return DecodedImage(name=f"{slp}, {_video_name(video)}, frame {number}", read=lambda: _to_rgb(video[number]))


def _stated_size(video: Any, slp: Path, media: Path | None) -> tuple[int, int] | None:
    """Return the width and height in px that the labels state for a video or a list of images; None without any.

    Of a list SLEAP states the size of the first image. Where that has it still, the others may have any.
    """
    shape: Sequence[Any] = (video.backend_metadata or {}).get("shape") or ()
    try:
        size = int(shape[2]), int(shape[1])
    except (TypeError, ValueError, IndexError):
        return None
    if min(size) < 1:
        return None
    if isinstance(video.filename, list):
        first = find_file(str(video.filename[0]), [slp.parent, media]) if video.filename else None
        return None if first is None or image_size(first) == size else size
    return size


def _find_video(video: Any, slp: Path, media: Path | None) -> Path | None:
    """Find the video file of the labels; None if there is none, also for embedded images without their video."""
    if isinstance(video.filename, list):
        return None
    if not _is_video(video.filename):
        return None if video.source_video is None else _find_video(video.source_video, slp, media)
    return find_file(str(video.filename), [slp.parent, media])


def _is_video(name: object) -> bool:
    """Return True if the suffix is that of a video."""
    return PurePosixPath(str(name)).suffix.lower() in VIDEO_SUFFIXES


def _to_rgb(image: np.ndarray) -> np.ndarray:
    """Convert SLEAP's (H, W, 1 or 3) to (H, W, 3) RGB in the depth of the image, uint8 or uint16."""
    depth = np.uint16 if image.dtype == np.uint16 else np.uint8
    return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)), dtype=depth)
