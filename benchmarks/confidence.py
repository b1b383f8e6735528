"""Effect of calibrated confidence on likelihoods and on 3D, on frames that a run has not learned from.

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

from mvtrain.evaluation.evaluation import Evaluation, evaluate
from mvtrain.evaluation.fits_to_labels import DEFAULT_SHARE, calibration_error, fit_confidence, outcomes, reliability
from mvtrain.model.inference import FramePredictions
from mvtrain.model.reconstruction import reconstruct_project
from mvtrain.model.run_folder import load_run
from mvtrain.project.project import read_project

KEPT = "calibrated on all: what is kept"


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
        if evaluation.truth_3d is None or evaluation.hidden_truth_error is None:
            raise SystemExit(f"{project.root} has no true 3D: give runs of generated projects")
        found = outcomes(evaluation, DEFAULT_SHARE)
        truly_found = _truly_found(evaluation, evaluation.hidden_truth_error)
        likelihoods = likelihoods_of(evaluation, found)
        for name, confidence in likelihoods.items():
            figures = calibration_figures(evaluation, confidence, found, truly_found)
            likelihoods.add_row(folder.name, name, *(f"{figure:.3f}" for figure in figures))
        test = np.flatnonzero(evaluation.split == "test")
        for name, weights in weights_of(evaluation.raw_confidence[test], likelihoods[KEPT][test]).items():
            predictions = FramePredictions(
                index=evaluation.rows[test], points=evaluation.points[test], confidence=weights
            )
            points_3d = reconstruct_project(project, predictions, None).points
            errors_3d.add_row(folder.name, name, *figures_3d(points_3d, evaluation.truth_3d[test]))
    console = Console(width=120)
    console.print(likelihoods)
    console.print(errors_3d)


def likelihoods_of(evaluation: Evaluation, found: np.ndarray) -> dict[str, np.ndarray]:
    """(N, V, K) likelihoods before and after calibration on the validation split."""
    validation = evaluation.split == "validation"
    confidence = evaluation.raw_confidence

    def after(known: np.ndarray) -> np.ndarray:
        return fit_confidence(confidence[validation], known[validation], DEFAULT_SHARE)(confidence)

    seen = np.where(np.isfinite(evaluation.pixel_error), found, np.nan)
    return {"network's confidence": confidence, "calibrated on visible keypoints": after(seen), KEPT: after(found)}


def weights_of(confidence: np.ndarray, likelihood: np.ndarray) -> dict[str, np.ndarray]:
    """Weights of views in the triangulation."""
    return {
        "equal": np.where(np.isfinite(confidence), 1.0, np.nan),
        "confidence": confidence,
        "likelihood p": likelihood,
        "-ln(1 - p)": -np.log1p(-likelihood),
    }


def calibration_figures(
    evaluation: Evaluation, confidence: np.ndarray, found: np.ndarray, truly_found: np.ndarray
) -> list[float]:
    """ECE on the test split by labels of all, of visible and of hidden keypoints, and by truth of all."""
    test = evaluation.split == "test"
    visible = np.isfinite(evaluation.pixel_error)
    chosen = [found, np.where(visible, found, np.nan), np.where(visible, np.nan, found), truly_found]
    return [calibration_error(reliability(confidence[test], outcome[test])) for outcome in chosen]


def _truly_found(evaluation: Evaluation, hidden_error: np.ndarray) -> np.ndarray:
    visible = np.isfinite(evaluation.pixel_error)
    error = np.where(visible, evaluation.pixel_error, hidden_error) / evaluation.subject_size[:, None]
    return np.where(np.isfinite(error), error <= DEFAULT_SHARE, np.nan)


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
