"""Command `mvtrain smooth`: predictions of recordings, of one network or several, to trajectories over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from mvgeom import smooth
from mvgeom.errors import InputError
from mvgeom.files import file_name
from mvgeom.smoothing import covariance_from_likelihood
from mvgeom.tables import write_points_3d, write_view_points
from mvtrain.predict.saved_predictions import (
    PredictedSession,
    PredictionFiles,
    find_predictions,
    load_prediction_cameras,
    load_predictions,
)
from mvtrain.runtime.folders import new_folder


@dataclass(frozen=True, kw_only=True)
class SmoothOptions:
    """Options of the command.

    Attributes:
        output: Folder to write; must not exist.
        view_names: Names of the views, for tables without a summary.
        calibration: Calibration file; None: that of the prediction.
        max_gap: Longest gap in frames that is bridged; None for all.
        min_likelihood: Likelihood below which a keypoint does not count.
    """

    output: Path
    view_names: tuple[str, ...] = ()
    calibration: Path | None = None
    max_gap: int | None = None
    min_likelihood: float = 0.05


def smooth_predictions(sources: Sequence[Path], options: SmoothOptions, console: Console) -> None:
    """Smooth every recording of the sources; the folder is written completely or not at all.

    A recording that several sources have is that of an ensemble of networks.

    Args:
        sources: Folders that `mvtrain predict` wrote, run folders, or single summaries.
        options: Options of the command.
        console: Console for the result of every recording.

    Raises:
        InputError: A recording has no calibration (`no-calibration`) or fewer than two views (`too-few-views`), the
            networks of an ensemble differ in views (`views-differ`) or keypoints (`keypoints-differ`), the folder
            exists (`occupied-folder`); besides, the errors of the tables.
    """
    recordings: dict[str, list[PredictionFiles]] = {}
    for source in sources:
        for files in find_predictions(source, options.view_names):
            recordings.setdefault(files.session, []).append(files)
    with new_folder(options.output) as folder:
        for name, networks in recordings.items():
            line = _smooth(networks, folder, options)
            console.print(f"{name}: {line}", soft_wrap=True, highlight=False, markup=False)
    text = f"wrote {options.output}: {len(recordings)} recordings, <session>_3d.csv and <session>_<view>.csv"
    console.print(text, soft_wrap=True, highlight=False, markup=False)


def combine_networks(sessions: Sequence[PredictedSession]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Combine the predictions of several networks of one recording.

    Args:
        sessions: Predictions of the same frames, views and keypoints, one per network.

    Returns:
        Mean keypoints (T, V, K, 2) in full-image px, NaN where no network has one; mean likelihoods (T, V, K); and
        stated covariances (T, V, K, 2, 2) in px^2: that of the mean by the spread between the networks, and what the
        likelihood states.
    """
    points = np.stack([session.points for session in sessions])
    present = np.isfinite(points).all(-1)
    count = np.maximum(present.sum(0), 1)
    mean = np.where(present[..., None], points, 0.0).sum(0) / count[..., None]
    deviation = np.where(present[..., None], points - mean, 0.0)
    spread = np.einsum("stvki,stvkj->tvkij", deviation, deviation) / (count * np.maximum(count - 1, 1))[..., None, None]
    # A network that does not see a keypoint doubts it.
    likelihood = np.where(present, [session.likelihood for session in sessions], 0.0).mean(0)
    found = present.any(0)
    return (
        np.where(found[..., None], mean, np.nan),
        np.where(found, likelihood, np.nan),
        spread + covariance_from_likelihood(likelihood),
    )


def _smooth(networks: Sequence[PredictionFiles], folder: Path, options: SmoothOptions) -> str:
    """Write the tables of one recording; return a line about it."""
    first = networks[0]
    cameras = load_prediction_cameras(first, options.calibration)
    if len(first.tables) < 2:
        raise InputError(
            f"session {first.session!r}: found one view, expected two or more",
            code="too-few-views",
            found=1,
            expected=2,
        )
    if cameras is None:
        raise InputError(
            f"session {first.session!r}: no calibration is known. Give it with --calibration.",
            code="no-calibration",
            session=first.session,
        )
    sessions = [load_predictions(files) for files in networks]
    for session in sessions[1:]:
        _check_alike(sessions[0], session)
    points, likelihood, covariance = combine_networks(sessions)
    used = np.where((likelihood >= options.min_likelihood)[..., None], points, np.nan)
    found = smooth(used, cameras, covariance=covariance, max_gap=options.max_gap)
    rows, names = [str(row) for row in range(len(points))], sessions[0].keypoint_names
    write_points_3d(
        folder / file_name(f"{first.session}_3d.csv"), names, [(rows, found.to_reconstruction(used, cameras))]
    )
    projected, spread = found.project(cameras)
    for view, name in enumerate(cameras.names):
        write_view_points(
            folder / file_name(f"{first.session}_{name}.csv"),
            rows,
            names,
            projected[:, view],
            spread[:, view],
            likelihood[:, view],
            found.inlier[:, view],
        )
    solved = np.isfinite(found.points).all(-1)
    outliers = int((found.inlier <= 0.5).sum())
    deviation = np.sqrt(np.trace(found.covariance[solved], axis1=-2, axis2=-1))
    typical = f"{np.median(deviation):.3g}" if solved.any() else "none"
    count = "1 network" if len(sessions) == 1 else f"{len(sessions)} networks"
    return (
        f"{count}, {len(points)} frames, {solved.sum()} of {solved.size} points, {outliers} outliers; standard "
        f"deviation in the calibration's unit: median {typical}"
    )


def _check_alike(first: PredictedSession, other: PredictedSession) -> None:
    """Check that two networks predicted the same keypoints in the same images."""
    if first.view_names != other.view_names:
        raise InputError(
            f"session {first.name!r}: the networks have other views, found {', '.join(other.view_names)}, expected "
            f"{', '.join(first.view_names)}",
            code="views-differ",
            session=first.name,
            found=other.view_names,
            expected=first.view_names,
        )
    if first.keypoint_names != other.keypoint_names:
        raise InputError(
            f"session {first.name!r}: the networks have other keypoints, found {', '.join(other.keypoint_names)}, "
            f"expected {', '.join(first.keypoint_names)}",
            code="keypoints-differ",
            session=first.name,
            found=other.keypoint_names,
            expected=first.keypoint_names,
        )
    if first.points.shape != other.points.shape:
        raise InputError(
            f"session {first.name!r}: the networks predicted other frames, found {len(other)}, expected {len(first)}",
            code="frames-differ",
            session=first.name,
            found=len(other),
            expected=len(first),
        )
