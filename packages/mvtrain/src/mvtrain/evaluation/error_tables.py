"""Tables of an evaluation: errors by split, view and keypoint, and percentages of correct keypoints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.special import ndtri

from mvtrain.evaluation.evaluation import Evaluation
from mvtrain.project.held_out import EVALUATED_SPLITS

ALL = "all"
"""Name for all views or all keypoints together."""

VISIBLE, OCCLUDED = "visible", "occluded"
"""Values of the column `visibility`."""

_VISIBILITY_OF = {
    "label": VISIBLE,
    "mean_pose": VISIBLE,
    "hidden": OCCLUDED,
    "hidden_truth": OCCLUDED,
    "reprojection": ALL,
    "occluded": OCCLUDED,
    "mean_pose_occluded": OCCLUDED,
}
"""Visibility of the keypoints of each `error`. New ones come last, so that existing rows keep their place."""

_BASELINE_OF = {"label": "mean_pose", "occluded": "mean_pose_occluded"}
"""Name of an `error` of predictions to that of the mean pose for the same keypoints."""

PIXEL_THRESHOLDS = (0.5, 1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50)
"""Distances in crop px within which a keypoint counts as correct."""

SHARE_THRESHOLDS = tuple(round(0.01 * step, 2) for step in (*range(31), 40, 50))
"""Distances as share of the subject's size within which a keypoint counts as correct."""


def error_table(evaluation: Evaluation) -> pd.DataFrame:
    """Make the table of errors in 2D by split, view and keypoint.

    Returns:
        Columns `split`; `error`: `label` (distance to visible labels), `mean_pose` (that of the mean training pose),
        `hidden` and `hidden_truth` (distance of hidden keypoints to their place by labels or truth),
        `occluded` and `mean_pose_occluded` (as the first two, of occluded keypoints), all in crop px, and
        `reprojection` (distance to the projection of the 3D point) in full-image px; `view` and `keypoint`, or
        `all`; `count`, `mean`, `median`, `percentile_95`; `visibility`: `visible`, `occluded` or `all`, the keypoints
        that count. There is no row without anything to compare.
    """
    errors = {
        "label": evaluation.pixel_error,
        "mean_pose": evaluation.mean_pose_error,
        "hidden": evaluation.hidden_error,
        "hidden_truth": evaluation.hidden_truth_error,
        "reprojection": evaluation.reprojection_error,
        "occluded": evaluation.occluded_error,
        "mean_pose_occluded": evaluation.occluded_mean_pose_error,
    }
    rows = [
        {"split": split, "error": kind, "view": view, "keypoint": keypoint}
        | statistics(found)
        | {"visibility": _VISIBILITY_OF[kind]}
        for kind, values in errors.items()
        if values is not None
        for split, part in _by_split(evaluation, values)
        for view, of_view in _by_name(part, 1, evaluation.view_names)
        for keypoint, found in _by_name(of_view, 2, evaluation.keypoint_names)
    ]
    return _table(rows, ("split", "error", "view", "keypoint", *statistics(np.zeros(1)), "visibility"))


