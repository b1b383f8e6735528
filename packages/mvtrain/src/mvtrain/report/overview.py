"""Head of the report: errors of the run on cards, and facts about the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from mvgeom.wording import counted
from mvtrain.evaluation.error_tables import ALL, VISIBLE, statistics
from mvtrain.evaluation.evaluation import Evaluation, describe_unlearned, held_out_split
from mvtrain.evaluation.fits_to_labels import calibration_errors
from mvtrain.model.run_folder import Run
from mvtrain.project.project import Project
from mvtrain.project.splits import SPLIT_NAMES
from mvtrain.report.html import Card, head_html, number, significant

_UNKNOWN = "unknown: the run folder has no run.yaml"
_SHOWN_SESSIONS = 6
_PCK_SHARE = 0.1
"""Usual distance within which a keypoint counts as correct, as a share of the subject's size."""


def overview_html(
    run: Run,
    project: Project,
    evaluation: Evaluation,
    tables: Mapping[str, pd.DataFrame],
    *,
    info: list[dict[str, Any]],
    metrics: pd.DataFrame | None,
    share: float,
) -> Markup:
    """Render the name of the run, cards with its errors, and facts about it.

    Args:
        run: Run of the report.
        project: Project that the run was evaluated on.
        evaluation: Evaluation of the run on the project.
        tables: Tables `pck` and `calibration` of the evaluation.
        info: Entries from `learning_curves.read_run_info`.
        metrics: Table from `learning_curves.read_metrics`.
        share: Distance that likelihoods refer to, as a share of the subject's size.
    """
    return head_html(
        run.folder.resolve().name,
        _cards(evaluation, tables, share),
        _facts(run, project, evaluation, info, metrics),
    )


def _cards(evaluation: Evaluation, tables: Mapping[str, pd.DataFrame], share: float) -> list[Card]:
    split = held_out_split(evaluation)
    rows = evaluation.split == split
    error = statistics(evaluation.pixel_error[rows])
    baseline = statistics(evaluation.mean_pose_error[rows])["mean"]
    cards = [
        Card(
            anchor="card-error",
            title=f"error, {split} split",
            value=f"{number(error['median'])} px",
            detail=f"median; mean {number(error['mean'])}, 95\u00a0% {number(error['percentile_95'])} px",
        )
    ]
    occluded = statistics(evaluation.occluded_error[rows])
    if occluded["count"]:
        cards.append(
            Card(
                anchor="card-occluded",
                title=f"error of occluded keypoints, {split} split",
                value=f"{number(occluded['median'])} px",
                detail=f"median; mean {number(occluded['mean'])}, 95\u00a0% {number(occluded['percentile_95'])} px",
            )
        )
    if np.isfinite(baseline) and error["mean"] > 0:
        cards.append(
            Card(
                anchor="card-baseline",
                title="better than the mean pose",
                value=f"{baseline / error['mean']:.1f} times",
                detail=f"its mean error: {baseline:.2f} px",
            )
        )
    if np.isfinite(evaluation.error_3d[rows]).any():
        errors_3d, against = evaluation.error_3d, "triangulated labels"
        if evaluation.truth_error_3d is not None:
            errors_3d, against = evaluation.truth_error_3d, "the truth"
        found = statistics(errors_3d[rows])
        worst = significant(found["percentile_95"])
        cards.append(
            Card(
                anchor="card-error-3d",
                title=f"3D error, {split} split",
                value=significant(found["median"]),
                detail=f"median to {against}, in the calibration's unit; 95\u00a0% {worst}",
            )
        )
        consistency = statistics(evaluation.reprojection_error[rows])
        cards.append(
            Card(
                anchor="card-reprojection",
                title=f"reprojection error, {split} split",
                value=f"{number(consistency['median'])} px",
                detail=f"median; 95\u00a0% {number(consistency['percentile_95'])} px",
            )
        )
    return [*cards, *_cards_of_tables(tables, split, share)]


