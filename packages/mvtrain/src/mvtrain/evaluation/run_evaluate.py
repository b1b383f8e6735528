"""Evaluation after training and by `mvtrain evaluate`: tables, figure and printed summary."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console

from mvgeom.errors import InputError
from mvgeom.files import file_name, replace_file, write_text
from mvtrain.config import Config
from mvtrain.evaluation.error_tables import error_3d_table, error_table, join_tables, pck_table
from mvtrain.evaluation.evaluation import (
    Evaluation,
    assign_splits,
    compare,
    compare_held_out,
    describe_unlearned,
    find_training_pose,
    is_own_project,
)
from mvtrain.evaluation.fits_to_labels import (
    DEFAULT_SHARE,
    LEAST_FRAMES,
    LEAST_POINTS,
    calibration_errors,
    calibration_table,
    fit_confidence,
    fit_error_bars,
    outcomes,
)
from mvtrain.evaluation.presentation import (
    draw_evaluation,
    print_calibration,
    print_consistency,
    print_errors,
    print_errors_3d,
    print_keypoints,
)
from mvtrain.model.error_bars import ErrorBars, ensemble_checksum, save_error_bars
from mvtrain.model.inference import FramePredictions
from mvtrain.model.likelihood import ConfidenceMap, describe_likelihood, save_confidence
from mvtrain.model.run_folder import Run, load_run
from mvtrain.predict.after_training import check_videos, predict_videos
from mvtrain.predict.ensemble import arrange_alike, find_error_bars
from mvtrain.predict.labeled_images import (
    PROJECT_NOTE,
    check_cameras,
    check_of_project,
    image_warnings,
    in_network_order,
    predict_project,
    predict_with_all,
    project_config,
    read_run_project,
    table_index,
    write_project_predictions,
)
from mvtrain.predict.outputs import write_pixel_errors
from mvtrain.predict.predictor import Predictor, choose_device
from mvtrain.predict.run_predict import print_line, print_warning
from mvtrain.project.held_out import HeldOutTables, describe_held_out, read_held_out
from mvtrain.project.labels_3d import read_truth
from mvtrain.project.names import of_view
from mvtrain.project.project import Project, read_project
from mvtrain.project.splits import read_split
from mvtrain.project.view_tables import find_tables
from mvtrain.runtime.folders import find_runs
from mvtrain.runtime.messages import command
from mvtrain.training.train import TrainedRun


def check_evaluation(config: Config, project: Project, console: Console) -> None:
    """Read, before a training, the files that `evaluate_trained` will need after it.

    Args:
        config: Config of the run.
        project: Project to train on.
        console: Console for warnings.

    Raises:
        InputError: The true keypoints of a generated project cannot be read; besides, the errors of `read_held_out`
            and `check_videos`.
    """
    read_truth(project)
    held_out = read_held_out(config, project)
    for text in held_out.warnings:
        print_warning(console, text)
    for tables in held_out.found:
        print_line(console, describe_held_out(tables))
    check_videos(config, project.view_names, project.keypoint_names, console)


def evaluate_trained(trained: TrainedRun, console: Console) -> None:
    """Predict every labeled frame with the best checkpoint, write the tables, print the errors, predict the videos.

    So are the frames of held-out tables: theirs have the same names with the ending, `predictions_<view>_new.csv`.
    Error bars in 3D are fitted to the validation split first, so that all tables have them.
    """
    run_dir, config, project, split = trained.folder, trained.config, trained.project, trained.split
    run = load_run(run_dir)
    predictor = Predictor.from_run(run, trained.device, config.training.test_batch_size)
    predictions = predict_project(predictor, project)
    sets = split.names()
    error_bars = _fit_error_bars(run.checkpoint, run.checksum, project, predictions, sets, run.confidence_map)
    predictor = replace(predictor, error_bars=error_bars)
    evaluation = compare(project, predictions, sets, run.confidence_map, error_bars)
    tables = find_tables(project.root, config.data)[1]
    _write_predictions(run_dir, tables, project, predictions, evaluation, run.confidence_map, error_bars)
    evaluations, pose = [evaluation], find_training_pose(project, sets)
    for held_out in read_held_out(config, project).found:
        predictions = predict_project(predictor, held_out.project)
        evaluations.append(compare_held_out(held_out, predictions, run.confidence_map, error_bars, training_pose=pose))
        compared = (held_out.tables, held_out.project, predictions, evaluations[-1])
        _write_predictions(run_dir, *compared, run.confidence_map, error_bars, held_out.ending)
    print_errors(console, join_tables(map(error_table, evaluations)))
    print_errors_3d(console, join_tables(map(error_3d_table, evaluations)))
    if config.eval.predict_vids_after_training:
        predict_videos(predictor, config, run_dir / "video_preds", console)
    # Near the end, where readers notice it.
    for line in describe_unlearned(evaluation, run.spec.heatmap_size, config.model.heatmap_loss_type):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    print_line(console, f"everything about this run is in {run_dir}. Next: {command('mvtrain', 'report', run_dir)}")


def _write_predictions(
    run_dir: Path,
    tables: Sequence[Path],
    project: Project,
    predictions: FramePredictions,
    evaluation: Evaluation,
    confidence_map: ConfidenceMap | None,
    error_bars: ErrorBars | None,
    ending: str = "",
) -> None:
    """Write the tables of predictions and of pixel errors of a project into a run folder.

    Scripts look for them there, or in `image_preds/<label table>`, where Lightning Pose has had them since version 2.
    """
    sets = evaluation.split.tolist()
    write_project_predictions(run_dir, project, predictions, sets, confidence_map, error_bars, ending)
    for view, name in enumerate(project.view_names):
        path = run_dir / file_name(f"{of_view('predictions', name)}_pixel_error{ending}.csv")
        index = table_index(project, view)
        write_pixel_errors(path, index, project.keypoint_names, evaluation.pixel_error[:, view], sets)
        folder = run_dir / "image_preds" / file_name(tables[view].name)
        folder.mkdir(parents=True, exist_ok=True)
        for source, copy in (
            (run_dir / file_name(f"{of_view('predictions', name)}{ending}.csv"), folder / "predictions.csv"),
            (path, folder / "predictions_pixel_error.csv"),
        ):
            replace_file(copy, partial(shutil.copyfile, source))


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Options of `mvtrain evaluate`.

    Attributes:
        project: Config file or folder of the project to evaluate on; None: the run's own.
        output_dir: Folder of the tables; None: `evaluation` or `evaluation_<project>` in the run folder.
        fit_confidence: Fit the calibration of confidence and the error bars in 3D to the validation split, and save
            them in the run.
        within: Share of the subject's size within which a keypoint counts as found; None: that of the run's
            calibration, or 0.1.
        checkpoint: Name of the checkpoint, `best` or `last`.
        batch_size: Frames per batch; None: `training.test_batch_size` of the run.
        device: Device of the network; None: a GPU if there is one.
    """

    project: Path | None = None
    output_dir: Path | None = None
    fit_confidence: bool = False
    within: float | None = None
    checkpoint: str = "best"
    batch_size: int | None = None
    device: str | None = None


