"""Synthetic projects on disk: videos, labels, boxes, calibrations, 3D truth and config."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import Progress

from mvgeom import affine
from mvgeom.errors import InputError
from mvgeom.files import file_name
from mvgeom.tables import write_labeled_boxes, write_video_boxes
from mvgeom.wording import counted
from mvtrain.config import Config
from mvtrain.config.keys import as_whole
from mvtrain.config.recommended import write_project_config
from mvtrain.drawing.video_files import written_video
from mvtrain.project.label_tables import image_name, write_labels, write_points_3d
from mvtrain.runtime.folders import new_folder
from mvtrain.synth.animal import KEYPOINT_NAMES
from mvtrain.synth.raycast import View, keypoint_visibility, make_view, pixel_bounds
from mvtrain.synth.render import Image, render
from mvtrain.synth.scene import Scene, make_scene
from mvtrain.synth.spec import Floats, Purpose, SyntheticSpec, generator

BOX_MARGIN = 0.12
"""Margin on every side of the animal's box, as a fraction of its longer side."""

SMALLEST_BOX = 24
"""Smallest side of a box in px; also the side of the box of an image without the animal."""

_ENCODING = {
    "jpg": [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_OPTIMIZE, 0, cv2.IMWRITE_JPEG_PROGRESSIVE, 0],
    "png": [cv2.IMWRITE_PNG_COMPRESSION, 3],
}
"""OpenCV's parameters, in full, so that other defaults of another version do not change the bytes."""

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


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Labels of N frames of one camera.

    Attributes:
        points: (N, K, 2) labels in crop px, NaN where not labeled.
        visible: (N, K) 2 visible, 1 occluded, 0 not labeled.
    """

    points: Floats
    visible: npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Labels and boxes of one camera in one session.

    Attributes:
        labels: Labels of the N labeled frames, in crop px.
        boxes: (N, 4) x, y, width, height of the stored images in full-image px.
    """

    labels: Labels
    boxes: Floats


def record(folder: Path, spec: SyntheticSpec, scene: Scene, number: int, advance: Callable[[], None]) -> Recording:
    """Render, and write the video, the labeled images and, for crops, the video's boxes.

    Args:
        folder: Folder of the project.
        spec: Spec of the project.
        scene: Scene of the session.
        number: Position of the camera.
        advance: Function that is called after each image.
    """
    session, name = spec.session_names[scene.number], spec.view_names[number]
    view = make_view(scene.cameras.select([name]))
    if spec.crop:
        boxes = animal_boxes(scene, view)
        write_video_boxes(folder / "videos" / file_name(f"{session}_{name}_bbox.csv"), boxes)
    else:
        boxes = np.tile([0.0, 0.0, view.width, view.height], (spec.num_video_frames, 1))
    (folder / "labeled-data" / file_name(f"{session}_{name}")).mkdir()
    labeled = set(scene.labeled.tolist())
    frames = render(scene, view, seed=spec.seed, number=number, sensor_noise=spec.sensor_noise)
    with written_video(folder / "videos" / file_name(f"{session}_{name}.mp4"), spec.fps, spec.frame_size) as write:
        for frame, image in enumerate(frames):
            write(image)
            if frame in labeled:
                path = folder / image_name(session, name, frame, spec.image_format)
                _write_image(path, _cut(image, boxes[frame], spec.crop_size), spec.image_format)
            advance()
    boxes = boxes[scene.labeled]
    return Recording(labels=label(scene, view, number, boxes, spec), boxes=boxes)


def label(scene: Scene, view: View, number: int, boxes: Floats, spec: SyntheticSpec) -> Labels:
    """Make the labels of the scene's labeled frames.

    Args:
        scene: Scene of one session.
        view: View of the camera.
        number: Position of the camera.
        boxes: (N, 4) x, y, width, height of the stored images in full-image px, one for each labeled frame.
        spec: Spec with noise, missing labels and the size of stored crops.
    """
    rows = scene.labeled
    keypoints = scene.skeleton.keypoints[rows]
    shapes = [part.shape.at(rows) for part in scene.body + scene.occluders]
    points, visible = keypoint_visibility(keypoints, scene.skeleton.tolerances, shapes, view)
    # One stream per frame: it does not depend on the number of frames.
    for row, frame in enumerate(rows):
        place = (scene.number, number, int(frame))
        points[row] += (
            generator(spec.seed, Purpose.LABEL_NOISE, *place).normal(0, 1, points[row].shape) * spec.label_noise
        )
        missing = generator(spec.seed, Purpose.MISSING_LABELS, *place).random(len(visible[row])) < spec.missing_labels
        visible[row, missing] = 0
    points[visible == 0] = np.nan
    sizes = boxes[:, 2:] if spec.crop_size is None else np.full((len(rows), 2), float(spec.crop_size))
    return Labels(points=affine.apply(affine.from_box(boxes, sizes), points), visible=visible)


def animal_boxes(scene: Scene, view: View) -> Floats:
    """Return (T, 4) x, y, width, height in whole full-image px: squares inside the image, around the visible animal."""
    left, top, right, bottom = np.moveaxis(pixel_bounds([part.shape for part in scene.body], view), 1, 0)
    outside = (right <= left) | (bottom <= top)
    size = np.array([view.width, view.height])
    start = np.stack([np.where(outside, view.width, left).min(0), np.where(outside, view.height, top).min(0)], axis=-1)
    stop = np.stack([np.where(outside, 0, right).max(0), np.where(outside, 0, bottom).max(0)], axis=-1)
    absent = outside.all(axis=0)[:, None]
    start, stop = np.where(absent, size // 2, start), np.where(absent, size // 2, stop)
    side = np.ceil((stop - start).max(axis=-1) * (1 + 2 * BOX_MARGIN)).astype(np.intp)
    side = np.clip(side, SMALLEST_BOX, min(view.width, view.height))[:, None]
    corner = np.clip((start + stop - side) // 2, 0, size - side)
    return np.concatenate([corner, side, side], axis=1).astype(np.float64)


def _cut(image: Image, box: Floats, side: int | None) -> Image:
    left, top, width, height = box.astype(int)
    cut = image[top : top + height, left : left + width]
    if side is None:
        return cut
    shrinks = side < width
    return np.asarray(
        cv2.resize(cut, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR), np.uint8
    )


def _write_image(path: Path, image: Image, image_format: str) -> None:
    done, encoded = cv2.imencode(f".{image_format}", image, _ENCODING[image_format])
    assert done, f"OpenCV could not encode {path}"
    path.write_bytes(encoded.tobytes())


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
        spec = SyntheticSpec(**{key: as_whole(value) for key, value in data.synthetic.items()})
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
