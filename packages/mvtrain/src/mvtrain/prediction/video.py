"""Keypoints of synchronized videos: one table per video, in px of its frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from matplotlib import colormaps
from rich.console import Console
from rich.progress import track
from rich.text import Text

from mvaug import Augmentation, augment_sample
from mvgeom import affine
from mvgeom.box_files import read_video_boxes
from mvgeom.formats.files import replace_file
from mvtrain.config import Config
from mvtrain.data.batch import Batch, Sample, collate
from mvtrain.model.spec import ModelSpec
from mvtrain.prediction.predict import FramePredictions, Network, predict_frames
from mvtrain.prediction.tables import write_predictions

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".m4v", ".mpg", ".mpeg", ".webm")


def find_sessions(folder: Path, view_names: tuple[str, ...]) -> dict[str, dict[str, Path]]:
    """Videos `<session>_<view>.<suffix>` in a folder, by session and view; other files are not ours."""
    sessions: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.iterdir()):
        session, separator, view = path.stem.rpartition("_")
        if path.suffix.lower() in VIDEO_SUFFIXES and separator and view in view_names:
            sessions.setdefault(session, {})[view] = path
    return sessions


def predict_videos(
    network: Network, spec: ModelSpec, config: Config, out_dir: Path, device: torch.device, console: Console
) -> None:
    """Predict every complete session of `eval.test_videos_directory`; says which ones are not complete.

    Writes `<video>.csv` per video, and with `eval.save_vids_after_training` also `<video>_labeled.mp4`.
    """
    folder = config.eval.test_videos_directory or config.data.video_dir
    if folder is None or not folder.is_dir():
        console.print(f"no videos to predict: there is no folder {folder}", highlight=False)
        return
    for session, paths in find_sessions(folder, spec.view_names).items():
        missing = [view for view in spec.view_names if view not in paths]
        if missing:
            problem = f" session {session!r} in {folder} has no video of {', '.join(missing)}: not predicted"
            console.print(Text.assemble(("warning:", "yellow"), problem), soft_wrap=True)
            continue
        videos = [paths[view] for view in spec.view_names]
        predictions = predict_session(network, spec, videos, config.training.test_batch_size, device, console)
        for view, path in enumerate(videos):
            length = int(np.isfinite(predictions.confidence[:, view, 0]).sum())
            points, likelihood = predictions.points[:length, view], predictions.confidence[:length, view]
            write_predictions(out_dir / f"{path.stem}.csv", range(length), spec.keypoint_names, points, likelihood)
            if config.eval.save_vids_after_training:
                draw_video(path, out_dir / f"{path.stem}_labeled.mp4", points, likelihood, config)
        console.print(f"predicted {session}: {len(predictions.index)} frames of {len(videos)} views", highlight=False)


def predict_session(
    network: Network, spec: ModelSpec, videos: list[Path], batch_size: int, device: torch.device, console: Console
) -> FramePredictions:
    """Keypoints of one session's videos, frame by frame; a view that ends early counts as absent from then on."""
    captures = [cv2.VideoCapture(str(path)) for path in videos]
    try:
        for path, capture in zip(videos, captures, strict=True):
            if not capture.isOpened():
                raise ValueError(f"{path} cannot be opened as a video")
        crops = [_video_boxes(path, capture) for path, capture in zip(videos, captures, strict=True)]
        expected = max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) for capture in captures)
        samples = track(_read_samples(captures, crops, spec), "predicting", expected, console=console, transient=True)
        return predict_frames(network, _in_batches(samples, batch_size), device)
    finally:
        for capture in captures:
            capture.release()


def _read_samples(captures: list[cv2.VideoCapture], crops: list[np.ndarray], spec: ModelSpec) -> Iterator[Sample]:
    size = np.array(spec.image_size, dtype=np.float64)
    identity = np.broadcast_to(np.eye(2, 3), (len(captures), 2, 3))
    nothing = np.full((len(captures), len(spec.keypoint_names), 2), np.nan)
    index = 0
    while True:
        images = []
        for capture in captures:
            success, image = capture.read()
            images.append(cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if success else None)
        if all(image is None for image in images):
            return
        windows = np.stack([crop[min(index, len(crop) - 1)] for crop in crops])
        sample = augment_sample(
            images,
            file_to_frame=identity,
            frame_to_model=affine.from_box(windows, size),
            points=nothing,
            points_3d=np.full((len(spec.keypoint_names), 3), np.nan),
            cameras=None,
            size=spec.image_size,
            augmentation=Augmentation.none(),
            generator=np.random.default_rng(0),
        )
        yield Sample(
            index=index,
            images=sample.images,
            points=nothing,
            visibility=np.zeros(nothing.shape[:2], dtype=np.int8),
            view_present=np.array([image is not None for image in images]),
            to_model=sample.to_model,
            cameras=None,
            moved=False,
        )
        index += 1


def _video_boxes(path: Path, capture: cv2.VideoCapture) -> np.ndarray:
    """(T, 4) boxes of `<video>_bbox.csv`, or one box that is the whole frame."""
    table = path.with_name(f"{path.stem}_bbox.csv")
    if table.exists():
        return read_video_boxes(table)
    return np.array([[0.0, 0.0, capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)]])


def _in_batches(samples: Iterable[Sample], batch_size: int) -> Iterator[Batch]:
    group: list[Sample] = []
    for sample in samples:
        group.append(sample)
        if len(group) == batch_size:
            yield collate(group)
            group = []
    if group:
        yield collate(group)


def draw_video(video: Path, out: Path, points: np.ndarray, likelihood: np.ndarray, config: Config) -> None:
    """The video with its keypoints as dots, one colour per keypoint, those of low confidence left out."""
    out.parent.mkdir(parents=True, exist_ok=True)
    replace_file(out, lambda temporary: _draw_frames(video, temporary, points, likelihood, config))


def _draw_frames(video: Path, out: Path, points: np.ndarray, likelihood: np.ndarray, config: Config) -> None:
    capture = cv2.VideoCapture(str(video))
    colors = (colormaps[config.eval.colormap](np.linspace(0, 1, points.shape[1]))[:, 2::-1] * 255).tolist()
    size = (int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)))
    writer = cv2.VideoWriter(str(out), cv2.VideoWriter.fourcc(*"mp4v"), capture.get(cv2.CAP_PROP_FPS), size)
    if not writer.isOpened():
        raise ValueError(f"OpenCV cannot write MP4 video of {size[0]}x{size[1]} px beside {video}'s predictions")
    for frame_points, frame_likelihood in zip(points, likelihood, strict=True):
        success, image = capture.read()
        if not success:
            break
        for point, confidence, color in zip(frame_points, frame_likelihood, colors, strict=True):
            if confidence >= config.eval.confidence_thresh_for_vid:
                cv2.circle(image, (round(point[0]), round(point[1])), max(2, size[1] // 200), color, -1, cv2.LINE_AA)
        writer.write(image)
    writer.release()
    capture.release()
