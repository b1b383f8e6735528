"""Prediction of one session from its videos to its tables, resuming where an earlier attempt stopped."""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from mvgeom.clocks import Clocks
from mvgeom.errors import InputError
from mvgeom.files import file_name
from mvgeom.videos import Video, frame_rate, match_videos, open_video
from mvtrain.data.batch import Batch
from mvtrain.drawing.keypoints import Style
from mvtrain.model.error_bars import ErrorBars
from mvtrain.model.inference import predict_batches
from mvtrain.model.likelihood import ConfidenceMap
from mvtrain.predict.ensemble import combine_records, weight_field
from mvtrain.predict.outputs import SessionSummary, is_done, write_outputs
from mvtrain.predict.predictor import Predictor
from mvtrain.predict.recordings import Calibration, Session
from mvtrain.predict.records import (
    FUSED,
    STATED,
    EnsembleRecords,
    Records,
    prediction_record,
    unfinished_folder,
    view_fields,
)
from mvtrain.predict.timing import Stopwatch
from mvtrain.predict.tracking import Tracker, TrackingReference, TrackState, track_fields, track_frames
from mvtrain.predict.video_batches import read_crops, read_video_batches
from mvtrain.runtime.checksums import file_checksum
from mvtrain.runtime.interruption import Interruption, RunInterruptedError


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """A session to predict, with its boxes, calibration and outputs.

    Attributes:
        session: Session with its videos.
        boxes: Box files of the views; None where whole images are predicted.
        calibration: Calibration of the session; None predicts no 3D.
        out_dir: Output folder.
        by_time: True matches the images of the views by their presentation times; False by their numbers.
        clocks: Clocks of the views' cameras, by which images are matched to the nearest frame; None if synchronized.
        reference: Reference for tracking the subject in place of boxes or whole images, which needs a calibration;
            None does not track.
        overlay: Style of a video of all views with their keypoints; None draws no such video.
        labeled: Style of a video of each view with its keypoints; None draws no such videos.
        skeleton: Pairs of keypoints that are joined by a bone, for the summary.
        error_bars: Error bars in 3D of several networks together; None where none are known. Those of a single network
            are its predictor's.
    """

    session: Session
    boxes: tuple[Path | None, ...]
    calibration: Calibration | None
    out_dir: Path
    by_time: bool = True
    clocks: Clocks | None = None
    reference: TrackingReference | None = None
    overlay: Style | None = None
    labeled: Style | None = None
    skeleton: tuple[tuple[str, str], ...] = ()
    error_bars: ErrorBars | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """Result of predicting a session.

    Attributes:
        summary: Summary of the prediction.
        videos: Videos that were read.
        warnings: Warnings about the times of the videos.
        num_before: Number of frames that an earlier attempt had predicted.
        seconds: Seconds in all.
        work: Seconds for `model`, `waiting` (for frames, which other threads decode and prepare) and `writing`.
    """

    summary: SessionSummary
    videos: tuple[Video, ...]
    warnings: tuple[str, ...]
    num_before: int
    seconds: float
    work: dict[str, float]


def open_videos(job: Job) -> tuple[tuple[Video, ...], tuple[str, ...]]:
    """Open the videos of a job, and match their images to frames.

    Returns:
        The videos, and warnings about their times.

    Raises:
        InputError: A video cannot be opened; `rates-differ` or `unmatched-frames`, if the times of the images do not
            tell which of them belong together, or the clocks are for another frame rate.
    """
    videos = tuple(open_video(path) for path in job.session.videos)
    names = [video.path.name for video in videos]
    if job.clocks is not None:
        for video, name in zip(videos, names, strict=True):
            job.clocks.check_rate(frame_rate(video), name)
    if not job.by_time:
        return match_videos(videos, names, clocks=job.clocks, by_time=False), _of_clocks(job)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            matched = match_videos(videos, names, clocks=job.clocks)
        messages = tuple(str(warning.message) for warning in caught)
    except InputError as error:
        advised = error.advised("Give --ignore-frame-rates.")
        raise advised.prefixed(f"session {job.session.name!r}: ", session=job.session.name) from error
    return matched, (*messages, *_of_clocks(job))


def _of_clocks(job: Job) -> tuple[str, ...]:
    """Return the warning that says which offsets images were matched by; none for synchronized cameras."""
    if job.clocks is None:
        return ()
    return (
        f"images are matched by the offsets that mvgeom sync found: {job.clocks.describe()}. Each is that of the "
        "nearest frame, so that up to half a frame remains",
    )


