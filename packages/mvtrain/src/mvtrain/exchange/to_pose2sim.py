"""Writer of Pose2Sim projects: OpenPose's JSON per frame, calibration, and a .trc of the 3D points per recording.

Pose2Sim uses meters; its world has z up, its .trc files have y up.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from mvgeom.errors import InputError
from mvgeom.files import file_name, write_text
from mvgeom.formats import METERS_PER_UNIT
from mvtrain.exchange.write_options import WriteOptions, write_cameras
from mvtrain.predict.saved_predictions import Points3D, PredictedSession

MODEL = "CUSTOM"


def write(session: PredictedSession, folder: Path, options: WriteOptions) -> list[str]:
    """Write `<session>/pose/<view>_<number>_json/*.json`, `<session>/calibration/Calib.toml`, `<session>/Config.toml`
    and `<session>/pose-3d/<session>_0-<last frame>.trc`.

    Folders of views are numbered, because Pose2Sim sorts them by the last number in their names.

    Returns:
        Notes for the user.

    Raises:
        InputError: `missing-option` if the frame rate is unknown, or the unit of 3D points or cameras.
    """
    if options.frame_rate is None:
        raise InputError(
            f"session {session.name!r}: the frame rate is unknown, because the videos are gone. Give it with --fps",
            code="missing-option",
            option="--fps",
            session=session.name,
        )
    if options.unit is None and (session.in_3d is not None or options.cameras is not None):
        raise InputError(
            f"session {session.name!r}: the unit of the calibration is unknown, and Pose2Sim uses meters. Give it with "
            f"--unit, one of {', '.join(METERS_PER_UNIT)}",
            code="missing-option",
            option="--unit",
            session=session.name,
        )
    home = folder / file_name(session.name)
    home.mkdir(parents=True)
    for view in range(len(session.view_names)):
        _write_frames(home / "pose", session, view)
    write_text(home / "Config.toml", tomli_w.dumps(_config(session.keypoint_names, options.frame_rate)))
    scale = METERS_PER_UNIT[options.unit] if options.unit is not None else 1.0
    cameras = options.cameras
    if cameras is not None:
        cameras = cameras.replace(translation=cameras.translation * scale)
    notes = write_cameras(cameras, home / "calibration" / "Calib.toml", "pose2sim")
    if session.in_3d is not None:
        (home / "pose-3d").mkdir()
        name = file_name(f"{session.name}_0-{len(session) - 1}.trc")
        write_text(home / "pose-3d" / name, _trc(name, session, session.in_3d, scale, options))
        changed = [each for each in session.keypoint_names if _marker(each) != each]
        if changed:
            notes.append(f"tabs and line ends in names of keypoints are _ in the .trc: {', '.join(map(repr, changed))}")
    return notes


def _write_frames(folder: Path, session: PredictedSession, view: int) -> None:
    """Write one JSON file per frame; a missing keypoint is 0, 0, 0, as in OpenPose's files."""
    name = session.view_names[view]
    target = folder / file_name(f"{name}_{view + 1}_json")
    target.mkdir(parents=True)
    values = np.concatenate([session.points[:, view], session.likelihood[:, view, :, None]], axis=-1)
    found = np.isfinite(values).all(axis=-1, keepdims=True)
    values = np.where(found, values, 0.0).reshape(len(values), -1)
    for frame, (row, present) in enumerate(zip(values.tolist(), found.any(axis=(1, 2)), strict=True)):
        people = [{"person_id": [-1], "pose_keypoints_2d": row}] if present else []
        text = json.dumps({"version": 1.3, "people": people})
        (target / file_name(f"{session.name}_{name}_{frame:06d}.json")).write_text(text, encoding="utf-8")


def _config(keypoint_names: Sequence[str], frame_rate: float) -> dict[str, Any]:
    """Make Pose2Sim's config: the keypoints are children of one root, because triangulation needs only their ids."""
    children = [{"name": name, "id": number} for number, name in enumerate(keypoint_names)]
    return {
        "project": {"multi_person": False, "frame_rate": frame_rate, "frame_range": "all"},
        "pose": {"pose_model": MODEL, MODEL: {"name": "root", "id": "None", "children": children}},
    }


def _trc(name: str, session: PredictedSession, in_3d: Points3D, scale: float, options: WriteOptions) -> str:
    """Make a .trc file in meters with y up, in the layout of Pose2Sim's own files."""
    points = in_3d.points * scale
    if options.up == "z":
        points = points[..., [1, 2, 0]]
    rate, num_frames, names = f"{options.frame_rate:.10g}", len(session), session.keypoint_names
    axes = "\t".join(f"X{number}\tY{number}\tZ{number}" for number in range(1, len(names) + 1))
    lines = [
        f"PathFileType\t4\t(X/Y/Z)\t{name}",
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames",
        "\t".join(map(str, (rate, rate, num_frames, len(names), "m", rate, 0, num_frames))),
        "Frame#\tTime\t" + "\t\t\t".join(map(_marker, names)) + "\t\t\t",
        f"\t\t{axes}\t",
    ]
    assert options.frame_rate is not None
    for frame, row in enumerate(points.reshape(num_frames, -1).tolist()):
        cells = ["" if np.isnan(value) else f"{value:.10g}" for value in row]
        # Programs compute velocities from the times, so those of long recordings need the digits, too.
        lines.append("\t".join([str(frame), f"{frame / options.frame_rate:.10g}", *cells]))
    return "\n".join(lines) + "\n"


def _marker(keypoint: str) -> str:
    """Return the name of a keypoint as a cell of a .trc, whose cells end at tabs and whose rows at line ends."""
    return re.sub(r"[\t\r\n\v\f\x1c-\x1e\x85\u2028\u2029]", "_", keypoint)
