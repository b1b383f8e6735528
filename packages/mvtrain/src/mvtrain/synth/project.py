"""`generate_project`: a whole project on disk, or nothing."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from mvgeom.tables import write_labeled_boxes
from mvtrain.synth.annotate import Labels
from mvtrain.synth.config_file import write_config
from mvtrain.synth.recording import Recording, record
from mvtrain.synth.scene import Scene, make_scene
from mvtrain.synth.spec import SyntheticSpec
from mvtrain.synth.tables import image_name, write_labels, write_points_3d


def generate_project(
    out_dir: Path,
    spec: SyntheticSpec,
    *,
    progress: Callable[[int, int], None] | None = None,
    num_workers: int = 1,
) -> None:
    """Generate a synthetic project; the same spec gives the same bytes, whatever the number of workers.

    The folder appears when it is complete. World unit: mm.

    Args:
        out_dir: the project's folder, which must not exist yet; missing parents are made.
        spec: what to generate.
        progress: called with the numbers of frames rendered so far and in total, over all views and sessions.
        num_workers: threads, each at one camera of one session.

    Raises:
        ValueError: when `out_dir` exists, `num_workers` is below 1, or a file cannot be written.
    """
    out_dir = Path(out_dir)
    if num_workers < 1:
        raise ValueError(f"num_workers must be at least 1, got {num_workers}")
    if out_dir.exists():
        raise ValueError(f"{out_dir} already exists; remove it or choose another folder for the generated project")
    # Hidden and beside the goal, so that renaming it is one step on one file system.
    unfinished = out_dir.parent / f".{out_dir.name}.{os.getpid()}.tmp"
    try:
        unfinished.mkdir(parents=True)
        _fill(unfinished, spec, progress or (lambda done, total: None), num_workers)
        unfinished.rename(out_dir)
    except OSError as error:
        raise ValueError(f"{out_dir} cannot be written: {error.strerror}: {error.filename}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _fill(folder: Path, spec: SyntheticSpec, progress: Callable[[int, int], None], num_workers: int) -> None:
    for name in ("labeled-data", "videos", "calibrations"):
        (folder / name).mkdir()
    scenes = [make_scene(spec, session) for session in range(spec.num_sessions)]
    lock, done, total = threading.Lock(), 0, spec.num_sessions * spec.num_views * spec.num_video_frames

    def advance() -> None:
        nonlocal done
        with lock:
            done += 1
            progress(done, total)

    jobs = [(scene, number) for scene in scenes for number in range(spec.num_views)]
    with ThreadPoolExecutor(num_workers) as pool:
        recordings = list(pool.map(lambda job: record(folder, spec, job[0], job[1], advance), jobs))
    for number, view in enumerate(spec.view_names):
        _write_view(folder, spec, view, scenes, recordings[number :: spec.num_views])
    _write_truth(folder, spec, scenes)
    write_config(folder / "config.yaml", spec)


def _write_view(
    folder: Path, spec: SyntheticSpec, view: str, scenes: Sequence[Scene], recordings: Sequence[Recording]
) -> None:
    """The label table of one view, and its table of boxes; sessions one below the other."""
    images = [
        image_name(spec.session_names[scene.number], view, frame, spec.image_format)
        for scene in scenes
        for frame in scene.labelled
    ]
    labels = Labels(
        points=np.concatenate([recording.labels.points for recording in recordings]),
        visible=np.concatenate([recording.labels.visible for recording in recordings]),
    )
    write_labels(folder / f"CollectedData_{view}.csv", images, labels.points, labels.visible)
    if spec.crop:
        boxes = np.concatenate([recording.boxes for recording in recordings])
        write_labeled_boxes(folder / f"bboxes_{view}.csv", images, boxes)


def _write_truth(folder: Path, spec: SyntheticSpec, scenes: Sequence[Scene]) -> None:
    """Calibrations, and the true 3D keypoints of labelled frames and of videos."""
    rows, labelled = [], []
    for scene, session in zip(scenes, spec.session_names, strict=True):
        scene.cameras.save(folder / "calibrations" / f"{session}.toml")
        keypoints = scene.skeleton.keypoints
        write_points_3d(folder / "videos" / f"{session}_3d.csv", range(len(keypoints)), keypoints)
        rows += [image_name(session, None, frame, spec.image_format) for frame in scene.labelled]
        labelled.append(keypoints[scene.labelled])
    write_points_3d(folder / "points_3d.csv", rows, np.concatenate(labelled))
