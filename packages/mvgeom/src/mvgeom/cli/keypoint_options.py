"""Options for keypoint tables: VIEW=CSV arguments, bounding boxes, minimum likelihood."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mvgeom.cli.options import parse_size, parse_view_files
from mvgeom.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from mvgeom.tables import KeypointTable, ViewStack

__all__ = ["BoxesOption", "CommandKeypoints", "CropSizeOption", "LikelihoodOption", "ViewsArgument", "read_views"]

ViewsArgument = Annotated[list[str], typer.Argument(metavar="VIEW=CSV", help="Keypoints of each view, by camera name.")]
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


@dataclass(frozen=True, kw_only=True, eq=False)
class CommandKeypoints:
    """Keypoints given to a command.

    Attributes:
        stack: Keypoint tables as stored.
        points: (N, V, K, 2) keypoints in full-image px; NaN where missing or below the minimum likelihood.
    """

    stack: ViewStack
    points: np.ndarray


def read_views(
    files: dict[str, Path], boxes: list[str] | None, crop_size: str | None, min_likelihood: float
) -> CommandKeypoints:
    """Read the keypoint tables of several views.

    Args:
        files: Keypoint tables by view name.
        boxes: Values of `BoxesOption`; None if not given.
        crop_size: Value of `CropSizeOption`; None if not given.
        min_likelihood: Value of `LikelihoodOption`.

    Raises:
        InputError: `too-few-views`, if there are fewer than two views; `tables-differ`, if the tables do not fit each
            other; `missing-view`, if boxes belong to an unknown view; `missing-argument`, if boxes are given without a
            crop size.
    """
    import numpy as np

    from mvgeom.tables import read_keypoints, stack_views

    if len(files) < 2:
        raise InputError(
            f"views: too few for triangulation, found {len(files)}, expected at least 2",
            code="too-few-views",
            found=len(files),
            expected=2,
        )
    tables = {view: read_keypoints(path) for view, path in files.items()}
    stack = stack_views(tables)
    points = _to_frame(stack, tables, parse_view_files(boxes or [], "--boxes VIEW=CSV"), crop_size)
    if stack.likelihood is not None:
        points = np.where((stack.likelihood >= min_likelihood)[..., None], points, np.nan)
    return CommandKeypoints(stack=stack, points=points)


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
        of_images = not all(name.isdecimal() for name in table.rows)
        found = (
            read_labeled_boxes(boxes[view]).select(table.rows)
            if of_images
            else read_video_boxes(boxes[view], len(table.rows))
        )
        known = np.isfinite(found).all(axis=-1)
        to_frame = affine.invert(affine.from_box(found[known], size))
        points[known, row] = affine.apply(np.asarray(to_frame), points[known, row])
        points[~known, row] = np.nan  # no box, no animal
    return points
