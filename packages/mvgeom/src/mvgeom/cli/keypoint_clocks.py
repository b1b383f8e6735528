"""Keypoints given to a command, at the times of the reference camera: offsets in time beside the calibration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mvgeom.cli.keypoint_input import CommandKeypoints, count_keypoints, read_views, whole_numbers
from mvgeom.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from mvgeom.cameras import CameraGroup

__all__ = ["read_synchronized_views"]

_WORSE = 1.1
_SLIGHTLY_PX = 0.2
"""Epipolar distance with offsets may be as much larger than without: a subject at rest agrees with any."""

_FEWEST = 0.1
"""Least share of a view's keypoints that must have a frame with the offsets."""


def read_synchronized_views(
    files: dict[str, Path],
    boxes: list[str] | None,
    crop_size: str | None,
    min_likelihood: float,
    individual: str | None,
    *,
    cameras: CameraGroup,
    calibration: Path,
    ignore: bool,
) -> CommandKeypoints:
    """Read the keypoint tables of several views, at the reference's frames where clocks lie beside the calibration.

    Keypoints of views with clocks are interpolated. The offsets must make them agree better, or at least not worse:
    those of another recording, and keypoints of videos that were matched by the same offsets before, are refused. So
    are offsets that leave a view with nearly no keypoints. Without clocks nothing changes.

    Args:
        files: As in `read_views`, in the order of the cameras.
        boxes: As in `read_views`.
        crop_size: As in `read_views`.
        min_likelihood: As in `read_views`.
        individual: As in `read_views`.
        cameras: Cameras of the views.
        calibration: Path of the calibration.
        ignore: Value of `IgnoreSyncOption`.

    Raises:
        InputError: As `read_views`; `clocks-differ`, if the keypoints agree better without the offsets, or nearly all
            of a view have no frame with them; `missing-view`, if a view has no clock; further codes of
            `mvgeom.clock_files.load_clocks`.
    """
    from mvgeom.clock_files import clocks_file

    own_frames = not ignore and clocks_file(calibration).is_file()
    keypoints = read_views(files, boxes, crop_size, min_likelihood, individual, own_frames=own_frames)
    return keypoints if ignore else _at_reference_frames(keypoints, cameras, calibration)


def _at_reference_frames(keypoints: CommandKeypoints, cameras: CameraGroup, calibration: Path) -> CommandKeypoints:
    """Interpolate the keypoints of all views at the frames of the reference, if there are clocks."""
    import dataclasses

    import numpy as np

    from mvgeom.calibration.time_shifts import pairwise_distance
    from mvgeom.cli.output import print_output, print_problem
    from mvgeom.clock_files import clocks_file, find_clocks
    from mvgeom.clocks import interpolate_keypoints

    clocks = find_clocks(calibration)
    if clocks is None:
        return keypoints
    path, stack = clocks_file(calibration), keypoints.stack
    clocks = clocks.select(cameras.names)
    if not all(row.isdecimal() for row in stack.rows):
        print_problem("note", "cyan", f"{path}: not used, because rows of labeled images are not frames of a recording")
        return keypoints
    points = keypoints.points
    moved, lowest = interpolate_keypoints(points, clocks, stack.likelihood, whole_numbers(keypoints))
    given, kept = count_keypoints(points), count_keypoints(moved)
    _check_kept(path, cameras.names, given, kept)
    before, after = pairwise_distance(cameras, points), pairwise_distance(cameras, moved)
    _check_agreement(path, before, after)
    lost = np.maximum(given - kept, 0)
    agreement = "" if math.isnan(after) else f"; epipolar distance {before:.2f} -> {after:.2f} px"
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


def _check_kept(path: Path, names: Sequence[str], given: np.ndarray, kept: np.ndarray) -> None:
    """Refuse offsets that leave a view with nearly none of its keypoints (V,)."""
    empty = next((view for view in range(len(names)) if kept[view] < _FEWEST * given[view]), None)
    if empty is not None:
        name = names[empty]
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


def _check_agreement(path: Path, before: float, after: float) -> None:
    """Refuse offsets with which the views' epipolar distances in px are larger than without, or with none."""
    if math.isnan(after) and not math.isnan(before):
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
