"""`mvtrain evaluate`: how good a run's predictions of labelled moments are, and what its likelihoods are worth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console

from mvgeom.files import write_text
from mvtrain.config import Config
from mvtrain.data.project import read_project
from mvtrain.evaluation.confidence import (
    DEFAULT_SHARE,
    calibration_errors,
    calibration_table,
    fit_confidence,
    outcomes,
)
from mvtrain.evaluation.evaluation import Evaluation, compare
from mvtrain.evaluation.figures import draw_evaluation
from mvtrain.evaluation.report import (
    print_calibration,
    print_consistency,
    print_errors,
    print_errors_3d,
    print_keypoints,
)
from mvtrain.evaluation.sets import is_own_project, sets_of
from mvtrain.evaluation.tables import error_3d_table, error_table, pck_table
from mvtrain.prediction.confidence import ConfidenceMap, describe_likelihood, save_confidence
from mvtrain.prediction.predictor import Predictor, choose_device
from mvtrain.prediction.project import check_project, predict_project, project_config
from mvtrain.prediction.report import say
from mvtrain.prediction.run_folder import Run, load_run


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """How to evaluate.

    Attributes:
        project: config file or folder of the project to evaluate on; None: the run's own.
        output_dir: where the tables go; None: `evaluation` or `evaluation_<project>` in the run folder.
        fit_confidence: fit the calibration of confidence to the validation split and keep it in the run.
        within: share of the subject's size within which a keypoint counts as found; None: that of the run's
            calibration, or 0.1.
        checkpoint: `best` or `last`.
        batch_size: moments per batch; None: `training.test_batch_size` of the run.
        device: where to compute; None: a GPU if there is one.
    """

    project: Path | None = None
    output_dir: Path | None = None
    fit_confidence: bool = False
    within: float | None = None
    checkpoint: str = "best"
    batch_size: int | None = None
    device: str | None = None


def evaluate_command(run_dir: Path, options: EvaluateOptions, console: Console) -> None:
    """Evaluate a run, write the tables and the picture, print the tables.

    Raises:
        ValueError: no run folder or checkpoint, a project that does not fit the run, nothing to fit to.
    """
    run = load_run(run_dir, options.checkpoint)
    share = _share(options, run)
    project = read_project(_config_of(run, options.project))
    check_project(project, run.spec)
    own, sets = is_own_project(run, project), sets_of(run, project)
    if not own:
        trained_on = run.config.data.data_dir
        say(console, f"{project.root} is not the project of the run ({trained_on}): all its moments count as test")
    if options.fit_confidence:
        _check_validation(run, sets, None if own else project.root)
    predictor = Predictor.of(run, choose_device(options.device), options.batch_size)
    predictions = predict_project(predictor, project)
    confidence_map = run.confidence_map
    if options.fit_confidence:
        confidence_map = _fit(compare(project, predictions, sets), share, run_dir)
        path = save_confidence(run.checkpoint, run.checksum, confidence_map)
        say(console, f"fitted the calibration of confidence to the validation split: {path}")
    evaluation = compare(project, predictions, sets, confidence_map)
    out_dir = options.output_dir or run_dir / ("evaluation" if own else f"evaluation_{project.root.name}")
    _write(evaluation, confidence_map, share, out_dir, console)
    say(console, describe_likelihood(confidence_map))
    say(console, f"tables and evaluation.png are in {out_dir}")


def _share(options: EvaluateOptions, run: Run) -> float:
    if options.within is not None and not options.within > 0:
        raise ValueError(f"--within {options.within:g} must be above 0: a share of the subject's size, such as 0.1")
    fitted = None if run.confidence_map is None else run.confidence_map.share
    if options.within is not None and fitted is not None and not options.fit_confidence and options.within != fitted:
        raise ValueError(
            f"--within {options.within:g}: the likelihoods of {run.folder} are calibrated to {fitted:g} of the "
            "subject's size; leave it out, or fit anew with --fit-confidence"
        )
    return next(share for share in (options.within, fitted, DEFAULT_SHARE) if share is not None)


def _config_of(run: Run, path: Path | None) -> Config:
    if path is None:
        return run.config
    config = project_config(path, run.config)
    if config is None:
        raise ValueError(
            f"{path} is no project: give its config.yaml, or a folder with config.yaml or CollectedData_<view>.csv"
        )
    return config


def _check_validation(run: Run, sets: np.ndarray, other: Path | None) -> None:
    if other is not None:
        raise ValueError(
            f"--fit-confidence fits to the validation split of the run's own project, but {other} is another; leave "
            "the project out"
        )
    if not (sets == "validation").any():
        raise ValueError(
            f"--fit-confidence needs moments of the validation split, and {run.folder} has none: train with "
            "training.val_prob above 0"
        )


def _fit(evaluation: Evaluation, share: float, run_dir: Path) -> ConfidenceMap:
    rows = evaluation.split == "validation"
    try:
        return fit_confidence(evaluation.raw_confidence[rows], outcomes(evaluation, share)[rows], share)
    except ValueError as error:
        raise ValueError(f"--fit-confidence: the validation split of {run_dir} has {error}") from error


def _write(
    evaluation: Evaluation, confidence_map: ConfidenceMap | None, share: float, out_dir: Path, console: Console
) -> None:
    errors, errors_3d, pck = error_table(evaluation), error_3d_table(evaluation), pck_table(evaluation)
    calibration = calibration_table(evaluation, share, confidence_map)
    summary = calibration_errors(calibration)
    out_dir.mkdir(parents=True, exist_ok=True)
    tables = {
        "errors.csv": errors,
        "errors_3d.csv": errors_3d,
        "pck.csv": pck,
        "confidence_calibration.csv": calibration,
        "confidence_summary.csv": summary,
    }
    for name, table in tables.items():
        _write_table(out_dir / name, table)
    draw_evaluation(out_dir / "evaluation.png", pck, calibration, share)
    print_errors(console, errors)
    print_keypoints(console, errors)
    print_errors_3d(console, errors_3d)
    print_consistency(console, errors)
    print_calibration(console, summary, share)


def _write_table(path: Path, table: pd.DataFrame) -> None:
    write_text(path, table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
