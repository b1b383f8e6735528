"""Options for keypoints: VIEW=PATH arguments, individual, bounding boxes, minimum likelihood."""

from __future__ import annotations

from typing import Annotated

import typer

from mvgeom.cli.options import number_check

__all__ = [
    "LIKELIHOOD",
    "VIEW_FORM",
    "BoxesOption",
    "CropSizeOption",
    "IgnoreSyncOption",
    "IndividualOption",
    "LikelihoodOption",
    "ViewsArgument",
    "check_likelihood",
    "keypoint_options",
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
LIKELIHOOD = 0.5
"""Default of `LikelihoodOption`."""
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
    options += [] if min_likelihood == LIKELIHOOD else ["--min-likelihood", f"{min_likelihood:g}"]
    options += [] if individual is None else ["--individual", individual]
    return [*options, "--ignore-sync"] if ignore_sync else options
