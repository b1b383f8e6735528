"""Table `frames.csv` of a project: which frames were chosen from the videos, and why."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mvgeom.files import read_text, write_text
from mvtrain.project.writer import image_name

CHOSEN_FRAMES = "frames.csv"

_COLUMNS = ("image", "session", "frame", "time_s", "order", "novelty", "features")


@dataclass(frozen=True, kw_only=True)
class ChosenFrame:
    """A frame that was chosen.

    Attributes:
        session: Name of the session.
        frame: Frame number, from 0.
        time: Time in s from the start of the film; None where the videos have no rate.
        order: Position in the choice of its session, from 1: the first ones cover the film best.
        novelty: Distance to the nearest frame of the project and of those chosen before, 1 for two typical frames of
            the film; infinite where there is none.
    """

    session: str
    frame: int
    time: float | None
    order: int
    novelty: float


def add_to_table(root: Path, frames: Sequence[ChosenFrame], features: str) -> None:
    """Append frames to the table, or begin it.

    Args:
        root: Project folder.
        frames: Chosen frames.
        features: Name of what frames were compared by.

    Raises:
        InputError: The table cannot be read or written.
    """
    path = root / CHOSEN_FRAMES
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    if not path.exists():
        writer.writerow(_COLUMNS)
    for frame in frames:
        time = "" if frame.time is None else f"{frame.time:.3f}"
        novelty = f"{frame.novelty:.3f}" if math.isfinite(frame.novelty) else ""
        image = image_name(frame.session, None, frame.frame)
        writer.writerow([image, frame.session, frame.frame, time, frame.order, novelty, features])
    write_text(path, (read_text(path) if path.exists() else "") + text.getvalue())
