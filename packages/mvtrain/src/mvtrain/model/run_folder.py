"""Run folders: the config and the weights of a trained network."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from mvgeom.documents import parse_yaml
from mvgeom.errors import InputError
from mvgeom.files import read_text
from mvtrain.config import Config, load_config
from mvtrain.model.checkpoint import ModelSpec, load_checkpoint
from mvtrain.model.error_bars import ErrorBars, load_error_bars
from mvtrain.model.inference import Network
from mvtrain.model.likelihood import ConfidenceMap, load_confidence
from mvtrain.runtime.folders import check_run_folder
from mvtrain.runtime.messages import command


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """A trained network and the config it was trained with.

    Attributes:
        folder: Folder of the run.
        config: Config as saved with the run.
        spec: Description of the network.
        model: Network, on the CPU.
        checksum: Checksum of its weights.
        checkpoint: Folder of the checkpoint.
        confidence_map: Calibration of these weights' confidence; None where none was fitted.
        error_bars: Error bars in 3D of these weights; None where none were fitted.
    """

    folder: Path
    config: Config
    spec: ModelSpec
    model: torch.nn.Module
    checksum: str
    checkpoint: Path
    confidence_map: ConfidenceMap | None
    error_bars: ErrorBars | None = None

    def __repr__(self) -> str:
        spec = self.spec
        height, width = spec.image_size
        rows = {
            "project": self.config.data.data_dir,
            "views": f"{len(spec.view_names)}: {', '.join(spec.view_names)}",
            "keypoints": f"{len(spec.keypoint_names)}: {', '.join(spec.keypoint_names)}",
            "network": f"{spec.backbone}, input {width} x {height} px",
            "checkpoint": f"{self.checkpoint.name} ({self.checksum[:12]})",
            "confidence": "not calibrated" if self.confidence_map is None else "calibrated",
            "error bars": "not calibrated" if self.error_bars is None else "calibrated",
        }
        return "\n".join([f"Run({self.folder})", *(f"  {name:<10}  {value}" for name, value in rows.items())])

    def arranged(self, view_names: Sequence[str]) -> Run:
        """Return the run with the same views in another order; nothing else of a network depends on their order."""
        if self.spec.view_names == tuple(view_names):
            return self
        model = copy.deepcopy(self.model)
        with torch.no_grad():
            order = [self.spec.view_names.index(name) for name in view_names]
            model.view_embedding.copy_(self.model.view_embedding[order])  # type: ignore[operator, index]
        return replace(self, model=model, spec=replace(self.spec, view_names=tuple(view_names)))

    def network(self, device: torch.device) -> Network:
        """Return the network on a device, ready to predict."""
        return Network.from_model(self.model.to(device).eval(), self.spec, device)


def load_run(folder: str | Path, checkpoint: str = "best", *, allow_plugins: bool = False) -> Run:
    """Read a run folder.

    Args:
        folder: Folder that `mvtrain fit` wrote.
        checkpoint: Name of the checkpoint to take: `best` or `last`.
        allow_plugins: Run the plugins that the run names, whoever wrote them.

    Raises:
        InputError: `not-a-run`; `no-checkpoint` of that name in it; a checkpoint, or the calibration of its confidence
            or error bars, that is damaged; `plugin-not-allowed`, if it needs plugins that no training here used.
    """
    folder = Path(folder)
    check_run_folder(folder)
    checkpoints = folder / "checkpoints"
    present = sorted(path.parent.name for path in checkpoints.glob("*/model.yaml"))
    if not present:
        raise InputError(
            f"{folder} has no checkpoint: the run ended before its first validation. Go on with it: "
            f"{command('mvtrain', 'fit', '--resume', folder)}",
            code="no-checkpoint",
            path=folder,
            checkpoint=checkpoint,
        )
    if checkpoint not in present:
        raise InputError(
            f"{folder} has no checkpoint {checkpoint!r}; it has {', '.join(present)}. Choose one with --checkpoint.",
            code="no-checkpoint",
            path=folder,
            checkpoint=checkpoint,
        )
    config = load_config(folder / "config.yaml", allow_plugins=allow_plugins)  # first: plugins can have its backbone
    model, spec = load_checkpoint(checkpoints / checkpoint)
    description = checkpoints / checkpoint / "model.yaml"
    checksum = str(parse_yaml(read_text(description), description)["sha256"])
    return Run(
        folder=folder,
        config=config,
        spec=spec,
        model=model,
        checksum=checksum,
        checkpoint=checkpoints / checkpoint,
        confidence_map=load_confidence(checkpoints / checkpoint, checksum),
        error_bars=load_error_bars(checkpoints / checkpoint, checksum, len(spec.keypoint_names)),
    )
