"""CSV tables of keypoints: 2D tables of one view (labels or predictions) and the triangulated 3D table.

Both have three header rows (scorer, bodyparts, coords) and an index column with frame numbers or image paths.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mvgeom.errors import InputError
from mvgeom.files import replace_file

if TYPE_CHECKING:
    import pandas as pd

    from mvgeom.reconstruction import Reconstruction

__all__ = ["COORDS_3D", "Floats", "KeypointTable", "ViewStack", "read_keypoints", "stack_views", "write_points_3d"]

Floats = npt.NDArray[np.float64]

COORDS_3D = ("x", "y", "z", "x_std", "y_std", "z_std", "error", "num_views")

_HEADER = ("scorer", "bodyparts", "coords")


@dataclass(frozen=True, kw_only=True, eq=False)
class KeypointTable:
    """Keypoints of one view.

    Attributes:
        path: Path of the file, for error messages.
        rows: N index entries as written: frame numbers or image paths.
        keypoint_names: K keypoint names.
        points: (N, K, 2) keypoints in px of the file's own image; NaN is missing.
        likelihood: (N, K) likelihoods; None if the table has none.
    """

    path: Path
    rows: tuple[str, ...]
    keypoint_names: tuple[str, ...]
    points: Floats
    likelihood: Floats | None


@dataclass(frozen=True, kw_only=True, eq=False)
class ViewStack:
    """Keypoints of all views; row n of every view is the same frame.

    Attributes:
        rows: N index entries of the first view.
        keypoint_names: K keypoint names.
        points: (N, V, K, 2) keypoints in px of the files' own images; NaN is missing.
        likelihood: (N, V, K) likelihoods; None if no table has one, and 1 for views without likelihood if others have
            it.
    """

    rows: tuple[str, ...]
    keypoint_names: tuple[str, ...]
    points: Floats
    likelihood: Floats | None


def read_keypoints(path: str | Path) -> KeypointTable:
    """Read a table of labels or predictions.

    Columns other than x, y, likelihood and visible are ignored (ensembles write variances; predictions on labeled
    images end with a column `set`). Labels with `visible` 0 or 1 (not labeled, occluded) count as missing.

    Raises:
        InputError: `unreadable-file`, if the file is missing; `bad-header`, if it has another header; `missing-column`,
            if a keypoint has no x or y; `wrong-count` or `invalid-syntax`, if rows are longer than the header;
            `bad-number`, if a cell is not a number; `empty-cell`, if a keypoint has only one of x and y. The message
            names file, line and column.
    """
    path = Path(path)
    columns = _read_header(path)
    values, rows = _read_body(path, columns)
    position = {column: number for number, column in enumerate(columns)}
    names = tuple(dict.fromkeys(name for name, coord in columns if coord == "x"))
    incomplete = [
        name for name, coord in columns if coord in ("x", "y") and not {(name, "x"), (name, "y")} <= position.keys()
    ]
    if not names or incomplete:
        raise InputError(
            f"{path}: no keypoint with x and y" if not names else f"{path}: {incomplete[0]!r} has no x or no y",
            code="missing-column",
            path=path,
        )
    points = np.stack([values[:, [position[name, "x"], position[name, "y"]]] for name in names], axis=1)
    halves = np.argwhere(np.isnan(points).any(-1) & ~np.isnan(points).all(-1))
    if len(halves):
        row, keypoint = halves[0]
        raise InputError(
            f"{path}: line {row + 4}: {names[keypoint]!r} has only one of x and y",
            code="empty-cell",
            path=path,
            line=int(row) + 4,
        )
    if (names[0], "visible") in position:
        visible = np.stack([values[:, position[name, "visible"]] for name in names], axis=1)
        points = np.where((visible == 2)[..., None], points, np.nan)
    scored = (names[0], "likelihood") in position
    return KeypointTable(
        path=path,
        rows=rows,
        keypoint_names=names,
        points=points,
        likelihood=np.stack([values[:, position[name, "likelihood"]] for name in names], axis=1) if scored else None,
    )


def stack_views(tables: Mapping[str, KeypointTable]) -> ViewStack:
    """Stack the tables of all views.

    Rows are matched by position. Frame numbers must agree; for image paths, the file names must agree (folders differ
    between views).

    Args:
        tables: Keypoint tables by view name, at least one.

    Raises:
        InputError: `tables-differ`, if the tables differ in keypoints (names or order), number of rows, or index
            entries; `too-few-views`, if there is no table.
    """
    if not tables:
        raise InputError("tables: none found, expected at least one", code="too-few-views", found=0, expected=1)
    (first_view, first), *others = tables.items()
    for view, table in others:
        if table.keypoint_names != first.keypoint_names:
            differing = sorted(set(table.keypoint_names) ^ set(first.keypoint_names)) or "their order"
            raise InputError(
                f"{table.path}: keypoints of view {view!r} differ from those of {first_view!r} ({first.path}): "
                f"{differing}",
                code="tables-differ",
                path=table.path,
                view=view,
            )
        if len(table.rows) != len(first.rows):
            raise InputError(
                f"{table.path}: wrong number of rows of view {view!r}, found {len(table.rows)}, expected "
                f"{len(first.rows)} as for {first_view!r} ({first.path})",
                code="tables-differ",
                path=table.path,
                view=view,
            )
        for number, (ours, theirs) in enumerate(zip(first.rows, table.rows, strict=True)):
            if _frame_key(ours) != _frame_key(theirs):
                raise InputError(
                    f"{table.path}: line {number + 4}: view {view!r} has another frame than {first_view!r}, found "
                    f"{theirs!r}, expected {ours!r}. Rows of all views must be the same frames.",
                    code="tables-differ",
                    path=table.path,
                    view=view,
                    line=number + 4,
                )
    likelihoods = [table.likelihood for table in tables.values()]
    ones = np.ones(first.points.shape[:2])
    return ViewStack(
        rows=first.rows,
        keypoint_names=first.keypoint_names,
        points=np.stack([table.points for table in tables.values()], axis=1),
        likelihood=None
        if all(each is None for each in likelihoods)
        else np.stack([ones if each is None else each for each in likelihoods], axis=1),
    )


def write_points_3d(
    path: str | Path, keypoint_names: Sequence[str], blocks: Iterable[tuple[Sequence[str], Reconstruction]]
) -> None:
    """Save the 3D table: x, y, z, x_std, y_std, z_std, error, num_views per keypoint; missing values are empty cells.

    Args:
        path: Path of the CSV file, replaced atomically.
        keypoint_names: K keypoint names.
        blocks: Consecutive parts of the table, each with its index entries; only one is in memory at a time. Points and
            standard deviations are in the calibration's unit, errors in px.

    Raises:
        InputError: `unwritable-file`, if the file cannot be written.
    """
    import pandas as pd

    columns = pd.MultiIndex.from_tuples(
        [("mvgeom", name, coord) for name in keypoint_names for coord in COORDS_3D], names=_HEADER
    )

    def write(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            pd.DataFrame(columns=columns).to_csv(file)
            for rows, found in blocks:
                values = np.concatenate(
                    [found.points, found.std, found.error[..., None], found.num_views[..., None]], axis=-1
                )
                table = pd.DataFrame(values.reshape(len(rows), -1), index=pd.Index(rows), columns=columns)
                table = table.astype({("mvgeom", name, "num_views"): np.int64 for name in keypoint_names})
                table.to_csv(file, header=False, float_format="%.6g")

    replace_file(Path(path), write)


def _read_header(path: Path) -> list[tuple[str, str]]:
    """Return (keypoint, coord) of every column after the index."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = [next(reader, []) for _ in _HEADER]
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", code="unreadable-file", path=path) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text file", code="not-text", path=path) from error
    except csv.Error as error:
        raise InputError(f"{path}: not a CSV table: {error}", code="invalid-syntax", path=path) from error
    found = tuple(row[0] if row else "" for row in header)
    if found[:2] == ("scorer", "individuals"):
        raise InputError(
            f"{path}: the table has several individuals, expected one. Write one table per individual.",
            code="unsupported-file",
            path=path,
        )
    if found != _HEADER:
        raise InputError(
            f"{path}: wrong header, found first cells {', '.join(found)}, expected scorer, bodyparts, coords",
            code="bad-header",
            path=path,
        )
    if len({len(row) for row in header}) != 1:
        raise InputError(
            f"{path}: header rows of different length, found {', '.join(str(len(row)) for row in header)} cells",
            code="bad-header",
            path=path,
        )
    columns = list(zip(header[1][1:], header[2][1:], strict=True))
    repeated = [column for column in columns if columns.count(column) > 1 and column[1] in ("x", "y", "likelihood")]
    if repeated:
        raise InputError(
            f"{path}: found two columns for {repeated[0][1]} of {repeated[0][0]!r}, expected one",
            code="duplicate-name",
            path=path,
            name=repeated[0][0],
        )
    return columns


