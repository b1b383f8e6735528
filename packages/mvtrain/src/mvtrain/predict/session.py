"""Prediction of one session from its videos to its tables, resuming where an earlier attempt stopped."""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from mvgeom.errors import InputError
from mvgeom.videos import Video, match_videos, open_video
from mvtrain.data.batch import Batch
from mvtrain.drawing.keypoints import Style
from mvtrain.model.inference import predict_batches
from mvtrain.predict.outputs import SessionSummary, is_done, write_outputs
from mvtrain.predict.predictor import Predictor
from mvtrain.predict.recordings import Calibration, Session
from mvtrain.predict.records import Records, evidence_field, unfinished_folder
from mvtrain.predict.timing import Stopwatch
from mvtrain.predict.tracking import Tracker, TrackingReference, TrackState, track_fields, track_frames
from mvtrain.predict.video_batches import read_video_batches
from mvtrain.predict.video_boxes import read_crops
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
        reference: Reference for tracking the subject in place of boxes or whole images, which needs a calibration;
            None does not track.
        overlay: Style of a video of all views with their keypoints; None draws no such video.
        labeled: Style of a video of each view with its keypoints; None draws no such videos.
    """

    session: Session
    boxes: tuple[Path | None, ...]
    calibration: Calibration | None
    out_dir: Path
    by_time: bool = True
    reference: TrackingReference | None = None
    overlay: Style | None = None
    labeled: Style | None = None


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
            tell which of them belong together.
    """
    videos = tuple(open_video(path) for path in job.session.videos)
    if not job.by_time:
        return videos, ()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            matched = match_videos(videos, [video.path.name for video in videos])
        return matched, tuple(str(warning.message) for warning in caught)
    except InputError as error:
        advised = error.advised("Give --ignore-frame-rates.")
        raise advised.prefixed(f"session {job.session.name!r}: ", session=job.session.name) from error


def predict_session(predictor: Predictor, job: Job, progress: Progress, interruption: Interruption) -> Outcome | None:
    """Predict a session, or the rest of it.

    Args:
        predictor: Predictor with the network.
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
    session, spec = job.session, predictor.spec
    if job.calibration is None:
        spec.check_needs_no_cameras(f"the videos of session {session.name!r}")
    identity = _identity(predictor, job)
    calibration = None if job.calibration is None else file_checksum(job.calibration.path)
    tables_identity = identity | {"calibration": calibration}
    if predictor.confidence_map is not None:
        tables_identity["confidence_map"] = dataclasses.asdict(predictor.confidence_map)
    with unfinished_folder(job.out_dir, session.name) as folder:
        shape = (len(spec.view_names), len(spec.keypoint_names))
        fields = [] if job.reference is None else track_fields(*shape)
        if _fuses(predictor, job):
            fields.append(evidence_field(*shape))
        records = Records(folder, *shape, extra=fields)
        if is_done(session, job.out_dir, tables_identity):
            records.remove()
            return None
        videos, video_warnings = open_videos(job)
        crops = read_crops(videos, job.boxes)
        stopwatch = Stopwatch()
        try:
            done = records.resume(identity, predictor.batch_size if job.reference is None else 1)
            if job.reference is None:
                steps = _predict_frames(predictor, job, videos, crops, done, stopwatch)
            else:
                steps = track_frames(_tracker(predictor, job, records, done), videos, done, stopwatch)
            expected = max(video.end for video in videos)
            _append(steps, records, done, expected, session.name, progress, interruption, stopwatch)
            with stopwatch.measure("writing"):
                summary = write_outputs(
                    session,
                    records,
                    job.out_dir,
                    view_names=spec.view_names,
                    keypoint_names=spec.keypoint_names,
                    calibration=job.calibration,
                    confidence_map=predictor.confidence_map,
                    identity=tables_identity,
                )
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
    predictor: Predictor,
    job: Job,
    videos: Sequence[Video],
    crops: Sequence[np.ndarray],
    start: int,
    stopwatch: Stopwatch,
) -> Generator[dict[str, np.ndarray]]:
    """Yield the fields of the records of one batch after the other."""
    cameras = None if job.calibration is None else predictor.spec.cameras_needed(job.calibration.cameras)
    video_batches = read_video_batches(
        videos, crops, predictor.spec, cameras, batch_size=predictor.batch_size, start=start
    )
    status: deque[np.ndarray] = deque()

    def batches() -> Iterator[Batch]:
        for video_batch in timed:
            status.append(video_batch.status)
            yield video_batch.batch

    with (
        closing(stopwatch.each("waiting", video_batches)) as timed,
        closing(predict_batches(predictor.network, batches(), predictor.device)) as predictions,
    ):
        for predicted in predictions:
            keypoints = np.concatenate([predicted.points, predicted.confidence[..., None]], axis=-1)
            fields = {"keypoints": keypoints, "status": status.popleft()}
            if predicted.before_fusion is not None:
                fields["evidence"] = predicted.before_fusion.evidence
            yield fields


def _fuses(predictor: Predictor, job: Job) -> bool:
    """Return True if the views of a session are fused."""
    return predictor.network.fuses_views and job.calibration is not None and len(job.session.videos) > 1


def _tracker(predictor: Predictor, job: Job, records: Records, done: int) -> Tracker:
    """Return a tracker in the state after the frames that are done."""
    assert job.calibration is not None
    assert job.reference is not None
    state = TrackState.from_record(records.read(done - 1, done)[0]) if done else None
    return Tracker(predictor, job.calibration.cameras, job.reference, state)


def _append(
    steps: Generator[dict[str, np.ndarray]],
    records: Records,
    done: int,
    expected: int,
    name: str,
    progress: Progress,
    interruption: Interruption,
    stopwatch: Stopwatch,
) -> None:
    """Append the records of all frames that are not done."""
    task = progress.add_task(name, total=expected, completed=done)
    with closing(steps), records.appending() as file, stopwatch.measure("model"):
        for fields in steps:
            with stopwatch.measure("writing"):
                records.append(file, done, fields)
            done += len(fields["keypoints"])
            progress.update(task, completed=done)
            if interruption.signal_number:
                raise RunInterruptedError(
                    f"{name}: stopped after {done} of {expected} frames", interruption.signal_number
                )
    progress.remove_task(task)
    stopwatch.seconds["model"] -= stopwatch.seconds["waiting"] + stopwatch.seconds["writing"]


def _identity(predictor: Predictor, job: Job) -> dict[str, Any]:
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
        "checkpoint": predictor.checksum,
        "views": views,
        "batch_size": predictor.batch_size,
        "device": predictor.device.type,
    }
    if job.calibration is not None and (predictor.spec.epipolar_attention or _fuses(predictor, job)):
        identity["cameras"] = file_checksum(job.calibration.path)
    if not job.by_time:
        identity["by_time"] = False
    if job.reference is not None:
        assert job.calibration is not None
        # Crops depend on the cameras.
        identity["tracking"] = dataclasses.asdict(job.reference) | {"cameras": file_checksum(job.calibration.path)}
    return identity
