"""Forward pass of a network, from uint8 images to keypoints in full-image px."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mvgeom import affine
from mvtrain.data.batch import Batch, join_samples, map_tensors
from mvtrain.model.checkpoint import ModelSpec
from mvtrain.model.decode import decode, heatmap_covariance, heatmap_to_model, model_to_heatmap
from mvtrain.model.epipolar import epipolar_bias
from mvtrain.model.fusion import Fusion, fuse_views
from mvtrain.model.masking import PatchMask
from mvtrain.model.multiview import split_output


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Output of the model for a batch; all of it is differentiable.

    Attributes:
        logits: (B, V, K, h, w) heatmap logits, float32.
        model_points: (B, V, K, 2) keypoints in model px.
        full_points: (B, V, K, 2) keypoints in full-image px, those of the calibration.
        confidence: (B, V, K) in [0, 1].
        downsample_factor: Heatmap px are 2 to this power model px wide.
        full_covariance: (B, V, K, 2, 2) covariances in full-image px^2 that the network states, x before y; their
            gradient reaches its covariance head only. None without such a head.
    """

    logits: Tensor
    model_points: Tensor
    full_points: Tensor
    confidence: Tensor
    downsample_factor: int
    full_covariance: Tensor | None = None

    def select(self, rows: Tensor | slice) -> Prediction:
        """Return the predictions of some samples of the batch."""
        return replace(self, **map_tensors(self, lambda tensor: tensor[rows]))  # type: ignore[arg-type]

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


def to_prediction(logits: Tensor, batch: Batch, downsample_factor: int, covariance: Tensor | None = None) -> Prediction:
    """Decode heatmap logits and invert the batch's image maps, in float32 whatever the precision of the model.

    Args:
        logits: (B, V, K, h, w) heatmap logits.
        batch: Batch that they are of.
        downsample_factor: Heatmap px are 2 to this power model px wide.
        covariance: (B, V, K, 2, 2) stated covariances in heatmap px^2, if there are any.
    """
    with torch.autocast(logits.device.type, enabled=False):
        logits = logits.float()
        heatmap_points, confidence = decode(logits)
        model_points = heatmap_to_model(heatmap_points, downsample_factor)
        to_full = affine.invert(batch.to_model)
        full_points = affine.apply(to_full, model_points)
        full_covariance = None
        if covariance is not None:
            scale = to_full[:, :, None, :, :2] * 2**downsample_factor
            full_covariance = scale @ covariance.float() @ scale.mT
    return Prediction(
        logits=logits,
        model_points=model_points,
        full_points=full_points,
        confidence=confidence,
        downsample_factor=downsample_factor,
        full_covariance=full_covariance,
    )


@dataclass(frozen=True, kw_only=True)
class Network:
    """A model on a device, with the normalization of its input and the scale of its output.

    Attributes:
        model: Module from images (B, V, 3, H, W) and view mask to heatmap logits, and covariances if it states them.
        mean: (3,) mean of the input's channels.
        std: (3,) standard deviation of the input's channels.
        downsample_factor: Heatmap px are 2 to this power model px wide.
        epipolar_patch: Rows and columns of pixels of a patch, if attention keeps to epipolar lines; else None.
        fuses_views: True if predictions of calibrated samples are fused over the views.
    """

    model: torch.nn.Module
    mean: Tensor
    std: Tensor
    downsample_factor: int
    epipolar_patch: tuple[int, int] | None = None
    fuses_views: bool = False

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
            fuses_views=spec.fuse_views,
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
        if self.epipolar_patch is not None and batch.has_cameras:
            height, width = images.shape[-2:]
            size, patch = (height, width), self.epipolar_patch
            biases = [
                (rows, epipolar_bias(part.cameras, part.to_model, part.calibrated, image_size=size, patch_size=patch))
                for rows, part in batch.by_lens_model()
                if part.cameras is not None
            ]
            bias = join_samples(biases)
        output = self.model(images, batch.view_mask, kept, bias)
        logits, covariance = split_output(output)
        return to_prediction(logits, batch, self.downsample_factor, covariance)

    def fuse(self, prediction: Prediction, batch: Batch) -> Fusion | None:
        """Fuse the views of a predicted batch; None where views are not fused, or there are no two with cameras."""
        if not self.fuses_views or not batch.has_cameras or batch.to_model.shape[1] < 2:
            return None
        fused = []
        for rows, part in batch.by_lens_model():
            assert part.cameras is not None
            present = part.calibrated[:, None]
            present = present.expand(part.to_model.shape[:2]) if part.view_mask is None else present & part.view_mask
            logits = prediction.logits[rows]
            fused.append((rows, fuse_views(logits, part.cameras, part.to_model, present, self.downsample_factor)))
        return Fusion(
            logits=join_samples([(rows, fusion.logits) for rows, fusion in fused]),
            places=join_samples([(rows, fusion.places) for rows, fusion in fused]),
            weights=join_samples([(rows, fusion.weights) for rows, fusion in fused]),
        )


