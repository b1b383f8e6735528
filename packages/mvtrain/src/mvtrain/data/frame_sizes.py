"""Whether images and boxes fit the frame that their calibration speaks of.

Images may differ in size from view to view and from frame to frame. Where they do not have the size that their
calibration gives, reading a project warns and goes on, because that number is often stale while the intrinsics are
right; `mvtrain check` calls it an error when the config trains in 3D. A whole frame (no boxes) may differ by 1 % along
each side, because encoders cut a few rows or columns. A stored crop may have any size, but its box must have its centre
in the calibrated frame.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mvgeom import CameraGroup

_TOLERANCE = 0.01
"""Share by which a whole frame may differ from its calibration's size along each side."""


def size_mismatches(
    file_sizes: np.ndarray, cameras: Sequence[CameraGroup | None], view_names: Sequence[str]
) -> dict[str, str]:
    """Whole frames whose size is not the calibration's: labels and cameras then speak of different pixels.

    Args:
        file_sizes: (N, V, 2) width and height in px, 0 where a view has no image.
        cameras: N camera groups, None where there is no calibration.
        view_names: V names.

    Returns:
        What is wrong, by view; views whose images have the calibrated size are not in it.
    """
    calibrated = _calibrated_sizes(cameras, len(view_names))
    present = np.all(file_sizes > 0, axis=-1)
    wrong = ~fits_calibration(file_sizes, calibrated) & present & np.all(calibrated > 0, axis=-1)
    mismatches = {}
    for view, row in _first_rows(wrong):
        name = view_names[view]
        mismatches[name] = (
            f"{wrong[:, view].sum()} of {present[:, view].sum()} images of view {name} do not have the size of their "
            f"calibration, such as {_times(file_sizes[row, view])} instead of {_times(calibrated[row, view])} px: "
            "without bounding boxes they are taken as whole frames, so 3D will be wrong if they were resized or cropped"
        )
    return mismatches


def fits_calibration(sizes: np.ndarray, calibrated: np.ndarray) -> np.ndarray:
    """(...) whether whole frames of these sizes (..., 2) can be those that a calibration of the other sizes means."""
    return np.all(np.abs(sizes - calibrated) <= _TOLERANCE * calibrated, axis=-1)


def box_mismatches(
    boxes: np.ndarray, cameras: Sequence[CameraGroup | None], view_names: Sequence[str]
) -> dict[str, str]:
    """Boxes whose centre is outside the calibrated frame.

    Args:
        boxes: (N, V, 4) x, y, width, height in frame px, NaN where a view has no image.
        cameras: N camera groups, None where there is no calibration.
        view_names: V names.

    Returns:
        What is wrong, by view; views whose boxes are all in the frame are not in it.
    """
    calibrated = _calibrated_sizes(cameras, len(view_names))
    center = boxes[..., :2] + (boxes[..., 2:] - 1) / 2
    wrong = np.any((center < -0.5) | (center > calibrated - 0.5), axis=-1) & np.all(calibrated > 0, axis=-1)
    mismatches = {}
    for view, row in _first_rows(wrong):
        name, present = view_names[view], np.isfinite(boxes[:, view]).all(-1)
        mismatches[name] = (
            f"{wrong[:, view].sum()} of {present.sum()} bounding boxes of view {name} have their centre outside of the "
            f"{_times(calibrated[row, view])} px that their calibration speaks of, such as x, y, width, height = "
            f"{boxes[row, view].tolist()}: 3D will be wrong if boxes and calibration speak of frames of different sizes"
        )
    return mismatches


def _calibrated_sizes(cameras: Sequence[CameraGroup | None], num_views: int) -> np.ndarray:
    """(N, V, 2) width and height, 0 where there is no calibration."""
    return np.stack([np.zeros((num_views, 2)) if group is None else np.asarray(group.sizes) for group in cameras])


def _first_rows(wrong: np.ndarray) -> list[tuple[int, int]]:
    """The views of (N, V) in which something is wrong, each with its first such row."""
    return [(int(view), int(np.argmax(wrong[:, view]))) for view in np.flatnonzero(wrong.any(0))]


def _times(size: np.ndarray) -> str:
    width, height = size
    return f"{width:g}x{height:g}"
