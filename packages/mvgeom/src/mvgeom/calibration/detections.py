"""Corners of a board in the images of all cameras, frame by frame."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np
import numpy.typing as npt

from mvgeom._arrays import as_float64
from mvgeom.calibration.board_sample import stop_at_wrong_board
from mvgeom.calibration.boards import (
    Board,
    BoardSet,
    Floats,
    Ints,
    corner_orders,
    object_points,
    seen_corners,
)
from mvgeom.calibration.find_board import board_finder
from mvgeom.calibration.findings import Finding, note
from mvgeom.calibration.missing_boards import explain_missing_boards
from mvgeom.calibration.sources import (
    Source,
    count_frames,
    frame_names,
    match_sources,
    read_frames,
    turned_images,
)
from mvgeom.errors import InputError
from mvgeom.wording import counted

__all__ = ["Detections", "Image", "Progress", "detect_boards", "from_points", "gather"]

Image = npt.NDArray[np.uint8]
Progress = Callable[[str, int, int], None]
"""Called with the camera, the number of processed images and the total number of images."""

_NUM_SAMPLES = 6


@dataclass(frozen=True, kw_only=True, eq=False)
class Detections:
    """Corners of the board in the images of all cameras.

    Attributes:
        names: V camera names.
        sizes: (V, 2) width and height of the images in px.
        object_points: (K, 3) corners in the board's frame and unit.
        points: (V, F, K, 2) corners in full-image px; NaN where a corner was not detected. Boards with fewer than 4
            corners do not count.
        frames: F names of the frames.
        orders: (G, K) orders of the corners that a detector cannot distinguish; see `corner_orders`.
        findings: Problems found in the images.
        faces: (K,) index of the face that each corner is on, for a body whose faces have unknown poses; the corners are
            then in the frames of their faces. None for one rigid board.

    Raises:
        InputError: `wrong-shape`, if the shapes are inconsistent.
    """

    names: tuple[str, ...]
    sizes: Floats
    object_points: Floats
    points: Floats
    frames: tuple[str, ...]
    orders: Ints
    findings: tuple[Finding, ...] = ()
    faces: Ints | None = None

    def __post_init__(self) -> None:
        num_views, num_frames, num_points = len(self.names), len(self.frames), len(self.object_points)
        expected = {
            "sizes": (num_views, 2),
            "object_points": (num_points, 3),
            "points": (num_views, num_frames, num_points, 2),
            "orders": (len(self.orders), num_points),
        }
        for field, shape in expected.items():
            if np.shape(getattr(self, field)) != shape:
                raise InputError(
                    f"{field}: wrong shape, found {np.shape(getattr(self, field))}, expected {shape} for "
                    f"{counted(num_views, 'camera')}, {counted(num_frames, 'frame')} and "
                    f"{counted(num_points, 'corner')}",
                    code="wrong-shape",
                    argument=field,
                    found=np.shape(getattr(self, field)),
                )

    @property
    def seen(self) -> npt.NDArray[np.bool_]:
        """(V, F) booleans, true where a camera sees at least 4 corners."""
        return np.asarray(seen_corners(self.points).sum(-1) >= 4)


def from_points(
    names: tuple[str, ...], sizes: Floats, board: Board | Floats, points: Floats, frames: tuple[str, ...] | None = None
) -> Detections:
    """Create detections from corners detected by other software, or from scene points with known positions.

    Args:
        names: V camera names.
        sizes: (V, 2) width and height of the images in px.
        board: Calibration board, or (K, 3) known positions of other points (not necessarily in a plane).
        points: (V, F, K, 2) observed points in full-image px; NaN is missing.
        frames: F names of the frames; numbers if None.

    Raises:
        InputError: `wrong-shape`, if the shapes are inconsistent.
    """
    positions, orders = (
        _positions(board) if not isinstance(board, Board) else (object_points(board), corner_orders(board))
    )
    points = as_float64(points, "points")
    if points.ndim != 4:
        raise InputError(
            f"points: wrong shape, found {points.shape}, expected (V, F, K, 2)",
            code="wrong-shape",
            argument="points",
            found=points.shape,
        )
    return Detections(
        names=tuple(names),
        sizes=as_float64(sizes, "sizes"),
        object_points=positions,
        points=points,
        frames=tuple(frames) if frames is not None else tuple(str(frame) for frame in range(points.shape[1])),
        orders=orders,
        faces=_unplaced_faces(board),
    )


def _positions(board: Floats) -> tuple[Floats, Ints]:
    """Return known positions (K, 3) and their only order (1, K)."""
    positions = as_float64(board, "board")
    if positions.ndim != 2 or positions.shape[1] != 3:
        raise InputError(
            f"board: wrong shape, found {positions.shape}, expected a board or (K, 3) positions",
            code="wrong-shape",
            argument="board",
            found=positions.shape,
        )
    return positions, np.arange(len(positions))[None]


def _unplaced_faces(board: Board | Floats) -> Ints | None:
    return board.face_of_points() if isinstance(board, BoardSet) and board.estimated else None


def detect_boards(
    sources: Mapping[str, Source],
    board: Board,
    *,
    match: Literal["name", "order"] = "name",
    progress: Progress | None = None,
) -> Detections:
    """Detect the board in the images of all cameras.

    Args:
        sources: Images or videos by camera name.
        board: Board to detect.
        match: Method of matching images of different cameras; see `frame_names` for files, `match_sources` for videos.
        progress: Function called after each image.

    Returns:
        Corners of all frames in which at least one camera detected the board. For a camera that detected it in few
            images or in none, the images are examined and the reason is added to the findings. A note names images with
            an EXIF orientation, which is ignored.

    Raises:
        CalibrationError: If a sample of many images shows that another board is in them; see `stop_at_wrong_board`.
        InputError: `unreadable-file`, if images cannot be read; `unmatched-frames`, if they cannot be matched;
            `rates-differ`, if videos have different frame rates; `size-mismatch`, if images differ in size within a
            camera.
    """
    names = frame_names(sources, match)
    sources = match_sources(sources, match)
    stop_at_wrong_board(sources, board)
    find = board_finder(board)
    found: dict[str, dict[str, Floats]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    samples: dict[str, list[Image]] = {}
    searched: dict[str, int] = {}
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for camera, source in sources.items():
            total = count_frames(source)
            stride = max(1, total // _NUM_SAMPLES)
            corners: dict[str, Floats] = {}
            kept: list[Image] = []
            done = 0
            for number, image, result in _detect_all(pool, find, source):
                size = (image.shape[1], image.shape[0])
                if sizes.setdefault(camera, size) != size:
                    first = "x".join(map(str, sizes[camera]))
                    raise InputError(
                        f"camera {camera!r}: image {number} has another size, found {size[0]}x{size[1]} px, expected "
                        f"{first} px as the first image. Use images of one size per camera.",
                        code="size-mismatch",
                        view=camera,
                    )
                labels = names[camera]
                if result is not None:
                    corners[str(number) if labels is None else labels[number]] = result
                if done % stride == 0 and len(kept) < _NUM_SAMPLES:
                    kept.append(image)
                done += 1
                if progress is not None:
                    progress(camera, done, max(done, total))
            found[camera], samples[camera], searched[camera] = corners, kept, done
    counts = {camera: len(each) for camera, each in found.items()}
    reasons = explain_missing_boards(samples, board, counts, searched)
    return gather(sizes, found, board, (*reasons, *_turned_findings(sources)))


def gather(
    sizes: Mapping[str, tuple[int, int]],
    found: Mapping[str, Mapping[str, Floats]],
    board: Board,
    findings: tuple[Finding, ...],
) -> Detections:
    """Gather the boards of all frames in which at least one camera detected the board.

    Args:
        sizes: Width and height of the images in px, by camera name.
        found: (K, 2) corners in full-image px, by camera name and frame name.
        board: The board.
        findings: Problems found in the images.
    """
    frames = sorted({frame for each in found.values() for frame in each}, key=_frame_order)
    positions = object_points(board)
    points = np.full((len(found), len(frames), len(positions), 2), np.nan)
    for view, corners in enumerate(found.values()):
        for number, frame in enumerate(frames):
            if frame in corners:
                points[view, number] = corners[frame]
    return Detections(
        names=tuple(found),
        sizes=np.array([sizes[camera] for camera in found], dtype=np.float64),
        object_points=positions,
        points=points,
        frames=tuple(frames),
        orders=corner_orders(board),
        faces=_unplaced_faces(board),
        findings=findings,
    )


def _turned_findings(sources: Mapping[str, Source]) -> list[Finding]:
    """Report images that viewers show turned, because the calibration is for the pixels as stored."""
    findings = []
    for camera, source in sources.items():
        turned = turned_images(source)
        if turned:
            text = (
                f"camera {camera!r}: found an EXIF orientation in {len(turned)} of {len(source.images)} images, such "
                f"as {turned[0]}. It is ignored, so the calibration is for the images as stored, not as viewers show "
                "them"
            )
            findings.append(note("turned_images", [camera], text, images=len(turned)))
    return findings


def _detect_all(
    pool: ThreadPoolExecutor, find: Callable[[Image], Floats | None], source: Source
) -> Iterator[tuple[int, Image, Floats | None]]:
    """Yield images and corners in order; few images are in memory at a time. OpenCV releases Python's global lock."""
    images = read_frames(source)
    waiting: list[tuple[int, Image, Future[Floats | None]]] = []
    ahead = 2 * (os.cpu_count() or 1)
    while True:
        for number, image in islice(images, ahead - len(waiting)):
            waiting.append((number, image, pool.submit(find, image)))
        if not waiting:
            return
        number, image, future = waiting.pop(0)
        yield number, image, future.result()


def _frame_order(name: str) -> tuple[int, int, str]:
    return (0, int(name), "") if name.isdigit() else (1, 0, name)
