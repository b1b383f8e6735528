"""SLEAP labels: `.slp` files with their videos, and `.pkg.slp` files that hold their images, through sleap-io."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from mvgeom.calibration.sources import VIDEO_SUFFIXES
from mvtrain.exchange.foreign_labels import (
    DecodedImage,
    ForeignLabels,
    ImageFile,
    ImageSource,
    LabeledImage,
    Place,
    ReadOptions,
    Source,
    VideoFrame,
)
from mvtrain.exchange.media import find_file, videos_by_view
from mvtrain.project.names import split_image_name, split_name
from mvtrain.runtime.optional_imports import need


def read(sources: Sequence[Source], options: ReadOptions) -> list[ForeignLabels]:
    """Read the labels that people made; SLEAP's predictions are left out.

    Raises:
        ValueError: sleap-io is not installed, a source is no `.slp` file, several skeletons, several animals in a frame
            and none chosen, and names that do not tell the view.
    """
    return [_read_file(source, options) for source in sources]


def _read_file(source: Source, options: ReadOptions) -> ForeignLabels:
    sleap_io = need("sleap_io", "import sleap")
    try:
        labels = sleap_io.load_slp(str(source.path), open_videos=True)
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"{source.path}: is no labels file of SLEAP (.slp), or damaged: {error}") from error
    if len(labels.skeletons) != 1:
        raise ValueError(f"{source.path}: has {len(labels.skeletons)} skeletons, one is needed")
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
        tracks = ", ".join(repr(track.name) for track in labels.tracks) or "none"
        raise ValueError(f"{source.path}: nothing is labelled of {options.individual!r}; tracks are {tracks}")
    notes = [f"{source.path}: {num_predicted} frames without labels by hand are left out"] if num_predicted else []
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
    """The animal of a frame that a person labelled; None where there is none."""
    instances = list(frame.user_instances)
    if individual is not None:
        instances = [each for each in instances if each.track is not None and each.track.name == individual]
    if len(instances) > 1:
        tracks = ", ".join("none" if each.track is None else repr(each.track.name) for each in instances)
        raise ValueError(
            f"{path}, {_video_name(frame.video)}, frame {frame.frame_idx}: {len(instances)} animals are labelled "
            f"(tracks: {tracks}), but a project here has one; choose it with --individual TRACK"
        )
    return instances[0] if instances else None


def _labeled(frame: Any, instance: Any, names: Sequence[str], source: Source, options: ReadOptions) -> LabeledImage:
    points = np.asarray(instance.points["xy"], dtype=np.float64)
    located = np.asarray(np.isfinite(points).all(axis=-1))
    # A node that SLEAP has a place for but that is not visible was placed by a person who knew it to be hidden.
    visible = np.asarray(instance.points["visible"], dtype=bool)
    number = int(frame.frame_idx)
    origin = f"{source.path}, {_video_name(frame.video)}, frame {number}"
    return LabeledImage(
        place=_place(frame.video, number, source, options, origin),
        points=np.where(located[:, None], points, np.nan),
        visibility=np.where(located, np.where(visible, 2, 1), 0).astype(np.int8),
        image=_image(frame.video, number, source.path, options.media),
        origin=origin,
    )


def _place(video: Any, number: int, source: Source, options: ReadOptions, origin: str) -> Place:
    if isinstance(video.filename, list):
        parts = split_image_name(str(video.filename[number]), source.view, options.rule, origin)
        assert parts.frame is not None
        return Place(parts.session, parts.view, parts.frame)
    parts = split_name(PurePosixPath(_video_name(video)).stem, source.view, options.rule, origin)
    return Place(parts.session, parts.view, number)


def _video_name(video: Any) -> str:
    """Name of the recording: of the video that embedded images were taken from, else of the file itself."""
    original = video
    while original.source_video is not None:
        original = original.source_video
    name = original.filename[0] if isinstance(original.filename, list) else original.filename
    path = PurePosixPath(str(name).replace("\\", "/"))
    return path.parent.name if isinstance(original.filename, list) else path.name


def _image(video: Any, number: int, slp: Path, media: Path | None) -> ImageSource | None:
    if isinstance(video.filename, list):
        path = find_file(str(video.filename[number]), [slp.parent, media])
        return None if path is None else ImageFile(path=path)
    if _is_video(video.filename):
        found = find_file(str(video.filename), [slp.parent, media])
        return None if found is None else VideoFrame(path=found, number=number)
    if not video.exists() or video.backend is None or not video.backend.has_frame(number):
        return None
    return DecodedImage(name=f"{slp}, {_video_name(video)}, frame {number}", read=lambda: _to_rgb(video[number]))


def _find_video(video: Any, slp: Path, media: Path | None) -> Path | None:
    """The video file that labels were made on; None for embedded images whose video is not at hand either."""
    if isinstance(video.filename, list):
        return None
    if not _is_video(video.filename):
        return None if video.source_video is None else _find_video(video.source_video, slp, media)
    return find_file(str(video.filename), [slp.parent, media])


def _is_video(name: object) -> bool:
    return PurePosixPath(str(name)).suffix.lower() in VIDEO_SUFFIXES


def _to_rgb(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 RGB of SLEAP's (H, W, 1 or 3)."""
    return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)), dtype=np.uint8)
