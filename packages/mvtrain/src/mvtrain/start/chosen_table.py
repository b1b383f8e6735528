"""Table `frames.csv` of a project: which frames were chosen from the videos, and why."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mvgeom.errors import InputError
from mvgeom.files import read_text, replace_file, write_text
from mvgeom.tables import find_delimiter, has_decimal_commas
from mvgeom.videos import Video, frame_rate
from mvtrain.project.row_journal import rows_as_csv
from mvtrain.project.writer import image_name

CHOSEN_FRAMES = "frames.csv"

_COLUMNS = ("image", "session", "frame", "time_s", "order", "novelty", "features")
_DECIMALS = ("time_s", "novelty")
"""Columns whose numbers have decimals."""


@dataclass(frozen=True, kw_only=True)
class ChosenFrame:
    """A frame that was chosen.

    Attributes:
        session: Name of the session.
        frame: Frame number, from 0.
        time: Time in s from the start of the film, see `frame_time`; None where the videos have neither times nor rate.
        order: Position in the choice of its session, from 1: the first ones cover the film best.
        novelty: Distance to the nearest frame of the project and of those chosen before, 1 for two typical frames of
            the film; infinite where there is none.
    """

    session: str
    frame: int
    time: float | None
    order: int
    novelty: float


def frame_time(videos: Sequence[Video], frame: int) -> float | None:
    """Return the time of a frame in s from the start of the film, as the file has it.

    A rate in a header is a mean, which is wrong where the rate varies or images are missing.

    Args:
        videos: Videos of a session; that of the first one that begins with frame 0 counts.
        frame: Frame number, from 0.

    Returns:
        The time; None where the video has neither times nor a rate.
    """
    video = next((video for video in videos if video.has_image(0)), videos[0])
    image = video.image_of(frame)
    if video.is_regular and image is not None:
        return float(video.times[image]) / 1000
    rate = frame_rate(video)
    return frame / rate if rate > 0 else None


def add_to_table(root: Path, frames: Sequence[ChosenFrame], features: str) -> None:
    """Append frames to the table, or begin it.

    A table that exists keeps its bytes. New rows have its columns, delimiter, line ends and decimal separator, which a
    spreadsheet may have changed.

    Args:
        root: Project folder.
        frames: Chosen frames.
        features: Name of what frames were compared by.

    Raises:
        InputError: The table cannot be read or written.
    """
    path = root / CHOSEN_FRAMES
    table = read_text(path) if path.exists() else ""
    if not table.strip():
        rows = [[cells[name] for name in _COLUMNS] for cells in (_cells(frame, features) for frame in frames)]
        write_text(path, rows_as_csv([_COLUMNS, *rows], b"\n"))
        return
    delimiter = find_delimiter(table)
    try:
        header, *present = [row for row in csv.reader(io.StringIO(table, newline=""), delimiter=delimiter) if row]
    except csv.Error as error:
        raise InputError(f"{path}: not CSV: {error}", code="invalid-syntax", path=path) from error
    names = [name.strip() for name in header]
    numbers = [number for number, name in enumerate(names) if name in _DECIMALS]
    values = (row[number] for row in present for number in numbers if number < len(row))
    decimal = "," if has_decimal_commas(path, delimiter, values) else "."
    rows = []
    for frame in frames:
        cells = _cells(frame, features)
        cells |= {name: cells[name].replace(".", decimal) for name in _DECIMALS}
        rows.append([cells.get(name, "") for name in names])
    content = path.read_bytes()
    added = rows_as_csv(rows, content).encode()
    replace_file(path, lambda temporary: temporary.write_bytes(content + added))


def _cells(frame: ChosenFrame, features: str) -> dict[str, str]:
    """Return the cells of a frame by their columns."""
    return {
        "image": image_name(frame.session, None, frame.frame),
        "session": frame.session,
        "frame": str(frame.frame),
        "time_s": "" if frame.time is None else f"{frame.time:.3f}",
        "order": str(frame.order),
        "novelty": f"{frame.novelty:.3f}" if math.isfinite(frame.novelty) else "",
        "features": features,
    }
