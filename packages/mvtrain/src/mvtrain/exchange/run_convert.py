"""`mvtrain convert`: predictions into files that other systems read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from mvgeom import CameraGroup
from mvtrain.exchange import to_anipose as anipose
from mvtrain.exchange import to_deeplabcut as deeplabcut
from mvtrain.exchange import to_eks as eks
from mvtrain.exchange import to_movement as movement
from mvtrain.exchange import to_pose2sim as pose2sim
from mvtrain.exchange.write_options import METRES, WriteOptions
from mvtrain.predict.saved_predictions import PredictedSession, PredictionFiles, find_predictions, load_predictions
from mvtrain.runtime.folders import new_folder

Writer = Callable[[PredictedSession, Path, WriteOptions], list[str]]

WRITERS: dict[str, Writer] = {
    "anipose": anipose.write,
    "deeplabcut": deeplabcut.write,
    "movement": movement.write,
    "pose2sim": pose2sim.write,
}
"""Formats of one model's predictions."""

ENSEMBLE_WRITERS: dict[str, Callable[[Sequence[PredictedSession], Path, WriteOptions], list[str]]] = {"eks": eks.write}
"""Formats of several models' predictions of the same recordings."""


@dataclass(frozen=True, kw_only=True)
class ConvertOptions:
    """Options of the command.

    Attributes:
        out: folder to write; must not exist.
        view_names: of tables without a summary.
        frame_rate: frames per second; None: that of the videos, where they are still there.
        calibration: file; None: the one that the prediction used, where it is still there.
        unit: of the calibration.
        up: axis of the world that points up.
    """

    out: Path
    view_names: tuple[str, ...] = ()
    frame_rate: float | None = None
    calibration: Path | None = None
    unit: str | None = None
    up: str = "z"


def convert(file_format: str, sources: Sequence[Path], options: ConvertOptions, console: Console) -> None:
    """Convert every recording in the sources; nothing is left half-written.

    Args:
        file_format: a key of `WRITERS` or `ENSEMBLE_WRITERS`.
        sources: folders that `mvtrain predict` wrote into, run folders, or single summaries; for an ensemble one per
            model.
        options: of the command.
        console: where to write.

    Raises:
        ValueError: an unknown format, unit or axis, `out` exists, a recording twice (but for ensembles), a calibration
            that lacks a view, and everything that is wrong with the tables.
    """
    formats = sorted([*WRITERS, *ENSEMBLE_WRITERS])
    if file_format not in formats:
        raise ValueError(f"unknown format {file_format!r}; predictions can be converted to {', '.join(formats)}")
    if options.unit is not None and options.unit not in METRES:
        raise ValueError(f"--unit must be one of {', '.join(METRES)}, got {options.unit!r}")
    if options.up not in ("y", "z"):
        raise ValueError(f"--up must be y or z, got {options.up!r}")
    recordings = _recordings(file_format, sources, options.view_names)
    with new_folder(options.out) as folder:
        notes = [
            f"{name}: {note}"
            for name, models in recordings.items()
            for note in _convert(file_format, models, folder, options)
        ]
    for note in notes:
        console.print(f"note: {note}", soft_wrap=True, highlight=False, markup=False)
    text = f"wrote {options.out}: {len(recordings)} recordings for {file_format} ({', '.join(recordings)})"
    console.print(text, soft_wrap=True, highlight=False, markup=False)


def _recordings(
    file_format: str, sources: Sequence[Path], view_names: Sequence[str]
) -> dict[str, list[PredictionFiles]]:
    """The predictions of each recording, one per model."""
    recordings: dict[str, list[PredictionFiles]] = {}
    for source in sources:
        for files in find_predictions(source, view_names):
            recordings.setdefault(files.session, []).append(files)
    counts = {name: len(models) for name, models in recordings.items()}
    twice = [name for name, count in counts.items() if count > 1]
    if twice and file_format not in ENSEMBLE_WRITERS:
        raise ValueError(f"session {twice[0]!r} is in several sources; convert them one by one")
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name}: {count}" for name, count in counts.items())
        raise ValueError(f"every model of an ensemble must have predicted every session, found {listed}")
    return recordings


def _convert(file_format: str, models: Sequence[PredictionFiles], folder: Path, options: ConvertOptions) -> list[str]:
    first = models[0]
    rate = options.frame_rate if options.frame_rate is not None else first.frame_rate()
    write_options = WriteOptions(
        frame_rate=rate, cameras=_cameras(first, options.calibration), unit=options.unit, up=options.up
    )
    sessions = [load_predictions(files) for files in models]
    if file_format in ENSEMBLE_WRITERS:
        return ENSEMBLE_WRITERS[file_format](sessions, folder, write_options)
    return WRITERS[file_format](sessions[0], folder, write_options)


def _cameras(files: PredictionFiles, given: Path | None) -> CameraGroup | None:
    """The cameras in the order of the views; None where no calibration is known, or the one that was used is gone."""
    path = given if given is not None else files.calibration
    if path is None or (given is None and not path.exists()):
        return None
    cameras, views = CameraGroup.load(path), tuple(files.tables)
    missing = [view for view in views if view not in cameras.names]
    if missing:
        raise ValueError(
            f"calibration {path} has the cameras {', '.join(cameras.names)}, but the views are {', '.join(views)}"
        )
    return cameras.select(views)
