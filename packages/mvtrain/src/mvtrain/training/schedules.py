"""Schedules of a run as functions of one clock: epochs, counted in fractions.

Configs count in epochs or in optimizer steps; steps are converted to epochs here.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass

from mvgeom.errors import InputError
from mvgeom.wording import counted
from mvtrain.config import Config, LossConfig
from mvtrain.config.recommended import MASK_FULL, MASK_START, default_unfreezing_epoch, epochs_of_budget
from mvtrain.losses.heatmap import GRADIENT_SCALES
from mvtrain.model.masking import MaskingSchedule

LOSS_INIT_SHARE = 0.25
"""Share of the run after which 3D losses start, unless their section gives an epoch: heatmaps must have peaks before
their peaks are triangulated."""

LOSS_RAMP_SHARE = 0.25
"""Share of the run over which 3D losses rise to their full weight, unless their section gives a number of epochs."""

BACKBONE_WARMUP_EPOCHS = 2.0
"""Epochs over which an unfrozen backbone reaches its full learning rate: its first gradients come from a head that is
not trained yet."""


@dataclass(frozen=True, kw_only=True)
class LossRamp:
    """Weight of a loss: 0 before `init`, linear to `weight` over `ramp` epochs, constant after."""

    init: float
    ramp: float
    weight: float

    def at(self, epoch: float) -> float:
        """Return the weight at an epoch."""
        if epoch < self.init:
            return 0.0
        if epoch >= self.init + self.ramp:
            return self.weight
        return self.weight * (epoch - self.init) / self.ramp


@dataclass(frozen=True, kw_only=True)
class Schedules:
    """Schedules of all values that depend on the time of a run, in epochs.

    Attributes:
        max_epochs: Length of the run.
        min_epochs: Epoch before which early stopping does not end the run.
        unfreeze: Epoch at which the backbone starts to learn.
        warmup: Epochs over which the learning rate rises from 0.
        milestones: Epochs at which the learning rate is multiplied by `gamma`.
        gamma: Factor at each of the milestones.
        cosine: True if the learning rate falls to 0 along a half cosine.
        masking: Share of masked patches; None: never any.
        losses: Weights of the 3D losses that are on.
    """

    max_epochs: float
    min_epochs: float
    unfreeze: float
    warmup: float
    milestones: tuple[float, ...]
    gamma: float
    cosine: bool
    masking: MaskingSchedule | None
    losses: dict[str, LossRamp]

    def learning_rate_factor(self, epoch: float) -> float:
        """Return the factor of the configured learning rate."""
        factor = min(1.0, epoch / self.warmup) if self.warmup > 0 else 1.0
        factor *= self.gamma ** bisect_right(self.milestones, epoch)
        if self.cosine:
            progress = min(1.0, max(0.0, (epoch - self.warmup) / max(self.max_epochs - self.warmup, 1e-9)))
            factor *= 0.5 * (1 + math.cos(math.pi * progress))
        return factor

    def backbone_factor(self, epoch: float) -> float:
        """Return a further factor of the backbone's learning rate; 0 while it is frozen."""
        if epoch < self.unfreeze:
            return 0.0
        if self.unfreeze == 0:
            return 1.0
        return min(1.0, 0.1 + 0.9 * (epoch - self.unfreeze) / BACKBONE_WARMUP_EPOCHS)

    def mask_ratio(self, epoch: float) -> float:
        """Return the share of masked patches."""
        return 0.0 if self.masking is None else self.masking.ratio(epoch)

    def view_ratio(self, epoch: float) -> float:
        """Return the share of views hidden as a whole."""
        return 0.0 if self.masking is None else self.masking.views(epoch)


def make_schedules(config: Config, steps_per_epoch: int) -> Schedules:
    """Make the schedules that a config asks for.

    Args:
        config: Config of the run.
        steps_per_epoch: Optimizer steps in an epoch.
    """
    training = config.training

    def epochs(in_epochs: float | None, in_steps: float | None, default: float) -> float:
        if in_epochs is not None:
            return float(in_epochs)
        return default if in_steps is None else in_steps / steps_per_epoch

    max_epochs = epochs(training.max_epochs, training.max_steps, epochs_of_budget(steps_per_epoch))
    return Schedules(
        max_epochs=max_epochs,
        min_epochs=min(max_epochs, epochs(training.min_epochs, training.min_steps, 0.0)),
        unfreeze=epochs(
            training.unfreezing_epoch, training.unfreezing_step, default_unfreezing_epoch(config, max_epochs)
        ),
        warmup=training.warmup_epochs,
        milestones=_milestones(config, steps_per_epoch, max_epochs),
        gamma=training.lr_scheduler_params.multisteplr.gamma,
        cosine=training.lr_scheduler == "cosine",
        masking=_masking(config, max_epochs, epochs),
        losses={
            name: _ramp(loss, max_epochs, GRADIENT_SCALES[config.model.heatmap_loss_type])
            for name, loss in config.losses.items()
            if name != "heatmap_mse"
        },
    )


