"""What a config asks for in 3D, and whether a project has the cameras for it."""

from __future__ import annotations

from mvtrain.config import LOSS_NAMES, Config
from mvtrain.data.project import Project


def keys_in_3d(config: Config) -> list[str]:
    """Keys of the config that need calibrated cameras."""
    keys = [f"losses.{name}" for name in config.losses if LOSS_NAMES[name]]
    training = config.training
    for key, wanted in (("imgaug_3d", training.imgaug_3d is not False), ("labels_from_3d", training.labels_from_3d)):
        if wanted:
            keys.append(f"training.{key}")
    if config.model.epipolar_attention:
        keys.append("model.epipolar_attention")
    return keys


def check_calibration(config: Config, project: Project) -> None:
    """Whether what the config asks for in 3D can be had.

    Raises:
        ValueError: a 3D loss or 3D augmentation is on and no session has a calibration, or there is only one view.
    """
    wanted = keys_in_3d(config)
    if not wanted:
        return
    if len(project.view_names) < 2:
        raise ValueError(f"{', '.join(wanted)} need at least two views, the project has only {project.view_names[0]!r}")
    if all(cameras is None for cameras in project.cameras):
        raise ValueError(
            f"{', '.join(wanted)} need calibrated cameras, but {project.root} has neither calibration.toml nor "
            "calibrations/<session>.toml; add one, or take these keys out of the config"
        )


def uses_labels_from_3d(config: Config, project: Project) -> bool:
    """Return True if views learn the projection of labels that they lack; unless the config says, where cameras are."""
    wanted = config.training.labels_from_3d
    if wanted is not None:
        return wanted
    return len(project.view_names) > 1 and any(cameras is not None for cameras in project.cameras)
