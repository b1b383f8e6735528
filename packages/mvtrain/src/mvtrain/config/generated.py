"""Writing of the configs of new project folders, with the recommended recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mvgeom.files import file_name, write_text
from mvtrain.config.recommended import recommended

LONGEST = 256
"""Longer side of the network's input in px; smaller images are not enlarged."""

_MULTIPLE = 32


def write_project_config(
    path: Path,
    *,
    comment: str,
    view_names: Sequence[str],
    keypoint_names: Sequence[str],
    skeleton: Sequence[tuple[str, str]],
    num_frames: int | None,
    image_size: tuple[int, int],
    num_sessions: int,
    num_calibrated: int,
    with_boxes: bool,
    with_videos: bool,
    more_data: Mapping[str, Any] | None = None,
    more_model: Mapping[str, Any] | None = None,
    more_eval: Mapping[str, Any] | None = None,
) -> None:
    """Write the `config.yaml` of a project folder, with the recommended recipe.

    Args:
        path: Path of the config, in the project folder.
        comment: Lines at its top, without the `#`.
        view_names: V names of the views.
        keypoint_names: K names of the keypoints.
        skeleton: Pairs of keypoints.
        num_frames: Rows of the label tables, which decide batch size and number of epochs; None where labels are still
            to come: the number of epochs is then decided when a run starts.
        image_size: Usual width and height of the images in px; the network's input gets this shape.
        num_sessions: Sessions of the project.
        num_calibrated: Number of sessions with a calibration, which decides what is on in 3D.
        with_boxes: True if there are tables `bboxes_<view>.csv`.
        with_videos: True if the folder `videos` has any.
        more_data: Further keys of the section `data`.
        more_model: Further keys of the section `model`, before the recipe's.
        more_eval: Further keys of the section `eval`.

    Raises:
        InputError: The file cannot be written.
    """
    width, height = suggest_input_size(*image_size)
    data: dict[str, Any] = {
        "image_resize_dims": {"height": height, "width": width},
        "data_dir": ".",
        "csv_file": [file_name(f"CollectedData_{view}.csv") for view in view_names],
        "view_names": list(view_names),
        "num_keypoints": len(keypoint_names),
        "keypoint_names": list(keypoint_names),
    }
    data |= {"bbox_file": [file_name(f"bboxes_{view}.csv") for view in view_names]} if with_boxes else {}
    data |= {"skeleton": [list(pair) for pair in skeleton]} if skeleton else {}
    data |= {"video_dir": "videos"} if with_videos else {}
    recipe = recommended(
        num_frames=num_frames,
        in_3d=num_calibrated > 0 and len(view_names) > 1,
        everywhere=num_calibrated == num_sessions,
    )
    recipe["model"] |= more_model or {}
    after: dict[str, Any] = {"predict_vids_after_training": with_videos}
    after |= {"test_videos_directory": "${data.video_dir}"} if with_videos else {}
    document = {"data": {**data, **(more_data or {})}, **recipe, "eval": {**after, **(more_eval or {})}}
    body = yaml.safe_dump(document, sort_keys=False, default_flow_style=None, width=120, allow_unicode=True)
    write_text(path, "".join(f"# {line}\n" for line in comment.splitlines()) + body)


def suggest_input_size(width: int, height: int) -> tuple[int, int]:
    """Return width and height of the network's input for images of a size: the same shape, in multiples of 32 px."""
    scale = min(1.0, LONGEST / max(width, height))
    return (
        max(_MULTIPLE, _MULTIPLE * round(width * scale / _MULTIPLE)),
        max(_MULTIPLE, _MULTIPLE * round(height * scale / _MULTIPLE)),
    )
