"""The page's list of frames: their order, how much of each is labeled, and the work that is left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from mvgeom import affine, reprojection_error, triangulate, triangulate_robust
from mvgeom import project as project_points
from mvgeom.errors import InputError
from mvtrain.label.geometry import DISAGREEMENT
from mvtrain.label.page_json import Json
from mvtrain.label.prelabels import Prelabels
from mvtrain.label.store import ABSENT, PROJECTION, LabelStore
from mvtrain.project.label_tables import VISIBLE
from mvtrain.project.listed_frames import FRAME, SESSION, header_of, read_list, read_listed_frames
from mvtrain.project.names import frame_number, frame_of
from mvtrain.project.project import Project
from mvtrain.runtime.messages import command

_COLUMNS = ("image", "image_name", "image name", "img")

_BLOCK = 100
"""Frames whose views are compared together; the geometry of all frames of a large project fits in no memory."""


def work_left(
    store: LabelStore, prelabels: Prelabels | None, frames: Sequence[int], *, threshold: float = DISAGREEMENT
) -> tuple[np.ndarray, np.ndarray]:
    """Count the keypoints that need a hand, over all views.

    A keypoint without a label counts 1, with a prediction 1 - likelihood, but 1 where the prediction disagrees with the
    other views. A label that disagrees with the other views counts 1. All else counts 0: other labels, keypoints that
    were marked absent, and those that other views' clicks project outside of the image.

    Args:
        store: Labels.
        prelabels: Predictions; None if there are none.
        frames: (n,) numbers of the frames to count in.
        threshold: Reprojection error in px of the stored image beyond which views disagree.

    Returns:
        (n,) work that is left, and (n,) True for frames with a label that disagrees.
    """
    rows = np.asarray(frames, dtype=np.int64)
    project = store.project
    done = (store.visible[rows] > 0) | (store.origins[rows] == ABSENT)
    clicked = (store.visible[rows] == VISIBLE) & (store.origins[rows] != PROJECTION)
    clicks = np.where(clicked[..., None], store.points[rows], np.nan)
    disagrees, outside = _compare(project, rows, clicks, threshold, robust=False)
    work = np.where(done, disagrees.astype(np.float64), 1.0)
    if prelabels is not None:
        predicted = np.isfinite(prelabels.points[rows]).all(-1)
        doubt = 1 - np.clip(np.nan_to_num(prelabels.likelihood[rows]), 0, 1)
        doubt[_compare(project, rows, prelabels.points[rows], threshold, robust=True)[0]] = 1.0
        work = np.where(predicted & ~done, doubt, work)
    work = np.where(outside & ~done, 0.0, work)
    work = np.where(np.all(project.file_sizes[rows] > 0, axis=-1)[..., None], work, 0.0)
    return work.sum(axis=(1, 2)), np.any(disagrees, axis=(1, 2))


def _compare(
    project: Project, rows: np.ndarray, points: np.ndarray, threshold: float, *, robust: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Compare points with the projections of the world points that they are triangulated to.

    Args:
        project: Project of the frames.
        rows: (n,) frames.
        points: (n, V, K, 2) points in px of the stored images; NaN where missing.
        threshold: Distance in px of the stored image.
        robust: Triangulate from the views that agree, instead of all views.

    Returns:
        (n, V, K) True for points farther from the projection than the threshold, and for projections outside of the
        stored images.
    """
    disagrees, outside = np.zeros(points.shape[:-1], dtype=bool), np.zeros(points.shape[:-1], dtype=bool)
    maps, sizes = project.crop_to_full[rows], project.file_sizes[rows][:, :, None]
    full = affine.apply(maps, points)
    scale = np.sqrt(np.abs(np.linalg.det(maps[..., :2])))[..., None]
    by_rig: dict[int, list[int]] = {}
    for number, row in enumerate(rows.tolist()):
        by_rig.setdefault(id(project.cameras[row]), []).append(number)
    for numbers in by_rig.values():
        cameras = project.cameras[rows[numbers[0]]]
        if cameras is None or len(cameras) < 2:
            continue
        chosen = full[numbers]
        limit = threshold * scale[numbers] + np.zeros(chosen.shape[:-1])
        world = triangulate_robust(chosen, cameras, threshold=limit).points if robust else triangulate(chosen, cameras)
        disagrees[numbers] = reprojection_error(world, chosen, cameras) > limit
        stored = affine.apply(affine.invert(maps[numbers]), project_points(world, cameras))
        known = np.isfinite(stored).all(-1)
        outside[numbers] = known & ~np.all((stored >= -0.5) & (stored <= sizes[numbers] - 0.5), axis=-1)
    return disagrees, outside


