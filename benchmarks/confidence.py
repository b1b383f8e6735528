"""What calibrating confidence does to likelihoods and to 3D, on moments that a run has not learned from.

    uv run python benchmarks/confidence.py RUN...

The map from confidence to likelihood is fitted to the validation split of each run's project, which must know the true
3D, and everything is measured on the test split, once for each run:

- the expected calibration error of the network's confidence and of likelihoods calibrated on visible keypoints only and
  on all, by labels (hidden keypoints by the triangulated labels of other views) and by truth;
- the 3D error against truth of the robust triangulation that `mvtrain predict` does, with all views weighted alike, by
  the network's confidence, by the likelihood p, and by the precision -ln(1 - p) that follows from it.

Nothing is written.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from mvtrain.data.project import read_project
from mvtrain.evaluation.confidence import DEFAULT_SHARE, calibration_error, fit_confidence, outcomes, reliability
from mvtrain.evaluation.evaluation import Evaluation, evaluate
from mvtrain.prediction.predict import FramePredictions
from mvtrain.prediction.project import reconstruct_project
from mvtrain.prediction.run_folder import load_run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    torch.set_num_threads(1)
    likelihoods = _table("run", "likelihood", "ECE by labels", "visible only", "hidden only", "ECE by truth")
    errors_3d = _table("run", "weights", "mean", "median", "95 %", "predicted")
    for folder in parser.parse_args().runs:
        run = load_run(folder)
        project = read_project(run.config)
        evaluation = evaluate(run, project)
        raw = evaluation.raw_confidence
        found = outcomes(evaluation, DEFAULT_SHARE)
        visible = np.isfinite(evaluation.pixel_error)
        validation = evaluation.split == "validation"
        likelihood = fit_confidence(raw[validation], found[validation], DEFAULT_SHARE)(raw)
        seen = np.where(visible, found, np.nan)
        said = {
            "network's confidence": raw,
            "calibrated on visible keypoints": fit_confidence(raw[validation], seen[validation], DEFAULT_SHARE)(raw),
            "calibrated on all: what is kept": likelihood,
        }
        for name, confidence in said.items():
            figures = calibration_figures(evaluation, found, confidence)
            likelihoods.add_row(folder.name, name, *(f"{figure:.3f}" for figure in figures))
        weights = {
            "equal": np.where(np.isfinite(raw), 1.0, np.nan),
            "confidence": raw,
            "likelihood p": likelihood,
            "-ln(1 - p)": -np.log1p(-likelihood),
        }
        for name, weight in weights.items():
            test = np.flatnonzero(evaluation.split == "test")
            predictions = FramePredictions(
                index=evaluation.rows[test], points=evaluation.points[test], confidence=weight[test]
            )
            points_3d = reconstruct_project(project, predictions, None).points
            errors_3d.add_row(folder.name, name, *figures_3d(points_3d, evaluation.truth_3d[test]))
    console = Console(width=120)
    console.print(likelihoods)
    console.print(errors_3d)


def calibration_figures(evaluation: Evaluation, found: np.ndarray, confidence: np.ndarray) -> list[float]:
    """ECE on the test split by labels of all, of visible and of hidden keypoints, and by truth of all."""
    test = evaluation.split == "test"
    visible = np.isfinite(evaluation.pixel_error)
    true_error = np.where(visible, evaluation.pixel_error, evaluation.hidden_truth_error)
    true_error = true_error / evaluation.subject_size[:, None]
    truly_found = np.where(np.isfinite(true_error), true_error <= DEFAULT_SHARE, np.nan)
    chosen = [found, np.where(visible, found, np.nan), np.where(visible, np.nan, found), truly_found]
    return [calibration_error(reliability(confidence[test], outcome[test])) for outcome in chosen]


def figures_3d(points_3d: np.ndarray, truth_3d: np.ndarray) -> list[str]:
    """Mean, median and 95th percentile of the distances, and the share of points that there are."""
    errors = np.linalg.norm(points_3d - truth_3d, axis=-1)
    known = errors[np.isfinite(errors)]
    figures = (known.mean(), np.median(known), np.percentile(known, 95))
    return [*(f"{figure:.1f}" for figure in figures), f"{np.isfinite(errors).mean():.1%}"]


def _table(*columns: str) -> Table:
    table = Table()
    for column in columns:
        table.add_column(column, justify="left" if column in ("run", "likelihood", "weights") else "right")
    return table


if __name__ == "__main__":
    main()