def predict_session(
    predictors: Sequence[Predictor], job: Job, progress: Progress, interruption: Interruption
) -> Outcome | None:
    """Predict a session, or the rest of it.

    Several networks take every batch in turn. Their predictions are combined into the tables of one network, and
    `networks/<run>` of the output folder has the tables of each.

    Args:
        predictors: Predictors with the networks, which have the same views, keypoints, device and batch size.
        job: Session to predict.
        progress: Progress bars; one is added.
        interruption: Interruption that is checked after every batch.

    Returns:
        The outcome; None if the session had been predicted before from the same inputs.

    Raises:
        InputError: The videos or boxes cannot be used, another process predicts the session, or the output folder
            cannot be written to (a full disk, for example).
        RunInterruptedError: A signal asked to stop; the same call resumes.
    """
    started = time.perf_counter()
    session, spec, batch_size = job.session, predictors[0].spec, predictors[0].batch_size
    identity = _identity(predictors, job)
    tables_identity = identity | _tables_identity(predictors, job)
    with unfinished_folder(job.out_dir, session.name) as folder:
        shape = (len(spec.view_names), len(spec.keypoint_names))
        extra = () if job.reference is None else track_fields(*shape)
        common = view_fields(_observed_fields(predictors, job), *shape)
        records = EnsembleRecords(folder, len(predictors), *shape, extra=extra, common=common)
        if is_done(session, job.out_dir, tables_identity):
            records.remove()
            return None
        videos, video_warnings = open_videos(job)
        crops = read_crops(videos, job.boxes)
        stopwatch = Stopwatch()
        try:
            done = records.resume(identity, batch_size if job.reference is None else 1)
            if job.reference is None:
                steps = _predict_frames(predictors, job, videos, crops, done, stopwatch)
            else:
                tracker = _tracker(predictors[0], job, records.networks[0], done)
                steps = track_frames(tracker, videos, done, stopwatch, predictors[1:])
            expected = max(video.end for video in videos)
            _append(steps, records, done, expected, session.name, progress, interruption, stopwatch)
            with stopwatch.measure("writing"):
                summary = _write_tables(predictors, job, records, tables_identity)
            records.remove()
        except OSError as error:
            raise InputError(
                f"output folder {job.out_dir}: cannot be written to: {error.strerror}",
                code="unwritable-file",
                path=job.out_dir,
            ) from error
    return Outcome(
        summary=summary,
        videos=videos,
        warnings=video_warnings,
        num_before=done,
        seconds=time.perf_counter() - started,
        work=dict(stopwatch.seconds),
    )


def _predict_frames(
    predictors: Sequence[Predictor],
    job: Job,
    videos: Sequence[Video],
    crops: Sequence[np.ndarray],
    start: int,
    stopwatch: Stopwatch,
) -> Generator[tuple[dict[str, np.ndarray], ...]]:
    """Yield the fields of the records of one batch after the other, for each network."""
    specs = [predictor.spec for predictor in predictors]
    cameras = [None if job.calibration is None else spec.cameras_needed(job.calibration.cameras) for spec in specs]
    video_batches = read_video_batches(videos, crops, specs, cameras, batch_size=predictors[0].batch_size, start=start)
    with ExitStack() as stack:
        timed = stack.enter_context(closing(stopwatch.each("waiting", video_batches)))
        queues: list[deque[Batch]] = [deque() for _ in predictors]
        predictions = [
            # A network asks for its next batch only after that batch is in its queue.
            stack.enter_context(closing(predict_batches(each.network, _taken(queue), each.device)))
            for each, queue in zip(predictors, queues, strict=True)
        ]
        for networks in timed:
            found = []
            for network, queue, each in zip(networks, queues, predictions, strict=True):
                queue.append(network.batch)
                predicted = next(each)
                found.append({"status": network.status} | prediction_record(predicted))
            yield tuple(found)


def _taken(queue: deque[Batch]) -> Iterator[Batch]:
    while queue:
        yield queue.popleft()


def _fuses(predictors: Sequence[Predictor], job: Job) -> bool:
    """Return True if all networks fuse the views of a session."""
    can_fuse = job.calibration is not None and len(job.session.videos) > 1
    return can_fuse and all(predictor.network.fuses_views for predictor in predictors)


def _observed_fields(predictors: Sequence[Predictor], job: Job) -> tuple[str, ...]:
    """Return the names of the records' fields of what each view shows by itself, as far as all networks have them."""
    states = all(predictor.spec.covariance_head for predictor in predictors)
    return (*(FUSED if _fuses(predictors, job) else ()), *(STATED if states else ()))


def _tracker(predictor: Predictor, job: Job, records: Records, done: int) -> Tracker:
    """Return a tracker in the state after the frames that are done."""
    assert job.calibration is not None
    assert job.reference is not None
    state = TrackState.from_record(records.read(done - 1, done)[0]) if done else None
    return Tracker(predictor, job.calibration.cameras, job.reference, state)


def _append(
    steps: Generator[tuple[dict[str, np.ndarray], ...]],
    records: EnsembleRecords,
    done: int,
    expected: int,
    name: str,
    progress: Progress,
    interruption: Interruption,
    stopwatch: Stopwatch,
) -> None:
    """Append the records of all frames that are not done."""
    task = progress.add_task(name, total=expected, completed=done)
    with closing(steps), records.appending() as files, stopwatch.measure("model"):
        for networks in steps:
            with stopwatch.measure("writing"):
                records.append(files, done, networks)
            done += len(networks[0]["keypoints"])
            progress.update(task, completed=done)
            if interruption.signal_number:
                raise RunInterruptedError(
                    f"{name}: stopped after {done} of {expected} frames", interruption.signal_number
                )
    progress.remove_task(task)
    stopwatch.seconds["model"] -= stopwatch.seconds["waiting"] + stopwatch.seconds["writing"]


