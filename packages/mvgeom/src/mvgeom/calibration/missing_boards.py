"""Reasons why a board is not detected: another size or dictionary, mirrored or negative images."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from mvgeom.calibration.boards import Board, CharucoBoard, Chessboard
from mvgeom.calibration.charuco import examine_markers
from mvgeom.calibration.checkerboard import probe_grids
from mvgeom.calibration.findings import Finding, error, warning

__all__ = ["Image", "Reason", "explain_missing_boards"]

Image = npt.NDArray[np.uint8]

Reason = tuple[str, str, dict[str, float]]
"""Code, text and evidence of a finding."""

_SUSPICIOUS_SHARE = 0.5
_NUM_PROBED = 4


def explain_missing_boards(
    samples: Mapping[str, list[Image]], board: Board, found: Mapping[str, int], looked: Mapping[str, int]
) -> tuple[Finding, ...]:
    """Examine the cameras that saw the board in fewer than half of their images.

    Args:
        samples: Some gray images of each camera, by camera name.
        board: Board to detect.
        found: Number of images with a detected board, by camera name.
        looked: Total number of images, by camera name.

    Returns:
        An error for each camera that never saw the board, with the reason if one is found; a warning for a camera with
        few boards if a reason is found.
    """
    poor = [camera for camera in samples if found[camera] < _SUSPICIOUS_SHARE * looked[camera]]
    findings: list[Finding] = []
    if isinstance(board, CharucoBoard):
        for camera in poor:
            reason = _explain_markers(samples[camera], board, never=found[camera] == 0)
            findings += _finding(camera, board, found[camera], looked[camera], reason)
        return tuple(findings)
    # All cameras record the same board, so a few images from all of them are sufficient.
    pooled = [image for turn in range(_NUM_PROBED) for camera in poor for image in samples[camera][turn : turn + 1]]
    reason = _explain_chessboard(pooled[:_NUM_PROBED], board) if poor else None
    for camera in poor:
        findings += _finding(camera, board, found[camera], looked[camera], reason)
    return tuple(findings)


def _finding(camera: str, board: Board, found: int, looked: int, reason: Reason | None) -> list[Finding]:
    """Return the finding for one camera in a list, or an empty list."""
    if found and reason is None:
        return []
    code, text, evidence = reason or ("no_boards", "no reason found. Check that it is visible, sharp and whole", {})
    where = f"in none of {looked} images" if found == 0 else f"only in {found} of {looked} images"
    build = error if found == 0 else warning
    said = f"camera {camera!r}: the {board} was found {where}: {text}"
    return [build(code, [camera], said, found=found, pictures=looked, **evidence)]


def _explain_chessboard(images: list[Image], board: Chessboard) -> Reason | None:
    counts = probe_grids(images, board.grid)
    if not counts:
        return None
    asked = max(board.grid), min(board.grid)
    best = next(iter(counts))
    if best == asked or (counts[best] <= counts.get(asked, 0) and best[0] * best[1] < asked[0] * asked[1]):
        return None
    counted_squares = best == (asked[0] - 1, asked[1] - 1)
    hint = " (the size counts inner corners, not squares)" if counted_squares else ""
    return (
        "other_board_size",
        f"there is a board of {best[0]}x{best[1]} inner corners in {counts[best]} of {len(images)} examined images"
        f"{hint}. Give this size",
        {"columns": best[0], "rows": best[1], "pictures_with_other_size": counts[best]},
    )


def _explain_markers(images: list[Image], board: CharucoBoard, *, never: bool) -> Reason | None:
    seen = examine_markers(images, board)
    if seen.other_pattern and never:
        wanted = "the present pattern" if board.legacy else "the pattern of OpenCV before 4.6 (legacy)"
        return "other_pattern", f"the board is printed in {wanted}. Select this pattern", {"markers": seen.as_asked}
    if seen.mirrored > 2 * max(seen.as_asked, 2):
        return (
            "mirrored_images",
            f"its markers are mirrored ({seen.mirrored} per image after flipping). Turn off mirroring in the camera's "
            "software, or flip the images",
            {"markers": seen.as_asked, "mirrored_markers": seen.mirrored},
        )
    if seen.negative > 2 * max(seen.as_asked, 2):
        return (
            "negative_board",
            f"black and white are exchanged ({seen.negative} markers per image in the negative). Print the board as "
            "generated, or invert the images",
            {"markers": seen.as_asked, "negative_markers": seen.negative},
        )
    if seen.best_dictionary is not None and seen.in_best > 2 * max(seen.as_asked, 1):
        return (
            "wrong_dictionary",
            f"its markers are from {seen.best_dictionary} ({seen.in_best} per image), not from {board.dictionary} "
            f"({seen.as_asked} per image)",
            {"markers": seen.as_asked, "markers_of_best": seen.in_best},
        )
    if seen.as_asked and seen.foreign > 0.1:
        return (
            "other_board_size",
            f"{100 * seen.foreign:.0f} % of the markers have numbers that do not occur on a board of "
            f"{board.columns}x{board.rows} squares. Give the board's true number of squares",
            {"markers": seen.as_asked, "foreign_share": seen.foreign},
        )
    if never and seen.as_asked:
        return (
            "other_board_size",
            f"there are {seen.as_asked} of its markers per image, but they do not form this board. Check the numbers "
            "of squares; columns and rows may be exchanged",
            {"markers": seen.as_asked},
        )
    return None