@dataclass(frozen=True, kw_only=True)
class BeforeFusion:
    """Predictions of N frames, each view by itself.

    Attributes:
        points: (N, V, K, 2) full-image px of the heatmaps before fusion, NaN for views without an image.
        confidence: (N, V, K) their confidence in [0, 1], NaN for views without an image.
        evidence: (N, V, K, 3) x, y in full-image px and weight in 1/px^2, see `Fusion.places`; NaN for views without an
            image or without a calibration.
    """

    points: np.ndarray
    confidence: np.ndarray
    evidence: np.ndarray


@dataclass(frozen=True, kw_only=True)
class FramePredictions:
    """Predictions of many frames, in the order of the batches.

    Attributes:
        index: (N,) rows of the project.
        points: (N, V, K, 2) full-image px, NaN for views without an image.
        confidence: (N, V, K) in [0, 1], NaN for views without an image.
        before_fusion: The same before the views were fused; None where they are not fused.
        own_covariance: (N, V, K, 2, 2) covariances in full-image px^2 that the network states of `own_points`, NaN for
            views without an image; None if it states none.
        weights: (N, V, K) inverse variances, up to a common factor, of points that several networks were combined to;
            None: they follow from the confidence, or are those of the evidence.
    """

    index: np.ndarray
    points: np.ndarray
    confidence: np.ndarray
    before_fusion: BeforeFusion | None = None
    own_covariance: np.ndarray | None = None
    weights: np.ndarray | None = None

    @property
    def keypoints(self) -> np.ndarray:
        """Return (N, V, K, 3) x, y and confidence."""
        return np.concatenate([self.points, self.confidence[..., None]], axis=-1)

    @property
    def own_points(self) -> np.ndarray:
        """Return (N, V, K, 2) what each view shows by itself, whose errors do not depend on the other views."""
        return self.points if self.before_fusion is None else self.before_fusion.points

    @property
    def own_confidence(self) -> np.ndarray:
        """Return (N, V, K) confidence of each view by itself."""
        return self.confidence if self.before_fusion is None else self.before_fusion.confidence


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
            fusion = network.fuse(prediction, on_device)
            yield _copy_from_device(on_device, prediction, fusion, network.downsample_factor)
    finally:
        network.model.train(was_training)


def predict_frames(
    network: Network,
    batches: Iterable[Batch],
    device: torch.device,
    on_batch: Callable[[Batch, Prediction], None] | None = None,
) -> FramePredictions:
    """Predict batches as `predict_batches` does, and join their predictions."""
    return join_predictions(list(predict_batches(network, batches, device, on_batch)))


def join_predictions(parts: Sequence[FramePredictions]) -> FramePredictions:
    """Join predictions of one network; evidence is NaN in frames that were not fused, where others were."""
    before_fusion = None
    if any(part.before_fusion is not None for part in parts):
        before_fusion = BeforeFusion(
            points=np.concatenate([part.own_points for part in parts]),
            confidence=np.concatenate([part.own_confidence for part in parts]),
            evidence=np.concatenate(
                [
                    np.full((*part.points.shape[:-1], 3), np.nan)
                    if part.before_fusion is None
                    else part.before_fusion.evidence
                    for part in parts
                ]
            ),
        )
    stated = [part.own_covariance for part in parts if part.own_covariance is not None]
    return FramePredictions(
        index=np.concatenate([part.index for part in parts]),
        points=np.concatenate([part.points for part in parts]),
        confidence=np.concatenate([part.confidence for part in parts]),
        before_fusion=before_fusion,
        own_covariance=np.concatenate(stated) if len(stated) == len(parts) else None,
    )


def _copy_from_device(batch: Batch, prediction: Prediction, fusion: Fusion | None, factor: int) -> FramePredictions:
    """Copy the predictions of a batch to the CPU.

    Args:
        batch: Batch on the device.
        prediction: Prediction of each view by itself.
        fusion: Fusion of its views; None where they are not fused.
        factor: Heatmap px are 2 to this power model px wide.
    """
    present = torch.ones_like(batch.calibrated)[:, None].expand(batch.to_model.shape[:2])
    present = present if batch.view_mask is None else batch.view_mask
    points = _blank(prediction.full_points, present[..., None, None])
    confidence = _blank(prediction.confidence, present[..., None])
    index = batch.index.cpu().numpy()
    stated = prediction.full_covariance
    own_covariance = None if stated is None else _blank(stated, present[..., None, None, None])
    if fusion is None:
        return FramePredictions(index=index, points=points, confidence=confidence, own_covariance=own_covariance)
    fused = to_prediction(fusion.logits, batch, factor)
    evidence = torch.cat([fusion.places, fusion.weights[..., None]], dim=-1)
    shown = (present & batch.calibrated[:, None])[..., None, None]
    return FramePredictions(
        index=index,
        points=_blank(fused.full_points, present[..., None, None]),
        confidence=_blank(fused.confidence, present[..., None]),
        before_fusion=BeforeFusion(points=points, confidence=confidence, evidence=_blank(evidence, shown)),
        own_covariance=own_covariance,
    )


def _blank(values: Tensor, present: Tensor) -> np.ndarray:
    return torch.where(present, values, torch.nan).cpu().double().numpy()
