"""`mvtrain check`: from a config to findings, tables and pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from mvgeom.calibration.findings import Finding, error, note, sort_findings, warning
from mvtrain.check.calibration_checks import (
    CalibratedFrames,
    calibration_findings,
    check_calibrations,
    findings_in_3d,
    frame_mismatches,
)
from mvtrain.check.check_tables import print_results, print_verdict, write_json
from mvtrain.check.contact_sheets import worst_frames, write_augmented_sheet, write_label_sheet
from mvtrain.check.duplicates import copy_findings, find_twins, twin_findings
from mvtrain.check.image_scan import ImageScan, image_findings, scan_images
from mvtrain.check.label_checks import TableRows, count_labels, label_findings, read_rows
from mvtrain.check.label_errors import LabelErrors, error_findings, label_errors
from mvtrain.check.left_right import exchange_findings, sides, symmetry_findings
from mvtrain.check.results import Results
from mvtrain.config import Config
from mvtrain.project.labels_3d import check_calibration, triangulate_labels
from mvtrain.project.project import Project, read_project
from mvtrain.project.splits import Split, split_frames


def check(config: Config, out_dir: Path, console: Console) -> bool:
    """Read a whole project, say what is wrong with it, and write pictures of it.

    Writes `labels.png`, `worst.png` (where a label is suspect), `augmented.png` and `check.json`.

    Args:
        config: of the project.
        out_dir: folder to write to; files of an earlier check are replaced.
        console: where to say what was found.

    Returns:
        Whether nothing speaks against training.

    Raises:
        ValueError: a config or a project that cannot be read at all.
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
        (out_dir / "worst.png").unlink(missing_ok=True)  # an earlier check's labels are suspect no more
    if write_augmented_sheet(out_dir / "augmented.png", project, config, results.split, scan):
        written.append("augmented.png")
    console.print(f"look at {', '.join(written)} in {out_dir}", highlight=False, soft_wrap=True)
    print_verdict(console, results)
    return results.passed


def _inspect(config: Config, project: Project, split: Split, scan: ImageScan) -> Results:
    rows = read_rows(config)
    counts = count_labels(project, split, rows)
    calibrations, notes = check_calibrations(project)
    errors = label_errors(project, calibrations)
    points_3d = triangulate_labels(project)
    twins = find_twins(scan.thumbnails, scan.readable, project.sessions, split)
    findings = [
        *_reader_findings(project, config),
        *image_findings(project, scan),
        *copy_findings(project, split, scan),
        *label_findings(project, split, counts, rows),
        *calibration_findings(project, config, calibrations),
        *findings_in_3d(project, config, split, points_3d),
        *_side_findings(project, calibrations, errors, rows, points_3d),
        *error_findings(project, errors, calibrations),
        *twin_findings(project, split, twins, config.data.split),
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
        twins=twins,
        findings=sort_findings(findings),
    )


def _side_findings(
    project: Project,
    calibrations: tuple[CalibratedFrames, ...],
    errors: LabelErrors,
    rows: TableRows,
    points_3d: np.ndarray,
) -> list[Finding]:
    """What 3D says about left and right; nothing where there is no calibration that fits."""
    usable = [group for group in calibrations if not group.contradicted]
    if not usable:
        return []
    try:
        pairs = sides(project.keypoint_names)
    except ValueError as problem:
        return [note("sides_not_checked", (), f"left and right were not compared: {problem}")]
    fitting = points_3d[np.concatenate([group.rows for group in usable])]
    return [
        *exchange_findings(project, usable, errors, rows.lines, pairs),
        *symmetry_findings(project.keypoint_names, fitting, pairs),
    ]


def _reader_findings(project: Project, config: Config) -> list[Finding]:
    """What `mvtrain fit` says of a project before it trains on it."""
    findings = []
    try:
        check_calibration(config, project)
    except ValueError as problem:
        findings.append(error("no_calibration", (), str(problem)))
    judged = frame_mismatches(project).values()  # beside the calibrations, and not always as a warning
    findings += [warning("project", (), text) for text in project.warnings if text not in judged]
    return findings
