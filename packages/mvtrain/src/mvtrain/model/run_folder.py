"""What `mvtrain fit` left behind: the config of a run and its weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import yaml

from mvtrain.config import Config, load_config
from mvtrain.model.checkpoint import ModelSpec, load_checkpoint
from mvtrain.model.inference import Network
from mvtrain.model.likelihood import ConfidenceMap, load_confidence


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """A trained network and the config it was trained with.

    Attributes:
        folder: of the run.
        config: as saved with the run.
        spec: of the network.
        model: the network, on the CPU.
        checksum: of its weights.
        checkpoint: folder of the checkpoint.
        confidence_map: calibration of these weights' confidence, None where none was fitted.
    """

    folder: Path
    config: Config
    spec: ModelSpec
    model: torch.nn.Module
    checksum: str
    checkpoint: Path
    confidence_map: ConfidenceMap | None

    def __repr__(self) -> str:
        spec = self.spec
        height, width = spec.image_size
        rows = {
            "project": self.config.data.data_dir,
            "views": f"{len(spec.view_names)}: {', '.join(spec.view_names)}",
            "keypoints": f"{len(spec.keypoint_names)}: {', '.join(spec.keypoint_names)}",
            "network": f"{spec.backbone}, input {width} x {height} px",
            "checkpoint": f"{self.checkpoint.name} ({self.checksum[:12]})",
            "confidence": "as the network gives it" if self.confidence_map is None else "calibrated",
        }
        return "\n".join([f"Run({self.folder})", *(f"  {name:<10}  {value}" for name, value in rows.items())])

    def network(self, device: torch.device) -> Network:
        """The network on a device, ready to predict."""
        return Network.from_model(self.model.to(device).eval(), self.spec, device)


def load_run(folder: Path, checkpoint: str = "best") -> Run:
    """Read a run folder.

    Args:
        folder: that `mvtrain fit` wrote.
        checkpoint: name of the one to take: `best` or `last`.

    Raises:
        ValueError: no run folder, no such checkpoint in it, or one that is damaged, as may be the
            calibration of its confidence.
    """
    config_file = folder / "config.yaml"
    if not config_file.is_file():
        what = "it has no config.yaml" if folder.is_dir() else "it does not exist"
        raise ValueError(f"{folder} is no run folder: {what}; give a folder that `mvtrain fit` wrote")
    checkpoints = folder / "checkpoints"
    present = sorted(path.parent.name for path in checkpoints.glob("*/model.yaml"))
    if not present:
        raise ValueError(
            f"the run folder {folder} has no checkpoint: the run ended before its first validation; go on with "
            f"mvtrain fit --resume {folder}"
        )
    if checkpoint not in present:
        raise ValueError(
            f"the run folder {folder} has no checkpoint {checkpoint!r}; it has {', '.join(present)}: choose with "
            "--checkpoint"
        )
    model, spec = load_checkpoint(checkpoints / checkpoint)
    description = yaml.safe_load((checkpoints / checkpoint / "model.yaml").read_text(encoding="utf-8"))
    checksum = str(description["sha256"])
    return Run(
        folder=folder,
        config=load_config(config_file),
        spec=spec,
        model=model,
        checksum=checksum,
        checkpoint=checkpoints / checkpoint,
        confidence_map=load_confidence(checkpoints / checkpoint, checksum),
    )
