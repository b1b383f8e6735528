"""What configs that we write switch on, by what the ablation says (docs/ablation.md).

An existing config is not touched by it: what it does not name stays off.
"""

from __future__ import annotations

from typing import Any


def recommended(*, in_3d: bool, everywhere: bool, init_epoch: int, final_epoch: int) -> dict[str, dict[str, Any]]:
    """Keys of the sections `training`, `model` and `losses`, for the heatmap loss `mse`.

    Args:
        in_3d: whether there are several views, calibrated in some session at least.
        everywhere: whether they are in every session: a network with epipolar attention predicts nothing else.
        init_epoch: when whole views begin to be hidden; a network has to find the keypoints first.
        final_epoch: when a fifth of them is.
    """
    hidden_views = {"init_epoch": init_epoch, "final_epoch": final_epoch, "final_ratio": 0.0, "view_ratio": 0.2}
    return {
        "training": {"imgaug_3d": in_3d, "labels_from_3d": in_3d, "patch_mask": hidden_views},
        "model": {"epipolar_attention": in_3d and everywhere},
        "losses": {"supervised_reprojection_heatmap_mse": {"log_weight": 0.5}} if in_3d else {},
    }
