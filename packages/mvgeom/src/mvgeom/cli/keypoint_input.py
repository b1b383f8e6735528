"""Keypoints given to a command: tables of several views read, in px of the full images, with their rows as numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mvgeom.cli.options import check_inputs, parse_size, parse_view_files
from mvgeom.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from mvgeom.tables import KeypointTable, ViewStack

__all__ = [
    "CommandKeypoints",
    "check_keypoint_inputs",
    "count_keypoints",
    "frame_numbers",
    "read_views",
    "whole_numbers",
]

_LARGEST_FRAME = 2**53
"""Largest frame number; times are floating point, which tells larger ones not apart."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CommandKeypoints:
    """Keypoints given to a command.

    Attributes:
        stack: Keypoint tables as stored.
        points: (N, V, K, 2) keypoints in full-image px; NaN where missing or below the minimum likelihood.
        table: Table from which the stack has its rows.
        given: Number of keypoints in the tables.
        unlikely: Number of them that are below the minimum likelihood, or without a bounding box.
        lost: Number of the others that offsets in time leave without a frame.
    """

    stack: ViewStack
    points: np.ndarray
    table: KeypointTable
    given: int
    unlikely: int
    lost: int = 0


def check_keypoint_inputs(calibration: Path, files: dict[str, Path], boxes: list[str] | None) -> list[Path]:
    """Check the paths of a command that reads keypoints, before it imports what reads them.

    Args:
        calibration: Calibration.
        files: Keypoints by view name.
        boxes: Values of `BoxesOption`; None if not given.

    Returns:
        Paths of the keypoints and boxes.

    Raises:
        InputError: `missing-file`, if a path does not exist; `unsupported-file`, if keypoints or boxes are certainly
            something else, a video for example.
    """
    box_files = parse_view_files(boxes or [], "--boxes VIEW=CSV")
    check_inputs(calibration, *files.values(), *box_files.values())
    from mvgeom.cli.roles import check_roles

    check_roles(files, box_files)
    return [*files.values(), *box_files.values()]


def read_views(
    files: dict[str, Path],
    boxes: list[str] | None,
    crop_size: str | None,
    min_likelihood: float,
    individual: str | None = None,
    *,
    own_frames: bool = False,
) -> CommandKeypoints:
    """Read the keypoint tables of several views.

    Args:
        files: Keypoint tables by view name.
        boxes: Values of `BoxesOption`; None if not given.
        crop_size: Value of `CropSizeOption`; None if not given.
        min_likelihood: Value of `LikelihoodOption`.
        individual: Value of `IndividualOption`; None if not given.
        own_frames: True if cameras have clocks of their own, and so begin and end at frames of their own.

    Raises:
        InputError: `too-few-views`, if there are fewer than two views; `tables-differ`, if the tables do not fit each
            other; `duplicate-name`, if a table has a frame number twice; `missing-view`, if boxes belong to an unknown
            view; `missing-argument`, if boxes are given without a crop size, or the other way round; further codes of
            `mvgeom.tables.read_keypoints`.
    """
    import numpy as np

    from mvgeom.cli.output import print_problem
    from mvgeom.cli.roles import next_step
    from mvgeom.tables import read_keypoints, stack_views
    from mvgeom.tables.view_stack import with_all_frames

    if len(files) < 2:
        raise InputError(
            f"views: too few for triangulation, found {len(files)}, expected at least 2",
            code="too-few-views",
            found=len(files),
            expected=2,
        )
    box_files = parse_view_files(boxes or [], "--boxes VIEW=CSV")
    size = _crop_size(files, box_files, crop_size)
    with next_step("mvgeom triangulate --help lists what is read."):
        tables = {view: read_keypoints(path, individual) for view, path in files.items()}
    for table in tables.values():
        _check_distinct(table)
    if own_frames:
        tables = dict(with_all_frames(tables))
    stack = stack_views(tables)
    points = stack.points
    if size is not None:
        with next_step("mvgeom triangulate --help describes --boxes."):
            points = _to_frame(stack, tables, box_files, size)
        without = [view for view in files if view not in box_files]
        if without:
            print_problem(
                "warning",
                "yellow",
                f"--boxes: none for {', '.join(without)}, whose keypoints count as px of the full image",
            )
    if stack.likelihood is not None:
        points = np.where((stack.likelihood >= min_likelihood)[..., None], points, np.nan)
    dense = (table for table in tables.values() if not table.sparse)
    given = int(count_keypoints(stack.points).sum())
    return CommandKeypoints(
        stack=stack,
        points=points,
        table=next(dense, next(iter(tables.values()))),
        given=given,
        unlikely=given - int(count_keypoints(points).sum()),
    )


def count_keypoints(points: np.ndarray) -> np.ndarray:
    """Return the number of keypoints (V,) of each view in (N, V, K, 2) points."""
    import numpy as np

    return np.asarray(np.isfinite(points).all(axis=-1).sum(axis=(0, 2)))


