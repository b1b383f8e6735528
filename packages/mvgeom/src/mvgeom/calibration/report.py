"""Reports of calibrations and refinements in a folder: numbers, residuals by camera and frame, and figures."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mvgeom.calibration.adjusted import Deviations
from mvgeom.calibration.board_figure import draw_boards
from mvgeom.calibration.boards import Floats
from mvgeom.calibration.camera_figure import draw_residuals
from mvgeom.calibration.findings import Finding
from mvgeom.calibration.from_keypoints import KeypointCalibration
from mvgeom.calibration.keypoint_refinement import Refinement
from mvgeom.calibration.quality import image_coverage
from mvgeom.calibration.result import Calibration
from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError
from mvgeom.figure_fonts import any_script
from mvgeom.files import file_name, replace_file, write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["write_calibration_report", "write_keypoint_calibration_report", "write_refinement_report"]


def write_calibration_report(calibration: Calibration, folder: str | Path) -> list[Path]:
    """Write `report.json`, `residuals.csv` (a row per camera and frame) and figures into a folder.

    `<camera>.png` shows residuals; `<camera>_boards.png` shows the boards, what they cover, and where the lens ends.

    Args:
        calibration: Result of `calibrate`.
        folder: Folder to write to; created if it does not exist. Existing report files are replaced.

    Returns:
        Paths of the written files.

    Raises:
        InputError: `unwritable-file`, if the folder cannot be created or written to.
    """
    folder = _make(folder)
    detections, names = calibration.detections, calibration.cameras.names
    used = np.where(calibration.used[..., None, None], detections.points, np.nan)
    numbers = {
        "rms_px": calibration.rms,
        "corner_noise_px": calibration.noise,
        "camera_rms_px": _by_name(names, calibration.camera_rms),
        "boards": _by_name(names, calibration.used.sum(axis=1)),
        "image_coverage": _by_name(names, image_coverage(used, detections.sizes)),
        "standard_deviations": _deviations(names, calibration.deviations),
        "pairs": [
            {
                "cameras": [names[one], names[other]],
                "boards_together": relation.common,
                "agreeing": int(relation.agreeing.sum()),
            }
            for (one, other), relation in calibration.relations.items()
        ],
        "findings": _findings(calibration.findings),
    }
    residuals = [
        (name, frame, int(calibration.used[view, number]), *_errors(calibration.residuals[view, number]))
        for view, name in enumerate(names)
        for number, frame in enumerate(detections.frames)
        if detections.seen[view, number]
    ]
    return [
        _write_json(folder / "report.json", numbers),
        _write_csv(folder / "residuals.csv", ("camera", "frame", "used", "points", "rms_px", "max_px"), residuals),
        *_draw(folder, calibration.cameras, detections.points, calibration.residuals),
        *(
            _save(
                draw_boards(calibration.cameras.select([name]), detections.points[view], calibration.used[view]),
                folder / file_name(f"{name}_boards.png"),
            )
            for view, name in enumerate(names)
        ),
    ]


def write_refinement_report(
    refinement: Refinement, points: Floats, rows: Iterable[str], folder: str | Path
) -> list[Path]:
    """Write `report.json`, `residuals.csv` and `<camera>.png` for a refinement by keypoints.

    Args:
        refinement: Result of `refine`.
        points: (N, V, K, 2) keypoints passed to `refine`, in full-image px; NaN is missing.
        rows: N names of the frames.
        folder: Folder to write to; created if it does not exist. Existing report files are replaced.

    Returns:
        Paths of the written files.

    Raises:
        InputError: `unwritable-file`, if the folder cannot be created or written to.
    """
    folder = _make(folder)
    names, errors = refinement.cameras.names, refinement.errors
    numbers = {
        "median_error_before_px": errors.overall_before,
        "median_error_after_px": errors.overall_after,
        "camera_median_error_before_px": _by_name(names, errors.before),
        "camera_median_error_after_px": _by_name(names, errors.after),
        "turned_deg": _by_name(names, refinement.rotation_deg),
        "moved": _by_name(names, refinement.shift),
        "keypoint_noise_px": refinement.noise,
        "standard_deviations": _deviations(names, refinement.deviations),
        "iterations": refinement.iterations,
        "converged": refinement.converged,
        "findings": _findings(refinement.findings),
    }
    return _write_rows(folder, numbers, refinement.cameras, points, refinement.residuals, rows)


def write_keypoint_calibration_report(
    calibration: KeypointCalibration, points: Floats, rows: Iterable[str], folder: str | Path
) -> list[Path]:
    """Write `report.json`, `residuals.csv` and `<camera>.png` for a calibration from keypoints.

    Args:
        calibration: Result of `calibrate_from_keypoints`.
        points: (N, V, K, 2) keypoints passed to it, in full-image px; NaN is missing.
        rows: N names of the frames.
        folder: Folder to write to; created if it does not exist. Existing report files are replaced.

    Returns:
        Paths of the written files.

    Raises:
        InputError: `unwritable-file`, if the folder cannot be created or written to.
    """
    folder = _make(folder)
    names = calibration.cameras.names
    numbers = {
        "keypoint_noise_px": calibration.noise,
        "camera_median_error_px": _by_name(names, calibration.camera_error),
        "keypoints_used": _by_name(names, calibration.used.sum(axis=(0, 2))),
        "standard_deviations": _deviations(names, calibration.deviations),
        "scale_relative_deviation": calibration.scale.spread / calibration.scale.factor,
        "lengths": [
            {
                "keypoints": [each.known.first, each.known.second],
                "given": each.known.length,
                "measured": each.measured,
                "standard_deviation": each.spread,
                "frames": each.num_frames,
            }
            for each in calibration.scale.lengths
        ],
        "pairs": [
            {
                "cameras": [names[one], names[other]],
                "common": pair.common,
                "agreeing": int(pair.inliers.sum()),
                "determines": pair.motion,
                "noise_px": _plain(pair.noise),
                "plane_noise_px": _plain(pair.plane_noise),
                "parallax_deg": pair.parallax_deg,
            }
            for (one, other), pair in calibration.pairs.items()
        ],
        "findings": _findings(calibration.findings),
    }
    return _write_rows(folder, numbers, calibration.cameras, points, calibration.residuals, rows)


def _write_rows(
    folder: Path,
    numbers: dict[str, Any],
    cameras: CameraGroup,
    points: Floats,
    residuals: Floats,
    rows: Iterable[str],
) -> list[Path]:
    """Write the report of keypoints (N, V, K, 2) and their residuals in N named rows."""
    names = list(rows)
    lines = [
        (camera, row, *_errors(residuals[number, view]))
        for view, camera in enumerate(cameras.names)
        for number, row in enumerate(names)
    ]
    return [
        _write_json(folder / "report.json", numbers),
        _write_csv(folder / "residuals.csv", ("camera", "row", "points", "rms_px", "max_px"), lines),
        *_draw(folder, cameras, np.moveaxis(points, 1, 0), np.moveaxis(residuals, 1, 0)),
    ]


def _make(folder: str | Path) -> Path:
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder}: the folder cannot be created: {error.strerror}", code="unwritable-file", path=folder
        ) from error
    return folder


def _draw(folder: Path, cameras: CameraGroup, points: Floats, residuals: Floats) -> list[Path]:
    """Draw a figure per camera; points and residuals are (V, ..., 2)."""
    files = []
    for view, name in enumerate(cameras.names):
        figure = draw_residuals(name, cameras.sizes[view], points[view].reshape(-1, 2), residuals[view].reshape(-1, 2))
        files.append(_save(figure, folder / file_name(f"{name}.png")))
    return files


@any_script()
def _save(figure: Figure, path: Path) -> Path:
    replace_file(path, partial(figure.savefig, format="png", dpi=110))
    return path


def _errors(residuals: Floats) -> tuple[int, str, str]:
    """Return number of points, root mean square and largest length as cells; empty cells without points."""
    lengths = np.linalg.norm(residuals, axis=-1)
    lengths = lengths[np.isfinite(lengths)]
    if len(lengths) == 0:
        return 0, "", ""
    return len(lengths), f"{np.sqrt((lengths**2).mean()):.4g}", f"{lengths.max():.4g}"


def _write_json(path: Path, content: dict[str, Any]) -> Path:
    write_text(path, json.dumps(content, indent=2) + "\n")
    return path


def _write_csv(path: Path, header: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Path:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())
    return path


def _by_name(names: tuple[str, ...], values: Floats) -> dict[str, Any]:
    """Return values by camera name; unknown values become null, because JSON has no NaN."""
    return {name: _plain(value) for name, value in zip(names, values, strict=True)}


def _plain(value: Any) -> Any:
    values = np.asarray(value, dtype=np.float64)
    if values.ndim:
        return [_plain(each) for each in values]
    return float(values) if np.isfinite(values) else None


def _deviations(names: tuple[str, ...], spread: Deviations) -> dict[str, Any]:
    return {
        "focal_px": _by_name(names, spread.focal),
        "centre_px": _by_name(names, spread.center),
        "distortion": _by_name(names, spread.distortion),
        "rotation_deg": _by_name(names, spread.rotation_deg),
        "position": _by_name(names, spread.position),
    }


def _findings(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    return [
        {
            "code": each.code,
            "severity": each.severity,
            "cameras": list(each.cameras),
            "text": each.text,
            "evidence": {name: _plain(value) for name, value in each.evidence.items()},
        }
        for each in findings
    ]
