"""MMPose's predictions in JSON: a file per video, or a folder with a file per image.

`MMPoseInferencer(pred_out_dir=...)` writes a list of frames, each with `frame_id` (from 0) and `instances`, for a
video, and a list of instances for an image. The demo scripts write both as `instance_info` beside `meta_info` and count
`frame_id` from 1; here all count from 0. An instance has `keypoints` (x, y in px from the center of the top-left pixel)
and `keypoint_scores`. Names of keypoints are those of `meta_info`; without it they are keypoint_0, keypoint_1 and so
on, because the number of keypoints does not tell the skeleton.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

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

__all__ = ["DESCRIPTION", "NAME", "lists_frames", "load", "matches"]

NAME = "mmpose"
DESCRIPTION = "MMPose's predictions, a JSON file per video or a folder of them per image"

_MARKS = ('"keypoint_scores"', '"instances"', '"instance_info"', '"meta_info"')


def matches(path: Path) -> bool:
    """Return True for a JSON file with instances, or a folder that has one."""
    if path.is_dir():
        return any(matches(file) for file in list_files(path, "*.json")[:_TRIED])
    if path.suffix.lower() != ".json":
        return False
    start = head(path, 65536)
    return any(mark in start for mark in _MARKS)


_TRIED = 50
"""Files of a folder to look at; those of images without people are empty lists."""


def lists_frames(path: Path) -> bool:
    """Return True for a JSON file of the frames of a video, False for that of one image."""
    return '"frame_id"' in head(path, 1 << 18)  # behind `meta_info`


def load(path: Path, individual: str | None = None) -> KeypointTable:
    """Read all frames of a view.

    Frames of a video are numbered from 0. Frames without people are empty rows. Of several people in a frame, the one
    with the largest sum of scores is taken.

    Raises:
        InputError: As in `mvgeom.tables.read_keypoints`.
    """
    refuse_individual(path, "MMPose", individual)
    files = list_files(path, "*.json") if path.is_dir() else [path]
    documents = {file: parse_json(file) for file in files}
    videos = [file for file, document in documents.items() if _is_video(document)]
    if videos and len(files) > 1:
        raise InputError(
            f"{path}: found the predictions of several videos, {', '.join(file.name for file in files[:3])}, expected "
            f"one view. Give its file, such as {videos[0]}.",
            code="duplicate-name",
            path=path,
            name=videos[0].name,
        )
    try:
        if videos:
            people = {
                int(entry["frame_id"]): [_person(each) for each in entry["instances"]]
                for entry in _instances(documents[videos[0]])
            }
            # The demo scripts count from 1, and write every frame.
            first = int(isinstance(documents[videos[0]], dict) and min(people) > 0)
            frames = number_frames(path, {number - first: each for number, each in people.items()})
            recording = videos[0].stem.removeprefix("results_")
        else:
            frames = {
                frame.row: [_person(each) for each in _instances(documents[frame.path])]
                for frame in sort_frames(path, files)
            }
            recording = ""
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path}: not predictions of MMPose, expected instances with keypoints and keypoint_scores",
            code="bad-field",
            path=path,
        ) from error
    count = count_keypoints(path, frames.values())
    return make_table(path, _names(documents[(videos or files)[0]], count), frames, recording)


def _is_video(document: Any) -> bool:
    instances = _instances(document)
    return bool(instances) and isinstance(instances[0], dict) and "frame_id" in instances[0]


def _instances(document: Any) -> list[Any]:
    found = document.get("instance_info") if isinstance(document, dict) else document
    return found if isinstance(found, list) else []


def _person(instance: dict[str, Any]) -> Person:
    points = np.array(instance["keypoints"], dtype=np.float64)
    scores = np.array(instance["keypoint_scores"], dtype=np.float64)
    if points.shape != (len(scores), 2):
        raise ValueError("keypoints")
    return Person(points, scores)


def _names(document: Any, count: int) -> tuple[str, ...]:
    meta = document.get("meta_info", {}) if isinstance(document, dict) else {}
    named = meta.get("keypoint_id2name", {}) if isinstance(meta, dict) else {}
    names = tuple(str(named.get(str(number), f"keypoint_{number}")) for number in range(count))
    return names if len(set(names)) == count else tuple(f"keypoint_{number}" for number in range(count))
