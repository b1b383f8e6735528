"""The results of checking a project: for the terminal, as printed findings, and as `check.json`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mvgeom import affine
from mvgeom.calibration.findings import Finding
from mvgeom.calibration.result_tables import check_table
from mvgeom.files import write_text
from mvgeom.wording import counted
from mvtrain.check.calibration_checks import MIN_POINTS_TO_MOVE, CalibratedFrames, LabelErrors
from mvtrain.check.image_checks import NearDuplicate
from mvtrain.check.label_checks import LabelCounts, TableRows, count_placed_occluded
from mvtrain.config import Config
from mvtrain.project.label_tables import VISIBLE
from mvtrain.project.project import Project, full_to_model
from mvtrain.project.splits import SPLIT_NAMES, Split

NUM_WORST = 10
"""Number of labels in the table of the largest errors."""

_MIN_SHOWN_PX = 1.0
"""Error in px below which a label is not in the table of the largest errors."""

_MAX_CALIBRATIONS = 3
"""Number of calibrations up to which each is shown; of more, only this many with findings."""

_STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Results:
    """Results of checking a project.

    Attributes:
        config: Config of the project.
        project: Project that was checked.
        split: Split of its frames.
        rows: Lines and columns of its label tables.
        counts: Counts of its labels.
        calibrations: Frames of each of its calibrations.
        points_3d: (N, K, 3) labels as training triangulates them; NaN where that is not possible.
        errors: Errors of its labels.
        near_duplicates: Held-out frames that are similar to training frames.
        findings: Findings, errors first.
    """

    config: Config
    project: Project
    split: Split
    rows: TableRows
    counts: LabelCounts
    calibrations: tuple[CalibratedFrames, ...]
    points_3d: np.ndarray
    errors: LabelErrors
    near_duplicates: tuple[NearDuplicate, ...]
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Return True if no finding is an error."""
        return all(each.severity != "error" for each in self.findings)

    def describe_label(self, place: tuple[int, int, int]) -> dict[str, Any]:
        """Describe one label (row, view, keypoint): its table and image, its position, its reprojection and error."""
        row, view, keypoint = place
        return {
            "view": self.project.view_names[view],
            "line": int(self.rows.lines[row, view]),
            "image": str(self.project.image_names[row][view]),
            "keypoint": self.project.keypoint_names[keypoint],
            "label": self.project.points[place].tolist(),
            "expected": self.errors.expected[place].tolist(),
            "error_px": float(self.errors.error[place]),
            "suspect": bool(self.errors.suspect[place]),
        }


def percentile(values: np.ndarray, q: float) -> float:
    """Return a percentile of the finite values; NaN if there are none."""
    known = values[np.isfinite(values)]
    return float(np.percentile(known, q)) if len(known) else float("nan")


def overview_table(results: Results) -> Table:
    """Build the table that describes the project in a few lines."""
    project, config, split = results.project, results.config, results.split
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    sizes = project.file_sizes[(project.file_sizes > 0).all(-1)]
    shapes = " to ".join(f"{w:.0f}x{h:.0f}" for w, h in dict.fromkeys((tuple(sizes.min(0)), tuple(sizes.max(0)))))
    stored = "crops with bounding boxes" if project.boxes is not None else "whole images"
    calibrated = sum(cameras is not None for cameras in project.cameras)
    dims = config.data.image_resize_dims
    empty = int((~(project.visibility == VISIBLE).any(axis=(1, 2))).sum())
    rows = {
        "project": str(project.root),
        "frames": f"{len(project)} from {counted(len(set(project.sessions)), 'session')}, {calibrated} calibrated"
        + (f", {empty} without any visible label" if empty else ""),
        "split": f"{len(split.train)} train, {len(split.validation)} validation, {len(split.test)} test"
        + (f", {len(split.unused)} unused" if len(split.unused) else "")
        + f" (data.split: {config.data.split})",
        "images": f"{len(sizes)} in {counted(len(project.view_names), 'view')}, {shapes} px, {stored}",
        "network": f"input {dims.width}x{dims.height}; one heatmap pixel is {_heatmap_scale(project, config):.1f} px "
        "of a stored image",
        "labels": f"{int(results.counts.visible.sum())} visible, {int(results.counts.occluded.sum())} occluded"
        + (f" ({placed} with a place)" if (placed := count_placed_occluded(project)) else "")
        + ", "
        f"{int(results.counts.missing.sum())} missing"
        + _missing_note(results)
        + f", {int(results.counts.outside.sum())} outside of their image",
    }
    noise = results.errors.noise[np.isfinite(results.errors.noise)]
    if len(noise):
        known = np.isfinite(results.points_3d).all(-1)
        movable = int((known[split.train].sum(-1) >= MIN_POINTS_TO_MOVE).sum())
        rows["3D"] = (
            f"{counted(int(known.sum()), 'keypoint')} triangulated, the {MIN_POINTS_TO_MOVE} that 3D augmentation "
            f"needs in {movable} of {len(split.train)} training frames; noise of the labels {np.median(noise):.2f} px"
        )
    for name, text in rows.items():
        table.add_row(Text(name, style="bold"), text)
    return table


