"""What a run folder says about the training: its log of figures and its conditions."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from mvgeom.files import read_text
from mvtrain.training import metrics_log, run_info

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
