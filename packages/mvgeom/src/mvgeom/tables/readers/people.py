"""Common parts of the readers of JSON keypoints: files of frames in order, and the choice of one person per frame."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mvgeom import documents
from mvgeom.errors import InputError
from mvgeom.files import read_text
from mvgeom.tables.keypoint_tables import Floats, KeypointTable

__all__ = [
    "FrameFile",
    "Person",
    "count_keypoints",
    "make_table",
    "number_frames",
    "parse_json",
    "refuse_individual",
    "sort_frames",
]

_MOST_FRAMES = 10_000_000
"""Longest recording; a larger number in a file's name is not that of a frame."""

_NUMBERED = re.compile(r"(?P<recording>.*?)[_-]?(?P<frame>\d+)")


class Person(NamedTuple):
    """Keypoints (K, 2) in px, NaN where missing, and their likelihoods (K,)."""

    points: Floats
    likelihood: Floats


class FrameFile(NamedTuple):
    """File of one frame: its path, the name of the recording, and the index entry of the frame."""

    path: Path
    recording: str
    row: str


def sort_frames(folder: Path, files: Sequence[Path], ending: str = "") -> list[FrameFile]:
    """Sort the files of one view's frames by the number at the end of their names.

    Args:
        folder: Folder of the files, for messages.
        files: Files of the frames, at least one.
        ending: End of every name, after the number and before the suffix.

    Returns:
        Files in the order of the numbers, without leading zeros; by name, with the whole name as index entry, if a name
        has no number at its end.

    Raises:
        InputError: `duplicate-name`, if two files have the same number, as those of two recordings have.
    """
    stems = [file.stem.removesuffix(ending) for file in files]
    matches = [_NUMBERED.fullmatch(stem) for stem in stems]
    if not all(matches):
        return [FrameFile(file, "", stem) for stem, file in sorted(zip(stems, files, strict=True))]
    frames = [
        FrameFile(file, match["recording"], str(int(match["frame"])))
        for file, match in zip(files, matches, strict=True)
        if match is not None
    ]
    frames.sort(key=lambda frame: int(frame.row))
    for one, other in pairwise(frames):
        if one.row == other.row:
            raise InputError(
                f"{folder}: frame {one.row} occurs twice, found {one.path.name} and {other.path.name}, expected the "
                "files of one recording of one view. Give each recording its own folder.",
                code="duplicate-name",
                path=folder,
                name=one.row,
            )
    return frames


def number_frames(path: Path, frames: dict[int, list[Person]]) -> dict[str, list[Person]]:
    """Return the people of every frame from the first to the last; those of frames that are missing are none.

    Args:
        path: Path of the file or folder, for messages.
        frames: People by frame number, of a program that counts frames itself.

    Raises:
        InputError: `out-of-range`, if a number is too large for a frame's.
    """
    first, last = min(frames), max(frames)
    if last - first > _MOST_FRAMES:
        raise InputError(
            f"{path}: frame numbers must be below {_MOST_FRAMES}, found {last}",
            code="out-of-range",
            path=path,
            found=last,
        )
    return {str(number): frames.get(number, []) for number in range(first, last + 1)}


def count_keypoints(path: Path, frames: Iterable[list[Person]]) -> int:
    """Return the number of keypoints, which must be the same for all people.

    Raises:
        InputError: `no-labels`, if there is nobody; `wrong-count`, if people have different numbers of keypoints.
    """
    counts = sorted({len(person.likelihood) for people in frames for person in people})
    if not counts:
        raise InputError(f"{path}: nobody in any frame, expected keypoints", code="no-labels", path=path)
    if len(counts) > 1:
        raise InputError(
            f"{path}: people with different numbers of keypoints, found {', '.join(map(str, counts))}",
            code="wrong-count",
            path=path,
            found=tuple(counts),
        )
    return counts[0]


def refuse_individual(path: Path, program: str, individual: str | None) -> None:
    """Refuse the name of an individual for a program that does not name people.

    Raises:
        InputError: `unknown-choice`, if a name is given.
    """
    if individual is not None:
        raise InputError(
            f"{path}: {program} does not name people, found --individual {individual!r}. Leave it out.",
            code="unknown-choice",
            path=path,
            argument="individual",
            found=individual,
        )


def make_table(
    path: Path, keypoint_names: tuple[str, ...], frames: dict[str, list[Person]], recording: str
) -> KeypointTable:
    """Make a table of one person per frame: the one with the largest sum of likelihoods.

    More than one person in a frame is a warning, because different views may choose different people.

    Args:
        path: Path of the file or folder, for messages.
        keypoint_names: K names.
        frames: People by index entry.
        recording: Name of the recording.
    """
    points = np.full((len(frames), len(keypoint_names), 2), np.nan)
    likelihood = np.full(points.shape[:2], np.nan)
    for row, people in enumerate(frames.values()):
        if people:
            points[row], likelihood[row] = max(people, key=lambda person: float(np.nansum(person.likelihood)))
    crowded = [row for row, people in frames.items() if len(people) > 1]
    if crowded:
        warnings.warn(
            f"{path}: several people in {len(crowded)} of {len(frames)} frames, the first is {crowded[0]}; the one "
            "with the largest sum of confidences was taken, which may be another in other views",
            stacklevel=4,
        )
    return KeypointTable(
        path=path,
        rows=tuple(frames),
        keypoint_names=keypoint_names,
        points=points,
        likelihood=likelihood,
        sparse=True,
        recording=recording,
    )


def parse_json(path: Path) -> Any:
    """Parse a JSON file.

    Raises:
        InputError: `invalid-syntax`, if it is not JSON; `unreadable-file` or `not-text`, if it cannot be read.
    """
    return documents.parse_json(read_text(path), path)