def label_table(results: Results) -> Table:
    """Build the table of visible labels per keypoint and view, with the share of images where the label is missing."""
    project, counts = results.project, results.counts
    table = _table(project.view_names)
    for k, name in enumerate(project.keypoint_names):
        table.add_row(
            name, *(_count_cell(counts.visible[v, k], counts.missing[v, k], counts.images[v]) for v in _views(project))
        )
    table.add_section()
    num_keypoints = len(project.keypoint_names)
    sums = counts.visible.sum(1), counts.missing.sum(1), counts.images * num_keypoints
    table.add_row("all", *(_count_cell(*(total[v] for total in sums)) for v in _views(project)))
    return table


def error_table(results: Results) -> Table:
    """Build the table of the median distances between labels and their reprojections, per keypoint and view."""
    project, error = results.project, results.errors.error
    table = _table([*project.view_names, "all", "95 %", "largest"])

    def cells(values: np.ndarray) -> list[str]:
        by_view = [_format(percentile(values[:, v], 50)) for v in _views(project)]
        return [*by_view, *(_format(percentile(values, q)) for q in (50, 95, 100))]

    for k, name in enumerate(project.keypoint_names):
        table.add_row(name, *cells(error[:, :, k]))
    table.add_section()
    table.add_row("all", *cells(error))
    for label, q in (("95 %", 95), ("largest", 100)):
        table.add_row(label, *(_format(percentile(error[:, v], q)) for v in _views(project)), "", "", "")
    return table


def worst_table(results: Results) -> Table | None:
    """Build the table of the labels with the largest errors, with their reprojections; None if all are small."""
    places = [place for place in results.errors.worst(NUM_WORST) if results.errors.error[place] >= _MIN_SHOWN_PX]
    if not places:
        return None
    table = _table(["view", "line", "image", "label", "expected", "error px"], first="keypoint")
    for place in places:
        entry = results.describe_label(place)
        x, y = entry["label"]
        expected_x, expected_y = entry["expected"]
        table.add_row(
            entry["keypoint"],
            entry["view"],
            str(entry["line"]),
            "/".join(entry["image"].replace("\\", "/").split("/")[-2:]),
            f"{x:.1f}, {y:.1f}",
            f"{expected_x:.1f}, {expected_y:.1f}",
            f"{entry['error_px']:.1f}{' !' if entry['suspect'] else ''}",
        )
    return table