def join_tables(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Join tables of one kind, such as those of a project's own frames and of its held-out ones, in this order."""
    found = list(tables)
    return pd.concat([table for table in found if len(table)] or found[:1], ignore_index=True)


def errors_by_view(errors: pd.DataFrame) -> pd.DataFrame:
    """Select the errors of all keypoints together: of each split and view the visible ones, then the occluded ones.

    Args:
        errors: Table from `error_table`.

    Returns:
        Columns `split`, `view`, `visibility` (`visible` or `occluded`), `count`, `mean`, `median`, `percentile_95`,
        `mean_pose`: the mean error of the mean pose, NaN without.
    """
    overall = errors[errors["keypoint"] == ALL]
    means = overall.set_index(["split", "view", "error"])["mean"].to_dict()
    chosen = in_view_order(overall[overall["error"].isin(list(_BASELINE_OF))])
    keys = zip(chosen["split"], chosen["view"], chosen["error"].map(_BASELINE_OF), strict=True)
    columns = ["split", "view", "visibility", "count", "mean", "median", "percentile_95"]
    return chosen[columns].assign(mean_pose=[means.get(key, np.nan) for key in keys])


def in_view_order(table: pd.DataFrame) -> pd.DataFrame:
    """Sort rows by split and view in their order of appearance, `all` last, and visible before occluded."""
    splits = list(dict.fromkeys(table["split"]))
    views = [name for name in dict.fromkeys(table["view"]) if name != ALL]
    ranks = (
        table["visibility"].map([VISIBLE, OCCLUDED].index),
        table["view"].map([*views, ALL].index),
        table["split"].map(splits.index),
    )
    return table.iloc[np.lexsort(ranks)].reset_index(drop=True)


def error_3d_table(evaluation: Evaluation) -> pd.DataFrame:
    """Make the table of errors in 3D by split and keypoint.

    Returns:
        Columns `split`; `against`: `labels` (triangulated) or `truth`; `keypoint`, or `all`; `known`, the number of
        known places; `count`, the number of them with a prediction, which needs two agreeing views; `mean`, `median`,
        `percentile_95` in world units; `coverage_50`, `coverage_80`, `coverage_90`, `coverage_99`: share of the
        coordinates whose interval of this probability, by the stated standard deviation, holds the place. There is no
        row without anything to compare.
    """
    pairs = {"labels": (evaluation.error_3d, evaluation.labels_3d)}
    if evaluation.truth_error_3d is not None and evaluation.truth_3d is not None:
        pairs["truth"] = (evaluation.truth_error_3d, evaluation.truth_3d)
    rows = []
    for against, (errors, places) in pairs.items():
        known = np.isfinite(places).all(-1)
        deviations = np.abs(evaluation.points_3d - places) / evaluation.std_3d
        for split, part in _by_split(evaluation, np.concatenate([np.stack([errors, known], -1), deviations], axis=-1)):
            for keypoint, found in _by_name(part, 1, evaluation.keypoint_names):
                figures = {"known": int(found[..., 1].sum())} | statistics(found[..., 0]) | _coverage(found[..., 2:])
                rows.append({"split": split, "against": against, "keypoint": keypoint} | figures)
    names = (*statistics(np.zeros(1)), *_coverage(np.zeros(1)))
    return _table(rows, ("split", "against", "keypoint", "known", *names))


def _coverage(deviations: np.ndarray) -> dict[str, float]:
    """Compute the shares of intervals that hold the truth, of deviations in standard deviations; NaN is missing."""
    known = deviations[np.isfinite(deviations)]
    return {
        f"coverage_{level}": float((known <= ndtri(0.5 + level / 200)).mean()) if len(known) else np.nan
        for level in (50, 80, 90, 99)
    }


def pck_table(evaluation: Evaluation) -> pd.DataFrame:
    """Make the table of percentages of correct keypoints (PCK): shares with a prediction within a distance.

    Returns:
        Columns `split`; `view` and `keypoint`, at least one of which is `all`; `unit`: `px` for crop px, or
        `share` of the subject's size in the view; `threshold`; `count`, `pck` from 0 to 1; `visibility`: `visible`, or
        `occluded` in the rows after all visible ones.
    """
    rows = []
    for visibility, errors in ((VISIBLE, evaluation.pixel_error), (OCCLUDED, evaluation.occluded_error)):
        relative = errors / evaluation.subject_size[:, None]
        for unit, values, thresholds in (("px", errors, PIXEL_THRESHOLDS), ("share", relative, SHARE_THRESHOLDS)):
            for split, view, keypoint, found in _by_view_or_keypoint(evaluation, values):
                known = found[np.isfinite(found)]
                head = {"split": split, "view": view, "keypoint": keypoint, "unit": unit}
                rows += [
                    head
                    | {"threshold": threshold, "count": len(known), "pck": float((known <= threshold).mean())}
                    | {"visibility": visibility}
                    for threshold in thresholds
                    if len(known)
                ]
    return _table(rows, ("split", "view", "keypoint", "unit", "threshold", "count", "pck", "visibility"))


def statistics(errors: np.ndarray) -> dict[str, float]:
    """Compute count, mean, median and 95th percentile of errors of any shape; NaN is missing."""
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
    """Yield the frames of each split that has any."""
    for split in EVALUATED_SPLITS:
        rows = evaluation.split == split
        if rows.any():
            yield split, values[rows]


def _by_view_or_keypoint(evaluation: Evaluation, values: np.ndarray) -> Iterator[tuple[str, str, str, np.ndarray]]:
    """Yield split, view, keypoint and values: each view of all keypoints, all of both, each keypoint of all views."""
    for split, part in _by_split(evaluation, values):
        for view, found in _by_name(part, 1, evaluation.view_names):
            yield split, view, ALL, found
        for keypoint, found in _by_name(part, 2, evaluation.keypoint_names):
            if keypoint != ALL:
                yield split, ALL, keypoint, found


def _by_name(values: np.ndarray, axis: int, names: tuple[str, ...]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each position along an axis (which stays, with length 1), then all of it."""
    for number, name in enumerate(names):
        yield name, np.take(values, [number], axis=axis)
    yield ALL, values
