"""Checks for similar images: near-duplicates across the split, the same image twice, one view's images in another."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from mvgeom.calibration.findings import Finding, error, note, warning
from mvgeom.wording import counted
from mvtrain.check.image_scan import ImageScan
from mvtrain.drawing.sheets import frame_title
from mvtrain.project.project import Project
from mvtrain.project.splits import Split

NEAR = 0.35
"""Distance, relative to the typical one of frames of a session, below which two frames are near-duplicates.

From held-out frames to the nearest training frame it is 0.15 in the median on human4 (1/60 s apart), 0.31 on a
generated project (1/15 s) and 0.58 on one with frames 1/2 s apart; docs/check.md has more.
"""

FLOOR = 0.5
"""Difference in gray levels below which thumbnails are the same, whatever the typical distance."""

_ENOUGH_FRAMES = 5
"""Number of a session's frames from which its own typical distance is used."""

_MIN_UNIT = 1 / 3
"""Smallest unit of a session, relative to the common one."""

_CHUNK = 256
_FEW = {"random": 0.05, "block": 0.25, "session": 0.05}
"""Share of the held-out frames up to which near-duplicates are a note: blocks of time always have borders."""

_COPIED_VIEW = 0.5
"""Share of the frames above which equal images in two views are an error."""


@dataclass(frozen=True, kw_only=True)
class NearDuplicate:
    """A frame of the validation or test split and the training frame that is most similar to it.

    Attributes:
        row: Row of the held-out frame in the project.
        train_row: Row of the training frame in the project.
        distance: Distance of their thumbnails over all views; 1 for two typical frames of a session.
    """

    row: int
    train_row: int
    distance: float


def find_near_duplicates(
    thumbnails: np.ndarray, readable: np.ndarray, sessions: tuple[str, ...], split: Split, *, near: float = NEAR
) -> tuple[NearDuplicate, ...]:
    """Find held-out frames that have a near-duplicate among the training frames, nearest first.

    Thumbnails are compared view by view, in units of the typical distance of the session's frames in that view, because
    a small subject in a large arena changes few pixels when it moves. Frames are near-duplicates if they are similar
    over all views together.

    Args:
        thumbnails: (N, V, h, w) gray levels of the thumbnails.
        readable: (N, V) False where there is no image.
        sessions: N names of the frames' sessions.
        split: Split of the frames; those of validation and test are held out.
        near: Largest distance of near-duplicates.
    """
    pixels = thumbnails.reshape(*thumbnails.shape[:2], -1).astype(np.float64)
    units = np.stack([_units(pixels[:, v], readable[:, v], sessions) for v in range(pixels.shape[1])], axis=1)
    units = np.maximum(units, FLOOR / near)
    held = np.concatenate([split.validation, split.test])
    found = []
    for start in range(0, len(held) if len(split.train) else 0, _CHUNK):
        rows = held[start : start + _CHUNK]
        distances = image_distances(pixels, units, readable, rows, split.train)
        nearest = distances.argmin(axis=1)
        for row, column, distance in zip(rows, nearest, distances.min(axis=1), strict=True):
            if distance <= near:
                train_row = int(split.train[column])
                found.append(NearDuplicate(row=int(row), train_row=train_row, distance=float(distance)))
    return tuple(sorted(found, key=lambda pair: pair.distance))


def _units(pixels: np.ndarray, readable: np.ndarray, sessions: tuple[str, ...]) -> np.ndarray:
    """Return the root mean square difference (N,) in gray levels of two typical frames of each row's session.

    Sessions with few frames take that of the others. A session in which the subject hardly moves has a lower limit
    relative to the others, so that its frames are found to be similar.

    Args:
        pixels: (N, P) gray levels of the view.
        readable: (N,) False where there is no image.
        sessions: N names of the frames' sessions.
    """
    names = np.asarray(sessions, dtype=object)
    own = {}
    for session in dict.fromkeys(sessions):
        rows = np.flatnonzero((names == session) & readable)
        if len(rows) >= _ENOUGH_FRAMES:
            own[session] = typical_distance(pixels[rows])
    common = float(np.median(list(own.values()))) if own else typical_distance(pixels[readable])
    return np.array([max(own.get(session, common), _MIN_UNIT * common) for session in sessions])


