"""Label tables of an open project: their text, to which labels are written as long as nobody else has changed it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mvgeom.errors import InputError
from mvgeom.tables import MISSING_CELLS
from mvtrain.config import DataConfig
from mvtrain.label.journal import Journal, Label
from mvtrain.label.table_text import TableText
from mvtrain.project.label_tables import EXCLUDED, VISIBLE
from mvtrain.project.view_tables import find_tables, read_tables


class OpenTables:
    """Tables of V views, as read last or as written since.

    Args:
        root: Project folder.
        data: Section of the config.

    Attributes:
        has_visible: (V,) True for tables with a column `visible`.

    Raises:
        InputError: A table cannot be read.
    """

    def __init__(self, root: Path, data: DataConfig) -> None:
        view_names, paths = find_tables(root, data)
        self._texts = [TableText.read(path) for path in paths]
        tables = read_tables(view_names, paths, data)
        self._lines = [table.lines for table in tables]
        self.has_visible = np.array([table.visible is not None for table in tables])

    def check_unchanged(self, views: Sequence[int] | None = None) -> None:
        """Check that the tables of some views, or of all, are still what was read or written last.

        Raises:
            InputError: Another program has changed one (`changed-file`).
        """
        texts = self._texts if views is None else [self._texts[view] for view in views]
        changed = [text.path for text in texts if not text.is_unchanged()]
        if changed:
            raise InputError(
                f"{', '.join(map(str, changed))}: changed by another program since it was read, so nothing was "
                "written. Reload the tables in the page: edits of labels that are still the same are made again",
                code="changed-file",
                path=changed[0],
                paths=tuple(changed),
            )

    def with_labels(self, view: int, labels: Mapping[int, Mapping[int, Label]]) -> TableText | None:
        """Return a view's table with other labels, to give to `write`; None where there are none.

        Args:
            view: Number of the view.
            labels: Labels by frame and keypoint.
        """
        has_visible = bool(self.has_visible[view])
        width = 3 if has_visible else 2
        text, edits = self._texts[view], {}
        for frame, by_keypoint in labels.items():
            line = int(self._lines[view][frame])
            texts = {}
            if has_visible:
                # Lightning Pose turns an empty cell into a target of NaN, so a row that was labeled has none.
                written = text.cells(line)
                for column in range(3, len(written), width):
                    x, visible = (cell.strip(' \t"').lower() for cell in (written[column - 2], written[column]))
                    if visible in MISSING_CELLS:  # read as not labeled, or visible beside x and y
                        texts[column] = str(EXCLUDED if x in MISSING_CELLS else VISIBLE)
            for keypoint, label in by_keypoint.items():
                cells = ["" if value is None else repr(value) for value in (label.x, label.y)]
                cells += [str(label.visible)] if has_visible else []
                texts |= dict(enumerate(cells, start=1 + keypoint * width))
            edits[line] = texts
        return text.with_cells(edits) if edits else None

    def write(self, view: int, text: TableText) -> None:
        """Replace a view's table.

        Raises:
            InputError: It cannot be written (`unwritable-file`).
        """
        text.write()
        self._texts[view] = text


def write_visible(root: Path, data: DataConfig, missing: int, journal: Journal) -> None:
    """Add a column `visible` to the tables that lack it, and note in the journal that it is done.

    Args:
        root: Project folder.
        data: Section of the config.
        missing: Value where there is no label.
        journal: Journal of the project.

    Raises:
        InputError: A table cannot be read or written.
    """
    view_names, paths = find_tables(root, data)
    for path in paths:
        (table,) = read_tables(view_names[:1], [path], data)
        if table.visible is None:
            TableText.read(path).with_visible(missing=missing).write()
    journal.adding_visible(None)
