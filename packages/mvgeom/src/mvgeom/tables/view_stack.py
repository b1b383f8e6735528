"""Keypoint tables of several views as one array, once their rows are known to be the same frames."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from mvgeom.errors import InputError
from mvgeom.tables.keypoint_tables import Floats, KeypointTable
from mvgeom.tables.row_names import (
    frame_of_row,
    is_frame_number,
    session_of_recording,
    session_of_row,
    unlike_part,
)

__all__ = ["ViewStack", "stack_views", "with_all_frames"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ViewStack:
    """Keypoints of all views; row n of every view is the same frame.

    Attributes:
        rows: N index entries of the first view.
        keypoint_names: K keypoint names.
        points: (N, V, K, 2) keypoints in px of the files' own images; NaN is missing.
        likelihood: (N, V, K) likelihoods; None if no table has one, and 1 for views without likelihood if others have
            it.
    """

    rows: tuple[str, ...]
    keypoint_names: tuple[str, ...]
    points: Floats
    likelihood: Floats | None


def stack_views(tables: Mapping[str, KeypointTable]) -> ViewStack:
    """Stack the tables of all views.

    Rows are matched by position, in sparse tables by frame number or name; frames that a sparse table lacks are empty
    rows. Frame numbers must agree; for image paths, the file names must agree, and the sessions: by the folders
    `<session>_<view>`, `<view>_<session>` or `<session>/<view>`, and otherwise by the part of the folders that differs
    within a table. A table whose file names another session than that of the first view is a warning.

    Args:
        tables: Keypoint tables by view name, at least one.

    Raises:
        InputError: `tables-differ`, if the tables differ in keypoints (names or order), number of rows, index entries
            or sessions; `too-few-views`, if there is no table.
    """
    if not tables:
        raise InputError("tables: none found, expected at least one", code="too-few-views", found=0, expected=1)
    _check_keypoints(tables)
    tables = _fill_sparse(tables)
    _check_frames(tables)
    _check_sessions(tables)
    _warn_of_recordings(tables)
    first = next(iter(tables.values()))
    likelihoods = [table.likelihood for table in tables.values()]
    ones = np.ones(first.points.shape[:2])
    return ViewStack(
        rows=first.rows,
        keypoint_names=first.keypoint_names,
        points=np.stack([table.points for table in tables.values()], axis=1),
        likelihood=None
        if all(each is None for each in likelihoods)
        else np.stack([ones if each is None else each for each in likelihoods], axis=1),
    )


def _check_keypoints(tables: Mapping[str, KeypointTable]) -> None:
    (first_view, first), *others = tables.items()
    for view, table in others:
        if table.keypoint_names != first.keypoint_names:
            differing = sorted(set(table.keypoint_names) ^ set(first.keypoint_names)) or "their order"
            raise InputError(
                f"{table.path}: keypoints of view {view!r} differ from those of {first_view!r} ({first.path}): "
                f"{differing}",
                code="tables-differ",
                path=table.path,
                view=view,
            )


def _fill_sparse(tables: Mapping[str, KeypointTable]) -> Mapping[str, KeypointTable]:
    """Give sparse tables the rows of the others, or of all tables together if all are sparse."""
    if not any(table.sparse for table in tables.values()):
        return tables
    dense = next(((view, table) for view, table in tables.items() if not table.sparse), None)
    if dense is not None:
        frames = dense[1].rows
    else:
        found = {row for table in tables.values() for row in table.rows}
        numbered = all(map(is_frame_number, found))
        frames = tuple(sorted(found, key=int) if numbered else sorted(found))
    known = set(frames)
    for view, table in tables.items():
        strange = [row for row in table.rows if row not in known] if table.sparse else []
        if dense is not None and strange:
            raise InputError(
                f"{table.path}: view {view!r} has frames that view {dense[0]!r} ({dense[1].path}) lacks, the first is "
                f"{strange[0]!r}. Frames of all views must have the same numbers or names.",
                code="tables-differ",
                path=table.path,
                view=view,
                row=strange[0],
            )
        if table.sparse and {frames[0], frames[-1]} != {table.rows[0], table.rows[-1]}:
            warnings.warn(
                f"{table.path}: view {view!r} has frames {table.rows[0]} to {table.rows[-1]}, other views have "
                f"{frames[0]} to {frames[-1]}; the frames that it lacks are empty. Frames are matched by number: make "
                "sure that all views began together",
                stacklevel=3,
            )
    return {view: _with_rows(table, frames) if table.sparse else table for view, table in tables.items()}


def with_all_frames(tables: Mapping[str, KeypointTable]) -> Mapping[str, KeypointTable]:
    """Give tables of ascending frame numbers the frames of all of them; other tables are returned as they are.

    Cameras with clocks of their own begin and end at frames of their own.
    """
    for table in tables.values():
        if not all(row.isdecimal() for row in table.rows) or any(int(a) >= int(b) for a, b in pairwise(table.rows)):
            return tables
    if len({table.rows for table in tables.values()}) == 1 or not all(table.rows for table in tables.values()):
        return tables
    numbered = {view: replace(table, rows=tuple(str(int(row)) for row in table.rows)) for view, table in tables.items()}
    frames = tuple(sorted({row for table in numbered.values() for row in table.rows}, key=int))
    return {view: replace(_with_rows(table, frames), sparse=True) for view, table in numbered.items()}


def _with_rows(table: KeypointTable, rows: tuple[str, ...]) -> KeypointTable:
    place = {row: number for number, row in enumerate(rows)}
    kept = [place[row] for row in table.rows]
    points = np.full((len(rows), *table.points.shape[1:]), np.nan)
    points[kept] = table.points
    likelihood = None
    if table.likelihood is not None:
        likelihood = np.full(points.shape[:2], np.nan)
        likelihood[kept] = table.likelihood
    return replace(table, rows=rows, points=points, likelihood=likelihood)


def _check_frames(tables: Mapping[str, KeypointTable]) -> None:
    (first_view, first), *others = tables.items()
    for view, table in others:
        if len(table.rows) != len(first.rows):
            raise InputError(
                f"{table.path}: wrong number of rows of view {view!r}, found {len(table.rows)}, expected "
                f"{len(first.rows)} as for {first_view!r} ({first.path}). Rows of all views must be the same frames.",
                code="tables-differ",
                path=table.path,
                view=view,
            )
        for number, (ours, theirs) in enumerate(zip(first.rows, table.rows, strict=True)):
            if frame_of_row(ours) != frame_of_row(theirs):
                raise _differing(tables, first_view, view, number, "has another frame than")


def _check_sessions(tables: Mapping[str, KeypointTable]) -> None:
    """Check that no row has images of two sessions, as far as the paths tell the sessions."""
    (first_view, first), *others = tables.items()
    if all(map(is_frame_number, first.rows)):
        return
    known = {view: [session_of_row(row, view, table.path.stem) for row in table.rows] for view, table in tables.items()}
    for number in range(len(first.rows)):
        seen: dict[str, tuple[str, str]] = {}  # form of the folders: session, view
        for view in tables:
            named = known[view][number]
            if named is None:
                continue
            session, earlier = seen.setdefault(named[0], (named[1], view))
            if session != named[1]:
                raise _differing(tables, earlier, view, number, "has another session than")
    for view, table in others:
        if any(one is None or other is None for one, other in zip(known[first_view], known[view], strict=True)):
            _check_pairs(tables, first_view, view, unlike_part(first.rows), unlike_part(table.rows))


def _check_pairs(
    tables: Mapping[str, KeypointTable], first_view: str, view: str, ours: list[str], theirs: list[str]
) -> None:
    """Check folders that do not name their view: one session of a view belongs to one of the other.

    Args:
        tables: Keypoint tables by view name.
        first_view: View to compare with.
        view: View to check.
        ours: Part of the folder's name of each row of `first_view` that differs within the view.
        theirs: The same of `view`.
    """
    same_names = set(ours) == set(theirs)
    partner: dict[str, str] = {}
    partner_back: dict[str, str] = {}
    for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        mixed = partner.setdefault(one, other) != other or partner_back.setdefault(other, one) != one
        if mixed or (same_names and one != other):
            raise _differing(tables, first_view, view, number, "has another session than")


def _differing(
    tables: Mapping[str, KeypointTable], first_view: str, view: str, number: int, problem: str
) -> InputError:
    path = tables[view].path
    return InputError(
        f"{path}: row {number + 1} (line {number + 4} of a CSV table): view {view!r} {problem} {first_view!r}, found "
        f"{tables[view].rows[number]!r}, expected {tables[first_view].rows[number]!r}. Rows of all views must be the "
        "same frames, in the same order.",
        code="tables-differ",
        path=path,
        view=view,
        line=number + 4,
        row=number + 1,
    )


def _warn_of_recordings(tables: Mapping[str, KeypointTable]) -> None:
    """Warn of tables of frame numbers whose files are named by other sessions; the rows cannot tell."""
    sessions = {view: session_of_recording(table.recording, view) for view, table in tables.items()}
    named = {view: session for view, session in sessions.items() if session is not None}
    if len(set(named.values())) > 1:
        shown = ", ".join(f"{session!r} ({view})" for view, session in named.items())
        warnings.warn(
            f"the files of the views are named by different sessions: {shown}. Frames are matched by number: make sure "
            "that all are of one recording",
            stacklevel=3,
        )
