"""Points in 3D by covariances that a network states (`model.covariance_head`), beside those without.

    OMP_WAIT_POLICY=passive nice uv run python benchmarks/ablation.py --out ablation --rows "covariance head"
    OMP_WAIT_POLICY=passive uv run python benchmarks/covariance_head.py --out ablation

The runs of the first command state covariances: per view, 420 labeled frames, heavy occlusion (see `ablation.py`). No
gradient of the head reaches the network, so the same runs show the points in 3D with and without it. Of the test
frames' points, by the pipeline of `mvtrain predict`, with the confidence calibrated on the validation frames:

- error in mm: mean, median, and mean of the keypoints that fewer than two views see;
- coverage: share of coordinates within the 50, 90 and 99 % intervals of their standard deviation, which are the
  pipeline's without labels (`mvgeom.left_out`);
- negative log-likelihood of the coordinates under these standard deviations, mean; lower is better. That of the first
  row is subtracted.

Points that no two views agree on are missing in some rows: all figures are of those that all rows have, and `missing`
is the share that a row lacks.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from ablation import SETTINGS, result_path
from ablation_figures import FUSED, known_places
from rich.console import Console
from rich.table import Table
from scipy.stats import norm

from mvaug import Augmentation
from mvtrain.config import load_config
from mvtrain.data.dataset import EpochSampler, FrameDataset, ImageCache, make_loader
from mvtrain.evaluation.fits_to_labels import fit_confidence
from mvtrain.model.checkpoint import load_checkpoint
from mvtrain.model.inference import FramePredictions, Network, predict_frames
from mvtrain.model.likelihood import ConfidenceMap
from mvtrain.model.reconstruction import reconstruct_project
from mvtrain.project.project import Project, read_project
from mvtrain.project.splits import split_frames

LEVELS = (0.5, 0.9, 0.99)
SHARE = 0.1
"""Share of the subject's size within which a keypoint counts as found, for the calibration of the confidence."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the ablation")
    parser.add_argument("--row", default="covariance head", help="row of the ablation whose runs state covariances")
    parser.add_argument("--projects", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for project in arguments.projects:
        found = []
        for seed in range(arguments.seeds):
            run = arguments.out / "runs" / result_path(arguments.out, (project, arguments.row, seed)).stem
            if (run / "checkpoints" / "best").is_dir():
                found.append(measure(run, arguments.out / "truth", SETTINGS[project].unit))
        if found:
            print_table(project, found)


def measure(run: Path, truth_dir: Path, unit: float) -> dict[str, dict[str, float]]:
    """Return the figures of each way to the points, of one run."""
    config = load_config(run / "config.yaml")
    project = read_project(config)
    split = split_frames(project, config)
    test = predict(run, project, split.test)
    confidence_map = calibrate(project, predict(run, project, split.validation))
    _, world, visible, _ = known_places(config, project, split.test, truth_dir)
    known = np.isfinite(world).all(-1)
    few = visible.sum(1) < 2
    plain = replace(test, points=test.own_points, confidence=test.own_confidence, before_fusion=None)
    ways = {
        "calibrated confidence": reconstruct_project(project, replace(plain, own_covariance=None), confidence_map),
        "stated covariance": reconstruct_project(project, plain, confidence_map),
        f"{FUSED}evidence": reconstruct_project(project, replace(test, own_covariance=None), confidence_map),
        f"{FUSED}evidence, stated covariance": reconstruct_project(project, test, confidence_map),
    }
    common = known & np.all([np.isfinite(way.points).all(-1) for way in ways.values()], axis=0)
    figures = {}
    for name, way in ways.items():
        difference = way.points - world
        error = unit * np.linalg.norm(difference, axis=-1)
        standardized = (difference / way.std)[common]
        figures[name] = {
            "mean": float(error[common].mean()),
            "median": float(np.median(error[common])),
            "seen by one": float(error[common & few].mean()),
            "missing": float(1 - np.isfinite(way.points).all(-1)[known].mean()),
            **{f"{level:.0%}": float((np.abs(standardized) < norm.ppf((1 + level) / 2)).mean()) for level in LEVELS},
            "NLL": float((standardized**2 / 2 + np.log(way.std[common])).mean()),
        }
    return figures


def predict(run: Path, project: Project, rows: np.ndarray) -> FramePredictions:
    """Predict labeled frames with the network of a run, fused."""
    model, spec = load_checkpoint(run / "checkpoints" / "best")
    network = replace(Network.from_model(model, spec, torch.device("cpu")), fuses_views=True)
    cache = ImageCache.from_project(project, max_bytes=1e9)
    dataset = FrameDataset(project, size=spec.image_size, augmentation=Augmentation.none(), seed=0, cache=cache)
    loader = make_loader(dataset, EpochSampler(rows, batch_size=32, seed=None), num_workers=0, pin_memory=False)
    return predict_frames(network, loader, torch.device("cpu"))


def calibrate(project: Project, predictions: FramePredictions) -> ConfidenceMap:
    """Fit the likelihood of each view by itself to the labels that people gave."""
    rows = predictions.index
    labels = np.where((project.visibility[rows] == 2)[..., None], project.points_full[rows], np.nan)
    size = np.nanmedian(np.linalg.norm(np.nanmax(labels, axis=2) - np.nanmin(labels, axis=2), axis=-1))
    distance = np.linalg.norm(predictions.own_points - labels, axis=-1)
    found = np.where(np.isfinite(distance), distance < SHARE * size, np.nan)
    usable = np.isfinite(found)
    return fit_confidence(predictions.own_confidence[usable], found[usable], SHARE)


def print_table(project: str, seeds: list[dict[str, dict[str, float]]]) -> None:
    """Print means and ranges over the seeds."""
    columns = list(next(iter(seeds[0].values())))
    table = Table(title=f"{project}, {len(seeds)} seeds: mean (lowest to highest)")
    for column in ("way", *columns):
        table.add_column(column, justify="left" if column == "way" else "right")
    first = next(iter(seeds[0]))
    for way in seeds[0]:
        cells = []
        for column in columns:
            values = np.array([seed[way][column] for seed in seeds])
            if column == "NLL":
                values = values - np.array([seed[first][column] for seed in seeds])
            decimals = 3 if column in ("NLL", "missing") or column.endswith("%") else 2
            spread = f" ({values.min():.{decimals}f} to {values.max():.{decimals}f})" if len(seeds) > 1 else ""
            cells.append(f"{values.mean():.{decimals}f}{spread}")
        table.add_row(way, *cells)
    Console(width=200).print(table)


if __name__ == "__main__":
    main()