def _cards_of_tables(tables: Mapping[str, pd.DataFrame], split: str, share: float) -> list[Card]:
    cards = []
    pck = tables["pck"]
    pck = pck[pck["visibility"] == VISIBLE]
    chosen = pck[(pck[["view", "keypoint"]] == ALL).all(axis=1) & (pck["split"] == split) & (pck["unit"] == "share")]
    found = chosen[chosen["threshold"] == _PCK_SHARE]["pck"]
    if len(found):
        cards.append(
            Card(
                anchor="card-pck",
                title=f"found, {split} split",
                value=f"{100 * found.iloc[0]:.1f} %",
                detail=f"of visible labels within {100 * _PCK_SHARE:g} % of the subject's size",
            )
        )
    summary = calibration_errors(tables["calibration"])
    summary = summary[(summary["split"] == split) & (summary["points"] == ALL)]
    if len(summary):
        last = summary.iloc[-1]  # the calibrated likelihood where there is one
        detail = f"mean difference between likelihood and share found within {100 * share:.3g} %, {last['confidence']}"
        cards.append(
            Card(
                anchor="card-likelihood",
                title="likelihood is off by",
                value=number(last["calibration_error"], 3),
                detail=detail,
            )
        )
    return cards


def _facts(
    run: Run,
    project: Project,
    evaluation: Evaluation,
    info: list[dict[str, Any]],
    metrics: pd.DataFrame | None,
) -> dict[str, str]:
    counts = {name: int((evaluation.split == name).sum()) for name in SPLIT_NAMES}
    width, height = run.spec.image_size
    sessions = list(dict.fromkeys(evaluation.sessions))
    more = f" and {len(sessions) - _SHOWN_SESSIONS} more" if len(sessions) > _SHOWN_SESSIONS else ""
    calibrated = sum(cameras is not None for cameras in project.cameras)
    unlearned = describe_unlearned(evaluation, run.spec.heatmap_size, run.config.model.heatmap_loss_type)
    length = (
        ""
        if metrics is None or metrics.empty
        else f", {counted(metrics['epoch'].max(), 'epoch', spec='g')}, "
        f"{counted(metrics['step'].max(), 'step', spec='g')}"
    )
    return {
        "run folder": str(run.folder.resolve()),
        "project": str(project.root),
        "frames": ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        + f" (split: {run.config.data.split}), {calibrated} of {len(project)} calibrated",
        "sessions": ", ".join(sessions[:_SHOWN_SESSIONS]) + more,
        "views": ", ".join(project.view_names),
        "keypoints": f"{len(project.keypoint_names)}: {', '.join(project.keypoint_names)}",
        "model": f"{run.spec.backbone}, {run.spec.attention} attention, input {width}x{height} px, "
        f"checkpoint {run.checkpoint.name} ({run.checksum[:12]}){length}",
        **_conditions(info),
        **({"not learned": "; ".join(unlearned)} if unlearned else {}),
    }


def _conditions(info: list[dict[str, Any]]) -> dict[str, str]:
    if not info:
        return {"trained": _UNKNOWN}
    first, packages = info[0], info[0].get("packages") or {}
    hardware = first.get("hardware") or {}
    resumed = f", resumed {counted(len(info) - 1, 'time')}" if len(info) > 1 else ""
    device = hardware.get("device", "an unknown device")
    versions = (f"{name} {packages[name]}" for name in ("mvtrain", "torch", "timm") if name in packages)
    return {
        "trained": f"{_time(first.get('started', 'at an unknown time'))}{resumed}, on {device}",
        "git revision": str(first.get("git") or "none: not run from a checkout"),
        "command": str(first.get("command", "unknown")),
        "versions": ", ".join(versions) or "unknown",
    }


def _time(started: object) -> str:
    """Format a time of `run.yaml` for readers."""
    return str(started).replace("T", " ").replace("+00:00", " UTC")