def typical_distance(pixels: np.ndarray) -> float:
    """Return the root mean square difference of two typical rows of (n, P); 0 for fewer than two rows."""
    if len(pixels) < 2:
        return 0.0
    squares = ((pixels - pixels.mean(axis=0)) ** 2).mean(axis=1) * len(pixels) / (len(pixels) - 1)
    return float(np.sqrt(2 * np.median(squares)))


def image_distances(
    pixels: np.ndarray, units: np.ndarray, readable: np.ndarray, rows: np.ndarray, others: np.ndarray
) -> np.ndarray:
    """Return the root mean square differences (R, O) over pixels and common views, in the units of the first frame.

    They are infinite where two frames have no view in common.

    Args:
        pixels: (N, V, P) gray levels, or other values that describe an image.
        units: (N, V) typical difference of two frames, in gray levels.
        readable: (N, V) False where there is no image.
        rows: (R,) rows of the first frames.
        others: (O,) rows of the second frames.
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


def near_duplicate_findings(
    project: Project, split: Split, near_duplicates: tuple[NearDuplicate, ...], kind: str
) -> list[Finding]:
    """Report near-duplicates across the split: a note if they are few, a warning if they are more.

    Args:
        project: Project of the frames.
        split: Split of the frames.
        near_duplicates: Near-duplicates from `find_near_duplicates`.
        kind: Kind of split: `data.split` of the config.
    """
    if not near_duplicates:
        return []
    held_out = {name: rows for name, rows in (("validation", split.validation), ("test", split.test)) if len(rows)}
    counts = {name: sum(pair.row in set(rows.tolist()) for pair in near_duplicates) for name, rows in held_out.items()}
    counts_text = " and ".join(f"{counts[name]} of {len(rows)} {name} frames" for name, rows in held_out.items())
    shown = "; ".join(
        f"{frame_title(project, pair.row)} and {frame_title(project, pair.train_row)} ({pair.distance:.2f})"
        for pair in near_duplicates[:3]
    )
    advice = {
        "random": "Errors on such frames are too small. Hold out blocks of time with data.split=block"
        + (", or whole sessions with data.split=session" if len(set(project.sessions)) > 1 else ""),
        "block": "At the borders of blocks this is unavoidable; elsewhere the subject rests, or frames were labeled "
        "twice",
        "session": "Check if two sessions have the same recording",
    }[kind]
    share = len(near_duplicates) / sum(len(rows) for rows in held_out.values())
    build = warning if share > _FEW[kind] else note
    text = (
        f"found a near-duplicate among the training frames for {counts_text} (with the distance relative to typical "
        f"frames: {shown}). {advice}"
    )
    return [build("near_duplicates", (), text, frames=len(near_duplicates), share=share)]


def copy_findings(project: Project, split: Split, scan: ImageScan) -> list[Finding]:
    """Report equal images: in two rows of a view (a warning), or in two views in most frames (an error)."""
    findings = []
    split_names, views_of = split.names(), _find_copies(scan)
    if views_of:
        across = sum(len(set(split_names[list(rows)])) > 1 for rows in views_of)
        shown = "; ".join(" = ".join(frame_title(project, row) for row in rows[:3]) for rows in list(views_of)[:3])
        views = [project.view_names[view] for view in sorted(set().union(*views_of.values()))]
        text = (
            f"{counted(len(views_of), 'frame')} with the same image more than once under different names ({shown}; "
            f"views {', '.join(views)}), {across} of them in more than one of training, validation and test. "
            "Keep one of each"
        )
        findings.append(warning("same_image", views, text, frames=len(views_of), across_split=across))
    for one, other in combinations(range(len(project.view_names)), 2):
        rows = np.flatnonzero(scan.readable[:, [one, other]].all(axis=1) & ~scan.blank[:, [one, other]].any(axis=1))
        same = sum(scan.digests[row][one] == scan.digests[row][other] for row in rows)
        if same > _COPIED_VIEW * len(rows):
            pair = (project.view_names[one], project.view_names[other])
            text = (
                f"views {pair[0]} and {pair[1]} have the same image in {same} of {len(rows)} frames: one view's images "
                "were copied into the other's folder, or one table names the other's images. Correct them"
            )
            findings.append(error("same_view", pair, text, frames=same))
    return findings


def _find_copies(scan: ImageScan) -> dict[tuple[int, ...], set[int]]:
    """Find the rows that have the same image in a view, and the views in which they have it."""
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
