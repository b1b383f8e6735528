"""Training step: from a batch to its loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from mvtrain.config import Config, LossConfig
from mvtrain.data.batch import Batch
from mvtrain.losses import HEATMAP_LOSSES, LOSS_NAMES, LOSSES, HeatmapLoss, Loss
from mvtrain.losses.heatmap import GUIDE_WEIGHT, masked_mean, starvation_guide, target_factors
from mvtrain.losses.stated import STATED_WEIGHT, stated_covariance_loss
from mvtrain.model.checkpoint import ModelSpec
from mvtrain.model.decode import model_to_heatmap
from mvtrain.model.inference import Network, Prediction
from mvtrain.model.masking import PatchMask, draw_mask
from mvtrain.project.label_tables import EXCLUDED, VISIBLE
from mvtrain.training.hardware import float32_matmul_precision
from mvtrain.training.schedules import Schedules

GUIDE = "starvation_guide"
"""Name of the guide among the parts of the loss and the columns of the log."""

STATED = "stated_covariance"
"""Name of the loss of stated covariances there."""


@dataclass(frozen=True, kw_only=True)
class TrainingStep:
    """Training step: masks a batch, predicts it, and sums its losses.

    Attributes:
        network: Network from images to predictions.
        patch_size: Rows and columns of pixels of a patch of the backbone.
        schedules: Values that change over time.
        seed: Random seed of the masks.
        drops_patches: True if masked patches skip all blocks of the transformer but the last.
        heatmap_loss: Heatmap loss of the labels.
        heatmap_weight: Factor of the heatmap loss in the total.
        guided: True if keypoints without a peak need `starvation_guide` beside the heatmap loss.
        losses: Functions of the other losses, by the names in `schedules.losses`.
        units: Their units of length, in world units.
        matmul_precision: Precision of float32 matrix products in the network.
    """

    network: Network
    patch_size: tuple[int, int]
    schedules: Schedules
    seed: int
    drops_patches: bool
    heatmap_loss: HeatmapLoss
    heatmap_weight: float
    guided: bool
    losses: Mapping[str, Loss]
    units: Mapping[str, float]
    matmul_precision: str

    @classmethod
    def from_config(
        cls, config: Config, spec: ModelSpec, schedules: Schedules, network: Network, patch_size: tuple[int, int]
    ) -> TrainingStep:
        """Make the step that a config asks for."""
        supervised = config.losses.get("heatmap_mse", LossConfig(log_weight=0.0))
        mask = config.training.patch_mask
        return cls(
            network=network,
            patch_size=patch_size,
            schedules=schedules,
            seed=config.training.rng_seed_data_pt,
            drops_patches=mask is not None and mask.mode == "tokens",
            heatmap_loss=HEATMAP_LOSSES[config.model.heatmap_loss_type],
            heatmap_weight=supervised.weight,
            guided=config.model.heatmap_loss_type == "mse",
            losses={name: LOSSES[name] for name in schedules.losses},
            # Without a size there are no labels in 3D either, and no unit has an effect.
            units={
                name: spec.subject_size if config.losses[name].normalize and spec.subject_size is not None else 1.0
                for name in schedules.losses
            },
            matmul_precision=config.training.float32_matmul_precision,
        )

    def __call__(self, batch: Batch, *, epoch: int, clock: float) -> dict[str, Tensor]:
        """Compute the loss of a batch, with gradient, as `loss`; its parts and the error in crop px, without.

        Args:
            batch: Batch on the device.
            epoch: Current epoch, which determines the choice of masked patches.
            clock: Epochs since the start, in fractions, which determine the share of masked patches and the weights of
                the losses.
        """
        mask = self._draw_mask(batch, epoch, clock)
        with float32_matmul_precision(self.matmul_precision):
            prediction = self.network(batch, mask, drop_patches=self.drops_patches)
        target = self._target(prediction, batch)
        parts = {"heatmap": self.heatmap_loss(prediction.logits, *target)}
        total = self.heatmap_weight * parts["heatmap"]
        if self.guided:
            parts[GUIDE] = starvation_guide(prediction.logits, *target)
            total = total + self.heatmap_weight * GUIDE_WEIGHT * parts[GUIDE]
        if prediction.full_covariance is not None:
            parts[STATED] = _mean_of_parts(stated_covariance_loss, prediction, batch)
            total = total + STATED_WEIGHT * parts[STATED]
        for name, ramp in self.schedules.losses.items():
            weight = ramp.at(clock)
            # A batch none of whose samples is calibrated has no 3D loss.
            if weight > 0 and (batch.has_cameras or not LOSS_NAMES[name]):
                loss = partial(self._loss, name)
                parts[name] = _mean_of_parts(loss, prediction, batch) if LOSS_NAMES[name] else loss(prediction, batch)
                total = total + weight * parts[name]
        # As the validation error: px of the stored images, whatever their size.
        errors = (prediction.model_points.detach() - batch.points) @ batch.model_to_crop.mT
        return {
            "loss": total,
            **{name: part.detach() for name, part in parts.items()},
            "pixel_error": masked_mean(errors.norm(dim=-1), batch.visibility == VISIBLE),
        }

    def heatmap(self, prediction: Prediction, batch: Batch) -> Tensor:
        """Compute the heatmap loss of a batch, without its weight and without the guide."""
        return self.heatmap_loss(prediction.logits, *self._target(prediction, batch))

    def _loss(self, name: str, prediction: Prediction, batch: Batch) -> Tensor:
        return self.losses[name](prediction, batch, self.units[name])

    def _target(self, prediction: Prediction, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return factors of the target heatmaps along x and y, and the mask of keypoints that count."""
        size = (prediction.logits.shape[-2], prediction.logits.shape[-1])
        points = model_to_heatmap(batch.points, prediction.downsample_factor)
        return *target_factors(points, batch.visibility, size), batch.visibility != EXCLUDED

    def _draw_mask(self, batch: Batch, epoch: int, clock: float) -> PatchMask | None:
        height, width = batch.images.shape[-2:]
        return draw_mask(
            (height, width),
            self.patch_size,
            ratio=self.schedules.mask_ratio(clock),
            view_ratio=self.schedules.view_ratio(clock),
            num_views=batch.images.shape[1],
            view_mask=batch.view_mask,
            seed=self.seed,
            epoch=epoch,
            index=batch.index,
        )


def _mean_of_parts(function: Callable[[Prediction, Batch], Tensor], prediction: Prediction, batch: Batch) -> Tensor:
    """Average a loss over the lens models of a batch, by their numbers of samples, as over several devices."""
    losses = [
        function(prediction.select(rows), part) * (len(part) / len(batch)) for rows, part in batch.by_lens_model()
    ]
    return sum(losses[1:], start=losses[0])
