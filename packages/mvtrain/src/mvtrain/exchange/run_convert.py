"""Command `mvtrain convert`: predictions to files of other programs."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from mvgeom.errors import InputError
from mvgeom.formats import METERS_PER_UNIT
from mvgeom.wording import counted
from mvtrain.exchange import to_anipose as anipose
from mvtrain.exchange import to_deeplabcut as deeplabcut
from mvtrain.exchange import to_eks as eks
from mvtrain.exchange import to_movement as movement
from mvtrain.exchange import to_nwb as nwb
from mvtrain.exchange import to_pose2sim as pose2sim
from mvtrain.exchange.write_options import WriteOptions
from mvtrain.predict.saved_predictions import (
    PredictedSession,
    PredictionFiles,
    find_all_predictions,
    load_prediction_cameras,
    load_predictions,
)
from mvtrain.project.names import check_distinct
from mvtrain.runtime.folders import new_folder

Writer = Callable[[PredictedSession, Path, WriteOptions], list[str]]

WRITERS: dict[str, Writer] = {
    "anipose": anipose.write,
    "deeplabcut": deeplabcut.write,
    "movement": movement.write,
    "nwb": nwb.write,
    "pose2sim": pose2sim.write,
}
"""Writers of one model's predictions by format."""

ENSEMBLE_WRITERS: dict[str, Callable[[Sequence[PredictedSession], Path, WriteOptions], list[str]]] = {"eks": eks.write}
"""Writers of several models' predictions of the same recordings by format."""


@dataclass(frozen=True, kw_only=True)
class ConvertOptions:
    """Options of the command.

    Attributes:
        out: Folder to write; must not exist.
        view_names: Names of the views, for tables without a summary.
        frame_rate: Frames per second; None: that of the videos, if they still exist.
        calibration: Calibration file; None: that of the prediction, if it still exists.
        unit: Unit of the calibration.
        up: World axis that points up.
        start: Time at which the recordings start, with its time zone; None: unknown.
    """

    out: Path
    view_names: tuple[str, ...] = ()
    frame_rate: float | None = None
    calibration: Path | None = None
    unit: str | None = None
    up: str = "z"
    start: datetime.datetime | None = None


def convert(file_format: str, sources: Sequence[Path], options: ConvertOptions, console: Console) -> None:
    """Convert every recording in the sources; the folder is written completely or not at all.

    Args:
        file_format: Key of `WRITERS` or `ENSEMBLE_WRITERS`.
        sources: Folders that `mvtrain predict` wrote, run folders, or single summaries; for an ensemble one per model.
        options: Options of the command.
        console: Console for notes and the result.

    Raises:
        InputError: The format (`unknown-format`), unit or axis (`unknown-choice`) is unknown, `out` exists
            (`occupied-folder`), a view is given twice or a recording is in two sources (`duplicate-name`; an ensemble
            may have it in several), the models of an ensemble predicted different recordings (`wrong-count`), or a
            calibration lacks a view (`missing-view`); besides, the errors of the tables.
    """
    formats = sorted([*WRITERS, *ENSEMBLE_WRITERS])
    if file_format not in formats:
        raise InputError(
            f"unknown format of predictions, found {file_format!r}, expected one of {', '.join(formats)}",
            code="unknown-format",
            found=file_format,
            expected=tuple(formats),
        )
    if options.unit is not None:
        _check_choice("--unit", options.unit, METERS_PER_UNIT)
    _check_choice("--up", options.up, ("y", "z"))
    check_distinct(options.view_names, "--views", option="--views")
    recordings = _recordings(file_format, sources, options.view_names)
    with new_folder(options.out) as folder:
        notes = [
            f"{name}: {note}"
            for name, models in recordings.items()
            for note in _convert(file_format, models, folder, options)
        ]
    for note in notes:
        console.print(f"note: {note}", soft_wrap=True, highlight=False, markup=False)
    number = counted(len(recordings), "recording")
    text = f"wrote {options.out}: {number} for {file_format} ({', '.join(recordings)})"
    console.print(text, soft_wrap=True, highlight=False, markup=False)


def _check_choice(option: str, found: str, expected: Iterable[str]) -> None:
    """Check the value of an option."""
    if found not in expected:
        raise InputError(
            f"{option}: unknown value, found {found!r}, expected one of {', '.join(expected)}",
            code="unknown-choice",
            option=option,
            found=found,
            expected=tuple(expected),
        )


def _recordings(
    file_format: str, sources: Sequence[Path], view_names: Sequence[str]
) -> dict[str, list[PredictionFiles]]:
    """Find the predictions of each recording, one per model."""
    recordings = find_all_predictions(sources, view_names)
    if file_format in ENSEMBLE_WRITERS:
        recordings = {
            name: [network for files in found for network in files.by_network()] for name, found in recordings.items()
        }
    counts = {name: len(models) for name, models in recordings.items()}
    twice = [name for name, count in counts.items() if count > 1]
    if twice and file_format not in ENSEMBLE_WRITERS:
        raise InputError(
            f"session {twice[0]!r} is in several sources. Convert the sources one by one",
            code="duplicate-name",
            session=twice[0],
        )
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name}: {count}" for name, count in counts.items())
        raise InputError(
            f"sessions have predictions of different numbers of models, found {listed}. Predict every session with "
            "every model of the ensemble",
            code="wrong-count",
            found=counts,
        )
    return recordings


def _convert(file_format: str, models: Sequence[PredictionFiles], folder: Path, options: ConvertOptions) -> list[str]:
    """Write the predictions of one recording, and return notes for the user."""
    first = models[0]
    rate = options.frame_rate if options.frame_rate is not None else first.frame_rate()
    write_options = WriteOptions(
        frame_rate=rate,
        cameras=load_prediction_cameras(first, options.calibration),
        unit=options.unit,
        up=options.up,
        start=options.start,
        skeleton=first.skeleton,
    )
    sessions = [_with_velocities_per(rate, load_predictions(files), files.kinematics_rate) for files in models]
    if file_format in ENSEMBLE_WRITERS:
        return ENSEMBLE_WRITERS[file_format](sessions, folder, write_options)
    return WRITERS[file_format](sessions[0], folder, write_options)


def _with_velocities_per(rate: float | None, session: PredictedSession, before: float | None) -> PredictedSession:
    """Turn velocities, which are of `before` frames per second, into those of the time that is written."""
    factor = (rate or 1.0) / (before or 1.0)
    if session.kinematics is None or factor == 1:
        return session
    found = session.kinematics.kinematics
    names = ("velocity", "velocity_std", "speed", "speed_std")
    scaled = replace(found, **{name: factor * getattr(found, name) for name in names})
    return replace(session, kinematics=replace(session.kinematics, kinematics=scaled))