def frame_numbers(keypoints: CommandKeypoints) -> np.ndarray:
    """Return the rows as ascending frame numbers (N,): labeled images are not frames that follow each other.

    Raises:
        InputError: `bad-number`, if a row is not a number, or not larger than the one before; `out-of-range`, if it is
            too large.
    """
    import numpy as np

    table, rows = keypoints.table, keypoints.stack.rows
    wrong = next((number for number, row in enumerate(rows) if not row.isdecimal()), None)
    if wrong is not None:
        where, facts = _place(table, wrong)
        raise InputError(
            f"{where}: rows are not frame numbers, found {rows[wrong]!r}. Give predictions of videos; labeled images "
            "are for mvgeom triangulate.",
            code="bad-number",
            found=rows[wrong],
            **facts,
        )
    numbers = whole_numbers(keypoints)
    back = np.flatnonzero(np.diff(numbers) <= 0)
    if len(back):
        row = int(back[0]) + 1
        where, facts = _place(table, row)
        raise InputError(
            f"{where}: frame numbers must ascend, found {numbers[row]} after {numbers[row - 1]}. Sort the rows of all "
            "views by frame number.",
            code="bad-number",
            found=rows[row],
            **facts,
        )
    return np.asarray(numbers, dtype=np.float64)


def whole_numbers(keypoints: CommandKeypoints) -> np.ndarray:
    """Return rows that are all frame numbers as integers (N,).

    Raises:
        InputError: `out-of-range`, if one is larger than times in floating point tell apart.
    """
    import numpy as np

    table, numbers = keypoints.table, [int(row) for row in keypoints.stack.rows]
    large = next((row for row, number in enumerate(numbers) if number > _LARGEST_FRAME), None)
    if large is not None:
        found = numbers[large]
        where, facts = _place(table, large)
        raise InputError(
            f"{where}: frame number too large, found {found}, expected at most {_LARGEST_FRAME}",
            code="out-of-range",
            found=found,
            expected=_LARGEST_FRAME,
            **facts,
        )
    return np.array(numbers, dtype=np.int64)


def _place(table: KeypointTable, row: int) -> tuple[str, dict[str, object]]:
    """Return file and line of a row, in words and as facts of an error."""
    line = table.first_line + row
    return f"{table.path}: line {line}", {"path": table.path, "line": line}


def _check_distinct(table: KeypointTable) -> None:
    """Refuse a frame number that a table has twice; labeled images are not numbered.

    Raises:
        InputError: `duplicate-name`.
    """
    if len(set(table.rows)) == len(table.rows) or not all(row.isdecimal() for row in table.rows):
        return
    earlier: dict[str, int] = {}
    for number, row in enumerate(table.rows):
        first = earlier.setdefault(row, number)
        if first != number:
            where, facts = _place(table, number)
            raise InputError(
                f"{where}: frame {row} is there twice, found it in line {table.first_line + first}, too, expected "
                "every frame once",
                code="duplicate-name",
                name=row,
                **facts,
            )


def _crop_size(files: dict[str, Path], boxes: dict[str, Path], crop_size: str | None) -> tuple[int, int] | None:
    """Return width and height of the crops; None if no view has boxes.

    Raises:
        InputError: `missing-view`, if boxes belong to an unknown view; `missing-argument`, if boxes are given without a
            crop size, or the other way round; `bad-option`, if the size has another form.
    """
    unknown = [view for view in boxes if view not in files]
    if unknown:
        raise InputError(
            f"--boxes: unknown view, found {', '.join(map(repr, unknown))}, expected {', '.join(map(repr, files))}",
            code="missing-view",
            option="--boxes",
            view=unknown[0],
        )
    if not boxes:
        if crop_size is not None:
            raise InputError(
                "--boxes VIEW=CSV is missing, but --crop-size is given. Give the boxes of each view whose keypoints "
                "are px of crops, or leave --crop-size out.",
                code="missing-argument",
                option="--boxes",
            )
        return None
    if crop_size is None:
        raise InputError(
            "--crop-size WxH is missing, but --boxes needs it. Give the size in px of the stored crops.",
            code="missing-argument",
            option="--crop-size",
        )
    return parse_size(crop_size, "--crop-size")


def _to_frame(
    stack: ViewStack, tables: dict[str, KeypointTable], boxes: dict[str, Path], size: tuple[int, int]
) -> np.ndarray:
    """Return keypoints (N, V, K, 2) in full-image px; keypoints of views with boxes are converted from crop px."""
    import numpy as np

    from mvgeom import affine
    from mvgeom.tables import read_labeled_boxes, read_video_boxes

    points = stack.points.copy()
    for row, (view, table) in enumerate(tables.items()):
        if view not in boxes:
            continue
        if not all(name.isdecimal() for name in table.rows):
            found = read_labeled_boxes(boxes[view]).select(stack.rows if table.sparse else table.rows)
        elif table.sparse:
            found = _boxes_by_number(boxes[view], stack.rows)
        else:
            found = read_video_boxes(boxes[view], len(table.rows))
        known = np.isfinite(found).all(axis=-1)
        to_frame = affine.invert(affine.from_box(found[known], size))
        points[known, row] = affine.apply(np.asarray(to_frame), points[known, row])
        points[~known, row] = np.nan  # no box, no animal
    return points


def _boxes_by_number(path: Path, rows: tuple[str, ...]) -> np.ndarray:
    """Return the boxes (N, 4) of frame numbers; the frames of a sparse table need not be all of the video."""
    from mvgeom.tables import read_video_boxes

    found, frames = read_video_boxes(path), [int(row) for row in rows]
    if frames[-1] >= len(found):
        raise InputError(
            f"{path}: too few rows, found {len(found)}, expected one per frame of the video, at least {frames[-1] + 1}",
            code="wrong-count",
            path=path,
            found=len(found),
            expected=frames[-1] + 1,
        )
    return found[frames]
