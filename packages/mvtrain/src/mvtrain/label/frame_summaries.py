"""Summaries of frames for the page's list: how much is labeled, and the work that is left."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mvtrain.label.attention import work_left
from mvtrain.label.page_json import Json
from mvtrain.label.prelabels import Prelabels
from mvtrain.label.store import ABSENT, LabelStore

_BLOCK = 100
"""Frames whose views are compared together; the geometry of all frames of a large project fits in no memory."""


def summarize_frames(
    store: LabelStore, prelabels: Prelabels | None, frames: Sequence[int], *, threshold: float
) -> list[Json]:
    """Return name, session, work and counts of some frames.

    Args:
        store: Labels.
        prelabels: Predictions; None if there are none.
        frames: Rows of the project.
        threshold: Reprojection error in px of the stored image beyond which views disagree.
    """
    summaries: list[Json] = []
    for first in range(0, len(frames), _BLOCK):
        block = frames[first : first + _BLOCK]
        work, disagrees = work_left(store, prelabels, block, threshold=threshold)
        summaries += [
            _summary(store, frame, float(left), bool(marked))
            for frame, left, marked in zip(block, work, disagrees, strict=True)
        ]
    return summaries


def _summary(store: LabelStore, frame: int, left: float, marked: bool) -> Json:
    present = [name is not None for name in store.project.image_names[frame]]
    return {
        "name": store.frame_names[frame],
        "session": store.project.sessions[frame],
        "work": round(left, 3),
        "disagrees": marked,
        "labeled": int(np.sum((store.visible[frame] > 0) | (store.origins[frame] == ABSENT))),
        "total": sum(present) * len(store.project.keypoint_names),
        "unsaved": bool(store.unsaved(frame).any()),
    }
