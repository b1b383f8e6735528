"""Sources of `mvtrain import` made from rows of image paths and points, one maker for each format."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import tomli_w

from mvtrain.project.names import as_posix

KEYPOINTS = ("nose", "tail")
Row = tuple[str, np.ndarray]
"""Path of an image as the foreign project has it, and its (2, 2) points, NaN where missing."""


def row(path: str, offset: float = 0.0) -> Row:
    """Return a row with two labels."""
    return path, np.array([[3.0, 4.0], [7.0, 8.0]]) + offset


def write_image(path: Path, value: int, size: tuple[int, int] = (16, 12)) -> Path:
    """Write an image of one gray value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((size[1], size[0], 3), value, np.uint8))
    return path


def write_deeplabcut(folder: Path, rows: Sequence[Row]) -> Path:
    """Write one table of all rows, as DeepLabCut does with pandas."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = pd.MultiIndex.from_product([["me"], KEYPOINTS, ["x", "y"]], names=["scorer", "bodyparts", "coords"])
    values = np.array([points.ravel() for _, points in rows])
    path = folder / "CollectedData_me.csv"
    pd.DataFrame(values, index=[path for path, _ in rows], columns=columns).to_csv(path)
    return path


def write_anipose(folder: Path, rows: Sequence[Row]) -> Path:
    """Write an anipose project, whose labels are a table of DeepLabCut in the folder of the labels."""
    write_deeplabcut(folder, rows)
    project = folder / "anipose"
    project.mkdir()
    document = {"model_folder": str(folder), "triangulation": {"cam_regex": "_([a-z]+)$"}}
    (project / "config.toml").write_text(tomli_w.dumps(document))
    return project


def write_sleap(folder: Path, rows: Sequence[Row]) -> Path:
    """Write an `.slp` file of images, with an instance for each row."""
    import sleap_io

    folder.mkdir(parents=True, exist_ok=True)
    skeleton = sleap_io.Skeleton(list(KEYPOINTS))
    frames = {}
    for path, points in rows:
        if path not in frames:
            metadata = {"type": "ImageVideo", "shape": [1, 12, 16, 3], "filename": path, "filenames": [path]}
            video = sleap_io.Video(filename=[path], backend_metadata=metadata, open_backend=False)
            frames[path] = sleap_io.LabeledFrame(video=video, frame_idx=0, instances=[])
        frames[path].instances.append(sleap_io.Instance.from_numpy(points, skeleton=skeleton))
    labels = sleap_io.Labels(list(frames.values()), skeletons=[skeleton])
    sleap_io.save_slp(labels, str(folder / "labels.slp"), verbose=False)
    return folder / "labels.slp"


def write_coco(folder: Path, rows: Sequence[Row], **more: Any) -> Path:
    """Write an annotation file, with an annotation for each row."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = list(dict.fromkeys(path for path, _ in rows))
    annotations = []
    for number, (path, points) in enumerate(rows):
        located = np.isfinite(points).all(axis=1)
        values = np.column_stack([np.nan_to_num(points), np.where(located, 2, 0)])
        annotations.append(
            {"id": number, "image_id": paths.index(path), "category_id": 1, "keypoints": values.ravel().tolist()}
        )
    document = {
        "images": [{"id": number, "file_name": path} for number, path in enumerate(paths)],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "mouse", "keypoints": list(KEYPOINTS)}],
        **more,
    }
    (folder / "annotations.json").write_text(json.dumps(document))
    return folder / "annotations.json"


def write_mmpose(folder: Path, rows: Sequence[Row]) -> Path:
    """Write a JSON file for each image in a folder for each of theirs, as MMPose does with folders of images."""
    for path, people in _people(rows).items():
        target = _folder_of(folder, path)
        found = [{"keypoints": points.tolist(), "keypoint_scores": [0.9] * len(points)} for points in people]
        (target / f"{as_posix(path).stem}.json").write_text(json.dumps(found))
    return folder


def write_openpose(folder: Path, rows: Sequence[Row]) -> Path:
    """Write a JSON file for each image in a folder for each of theirs, as OpenPose does with folders of images."""
    for path, people in _people(rows).items():
        target = _folder_of(folder, path)
        found = [{"pose_keypoints_2d": [value for x, y in points for value in (x, y, 0.9)]} for points in people]
        (target / f"{as_posix(path).stem}_keypoints.json").write_text(json.dumps({"version": 1.3, "people": found}))
    return folder


def _people(rows: Sequence[Row]) -> dict[str, list[np.ndarray]]:
    """Return the people of each image; without keypoints there is nobody."""
    people: dict[str, list[np.ndarray]] = {}
    for path, points in rows:
        people.setdefault(path, []).extend([points] if np.isfinite(points).any() else [])
    return people


def _folder_of(folder: Path, path: str) -> Path:
    found = folder / as_posix(path).parent.name
    found.mkdir(parents=True, exist_ok=True)
    return found


MAKERS: dict[str, Callable[[Path, Sequence[Row]], Path]] = {
    "anipose": write_anipose,
    "coco": write_coco,
    "deeplabcut": write_deeplabcut,
    "mmpose": write_mmpose,
    "openpose": write_openpose,
    "sleap": write_sleap,
}
"""Makers of a source by format; each returns the path that a user gives."""
