"""Output files of predictions: the tables of views and of sessions, each written as a whole, and summaries."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from mvgeom.documents import parse_json
from mvgeom.errors import InputError
from mvgeom.files import file_name, read_text, replace_file, write_text
from mvgeom.reconstruction import OUTLIER_SIGMAS, Reconstruction
from mvgeom.tables import COORDS_COVARIANCE, covariance_to_columns, write_points_3d, write_video_boxes
from mvgeom.temporary import publish
from mvtrain.model.error_bars import ErrorBars, shared_to_plain
from mvtrain.model.likelihood import ConfidenceMap, calibrated, view_weights
from mvtrain.model.reconstruction import KeypointNoise, Observations, estimate_noise, sample_rows, to_3d
from mvtrain.predict.recordings import EVIDENCE, Calibration, OutputPaths, Session
from mvtrain.predict.records import PARTIAL, Records, stated_covariances
from mvtrain.predict.video_batches import Status
from mvtrain.runtime.messages import describe_cause

SCORER = "mvtrain"
"""Name in the first header row of the tables."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PredictionRows:
    """Consecutive rows of a table of predictions.

    Attributes:
        index: N image names or frame numbers.
        points: (N, K, 2) keypoints in px; NaN leaves a cell empty.
        likelihood: (N, K) likelihoods; NaN leaves a cell empty.
        covariance: (N, K, 2, 2) covariances in px^2 for the columns x_std, y_std and xy_correlation; NaN leaves cells
            empty. None leaves the columns out.
        sets: N names of the split (train, validation, test) for the last column; None leaves it out.
    """

    index: Sequence[str] | range
    points: np.ndarray
    likelihood: np.ndarray
    covariance: np.ndarray | None = None
    sets: Sequence[str] | None = None


