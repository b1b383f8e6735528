"""New projects of generated videos: labels from the truth, and configs small enough for a test."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from helpers.tiny import TINY_MODEL
from mvgeom import CameraGroup
from mvgeom import project as project_points


def label_from_truth(project: Path, generated: Path) -> None:
    """Write the true places of the keypoints into the empty cells of a project, as somebody who labels would."""
    for table in sorted(project.glob("CollectedData_*.csv")):
        view = table.stem.removeprefix("CollectedData_")
        with table.open(newline="") as file:
            rows = list(csv.reader(file))
        names = rows[1][1::3]
        for row in rows[3:]:
            folder, image = Path(row[0]).parts[-2:]
            session = folder.removesuffix(f"_{view}")
            truth = pd.read_csv(generated / "videos" / f"{session}_3d.csv", header=[0, 1, 2], index_col=0)
            pose = truth.loc[int(image[3:11])].droplevel(0).unstack().loc[names, ["x", "y", "z"]].to_numpy(dtype=float)
            cameras = CameraGroup.load(generated / "calibrations" / f"{session}.toml").select([view])
            points = np.asarray(project_points(pose, cameras))[0]
            row[1:] = [cell for x, y in points for cell in (f"{x:.3f}", f"{y:.3f}", "2")]
        with table.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)


def before_training(folder: Path) -> None:
    """Before a command of the page that trains: shrink the network of new configs, and label new frames."""
    for path in folder.glob("data/mine*/config.yaml"):
        document = yaml.safe_load(path.read_text())
        document["training"] |= {"max_epochs": 2, "train_batch_size": 4, "accelerator": "cpu"}
        document["training"].pop("patch_mask", None)
        document["model"] |= TINY_MODEL
        path.write_text(yaml.safe_dump(document))
    if (folder / "data/mine/frames.csv").exists():
        label_from_truth(folder / "data/mine", folder / "data/raw")