def evaluate_command(run_dir: Path, options: EvaluateOptions, console: Console) -> None:
    """Evaluate a run, write the tables and the figure, print the tables.

    Of an ensemble, every run is evaluated, then all together: tables of each are in its folder, or in a folder of its
    name in that of the output.

    Raises:
        InputError: No run folder or checkpoint, a project that does not fit the run, or no labels to fit to.
    """
    folders = find_runs(run_dir)
    if len(folders) == 1:
        _evaluate_run(folders[0], options, console)
        return
    for folder in folders:
        out_dir = None if options.output_dir is None else options.output_dir / folder.name
        _evaluate_run(folder, replace(options, output_dir=out_dir), console)
    _evaluate_together(run_dir, folders, options, console)


def _evaluate_run(run_dir: Path, options: EvaluateOptions, console: Console) -> None:
    """Evaluate one run."""
    run = load_run(run_dir, options.checkpoint)
    share = _share(options, run)
    project, held_out = read_evaluated(run, options.project)
    for text in (*image_warnings(project, run.config), *held_out.warnings):
        print_warning(console, text)
    own, sets = is_own_project(run, project), assign_splits(run, project)
    out_dir = options.output_dir or _folder_of(run_dir, project, own=own)
    _print_origin(run, project, own, console)
    if options.fit_confidence:
        _check_validation(run, sets, None if own else project.root)
    predictor = Predictor.from_run(run, choose_device(options.device), options.batch_size)
    predictions = predict_project(predictor, project)
    confidence_map, error_bars = run.confidence_map, run.error_bars
    if options.fit_confidence:
        confidence_map = _fit(compare(project, predictions, sets), share, run_dir)
        path = save_confidence(run.checkpoint, run.checksum, confidence_map)
        print_line(console, f"fitted the calibration of confidence to the validation split: {path}")
        error_bars = _fit_error_bars(run.checkpoint, run.checksum, project, predictions, sets, confidence_map)
        _print_error_bars(error_bars, run.checkpoint, project, console)
    pose = find_training_pose(project, sets)
    evaluations = [
        compare(project, predictions, sets, confidence_map, error_bars),
        *(
            compare_held_out(
                tables, predict_project(predictor, tables.project), confidence_map, error_bars, training_pose=pose
            )
            for tables in held_out.found
        ),
    ]
    _write(evaluations, confidence_map, share, out_dir, console)
    if not own:
        write_text(out_dir / PROJECT_NOTE, f"{project.root.resolve()}\n")
    print_line(console, describe_likelihood(confidence_map))
    print_line(console, f"wrote tables and evaluation.png to {out_dir}. Next: {command('mvtrain', 'report', run_dir)}")


