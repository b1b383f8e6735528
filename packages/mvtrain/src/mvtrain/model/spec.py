"""What a network is, in plain values: enough to build it again and to read its output."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mvgeom import CameraGroup
from mvtrain.config import Config
from mvtrain.model.backbone import build_backbone, input_normalization
from mvtrain.model.multiview import Attention, MultiviewTransformer


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
