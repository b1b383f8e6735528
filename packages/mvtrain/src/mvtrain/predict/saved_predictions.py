"""What `mvtrain predict` wrote about a recording, read back: 2D of every view, 3D, and where they come from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from mvgeom.files import read_text
from mvgeom.tables import COORDS_3D, read_keypoints
from mvtrain.project.names import pattern_rule

_SUMMARY = "_prediction.json"
_TABLE_3D = "_3d"


@dataclass(frozen=True, kw_only=True)
class PredictionFiles:
    """The files of one recording.

    Attributes:
        session: its name.
        tables: CSV of every view, by its name.
        table_3d: CSV of 3D points; None without calibration.
        videos: that were predicted.
        calibration: file that was used; None where there was none, or nothing tells.
    """

    session: str
    tables: Mapping[str, Path]
    table_3d: Path | None
    videos: tuple[Path, ...] = ()
    calibration: Path | None = None

    def frame_rate(self) -> float | None:
        """Frames per second of the first video that is still there; None where there is none."""
        for path in self.videos:
            video = cv2.VideoCapture(str(path))
            rate = video.get(cv2.CAP_PROP_FPS) if video.isOpened() else 0.0
            video.release()
            if np.isfinite(rate) and rate > 0:
                return float(rate)
        return None


@dataclass(frozen=True, kw_only=True, eq=False)
class Points3D:
    """3D keypoints of T moments in the calibration's unit, NaN where missing.

    Attributes:
        points: (T, K, 3) world.
        std: (T, K, 3) standard deviations.
        error: (T, K) mean reprojection error in px.
        num_views: (T, K) views used.
    """

    points: np.ndarray
    std: np.ndarray
    error: np.ndarray
    num_views: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class PredictedSession:
    """Keypoints of T moments seen by V views; views that end earlier are missing from there on.

    Attributes:
        name: of the session.
        view_names: V names.
        keypoint_names: K names.
        points: (T, V, K, 2) frame px; NaN where missing.
        likelihood: (T, V, K); NaN where missing.
        in_3d: None without calibration.
    """

    name: str
    view_names: tuple[str, ...]
    keypoint_names: tuple[str, ...]
    points: np.ndarray
    likelihood: np.ndarray
    in_3d: Points3D | None

    def __len__(self) -> int:
        return len(self.points)


def find_predictions(source: Path, view_names: Sequence[str] = ()) -> list[PredictionFiles]:
    """The predicted recordings of a source.

    Args:
        source: a folder that `mvtrain predict` wrote into, a run folder (its `video_preds` counts), or one
            `<session>_prediction.json`.
        view_names: of the tables, where the folder has no `<session>_prediction.json` that tells them.

    Raises:
        ValueError: no such source, no prediction in it, or a summary that is damaged or names tables that are gone.
    """
    if not source.exists():
        raise ValueError(f"source {source} does not exist")
    folder = source / "video_preds" if (source / "video_preds").is_dir() else source
    summaries = sorted(folder.glob(f"*{_SUMMARY}")) if folder.is_dir() else [folder]
    if summaries and all(path.name.endswith(_SUMMARY) for path in summaries):
        return [_from_summary(path) for path in summaries]
    if not view_names or not folder.is_dir():
        raise ValueError(
            f"no prediction in {folder}: no <session>{_SUMMARY} of mvtrain predict; for tables <session>_<view>.csv "
            "without one, name their folder and give --views"
        )
    return _from_names(folder, view_names)


def load_predictions(files: PredictionFiles) -> PredictedSession:
    """Read the tables of one recording.

    Raises:
        ValueError: tables that cannot be read, whose keypoints differ, whose rows are not frames 0, 1, 2, ..., or a 3D
            table of another length.
    """
    tables = {view: read_keypoints(path) for view, path in files.tables.items()}
    (first, *others) = tables.values()
    for table in others:
        if table.keypoint_names != first.keypoint_names:
            raise ValueError(
                f"{table.path} has the keypoints {', '.join(table.keypoint_names)}, {first.path} has "
                f"{', '.join(first.keypoint_names)}"
            )
    for table in tables.values():
        if table.rows != tuple(map(str, range(len(table.rows)))):
            raise ValueError(f"{table.path}: rows must be the frames 0, 1, 2, ... of a recording")
        if table.likelihood is None:
            raise ValueError(f"{table.path}: has no likelihood, so it is no table of predictions")
    num_frames, num_keypoints = max(len(table.rows) for table in tables.values()), len(first.keypoint_names)
    points = np.full((num_frames, len(tables), num_keypoints, 2), np.nan)
    likelihood = np.full(points.shape[:-1], np.nan)
    for view, table in enumerate(tables.values()):
        points[: len(table.rows), view] = table.points
        likelihood[: len(table.rows), view] = table.likelihood
    return PredictedSession(
        name=files.session,
        view_names=tuple(tables),
        keypoint_names=first.keypoint_names,
        points=points,
        likelihood=likelihood,
        in_3d=None if files.table_3d is None else _read_3d(files.table_3d, first.keypoint_names, num_frames),
    )


def _from_summary(path: Path) -> PredictionFiles:
    try:
        document: dict[str, Any] = json.loads(read_text(path))
        session, videos = str(document["session"]), {view["name"]: Path(view["video"]) for view in document["views"]}
        calibration = (document.get("calibration") or {}).get("file")
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not the summary of a prediction: {error!r}") from error
    tables = {view: path.parent / f"{video.stem}.csv" for view, video in videos.items()}
    missing = [table.name for table in tables.values() if not table.is_file()]
    if missing or not tables:
        raise ValueError(f"{path} names tables that are not beside it: {', '.join(missing) or 'no view'}")
    table_3d = path.parent / f"{session}{_TABLE_3D}.csv"
    return PredictionFiles(
        session=session,
        tables=tables,
        table_3d=table_3d if table_3d.is_file() else None,
        videos=tuple(videos.values()),
        calibration=None if calibration is None else Path(calibration),
    )


def _from_names(folder: Path, view_names: Sequence[str]) -> list[PredictionFiles]:
    rule = pattern_rule("<session>_<view>", view_names)
    sessions: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.glob("*.csv")):
        parts = rule.split(path.stem)
        if parts is not None:
            sessions.setdefault(parts.session, {})[parts.view] = path
    if not sessions:
        raise ValueError(f"no table <session>_<view>.csv in {folder} with the views {', '.join(view_names)}")
    files = []
    for session, tables in sessions.items():
        missing = [view for view in view_names if view not in tables]
        if missing:
            raise ValueError(f"session {session!r} in {folder} has no table of view {', '.join(missing)}")
        table_3d = folder / f"{session}{_TABLE_3D}.csv"
        files.append(
            PredictionFiles(
                session=session,
                tables={view: tables[view] for view in view_names},
                table_3d=table_3d if table_3d.is_file() else None,
            )
        )
    return files


def _read_3d(path: Path, keypoint_names: Sequence[str], num_frames: int) -> Points3D:
    try:
        table = pd.read_csv(path, header=[0, 1, 2], index_col=0)
        columns = list(zip(table.columns.get_level_values(1), table.columns.get_level_values(2), strict=True))
        values = table.to_numpy(dtype=np.float64)
    except (OSError, ValueError, IndexError) as error:
        raise ValueError(f"{path}: is no table of 3D keypoints: {error}") from error
    expected = [(name, coord) for name in keypoint_names for coord in COORDS_3D]
    if columns != expected or len(values) != num_frames:
        raise ValueError(
            f"{path}: must have {', '.join(COORDS_3D)} for each of {', '.join(keypoint_names)} and {num_frames} rows "
            f"as the tables of the views, found {len(columns)} columns and {len(values)} rows"
        )
    cells = values.reshape(num_frames, len(keypoint_names), len(COORDS_3D))
    return Points3D(points=cells[..., :3], std=cells[..., 3:6], error=cells[..., 6], num_views=cells[..., 7])
