"""What a run folder says about the training: its log of figures and its conditions."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from mvgeom.files import read_text
from mvtrain.report.html import Section, grid, paragraph
from mvtrain.report.plots import color, figure, figure_html, go, plain
from mvtrain.training import metrics_log, run_info
from mvtrain.training.metrics_log import PANELS

_NEEDED = ("epoch", "step")


def read_metrics(run_dir: Path) -> pd.DataFrame | None:
    """The table `metrics.csv`, NaN where a row has no such figure; None where there is no file.

    Raises:
        ValueError: the file is damaged; the message names line and column.
    """
    path = run_dir / metrics_log.FILE_NAME
    if not path.exists():
        return None
    remedy = "put the original back, or remove it to get a report without learning curves"
    head, *lines = list(csv.reader(io.StringIO(read_text(path)))) or [[]]
    missing = [name for name in _NEEDED if name not in head]
    if missing:
        raise ValueError(f"{path} is no log of a training: it has no column {', '.join(missing)}; {remedy}")
    numbers = np.full((len(lines), len(head)), np.nan)
    for row, cells in enumerate(lines):
        if len(cells) != len(head):
            raise ValueError(f"{path}, line {row + 2}: has {len(cells)} cells, the header {len(head)}; {remedy}")
        for column, (name, cell) in enumerate(zip(head, cells, strict=True)):
            if cell == "" and name not in _NEEDED:
                continue
            try:
                numbers[row, column] = float(cell)
            except ValueError as error:
                problem = f"column {name}: must be a number, found {cell!r}"
                raise ValueError(f"{path}, line {row + 2}, {problem}; {remedy}") from error
    return pd.DataFrame(numbers, columns=head)


def read_run_info(run_dir: Path) -> list[dict[str, Any]]:
    """Under which conditions each process trained, the first one first; empty where there is no `run.yaml`.

    Raises:
        ValueError: the file is damaged.
    """
    path = run_dir / run_info.FILE_NAME
    if not path.exists():
        return []
    try:
        entries = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is damaged: {error}; put the original back, or remove it") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{path} is damaged: it must be a list with an entry per process; put the original back")
    return entries


_BY_VIEW = "val_pixel_error_view_"
_LINEAR = "share of masked patches"
_MAX_TICKS = 7
_FEW = 30
"""Rows up to which each is marked by a dot."""


def learning_curves_section(metrics: pd.DataFrame | None) -> Section:
    """What `metrics.csv` holds, as curves.

    Args:
        metrics: from `run_files.read_metrics`.
    """
    if metrics is None:
        body = paragraph("No curves: the run folder has no metrics.csv.", "note")
    else:
        panels = {title: _drawable(metrics, names) for title, names in _panels(metrics).items()}
        figures = [
            figure_html(_panel(metrics, title, names), f"curves-{position}", 320)
            for position, (title, names) in enumerate(panels.items())
            if names
        ]
        body = grid(figures) if figures else paragraph("No curves: metrics.csv has no rows yet.", "note")
    return Section(
        anchor="learning-curves",
        title="Learning curves",
        how_to_read=(
            "Curves that still fall at the right ask for more epochs; a validation error (val_...) that rises while "
            "that of training falls says that the network learns the training frames by heart."
        ),
        body_html=body,
    )


def _panels(metrics: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    by_view = tuple(name for name in metrics.columns if name.startswith(_BY_VIEW))
    return {**PANELS, "validation error in px by view": by_view}


def _drawable(metrics: pd.DataFrame, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if name in metrics and metrics[name].notna().any()]


def _panel(metrics: pd.DataFrame, title: str, names: list[str]) -> go.Figure:
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
    # Errors and losses fall by factors.
    if title != _LINEAR and all((metrics[name].dropna() > 0).all() for name in names):
        ticks = log_ticks(float(metrics[names].min().min()), float(metrics[names].max().max()))
        drawn.update_yaxes(type="log", tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks])
    return drawn


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers between two positive ones: as many as can be read, down to every fourth power of ten."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for factors, step in (((1, 1.5, 2, 3, 4, 5, 7), 1), ((1, 2, 5), 1), ((1,), 1), ((1,), 2), ((1,), 4)):
        ticks = [float(f"{factor}e{power}") for power in range(first, last + 1, step) for factor in factors]
        inside = [tick for tick in ticks if low / 1.1 <= tick <= high * 1.1]
        if len(inside) <= _MAX_TICKS:
            break
    return inside
