"""Contact sheets of a checked project: labels, suspect labels, and augmented training samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mvaug import Augmentation
from mvtrain.check.calibration_checks import LabelErrors
from mvtrain.check.image_checks import ImageScan
from mvtrain.config import Config
from mvtrain.data.batch import Sample
from mvtrain.data.dataset import FrameDataset, ImageCache, make_augmentation
from mvtrain.drawing.sheets import (
    CELL_WIDTH,
    Marks,
    assemble_sheet,
    cell_size,
    draw_cell,
    frame_title,
    palette,
    save_png,
)
from mvtrain.project.label_tables import VISIBLE
from mvtrain.project.labels_3d import uses_imgaug_3d, uses_labels_from_3d
from mvtrain.project.project import Project
from mvtrain.project.splits import Split

NUM_FRAMES = 6
"""Number of rows of the sheets of labels."""

NUM_AUGMENTED = 3
"""Number of frames on the sheet of augmented samples, each unaugmented and as augmented in the first epochs."""

_NUM_EPOCHS = 2
_KEY = ("", "dot: label", "ring: occluded", "x: other views", "red: suspect")


def write_label_sheet(
    path: Path, project: Project, scan: ImageScan, errors: LabelErrors, rows: Sequence[int] | None = None
) -> bool:
    """Draw the labels of some frames, and their reprojections from the other views.

    Args:
        path: Path of the PNG.
        project: Project with the labels.
        scan: Scan of its images, which tells the readable ones.
        errors: Errors of its labels.
        rows: Rows of the frames; None takes some at even distances.

    Returns:
        True if there was anything to draw; otherwise nothing is written.
    """
    drawable = np.flatnonzero((scan.readable[..., None] & np.isfinite(project.points).all(-1)).any(axis=(1, 2)))
    if rows is None:
        rows = drawable[np.unique(np.linspace(0, len(drawable) - 1, NUM_FRAMES).round().astype(int))].tolist()
    rows = [row for row in rows if row in drawable]
    if not rows:
        return False
    size = cell_size(project)
    colors = palette(len(project.keypoint_names))

    def cell(row: int, view: int) -> np.ndarray | None:
        if not scan.readable[row, view]:
            return None
        marks = Marks(
            points=project.points[row, view],
            filled=project.visibility[row, view] == VISIBLE,
            expected=errors.expected[row, view],
            highlighted=errors.suspect[row, view],
        )
        return draw_cell(project.read_image(row, view), marks, colors, size)

    views = range(len(project.view_names))
    lines = [(frame_title(project, row), [cell(row, view) for view in views]) for row in rows]
    legend = list(zip(project.keypoint_names, colors, strict=True))
    save_png(path, assemble_sheet(lines, project.view_names, legend, _KEY, size))
    return True


def worst_frames(errors: LabelErrors) -> list[int]:
    """Return the rows of the suspect labels with the largest errors, the worst first; empty if no label is suspect."""
    places = np.argwhere(errors.suspect)
    order = np.argsort(-errors.error[errors.suspect])
    return list(dict.fromkeys(places[order, 0].tolist()))[:NUM_FRAMES]


def write_augmented_sheet(path: Path, project: Project, config: Config, split: Split, scan: ImageScan) -> bool:
    """Draw training samples without augmentation, and as `mvtrain fit` augments them in the first epochs.

    Args:
        path: Path of the PNG.
        project: Project of the samples.
        config: Config with the augmentation.
        split: Split of the project's frames.
        scan: Scan of the project's images, which tells the readable ones.

    Returns:
        True if there was anything to draw; otherwise nothing is written.

    Raises:
        InputError: The config's augmentation has an unknown transform or parameter.
    """
    present = np.array([[name is not None for name in names] for names in project.image_names])
    usable = split.train[(scan.readable | ~present)[split.train].all(axis=1)]
    if not len(usable):
        return False
    training, dims = config.training, config.data.image_resize_dims
    augmentation = make_augmentation(training, uses_imgaug_3d(config, project), project.keypoint_names)
    plain, augmented = (
        FrameDataset(
            project,
            size=(dims.width, dims.height),
            augmentation=each,
            seed=training.rng_seed_data_pt,
            cache=ImageCache.from_project(project, max_bytes=0),
            labels_from_3d=uses_labels_from_3d(config, project),
        )
        for each in (Augmentation.none(), augmentation)
    )
    size = CELL_WIDTH, max(1, round(CELL_WIDTH * dims.height / dims.width))
    colors = palette(len(project.keypoint_names))
    rows = usable[np.unique(np.linspace(0, len(usable) - 1, NUM_AUGMENTED).round().astype(int))].tolist()
    lines = []
    for row in rows:
        lines.append((f"{frame_title(project, row)}: not augmented", _sample_cells(plain[0, row], colors, size)))
        for epoch in range(_NUM_EPOCHS):
            sample = augmented[epoch, row]
            moved = ", moved in 3D" if sample.moved else ""
            lines.append((f"epoch {epoch}{moved}", _sample_cells(sample, colors, size)))
    legend = list(zip(project.keypoint_names, colors, strict=True))
    save_png(path, assemble_sheet(lines, project.view_names, legend, (), size))
    return True


def _sample_cells(sample: Sample, colors: list[tuple[int, int, int]], size: tuple[int, int]) -> list[np.ndarray | None]:
    """Draw the views of a sample with the labels that training uses."""
    cells: list[np.ndarray | None] = []
    for view, image in enumerate(sample.images):
        visible = sample.visibility[view] == VISIBLE
        nothing = np.full_like(sample.points[view], np.nan)
        points = np.where(visible[:, None], sample.points[view], np.nan)
        marks = Marks(points=points, filled=visible, expected=nothing, highlighted=np.zeros_like(visible))
        cells.append(draw_cell(image, marks, colors, size, zoom=False) if sample.view_present[view] else None)
    return cells
