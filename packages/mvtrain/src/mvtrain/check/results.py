"""Everything that a check found out about a project."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mvgeom.calibration.findings import Finding
from mvtrain.check.calibration_checks import CalibratedFrames
from mvtrain.check.duplicates import Twin
from mvtrain.check.label_checks import LabelCounts, TableRows
from mvtrain.check.label_errors import LabelErrors
from mvtrain.config import Config
from mvtrain.project.project import Project
from mvtrain.project.splits import Split


@dataclass(frozen=True, kw_only=True, eq=False)
class Results:
    """All that a check found out.

    Attributes:
        config: of the project.
        project: checked.
        split: of its frames.
        rows: of its label tables.
        counts: of its labels.
        calibrations: its calibrations.
        points_3d: (N, K, 3) labels as training triangulates them; NaN where that cannot be done.
        errors: of its labels.
        twins: held-out frames that look like training frames.
        findings: errors first.
    """

    config: Config
    project: Project
    split: Split
    rows: TableRows
    counts: LabelCounts
    calibrations: tuple[CalibratedFrames, ...]
    points_3d: np.ndarray
    errors: LabelErrors
    twins: tuple[Twin, ...]
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether training may start: no finding is an error."""
        return all(each.severity != "error" for each in self.findings)

    def label(self, place: tuple[int, int, int]) -> dict[str, Any]:
        """What is known of one label (row, view, keypoint): where it is, where it should be, by how much it is off."""
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
    """Percentile of the known values; NaN without any."""
    known = values[np.isfinite(values)]
    return float(np.percentile(known, q)) if len(known) else float("nan")
