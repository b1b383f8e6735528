"""Frames that look alike: near-twins across the split, the same image twice, one view's images in another's place."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from mvgeom.calibration.findings import Finding, error, note, warning
from mvtrain.check.image_scan import ImageScan
from mvtrain.drawing.sheets import frame_title
from mvtrain.project.project import Project
from mvtrain.project.splits import Split

NEAR = 0.35
"""Distance of two frames, in the typical distance of frames of one session, below which they are near-twins.

From held-out frames to the nearest training frame it is 0.15 in the median on human4 (1/60 s apart), 0.31 on a
generated project (1/15 s) and 0.58 on one with frames 1/2 s apart; docs/check.md has more.
"""

_FLOOR = 0.5
"""Gray levels below which thumbnails do not differ, whatever the typical distance."""

_ENOUGH_FRAMES = 5
"""Frames of a session from which it is told how much its frames differ."""

_LEAST_UNIT = 1 / 3
"""Least unit of a session, in the common one."""

_CHUNK = 256
_FEW = {"random": 0.05, "block": 0.25, "session": 0.05}
"""Share of the held-out frames up to which twins are only noted. Blocks of time meet somewhere."""

_COPIED_VIEW = 0.5


@dataclass(frozen=True, kw_only=True)
class Twin:
    """A frame of validation or test and the training frame that it looks most like.

    Attributes:
        row: of the project, held out.
        train_row: of the project, trained on.
        distance: of their thumbnails over all views, 1 for two typical frames of a session.
    """

    row: int
    train_row: int
    distance: float


def find_twins(
    thumbnails: np.ndarray, readable: np.ndarray, sessions: tuple[str, ...], split: Split, *, near: float = NEAR
) -> tuple[Twin, ...]:
    """Held-out frames that have a near-twin among the training frames, nearest first.

    Thumbnails are compared view by view, in units of how much frames of the session differ in that view: a mouse in a
    large arena changes few pixels and yet is elsewhere. Frames are twins when they are alike over all views together.

    Args:
        thumbnails: (N, V, h, w) gray levels.
        readable: (N, V) false where there is no image.
        sessions: N sessions.
        split: which rows are trained on, and which held out (validation and test).
        near: largest distance.
    """
    pixels = thumbnails.reshape(*thumbnails.shape[:2], -1).astype(np.float64)
    units = np.stack([_units(pixels[:, v], readable[:, v], sessions) for v in range(pixels.shape[1])], axis=1)
    units = np.maximum(units, _FLOOR / near)
    held = np.concatenate([split.validation, split.test])
    twins = []
    for start in range(0, len(held) if len(split.train) else 0, _CHUNK):
        rows = held[start : start + _CHUNK]
        distances = _distances(pixels, units, readable, rows, split.train)
        nearest = distances.argmin(axis=1)
        for row, column, distance in zip(rows, nearest, distances.min(axis=1), strict=True):
            if distance <= near:
                twins.append(Twin(row=int(row), train_row=int(split.train[column]), distance=float(distance)))
    return tuple(sorted(twins, key=lambda twin: twin.distance))


def _units(pixels: np.ndarray, readable: np.ndarray, sessions: tuple[str, ...]) -> np.ndarray:
    """(N,) root mean square difference in gray levels of two typical frames of each row's session, in one view.

    Sessions with few frames take that of the others; one in which the subject hardly stirs is not measured by itself
    alone, so that its frames are found to be alike.

    Args:
        pixels: (N, P) of the view.
        readable: (N,).
        sessions: N.
    """
    names = np.asarray(sessions, dtype=object)
    own = {}
    for session in dict.fromkeys(sessions):
        rows = np.flatnonzero((names == session) & readable)
        if len(rows) >= _ENOUGH_FRAMES:
            own[session] = _typical_distance(pixels[rows])
    common = float(np.median(list(own.values()))) if own else _typical_distance(pixels[readable])
    return np.array([max(own.get(session, common), _LEAST_UNIT * common) for session in sessions])


def _typical_distance(pixels: np.ndarray) -> float:
    """Root mean square difference of two typical rows of (n, P); 0 with nothing to compare."""
    if len(pixels) < 2:
        return 0.0
    squares = ((pixels - pixels.mean(axis=0)) ** 2).mean(axis=1) * len(pixels) / (len(pixels) - 1)
    return float(np.sqrt(2 * np.median(squares)))


def _distances(
    pixels: np.ndarray, units: np.ndarray, readable: np.ndarray, rows: np.ndarray, others: np.ndarray
) -> np.ndarray:
    """(R, O) root mean square over pixels and the views that both frames have, in the units of the first.

    Infinite where two frames share no view.
    """
    total, count = np.zeros((len(rows), len(others))), np.zeros((len(rows), len(others)))
    for view in range(pixels.shape[1]):
        one, other = pixels[rows, view], pixels[others, view]
        squares = (one**2).sum(1)[:, None] + (other**2).sum(1) - 2 * one @ other.T
        squares = np.maximum(squares, 0) / (pixels.shape[2] * units[rows, view, None] ** 2)
        both = readable[rows, view][:, None] & readable[others, view]
        total += np.where(both, squares, 0)
        count += both
    return np.sqrt(np.where(count > 0, total / np.maximum(count, 1), np.inf))


def twin_findings(project: Project, split: Split, twins: tuple[Twin, ...], kind: str) -> list[Finding]:
    """One finding about near-twins across the split: a warning where they are more than a few.

    Args:
        project: of the frames.
        split: of the frames.
        twins: found by `find_twins`.
        kind: `data.split`.
    """
    if not twins:
        return []
    sets = {name: rows for name, rows in (("validation", split.validation), ("test", split.test)) if len(rows)}
    counts = {name: sum(twin.row in set(rows.tolist()) for twin in twins) for name, rows in sets.items()}
    told = " and ".join(f"{counts[name]} of {len(rows)} {name} frames" for name, rows in sets.items())
    shown = "; ".join(
        f"{frame_title(project, twin.row)} and {frame_title(project, twin.train_row)} ({twin.distance:.2f})"
        for twin in twins[:3]
    )
    remedy = {
        "random": "frames of one moment are on both sides, and errors on them flatter: hold out blocks of time with "
        "data.split=block" + (", or whole sessions with data.split=session" if len(set(project.sessions)) > 1 else ""),
        "block": "where blocks meet that cannot be helped; elsewhere the subject rests, or frames were labeled twice",
        "session": "do two sessions share their footage?",
    }[kind]
    share = len(twins) / sum(len(rows) for rows in sets.values())
    build = warning if share > _FEW[kind] else note
    text = f"{told} have a near-twin in training (distance, in that of typical frames: {shown}): {remedy}"
    return [build("near_duplicates", (), text, frames=len(twins), share=share)]


def copy_findings(project: Project, split: Split, scan: ImageScan) -> list[Finding]:
    """The very same pixels twice: in two rows of a view (a warning), or in two views for most moments (an error)."""
    findings = []
    sets, views_of = split.names(), _copies(scan)
    if views_of:
        across = sum(len(set(sets[list(rows)])) > 1 for rows in views_of)
        shown = "; ".join(" = ".join(frame_title(project, row) for row in rows[:3]) for rows in list(views_of)[:3])
        views = [project.view_names[view] for view in sorted(set().union(*views_of.values()))]
        text = (
            f"{len(views_of)} moments have the very same image more than once under other names ({shown}; views "
            f"{', '.join(views)}), {across} of them in more than one of training, validation and test: keep one of each"
        )
        findings.append(warning("same_image", views, text, moments=len(views_of), across_split=across))
    for one, other in combinations(range(len(project.view_names)), 2):
        rows = np.flatnonzero(scan.readable[:, [one, other]].all(axis=1) & ~scan.blank[:, [one, other]].any(axis=1))
        same = sum(scan.digests[row][one] == scan.digests[row][other] for row in rows)
        if same > _COPIED_VIEW * len(rows):
            pair = (project.view_names[one], project.view_names[other])
            text = (
                f"views {pair[0]} and {pair[1]} show the same image in {same} of {len(rows)} frames: one view's images "
                "were copied into the other's folder, or one table names the other's images"
            )
            findings.append(error("same_view", pair, text, frames=same))
    return findings


def _copies(scan: ImageScan) -> dict[tuple[int, ...], set[int]]:
    """Rows that have the same image in a view, and the views in which they do."""
    views_of: dict[tuple[int, ...], set[int]] = defaultdict(set)
    for view in range(scan.blank.shape[1]):
        rows_of: dict[bytes, list[int]] = defaultdict(list)
        for row, digests in enumerate(scan.digests):
            digest = digests[view]
            if digest is not None and not scan.blank[row, view]:
                rows_of[digest].append(row)
        for rows in rows_of.values():
            if len(rows) > 1:
                views_of[tuple(rows)].add(view)
    return views_of