def read_frame_list(path: Path, project: Project) -> list[int]:
    """Read the numbers of the frames that a file names, in its order, each once.

    Args:
        path: CSV file with a header. The column `image` has an image of the frame in any view, such as
            labeled-data/mouse1_top/img00000012.png. Without such a column, `session` and `frame` name it; without
            these, the first column has the image.
        project: Project of the frames.

    Raises:
        InputError: The file does not exist (`missing-file`), cannot be read, names no frame (`empty-file`), or one that
            the project does not have (`missing-row`).
    """
    rows = read_list(path)
    header = header_of(rows)
    if {SESSION, FRAME} <= set(header) and not set(_COLUMNS) & set(header):
        return _numbered(path, project)
    column = next((header.index(name) for name in _COLUMNS if name in header), 0)
    known = {
        frame_of(name, view): frame
        for frame, names in enumerate(project.image_names)
        for name, view in zip(names, project.view_names, strict=True)
        if name is not None
    }
    # The name of any view is enough, also one without its view, as calibrations.csv writes them.
    for frame, session in enumerate(project.sessions):
        name = next(filter(None, project.image_names[frame]))
        known.setdefault((session, frame_of(name, "")[1]), frame)
    frames: dict[int, None] = {}
    # A first line that names a frame is a row: the file has no header.
    has_header = not rows or _find(_cell(rows[0][1], column), known, project) is None
    for line, row in rows[1:] if has_header else rows:
        name = _cell(row, column)
        found = _find(name, known, project)
        if found is None:
            raise InputError(
                f"{path}, line {line}: no frame of {project.root}, found {name!r}, expected an image of it such as "
                f"{next(filter(None, project.image_names[0]))}",
                code="missing-row",
                path=path,
                line=line,
                row=name,
            )
        frames[found] = None
    if not frames:
        raise InputError(f"{path}: names no frame", code="empty-file", path=path)
    return list(frames)


def _numbered(path: Path, project: Project) -> list[int]:
    """Read the frames of a list with sessions and frame numbers."""
    known: dict[tuple[str, int | None], int] = {}
    for row, session in enumerate(project.sessions):
        name = next(filter(None, project.image_names[row]))
        known[session, frame_number(PurePosixPath(name).stem)] = row
    frames = []
    for listed in read_listed_frames(path):
        found = known.get((listed.session, listed.frame))
        if found is None:
            raise InputError(
                f"{path}, line {listed.line}: frame {listed.frame} of session {listed.session!r} is not in "
                f"{project.root}. Extract it with: {command('mvtrain', 'frames', project.root, '--frames', path)}",
                code="missing-row",
                path=path,
                line=listed.line,
                row=listed.frame,
                session=listed.session,
            )
        frames.append(found)
    return frames


def _cell(row: list[str], column: int) -> str:
    """Return the cell of a column; "" where the row ends before."""
    return row[column] if column < len(row) else ""


def _find(name: str, known: dict[tuple[str, str], int], project: Project) -> int | None:
    keys = (frame_of(name, view) for view in ("", *project.view_names))
    return next((known[key] for key in keys if key in known), None)


def summarize_frames(
    store: LabelStore, prelabels: Prelabels | None, frames: Sequence[int], *, threshold: float
) -> list[Json]:
    """Return name, session, work and counts of some frames.

    Args:
        store: Labels.
        prelabels: Predictions; None if there are none.
        frames: Rows of the project.
        threshold: Reprojection error in px of the stored image beyond which views disagree.
    """
    summaries: list[Json] = []
    for first in range(0, len(frames), _BLOCK):
        block = frames[first : first + _BLOCK]
        work, disagrees = work_left(store, prelabels, block, threshold=threshold)
        summaries += [
            _summary(store, frame, float(left), bool(marked))
            for frame, left, marked in zip(block, work, disagrees, strict=True)
        ]
    return summaries


def _summary(store: LabelStore, frame: int, left: float, marked: bool) -> Json:
    present = [name is not None for name in store.project.image_names[frame]]
    return {
        "name": store.frame_names[frame],
        "session": store.project.sessions[frame],
        "work": round(left, 3),
        "disagrees": marked,
        "labeled": int(np.sum((store.visible[frame] > 0) | (store.origins[frame] == ABSENT))),
        "total": sum(present) * len(store.project.keypoint_names),
        "unsaved": bool(store.unsaved(frame).any()),
    }
