"""The `config.yaml` of an imported project: what `mvtrain fit` needs to run on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from mvgeom.files import write_text
from mvtrain.config.input_size import suggest_input_size
from mvtrain.config.recommended import recommended


def write_config(
    path: Path,
    *,
    origin: str,
    view_names: Sequence[str],
    keypoint_names: Sequence[str],
    skeleton: Sequence[tuple[str, str]],
    num_moments: int,
    image_sizes: Sequence[tuple[int, int]],
    with_boxes: bool,
    num_sessions: int,
    num_calibrated: int,
    with_videos: bool,
) -> None:
    """Write a config with the recommended recipe.

    Args:
        path: of the config, in the project folder.
        origin: what was imported, for a comment.
        view_names: V names.
        keypoint_names: K names.
        skeleton: pairs of keypoints.
        num_moments: rows of the label tables, which decide batch and length of the training.
        image_sizes: width and height of images; the network's input gets their usual shape.
        with_boxes: whether there are tables of boxes.
        num_sessions: sessions of the project.
        num_calibrated: how many of them have a calibration, which decides what is switched on in 3D.
        with_videos: whether the folder `videos` has any.
    """
    width, height = _input_size(image_sizes)
    data: dict[str, Any] = {
        "image_resize_dims": {"height": height, "width": width},
        "data_dir": ".",
        "csv_file": [f"CollectedData_{view}.csv" for view in view_names],
        "view_names": list(view_names),
        "num_keypoints": len(keypoint_names),
        "keypoint_names": list(keypoint_names),
    }
    data |= {"bbox_file": [f"bboxes_{view}.csv" for view in view_names]} if with_boxes else {}
    data |= {"skeleton": [list(pair) for pair in skeleton]} if skeleton else {}
    data |= {"video_dir": "videos"} if with_videos else {}
    recipe = recommended(
        num_frames=num_moments,
        in_3d=num_calibrated > 0 and len(view_names) > 1,
        everywhere=num_calibrated == num_sessions,
    )
    document: dict[str, Any] = {"data": data, **recipe}
    document["eval"] = {"predict_vids_after_training": with_videos}
    document["eval"] |= {"test_videos_directory": "${data.video_dir}"} if with_videos else {}
    body = yaml.safe_dump(document, sort_keys=False, default_flow_style=None, width=120, allow_unicode=True)
    write_text(path, f"# Imported by mvtrain import from {origin}\n{body}")


def _input_size(image_sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Width and height of the network's input for images of the middle shape."""
    return suggest_input_size(*sorted(image_sizes, key=lambda size: size[0] / size[1])[len(image_sizes) // 2])
