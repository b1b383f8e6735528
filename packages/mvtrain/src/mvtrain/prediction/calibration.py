"""Which calibration belongs to a recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mvgeom import CameraGroup
from mvtrain.data.calibrations import load_cameras
from mvtrain.data.frame_sizes import fits_calibration
from mvtrain.prediction.inputs import Session
from mvtrain.prediction.video import Video


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """The cameras of a recording.

    Attributes:
        path: where they are from.
        cameras: in the order of the run's views.
    """

    path: Path
    cameras: CameraGroup


def find_calibration(session: Session, given: Path | None, data_dir: Path | None) -> Path | None:
    """The calibration of a session, None where there is none.

    Without one that was given: `calibrations/<session>.toml` or `calibration.toml` beside the videos or in the folder
    above them (the project they belong to), else in the project the run was trained on.

    Args:
        session: the recording.
        given: a file for all sessions, or a folder with `<session>.toml` or `calibration.toml`.
        data_dir: project of the run.

    Raises:
        ValueError: the given path does not exist, or is a folder without a calibration of this session.
    """
    if given is not None:
        return _in_given(session, given)
    videos = session.videos[0].parent
    for project in (videos, videos.resolve().parent, data_dir):
        if project is not None:
            for path in (project / "calibrations" / f"{session.name}.toml", project / "calibration.toml"):
                if path.is_file():
                    return path
    return None


def load_calibration(path: Path, view_names: Sequence[str]) -> Calibration:
    """Read the cameras of the run's views.

    Raises:
        ValueError: the file cannot be read or lacks a view; the message names both lists.
    """
    (cameras,) = load_cameras([path], view_names)
    assert cameras is not None
    return Calibration(path=path, cameras=cameras)


def size_warnings(calibration: Calibration, videos: Sequence[Video]) -> list[str]:
    """Sentences about videos whose frames do not have the size that their calibration speaks of."""
    warnings = []
    for name, video, calibrated in zip(
        calibration.cameras.names, videos, np.asarray(calibration.cameras.sizes), strict=True
    ):
        if (calibrated > 0).all() and not fits_calibration(np.array(video.size), calibrated):
            found = "x".join(map(str, video.size))
            expected = "x".join(f"{length:g}" for length in calibrated)
            warnings.append(
                f"{video.path} is {found} px, but camera {name} of {calibration.path} {expected} px: 3D will be wrong "
                "if the video was resized or cropped"
            )
    return warnings


def _in_given(session: Session, given: Path) -> Path:
    if given.is_file():
        return given
    if not given.is_dir():
        raise ValueError(f"calibration {given} does not exist")
    for path in (given / f"{session.name}.toml", given / "calibration.toml"):
        if path.is_file():
            return path
    raise ValueError(
        f"the calibration folder {given} has neither {session.name}.toml nor calibration.toml, for session "
        f"{session.name!r}"
    )
