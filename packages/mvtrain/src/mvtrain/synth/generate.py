"""Synthetic projects on disk: videos, labels, boxes, calibrations, 3D truth and config."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from mvgeom.errors import InputError
from mvgeom.files import file_name
from mvgeom.tables import write_labeled_boxes
from mvgeom.wording import counted
from mvtrain.config import Config
from mvtrain.config.generated import write_project_config
from mvtrain.project.writer import image_name, write_labels, write_points_3d
from mvtrain.runtime.folders import new_folder
from mvtrain.synth.recording import Labels, Recording, record
from mvtrain.synth.scene import Scene, make_scene
from mvtrain.synth.skeleton import KEYPOINT_NAMES
from mvtrain.synth.spec import SyntheticSpec

SCORER = "synthetic"
"""Scorer in the tables of generated projects."""

_BONES = [
    ("nose", "left_ear"),
    ("nose", "right_ear"),
    ("nose", "withers"),
    ("withers", "spine"),
    ("spine", "tail_base"),
    ("tail_base", "tail_mid"),
    ("tail_mid", "tail_tip"),
    ("withers", "left_elbow"),
    ("left_elbow", "left_front_paw"),
    ("withers", "right_elbow"),
    ("right_elbow", "right_front_paw"),
    ("tail_base", "left_knee"),
    ("left_knee", "left_hind_paw"),
    ("tail_base", "right_knee"),
    ("right_knee", "right_hind_paw"),
]


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
        out_dir: Folder of the project, which must not exist yet; missing parents are made.
        spec: Spec of the project.
        progress: Function that is called with the numbers of images rendered so far and in total, over all views and
            sessions.
        num_workers: Number of threads, each of which renders one camera of one session.

    Raises:
        InputError: `out_dir` exists (`occupied-folder`), `num_workers` is below 1 (`out-of-range`), or a file cannot be
            written.
    """
    out_dir = Path(out_dir)
    if num_workers < 1:
        raise InputError(
            f"num_workers must be at least 1, found {num_workers}",
            code="out-of-range",
            argument="num_workers",
            found=num_workers,
        )
    with new_folder(out_dir) as folder:
        _fill(folder, spec, progress or (lambda done, total: None), num_workers)


def generate_if_missing(config: Config, console: Console) -> None:
    """Generate the project of a config with `data.synthetic` whose `data.data_dir` does not exist; print a message.

    Raises:
        InputError: A key of `data.synthetic` is unknown (`bad-key`), or its value is not valid.
    """
    data = config.data
    if data.synthetic is None or data.data_dir is None or data.data_dir.exists():
        return
    known = [field.name for field in fields(SyntheticSpec)]
    for key in data.synthetic:
        if key not in known:
            close = get_close_matches(key, known, n=1)
            hint = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known)}"
            raise InputError(f"unknown key data.synthetic.{key}{hint}", code="bad-key", key=f"data.synthetic.{key}")
    try:
        spec = SyntheticSpec(**data.synthetic)
    except InputError as error:
        raise error.prefixed("data.synthetic: ", key=f"data.synthetic.{error.argument}") from error
    console.print(
        f"{data.data_dir} does not exist: generating the project that data.synthetic describes", highlight=False
    )
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("rendering")
        generate_project(
            data.data_dir, spec, progress=lambda done, total: bar.update(task, completed=done, total=total)
        )


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
    _write_config(folder / "config.yaml", spec)


def _write_view(
    folder: Path, spec: SyntheticSpec, view: str, scenes: Sequence[Scene], recordings: Sequence[Recording]
) -> None:
    """Write the label table of one view, and its table of boxes; sessions one below the other."""
    images = [
        image_name(spec.session_names[scene.number], view, frame, spec.image_format)
        for scene in scenes
        for frame in scene.labeled
    ]
    labels = Labels(
        points=np.concatenate([recording.labels.points for recording in recordings]),
        visible=np.concatenate([recording.labels.visible for recording in recordings]),
    )
    write_labels(
        folder / file_name(f"CollectedData_{view}.csv"),
        images,
        KEYPOINT_NAMES,
        labels.points,
        labels.visible,
        scorer=SCORER,
        float_format="%.4f",
    )
    if spec.crop:
        boxes = np.concatenate([recording.boxes for recording in recordings])
        write_labeled_boxes(folder / file_name(f"bboxes_{view}.csv"), images, boxes)


def _write_truth(folder: Path, spec: SyntheticSpec, scenes: Sequence[Scene]) -> None:
    """Write calibrations, and the true 3D keypoints of labeled frames and of videos."""
    rows, labeled = [], []
    for scene, session in zip(scenes, spec.session_names, strict=True):
        scene.cameras.save(folder / "calibrations" / file_name(f"{session}.toml"))
        keypoints = scene.skeleton.keypoints
        path = folder / "videos" / file_name(f"{session}_3d.csv")
        write_points_3d(path, range(len(keypoints)), KEYPOINT_NAMES, keypoints, scorer=SCORER)
        rows += [image_name(session, None, frame, spec.image_format) for frame in scene.labeled]
        labeled.append(keypoints[scene.labeled])
    write_points_3d(folder / "points_3d.csv", rows, KEYPOINT_NAMES, np.concatenate(labeled), scorer=SCORER)


def _write_config(path: Path, spec: SyntheticSpec) -> None:
    """Write the config of a project, with the spec it was generated from as a comment."""
    write_project_config(
        path,
        comment=f"Generated project: {counted(spec.num_views, 'camera')}, {counted(spec.num_frames, 'labeled frame')}. "
        f"World unit: mm. True 3D keypoints: points_3d.csv.\n{spec}",
        view_names=spec.view_names,
        keypoint_names=KEYPOINT_NAMES,
        skeleton=_BONES,
        num_frames=spec.num_frames,
        image_size=_image_size(spec),
        num_sessions=spec.num_sessions,
        num_calibrated=spec.num_sessions,
        with_boxes=spec.crop,
        with_videos=True,
        more_data={"downsample_factor": 2},
        more_eval={"save_vids_after_training": False, "colormap": "cool", "confidence_thresh_for_vid": 0.9},
    )


def _image_size(spec: SyntheticSpec) -> tuple[int, int]:
    """Return width and height of the stored images in px."""
    width, height = spec.frame_size
    return (spec.crop_size or min(width, height),) * 2 if spec.crop else (width, height)
