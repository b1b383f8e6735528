"""Checkpoints: the weights of a network, and the spec from which it is built again."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import safetensors.torch
import torch
from torch import Tensor

from mvgeom import CameraGroup
from mvgeom.errors import InputError
from mvgeom.files import composed
from mvgeom.wording import counted
from mvtrain.config import Config
from mvtrain.model.backbone import build_backbone, input_normalization
from mvtrain.model.multiview import Attention, MultiviewTransformer
from mvtrain.runtime.checksums import read_checksummed, write_checksummed


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Description of a network beside its weights.

    Attributes:
        backbone: Name of the transformer.
        backbone_args: Further arguments of its architecture.
        attention: `joint` over all views, or `per_view`.
        view_names: View names, in the order of the model's input.
        keypoint_names: Keypoint names, in the order of its output.
        image_size: Width and height of its input in model px.
        downsample_factor: Heatmap px are 2 to this power model px wide.
        mean: Mean of the input's channels, for values in [0, 1].
        std: Standard deviation of the input's channels, for values in [0, 1].
        subject_size: Median size of the subject in world units, of one keypoint that of its motion; None without 3D.
        epipolar_attention: True if attention between views keeps to epipolar lines, and so needs cameras.
        fuse_views: True if predictions are fused over the views where there are cameras.
        covariance_head: True if the network states the covariances of its keypoints.
    """

    backbone: str
    backbone_args: dict[str, Any]
    attention: Attention
    view_names: tuple[str, ...]
    keypoint_names: tuple[str, ...]
    image_size: tuple[int, int]
    downsample_factor: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    subject_size: float | None
    epipolar_attention: bool = False
    fuse_views: bool = False
    covariance_head: bool = False

    @property
    def heatmap_size(self) -> tuple[int, int]:
        """Return height and width of heatmaps in heatmap px."""
        width, height = self.image_size
        return height // 2**self.downsample_factor, width // 2**self.downsample_factor

    def cameras_needed(self, cameras: CameraGroup) -> CameraGroup | None:
        """Return the cameras if predictions use them, else None, so that batches need no copies."""
        return cameras if self.epipolar_attention or self.fuse_views else None

    def check_needs_no_cameras(self, what: str) -> None:
        """Check that the network can predict images without cameras.

        Args:
            what: First words of the message, such as "the videos of session1".

        Raises:
            InputError: `no-calibration` if the network attends along epipolar lines.
        """
        if self.epipolar_attention:
            raise InputError(
                f"{what} have no calibration, and this network, trained with model.epipolar_attention, needs one. Give "
                "a calibration, or take a network that was trained without it.",
                code="no-calibration",
                key="model.epipolar_attention",
            )


def build_model(spec: ModelSpec, *, pretrained: bool = False, weights: Path | None = None) -> MultiviewTransformer:
    """Build the network that a spec describes, its backbone with the weights asked for, the rest random.

    Args:
        spec: Description of the network.
        pretrained: Take timm's weights for the backbone.
        weights: File with weights of the backbone.

    Raises:
        InputError: See `build_backbone`.
    """
    backbone = build_backbone(spec.backbone, pretrained=pretrained, weights=weights, arguments=spec.backbone_args)
    return MultiviewTransformer(
        backbone,
        num_views=len(spec.view_names),
        num_keypoints=len(spec.keypoint_names),
        downsample_factor=spec.downsample_factor,
        attention=spec.attention,
        covariance_head=spec.covariance_head,
    )


def make_spec(
    config: Config, *, view_names: tuple[str, ...], keypoint_names: tuple[str, ...], subject_size: float | None
) -> ModelSpec:
    """Make the spec of the network that a config asks for."""
    size = config.data.image_resize_dims
    normalization = input_normalization(config.model.backbone)
    return ModelSpec(
        backbone=config.model.backbone,
        backbone_args=dict(config.model.backbone_args),
        attention=config.model.attention or "joint",
        view_names=view_names,
        keypoint_names=keypoint_names,
        image_size=(size.width, size.height),
        downsample_factor=config.data.downsample_factor,
        mean=normalization[0],
        std=normalization[1],
        subject_size=subject_size,
        epipolar_attention=config.model.epipolar_attention,
        fuse_views=config.model.fuse_views,
        covariance_head=config.model.covariance_head,
    )


