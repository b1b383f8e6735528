"""Files of keypoints of one view in every format that mvgeom reads, all with the same content.

HDF5 tables are written by pandas, as DeepLabCut does; SLEAP's analysis files by sleap-io. MMPose's and OpenPose's JSON
is written by hand, from MMPose's `split_instances` and OpenPose's page of its output.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

NAMES = tuple(f"keypoint_{number}" for number in range(4))

Write = Callable[[Path, np.ndarray, np.ndarray], Path]


def frame_table(points: np.ndarray, likelihood: np.ndarray, names: tuple[str, ...] = NAMES) -> pd.DataFrame:
    """The table that DeepLabCut and Lightning Pose write for a video."""
    columns = pd.MultiIndex.from_product(
        [["net"], names, ["x", "y", "likelihood"]], names=["scorer", "bodyparts", "coords"]
    )
    values = np.concatenate([points, likelihood[..., None]], axis=-1)
    return pd.DataFrame(values.reshape(len(points), -1), columns=columns)


def write_csv(path: Path, points: np.ndarray, likelihood: np.ndarray) -> Path:
    frame_table(points, likelihood).to_csv(path.with_suffix(".csv"))
    return path.with_suffix(".csv")


def write_excel_csv(path: Path, points: np.ndarray, likelihood: np.ndarray) -> Path:
    """The same table, saved as CSV by a spreadsheet in a country with decimal commas."""
    frame_table(points, likelihood).to_csv(path.with_suffix(".csv"), sep=";", decimal=",", encoding="utf-8-sig")
    return path.with_suffix(".csv")


def write_deeplabcut_h5(path: Path, points: np.ndarray, likelihood: np.ndarray) -> Path:
    pytest.importorskip("tables")
    frame_table(points, likelihood).to_hdf(path.with_suffix(".h5"), key="df_with_missing", format="table", mode="w")
    return path.with_suffix(".h5")


def write_sleap(path: Path, points: np.ndarray, likelihood: np.ndarray, **options: Any) -> Path:
    sio = pytest.importorskip("sleap_io")
    skeleton = sio.Skeleton(list(NAMES))
    video = sio.Video(filename=f"{path.stem}.mp4", open_backend=False)
    frames = [
        sio.LabeledFrame(
            video=video,
            frame_idx=number,
            instances=[
                sio.PredictedInstance.from_numpy(
                    points[number], skeleton=skeleton, point_scores=likelihood[number], score=1.0
                )
            ],
        )
        for number in range(len(points))
        if np.isfinite(points[number]).any()
    ]
    labels = sio.Labels(videos=[video], skeletons=[skeleton], labeled_frames=frames)
    target = path.parent / f"{path.name}.analysis.h5"
    sio.save_analysis_h5(labels, str(target), **options)
    return target


def _mmpose_people(points: np.ndarray, likelihood: np.ndarray) -> list[dict[str, Any]]:
    if not np.isfinite(points).all():
        return []
    box = [[*points.min(0).tolist(), *points.max(0).tolist()]]
    return [{"keypoints": points.tolist(), "keypoint_scores": likelihood.tolist(), "bbox": box, "bbox_score": 0.9}]


def write_mmpose_video(path: Path, points: np.ndarray, likelihood: np.ndarray) -> Path:
    """Write the files of `MMPoseInferencer(video, pred_out_dir=...)`."""
    frames = [
        {"frame_id": number, "instances": _mmpose_people(points[number], likelihood[number])}
        for number in range(len(points))
    ]
    path.with_suffix(".json").write_text(json.dumps(frames, indent="  "))
    return path.with_suffix(".json")


def write_mmpose_images(path: Path, points: np.ndarray, likelihood: np.ndarray) -> Path:
    """Write the files of `MMPoseInferencer(folder of images, pred_out_dir=...)`."""
    path.mkdir()
    for number in range(len(points)):
        people = _mmpose_people(points[number], likelihood[number])
        (path / f"img{number:04d}.json").write_text(json.dumps(people, indent="  "))
    return path


def openpose_person(points: np.ndarray, likelihood: np.ndarray) -> dict[str, Any]:
    """A person of OpenPose; keypoints that were not found are 0, 0, 0."""
    pose = np.nan_to_num(np.concatenate([points, likelihood[:, None]], axis=-1))
    empty: dict[str, Any] = {
        name: []
        for name in (
            "face_keypoints_2d",
            "hand_left_keypoints_2d",
            "hand_right_keypoints_2d",
            "pose_keypoints_3d",
        )
    }
    return {"person_id": [-1], "pose_keypoints_2d": pose.ravel().tolist(), **empty}


def write_openpose(path: Path, points: np.ndarray, likelihood: np.ndarray) -> Path:
    """Write the files of `openpose --video ... --write_json`."""
    path.mkdir()
    for number in range(len(points)):
        seen = np.isfinite(points[number]).any()
        people = [openpose_person(points[number], likelihood[number])] if seen else []
        document = {"version": 1.3, "people": people}
        (path / f"{path.name}_{number:012d}_keypoints.json").write_text(json.dumps(document))
    return path


WRITERS: dict[str, tuple[str, Write]] = {
    "csv": ("csv", write_csv),
    "csv of a spreadsheet": ("csv", write_excel_csv),
    "deeplabcut_h5": ("deeplabcut_h5", write_deeplabcut_h5),
    "sleap_analysis": ("sleap_analysis", write_sleap),
    "mmpose video": ("mmpose", write_mmpose_video),
    "mmpose images": ("mmpose", write_mmpose_images),
    "openpose": ("openpose", write_openpose),
}
"""Name of the reader and the writer, by kind of file."""
