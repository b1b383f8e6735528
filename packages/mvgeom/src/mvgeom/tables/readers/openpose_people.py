"""OpenPose's keypoints: a folder with one JSON file per frame, `<video>_000000000012_keypoints.json`.

Pose2Sim writes the same as `<video>_000012.json`. Each file has `people`, each with `pose_keypoints_2d`: x, y,
confidence of each keypoint, in px from the center of the top-left pixel; confidence 0 is a keypoint that was not found.
Keypoints of faces and hands in arrays of their own are left out, with a warning. Names of keypoints are those of
OpenPose's models by their number: BODY_25, COCO (18), MPI (15), BODY_135; 17 are COCO's and 26 are Halpe's, as
AlphaPose and RTMPose write them. Other numbers get the names keypoint_0, keypoint_1 and so on. BODY_25B has 25
keypoints in another order, and no file says so.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from mvgeom.errors import InputError
from mvgeom.files import head, list_files
from mvgeom.tables.keypoint_tables import KeypointTable
from mvgeom.tables.readers.people import (
    Person,
    count_keypoints,
    make_table,
    number_frames,
    parse_json,
    refuse_individual,
    sort_frames,
)

__all__ = ["DESCRIPTION", "KEYPOINT_NAMES", "NAME", "load", "matches"]

NAME = "openpose"
DESCRIPTION = "folder of OpenPose's or Pose2Sim's JSON, a file per frame"

_LEGS = ("RHip", "RKnee", "RAnkle", "LHip", "LKnee", "LAnkle")
_ARMS = ("Neck", "RShoulder", "RElbow", "RWrist", "LShoulder", "LElbow", "LWrist")
_FACE = ("REye", "LEye", "REar", "LEar")
_FEET = ("LBigToe", "LSmallToe", "LHeel", "RBigToe", "RSmallToe", "RHeel")
_BODY_25 = ("Nose", *_ARMS, "MidHip", *_LEGS, *_FACE, *_FEET)
_COCO_18 = ("Nose", *_ARMS, *_LEGS, *_FACE)
_MPI_15 = ("Head", *_ARMS, *_LEGS, "Chest")
_PAIRS = ("Eye", "Ear", "Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle")
_COCO_17 = ("Nose", *(f"{side}{part}" for part in _PAIRS for side in "LR"))
_HALPE_26 = (
    *(*_COCO_17, "Head", "Neck", "Hip"),
    *(f"{side}{part}" for part in ("BigToe", "SmallToe", "Heel") for side in "LR"),
)
_BODY_25B = (*_COCO_17, "UpperNeck", "HeadTop", *_FEET)
_THUMB, _FINGER = ("1CMC", "2Knuckles", "3IP", "4FingerTip"), ("1Knuckles", "2PIP", "3DIP", "4FingerTip")
_HANDS = [
    f"{side}{finger}{joint}"
    for side in "LR"
    for finger, joints in (("Thumb", _THUMB), *((name, _FINGER) for name in ("Index", "Middle", "Ring", "Pinky")))
    for joint in joints
]
_BODY_135 = (*_BODY_25B, *_HANDS, *(f"Face{number}" for number in range(70)))

KEYPOINT_NAMES = {len(names): names for names in (_BODY_25, _COCO_18, _MPI_15, _COCO_17, _HALPE_26, _BODY_135)}
"""Names of keypoints by their number."""

_ENDING = "_keypoints"
_OTHER_PARTS = ("face_keypoints_2d", "hand_left_keypoints_2d", "hand_right_keypoints_2d")


def matches(path: Path) -> bool:
    """Return True for a folder of files of frames, or for one such file."""
    if path.is_dir():
        files = _files(path)
        return bool(files) and (files[0].stem.endswith(_ENDING) or matches(files[0]))
    return path.suffix.lower() == ".json" and '"people"' in head(path)


def load(path: Path, individual: str | None = None) -> KeypointTable:
    """Read all frames of a view.

    Frames without people, and numbers without a file between the first and the last, are empty rows. Of several people
    in a frame, the one with the largest sum of confidences is taken.

    Raises:
        InputError: As in `mvgeom.tables.read_keypoints`.
    """
    refuse_individual(path, "OpenPose", individual)
    files = _files(path) if path.is_dir() else [path]
    frames = sort_frames(path, files, _ENDING)
    people = {frame.row: _read_people(frame.path) for frame in frames}
    recordings = {frame.recording for frame in frames}
    if len(recordings) > 1 or not all(row.isdecimal() for row in people):
        found = people
    else:
        found = number_frames(path, {int(row): each for row, each in people.items()})
    count = count_keypoints(path, people.values())
    present = [person.points for each in people.values() for person in each]
    if np.nanmax(np.abs(present)) <= 1:
        raise InputError(
            f"{path}: coordinates are shares of the image, found none above 1, expected px. Run OpenPose with "
            "--keypoint_scale 0.",
            code="out-of-range",
            path=path,
        )
    names = KEYPOINT_NAMES.get(count, tuple(f"keypoint_{number}" for number in range(count)))
    return make_table(path, names, found, recordings.pop() if len(recordings) == 1 else "")


def _files(folder: Path) -> list[Path]:
    """Return the files of frames in a folder: *_keypoints.json, without any all JSON files."""
    return list_files(folder, f"*{_ENDING}.json") or list_files(folder, "*.json")


def _read_people(path: Path) -> list[Person]:
    """Return the people of a frame who have a keypoint."""
    document = parse_json(path)
    people = document.get("people") if isinstance(document, dict) else None
    try:
        if people is None:
            raise TypeError("people")
        poses = [np.array(person["pose_keypoints_2d"], dtype=np.float64).reshape(-1, 3) for person in people]
        others = any(np.any(person.get(part) or 0) for person in people for part in _OTHER_PARTS)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(
            f"{path}: not a frame of OpenPose, expected people, each with pose_keypoints_2d as x, y, confidence of "
            "every keypoint",
            code="bad-field",
            path=path,
        ) from error
    if others:
        warnings.warn(f"{path.parent}: keypoints of faces and hands are left out", stacklevel=4)
    found = []
    for pose in poses:
        missing = ~(pose[:, 2] > 0) | ~np.isfinite(pose).all(axis=-1)
        if not missing.all():
            found.append(Person(np.where(missing[:, None], np.nan, pose[:, :2]), np.where(missing, np.nan, pose[:, 2])))
    return found
