"""Recording sessions of a SLEAP file: which camera took each video, and the cameras' calibration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np

from mvgeom import CameraGroup
from mvgeom.wording import counted
from mvtrain.exchange.foreign_labels import ReadOptions, Source
from mvtrain.project.names import as_posix


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordingSessions:
    """Recording sessions of a file.

    Attributes:
        places: Session and view of each video that a camera is linked to.
        cameras: Calibrated cameras by session.
        notes: Remarks for the user.
    """

    places: Mapping[Any, tuple[str, str]] = field(default_factory=dict)
    cameras: Mapping[str | None, CameraGroup] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_sessions(labels: Any, source: Source, options: ReadOptions) -> RecordingSessions:
    """Read the recording sessions of labels of sleap-io.

    The name of a camera is that of the view. The name of a session is that in the names of its videos, where they
    follow the rule of names and their views are the cameras; else that of the file, with a number if it has several.

    Args:
        labels: Labels of sleap-io.
        source: Source of the labels; a view that the user gave comes before the cameras of the file.
        options: Options of the reader; so does a pattern that the user gave.
    """
    if source.view is not None or options.rule.given:
        return RecordingSessions()
    places: dict[Any, tuple[str, str]] = {}
    cameras: dict[str | None, CameraGroup] = {}
    notes: list[str] = []
    num_unused = 0
    for number, session in enumerate(labels.sessions):
        videos = {video: str(camera.name) for camera, video in zip(session.cameras, session.videos, strict=True)}
        if not videos or any(camera.name is None for camera in session.cameras):
            num_unused += 1
            continue
        suffix = f"_{number + 1}" if len(labels.sessions) > 1 else ""
        name = _name_of_videos(videos, options) or f"{_stem(source.path)}{suffix}"
        places |= {video: (name, view) for video, view in videos.items()}
        group = _cameras(session)
        if group is None:
            notes.append(f"{source.path}: the cameras of session {name} are not calibrated or have no image size")
        else:
            cameras[name] = group
    if num_unused:
        notes.append(
            f"{source.path}: not used: {counted(num_unused, 'recording session')} without videos or with a camera "
            "without a name"
        )
    return RecordingSessions(places=places, cameras=cameras, notes=tuple(notes))


def video_path(video: Any) -> PurePosixPath:
    """Return the path of a recording as SLEAP wrote it: of the video that embedded images are from, else of itself.

    For a list of images it is their folder.
    """
    original = video
    while original.source_video is not None:
        original = original.source_video
    if isinstance(original.filename, list):
        return as_posix(str(original.filename[0])).parent
    return as_posix(str(original.filename))


def _name_of_videos(videos: Mapping[Any, str], options: ReadOptions) -> str | None:
    """Return the session that all videos have in their names; None if a name's view is not its camera."""
    rule = options.rule.without_frame or options.rule
    found = set()
    for video, view in videos.items():
        path = video_path(video)
        parts = rule.split_path(path if isinstance(video.filename, list) else path.with_suffix(""))
        if parts is None or parts.view != view:
            return None
        found.add(parts.session)
    return found.pop() if len(found) == 1 else None


def _stem(path: Path) -> str:
    """Return the file's name without `.slp` or `.pkg.slp`."""
    return path.name.removesuffix(".slp").removesuffix(".pkg")


def _cameras(session: Any) -> CameraGroup | None:
    """Return the calibrated cameras of a session; None if one has no intrinsics or no image size."""
    cameras = [camera for camera in session.camera_group.cameras if camera.name is not None]
    sizes = [camera.size if camera.size is not None else _video_size(session.get_video(camera)) for camera in cameras]
    calibrated = [not np.array_equal(camera.matrix, np.eye(3)) for camera in cameras]
    names = tuple(str(camera.name) for camera in cameras)
    if not cameras or None in sizes or not all(calibrated) or len(set(names)) != len(names):
        return None
    return CameraGroup(
        names=names,
        sizes=np.array(sizes, dtype=np.float64),
        matrix=np.stack([camera.matrix for camera in cameras]),
        distortion=np.stack([camera.dist for camera in cameras]),
        rotation=np.stack([cv2.Rodrigues(np.asarray(camera.rvec, dtype=np.float64))[0] for camera in cameras]),
        translation=np.stack([camera.tvec for camera in cameras]),
    )


def _video_size(video: Any | None) -> tuple[int, int] | None:
    """Return width and height of a video; None if it is unknown."""
    shape = None if video is None else video.shape
    return None if shape is None else (int(shape[2]), int(shape[1]))
