"""Predictions as proposals for labels: those of a run for a project's images, or for the videos they came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from mvgeom import affine
from mvgeom.errors import InputError
from mvgeom.files import file_name
from mvgeom.tables import KeypointTable, read_keypoints
from mvtrain.project.names import TABLE, frame_number, frame_of, of_view
from mvtrain.project.project import Project
from mvtrain.runtime.messages import command


@dataclass(frozen=True, kw_only=True, eq=False)
class Prelabels:
    """Predictions of N frames, V views and K keypoints.

    Attributes:
        points: (N, V, K, 2) predictions in px of the stored images; NaN where missing or outside of the image.
        likelihood: (N, V, K) likelihoods; 1 where the tables have none, NaN where the point is missing.
        paths: Tables that were read.
    """

    points: np.ndarray
    likelihood: np.ndarray
    paths: tuple[Path, ...]


def read_prelabels(source: Path, project: Project) -> Prelabels:
    """Read the predictions of a project's frames.

    In this order, and each only for frames that still lack them: `predictions_<view>.csv` (rows are images) in
    `image_preds/<project>` of a run and in the folder itself, `CollectedData_<view>.csv` there, and tables
    `<session>_<view>.csv` (rows are frames of a video, in full-image px) in the folder and in its `video_preds`.

    Args:
        source: Run folder, or folder that `mvtrain predict` wrote to.
        project: Project whose frames are labeled.

    Raises:
        InputError: The folder does not exist or has no such table (`missing-file`), no table has one of the project's
            frames (`missing-row`) or keypoints (`keypoints-differ`), or a table cannot be read.
    """
    if not source.is_dir():
        raise InputError(
            f"predictions {source}: no such folder. Give a run folder, or one that mvtrain predict wrote to",
            code="missing-file",
            path=source,
        )
    shape = project.visibility.shape
    points, likelihood, paths = np.full((*shape, 2), np.nan), np.full(shape, np.nan), []
    for view, path, rows_of in _tables(source, project):
        table = read_keypoints(path)
        paths.append(path)
        order = _keypoints(table, project)
        for frame, row in rows_of(table):
            empty = np.isnan(points[frame, view]).all()
            if empty and project.image_names[frame][view] is not None:
                found = np.where(order[:, None] >= 0, table.points[row, order], np.nan)
                if rows_of.in_full_image:
                    found = affine.apply(affine.invert(project.crop_to_full[frame, view]), found)
                points[frame, view] = found
                likelihood[frame, view] = 1.0 if table.likelihood is None else table.likelihood[row, order]
    if not paths:
        raise InputError(
            f"predictions {source}: no tables of this project, expected predictions_<view>.csv or <session>_<view>.csv "
            f"with the views {', '.join(project.view_names)}. Run "
            f"{command('mvtrain', 'predict', 'RUN', project.root)}",
            code="missing-file",
            path=source,
        )
    sizes = project.file_sizes[:, :, None]
    inside = np.all((points >= -0.5) & (points <= sizes - 0.5), axis=-1)
    if not inside.any():
        raise InputError(
            f"predictions {source}: none is of a frame of {project.root}, read {', '.join(map(str, paths))}. Predict "
            f"the project's images: {command('mvtrain', 'predict', 'RUN', project.root)}",
            code="missing-row",
            path=source,
            paths=tuple(paths),
        )
    return Prelabels(
        points=np.where(inside[..., None], points, np.nan),
        likelihood=np.where(inside, np.nan_to_num(likelihood, nan=1.0), np.nan),
        paths=tuple(paths),
    )


class _Rows:
    """Frames of the project with their rows in a table."""

    def __init__(self, frames: dict[object, int], key: Callable[[str], object], *, in_full_image: bool) -> None:
        self._frames, self._key = frames, key
        self.in_full_image = in_full_image

    def __call__(self, table: KeypointTable) -> Iterator[tuple[int, int]]:
        for row, name in enumerate(table.rows):
            frame = self._frames.get(self._key(name))
            if frame is not None:
                yield frame, row


def _tables(source: Path, project: Project) -> Iterator[tuple[int, Path, _Rows]]:
    """Yield the view, the path and the rows of each table that exists."""
    of_images = (source / "image_preds" / project.root.name, source)
    for view, view_name in enumerate(project.view_names):
        names = [row[view] for row in project.image_names]
        images: dict[object, int] = {
            frame_of(name, view_name): frame for frame, name in enumerate(names) if name is not None
        }
        for stem in ("predictions", TABLE):
            for folder in of_images:
                path = folder / file_name(f"{of_view(stem, view_name)}.csv")
                if path.is_file() and path.parent != project.root:
                    yield view, path, _Rows(images, lambda row, v=view_name: frame_of(row, v), in_full_image=False)  # type: ignore[misc]
        for session in dict.fromkeys(project.sessions):
            numbers: dict[object, int] = {
                str(frame_number(PurePosixPath(name).stem)): frame
                for frame, name in enumerate(names)
                if name is not None and project.sessions[frame] == session
            }
            for folder in (source, source / "video_preds"):
                path = folder / file_name(f"{of_view(session, view_name)}.csv")
                if path.is_file():
                    yield view, path, _Rows(numbers, str, in_full_image=True)


def _keypoints(table: KeypointTable, project: Project) -> np.ndarray:
    """Return (K,) numbers of the project's keypoints in a table; -1 for those it lacks."""
    position = {name: number for number, name in enumerate(table.keypoint_names)}
    order = np.array([position.get(name, -1) for name in project.keypoint_names])
    if (order < 0).all():
        raise InputError(
            f"{table.path}: none of the project's keypoints, found {', '.join(table.keypoint_names)}, expected "
            f"{', '.join(project.keypoint_names)}",
            code="keypoints-differ",
            path=table.path,
            found=table.keypoint_names,
            expected=project.keypoint_names,
        )
    return order
