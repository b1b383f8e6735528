"""One session from its videos to its tables, going on where an earlier attempt stopped."""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from mvtrain.data.batch import Batch
from mvtrain.drawing.keypoints import Style
from mvtrain.model.inference import predict_batches
from mvtrain.predict.outputs import SessionSummary, is_done, write_outputs
from mvtrain.predict.predictor import Predictor
from mvtrain.predict.recordings import Calibration, Session
from mvtrain.predict.records import Records, unfinished_folder
from mvtrain.predict.timing import Stopwatch
from mvtrain.predict.tracking import Tracker, TrackingReference, state_of, track_fields, track_frames
from mvtrain.predict.video import Video, open_video, read_crops
from mvtrain.predict.video_batches import read_video_batches
from mvtrain.runtime.checksums import file_checksum
from mvtrain.runtime.process import Interruption, RunInterruptedError

_RATE_TOLERANCE = 0.01


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """A session with what belongs to it.

    Attributes:
        session: the videos.
        boxes: files of bounding boxes, None where the whole frame is looked at.
        calibration: None: no 3D.
        out_dir: where its tables go.
        same_rate: whether videos with different frame rates are refused.
        reference: follow the subject instead of looking at boxes or whole frames; needs a calibration.
        overlay: how to draw all views into one video; None: no such video.
        labeled: how to draw each view into a video of its own; None: no such videos.
    """

    session: Session
    boxes: tuple[Path | None, ...]
    calibration: Calibration | None
    out_dir: Path
    same_rate: bool = True
    reference: TrackingReference | None = None
    overlay: Style | None = None
    labeled: Style | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What predicting a session came to.

    Attributes:
        summary: what it consists of.
        videos: what was read.
        num_before: moments that an earlier attempt had predicted.
        seconds: it took in all.
        work: seconds for `model`, `waiting` (for frames, which are decoded and prepared beside it) and `writing`.
    """

    summary: SessionSummary
    videos: tuple[Video, ...]
    num_before: int
    seconds: float
    work: dict[str, float]


def predict_session(predictor: Predictor, job: Job, progress: Progress, interruption: Interruption) -> Outcome | None:
    """Predict a session, or what is left of it.

    Args:
        predictor: what predicts.
        job: what is predicted.
        progress: where to show how far it is.
        interruption: looked at after every batch.

    Returns:
        What it came to; None when it had been predicted before with the same in everything.

    Raises:
        ValueError: whatever is wrong with the videos, boxes or the output folder; a full disk.
        RunInterruptedError: a signal came; the same call goes on from there.
    """
    started = time.perf_counter()
    session, spec = job.session, predictor.spec
    if job.calibration is None:
        spec.check_needs_no_cameras(f"the videos of session {session.name!r}")
    identity = _identity(predictor, job)
    of_all = identity | {"calibration": None if job.calibration is None else file_checksum(job.calibration.path)}
    if predictor.confidence_map is not None:
        of_all["confidence_map"] = dataclasses.asdict(predictor.confidence_map)
    with unfinished_folder(job.out_dir, session.name) as folder:
        shape = (len(spec.view_names), len(spec.keypoint_names))
        records = Records(folder, *shape, extra=() if job.reference is None else track_fields(*shape))
        if is_done(session, job.out_dir, of_all):
            records.remove()
            return None
        videos = tuple(open_video(path) for path in session.videos)
        if job.same_rate:
            _check_rates(session, videos)
        crops = read_crops(videos, job.boxes)
        stopwatch = Stopwatch()
        try:
            done = records.resume(identity, predictor.batch_size if job.reference is None else 1)
            if job.reference is None:
                steps = _predict_frames(predictor, job, videos, crops, done, stopwatch)
            else:
                steps = track_frames(_tracker(predictor, job, records, done), videos, done, stopwatch)
            expected = max(video.num_frames for video in videos)
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
                    identity=of_all,
                )
            records.remove()
        except OSError as error:
            raise ValueError(f"{job.out_dir} cannot be written to: {error.strerror}") from error
    return Outcome(
        summary=summary,
        videos=videos,
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
    """The fields of the records of one batch after the other."""
    cameras = None if job.calibration is None else predictor.spec.cameras_needed(job.calibration.cameras)
    moments = read_video_batches(videos, crops, predictor.spec, cameras, batch_size=predictor.batch_size, start=start)
    status: deque[np.ndarray] = deque()

    def batches() -> Iterator[Batch]:
        for part in waited:
            status.append(part.status)
            yield part.batch

    with (
        closing(stopwatch.each("waiting", moments)) as waited,
        closing(predict_batches(predictor.network, batches(), predictor.device)) as predictions,
    ):
        for part in predictions:
            keypoints = np.concatenate([part.points, part.confidence[..., None]], axis=-1)
            yield {"keypoints": keypoints, "status": status.popleft()}


def _tracker(predictor: Predictor, job: Job, records: Records, done: int) -> Tracker:
    """A tracker that goes on after the moments that are done."""
    assert job.calibration is not None
    assert job.reference is not None
    state = state_of(records.read(done - 1, done)[0]) if done else None
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
    """Append the records of all moments that are not done."""
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
    """What determines every byte of the records, in plain values."""
    views = []
    for video, boxes in zip(job.session.videos, job.boxes, strict=True):
        try:
            facts = video.stat()
        except OSError as error:
            raise ValueError(f"{video} cannot be opened as a video: {error.strerror}") from error
        checksum = None if boxes is None else file_checksum(boxes)
        views.append({"video": video.name, "bytes": facts.st_size, "modified": facts.st_mtime_ns, "boxes": checksum})
    identity: dict[str, Any] = {
        "checkpoint": predictor.checksum,
        "views": views,
        "batch_size": predictor.batch_size,
        "device": predictor.device.type,
    }
    if predictor.spec.epipolar_attention and job.calibration is not None:
        identity["cameras"] = file_checksum(job.calibration.path)
    if job.reference is not None:
        assert job.calibration is not None
        # What is cropped depends on the cameras.
        identity["tracking"] = dataclasses.asdict(job.reference) | {"cameras": file_checksum(job.calibration.path)}
    return identity


def _check_rates(session: Session, videos: Sequence[Video]) -> None:
    known = [video.fps for video in videos if video.fps > 0]
    if known and max(known) > min(known) * (1 + _RATE_TOLERANCE):
        rates = ", ".join(f"{video.path.name} has {video.fps:g}" for video in videos)
        raise ValueError(
            f"session {session.name!r}: the videos have different frame rates ({rates} frames/s), so frame n is not "
            "the same moment in all views; bring them to one rate, or say --ignore-frame-rates if the files are wrong "
            "about it and frames of the same number do belong together"
        )
