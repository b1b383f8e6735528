"""Section of the report: learning curves; readers of `metrics.csv` and `run.yaml` in a run folder."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mvgeom.documents import parse_yaml
from mvgeom.errors import InputError
from mvgeom.files import read_text
from mvtrain.report.html import Section, color, figure, figure_html, go, grid, paragraph, plain
from mvtrain.training import metrics_log, run_info
from mvtrain.training.metrics_log import MASKED, drawable_columns

_NEEDED = ("epoch", "step")
_REMEDY = "Put the original back, or remove it to get a report without learning curves"
_SECTIONS = ("packages", "hardware")
"""Entries of `run.yaml` with entries of their own."""

_BY_VIEW = "val_pixel_error_view_"
_MAX_TICKS = 7
_FEW = 30
"""Number of rows below which each row is marked by a dot."""


def read_metrics(run_dir: Path) -> pd.DataFrame | None:
    """Read the table `metrics.csv`, with NaN for empty cells; None if there is no file.

    Raises:
        InputError: The file is damaged; the message and the facts name line and column.
    """
    path = run_dir / metrics_log.FILE_NAME
    if not path.exists():
        return None
    try:
        head, *lines = list(csv.reader(io.StringIO(read_text(path)))) or [[]]
    except csv.Error as error:
        raise InputError(f"{path}: not CSV: {error}. {_REMEDY}", code="invalid-syntax", path=path) from error
    missing = [name for name in _NEEDED if name not in head]
    if missing:
        raise InputError(
            f"{path}: not the log of a training: there is no column {', '.join(missing)}. {_REMEDY}",
            code="missing-column",
            path=path,
            column=missing[0],
        )
    twice = next((name for name in head if head.count(name) > 1), None)
    if twice is not None:
        raise InputError(
            f"{path}: there are two columns {twice}. {_REMEDY}", code="duplicate-name", path=path, column=twice
        )
    numbers = np.full((len(lines), len(head)), np.nan)
    for row, cells in enumerate(lines):
        if len(cells) != len(head):
            raise InputError(
                f"{path}, line {row + 2}: the number of cells is wrong, found {len(cells)}, expected {len(head)}. "
                f"{_REMEDY}",
                code="wrong-count",
                path=path,
                line=row + 2,
                found=len(cells),
                expected=len(head),
            )
        for column, (name, cell) in enumerate(zip(head, cells, strict=True)):
            if cell == "" and name not in _NEEDED:
                continue
            try:
                numbers[row, column] = float(cell)
            except ValueError as error:
                raise InputError(
                    f"{path}, line {row + 2}, column {name}: not a number, found {cell!r}. {_REMEDY}",
                    code="bad-number",
                    path=path,
                    line=row + 2,
                    column=name,
                    found=cell,
                ) from error
    return pd.DataFrame(numbers, columns=head)


def read_run_info(run_dir: Path) -> list[dict[str, Any]]:
    """Read the conditions under which each process trained, the first one first; empty if there is no `run.yaml`.

    Raises:
        InputError: `damaged-file`.
    """
    path = run_dir / run_info.FILE_NAME
    if not path.exists():
        return []
    text = read_text(path)
    try:
        entries = parse_yaml(text, path)
    except InputError as error:
        raise InputError(f"{error}. Put the original back, or remove it", code="damaged-file", path=path) from error
    if not isinstance(entries, list) or not all(map(_is_process, entries)):
        raise InputError(
            f"{path}: not a list with an entry per process. Put the original back, or remove it",
            code="damaged-file",
            path=path,
        )
    return entries


def _is_process(entry: object) -> bool:
    """Return True if an entry of `run.yaml` has the types that the report reads."""
    return isinstance(entry, dict) and all(isinstance(entry.get(name) or {}, dict) for name in _SECTIONS)


def learning_curves_section(metrics: pd.DataFrame | None) -> Section:
    """Show the table `metrics.csv` as curves.

    Args:
        metrics: Table from `read_metrics`.
    """
    if metrics is None:
        body = paragraph("No curves: the run folder has no metrics.csv.", "note")
    else:
        by_view = {"validation error in px by view": [name for name in metrics.columns if name.startswith(_BY_VIEW)]}
        panels = {**drawable_columns(metrics), **{title: names for title, names in by_view.items() if names}}
        figures = [
            figure_html(_draw_panel(metrics, title, names), f"curves-{position}", 320)
            for position, (title, names) in enumerate(panels.items())
        ]
        body = grid(figures) if figures else paragraph("No curves: metrics.csv has no rows yet.", "note")
    return Section(
        anchor="learning-curves",
        title="Learning curves",
        how_to_read=(
            "Curves that still fall at the right: train for more epochs. A validation error (val_...) that rises while "
            "the training error falls: the network overfits the training frames."
        ),
        body_html=body,
    )


def _draw_panel(metrics: pd.DataFrame, title: str, names: list[str]) -> go.Figure:
    """Draw some columns over the epochs."""
    drawn = figure(title, xaxis_title_text="epoch", showlegend=True)
    for position, name in enumerate(names):
        rows = metrics[metrics[name].notna()]
        drawn.add_scatter(
            x=rows["epoch"].to_numpy(),
            y=rows[name].to_numpy(),
            name=plain(name.removeprefix(_BY_VIEW)),
            mode="lines+markers" if len(rows) < _FEW else "lines",
            marker_size=5,
            line={"color": color(position), "width": 1.8},
        )
    drawn.update_yaxes(rangemode="nonnegative")
    # Errors and losses fall by factors. A loss can overflow to infinity, which no axis can hold.
    logged = metrics[names].to_numpy()
    logged = logged[~np.isnan(logged)]
    if title != MASKED and (logged > 0).all() and np.isfinite(logged).all():
        ticks = log_ticks(float(logged.min()), float(logged.max()))
        drawn.update_yaxes(type="log", tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks])
    return drawn


def log_ticks(low: float, high: float) -> list[float]:
    """Choose round numbers between two positive ones: as many as can be read, down to every fourth power of ten."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for factors, step in (((1, 1.5, 2, 3, 4, 5, 7), 1), ((1, 2, 5), 1), ((1,), 1), ((1,), 2), ((1,), 4)):
        ticks = [float(f"{factor}e{power}") for power in range(first, last + 1, step) for factor in factors]
        inside = [tick for tick in ticks if low / 1.1 <= tick <= high * 1.1]
        if len(inside) <= _MAX_TICKS:
            break
    return inside
