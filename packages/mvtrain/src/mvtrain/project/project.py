"""Projects on disk, read and checked once: labels of every view, images, boxes, cameras."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from mvgeom import CameraGroup, affine
from mvgeom import project as project_points
from mvgeom.errors import InputError
from mvgeom.files import on_disk
from mvtrain.config import Config
from mvtrain.project.calibrations import box_mismatches, find_calibrations, load_cameras, size_mismatches
from mvtrain.project.frame_rows import recover_project
from mvtrain.project.images import read_headers, read_image, turned_warning, value_bits
from mvtrain.project.label_tables import LabelTable
from mvtrain.project.names import TABLE
from mvtrain.project.view_tables import frame_of_row, read_labeled_rows


@dataclass(frozen=True, kw_only=True, eq=False)
class Project:
    """N frames of V views with K keypoints.

    A view without an image of a frame has image_names None, NaN points, visibility 0, size 0 and the identity as map.
    So has a view whose box of the frame is empty, because it shows no animal.

    Attributes:
        root: Project folder, absolute.
        view_names: V names of the views.
        keypoint_names: K names of the keypoints.
        image_names: N x V image paths relative to `root`, as the label tables write them; None where missing.
        sessions: N names of the frames' sessions.
        points: (N, V, K, 2) labels in crop px (px of the stored images), NaN where missing. Points marked occluded keep
            their coordinates where the table has them (true positions, useful for 3D labels and pixel errors): 2D
            losses must use `visibility`. Points marked not labeled are NaN.
        visibility: (N, V, K) int8: 0 excluded, 1 occluded (uniform target), 2 visible.
        file_sizes: (N, V, 2) width and height of the stored images in px.
        boxes: (N, V, 4) x, y, width, height of the stored images in full-image px, NaN where missing; None where the
            project has no boxes and stored images are full images.
        cameras: N camera groups in the order of the views, one shared object per calibration file; None where a session
            has no calibration.
        crop_to_full: (N, V, 2, 3) maps from crop px to full-image px.
        value_bits: V numbers of bits in use of the views' images with 16 bits; None where images have 8 bits. Empty
            where all have 8 bits.
        turned: (N, V) True where EXIF asks viewers to turn the image, which is read as stored; None where none is.
        warnings: Messages to the user about problems that are not errors.
    """

    root: Path
    view_names: tuple[str, ...]
    keypoint_names: tuple[str, ...]
    image_names: tuple[tuple[str | None, ...], ...]
    sessions: tuple[str, ...]
    points: np.ndarray
    visibility: np.ndarray
    file_sizes: np.ndarray
    boxes: np.ndarray | None
    cameras: tuple[CameraGroup | None, ...]
    crop_to_full: np.ndarray
    value_bits: tuple[int | None, ...] = ()
    turned: np.ndarray | None = None
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.image_names)

    @property
    def points_full(self) -> np.ndarray:
        """Return (N, V, K, 2) labels in full-image px, NaN where missing."""
        return affine.apply(self.crop_to_full, self.points)

    @cached_property
    def image_paths(self) -> tuple[tuple[Path | None, ...], ...]:
        """Return N x V image files, None where a view has none."""
        return tuple(tuple(image_path(self.root, name) for name in names) for names in self.image_names)

    @property
    def bits_of_paths(self) -> dict[Path, int]:
        """Return the bits in use of every image file of a view with more than 8 bits."""
        return {
            path: bits
            for paths in self.image_paths
            for path, bits in zip(paths, self.value_bits, strict=False)
            if path is not None and bits is not None
        }

    def read_image(self, row: int, view: int) -> np.ndarray:
        """Read the image of a view: (H, W, 3) uint8 RGB, scaled by the bits that the view's images use.

        Raises:
            InputError: As for `read_image` of `project.images`.
        """
        path = self.image_paths[row][view]
        assert path is not None, (row, view)
        return read_image(path, self.value_bits[view] if self.value_bits else None)


def read_project(config: Config, *, need_labels: bool = True) -> Project:
    """Read the project of a config; of the images only the headers. Frames that are half added are completed before.

    Args:
        config: Config that names the project folder.
        need_labels: Refuse a project without a single label, as training and prediction must; labeling begins so.

    Raises:
        InputError: Something in the project is missing or contradictory; message and facts name file, line and view,
            and what was found and expected.
    """
    root = config.data.data_dir
    key, advice = "data.data_dir", "Set it to the project folder, or add data.synthetic to generate a project there"
    if root is None:
        raise InputError(f"{key} is not given. {advice}", code="missing-field", key=key)
    if not root.exists():
        raise InputError(f"{key} {root} does not exist. {advice}", code="missing-file", key=key, path=root)
    if not root.is_dir():
        raise InputError(f"{key} {root} is not a folder. {advice}", code="not-a-folder", key=key, path=root)
    recover_project(root)
    labeled = read_labeled_rows(root, config.data)
    view_names, tables, boxes = labeled.view_names, labeled.tables, labeled.boxes
    image_names = tuple(zip(*(table.image_names for table in tables), strict=True))
    paths = [[image_path(root, name) for name in names] for names in image_names]
    headers = read_headers(paths, tables)
    frames = [frame_of_row(names, view_names) for names in image_names]
    files: tuple[Path | None, ...] = (None,) * len(frames)
    warnings: tuple[str, ...] = ()
    if view_names != (TABLE,):  # a view without a name is no camera of a calibration
        files, warnings = find_calibrations(root, frames, config.data.camera_params_file)
    cameras = load_cameras(files, view_names)
    points, visibility = _read_points(tables, uniform=config.training.uniform_heatmaps_for_nan_keypoints)
    if need_labels and not np.isfinite(points).any():
        raise InputError(
            f"no label in any of {', '.join(str(table.path) for table in tables)}. Label frames with mvtrain label "
            f"{root}",
            code="no-labels",
            path=root,
        )
    unlabeled = int((~(visibility > 0).any(axis=(1, 2))).sum())
    if unlabeled:
        warnings = (
            *warnings,
            f"no label in any view for {unlabeled} of {len(visibility)} frames: they are in no split until labeled",
        )
    if boxes is None:
        mismatches = size_mismatches(headers.sizes, cameras, view_names)
    else:
        mismatches = box_mismatches(boxes, cameras, view_names)
    return Project(
        root=root,
        view_names=view_names,
        keypoint_names=tables[0].keypoint_names,
        image_names=image_names,
        sessions=tuple(session for session, _ in frames),
        points=points,
        visibility=visibility,
        file_sizes=headers.sizes,
        boxes=boxes,
        cameras=cameras,
        crop_to_full=_crop_to_full(headers.sizes, boxes),
        value_bits=value_bits(paths, headers),
        turned=headers.turned if headers.turned.any() else None,
        warnings=(*labeled.warnings, *warnings, *mismatches.values(), *turned_warning(paths, headers.turned)),
    )


def arranged(project: Project, view_names: Sequence[str], keypoint_names: Sequence[str]) -> Project:
    """Return a project with the same views and keypoints in another order."""
    views = [project.view_names.index(name) for name in view_names]
    keypoints = [project.keypoint_names.index(name) for name in keypoint_names]
    if views == sorted(views) and keypoints == sorted(keypoints):
        return project
    groups = {id(cameras): cameras and cameras.select(view_names) for cameras in project.cameras}
    return replace(
        project,
        view_names=tuple(view_names),
        keypoint_names=tuple(keypoint_names),
        image_names=tuple(tuple(names[view] for view in views) for names in project.image_names),
        points=project.points[:, views][:, :, keypoints],
        visibility=project.visibility[:, views][:, :, keypoints],
        file_sizes=project.file_sizes[:, views],
        boxes=None if project.boxes is None else project.boxes[:, views],
        cameras=tuple(groups[id(cameras)] for cameras in project.cameras),
        crop_to_full=project.crop_to_full[:, views],
        value_bits=tuple(project.value_bits[view] for view in views) if project.value_bits else (),
        turned=None if project.turned is None else project.turned[:, views],
    )


def joined(first: Project, second: Project, rows: np.ndarray) -> Project:
    """Return the frames of a project, and after them frames of another with the same views and keypoints.

    Args:
        first: Project, whose folder and warnings the result has.
        second: Project of the same folder; with boxes if the first has any.
        rows: (M,) rows of the second project.
    """

    def both(name: str) -> np.ndarray:
        return np.concatenate([getattr(first, name), getattr(second, name)[rows]])

    turned = [
        np.zeros(each.points.shape[:2], dtype=bool) if each.turned is None else each.turned for each in (first, second)
    ]
    return replace(
        first,
        image_names=(*first.image_names, *(second.image_names[row] for row in rows)),
        sessions=(*first.sessions, *(second.sessions[row] for row in rows)),
        points=both("points"),
        visibility=both("visibility"),
        file_sizes=both("file_sizes"),
        boxes=None if first.boxes is None else both("boxes"),
        cameras=(*first.cameras, *(second.cameras[row] for row in rows)),
        crop_to_full=both("crop_to_full"),
        value_bits=first.value_bits or second.value_bits,
        turned=None if first.turned is None and second.turned is None else np.concatenate([turned[0], turned[1][rows]]),
    )


def full_to_model(project: Project, row: int, size: tuple[int, int]) -> np.ndarray:
    """Return (V, 2, 3) maps of the views' boxes, or of the full images without boxes, onto the network's input.

    Args:
        project: Project of the frame.
        row: Row of the frame in the project.
        size: Width and height of the network's input in model px.
    """
    if project.boxes is not None:
        boxes = project.boxes[row]
    else:
        sizes = project.file_sizes[row].astype(np.float64)
        boxes = np.concatenate([np.zeros_like(sizes), sizes], axis=-1)
    # A missing view has no box; its image is black, so any map is right.
    present = np.isfinite(boxes).all(-1) & (boxes[:, 2:] > 0).all(-1)
    boxes = np.where(present[:, None], boxes, np.array([0.0, 0.0, *size]))
    return affine.from_box(boxes, np.array(size, dtype=np.float64))


def to_crop(project: Project, rows: np.ndarray, full_points: np.ndarray) -> np.ndarray:
    """Map points (N, V, K, 2) of the given rows from full-image px to crop px; NaN where an image is missing."""
    return affine.apply(affine.invert(project.crop_to_full[rows]), full_points)


def project_into_images(project: Project, rows: np.ndarray, points_3d: np.ndarray) -> np.ndarray:
    """Project world points into the stored images.

    Args:
        project: Project of the frames.
        rows: (N,) rows of the frames in the project.
        points_3d: (N, K, 3) world points of the same frames, NaN where missing.

    Returns:
        (N, V, K, 2) crop px; NaN where a point is outside the image, or missing, or the frame has no cameras.
    """
    points = np.full((len(rows), len(project.view_names), points_3d.shape[1], 2), np.nan)
    for number, row in enumerate(rows):
        cameras = project.cameras[row]
        if cameras is not None:
            points[number] = project_points(points_3d[number], cameras)
    points = to_crop(project, rows, points)
    inside = (points >= -0.5) & (points <= project.file_sizes[rows][:, :, None] - 0.5)
    return np.where(inside.all(-1, keepdims=True), points, np.nan)


def image_path(root: Path, name: str | None) -> Path | None:
    """Return the path of an image that a label table names; None where it names none."""
    return None if name is None else on_disk(root / name.replace("\\", "/"))  # tables written on Windows


def _read_points(tables: Sequence[LabelTable], *, uniform: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return (N, V, K, 2) points and (N, V, K) visibility; without `visible`, `uniform` marks missing labels as 1."""
    points = np.stack([table.points for table in tables], axis=1)
    located = np.isfinite(points).all(axis=-1)
    visibility = np.where(located, 2, 1 if uniform else 0).astype(np.int8)
    for view, table in enumerate(tables):
        if table.visible is not None:
            visibility[:, view] = table.visible
    points = np.where((visibility == 0)[..., None], np.nan, points)
    absent = np.array([[name is None for name in table.image_names] for table in tables]).T
    return points, np.where(absent[..., None], 0, visibility).astype(np.int8)


def _crop_to_full(file_sizes: np.ndarray, boxes: np.ndarray | None) -> np.ndarray:
    """Return (N, V, 2, 3) maps; the identity where stored images are full images or missing."""
    maps = np.broadcast_to(np.eye(2, 3), (*file_sizes.shape[:2], 2, 3)).copy()
    if boxes is not None:
        known = np.isfinite(boxes).all(axis=-1) & (file_sizes > 0).all(axis=-1)
        maps[known] = affine.invert(affine.from_box(boxes[known], file_sizes[known].astype(np.float64)))
    return maps
