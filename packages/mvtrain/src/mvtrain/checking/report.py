"""What a check found, said on the terminal and written as JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from mvgeom.calibration.result_tables import check_table
from mvgeom.files import write_text
from mvtrain.checking.counts import counted
from mvtrain.checking.results import Results, percentile
from mvtrain.checking.tables import NUM_WORST, error_table, label_table, overview_table, worst_table
from mvtrain.data.splits import SET_NAMES

_MAX_CALIBRATIONS = 3
_STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}


def print_results(console: Console, results: Results) -> None:
    """Print tables of what there is, then the findings, errors first."""
    console.print(overview_table(results), highlight=False)
    # Titles as lines of their own: a table's own title is wrapped to the table's width.
    console.print("\nvisible labels, and the share of images where the label is missing", style="bold")
    console.print(label_table(results))
    if np.isfinite(results.errors.error).any():
        console.print("label reprojection error in px of the full frame: medians", style="bold")
        console.print(error_table(results))
        worst = worst_table(results)
        if worst is not None:
            console.print(
                "labels farthest from where the other views say, in px of the image (! suspect)", style="bold"
            )
            console.print(worst)
    checked = [group for group in results.calibrations if group.check is not None]
    troubled = [group for group in checked if group.check is not None and group.check.findings]
    for group in checked if len(checked) <= _MAX_CALIBRATIONS else troubled[:_MAX_CALIBRATIONS]:
        assert group.check is not None
        console.print(check_table(group.check, f"calibration of {group.name} by its labels"))
    for each in results.findings:
        console.print(Text.assemble((f"{each.severity}:", _STYLES[each.severity]), f" {each.text} [{each.code}]\n"))


def print_verdict(console: Console, results: Results) -> None:
    """One line: how many findings there are, and whether to train."""
    numbers = {kind: sum(each.severity == kind for each in results.findings) for kind in _STYLES}
    told = ", ".join(counted(number, kind) for kind, number in numbers.items() if number)
    verdict = "nothing speaks against training" if results.passed else "training would be wrong: correct the errors"
    console.print(f"{told + ': ' if told else ''}{verdict}", style="bold", highlight=False)


def write_json(path: Path, results: Results) -> None:
    """Write the findings with their evidence, and the figures of the tables; what is unknown is null."""
    project, counts, errors = results.project, results.counts, results.errors
    document = {
        "passed": results.passed,
        "project": str(project.root),
        "views": project.view_names,
        "keypoints": project.keypoint_names,
        "frames": {name: len(getattr(results.split, name)) for name in SET_NAMES},
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
        "worst_labels": [results.label(place) for place in errors.worst(10 * NUM_WORST)],
        "near_duplicates": [
            {
                "held_out": project.image_names[twin.row],
                "training": project.image_names[twin.train_row],
                "distance": twin.distance,
            }
            for twin in results.twins
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(_plain(document), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    """The same in types that JSON knows; NaN and infinity become null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value
