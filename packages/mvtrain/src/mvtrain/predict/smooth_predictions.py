"""Command `mvtrain smooth`: predictions of recordings, of one network or several, to trajectories over time."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from mvgeom import CameraGroup, SharedError
from mvgeom.errors import InputError
from mvgeom.files import write_text
from mvgeom.temporary import publish
from mvgeom.wording import counted
from mvtrain.model.error_bars import OTHER_UNIT
from mvtrain.predict.bodies import Body
from mvtrain.predict.saved_predictions import PredictionFiles, find_all_predictions, load_prediction_cameras
from mvtrain.predict.smooth_recording import smooth_recording
from mvtrain.predict.smoothed_tables import BLOCK, SmoothJob
from mvtrain.runtime.folders import check_new_folder
from mvtrain.runtime.interruption import Interruption
from mvtrain.runtime.locks import locked_folder


@dataclass(frozen=True, kw_only=True)
class SmoothOptions:
    """Options of the command.

    Attributes:
        output: Folder to write; must not exist.
        view_names: Names of the views, for tables without a summary.
        calibration: Calibration file; None: that of the prediction.
        max_gap: Longest gap in frames that is bridged; None for all.
        min_likelihood: Likelihood below which a keypoint does not count.
        frame_rate: Frames per second, for velocities; None: that of the videos, else velocities are per frame.
        bones: Pairs of keypoints; None: those of the run's skeleton.
        joints: Triples of keypoints; None: every two bones that share a keypoint.
        rigid: True to hold the lengths of the bones, which are measured.
        lengths: Bones with lengths that are known and held, in the calibration's unit.
        block: Frames that are smoothed at a time.
    """

    output: Path
    view_names: tuple[str, ...] = ()
    calibration: Path | None = None
    max_gap: int | None = None
    min_likelihood: float = 0.05
    frame_rate: float | None = None
    bones: tuple[tuple[str, str], ...] | None = None
    joints: tuple[tuple[str, str, str], ...] | None = None
    rigid: bool = False
    lengths: tuple[tuple[str, str, float], ...] = ()
    block: int = BLOCK


def smooth_predictions(sources: Sequence[Path], options: SmoothOptions, console: Console) -> None:
    """Smooth every recording of the sources; the folder appears when it is complete.

    A recording that several sources have is that of an ensemble of networks, and so is one that `mvtrain predict` wrote
    with several. What is finished of a stopped command is in a hidden folder beside the output, from which the same
    command goes on.

    Args:
        sources: Folders that `mvtrain predict` wrote, run folders, folders of ensembles, or single summaries.
        options: Options of the command.
        console: Console for the result of every recording.

    Raises:
        InputError: A recording has no calibration (`no-calibration`) or fewer than two views (`too-few-views`), or is
            smoothed already (`unsupported-file`), `rigid` is given without bones (`missing-argument`), the networks of
            an ensemble differ in views (`views-differ`), keypoints (`keypoints-differ`) or frames (`frames-differ`),
            the folder exists (`occupied-folder`); besides, the errors of the tables.
        RunInterruptedError: A signal asked to stop; the same command goes on.
    """
    recordings = find_all_predictions(sources, options.view_names)
    contents = {
        name: [str(path.resolve()) for files in found for path in files.tables.values()]
        for name, found in recordings.items()
    }
    with _unfinished(options.output, json.dumps(contents)) as folder:
        smooth_all(recordings, folder, options, console)
    written = "<session>_3d.csv, <session>_<view>.csv and <session>_kinematics.csv"
    text = f"wrote {options.output}: {counted(len(recordings), 'recording')}, {written}"
    console.print(text, soft_wrap=True, highlight=False, markup=False)


def smooth_all(
    recordings: Mapping[str, Sequence[PredictionFiles]], folder: Path, options: SmoothOptions, console: Console
) -> None:
    """Smooth recordings into a folder, but for those that are there already.

    Args:
        recordings: Files of each recording, by session: one for each source that has it.
        folder: Existing folder.
        options: Options of the command.
        console: Console for the result of every recording.

    Raises:
        InputError: As `smooth_predictions`.
        RunInterruptedError: A signal asked to stop.
    """
    # All are checked before the first is smoothed.
    jobs = [
        _make_job([one for each in found for one in each.by_network()], _shared_error(found, options), folder, options)
        for found in recordings.values()
    ]
    with Interruption() as interruption:
        for name, job in zip(recordings, jobs, strict=True):
            summary = smooth_recording(job, interruption)
            line = "smoothed before, nothing to do" if summary is None else summary.describe()
            console.print(f"{name}: {line}", soft_wrap=True, highlight=False, markup=False)
            if job.frame_rate is None:
                line = "  the frame rate is unknown: velocities are per frame. Give it with --fps"
                console.print(line, soft_wrap=True, highlight=False, markup=False)


def _shared_error(sources: Sequence[PredictionFiles], options: SmoothOptions) -> SharedError | None:
    """Return the shared errors of a recording that one source or several have; None where one has none.

    Of several sources it is the mean square, which holds if their networks share all errors. With a calibration in
    another unit than that of the prediction, the standard deviations are in that unit.
    """
    known = [files.shared_error for files in sources if files.shared_error is not None]
    alike = {len(each.std) for each in known}
    if len(known) < len(sources) or len(alike) != 1:  # other keypoints are refused when the tables are read
        return None
    first = sources[0].calibration
    ratio = 1.0
    if options.calibration is not None and first is not None and first.exists():
        given, before = (_baseline(load_prediction_cameras(sources[0], path)) for path in (options.calibration, first))
        ratio = given / before if before > 0 and given > 0 else 1.0
    in_other_unit = not 1 / OTHER_UNIT < ratio < OTHER_UNIT
    return SharedError(
        scale=float(np.sqrt(np.mean([each.scale**2 for each in known]))),
        std=np.sqrt(np.mean([each.std**2 for each in known], axis=0)) * (ratio if in_other_unit else 1.0),
    )


def _baseline(cameras: CameraGroup | None) -> float:
    """Return the typical distance of the cameras from their mean; 0 without cameras."""
    if cameras is None:
        return 0.0
    centers = -np.einsum("vji,vj->vi", cameras.rotation, cameras.translation)
    return float(np.median(np.linalg.norm(centers - centers.mean(0), axis=-1)))


def _make_job(
    networks: Sequence[PredictionFiles], shared_error: SharedError | None, folder: Path, options: SmoothOptions
) -> SmoothJob:
    first = networks[0]
    smoothed = next((files for files in networks if files.smoothed), None)
    if smoothed is not None:
        raise InputError(
            f"{smoothed.summary}: session {first.session!r} is smoothed already. Give the folder that mvtrain predict "
            "wrote.",
            code="unsupported-file",
            path=smoothed.summary,
            session=first.session,
        )
    cameras = load_prediction_cameras(first, options.calibration)
    if len(first.tables) < 2:
        raise InputError(
            f"session {first.session!r}: found one view, expected two or more",
            code="too-few-views",
            found=1,
            expected=2,
        )
    calibration = options.calibration or first.calibration
    if cameras is None or calibration is None:
        raise InputError(
            f"session {first.session!r}: no calibration is known. Give it with --calibration.",
            code="no-calibration",
            session=first.session,
        )
    body = Body.from_skeleton(first.skeleton if options.bones is None else options.bones)
    if options.rigid and not body.bones:
        raise InputError(
            f"session {first.session!r}: --rigid needs bones, found no skeleton of the run. Give them with --bones.",
            code="missing-argument",
            argument="--bones",
            session=first.session,
        )
    return SmoothJob(
        networks=tuple(networks),
        cameras=cameras,
        calibration=calibration,
        out_dir=folder,
        body=body if options.joints is None else Body(bones=body.bones, joints=options.joints),
        frame_rate=options.frame_rate or first.frame_rate(),
        max_gap=options.max_gap,
        min_likelihood=options.min_likelihood,
        rigid=options.rigid,
        lengths=options.lengths,
        block=options.block,
        shared_error=shared_error,
    )


@contextmanager
def _unfinished(path: Path, contents: str) -> Iterator[Path]:
    """Give a hidden folder beside `path`, and rename it to `path` at the end of the block.

    It stays if the block is interrupted, for the next attempt with the same contents; an error leaves nothing.
    """
    check_new_folder(path)
    folder = path.parent / f".{path.name}.partial"
    lock = folder.with_name(f"{folder.name}.lock")
    note = folder / ".contents"
    with locked_folder(folder, lock, what=f"the folder of {path}", busy=f"another process is writing {path}"):
        try:
            if not (note.is_file() and note.read_text(encoding="utf-8") == contents):
                shutil.rmtree(folder)
                folder.mkdir()
                write_text(note, contents)
            yield folder
            note.unlink()
            publish(folder, path)
        except InputError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise InputError(
                f"{path} cannot be written: {error.strerror}: {error.filename}", code="unwritable-file", path=path
            ) from error
