"""Reading what `mvtrain predict` wrote about a recording: 2D keypoints of every view, 3D keypoints, calibration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mvgeom import CameraGroup, SharedError
from mvgeom.documents import parse_json
from mvgeom.errors import InputError
from mvgeom.files import composed, file_name, list_files, read_text
from mvgeom.tables import COORDS_3D, KeypointTable, KinematicsTable, find_number_format, read_keypoints, read_kinematics
from mvgeom.videos import frame_rate, open_video
from mvgeom.wording import counted
from mvtrain.model.error_bars import shared_from_plain
from mvtrain.predict.recordings import EVIDENCE
from mvtrain.project.names import pattern_rule
from mvtrain.runtime.folders import find_runs, is_ensemble
from mvtrain.runtime.messages import describe_cause

_SUMMARY = "_prediction.json"
_TABLE_3D = "_3d"


@dataclass(frozen=True, kw_only=True)
class PredictionFiles:
    """Files of one predicted recording.

    Attributes:
        session: Name of the session.
        tables: CSV file of every view, by the view's name.
        table_3d: CSV file of the 3D points; None without calibration.
        videos: Videos that were predicted.
        calibration: Calibration file that was used; None where there was none or it is not known.
        summary: `<session>_prediction.json`; None for tables without it.
        skeleton: Pairs of keypoints that are joined by a bone.
        calibrated: True if the likelihoods are calibrated.
        smoothed: True if the tables are those of `mvtrain smooth`.
        kinematics: CSV file of the kinematics of a smoothed recording; None without them.
        kinematics_rate: Frames per second that its velocities are of; None where they are per frame.
        networks: Files of each network of an ensemble; empty for a single network.
        evidence: CSV file of what every view shows by itself, by its name; empty where views were not fused.
        shared_error: Errors that all views share, in the unit of `calibration`; None where they are not known.
    """

    session: str
    tables: Mapping[str, Path]
    table_3d: Path | None
    videos: tuple[Path, ...] = ()
    calibration: Path | None = None
    summary: Path | None = None
    skeleton: tuple[tuple[str, str], ...] = ()
    calibrated: bool = False
    smoothed: bool = False
    kinematics: Path | None = None
    kinematics_rate: float | None = None
    networks: tuple[PredictionFiles, ...] = ()
    evidence: Mapping[str, Path] = field(default_factory=dict)
    shared_error: SharedError | None = None

    def by_network(self) -> tuple[PredictionFiles, ...]:
        """Return the files of each network; those of a single network are these."""
        return self.networks or (self,)

    def frame_rate(self) -> float | None:
        """Return the frames per second: of the kinematics, else of the first video that can be read; None without."""
        if self.kinematics_rate is not None:
            return self.kinematics_rate
        for path in self.videos:
            with suppress(InputError):
                rate = frame_rate(open_video(path))
                if rate > 0:
                    return rate
        return None


@dataclass(frozen=True, kw_only=True, eq=False)
class Points3D:
    """3D keypoints of T frames in the calibration's unit, NaN where missing.

    Attributes:
        points: (T, K, 3) world points.
        std: (T, K, 3) standard deviations of the world points.
        error: (T, K) mean reprojection errors in px.
        num_views: (T, K) numbers of views used.
    """

    points: np.ndarray
    std: np.ndarray
    error: np.ndarray
    num_views: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class PredictedSession:
    """Keypoints of T frames in V views; those of a view that ends earlier are missing from its end on.

    Attributes:
        name: Name of the session.
        view_names: V names of the views.
        keypoint_names: K names of the keypoints.
        points: (T, V, K, 2) keypoints in full-image px; NaN where missing.
        likelihood: (T, V, K) likelihoods; NaN where missing.
        in_3d: 3D keypoints; None without calibration.
        kinematics: Kinematics of a smoothed recording; None without them.
    """

    name: str
    view_names: tuple[str, ...]
    keypoint_names: tuple[str, ...]
    points: np.ndarray
    likelihood: np.ndarray
    in_3d: Points3D | None
    kinematics: KinematicsTable | None = None

    def __len__(self) -> int:
        return len(self.points)

    def arranged(self, view_names: Sequence[str], keypoint_names: Sequence[str]) -> PredictedSession:
        """Return the predictions with the same views and keypoints in another order, without kinematics."""
        views = [self.view_names.index(name) for name in view_names]
        keypoints = [self.keypoint_names.index(name) for name in keypoint_names]
        in_3d = self.in_3d
        return replace(
            self,
            view_names=tuple(view_names),
            keypoint_names=tuple(keypoint_names),
            points=self.points[:, views][:, :, keypoints],
            likelihood=self.likelihood[:, views][:, :, keypoints],
            in_3d=in_3d
            and Points3D(
                points=in_3d.points[:, keypoints],
                std=in_3d.std[:, keypoints],
                error=in_3d.error[:, keypoints],
                num_views=in_3d.num_views[:, keypoints],
            ),
            kinematics=None,
        )


def find_predictions(
    source: Path, view_names: Sequence[str] = (), problems: dict[str, InputError] | None = None
) -> list[PredictionFiles]:
    """Find the predicted recordings of a source.

    Args:
        source: Folder that `mvtrain predict` wrote to, run folder (its `video_preds` is searched), or one
            `<session>_prediction.json`.
        view_names: Names of the views; needed where the folder has no `<session>_prediction.json`.
        problems: Errors of damaged summaries and missing tables, by the session in the file's name, to which those of
            this source are added; None raises the first.

    Raises:
        InputError: The source does not exist or has no prediction, or a summary is damaged or names missing tables.
    """
    if not source.exists():
        raise InputError(f"source {source}: does not exist", code="missing-file", path=source)
    folder = source / "video_preds" if (source / "video_preds").is_dir() else source
    # A session's name, and so that of its files, may begin with "."; macOS's files beside them are none.
    named = (path for path in sorted(folder.glob(f"*{_SUMMARY}")) if not path.name.startswith("._"))
    summaries = list(named) if folder.is_dir() else [folder]
    if summaries and all(path.name.endswith(_SUMMARY) for path in summaries):
        found = []
        for path in summaries:
            try:
                found.append(_read_summary(path))
            except InputError as error:
                if problems is None:
                    raise
                problems[path.name.removesuffix(_SUMMARY)] = error
        return found
    if not view_names or not folder.is_dir():
        raise InputError(
            f"{folder}: no predictions, expected <session>{_SUMMARY} of mvtrain predict. For tables "
            "<session>_<view>.csv without it, name their folder and give --views",
            code="missing-file",
            path=folder,
        )
    return _match_names(folder, view_names)


def find_all_predictions(
    sources: Iterable[Path], view_names: Sequence[str] = (), problems: dict[str, InputError] | None = None
) -> dict[str, list[PredictionFiles]]:
    """Find the predictions of each recording in several sources.

    Args:
        sources: Sources of `find_predictions`; the folder of an ensemble stands for its own `video_preds`, else for
            its runs.
        view_names: As for `find_predictions`.
        problems: As for `find_predictions`.

    Returns:
        Files by session, one for each source that has it; without sessions that are damaged in one of them.

    Raises:
        InputError: As `find_predictions`; `not-a-run` or `damaged-file` for an ensemble.
    """
    recordings: dict[str, list[PredictionFiles]] = {}
    for source in sources:
        has_runs = is_ensemble(source) and not (source / "video_preds").is_dir()
        for folder in find_runs(source) if has_runs else (source,):
            for files in find_predictions(folder, view_names, problems):
                recordings.setdefault(files.session, []).append(files)
    return {name: files for name, files in recordings.items() if name not in (problems or {})}


def load_predictions(files: PredictionFiles) -> PredictedSession:
    """Read the tables of one recording.

    Raises:
        InputError: A table cannot be read, the keypoints of two tables differ, the rows of a table are not the frames
            0, 1, 2, ..., or the 3D table has another length.
    """
    tables = {view: read_keypoints(path) for view, path in files.tables.items()}
    (first, *others) = tables.values()
    for table in others:
        if table.keypoint_names != first.keypoint_names:
            raise InputError(
                f"{table.path}: other keypoints than in {first.path}, found {', '.join(table.keypoint_names)}, "
                f"expected {', '.join(first.keypoint_names)}",
                code="keypoints-differ",
                path=table.path,
                found=table.keypoint_names,
                expected=first.keypoint_names,
            )
    likelihoods = [check_frames(table) for table in tables.values()]
    num_frames, num_keypoints = max(len(table.rows) for table in tables.values()), len(first.keypoint_names)
    points = np.full((num_frames, len(tables), num_keypoints, 2), np.nan)
    likelihood = np.full(points.shape[:-1], np.nan)
    for view, (table, values) in enumerate(zip(tables.values(), likelihoods, strict=True)):
        points[: len(table.rows), view] = table.points
        likelihood[: len(table.rows), view] = values
    return PredictedSession(
        name=files.session,
        view_names=tuple(tables),
        keypoint_names=first.keypoint_names,
        points=points,
        likelihood=likelihood,
        in_3d=None if files.table_3d is None else _read_3d(files.table_3d, first.keypoint_names, num_frames),
        kinematics=None if files.kinematics is None else read_kinematics(files.kinematics, first.keypoint_names),
    )


def check_frames(table: KeypointTable, first: int = 0) -> np.ndarray:
    """Check that a table, or a part of one, is of predictions of consecutive frames; return its likelihoods (N, K).

    Args:
        table: Table.
        first: Number of its first frame.

    Raises:
        InputError: `bad-field` for another row, `missing-column` without likelihoods.
    """
    for number, name in enumerate(table.rows, first):
        if name != str(number):
            raise InputError(
                f"{table.path}: the rows are not the frames of a recording, found row {name!r}, expected {number}",
                code="bad-field",
                path=table.path,
                found=name,
                expected=str(number),
            )
    if table.likelihood is None:
        raise InputError(
            f"{table.path}: not a table of predictions: there is no column likelihood",
            code="missing-column",
            path=table.path,
            column="likelihood",
        )
    return table.likelihood


def load_prediction_cameras(files: PredictionFiles, given: Path | None) -> CameraGroup | None:
    """Read the cameras of a recording in the order of its views.

    Args:
        files: Files of the recording.
        given: Calibration file; None for the one that was used in predicting.

    Returns:
        The cameras; None if no calibration is known or it no longer exists.

    Raises:
        InputError: The calibration cannot be read, or lacks a view (`missing-view`).
    """
    path = given if given is not None else files.calibration
    if path is None or (given is None and not path.exists()):
        return None
    cameras, views = CameraGroup.load(path), tuple(files.tables)
    missing = [view for view in views if view not in cameras.names]
    if missing:
        raise InputError(
            f"{path}: the calibration lacks the camera {', '.join(missing)}, found {', '.join(cameras.names)}, "
            f"expected {', '.join(views)}",
            code="missing-view",
            path=path,
            view=missing[0],
            found=cameras.names,
            expected=views,
        )
    return cameras.select(views)


def _read_summary(path: Path) -> PredictionFiles:
    text = read_text(path)
    try:
        document: dict[str, Any] = parse_json(text, path)
        session = str(document["session"])
        videos = {composed(str(view["name"])): _path(view["video"]) for view in document["views"]}
        calibration_file = (document.get("calibration") or {}).get("file")
        calibration = None if calibration_file is None else _path(calibration_file)
        skeleton = tuple((str(a), str(b)) for a, b in document.get("skeleton") or ())
        # The folders are beside the summary, whatever the file says.
        folders = [_path(row["folder"]).name for row in document.get("networks") or ()]
        networks = [path.parent / "networks" / file_name(folder) for folder in folders]
        calibrated = bool((document.get("made_with") or {}).get("confidence_map"))
        rate = (document.get("smoothed") or {}).get("frame_rate")
        kinematics_rate = None if rate is None else float(rate)
        shared = document.get("shared_error")
        shared_error = None if shared is None else shared_from_plain(shared)
    except (InputError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path}: not the summary of a prediction: {describe_cause(error, path)}", code="damaged-file", path=path
        ) from error
    if not videos:
        raise InputError(f"{path}: not the summary of a prediction: it names no view", code="damaged-file", path=path)
    tables = {view: path.parent / file_name(f"{video.stem}.csv") for view, video in videos.items()}
    missing = [table for table in tables.values() if not table.is_file()]
    if missing:
        raise InputError(
            f"{path}: tables are missing beside it: {', '.join(table.name for table in missing)}",
            code="missing-file",
            path=missing[0],
            paths=tuple(missing),
        )
    table_3d = path.parent / file_name(f"{session}{_TABLE_3D}.csv")
    evidence = {view: path.parent / EVIDENCE / file_name(table.name) for view, table in tables.items()}
    smoothed, kinematics = "smoothed" in document, path.parent / file_name(f"{session}_kinematics.csv")
    return PredictionFiles(
        session=session,
        tables=tables,
        table_3d=table_3d if table_3d.is_file() else None,
        videos=tuple(videos.values()),
        calibration=calibration,
        summary=path,
        skeleton=skeleton,
        calibrated=calibrated,
        smoothed=smoothed,
        kinematics=kinematics if smoothed and kinematics.is_file() else None,
        kinematics_rate=kinematics_rate,
        networks=tuple(_read_summary(folder / path.name) for folder in networks),
        evidence=evidence if all(table.is_file() for table in evidence.values()) else {},
        shared_error=shared_error,
    )


def _path(value: Any) -> Path:
    """Return the path of a field of a summary; raise TypeError for one that no file can have."""
    if not isinstance(value, str) or "\0" in value:
        raise TypeError(f"not a path: {value!r}")
    return Path(value)


def _match_names(folder: Path, view_names: Sequence[str]) -> list[PredictionFiles]:
    rule = pattern_rule("<session>_<view>", view_names)
    sessions: dict[str, dict[str, Path]] = {}
    for path in list_files(folder, "*.csv"):
        parts = rule.split(path.stem)
        if parts is not None:
            sessions.setdefault(parts.session, {})[parts.view] = path
    if not sessions:
        raise InputError(
            f"{folder}: no tables, expected <session>_<view>.csv with the views {', '.join(view_names)}",
            code="missing-file",
            path=folder,
        )
    files = []
    for session, tables in sessions.items():
        missing = [view for view in view_names if view not in tables]
        if missing:
            raise InputError(
                f"{folder}: session {session!r} has no table of view {', '.join(missing)}",
                code="missing-view",
                path=folder,
                session=session,
                view=missing[0],
            )
        table_3d = folder / file_name(f"{session}{_TABLE_3D}.csv")
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
        delimiter, decimal = find_number_format(path, 3)
        table = pd.read_csv(path, header=[0, 1, 2], index_col=0, sep=delimiter, decimal=decimal)
        columns = list(zip(table.columns.get_level_values(1), table.columns.get_level_values(2), strict=True))
        values = table.to_numpy(dtype=np.float64)
    except (OSError, ValueError, IndexError) as error:  # pandas raises any of these for a file that is not such a table
        raise InputError(f"{path}: not a table of 3D keypoints: {error}", code="damaged-file", path=path) from error
    expected = [(name, coord) for name in keypoint_names for coord in COORDS_3D]
    if columns != expected or len(values) != num_frames:
        raise InputError(
            f"{path}: the 3D table does not fit the tables of the views, found "
            f"{counted(len(columns), 'column')} and {counted(len(values), 'row')}, expected {', '.join(COORDS_3D)} for "
            f"each of {', '.join(keypoint_names)} and {counted(num_frames, 'row')}",
            code="tables-differ",
            path=path,
        )
    cells = values.reshape(num_frames, len(keypoint_names), len(COORDS_3D))
    return Points3D(points=cells[..., :3], std=cells[..., 3:6], error=cells[..., 6], num_views=cells[..., 7])