def write_predictions(
    path: Path,
    keypoint_names: Sequence[str],
    blocks: Iterable[PredictionRows],
    *,
    with_sets: bool = False,
    with_covariance: bool = False,
) -> None:
    """Write a table with three header rows (scorer, bodyparts, coords) and x, y, likelihood per keypoint.

    Args:
        path: Path of the table, which is replaced as a whole.
        keypoint_names: K names of the keypoints.
        blocks: Rows of the table; one block is held in memory at a time.
        with_sets: True if the rows have sets.
        with_covariance: True if the rows have covariances.

    Raises:
        InputError: The table cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)

    coords = ["x", "y", "likelihood", *(COORDS_COVARIANCE if with_covariance else ())]
    header = (
        ("scorer", [SCORER] * len(coords) * len(keypoint_names), "set"),
        ("bodyparts", [name for name in keypoint_names for _ in coords], ""),
        ("coords", coords * len(keypoint_names), ""),
    )

    def write(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            for first, cells, last in header:
                file.write(",".join([first, *map(_cell, cells), *([last] if with_sets else [])]) + "\n")
            for block in blocks:
                file.write(_format_rows(block))

    replace_file(path, write)


def write_pixel_errors(
    path: Path,
    index: Sequence[str] | Sequence[int] | range,
    keypoint_names: Sequence[str],
    errors: np.ndarray,
    sets: Sequence[str] | np.ndarray,
) -> None:
    """Write a table of errors (N, K) in px with one header row, a row per image, and the column `set` at the end.

    Raises:
        InputError: The table cannot be written.
    """
    table = pd.DataFrame(errors, index=list(index), columns=list(keypoint_names))
    table["set"] = list(sets)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, table.to_csv(float_format="%.4f", lineterminator="\n"))


def _format_rows(block: PredictionRows) -> str:
    """Format rows as CSV, three times as fast as pandas, whose time would show beside a GPU."""
    columns = [block.points, block.likelihood[..., None]]
    if block.covariance is not None:
        columns.append(covariance_to_columns(block.covariance))
    values = np.concatenate(columns, axis=-1)
    values = values.reshape(len(values), values.shape[1] * values.shape[2])
    pattern = ",".join(["%.4f"] * values.shape[1])
    rows = [(pattern % tuple(row)).replace("nan", "") for row in values.tolist()]
    ends = [""] * len(rows) if block.sets is None else [f",{name}" for name in block.sets]
    return "".join(f"{_cell(name)},{row}{end}\n" for name, row, end in zip(block.index, rows, ends, strict=True))


def _cell(value: object) -> str:
    text = str(value)
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\r\n') else text


@dataclass(frozen=True, kw_only=True)
class ViewCounts:
    """Counts of the frames of one view by their status.

    Attributes:
        name: Name of the view.
        num_frames: Number of frames until the view ends.
        not_decodable: Number of frames that could not be decoded.
        first_not_decodable: Number of the first frame that could not be decoded; None if there is none.
        without_image: Number of frames of other views of which the video has no image, before its end.
        first_without_image: Number of the first of them; None if there is none.
        without_box: Number of frames without a bounding box.
        not_found: Number of frames in which the tracked subject was not found.
    """

    name: str
    num_frames: int
    not_decodable: int
    first_not_decodable: int | None
    without_image: int
    first_without_image: int | None
    without_box: int
    not_found: int


@dataclass(frozen=True, kw_only=True)
class SessionSummary:
    """Summary of a session's prediction.

    Attributes:
        num_frames: Number of frames of the longest view.
        views: Counts of each view.
        noise: Noise of the keypoints; None without calibration.
    """

    num_frames: int
    views: tuple[ViewCounts, ...]
    noise: KeypointNoise | None


def check_not_foreign(session: Session, out_dir: Path) -> None:
    """Check that files which a session's prediction would replace or remove are those of an earlier prediction.

    Others may be anything: many programs name the times of the images, or tables of their own, as the videos.

    Raises:
        InputError: One is not (`occupied-folder`).
    """
    paths = OutputPaths.from_session(session, out_dir)
    if paths.summary.exists() or (out_dir / PARTIAL / file_name(session.name)).exists():
        return
    tables = (*paths.tables, paths.table_3d, *paths.evidence, *paths.tracks)
    found = [path for path in (*tables, paths.overlay, paths.still, *paths.labeled) if path.exists()]
    if found:
        raise InputError(
            f"{found[0]}: the prediction of session {session.name!r} would replace it, and it is not of an earlier "
            f"prediction: there is no {paths.summary.name}. Choose another folder with --output, or remove the file",
            code="occupied-folder",
            path=found[0],
            paths=tuple(found),
            session=session.name,
        )


def is_done(session: Session, out_dir: Path, identity: dict[str, Any]) -> bool:
    """Return True if a session has been predicted into a folder from the same inputs.

    Args:
        session: Session to predict.
        out_dir: Output folder.
        identity: Plain values that determine every byte of the tables.

    Raises:
        InputError: A file at the path of the summary is not the summary of a prediction.
    """
    paths = OutputPaths.from_session(session, out_dir)
    path, needed = paths.summary, [paths.summary, *paths.tables]
    needed += [paths.table_3d] if identity["calibration"] is not None else []
    needed += paths.tracks if "tracking" in identity else ()
    if not all(file.is_file() for file in needed):
        return False
    try:
        return bool(parse_json(read_text(path), path)["made_with"] == identity)
    except (InputError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: not the summary of a prediction: {describe_cause(error, path)}. "
            "Remove the file, or choose another folder",
            code="damaged-file",
            path=path,
        ) from error


def write_outputs(
    session: Session,
    records: Records,
    out_dir: Path,
    *,
    view_names: Sequence[str],
    keypoint_names: Sequence[str],
    calibration: Calibration | None,
    confidence_map: ConfidenceMap | None,
    error_bars: ErrorBars | None = None,
    identity: dict[str, Any],
    facts: Mapping[str, Any] = MappingProxyType({}),
) -> SessionSummary:
    """Write all tables of a session from its records; each appears whole, and the summary last.

    Tables of an earlier prediction in the folder are replaced; its videos, still image, 3D table, evidence and tracks
    are removed.

    Args:
        session: Session that was predicted.
        records: Records of all its frames. With a field `covariance` (V, K, 3), keypoints weigh by it in 3D, else with
            a field `weights` (V, K) by this, else by their confidence.
        out_dir: Output folder.
        view_names: V names of the views.
        keypoint_names: K names of the keypoints.
        calibration: Cameras of the session; None writes no 3D table.
        confidence_map: Map from confidence to likelihood; None takes the confidence as it is.
        error_bars: Error bars in 3D of the network, or of all together; None takes what left-out views show.
        identity: Plain values that determine every byte of the tables.
        facts: Further plain values for the summary.

    Raises:
        InputError: A file cannot be written.
    """
    paths = OutputPaths.from_session(session, out_dir)
    written = list(paths.tables)
    # First into the folder of the unfinished prediction, which is removed also after a killed process.
    for view, table in enumerate(paths.tables):
        write_predictions(records.folder / table.name, keypoint_names, _view_rows(records, view, confidence_map))
    noise = None
    if calibration is not None:
        noise = _estimate_noise(records, calibration, len(keypoint_names), confidence_map, error_bars)
        if _has_evidence(records):
            for view, table in enumerate(paths.evidence):
                shown = _evidence_rows(records, view, noise.typical_weight, confidence_map)
                stated = "covariance" in (records.dtype.names or ())
                path = records.folder / EVIDENCE / table.name
                write_predictions(path, keypoint_names, shown, with_covariance=stated)
        rows = _rows_3d(records, calibration, noise, confidence_map)
        write_points_3d(records.folder / paths.table_3d.name, keypoint_names, rows)
        written.append(paths.table_3d)
    views = _count_statuses(records, view_names)
    if "windows" in (records.dtype.names or ()):
        for view, track in enumerate(paths.tracks):
            windows = np.concatenate([block["windows"][:, view] for block in records.blocks()])
            write_video_boxes(records.folder / track.name, windows[: views[view].num_frames])
        written += paths.tracks
    drawn = (paths.overlay, paths.still, *paths.labeled)
    for old in (paths.summary, paths.table_3d, *paths.evidence, *paths.tracks, *drawn):
        old.unlink(missing_ok=True)
    if calibration is not None and _has_evidence(records):
        paths.evidence[0].parent.mkdir(exist_ok=True)
        for table in paths.evidence:
            publish(records.folder / EVIDENCE / table.name, table)
    for table in written:
        publish(records.folder / table.name, table)
    summary = SessionSummary(num_frames=len(records), views=views, noise=noise)
    document = _to_json(session, summary, calibration) | {**facts, "made_with": identity}
    write_text(paths.summary, json.dumps(document, indent=1) + "\n")
    return summary


def _view_rows(records: Records, view: int, confidence_map: ConfidenceMap | None) -> Iterator[PredictionRows]:
    for block in records.blocks():
        keypoints = block["keypoints"][:, view].astype(np.float64)
        first = int(block["count"][0]) - 1
        yield PredictionRows(
            index=range(first, first + len(block)),
            points=keypoints[..., :2],
            likelihood=calibrated(keypoints[..., 2], confidence_map),
        )


def _estimate_noise(
    records: Records,
    calibration: Calibration,
    num_keypoints: int,
    confidence_map: ConfidenceMap | None,
    error_bars: ErrorBars | None,
) -> KeypointNoise:
    rows = sample_rows(len(records), num_keypoints)
    sample = np.concatenate([records.read(row, row + 1) for row in rows])
    own = None
    if "own" in (sample.dtype.names or ()):
        values = sample["own"].astype(np.float64)
        own = Observations.from_stated(values[..., :2], values[..., 2], stated_covariances(sample))
    return estimate_noise(_observations(sample, confidence_map), calibration.cameras, own, error_bars)


def _rows_3d(
    records: Records, calibration: Calibration, noise: KeypointNoise, confidence_map: ConfidenceMap | None
) -> Iterator[tuple[Sequence[str], Reconstruction]]:
    for block in records.blocks():
        rows = [str(count - 1) for count in block["count"]]
        yield rows, to_3d(_observations(block, confidence_map), calibration.cameras, noise)


def _has_evidence(records: Records) -> bool:
    """Return True if the views show something else, or tell more of it, than the tables of predictions say."""
    return not {"evidence", "covariance"}.isdisjoint(records.dtype.names or ())


def _observations(block: np.ndarray, confidence_map: ConfidenceMap | None) -> Observations:
    """Return the observations of records, as `reconstruction.observations` does of predictions."""
    fields = block.dtype.names or ()
    if "evidence" in fields:
        evidence = block["evidence"].astype(np.float64)
        return Observations.from_stated(evidence[..., :2], evidence[..., 2], stated_covariances(block))
    keypoints = block["keypoints"].astype(np.float64)
    weights = np.asarray(block["weights"]) if "weights" in fields else view_weights(keypoints[..., 2], confidence_map)
    return Observations.from_stated(keypoints[..., :2], weights, stated_covariances(block))


def _evidence_rows(
    records: Records, view: int, typical_weight: float, confidence_map: ConfidenceMap | None
) -> Iterator[PredictionRows]:
    """Yield what a view shows by itself; keypoints of which it shows nothing are empty.

    The likelihood is w / (w + typical), which `mvgeom.smoothing.covariance_from_likelihood` reads as a variance of
    typical / w: relative to that of a typical keypoint, as its scale is learned.
    """
    for block in records.blocks():
        observed, first = _observations(block, confidence_map)[:, view], int(block["count"][0]) - 1
        weights, covariances = observed.weights, observed.covariances
        shown = weights > 0
        yield PredictionRows(
            index=range(first, first + len(block)),
            points=np.where(shown[..., None], observed.points, np.nan),
            likelihood=np.where(shown, weights / (weights + typical_weight), np.nan),
            covariance=None if covariances is None else np.where(shown[..., None, None], covariances, np.nan),
        )


def _count_statuses(records: Records, view_names: Sequence[str]) -> tuple[ViewCounts, ...]:
    num_views = len(view_names)
    counts = np.zeros((len(Status), num_views), dtype=np.int64)
    first: dict[tuple[Status, int], int] = {}
    for block in records.blocks():
        for status in Status:
            counts[status] += (block["status"] == status).sum(axis=0)
            for view in range(num_views):
                rows = block["count"][block["status"][:, view] == status] - 1
                if len(rows):
                    first.setdefault((status, view), int(rows[0]))
    return tuple(
        ViewCounts(
            name=name,
            num_frames=len(records) - int(counts[Status.ENDED, view]),
            not_decodable=int(counts[Status.NOT_DECODABLE, view]),
            first_not_decodable=first.get((Status.NOT_DECODABLE, view)),
            without_image=int(counts[Status.NO_IMAGE, view]),
            first_without_image=first.get((Status.NO_IMAGE, view)),
            without_box=int(counts[Status.NO_BOX, view]),
            not_found=int(counts[Status.LOST, view]),
        )
        for view, name in enumerate(view_names)
    )


def _to_json(session: Session, summary: SessionSummary, calibration: Calibration | None) -> dict[str, Any]:
    views = [
        {
            "name": view.name,
            "video": str(video),
            "frames": view.num_frames,
            "not_decodable": view.not_decodable,
            "without_box": view.without_box,
            "not_found": view.not_found,
            **({"without_image": view.without_image} if view.without_image else {}),
        }
        for view, video in zip(summary.views, session.videos, strict=True)
    ]
    document: dict[str, Any] = {"session": session.name, "frames": summary.num_frames, "views": views}
    if calibration is not None and summary.noise is not None:
        known = np.isfinite(summary.noise.sigma)
        document["calibration"] = {
            "file": str(calibration.path),
            "keypoint_noise_px": round(summary.noise.sigma, 4) if known else None,
            "typical_weight": round(summary.noise.typical_weight, 4) if known else None,
            "outlier_threshold_px": round(OUTLIER_SIGMAS * summary.noise.sigma, 4) if known else None,
        }
        if summary.noise.shared is not None:
            document["shared_error"] = shared_to_plain(summary.noise.shared)
    return document