def _write_tables(
    predictors: Sequence[Predictor], job: Job, records: EnsembleRecords, identity: dict[str, Any]
) -> SessionSummary:
    """Write the tables of a network, or those of each network of an ensemble and the combined ones."""
    spec, out_dir = predictors[0].spec, job.out_dir

    def write(
        part: Records,
        folder: Path,
        confidence_map: ConfidenceMap | None,
        error_bars: ErrorBars | None,
        made_with: dict[str, Any],
        facts: dict[str, Any],
    ) -> SessionSummary:
        return write_outputs(
            job.session,
            part,
            folder,
            view_names=spec.view_names,
            keypoint_names=spec.keypoint_names,
            calibration=job.calibration,
            confidence_map=confidence_map,
            error_bars=error_bars,
            identity=made_with,
            facts=({"skeleton": [list(bone) for bone in job.skeleton]} if job.skeleton else {}) | facts,
        )

    if len(predictors) == 1:
        only = predictors[0]
        return write(records.networks[0], out_dir, only.confidence_map, only.error_bars, identity, {})
    folders = network_folders([predictor.run_folder for predictor in predictors])
    for predictor, part, name in zip(predictors, records.networks, folders, strict=True):
        (out_dir / name).mkdir(parents=True, exist_ok=True)
        own = _identity([predictor], job) | _tables_identity([predictor], job)
        write(part, out_dir / name, predictor.confidence_map, predictor.error_bars, own, {})
    shape = (len(spec.view_names), len(spec.keypoint_names))
    tracked = () if job.reference is None else track_fields(*shape)[:1]
    observed = view_fields(_observed_fields(predictors, job), *shape)
    weights = () if _fuses(predictors, job) else weight_field(*shape)
    combined = Records(records.folder / "combined", *shape, extra=[*weights, *observed, *tracked])
    cameras = None if job.calibration is None else job.calibration.cameras
    maps = [predictor.confidence_map for predictor in predictors]
    combine_records(records.networks, maps, combined, identity, cameras)
    facts = [
        {"run": str(predictor.run_folder), "folder": name} for predictor, name in zip(predictors, folders, strict=True)
    ]
    return write(combined, out_dir, None, job.error_bars, identity, {"networks": facts})


def network_folders(run_folders: Sequence[Path | None]) -> list[str]:
    """Return the folder of each network's tables in the output folder: the run's name, numbered if two are the same."""
    named = enumerate(run_folders, 1)
    names = [f"network{number}" if folder is None else folder.resolve().name for number, folder in named]
    if len(set(names)) < len(names):
        names = [f"{number}_{name}" for number, name in enumerate(names, 1)]
    return [f"networks/{file_name(name)}" for name in names]


def _identity(predictors: Sequence[Predictor], job: Job) -> dict[str, Any]:
    """Return plain values that determine every byte of the records."""
    views = []
    for video, boxes in zip(job.session.videos, job.boxes, strict=True):
        try:
            facts = video.stat()
        except OSError as error:
            raise InputError(
                f"{video}: cannot be opened as a video: {error.strerror}", code="unreadable-file", path=video
            ) from error
        checksum = None if boxes is None else file_checksum(boxes)
        views.append({"video": video.name, "bytes": facts.st_size, "modified": facts.st_mtime_ns, "boxes": checksum})
    identity: dict[str, Any] = {
        "checkpoint": _one_or_all([predictor.checksum for predictor in predictors]),
        "views": views,
        "batch_size": predictors[0].batch_size,
        "device": predictors[0].device.type,
    }
    uses_cameras = any(predictor.spec.epipolar_attention or predictor.network.fuses_views for predictor in predictors)
    if uses_cameras and job.calibration is not None:
        identity["cameras"] = file_checksum(job.calibration.path)
    if not job.by_time:
        identity["by_time"] = False
    if job.clocks is not None:
        identity["clocks"] = job.clocks.as_plain()
    if job.reference is not None:
        assert job.calibration is not None
        # Crops depend on the cameras.
        identity["tracking"] = dataclasses.asdict(job.reference) | {"cameras": file_checksum(job.calibration.path)}
    return identity


def _tables_identity(predictors: Sequence[Predictor], job: Job) -> dict[str, Any]:
    """Return further plain values that determine every byte of the tables."""
    identity: dict[str, Any] = {"calibration": None if job.calibration is None else file_checksum(job.calibration.path)}
    maps = [predictor.confidence_map for predictor in predictors]
    if any(each is not None for each in maps):
        identity["confidence_map"] = _one_or_all([None if each is None else dataclasses.asdict(each) for each in maps])
    error_bars = predictors[0].error_bars if len(predictors) == 1 else job.error_bars
    if error_bars is not None:
        # As JSON has it, which knows no tuples.
        identity["error_bars"] = dataclasses.asdict(error_bars) | {"std": list(error_bars.std)}
    return identity


def _one_or_all(values: list[Any]) -> Any:
    """Return the value of a single network as it is, those of several as a list."""
    return values[0] if len(values) == 1 else values
