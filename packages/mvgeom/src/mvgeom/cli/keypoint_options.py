"""Options for keypoints: VIEW=PATH arguments, individual, bounding boxes, minimum likelihood."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mvgeom.cli.options import check_inputs, parse_size, parse_view_files
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
    "frame_numbers",
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
LikelihoodOption = Annotated[float, typer.Option(help="Keypoints below this likelihood do not count.")]
BoxesOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="VIEW=CSV", help="Bounding boxes (columns x, y, h, w), where keypoints are px of crops (repeat)."
    ),
]
CropSizeOption = Annotated[
    str | None, typer.Option(metavar="WxH", help="Size of the crops as stored; needed with --boxes.")
]


_WORSE = 1.1
_SLIGHTLY_PX = 0.2
"""Epipolar distance with offsets may be as much larger than without: a subject at rest agrees with any."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CommandKeypoints:
    """Keypoints given to a command.

    Attributes:
        stack: Keypoint tables as stored.
        points: (N, V, K, 2) keypoints in full-image px; NaN where missing or below the minimum likelihood.
    """

    stack: ViewStack
    points: np.ndarray


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
            other; `missing-view`, if boxes belong to an unknown view; `missing-argument`, if boxes are given without a
            crop size; further codes of `mvgeom.tables.read_keypoints`.
    """
    import numpy as np

    from mvgeom.cli.roles import next_step
    from mvgeom.tables import read_keypoints, stack_views

    if len(files) < 2:
        raise InputError(
            f"views: too few for triangulation, found {len(files)}, expected at least 2",
            code="too-few-views",
            found=len(files),
            expected=2,
        )
    with next_step("mvgeom triangulate --help lists what is read."):
        tables = {view: read_keypoints(path, individual) for view, path in files.items()}
    stack = stack_views(tables)
    with next_step("mvgeom triangulate --help describes --boxes."):
        points = _to_frame(stack, tables, parse_view_files(boxes or [], "--boxes VIEW=CSV"), crop_size)
    if stack.likelihood is not None:
        points = np.where((stack.likelihood >= min_likelihood)[..., None], points, np.nan)
    return CommandKeypoints(stack=stack, points=points)


def synchronized_views(
    keypoints: CommandKeypoints, cameras: CameraGroup, calibration: Path, *, ignore: bool
) -> CommandKeypoints:
    """Interpolate the keypoints of all views at the frames of the reference, where clocks lie beside the calibration.

    The offsets must make the keypoints agree better, or at least not worse: those of another recording, and keypoints
    of videos that were matched by the same offsets before, are refused. Without clocks nothing changes.

    Args:
        keypoints: Keypoints as read, with the views in the order of the cameras.
        cameras: Cameras of the views.
        calibration: Path of the calibration.
        ignore: Value of `IgnoreSyncOption`.

    Raises:
        InputError: `clocks-differ`, if the keypoints agree better without the offsets; `missing-view`, if a view has no
            clock; further codes of `mvgeom.clock_files.load_clocks`.
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
    rows = np.array([int(row) for row in stack.rows], dtype=np.int64)
    count = int(rows.max(initial=-1)) + 1
    points = np.full((count, *stack.points.shape[1:]), np.nan)
    likelihood = np.full(points.shape[:3], np.nan if stack.likelihood is not None else 1.0)
    points[rows] = keypoints.points
    if stack.likelihood is not None:
        likelihood[rows] = stack.likelihood
    moved, lowest = interpolate_keypoints(points, clocks, likelihood)
    before, after = pairwise_distance(cameras, points), pairwise_distance(cameras, moved)
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
    print_output(f"offsets of {path}: {clocks.describe()}; epipolar distance {before:.2f} -> {after:.2f} px")
    known = None if stack.likelihood is None else lowest[rows]
    return CommandKeypoints(stack=dataclasses.replace(stack, points=moved[rows], likelihood=known), points=moved[rows])


def frame_numbers(rows: tuple[str, ...], files: dict[str, Path]) -> np.ndarray:
    """Return the rows as frame numbers (N,): labeled images are not frames that follow each other.

    Raises:
        InputError: `bad-number`, if a row is not a number.
    """
    import numpy as np

    wrong = next((row for row in rows if not row.isdecimal()), None)
    if wrong is not None:
        path = next(iter(files.values()))
        raise InputError(
            f"{path}: rows are not frame numbers, found {wrong!r}. Give predictions of videos; labeled images are for "
            "mvgeom triangulate.",
            code="bad-number",
            path=path,
            found=wrong,
        )
    return np.array([int(row) for row in rows], dtype=np.float64)


def _to_frame(
    stack: ViewStack, tables: dict[str, KeypointTable], boxes: dict[str, Path], crop_size: str | None
) -> np.ndarray:
    """Return keypoints (N, V, K, 2) in full-image px; keypoints of views with boxes are converted from crop px."""
    import numpy as np

    from mvgeom import affine
    from mvgeom.tables import read_labeled_boxes, read_video_boxes

    unknown = [view for view in boxes if view not in tables]
    if unknown:
        raise InputError(
            f"--boxes: unknown view, found {', '.join(map(repr, unknown))}, expected {', '.join(map(repr, tables))}",
            code="missing-view",
            option="--boxes",
            view=unknown[0],
        )
    if not boxes:
        return stack.points
    if crop_size is None:
        raise InputError(
            "--crop-size WxH is missing, but --boxes needs it. Give the size in px of the stored crops.",
            code="missing-argument",
            option="--crop-size",
        )
    size = parse_size(crop_size, "--crop-size")
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
