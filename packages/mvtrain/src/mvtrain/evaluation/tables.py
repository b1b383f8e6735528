"""An evaluation as tables: errors by split, view and keypoint, and the share of keypoints found within a distance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from mvtrain.data.splits import SET_NAMES
from mvtrain.evaluation.evaluation import Evaluation

ALL = "all"
"""Stands for all views or all keypoints together."""

PIXEL_THRESHOLDS = (0.5, 1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50)
SHARE_THRESHOLDS = tuple(round(0.01 * step, 2) for step in (*range(31), 40, 50))


def error_table(evaluation: Evaluation) -> pd.DataFrame:
    """Errors in 2D by split, view and keypoint.

    Returns:
        Columns `split`; `error`: `label` (distance to visible labels), `mean_pose` (that of the mean training pose),
        `hidden` and `hidden_truth` (distance of hidden keypoints to where labels or truth say that they are), all in px
        of the stored images, and `reprojection` (distance to the projection of the 3D point) in px of the frame;
        `view` and `keypoint`, or `all`; `count`, `mean`, `median`, `percentile_95`. Nothing to compare, no row.
    """
    errors = {
        "label": evaluation.pixel_error,
        "mean_pose": evaluation.mean_pose_error,
        "hidden": evaluation.hidden_error,
        "hidden_truth": evaluation.hidden_truth_error,
        "reprojection": evaluation.reprojection_error,
    }
    rows = [
        {"split": split, "error": kind, "view": view, "keypoint": keypoint} | statistics(found)
        for kind, values in errors.items()
        if values is not None
        for split, part in _by_split(evaluation, values)
        for view, of_view in _by_name(part, 1, evaluation.view_names)
        for keypoint, found in _by_name(of_view, 2, evaluation.keypoint_names)
    ]
    return _table(rows, ("split", "error", "view", "keypoint", *statistics(np.zeros(1))))


def error_3d_table(evaluation: Evaluation) -> pd.DataFrame:
    """Errors in 3D by split and keypoint.

    Returns:
        Columns `split`; `against`: `labels` (triangulated) or `truth`; `keypoint`, or `all`; `known`, how many places
        are known; `count`, how many of them were also predicted, which those without two agreeing views are not;
        `mean`, `median`, `percentile_95` in the calibration's unit. Nothing to compare, no row.
    """
    pairs = {"labels": (evaluation.error_3d, evaluation.labels_3d)}
    if evaluation.truth_error_3d is not None and evaluation.truth_3d is not None:
        pairs["truth"] = (evaluation.truth_error_3d, evaluation.truth_3d)
    rows = []
    for against, (errors, places) in pairs.items():
        known = np.isfinite(places).all(-1)
        for split, part in _by_split(evaluation, np.stack([errors, known], axis=-1)):
            for keypoint, found in _by_name(part, 1, evaluation.keypoint_names):
                figures = {"known": int(found[..., 1].sum())} | statistics(found[..., 0])
                rows.append({"split": split, "against": against, "keypoint": keypoint} | figures)
    return _table(rows, ("split", "against", "keypoint", "known", *statistics(np.zeros(1))))


def pck_table(evaluation: Evaluation) -> pd.DataFrame:
    """Percentage of correct keypoints (PCK): the share of visible labels with a prediction within a distance.

    Returns:
        Columns `split`; `view` and `keypoint`, at least one of which is `all`; `unit`: `px` of the stored images, or
        `share` of the subject's size in the view; `threshold`; `count`, `pck` from 0 to 1.
    """
    relative = evaluation.pixel_error / evaluation.subject_size[:, None]
    rows = []
    for unit, values, thresholds in (
        ("px", evaluation.pixel_error, PIXEL_THRESHOLDS),
        ("share", relative, SHARE_THRESHOLDS),
    ):
        for split, part in _by_split(evaluation, values):
            parts = [(view, ALL, found) for view, found in _by_name(part, 1, evaluation.view_names)]
            parts += [(ALL, name, found) for name, found in _by_name(part, 2, evaluation.keypoint_names) if name != ALL]
            for view, keypoint, found in parts:
                known = found[np.isfinite(found)]
                head = {"split": split, "view": view, "keypoint": keypoint, "unit": unit}
                rows += [
                    head | {"threshold": threshold, "count": len(known), "pck": float((known <= threshold).mean())}
                    for threshold in thresholds
                    if len(known)
                ]
    return _table(rows, ("split", "view", "keypoint", "unit", "threshold", "count", "pck"))


def statistics(errors: np.ndarray) -> dict[str, float]:
    """Count, mean, median and 95th percentile of errors of any shape; NaN is missing."""
    known = errors[np.isfinite(errors)]
    if len(known) == 0:
        return {"count": 0, "mean": np.nan, "median": np.nan, "percentile_95": np.nan}
    return {
        "count": len(known),
        "mean": float(known.mean()),
        "median": float(np.median(known)),
        "percentile_95": float(np.percentile(known, 95)),
    }


def _table(rows: Sequence[Mapping[str, object]], columns: tuple[str, ...]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=list(columns))
    return table[table["count"] > 0].reset_index(drop=True)


def _by_split(evaluation: Evaluation, values: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The moments of each split that has any."""
    for split in SET_NAMES:
        rows = evaluation.split == split
        if rows.any():
            yield split, values[rows]


def _by_name(values: np.ndarray, axis: int, names: tuple[str, ...]) -> Iterator[tuple[str, np.ndarray]]:
    """Each position along an axis (which stays, with length 1), then all of it."""
    for number, name in enumerate(names):
        yield name, np.take(values, [number], axis=axis)
    yield ALL, values
