"""Forward pass of a network, from uint8 images to keypoints in full-image px."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mvgeom import affine
from mvtrain.data.batch import Batch
from mvtrain.model.checkpoint import ModelSpec
from mvtrain.model.decode import decode, heatmap_covariance, heatmap_to_model, model_to_heatmap
from mvtrain.model.epipolar import epipolar_bias
from mvtrain.model.masking import PatchMask


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Output of the model for a batch; all of it is differentiable.

    Attributes:
        logits: (B, V, K, h, w) heatmap logits, float32.
        model_points: (B, V, K, 2) keypoints in model px.
        full_points: (B, V, K, 2) keypoints in full-image px, those of the calibration.
        confidence: (B, V, K) in [0, 1].
        downsample_factor: Heatmap px are 2 to this power model px wide.
    """

    logits: Tensor
    model_points: Tensor
    full_points: Tensor
    confidence: Tensor
    downsample_factor: int

    @property
    def model_covariance(self) -> Tensor:
        """Compute the (B, V, K, 2, 2) covariance of each keypoint in model px^2, x before y; see `heatmap_covariance`.

        It is computed at every call; training steps do not need it. For a view without an image it has no meaning, like
        the point.
        """
        stride = 2**self.downsample_factor
        points = model_to_heatmap(self.model_points, self.downsample_factor)
        return heatmap_covariance(self.logits, points) * stride**2


def normalize(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Normalize (..., 3, H, W) uint8 to float32, by a mean and standard deviation (3,) for values in [0, 1]."""
    mean, std = mean[:, None, None], std[:, None, None]
    return (images.float() / 255 - mean) / std


def to_prediction(logits: Tensor, batch: Batch, downsample_factor: int) -> Prediction:
    """Decode heatmap logits and invert the batch's image maps, in float32 whatever the precision of the model."""
    with torch.autocast(logits.device.type, enabled=False):
        logits = logits.float()
        heatmap_points, confidence = decode(logits)
        model_points = heatmap_to_model(heatmap_points, downsample_factor)
        full_points = affine.apply(affine.invert(batch.to_model), model_points)
    return Prediction(
        logits=logits,
        model_points=model_points,
        full_points=full_points,
        confidence=confidence,
        downsample_factor=downsample_factor,
    )


@dataclass(frozen=True, kw_only=True)
class Network:
    """A model on a device, with the normalization of its input and the scale of its output.

    Attributes:
        model: Module from images (B, V, 3, H, W) and view mask to heatmap logits.
        mean: (3,) mean of the input's channels.
        std: (3,) standard deviation of the input's channels.
        downsample_factor: Heatmap px are 2 to this power model px wide.
        epipolar_patch: Rows and columns of pixels of a patch, if attention keeps to epipolar lines; else None.
    """

    model: torch.nn.Module
    mean: Tensor
    std: Tensor
    downsample_factor: int
    epipolar_patch: tuple[int, int] | None = None

    @classmethod
    def from_model(cls, model: torch.nn.Module, spec: ModelSpec, device: torch.device) -> Network:
        """Make a network from a model and the normalization that its spec gives."""
        mean, std = torch.tensor(spec.mean, device=device), torch.tensor(spec.std, device=device)
        return cls(
            model=model,
            mean=mean,
            std=std,
            downsample_factor=spec.downsample_factor,
            epipolar_patch=model.patch_size if spec.epipolar_attention else None,  # type: ignore[arg-type]
        )

    def __call__(self, batch: Batch, mask: PatchMask | None = None, *, drop_patches: bool = False) -> Prediction:
        """Predict the keypoints of a batch.

        Args:
            batch: Batch on the device; samples that are not calibrated get plain attention.
            mask: Patches to hide, in training.
            drop_patches: Let hidden patches skip all blocks of the transformer but the last.
        """
        images = normalize(batch.images, self.mean, self.std)
        if mask is not None:
            images = mask.blank(images)
        kept = mask.kept if mask is not None and drop_patches else None
        bias = None
        if self.epipolar_patch is not None and batch.cameras is not None:
            height, width = images.shape[-2:]
            bias = epipolar_bias(
                batch.cameras,
                batch.to_model,
                batch.calibrated,
                image_size=(height, width),
                patch_size=self.epipolar_patch,
            )
        logits = self.model(images, batch.view_mask, kept, bias)
        return to_prediction(logits, batch, self.downsample_factor)


@dataclass(frozen=True, kw_only=True)
class FramePredictions:
    """Predictions of many frames, in the order of the batches.

    Attributes:
        index: (N,) rows of the project.
        points: (N, V, K, 2) full-image px, NaN for views without an image.
        confidence: (N, V, K) in [0, 1], NaN for views without an image.
    """

    index: np.ndarray
    points: np.ndarray
    confidence: np.ndarray


@torch.inference_mode()
def predict_batches(
    network: Network,
    batches: Iterable[Batch],
    device: torch.device,
    on_batch: Callable[[Batch, Prediction], None] | None = None,
) -> Generator[FramePredictions]:
    """Predict batches with the network in evaluation mode, one after another.

    Args:
        network: Network to run.
        batches: Batches to predict.
        device: Device of the network.
        on_batch: Function that is also called with each batch and its prediction, on the device (validation loss).
    """
    was_training = network.model.training
    network.model.eval()
    try:
        for batch in batches:
            on_device = batch.to(device)
            prediction = network(on_device)
            if on_batch is not None:
                on_batch(on_device, prediction)
            present = (
                torch.ones(batch.visibility.shape[:2], dtype=torch.bool) if batch.view_mask is None else batch.view_mask
            )
            yield FramePredictions(
                index=batch.index.numpy(),
                points=_blank(prediction.full_points.cpu(), present[..., None, None]),
                confidence=_blank(prediction.confidence.cpu(), present[..., None]),
            )
    finally:
        network.model.train(was_training)


def predict_frames(
    network: Network,
    batches: Iterable[Batch],
    device: torch.device,
    on_batch: Callable[[Batch, Prediction], None] | None = None,
) -> FramePredictions:
    """Predict batches as `predict_batches` does, and join their predictions."""
    parts = list(predict_batches(network, batches, device, on_batch))
    return FramePredictions(
        index=np.concatenate([part.index for part in parts]),
        points=np.concatenate([part.points for part in parts]),
        confidence=np.concatenate([part.confidence for part in parts]),
    )


def _blank(values: Tensor, present: Tensor) -> np.ndarray:
    return torch.where(present, values, torch.nan).double().numpy()
