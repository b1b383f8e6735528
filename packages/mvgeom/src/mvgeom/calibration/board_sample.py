"""An early look at images spread over all films, which finds a wrongly described board before they are decoded."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import numpy.typing as npt

from mvgeom.calibration.boards import Board
from mvgeom.calibration.find_board import board_finder
from mvgeom.calibration.findings import CalibrationError
from mvgeom.calibration.missing_boards import BOARD_REASONS, explain_missing_boards
from mvgeom.calibration.sources import Source, read_frames
from mvgeom.decoder import open_capture
from mvgeom.errors import InputError
from mvgeom.wording import counted

__all__ = ["Image", "stop_at_wrong_board"]

Image = npt.NDArray[np.uint8]

_SAMPLE = 48
"""Images of all cameras together."""

_FEWEST_PER_CAMERA = 8
_LONG = 8
"""Number of images, in samples, from which on a look at a sample saves time."""

_KEPT = 6


def stop_at_wrong_board(sources: Mapping[str, Source], board: Board) -> None:
    """Look for the board in images spread over all films, and stop if another one is there instead.

    The look ends with the first image in which the board is found. Few images are not sampled: looking at all of them
    takes no longer.

    Args:
        sources: Images or videos by camera name.
        board: Board to detect.

    Raises:
        CalibrationError: If the board is in no image of the sample, and a reason is found that holds for all images:
            another size or dictionary, mirrored or negative images.
        InputError: `unreadable-file`, if an image cannot be read.
    """
    lengths = {camera: _length(source) for camera, source in sources.items()}
    per_camera = max(_SAMPLE // max(len(sources), 1), _FEWEST_PER_CAMERA)
    if sum(lengths.values()) < _LONG * per_camera * len(sources):
        return
    from scipy.stats.qmc import Halton  # takes half a second, which commands without long films save

    find = board_finder(board)
    samples: dict[str, list[Image]] = {camera: [] for camera in sources}
    searched = dict.fromkeys(sources, 0)
    with ThreadPoolExecutor(max_workers=len(sources)) as pool:
        # In one dimension, Halton's sequence fills the interval from 0 to 1 evenly, however soon the look ends.
        for number, share in enumerate(Halton(1, scramble=False).random(per_camera)[:, 0].tolist()):
            tasks = [(source, share, lengths[camera]) for camera, source in sources.items()]
            images = dict(zip(sources, pool.map(lambda task: _read(*task), tasks), strict=True))
            there = {camera: image for camera, image in images.items() if image is not None}
            if any(corners is not None for corners in pool.map(find, there.values())):
                return
            for camera, image in there.items():
                searched[camera] += 1
                if number % max(1, per_camera // _KEPT) == 0:
                    samples[camera].append(image)
    found = explain_missing_boards(samples, board, dict.fromkeys(sources, 0), searched)
    sample = f"a sample of {counted(sum(lengths.values()), 'image')}; no others were read"
    reasons = [
        dataclasses.replace(each, text=f"{each.text} ({sample})") for each in found if each.code in BOARD_REASONS
    ]
    if reasons:
        raise CalibrationError(reasons)


def _length(source: Source) -> int:
    """Return the number of images, for a video as its header states it; 0 if that is unknown."""
    if source.video is None:
        return len(source.images)
    try:
        capture = open_capture(source.video)
    except InputError:
        return 0  # reading all images raises it with the camera's name
    count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    capture.release()
    return max(int(count) // source.step, 0) if np.isfinite(count) else 0


def _read(source: Source, share: float, length: int) -> Image | None:
    """Return the gray image at a share of a source, near it in a video; None if there is none."""
    if length == 0:
        return None
    place = int(share * length)
    if source.video is None:
        _, photograph = next(read_frames(dataclasses.replace(source, images=source.images[place : place + 1])))
        return photograph
    capture = open_capture(source.video)
    try:
        capture.set(cv2.CAP_PROP_POS_FRAMES, place * source.step)
        success, image = capture.read()
    finally:
        capture.release()
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), dtype=np.uint8) if success else None
