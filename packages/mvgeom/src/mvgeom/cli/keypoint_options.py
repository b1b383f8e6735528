"""Options for keypoints: VIEW=PATH arguments, individual, bounding boxes, minimum likelihood."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mvgeom.cli.options import check_inputs, number_check, parse_size, parse_view_files
from mvgeom.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from mvgeom.cameras import CameraGroup
    from mvgeom.tables import KeypointTable, ViewStack

__all__ = [
    "VIEW_FORM",
    "BoxesOption",
    "CommandKeypoints",
    "CropSizeOption",
    "IgnoreSyncOption",
    "IndividualOption",
    "LikelihoodOption",
    "ViewsArgument",
    "check_keypoint_inputs",
    "check_likelihood",
    "frame_numbers",
    "keypoint_options",
    "read_views",
    "synchronized_views",
]

VIEW_FORM = "VIEW=PATH"

ViewsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar=VIEW_FORM,
        help="Keypoints of each view, by camera name: CSV or .h5 of DeepLabCut or Lightning Pose, SLEAP's analysis.h5, "
        "JSON of MMPose, a folder of OpenPose's JSON.",
    ),
]
IndividualOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="Individual or track to take, where files have several.")
]
IgnoreSyncOption = Annotated[
    bool, typer.Option("--ignore-sync", help="Take row n of all views as one frame, whatever mvgeom sync found.")
]
check_likelihood = number_check("--min-likelihood", "from 0 to 1", lambda value: 0 <= value <= 1)
LikelihoodOption = Annotated[
    float, typer.Option(help="Keypoints below this likelihood do not count.", callback=check_likelihood)
]
BoxesOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="VIEW=CSV", help="Bounding boxes (columns x, y, h, w), where keypoints are px of crops (repeat)."
    ),
]
CropSizeOption = Annotated[
    str | None, typer.Option(metavar="WxH", help="Size of the crops as stored; needed with --boxes.")
]


_LIKELIHOOD = 0.5
"""Default of `LikelihoodOption` in the commands."""

_LARGEST_FRAME = 2**53
"""Largest frame number; times are floating point, which tells larger ones not apart."""

_WORSE = 1.1
_SLIGHTLY_PX = 0.2
"""Epipolar distance with offsets may be as much larger than without: a subject at rest agrees with any."""

_NEARLY_ALL = 0.9
"""Share of a view's keypoints from which on offsets that leave them without a frame are refused."""


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
) -> CommandKeypoints:
    """Read the keypoint tables of several views.

    Args:
        files: Keypoint tables by view name.
        boxes: Values of `BoxesOption`; None if not given.
        crop_size: Value of `CropSizeOption`; None if not given.
        min_likelihood: Value of `LikelihoodOption`.
        individual: Value of `IndividualOption`; None if not given.

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
    given = int(_counts(stack.points).sum())
    return CommandKeypoints(
        stack=stack,
        points=points,
        table=next(dense, next(iter(tables.values()))),
        given=given,
        unlikely=given - int(_counts(points).sum()),
    )


def keypoint_options(
    boxes: list[str] | None,
    crop_size: str | None,
    min_likelihood: float,
    individual: str | None,
    *,
    ignore_sync: bool = False,
) -> list[str]:
    """Return the options of another command that reads the same keypoints alike.

    Args:
        boxes: Values of `BoxesOption`; None if not given.
        crop_size: Value of `CropSizeOption`; None if not given.
        min_likelihood: Value of `LikelihoodOption`.
        individual: Value of `IndividualOption`; None if not given.
        ignore_sync: Value of `IgnoreSyncOption`.
    """
    options = [part for each in boxes or [] for part in ("--boxes", each)]
    options += [] if crop_size is None else ["--crop-size", crop_size]
    options += [] if min_likelihood == _LIKELIHOOD else ["--min-likelihood", f"{min_likelihood:g}"]
    options += [] if individual is None else ["--individual", individual]
    return [*options, "--ignore-sync"] if ignore_sync else options


def synchronized_views(
    keypoints: CommandKeypoints, cameras: CameraGroup, calibration: Path, *, ignore: bool
) -> CommandKeypoints:
    """Interpolate the keypoints of all views at the frames of the reference, where clocks lie beside the calibration.

    The offsets must make the keypoints agree better, or at least not worse: those of another recording, and keypoints
    of videos that were matched by the same offsets before, are refused. So are offsets that leave a view with nearly
    no keypoints. Without clocks nothing changes.

    Args:
        keypoints: Keypoints as read, with the views in the order of the cameras.
        cameras: Cameras of the views.
        calibration: Path of the calibration.
        ignore: Value of `IgnoreSyncOption`.

    Raises:
        InputError: `clocks-differ`, if the keypoints agree better without the offsets, or nearly all of a view have no
            frame with them; `missing-view`, if a view has no clock; further codes of `mvgeom.clock_files.load_clocks`.
    """
    import dataclasses

    import numpy as np

    from mvgeom.calibration.time_shifts import pairwise_distance
    from mvgeom.cli.output import print_output, print_problem
    from mvgeom.clock_files import clocks_file, find_clocks
    from mvgeom.clocks import interpolate_keypoints

    clocks = None if ignore else find_clocks(calibration)
    if clocks is None:
        return keypoints
    path, stack = clocks_file(calibration), keypoints.stack
    clocks = clocks.select(cameras.names)
    if not all(row.isdecimal() for row in stack.rows):
        print_problem("note", "cyan", f"{path}: not used, because rows of labeled images are not frames of a recording")
        return keypoints
    points = keypoints.points
    moved, lowest = interpolate_keypoints(points, clocks, stack.likelihood, _whole_numbers(keypoints))
    given, kept = _counts(points), _counts(moved)
    lost = np.maximum(given - kept, 0)
    empty = next((view for view, name in enumerate(cameras.names) if lost[view] > _NEARLY_ALL * given[view]), None)
    if empty is not None:
        name = cameras.names[empty]
        raise InputError(
            f"{path}: the offsets leave view {name!r} with {kept[empty]} of {given[empty]} keypoints: the others have "
            "no frame at the times of the reference, or lie in gaps of the frame numbers. The offsets are of another "
            "recording, or the tables are not of whole recordings. Give --ignore-sync, or run mvgeom sync on this "
            "recording",
            code="clocks-differ",
            path=path,
            view=name,
            found=int(kept[empty]),
            expected=int(given[empty]),
        )
    before, after = pairwise_distance(cameras, points), pairwise_distance(cameras, moved)
    if np.isnan(after) and not np.isnan(before):
        raise InputError(
            f"{path}: with the offsets no keypoint is seen by two views in a frame. They are of another recording, or "
            "the tables are not of whole recordings. Give --ignore-sync, or run mvgeom sync on this recording",
            code="clocks-differ",
            path=path,
        )
    if after > _WORSE * before + _SLIGHTLY_PX:
        raise InputError(
            f"{path}: the offsets do not fit these keypoints, which miss each other's epipolar lines by {after:.2f} px "
            f"with them, and by {before:.2f} px without. They are of another recording, or the keypoints are of videos "
            "that were matched by them before, such as those of mvtrain predict. Give --ignore-sync, or run mvgeom "
            "sync on this recording",
            code="clocks-differ",
            path=path,
            found=after,
            expected=before,
        )
    agreement = "" if np.isnan(after) else f"; epipolar distance {before:.2f} -> {after:.2f} px"
    print_output(f"offsets of {path}: {clocks.describe()}{agreement}")
    if lost.any():
        shown = (f"{name} {lost[view]} of {given[view]}" for view, name in enumerate(cameras.names) if lost[view])
        print_output(f"keypoints without a frame at these offsets: {', '.join(shown)}")
    known = None if stack.likelihood is None else lowest
    return dataclasses.replace(
        keypoints,
        stack=dataclasses.replace(stack, points=moved, likelihood=known),
        points=moved,
        lost=int(lost.sum()),
    )


def _counts(points: np.ndarray) -> np.ndarray:
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
    numbers = _whole_numbers(keypoints)
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


def _whole_numbers(keypoints: CommandKeypoints) -> np.ndarray:
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
