"""A ready-to-use `config.yaml` for a synthetic project."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from mvtrain.config.input_size import suggest_input_size
from mvtrain.config.recommended import recommended
from mvtrain.synth.skeleton import KEYPOINT_NAMES
from mvtrain.synth.spec import SyntheticSpec

_BONES = [
    ["nose", "left_ear"],
    ["nose", "right_ear"],
    ["nose", "withers"],
    ["withers", "spine"],
    ["spine", "tail_base"],
    ["tail_base", "tail_mid"],
    ["tail_mid", "tail_tip"],
    ["withers", "left_elbow"],
    ["left_elbow", "left_front_paw"],
    ["withers", "right_elbow"],
    ["right_elbow", "right_front_paw"],
    ["tail_base", "left_knee"],
    ["left_knee", "left_hind_paw"],
    ["tail_base", "right_knee"],
    ["right_knee", "right_hind_paw"],
]


def write_config(path: Path, spec: SyntheticSpec) -> None:
    """Write the config of a project, with the spec it was generated from as a comment."""
    header = (
        f"# Generated project: {spec.num_views} cameras, {spec.num_frames} labelled frames. "
        "World unit: mm. True 3D keypoints: points_3d.csv.\n"
        f"# {spec}\n"
    )
    body = yaml.safe_dump(_config(spec), sort_keys=False, default_flow_style=None, width=120)
    path.write_text(header + body, encoding="utf-8", newline="\n")


def _config(spec: SyntheticSpec) -> dict[str, Any]:
    width, height = _input_size(spec)
    recipe = recommended(num_frames=spec.num_frames, in_3d=spec.num_views > 1, everywhere=True)
    return {
        "data": {
            "image_resize_dims": {"height": height, "width": width},
            "data_dir": ".",
            "video_dir": "videos",
            "csv_file": [f"CollectedData_{view}.csv" for view in spec.view_names],
            "bbox_file": [f"bboxes_{view}.csv" for view in spec.view_names] if spec.crop else None,
            "view_names": list(spec.view_names),
            "num_keypoints": len(KEYPOINT_NAMES),
            "keypoint_names": list(KEYPOINT_NAMES),
            "skeleton": _BONES,
            "downsample_factor": 2,
        },
        **recipe,
        "eval": {
            "predict_vids_after_training": True,
            "test_videos_directory": "${data.video_dir}",
            "save_vids_after_training": False,
            "colormap": "cool",
            "confidence_thresh_for_vid": 0.9,
        },
    }


def _input_size(spec: SyntheticSpec) -> tuple[int, int]:
    """Width and height of the network's input for the stored images."""
    width, height = spec.frame_size
    if spec.crop:
        width = height = spec.crop_size or min(width, height)
    return suggest_input_size(width, height)