def save_checkpoint(folder: Path, weights: Mapping[str, Tensor], spec: ModelSpec, state: dict[str, Any]) -> None:
    """Write a checkpoint; an older one in the folder is replaced.

    Args:
        folder: Folder of the checkpoint.
        weights: State dict of the network.
        spec: Description of the network.
        state: Plain facts for the reader, such as epoch and validation error.

    Raises:
        InputError: The folder cannot be written, or the disk is full; an older checkpoint is then still whole.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    facts = {"spec": _plain(dataclasses.asdict(spec)), "state": state}
    write_checksummed(
        folder, "model", ".safetensors", lambda path: path.write_bytes(safetensors.torch.save(tensors)), facts
    )


_MAX_SIDE = 2**14
"""Sides of a network's input at most, in model px."""


def load_checkpoint(folder: Path) -> tuple[MultiviewTransformer, ModelSpec]:
    """Read the network of a checkpoint folder, on the CPU.

    Raises:
        InputError: No checkpoint there; `damaged-file`; `unsupported-file` for weights that do not fit the spec.
    """
    document, weights = read_checksummed(folder, "model", "checkpoint")
    spec = _read_spec(document, folder / "model.yaml")
    # Without memory for the weights: a wrong model.yaml can ask for any. And the caller's random numbers stay.
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in build_model(spec).state_dict().items()}
    try:
        with safetensors.safe_open(weights, framework="pt") as file:
            found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - no dict
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise InputError(
            f"{weights}: not the weights that model.yaml describes: {error}", code="damaged-file", path=weights
        ) from error
    others = sorted(name for name in shapes.keys() | found.keys() if shapes.get(name) != found.get(name))
    if others:
        named = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
        raise InputError(
            f"{weights}: not the weights that model.yaml describes: found "
            f"{counted(len(others), 'parameter')} missing, unknown or of another shape ({named}). If another version "
            "of mvtrain wrote it, use that version, or train again.",
            code="unsupported-file",
            path=weights,
            parameters=others,
        )
    with torch.random.fork_rng(devices=[]):
        model = build_model(spec)
    model.load_state_dict(safetensors.torch.load_file(weights))
    return model, spec


def _read_spec(document: dict[str, Any], path: Path) -> ModelSpec:
    try:
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in document["spec"].items()
        }
        spec = ModelSpec(**fields)
    except (TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path}: does not describe a checkpoint: {error}", code="damaged-file", path=path) from error
    wrong = [name for name, is_valid in _check_fields(spec).items() if not is_valid]
    if wrong:
        raise InputError(
            f"{path}: does not describe a checkpoint: spec.{wrong[0]} is {fields.get(wrong[0])!r}",
            code="damaged-file",
            path=path,
            field=wrong[0],
        )
    return replace(spec, view_names=tuple(map(composed, spec.view_names)))


def _check_fields(spec: ModelSpec) -> dict[str, bool]:
    """Return by field True if the value that a file gave it is of the right type."""
    return {
        "backbone": isinstance(spec.backbone, str),
        "backbone_args": isinstance(spec.backbone_args, dict),
        "attention": spec.attention in get_args(Attention),
        "view_names": _are_all(spec.view_names, str),
        "keypoint_names": _are_all(spec.keypoint_names, str),
        "image_size": _are_all(spec.image_size, int)
        and len(spec.image_size) == 2
        and 0 < min(spec.image_size) <= max(spec.image_size) <= _MAX_SIDE,
        "downsample_factor": type(spec.downsample_factor) is int and spec.downsample_factor in (1, 2, 3),
        "mean": _are_all(spec.mean, float) and len(spec.mean) == 3,
        "std": _are_all(spec.std, float) and len(spec.std) == 3 and min(spec.std) > 0,
        "subject_size": spec.subject_size is None or (_are_all((spec.subject_size,), float) and spec.subject_size > 0),
        "epipolar_attention": isinstance(spec.epipolar_attention, bool),
        "fuse_views": isinstance(spec.fuse_views, bool),
        "covariance_head": isinstance(spec.covariance_head, bool),
    }


def _are_all(values: object, kind: type) -> bool:
    if not isinstance(values, tuple) or not values:
        return False
    kinds = (int, float) if kind is float else (kind,)
    return all(type(value) in kinds and (kind is str or math.isfinite(value)) for value in values)


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    """Turn tuples into lists: YAML has no tuples, and a tag for them would not be safe to load."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
