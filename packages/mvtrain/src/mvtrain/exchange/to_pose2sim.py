"""Pose2Sim: a project per recording with OpenPose's JSON per frame, calibration, and a .trc of the 3D points.

Pose2Sim is in metres; its worlds have z up, and its .trc files y up.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from mvgeom.files import write_text
from mvtrain.exchange.write_options import METRES, WriteOptions, write_cameras
from mvtrain.predict.saved_predictions import Points3D, PredictedSession

MODEL = "CUSTOM"


def write(session: PredictedSession, folder: Path, options: WriteOptions) -> list[str]:
    """Write `<session>/pose/<view>_<number>_json/*.json`, `<session>/calibration/Calib.toml`, `<session>/Config.toml`
    and `<session>/pose-3d/<session>_0-<last frame>.trc`.

    Folders of views are numbered, because Pose2Sim takes them in the order of their last number.

    Returns:
        What the user should know.

    Raises:
        ValueError: the unit is not known though there are 3D points or cameras, or the frame rate is not known.
    """
    if options.frame_rate is None:
        raise ValueError(
            f"session {session.name!r}: Pose2Sim needs the frame rate; the video is gone, so give it: --fps"
        )
    if options.unit is None and (session.in_3d is not None or options.cameras is not None):
        raise ValueError(
            f"session {session.name!r}: Pose2Sim is in metres; say which unit the calibration is in: --unit "
            f"{', '.join(METRES)}"
        )
    home = folder / session.name
    home.mkdir(parents=True)
    for view in range(len(session.view_names)):
        _write_frames(home / "pose", session, view)
    write_text(home / "Config.toml", tomli_w.dumps(_config(session.keypoint_names, options.frame_rate)))
    scale = METRES[options.unit] if options.unit is not None else 1.0
    cameras = options.cameras
    if cameras is not None:
        cameras = cameras.replace(translation=cameras.translation * scale)
    notes = write_cameras(cameras, home / "calibration" / "Calib.toml", "pose2sim")
    if session.in_3d is not None:
        (home / "pose-3d").mkdir()
        name = f"{session.name}_0-{len(session) - 1}.trc"
        write_text(home / "pose-3d" / name, _trc(name, session, session.in_3d, scale, options))
    return notes


def _write_frames(folder: Path, session: PredictedSession, view: int) -> None:
    """One JSON file per frame; a missing keypoint is 0, 0, 0, as OpenPose writes it."""
    name = session.view_names[view]
    target = folder / f"{name}_{view + 1}_json"
    target.mkdir(parents=True)
    values = np.concatenate([session.points[:, view], session.likelihood[:, view, :, None]], axis=-1)
    found = np.isfinite(values).all(axis=-1, keepdims=True)
    values = np.where(found, values, 0.0).reshape(len(values), -1)
    for frame, (row, present) in enumerate(zip(values.tolist(), found.any(axis=(1, 2)), strict=True)):
        people = [{"person_id": [-1], "pose_keypoints_2d": row}] if present else []
        text = json.dumps({"version": 1.3, "people": people})
        (target / f"{session.name}_{name}_{frame:06d}.json").write_text(text, encoding="utf-8")


def _config(keypoint_names: Sequence[str], frame_rate: float) -> dict[str, Any]:
    """Pose2Sim's config: our keypoints as children of one root, for triangulation asks only for their numbers."""
    children = [{"name": name, "id": number} for number, name in enumerate(keypoint_names)]
    return {
        "project": {"multi_person": False, "frame_rate": frame_rate, "frame_range": "all"},
        "pose": {"pose_model": MODEL, MODEL: {"name": "root", "id": "None", "children": children}},
    }


def _trc(name: str, session: PredictedSession, in_3d: Points3D, scale: float, options: WriteOptions) -> str:
    """A .trc file in metres with y up, the layout that Pose2Sim itself writes."""
    points = in_3d.points * scale
    if options.up == "z":
        points = points[..., [1, 2, 0]]
    rate, num_frames, names = f"{options.frame_rate:g}", len(session), session.keypoint_names
    axes = "\t".join(f"X{number}\tY{number}\tZ{number}" for number in range(1, len(names) + 1))
    lines = [
        f"PathFileType\t4\t(X/Y/Z)\t{name}",
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames",
        "\t".join(map(str, (rate, rate, num_frames, len(names), "m", rate, 0, num_frames))),
        "Frame#\tTime\t" + "\t\t\t".join(names) + "\t\t\t",
        f"\t\t{axes}\t",
    ]
    assert options.frame_rate is not None
    for frame, row in enumerate(points.reshape(num_frames, -1).tolist()):
        cells = ["" if np.isnan(value) else f"{value:.7g}" for value in row]
        lines.append("\t".join([str(frame), f"{frame / options.frame_rate:.7g}", *cells]))
    return "\n".join(lines) + "\n"
