"""Reasons why a board is not detected: another size or dictionary, mirrored or negative images, cut boards."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import numpy.typing as npt

from mvgeom.calibration.boards import Board, BoardSet, CharucoBoard, Chessboard, TagGrid
from mvgeom.calibration.checkerboard import find_chessboard
from mvgeom.calibration.find_board import upright_colors
from mvgeom.calibration.findings import Finding, error, warning
from mvgeom.calibration.grid_probe import count_cut_boards, probe_grids
from mvgeom.calibration.marker_evidence import count_mirrored, examine_markers
from mvgeom.wording import counted

__all__ = ["BOARD_REASONS", "Image", "Reason", "explain_missing_boards"]

Image = npt.NDArray[np.uint8]

Reason = tuple[str, str, dict[str, float]]
"""Code, text and evidence of a finding."""

_MIRRORED = "mirrored_images"

BOARD_REASONS = frozenset({"other_board_size", "other_pattern", "wrong_dictionary", "negative_board", _MIRRORED})
"""Codes of findings for which the board is in no image, or in few, because it is not the one that was described."""

_SUSPICIOUS_SHARE = 0.5
_NUM_PROBED = 4
_NUM_POOLED = 6
_FEW_MARKERS = 2


def explain_missing_boards(
    samples: Mapping[str, list[Image]], board: Board, found: Mapping[str, int], searched: Mapping[str, int]
) -> tuple[Finding, ...]:
    """Examine the cameras that saw the board in fewer than half of their images.

    Args:
        samples: Some gray images of each camera, by camera name.
        board: Board to detect.
        found: Number of images with a detected board, by camera name.
        searched: Total number of images, by camera name.

    Returns:
        An error for each camera that never saw the board, with the reason if one is found; a warning for a camera with
        few boards if a reason is found.
    """
    faces = [face.board for face in board.faces] if isinstance(board, BoardSet) else [board]
    board = faces[0]
    marked = [face for face in faces if not isinstance(face, Chessboard)]
    # A camera may see other faces than the first.
    present = {number for face in marked if face.dictionary == marked[0].dictionary for number in face.ids}
    poor = [camera for camera in samples if found[camera] < _SUSPICIOUS_SHARE * searched[camera]]
    images = {camera: [upright_colors(image, board) for image in samples[camera]] for camera in poor}
    # All cameras record the same board, so that images of all of them tell what it is.
    pooled = [image for turn in range(_NUM_POOLED) for camera in poor for image in images[camera][turn : turn + 1]]
    never = not any(found.values())
    common: Reason | None = None
    if poor and isinstance(board, Chessboard):
        common = _explain_chessboard(pooled[:_NUM_PROBED], board, never=never)
    elif poor and not isinstance(board, Chessboard):
        common = _explain_markers(pooled[:_NUM_POOLED], board, present, never=never)
    findings: list[Finding] = []
    for camera in poor:
        reason = common
        # Mirrored images are not the board's fault but a camera's.
        if not isinstance(board, Chessboard) and (common is None or common[0] == _MIRRORED):
            reason = _explain_markers(images[camera][::2], board, present, never=found[camera] == 0)
        elif not isinstance(board, Chessboard):
            reason = _mirrored(*count_mirrored(images[camera][::2], board), board) or common
        findings += _finding(camera, board, found[camera], searched[camera], reason)
    return tuple(findings)


def _finding(camera: str, board: Board, found: int, searched: int, reason: Reason | None) -> list[Finding]:
    """Return the finding for one camera in a list, or an empty list."""
    if found and reason is None:
        return []
    code, text, evidence = reason or ("no_boards", "no reason found. Check that it is visible, sharp and whole", {})
    where = f"in none of {counted(searched, 'image')}" if found == 0 else f"only in {found} of {searched} images"
    build = error if found == 0 else warning
    message = f"camera {camera!r}: the {board} was found {where}: {text}"
    return [build(code, [camera], message, found=found, images=searched, **evidence)]


def _explain_chessboard(images: list[Image], board: Chessboard, *, never: bool) -> Reason | None:
    sizes = probe_grids(images, board.grid)
    asked = max(board.grid), min(board.grid)
    best = next(iter(sizes), asked)
    smaller = best != asked and best[0] <= asked[0] and best[1] <= asked[1]
    always_near_border = smaller and len(sizes[best].cut) == len(sizes[best].images)
    cut = count_cut_boards(images, board.grid) if best == asked or always_near_border else 0
    # A smaller board near the border of the image looks like a cut one, but is of the same size everywhere.
    if cut and (not never or len(sizes) != 1):
        return (
            "cut_board",
            f"the border of the image cuts it in {cut} of {len(images)} examined images. A chessboard is only found "
            "where all of it is visible. Show the whole board, or use a board with markers (ChArUco, AprilGrid)",
            {"images_with_cut_board": cut},
        )
    if not sizes:
        # The negative of a board with an odd and an even number of corners is the same board, turned by 180 degrees.
        as_it_is, negative = (
            sum(find_chessboard(image, board.grid) is not None for image in each)
            for each in (images, [255 - image for image in images])
        )
        examined = counted(len(images), "image")
        found = f"{counted(negative, 'board')} in the negatives of {examined}, {as_it_is} as they are"
        return _negative(board, found, {}) if negative > as_it_is else None
    counts = {size: len(each.images) for size, each in sizes.items()}
    if best == asked or (counts[best] <= counts.get(asked, 0) and best[0] * best[1] < asked[0] * asked[1]):
        return None
    counted_squares = best == (asked[0] - 1, asked[1] - 1)
    hint = " (the size counts inner corners, not squares)" if counted_squares else ""
    return (
        "other_board_size",
        f"there is a board of {best[0]}x{best[1]} inner corners in {counts[best]} of {len(images)} examined images"
        f"{hint}. Give this size",
        {"columns": best[0], "rows": best[1], "images_with_other_size": counts[best]},
    )


def _negative(board: Board, seen: str, evidence: dict[str, float]) -> Reason:
    if board.inverted:
        return "negative_board", f"black and white are not exchanged ({seen}). Leave out --inverted", evidence
    text = f"black and white are exchanged ({seen}). Give --inverted (in Python: inverted=True of the board)"
    return "negative_board", text, evidence


def _explain_markers(
    images: list[Image], board: CharucoBoard | TagGrid, present: Collection[int], *, never: bool
) -> Reason | None:
    seen = examine_markers(images, board, present)
    if isinstance(board, CharucoBoard) and seen.other_pattern and never:
        wanted = "the present pattern" if board.legacy else "the pattern of OpenCV before 4.6 (legacy)"
        return "other_pattern", f"the board is printed in {wanted}. Select this pattern", {"markers": seen.as_asked}
    mirrored = _mirrored(seen.as_asked, seen.mirrored, board)
    if mirrored is not None:
        return mirrored
    if seen.negative > 2 * max(seen.as_asked, _few(board)):
        return _negative(
            board,
            f"{counted(seen.negative, 'marker')} per image in the negative, {seen.as_asked} as it is",
            {"markers": seen.as_asked, "negative_markers": seen.negative},
        )
    if seen.best_dictionary not in (None, board.dictionary) and seen.in_best > 2 * max(seen.as_asked, 1):
        return (
            "wrong_dictionary",
            f"its markers are from {seen.best_dictionary} ({seen.in_best} per image), not from {board.dictionary} "
            f"({seen.as_asked} per image). Give the dictionary and kind of the board that is in the images",
            {"markers": seen.as_asked, "markers_of_best": seen.in_best},
        )
    if seen.as_asked and seen.foreign > 0.1:
        return (
            "other_board_size",
            f"{100 * seen.foreign:.0f} % of the markers have numbers that do not occur on a board of "
            f"{board.layout}. Give the board's true size",
            {"markers": seen.as_asked, "foreign_share": seen.foreign},
        )
    if never and seen.as_asked:
        return (
            "other_board_size",
            f"there are {seen.as_asked} of its markers per image, but they do not form this board. Check its size; "
            "columns and rows may be exchanged",
            {"markers": seen.as_asked},
        )
    return None


def _mirrored(as_is: int, mirrored: int, board: CharucoBoard | TagGrid) -> Reason | None:
    if mirrored <= 2 * max(as_is, _few(board)):
        return None
    return (
        _MIRRORED,
        f"its markers are mirrored ({mirrored} per image after flipping). Turn off mirroring in the camera's software, "
        "or flip the images",
        {"markers": as_is, "mirrored_markers": mirrored},
    )


def _few(board: CharucoBoard | TagGrid) -> int:
    """Return a number of markers that may be found by chance."""
    return min(_FEW_MARKERS, (len(board.ids) - 1) // 2)