def _folder_of(folder: Path, project: Project, *, own: bool) -> Path:
    """Return the folder in that of a run for the tables of a project; there must not be those of another project."""
    found = folder / file_name("evaluation" if own else f"evaluation_{project.root.name}")
    if not own:
        check_of_project(found, project)
    return found


def _print_origin(run: Run, project: Project, own: bool, console: Console) -> None:
    """Print what the splits are, where the project is not in the folder that the run was trained on."""
    trained_on = run.config.data.data_dir
    if own:
        if trained_on is not None and not trained_on.is_dir():
            print_line(console, f"{project.root} is the project of the run, moved from {trained_on}: splits are kept")
        return
    print_line(console, f"{project.root} is not the project of the run ({trained_on}): all its frames count as test")
    number = (read_split(run.folder, project) or []).count("train")
    if number:
        print_warning(
            console,
            f"found session and name of frames that the run was trained on in {number} of its {len(project)} frames. "
            "If they are the same images, the errors are too small",
        )


def _evaluate_together(ensemble: Path, folders: Sequence[Path], options: EvaluateOptions, console: Console) -> None:
    """Evaluate the combined predictions of the runs of an ensemble, with the splits of the first."""
    runs = arrange_alike([load_run(folder, options.checkpoint) for folder in folders])
    project, held_out = read_evaluated(runs[0], options.project)
    device = choose_device(options.device)
    predictors = [Predictor.from_run(run, device, options.batch_size) for run in runs]
    predictions, confidence_map = predict_with_all(predictors, project)
    own, sets = is_own_project(runs[0], project), assign_splits(runs[0], project)
    error_bars = find_error_bars([ensemble], runs)
    if options.fit_confidence:
        # No run may have learned from the frames.
        learned = np.any([assign_splits(run, project) == "train" for run in runs], axis=0)
        checksum = ensemble_checksum([run.checksum for run in runs])
        unseen = np.where(learned, "train", sets)
        error_bars = _fit_error_bars(ensemble, checksum, project, predictions, unseen, confidence_map)
        _print_error_bars(error_bars, ensemble, project, console)
    pose = find_training_pose(project, sets)
    evaluations = [
        compare(project, predictions, sets, confidence_map, error_bars),
        *(
            compare_held_out(tables, *predict_with_all(predictors, tables.project), error_bars, training_pose=pose)
            for tables in held_out.found
        ),
    ]
    out_dir = options.output_dir or _folder_of(ensemble, project, own=own)
    print_line(console, f"the {len(runs)} networks of {ensemble} together:")
    _write(evaluations, confidence_map, _share(options, runs[0]), out_dir, console)
    if not own:
        write_text(out_dir / PROJECT_NOTE, f"{project.root.resolve()}\n")
    print_line(console, f"wrote tables and evaluation.png to {out_dir}")


def _fit_error_bars(
    folder: Path,
    checksum: str,
    project: Project,
    predictions: FramePredictions,
    sets: np.ndarray,
    confidence_map: ConfidenceMap | None,
) -> ErrorBars | None:
    """Fit the error bars in 3D to the validation split, and save them beside the weights; None with too few labels."""
    rows = np.asarray(sets)[predictions.index] == "validation"
    error_bars = fit_error_bars(project, predictions, rows, confidence_map)
    save_error_bars(folder, checksum, error_bars)
    return error_bars


