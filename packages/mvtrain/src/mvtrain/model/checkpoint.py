"""What a network is, in plain values: enough to build it again and to read its output."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from mvgeom import CameraGroup
from mvtrain.config import Config
from mvtrain.model.backbone import build_backbone, input_normalization
from mvtrain.model.multiview import Attention, MultiviewTransformer
from mvtrain.runtime.checksums import read_checksummed, write_checksummed


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """All that a network's weights do not say about it.

    Attributes:
        backbone: name of the transformer.
        backbone_args: further arguments of its architecture.
        attention: over all views or within each.
        view_names: the views, in the order of the model's input.
        keypoint_names: the keypoints, in the order of its output.
        image_size: width and height of its input in model px.
        downsample_factor: heatmap px are 2 to this power model px wide.
        mean: of the input's channels, for values in [0, 1].
        std: of the input's channels.
        subject_size: the subject's median size in world units; None without calibration.
        epipolar_attention: whether attention between views keeps to epipolar lines, and so needs cameras.
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

    @property
    def heatmap_size(self) -> tuple[int, int]:
        """Height and width of heatmaps in heatmap px."""
        width, height = self.image_size
        return height // 2**self.downsample_factor, width // 2**self.downsample_factor

    def cameras_needed(self, cameras: CameraGroup) -> CameraGroup | None:
        """The cameras, if the network looks at them; None spares batches the copies."""
        return cameras if self.epipolar_attention else None

    def check_needs_no_cameras(self, what: str) -> None:
        """Whether the network can predict what has no cameras.

        Raises:
            ValueError: it has learned to look along epipolar lines; the message begins with `what`.
        """
        if self.epipolar_attention:
            raise ValueError(
                f"{what} have no calibration, and this network, trained with model.epipolar_attention, needs one; give "
                "a calibration, or take a network that was trained without it"
            )


def build_model(spec: ModelSpec, *, pretrained: bool = False, weights: Path | None = None) -> MultiviewTransformer:
    """The network a spec describes; its backbone with the weights asked for, the rest random.

    Raises:
        ValueError: see `build_backbone`.
    """
    backbone = build_backbone(spec.backbone, pretrained=pretrained, weights=weights, arguments=spec.backbone_args)
    return MultiviewTransformer(
        backbone,
        num_views=len(spec.view_names),
        num_keypoints=len(spec.keypoint_names),
        downsample_factor=spec.downsample_factor,
        attention=spec.attention,
    )


def make_spec(
    config: Config, *, view_names: tuple[str, ...], keypoint_names: tuple[str, ...], subject_size: float | None
) -> ModelSpec:
    """The spec of the network a config asks for."""
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
    )


def save_checkpoint(folder: Path, weights: Mapping[str, Tensor], spec: ModelSpec, state: dict[str, Any]) -> None:
    """Write a checkpoint; an older one in the folder is replaced.

    Args:
        folder: of the checkpoint.
        weights: the network's state dict.
        spec: what it is.
        state: plain facts for the reader, such as epoch and validation error.

    Raises:
        ValueError: the folder cannot be written to, or the disk is full; an older checkpoint is then still whole.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    facts = {"spec": _plain(dataclasses.asdict(spec)), "state": state}
    write_checksummed(
        folder, "model", ".safetensors", lambda path: path.write_bytes(safetensors.torch.save(tensors)), facts
    )


def load_checkpoint(folder: Path) -> tuple[MultiviewTransformer, ModelSpec]:
    """The network of a checkpoint folder, on the CPU.

    Raises:
        ValueError: no checkpoint there, or one that is damaged or does not fit itself.
    """
    document, weights = read_checksummed(folder, "model", "checkpoint")
    try:
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in document["spec"].items()
        }
        spec = ModelSpec(**fields)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{folder / 'model.yaml'} does not describe a checkpoint: {error}") from error
    model = build_model(spec)
    try:
        state = safetensors.torch.load_file(weights)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{weights} does not fit the model that model.yaml describes: {error}") from error
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    found = {name: tensor.shape for name, tensor in state.items()}
    others = sorted(name for name in shapes.keys() | found.keys() if shapes.get(name) != found.get(name))
    if others:
        named = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
        raise ValueError(
            f"{weights} does not fit the model that model.yaml describes: {len(others)} parameters are missing, "
            f"unknown or of another shape ({named}). If another version of mvtrain wrote it, use that version, or "
            "train again"
        )
    model.load_state_dict(state)
    return model, spec


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    """Tuples as lists: YAML has no tuples, and a tag of its own for them would not be safe to load."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