def check_lengths(config: Config, *, num_train: int, num_validation: int) -> list[str]:
    """Check that the numbers of a config fit the numbers of frames and each other.

    Returns:
        Warnings, a line each, about values that have no effect: there are fewer frames, or the run ends before.

    Raises:
        InputError: `bad-value` for early stopping without validation frames.
    """
    training = config.training
    if training.early_stopping and num_validation == 0:
        raise InputError(
            "training.early_stopping: found true without validation frames, whose loss it needs. Set training.val_prob "
            "above 0, or training.early_stopping to false.",
            code="bad-value",
            key="training.early_stopping",
        )
    multistep = training.lr_scheduler_params.multisteplr
    warnings = []
    if training.train_batch_size > num_train:
        warnings.append(
            f"training.train_batch_size: found {training.train_batch_size} with {counted(num_train, 'training frame')}"
            ": every batch holds all of them"
        )
    for unit, milestones_key, milestones in (
        ("epochs", "milestones", multistep.milestones),
        ("steps", "milestone_steps", multistep.milestone_steps),
    ):
        least, most = getattr(training, f"min_{unit}"), getattr(training, f"max_{unit}")
        if most is None:
            continue
        if least is not None and least > most:
            warnings.append(f"training.min_{unit}: {least}, but the run ends after {most} (training.max_{unit})")
        late = [milestone for milestone in milestones or () if milestone >= most]
        if late and training.lr_scheduler == "multisteplr":
            warnings.append(
                f"training.lr_scheduler_params.multisteplr.{milestones_key}: {late} come after the end of the run "
                f"(training.max_{unit} is {most}), so the learning rate does not fall there; null sets them to 1/2, "
                "2/3 and 5/6 of the run"
            )
    return warnings


def _milestones(config: Config, steps_per_epoch: int, max_epochs: float) -> tuple[float, ...]:
    if config.training.lr_scheduler != "multisteplr":
        return ()
    multistep = config.training.lr_scheduler_params.multisteplr
    if multistep.milestones is not None:
        return tuple(float(epoch) for epoch in multistep.milestones)
    if multistep.milestone_steps is not None:
        return tuple(step / steps_per_epoch for step in multistep.milestone_steps)
    return (max_epochs / 2, max_epochs * 2 / 3, max_epochs * 5 / 6)


def _masking(
    config: Config, max_epochs: float, epochs: Callable[[float | None, float | None, float], float]
) -> MaskingSchedule | None:
    patch_mask = config.training.patch_mask
    if patch_mask is None or patch_mask.final_ratio == patch_mask.view_ratio == 0:
        return None
    given = any(
        getattr(patch_mask, key) is not None for key in ("init_epoch", "init_step", "final_epoch", "final_step")
    )
    init = epochs(patch_mask.init_epoch, patch_mask.init_step, 0.0 if given else MASK_START * max_epochs)
    share = patch_mask.clear_share
    # Masks up to the end cost accuracy, half of the time they do not, by docs/ablation.md.
    clear = (init + max(init, max_epochs)) / 2 if share is None else max_epochs * (1 - share)
    return MaskingSchedule(
        init=init,
        final=epochs(patch_mask.final_epoch, patch_mask.final_step, max(init, MASK_FULL * max_epochs)),
        init_ratio=patch_mask.init_ratio,
        final_ratio=patch_mask.final_ratio,
        view_ratio=patch_mask.view_ratio,
        clear=clear,
    )


def _ramp(loss: LossConfig, max_epochs: float, scale: float) -> LossRamp:
    return LossRamp(
        init=LOSS_INIT_SHARE * max_epochs if loss.init_epoch is None else loss.init_epoch,
        ramp=LOSS_RAMP_SHARE * max_epochs if loss.ramp_epochs is None else loss.ramp_epochs,
        weight=scale * loss.weight,
    )