def _print_error_bars(error_bars: ErrorBars | None, folder: Path, project: Project, console: Console) -> None:
    if error_bars is not None:
        print_line(console, f"fitted the error bars in 3D to the validation split: {folder}")
        print_line(console, error_bars.describe())
    elif any(cameras is not None and len(cameras) > 1 for cameras in project.cameras):
        print_line(
            console,
            f"standard deviations in 3D are not those of labels: the validation split needs {LEAST_FRAMES} frames and "
            f"{LEAST_POINTS} keypoints that two views have labels of",
        )


def _share(options: EvaluateOptions, run: Run) -> float:
    if options.within is not None and not options.within > 0:
        raise InputError(
            f"--within: found {options.within:g}, expected a share of the subject's size above 0, such as 0.1",
            code="bad-option",
            option="--within",
        )
    fitted = None if run.confidence_map is None else run.confidence_map.share
    if options.within is not None and fitted is not None and not options.fit_confidence and options.within != fitted:
        raise InputError(
            f"--within: found {options.within:g}, expected {fitted:g}, the share of the subject's size to which the "
            f"likelihoods of {run.folder} are calibrated. Leave --within out, or fit again with --fit-confidence.",
            code="bad-option",
            option="--within",
        )
    return next(share for share in (options.within, fitted, DEFAULT_SHARE) if share is not None)


def read_evaluated(run: Run, path: Path | None) -> tuple[Project, HeldOutTables]:
    """Read a project and its held-out tables, in the order of the run's views and keypoints.

    Args:
        run: Run that is evaluated.
        path: Config file or folder of the project; None: the run's own.

    Raises:
        InputError: `not-a-project`; else those of `read_project`, `in_network_order` and `read_held_out`.
    """
    config = evaluated_config(run, path)
    project = read_run_project(run) if path is None else in_network_order(read_project(config), run.spec)
    held_out = read_held_out(config, project)
    for tables in held_out.found:
        check_cameras(tables.project, run.spec)
    return project, held_out


def evaluated_config(run: Run, path: Path | None) -> Config:
    """Return the config of the project at a path, which is its config file or folder; None: the run's.

    Raises:
        InputError: `not-a-project`; else those of `load_config`.
    """
    if path is None:
        return run.config
    config = project_config(path, run.config)
    if config is None:
        raise InputError(
            f"{path} is not a project. Give its config.yaml, or a folder with config.yaml or CollectedData_<view>.csv.",
            code="not-a-project",
            path=path,
        )
    return config


def _check_validation(run: Run, sets: np.ndarray, other: Path | None) -> None:
    if other is not None:
        raise InputError(
            f"--fit-confidence: found the project {other}, expected the run's own, whose validation split it needs. "
            "Leave the project out.",
            code="excluded-options",
            option="--fit-confidence",
            path=other,
        )
    if not (sets == "validation").any():
        raise InputError(
            f"--fit-confidence: {run.folder} has no frames of the validation split. Train with training.val_prob above "
            "0.",
            code="no-labels",
            option="--fit-confidence",
            path=run.folder,
        )


def _fit(evaluation: Evaluation, share: float, run_dir: Path) -> ConfidenceMap:
    rows = evaluation.split == "validation"
    if not (evaluation.subject_size > 0).any():
        raise InputError(
            f"--fit-confidence: likelihoods refer to a share of the subject's size in a view, found no frame of "
            f"{run_dir}'s project with two keypoints in a view. Leave --fit-confidence out, or label more keypoints.",
            code="no-subject-size",
            option="--fit-confidence",
            path=run_dir,
        )
    try:
        return fit_confidence(evaluation.raw_confidence[rows], outcomes(evaluation, share)[rows], share)
    except InputError as error:
        raise InputError(
            f"--fit-confidence: the validation split of {run_dir} has no keypoint with a known place",
            code="no-labels",
            option="--fit-confidence",
            path=run_dir,
        ) from error


def _write(
    evaluations: Sequence[Evaluation],
    confidence_map: ConfidenceMap | None,
    share: float,
    out_dir: Path,
    console: Console,
) -> None:
    """Write and print the tables of a project, with those of its held-out frames below."""
    errors, errors_3d, pck = (join_tables(map(make, evaluations)) for make in (error_table, error_3d_table, pck_table))
    calibration = join_tables(calibration_table(evaluation, share, confidence_map) for evaluation in evaluations)
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
