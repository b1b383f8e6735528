"""Training loop: epochs, validation, checkpoints, and the states from which a run can go on."""

from __future__ import annotations

import math
import time
from collections.abc import Set
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from mvgeom.errors import InputError
from mvgeom.wording import counted
from mvtrain.config import Config
from mvtrain.data.batch import Batch
from mvtrain.data.dataset import EpochSampler, FrameDataset
from mvtrain.metrics import describe_starving, starving_keypoints, validation_columns, validation_figures
from mvtrain.model.checkpoint import ModelSpec, save_checkpoint
from mvtrain.model.inference import FramePredictions, Network, Prediction, predict_frames
from mvtrain.project.label_tables import VISIBLE
from mvtrain.runtime.interruption import Interruption, RunInterruptedError
from mvtrain.training.guards import FiniteWatch, save_batch
from mvtrain.training.hardware import float32_matmul_precision, whole_weights
from mvtrain.training.metrics_log import LogWindow, MetricsLog, ProgressLine
from mvtrain.training.run_info import check_changes, settings
from mvtrain.training.schedules import Schedules
from mvtrain.training.state import RunProgress, ValidationRecord, has_state, load_state, save_state
from mvtrain.training.step import GUIDE, STATED, TrainingStep

_FROM_CONFIG = ("full_learning_rate", "weight_decay")
"""Values of the optimizer's groups that the config decides, also where a saved state had others."""


