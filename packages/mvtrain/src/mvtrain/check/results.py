"""The results of checking a project."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mvgeom.calibration.findings import Finding
from mvtrain.check.calibration_checks import CalibratedFrames
from mvtrain.check.duplicates import NearDuplicate
from mvtrain.check.label_checks import LabelCounts, TableRows
from mvtrain.check.label_errors import LabelErrors
from mvtrain.config import Config
from mvtrain.project.project import Project
from mvtrain.project.splits import Split


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
