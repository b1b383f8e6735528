"""Corners of a board in the pictures of all cameras, moment by moment."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np
import numpy.typing as npt

from mvgeom.calibration.boards import Board, CharucoBoard, Floats, Ints, corner_orders, object_points, seen_corners
from mvgeom.calibration.charuco import find_charuco
from mvgeom.calibration.checkerboard import find_chessboard
from mvgeom.calibration.findings import Finding
from mvgeom.calibration.missing_boards import explain_missing_boards
from mvgeom.calibration.sources import Source, count_frames, frame_names, read_frames
from mvgeom.errors import InputError

Image = npt.NDArray[np.uint8]
Progress = Callable[[str, int, int], None]
"""Called with the camera, the pictures done and the pictures in all."""

_NUM_SAMPLES = 6


@dataclass(frozen=True, kw_only=True, eq=False)
class Detections:
    """What the cameras saw of the board.

    Attributes:
        names: V cameras.
        sizes: (V, 2) width and height of the images in px.
        object_points: (K, 3) corners in the board's frame and unit.
        points: (V, F, K, 2) px; NaN where a corner was not found. Boards with fewer than 4 corners do not count.
        frames: F names of the moments.
        orders: (G, K) orders in which corners may be listed without a detector noticing; see `corner_orders`.
        findings: what is wrong with the pictures.

    Raises:
        ValueError: when shapes do not agree.
    """

    names: tuple[str, ...]
    sizes: Floats
    object_points: Floats
    points: Floats
    frames: tuple[str, ...]
    orders: Ints
    findings: tuple[Finding, ...] = ()

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
                    f"{field} must have shape {shape} for {num_views} cameras, {num_frames} frames and {num_points} "
                    f"corners, got {np.shape(getattr(self, field))}",
                    code="wrong-shape",
                    argument=field,
                    found=np.shape(getattr(self, field)),
                )

    @property
    def seen(self) -> npt.NDArray[np.bool_]:
        """(V, F) where a camera sees at least 4 corners."""
        return np.asarray(seen_corners(self.points).sum(-1) >= 4)


def from_points(
    names: tuple[str, ...], sizes: Floats, board: Board | Floats, points: Floats, frames: tuple[str, ...] | None = None
) -> Detections:
    """Detections from corners found elsewhere, or from scene points of known position.

    Args:
        names: V cameras.
        sizes: (V, 2) width and height in px.
        board: the board, or (K, 3) known positions of other points (not necessarily in a plane).
        points: (V, F, K, 2) px; NaN is missing.
        frames: F names; numbers if left out.

    Raises:
        ValueError: when shapes do not agree.
    """
    positions, orders = (
        (np.asarray(board, dtype=np.float64), np.arange(len(board))[None])
        if isinstance(board, np.ndarray)
        else (object_points(board), corner_orders(board))
    )
    return Detections(
        names=names,
        sizes=np.asarray(sizes, dtype=np.float64),
        object_points=positions,
        points=np.asarray(points, dtype=np.float64),
        frames=frames if frames is not None else tuple(str(frame) for frame in range(points.shape[1])),
        orders=orders,
    )


def detect_boards(
    sources: Mapping[str, Source],
    board: Board,
    *,
    match: Literal["name", "order"] = "name",
    progress: Progress | None = None,
) -> Detections:
    """Find the board in the pictures of all cameras.

    Args:
        sources: by camera.
        board: what to look for.
        match: how images of different cameras are matched; see `frame_names`.
        progress: called after each picture.

    Returns:
        Corners of all moments that at least one camera saw the board at. A camera that saw it in few pictures, or in
        none, is looked into, and the reason found is in the findings.

    Raises:
        ValueError: when pictures cannot be read or matched, or differ in size within a camera.
    """
    names = frame_names(sources, match)
    find = _finder(board)
    found: dict[str, dict[str, Floats]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    samples: dict[str, list[Image]] = {}
    looked: dict[str, int] = {}
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
                        f"camera {camera!r}: picture {number} is {size[0]}x{size[1]} px, the first is {first}; all "
                        "pictures of a camera must be of one size",
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
            found[camera], samples[camera], looked[camera] = corners, kept, done
    frames = sorted({frame for each in found.values() for frame in each}, key=_frame_order)
    positions = object_points(board)
    points = np.full((len(sources), len(frames), len(positions), 2), np.nan)
    for view, corners in enumerate(found.values()):
        for number, frame in enumerate(frames):
            if frame in corners:
                points[view, number] = corners[frame]
    counts = {camera: len(each) for camera, each in found.items()}
    return Detections(
        names=tuple(sources),
        sizes=np.array([sizes[camera] for camera in sources], dtype=np.float64),
        object_points=positions,
        points=points,
        frames=tuple(frames),
        orders=corner_orders(board),
        findings=explain_missing_boards(samples, board, counts, looked),
    )


def _finder(board: Board) -> Callable[[Image], Floats | None]:
    if isinstance(board, CharucoBoard):
        return lambda image: find_charuco(image, board)
    return lambda image: find_chessboard(image, board.grid)


def _detect_all(
    pool: ThreadPoolExecutor, find: Callable[[Image], Floats | None], source: Source
) -> Iterator[tuple[int, Image, Floats | None]]:
    """Pictures and corners in order; only a few pictures are held at a time. OpenCV works outside of Python's lock."""
    pictures = read_frames(source)
    waiting: list[tuple[int, Image, Future[Floats | None]]] = []
    ahead = 2 * (os.cpu_count() or 1)
    while True:
        for number, image in islice(pictures, ahead - len(waiting)):
            waiting.append((number, image, pool.submit(find, image)))
        if not waiting:
            return
        number, image, future = waiting.pop(0)
        yield number, image, future.result()


def _frame_order(name: str) -> tuple[int, int, str]:
    return (0, int(name), "") if name.isdigit() else (1, 0, name)