def print_results(console: Console, results: Results) -> None:
    """Print the tables of the project, then the findings, errors first."""
    console.print(overview_table(results), highlight=False)
    # Titles as lines of their own: a table's own title is wrapped to the table's width.
    console.print("\nvisible labels, and the share of images where the label is missing", style="bold")
    console.print(label_table(results))
    if np.isfinite(results.errors.error).any():
        console.print("label reprojection error in full-image px: medians", style="bold")
        console.print(error_table(results))
        worst = worst_table(results)
        if worst is not None:
            console.print("labels with the largest errors, in px of the stored image (! suspect)", style="bold")
            console.print(worst)
    checked = [group for group in results.calibrations if group.check is not None]
    with_findings = [group for group in checked if group.check is not None and group.check.findings]
    for group in checked if len(checked) <= _MAX_CALIBRATIONS else with_findings[:_MAX_CALIBRATIONS]:
        assert group.check is not None
        console.print(check_table(group.check, f"calibration of {group.name} by its labels"))
    for each in results.findings:
        console.print(Text.assemble((f"{each.severity}:", _STYLES[each.severity]), f" {each.text} [{each.code}]\n"))


def print_verdict(console: Console, results: Results) -> None:
    """Print one line with the number of findings and whether the project is ready for training."""
    numbers = {kind: sum(each.severity == kind for each in results.findings) for kind in _STYLES}
    counts = ", ".join(counted(number, kind) for kind, number in numbers.items() if number)
    verdict = "nothing speaks against training" if results.passed else "correct the errors before training"
    console.print(f"{counts + ': ' if counts else ''}{verdict}", style="bold", highlight=False)


def write_json(path: Path, results: Results) -> None:
    """Write the findings with their evidence, and the numbers of the tables; unknown numbers are null.

    Raises:
        InputError: The file cannot be written.
    """
    project, counts, errors = results.project, results.counts, results.errors
    document = {
        "passed": results.passed,
        "project": str(project.root),
        "views": project.view_names,
        "keypoints": project.keypoint_names,
        "frames": {name: len(getattr(results.split, name)) for name in SPLIT_NAMES},
        "findings": [
            {
                "code": each.code,
                "severity": each.severity,
                "views": each.cameras,
                "text": each.text,
                "evidence": each.evidence,
            }
            for each in results.findings
        ],
        "labels": {
            view: {
                name: {
                    "visible": counts.visible[v, k],
                    "occluded": counts.occluded[v, k],
                    "missing": counts.missing[v, k],
                    "outside": counts.outside[:, v, k].sum(),
                    "median_error_px": percentile(errors.error[:, v, k], 50),
                }
                for k, name in enumerate(project.keypoint_names)
            }
            for v, view in enumerate(project.view_names)
        },
        "worst_labels": [results.describe_label(place) for place in errors.worst(10 * NUM_WORST)],
        "near_duplicates": [
            {
                "held_out": project.image_names[pair.row],
                "training": project.image_names[pair.train_row],
                "distance": pair.distance,
            }
            for pair in results.near_duplicates
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(_plain(document), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _heatmap_scale(project: Project, config: Config) -> float:
    """Return the median width of a heatmap pixel in px of the stored images."""
    dims = config.data.image_resize_dims
    widths = []
    for row in range(len(project)):
        maps = affine.compose(full_to_model(project, row, (dims.width, dims.height)), project.crop_to_full[row])
        present = (project.file_sizes[row] > 0).all(-1)
        widths.append(np.hypot(maps[present, 0, 0], maps[present, 1, 0]))
    return float(2**config.data.downsample_factor / np.median(np.concatenate(widths)))


def _missing_note(results: Results) -> str:
    uniform = results.config.training.uniform_heatmaps_for_nan_keypoints and not results.rows.marks_occluded.all()
    return " (trained as occluded)" if uniform and results.counts.missing.any() else ""


def _table(columns: Sequence[str], *, first: str = "keypoint") -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(first)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _count_cell(visible: int, missing: int, images: int) -> str:
    """Format a number and a share in columns; a share above 0 that would be rounded to 0 is shown as <1%."""
    share = missing / images if images else 0.0
    return f"{visible} {f'{share:.0%}' if share >= 0.005 else '<1%':>4}" if missing else f"{visible}     "


def _views(project: Project) -> range:
    return range(len(project.view_names))


def _format(value: float) -> str:
    return f"{value:.1f}" if math.isfinite(value) else "-"


def _plain(value: Any) -> Any:
    """Convert a value to types of JSON; NaN and infinity become null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value
