"""The command `mvtrain check`: from a config to findings, tables and contact sheets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from mvgeom.calibration.findings import Finding, error, note, sort_findings, warning
from mvgeom.errors import InputError
from mvgeom.wording import counted
from mvtrain.check.calibration_checks import (
    CalibratedFrames,
    LabelErrors,
    calibration_findings,
    check_calibrations,
    error_findings,
    frame_mismatches,
    label_errors,
    triangulation_findings,
)
from mvtrain.check.check_results import Results, print_results, print_verdict, write_json
from mvtrain.check.contact_sheets import worst_frames, write_augmented_sheet, write_label_sheet
from mvtrain.check.image_checks import (
    ImageScan,
    copy_findings,
    find_near_duplicates,
    image_findings,
    near_duplicate_findings,
    scan_images,
)
from mvtrain.check.label_checks import TableRows, count_labels, label_findings, place_findings, read_rows
from mvtrain.check.left_right import exchange_findings, mirrored_pairs, symmetry_findings
from mvtrain.config import Config
from mvtrain.project.held_out import describe_held_out, read_held_out
from mvtrain.project.images import turned_warning
from mvtrain.project.labels_3d import calibration_warnings, check_calibration, triangulate_labels
from mvtrain.project.project import Project, read_project
from mvtrain.project.pseudo_labels import held_out_warnings, read_pseudo_labels
from mvtrain.project.splits import Split, split_frames
from mvtrain.project.view_tables import PSEUDO_ENDING


def check(config: Config, out_dir: Path, console: Console) -> bool:
    """Check a whole project, print the findings, and write contact sheets of it.

    Writes `labels.png`, `worst.png` (if a label is suspect), `augmented.png` and `check.json`.

    Args:
        config: Config of the project.
        out_dir: Output folder; files of an earlier check are replaced.
        console: Console for tables and findings.

    Returns:
        True if no finding is an error.

    Raises:
        InputError: The project cannot be read, the config has a wrong value, or a file cannot be written.
    """
    project = read_project(config)
    split = split_frames(project, config)
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("decoding images")
        scan = scan_images(project, lambda done, total: bar.update(task, completed=done, total=total))
    results = _inspect(config, project, split, scan)
    print_results(console, results)
    written = ["check.json"]
    write_json(out_dir / "check.json", results)
    if write_label_sheet(out_dir / "labels.png", project, scan, results.errors):
        written.append("labels.png")
    if write_label_sheet(out_dir / "worst.png", project, scan, results.errors, worst_frames(results.errors)):
        written.append("worst.png")
    else:
        (out_dir / "worst.png").unlink(missing_ok=True)  # an earlier check may have found suspect labels
    if write_augmented_sheet(out_dir / "augmented.png", project, config, results.split, scan):
        written.append("augmented.png")
    console.print(f"wrote {', '.join(written)} to {out_dir}", highlight=False, soft_wrap=True)
    print_verdict(console, results)
    return results.passed


def _inspect(config: Config, project: Project, split: Split, scan: ImageScan) -> Results:
    rows = read_rows(config)
    counts = count_labels(project, split, rows)
    calibrations, notes = check_calibrations(project)
    errors = label_errors(project, calibrations)
    points_3d = triangulate_labels(project)
    near_duplicates = find_near_duplicates(scan.thumbnails, scan.readable, project.sessions, split)
    findings = [
        *_reader_findings(project, config),
        *(warning("project", (), text) for text in split.warnings),
        *image_findings(project, scan),
        *copy_findings(project, split, scan),
        *label_findings(project, split, counts, rows),
        *_held_out_findings(project, config),
        *_pseudo_findings(project, config, split),
        *place_findings(project, rows),
        *calibration_findings(project, config, calibrations),
        *triangulation_findings(project, config, split, points_3d),
        *_side_findings(project, calibrations, errors, rows, points_3d),
        *error_findings(project, errors, calibrations),
        *near_duplicate_findings(project, split, near_duplicates, config.data.split),
        *notes,
    ]
    return Results(
        config=config,
        project=project,
        split=split,
        rows=rows,
        counts=counts,
        calibrations=calibrations,
        points_3d=points_3d,
        errors=errors,
        near_duplicates=near_duplicates,
        findings=sort_findings(findings),
    )


def _side_findings(
    project: Project,
    calibrations: tuple[CalibratedFrames, ...],
    errors: LabelErrors,
    rows: TableRows,
    points_3d: np.ndarray,
) -> list[Finding]:
    """Report left and right exchanged or unequal in 3D; nothing if no calibration fits the labels."""
    usable = [group for group in calibrations if not group.contradicted]
    if not usable:
        return []
    try:
        pairs = mirrored_pairs(project.keypoint_names)
    except InputError as problem:
        return [note("sides_not_checked", (), f"left and right were not compared: {problem}")]
    fitting = points_3d[np.concatenate([group.rows for group in usable])]
    return [
        *exchange_findings(project, usable, errors, rows.lines, pairs),
        *symmetry_findings(project.keypoint_names, fitting, pairs),
    ]


def _held_out_findings(project: Project, config: Config) -> list[Finding]:
    """Report whether the held-out label tables of a project can be evaluated after training, as `mvtrain fit` does."""
    try:
        held_out = read_held_out(config, project)
    except InputError as problem:
        return [error("held_out_tables", (), str(problem))]
    return [
        *(warning("held_out_tables", (), text) for text in held_out.warnings),
        *(note("held_out_tables", (), describe_held_out(tables)) for tables in held_out.found),
    ]


def _pseudo_findings(project: Project, config: Config, split: Split) -> list[Finding]:
    """Report whether `mvtrain fit` can learn from the pseudo-labels of a project, and how many there are."""
    try:
        pseudo = read_pseudo_labels(config, project)
    except InputError as problem:
        return [error("pseudo_labels", (), str(problem))]
    if pseudo is None:
        return []
    number = f"{counted(len(pseudo.rows), 'frame')} of label tables that end in {PSEUDO_ENDING}: learned from"
    texts = (*pseudo.warnings, *held_out_warnings(pseudo, split))
    return [*(warning("pseudo_labels", (), text) for text in texts), note("pseudo_labels", (), number)]


def _reader_findings(project: Project, config: Config) -> list[Finding]:
    """Report what `mvtrain fit` reports before training."""
    findings = []
    try:
        check_calibration(config, project)
    except InputError as problem:
        findings.append(error("no_calibration", (), str(problem)))
    else:
        findings += [warning("no_calibration", (), text) for text in calibration_warnings(config, project)]
    # `calibration_findings` and `image_findings` report these, not always as a warning.
    reported = {*frame_mismatches(project).values(), *turned_warning(project.image_paths, project.turned)}
    findings += [warning("project", (), text) for text in project.warnings if text not in reported]
    return findings
