"""How many labels there are, of which kind, and where the tables have them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mvtrain.config import Config
from mvtrain.data.project import Project
from mvtrain.data.splits import Split
from mvtrain.data.tables import find_tables, read_tables
from mvtrain.losses.heatmap import OCCLUDED, VISIBLE


def counted(number: int, what: str) -> str:
    """`1 label`, `2 labels`."""
    return f"{number} {what}{'s' * (number != 1)}"


@dataclass(frozen=True, kw_only=True, eq=False)
class TableRows:
    """Where the label tables say what.

    Attributes:
        lines: (N, V) line of each row in the table of each view, counted from 1.
        tell_occluded: whether the tables have a column `visible`, so that an occluded label is no missing one.
    """

    lines: np.ndarray
    tell_occluded: bool


def read_rows(config: Config) -> TableRows:
    """Read the label tables of a project once more; the project itself does not keep where it was read.

    Raises:
        ValueError: see `read_tables`.
    """
    assert config.data.data_dir is not None
    tables = read_tables(*find_tables(config.data.data_dir, config.data), config.data)
    return TableRows(
        lines=np.stack([table.lines for table in tables], axis=1),
        tell_occluded=all(table.visible is not None for table in tables),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelCounts:
    """How many labels there are.

    Attributes:
        images: (V,) images.
        visible: (V, K) labels with a position to learn.
        occluded: (V, K) labels marked occluded.
        missing: (V, K) images with neither.
        training: (V, K) visible labels of the training frames.
        outside: (N, V, K) visible labels that lie outside of their image; training leaves them out.
    """

    images: np.ndarray
    visible: np.ndarray
    occluded: np.ndarray
    missing: np.ndarray
    training: np.ndarray
    outside: np.ndarray


def count_labels(project: Project, split: Split, rows: TableRows) -> LabelCounts:
    """Count the labels of a project."""
    visible = project.visibility == VISIBLE
    # Without a column `visible`, what is trained as occluded is missing in the table.
    occluded = (project.visibility == OCCLUDED).sum(axis=0) * rows.tell_occluded
    images = (project.file_sizes > 0).all(axis=-1).sum(axis=0)
    limits = project.file_sizes[:, :, None, :] - 0.5
    inside = ((project.points >= -0.5) & (project.points <= limits)).all(axis=-1)
    return LabelCounts(
        images=images,
        visible=visible.sum(axis=0),
        occluded=occluded,
        missing=images[:, None] - visible.sum(axis=0) - occluded,
        training=visible[split.train].sum(axis=0),
        outside=visible & ~inside,
    )