def _read_body(path: Path, columns: list[tuple[str, str]]) -> tuple[Floats, tuple[str, ...]]:
    """Return numbers (N, columns), NaN for empty cells and for text columns, and the index."""
    import pandas as pd

    try:
        body = pd.read_csv(path, header=None, skiprows=len(_HEADER), dtype={0: str}, encoding="utf-8-sig")
    except pd.errors.EmptyDataError as error:
        raise InputError(f"{path}: no rows below the header", code="empty-file", path=path) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text file", code="not-text", path=path) from error
    except pd.errors.ParserError as error:
        raise InputError(f"{path}: rows of different length: {error}", code="invalid-syntax", path=path) from error
    if body.shape[1] != len(columns) + 1:
        raise InputError(
            f"{path}: wrong number of cells per row, found {body.shape[1]}, expected {len(columns) + 1} as in header",
            code="wrong-count",
            path=path,
            found=body.shape[1],
            expected=len(columns) + 1,
        )
    values = np.full((len(body), len(columns)), np.nan)
    for number, (name, coord) in enumerate(columns):
        if coord in ("x", "y", "likelihood", "visible"):
            values[:, number] = _numbers(body[number + 1], f"{name} {coord}", path)
    return values, tuple(body[0].fillna(""))


def _numbers(column: pd.Series, name: str, path: Path) -> Floats:
    import pandas as pd

    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
    wrong = np.flatnonzero(np.isnan(values) & column.notna().to_numpy() | np.isinf(values))
    if len(wrong):
        raise InputError(
            f"{path}: line {wrong[0] + 4}: {name} must be a number, found {str(column.iloc[wrong[0]])!r}",
            code="bad-number",
            path=path,
            line=int(wrong[0]) + 4,
            column=name,
        )
    return np.asarray(values)


def _frame_key(row: str) -> str:
    """Return the part of an index entry that must agree between views: frame number, or file name of an image."""
    return PurePosixPath(row.replace("\\", "/")).name
