"""Augmentation of a config, with errors that name the config's keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mvaug import Augmentation
from mvgeom.errors import InputError
from mvtrain.config.training_section import TrainingConfig


def make_augmentation(
    training: TrainingConfig, imgaug_3d: bool | Mapping[str, Any], keypoint_names: Sequence[str]
) -> Augmentation:
    """Parse the augmentation of training samples.

    Args:
        training: Section of the config.
        imgaug_3d: 3D augmentation that the project gets.
        keypoint_names: Keypoint names of the project.

    Raises:
        InputError: A value of `training.imgaug` or `training.imgaug_3d` is not valid, or a flip cannot tell left from
            right; its `key` is the config's key.
    """
    try:
        return Augmentation.from_config(
            training.imgaug, imgaug_3d, keypoint_names=keypoint_names, hflip=training.imgaug_hflip
        )
    except InputError as error:
        if error.facts.get("argument") == "keypoint_names":
            key = "training.imgaug_hflip" if training.imgaug_hflip else "training.imgaug"
            raise error.prefixed(f"{key}: ", key=key) from error
        raise with_config_key(error) from error


def with_config_key(error: InputError) -> InputError:
    """Return an error of mvaug with the key of the config before its message; errors of other arguments as they are."""
    argument = error.facts.get("argument", "")
    if not argument.startswith("imgaug"):
        return error
    return error.prefixed("training.", key=f"training.{argument}")