@dataclass(kw_only=True)
class Trainer:
    """Trainer of one run, from the first step to the last.

    Attributes:
        config: Config of the run.
        fabric: Fabric, launched.
        model: Model as `fabric.setup_module` returned it.
        averaged: Running average of the weights, which then predicts in the model's place; None: no average.
        optimizer: Optimizer as `fabric.setup_optimizers` returned it.
        spec: Description of the model in its checkpoints.
        schedules: Values that change over time.
        train_loader: Loader of training frames, whose batch sampler is an `EpochSampler`.
        validation_loader: Loader of validation frames; None without any.
        run_dir: Run folder, for checkpoints and the log.
        progress: Progress bar of the run.
        interruption: Record of a signal that asks the run to stop.
        epoch: Number of the current epoch.
        batches_done: Number of batches of this epoch that are done.
        validations: Lowest validation loss so far, and the number of validations since.
        stopped_early: True once early stopping has ended the run.
    """

    config: Config
    fabric: Fabric
    model: _FabricModule
    averaged: AveragedModel | None
    optimizer: torch.optim.Optimizer
    spec: ModelSpec
    schedules: Schedules
    train_loader: DataLoader[Batch]
    validation_loader: DataLoader[Batch] | None
    run_dir: Path
    progress: ProgressLine
    interruption: Interruption
    epoch: int = 0
    batches_done: int = 0
    validations: ValidationRecord = field(default_factory=ValidationRecord)
    stopped_early: bool = False

    def __post_init__(self) -> None:
        network = Network.from_model(self.model, self.spec, self.fabric.device)
        self.step = TrainingStep.from_config(self.config, self.spec, self.schedules, network, self.model.patch_size)
        self._window = LogWindow()
        self._watch = FiniteWatch(self.fabric.device)
        self._log: MetricsLog | None = None
        self._starving: Set[int] = set()
        self._saved = time.monotonic()

    @property
    def clock(self) -> float:
        """Return the epochs since the start, in fractions; batches whose gradients are summed share the first one's."""
        done, per_epoch = self.batches_done, len(self.train_loader)
        if done < per_epoch:
            done -= done % self.config.training.accumulate_grad_batches
        return self.epoch + done / per_epoch

    @property
    def finished(self) -> bool:
        """Return True if the run has its full length, or early stopping has ended it."""
        return self.stopped_early or self.clock >= self.schedules.max_epochs - 1e-9

    @property
    def predictor(self) -> nn.Module:
        """Return the model whose predictions count."""
        return self.model if self.averaged is None else self.averaged.module

    def fit(self, *, resume: bool = False) -> None:
        """Train to the end, or until validation no longer improves; write the checkpoints `last` and `best`.

        Args:
            resume: Go on from the state in `run_dir`; from the start if the run had not saved one.

        Raises:
            RunInterruptedError: A signal asked to stop; the state is saved.
            InputError: `not-finite` for the loss, memory was not enough, the disk is full, or a state that is damaged
                or does not fit.
        """
        if resume and not has_state(self.run_dir):
            self.progress.print_line("the run had not saved a state yet: it starts from the beginning")
            resume = False
        log_position = self._load_state() if resume else None
        if self.fabric.is_global_zero:
            self._log = MetricsLog(self.run_dir, self._columns(), resume_at=log_position, first_step=self.steps)
        self.progress.advance(self.epoch * len(self.train_loader) + self.batches_done)
        while not self.finished:
            self._train_epoch()
            self._end_epoch()
            self._save_state_if_due()
        self._save("last")
        # Without validation frames, or if their loss was never finite, the last weights count as the best.
        if math.isinf(self.validations.best_loss):
            self._save("best")
        self._save_state()
        if self._log is not None:
            self._log.close()

    def try_step(self) -> None:
        """Take the first batch forward and backward, and change nothing."""
        batch = next(iter(self.train_loader))
        self.fabric.backward(self.train_step(batch.to(self.fabric.device))["loss"])
        self.optimizer.zero_grad(set_to_none=True)

    def _end_epoch(self) -> None:
        training = self.config.training
        # A run whose length is given in steps may end inside an epoch.
        whole = self.batches_done == 0
        interval, every = training.val_check_interval, training.ckpt_every_n_epochs
        at_epoch = whole and interval is None and self.epoch % training.check_val_every_n_epoch == 0
        validated = interval is not None and self.steps % interval == 0
        if at_epoch or (self.finished and not validated):
            self._validate()
        if whole and every is not None and self.epoch % every == 0:
            self._save(f"epoch-{self.epoch:04d}")
        stale = self.validations.stale_validations
        patient = stale < training.early_stop_patience or self.epoch < self.schedules.min_epochs
        if training.early_stopping and not patient:
            self.progress.print_line(f"early stopping: no lower validation loss in {counted(stale, 'validation')}")
            self.stopped_early = True

    def _train_epoch(self) -> None:
        self.model.train()
        sampler = self.train_loader.batch_sampler
        assert isinstance(sampler, EpochSampler)
        sampler.epoch, sampler.first_batch = self.epoch, self.batches_done
        accumulate = self.config.training.accumulate_grad_batches
        asked = time.perf_counter()
        for batch in self.train_loader:
            waited = time.perf_counter() - asked
            self._set_learning_rates()
            # The last batches of an epoch may be fewer than `accumulate`: they make a step of their own.
            group_start = self.batches_done // accumulate * accumulate
            group_end = min(group_start + accumulate, len(self.train_loader))
            steps_now = self.batches_done + 1 == group_end
            clock = self.clock
            with self.fabric.no_backward_sync(self.model, enabled=not steps_now):
                losses = self.train_step(batch.to(self.fabric.device))
                with self._matmul_precision():
                    self.fabric.backward(losses["loss"] / (group_end - group_start))
            if steps_now:
                self._optimizer_step()
            self._watch.add(
                losses["loss"], self.epoch * len(self.train_loader) + self.batches_done, self.epoch, batch.index
            )
            self.batches_done += 1
            self._log_step(losses, batch, waited, clock)
            interval = self.config.training.val_check_interval
            if interval is not None and steps_now and self.steps % interval == 0:
                self._validate()
            if self.finished:
                break
            # At the end of an epoch validation comes first: a state means that everything before it has been done.
            if steps_now and self.batches_done < len(self.train_loader):
                self._save_state_if_due()
            asked = time.perf_counter()
        if self.batches_done == len(self.train_loader):
            self.epoch, self.batches_done = self.epoch + 1, 0

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of `TrainingStep` for a batch at this time."""
        return self.step(batch, epoch=self.epoch, clock=self.clock)

    def _matmul_precision(self) -> AbstractContextManager[None]:
        return float32_matmul_precision(self.config.training.float32_matmul_precision)

    def _optimizer_step(self) -> None:
        max_norm = self.config.training.gradient_clip_norm
        if max_norm is not None:
            self.fabric.clip_gradients(self.model, self.optimizer, max_norm=max_norm, error_if_nonfinite=False)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.averaged is not None:
            self.averaged.update_parameters(self.model)

    def _set_learning_rates(self) -> None:
        factor = self.schedules.learning_rate_factor(self.clock)
        backbone_factor = self.schedules.backbone_factor(self.clock)
        for group in self.optimizer.param_groups:
            group["lr"] = group["full_learning_rate"] * factor
            if group["name"] == "backbone":
                group["lr"] *= backbone_factor
                # Frozen means no gradient either: the backward pass then ends at the head.
                for parameter in group["params"]:
                    parameter.requires_grad_(backbone_factor > 0)

    def _validate(self) -> None:
        self._check_finite()
        loader = self.validation_loader
        if loader is None:
            return
        losses: list[Tensor] = []
        counts: list[int] = []

        def add_loss(batch: Batch, prediction: Prediction) -> None:
            losses.append(self.step.heatmap(prediction, batch))
            counts.append(len(batch))

        network = Network.from_model(self.predictor, self.spec, self.fabric.device)
        predictions = predict_frames(network, loader, self.fabric.device, on_batch=add_loss)
        weights = torch.tensor(counts, dtype=torch.float32, device=self.fabric.device)
        loss = float((torch.stack(losses) * weights).sum() / weights.sum())
        figures = self._validation_figures(loader, predictions)
        self._write({"val_loss": loss, **figures})
        self._name_starving(loader, predictions)
        improved = self.validations.add(loss, self.fabric)
        if improved:
            self._save("best")
        mark = "  (best so far)" if improved else ""
        self.progress.print_line(
            f"epoch {self.epoch:4d}: validation loss {loss:.4g}, error {figures['val_pixel_error']:.2f} px{mark}"
        )

    def _name_starving(self, loader: DataLoader[Batch], predictions: FramePredictions) -> None:
        """Name the keypoints without a peak, once a third of the run is over and whenever they have changed."""
        dataset = loader.dataset
        assert isinstance(dataset, FrameDataset)
        visible = dataset.project.visibility[predictions.index] == VISIBLE
        starving = starving_keypoints(predictions.own_confidence, visible, self.spec.heatmap_size)
        if self.clock >= self.schedules.max_epochs / 3 and starving.keys() != self._starving:
            self._starving = starving.keys()
            if starving:
                loss = self.config.model.heatmap_loss_type
                self.progress.print_line(describe_starving(starving, self.spec.keypoint_names, loss))

    def _validation_figures(self, loader: DataLoader[Batch], predictions: FramePredictions) -> dict[str, float]:
        dataset = loader.dataset
        assert isinstance(dataset, FrameDataset)
        return validation_figures(dataset.project, dataset.points_3d, predictions)

    @property
    def steps(self) -> int:
        """Return the optimizer steps since the start."""
        accumulate = self.config.training.accumulate_grad_batches
        per_epoch = -(-len(self.train_loader) // accumulate)
        return self.epoch * per_epoch + -(-self.batches_done // accumulate)

    def _save(self, name: str) -> None:
        self._check_finite()
        weights = whole_weights(self.model.module if self.averaged is None else self.averaged.module)
        if self.fabric.is_global_zero:
            state = {
                "epoch": round(self.clock, 4),
                "steps": self.steps,
                "best_validation_loss": self.validations.best_loss,
            }
            save_checkpoint(self.run_dir / "checkpoints" / name, weights, self.spec, state)

    def _save_state_if_due(self) -> None:
        """Save the state if it is due, or because the run is to stop here."""
        is_time = time.monotonic() - self._saved >= 60 * self.config.training.save_every_minutes
        # The signal may have come to another process only.
        signal_number, is_due = self._agree(self.interruption.signal_number), self._agree(int(is_time))
        if signal_number or is_due:
            self._save_state()
        if signal_number and not self.finished:
            raise RunInterruptedError(
                f"stopped after step {self.steps} (epoch {self.clock:.2f}), the state is saved", signal_number
            )

    def _agree(self, wish: int) -> int:
        """Return the largest number of any process; what it asks for all must do at the same step.

        Several processes exchange their wishes only after a row of the log, which has made them wait for their devices.
        """
        if self.fabric.world_size == 1:
            return wish
        if self._window.num_steps > 0:
            return 0
        largest = self.fabric.all_reduce(torch.tensor(float(wish), device=self.fabric.device), reduce_op="max")
        assert isinstance(largest, Tensor)
        return int(largest.item())

    def _save_state(self) -> None:
        self._check_finite()
        progress = RunProgress(
            epoch=self.epoch,
            batches_done=self.batches_done,
            best_loss=self.validations.best_loss,
            stale_validations=self.validations.stale_validations,
            stopped_early=self.stopped_early,
            window=self._window.state(),
            train_rows=self._train_rows().tolist(),
            settings=settings(self.config, self.spec),
            log_position=0 if self._log is None else self._log.position,
        )
        facts = {"epoch": round(self.clock, 4), "steps": self.steps, "finished": self.finished}
        if self._log is not None:
            self._log.sync()
        save_state(self.run_dir, self.fabric, {**self._stateful(), **vars(progress)}, facts)
        self._saved = time.monotonic()

    def _load_state(self) -> int:
        """Restore everything from the state in the run folder; return the length that the log had."""
        # A state has the rates with which it was saved; those of the config hold.
        rates = [{name: group[name] for name in _FROM_CONFIG} for group in self.optimizer.param_groups]
        progress = load_state(self.run_dir, self.fabric, self._stateful(), check=self._check_continued)
        for group, values in zip(self.optimizer.param_groups, rates, strict=True):
            group.update(values)
        self.epoch, self.batches_done = progress.epoch, progress.batches_done
        self.validations = ValidationRecord(progress.best_loss, progress.stale_validations)
        self.stopped_early = progress.stopped_early
        self._window = LogWindow(**progress.window)
        return progress.log_position

    def _check_continued(self, progress: RunProgress) -> None:
        """Check that config and frames are still those of a saved state, and tell what was changed otherwise."""
        # The place in an epoch is a number of batches: with others the run could be past its end, or never reach it.
        config_path, advice = self.run_dir / "config.yaml", self._advise_new_run()
        for line in check_changes(progress.settings, settings(self.config, self.spec), config_path, advice):
            self.progress.print_line(line)
        if progress.train_rows != self._train_rows().tolist():
            raise InputError(
                f"{self.run_dir}: trained on other frames than the project's training split has now (labels "
                f"were added or removed, or it was --overfit), so it cannot be resumed. {advice}",
                code="frames-differ",
                path=self.run_dir,
            )

    def _advise_new_run(self) -> str:
        """Advise to start a new run, from the last weights that this one has written."""
        checkpoints = [self.run_dir / "checkpoints" / name for name in ("last", "best")]
        written = next((f"; model.checkpoint={each} keeps its weights" for each in checkpoints if each.is_dir()), "")
        return f"Start a new run{written}."

    def _train_rows(self) -> np.ndarray:
        sampler = self.train_loader.batch_sampler
        assert isinstance(sampler, EpochSampler)
        return sampler.rows

    def _stateful(self) -> dict[str, Any]:
        """Return the objects that save and load their own part of a state."""
        stateful: dict[str, Any] = {"model": self.model, "optimizer": self.optimizer}
        if self.averaged is not None:
            stateful["averaged"] = self.averaged
        return stateful

    def _check_finite(self) -> None:
        """Stop the run if a loss since the last call was not finite; waits for the device."""
        bad = self._watch.first_bad()
        if bad is None:
            return
        number, epoch, rows = bad
        dataset = self.train_loader.dataset
        assert isinstance(dataset, FrameDataset)
        # A sample is a function of seed, epoch and row, so the batch can be made again.
        path = save_batch(self.run_dir, dataset, epoch, rows)
        frames = [next(filter(None, dataset.project.image_names[row])) for row in rows.tolist()]
        raise InputError(
            f"training: the loss is not finite at batch {number + 1} (epoch {epoch}), on the frames "
            f"{', '.join(frames)}. The batch is in {path}; the checkpoints are from before. Often the learning rate is "
            "too high: lower training.optimizer_params.learning_rate, set training.gradient_clip_norm or "
            "training.warmup_epochs, or train with training.precision: 32-true.",
            code="not-finite",
            path=path,
            epoch=epoch,
            frames=frames,
        )

    def _columns(self) -> tuple[str, ...]:
        losses = self.schedules.losses
        return (
            *("mask_ratio", "view_mask_ratio", "loss", "heatmap", "pixel_error"),
            *((GUIDE,) if self.step.guided else ()),
            *((STATED,) if self.spec.covariance_head else ()),
            *losses,
            *("samples_per_second", "share_waiting_for_data", "share_moved_in_3d"),
            *(f"weight_{name}" for name in losses),
            *(f"learning_rate_{group['name']}" for group in self.optimizer.param_groups),
            "val_loss",
            *validation_columns(self.spec.view_names, self.spec.keypoint_names),
        )

    def _write(self, figures: dict[str, float]) -> None:
        if self._log is not None:
            self._log.write({"epoch": self.clock, **figures}, self.steps)

    def _log_step(self, losses: dict[str, Tensor], batch: Batch, waited: float, clock: float) -> None:
        """Count a step taken at `clock`; write a row if one is due, with the schedules' values at that step."""
        self._window.add(losses, num_samples=len(batch), num_moved=batch.num_moved, waited=waited)
        self.progress.advance()
        if self._window.num_steps < self.config.training.log_every_n_steps:
            return
        self._check_finite()
        means = self._window.means()
        self._window = LogWindow()
        self.progress.show(means)
        weights = {f"weight_{name}": ramp.at(clock) for name, ramp in self.schedules.losses.items()}
        rates = {f"learning_rate_{group['name']}": group["lr"] for group in self.optimizer.param_groups}
        masked = {"mask_ratio": self.schedules.mask_ratio(clock), "view_mask_ratio": self.schedules.view_ratio(clock)}
        self._write({**masked, **means, **weights, **rates})
