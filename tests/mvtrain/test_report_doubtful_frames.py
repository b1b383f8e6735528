"""The list of predicted frames to correct: most work first, apart in time, none that the project has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from mvtrain.label import geometry
from mvtrain.predict.saved_predictions import PredictedSession
from mvtrain.report.worst_frames import DISAGREEMENT, Doubts, find_doubts, write_worst_frames

NUM_FRAMES = 60


def doubts(
    error: dict[int, float], likelihood: dict[int, float], *, session: str = "mouse", rate: float = 10
) -> Doubts:
    """Doubts about frames whose nose in `side` has these errors and likelihoods, and 1 px and 1 elsewhere."""
    shape = (NUM_FRAMES, 2, 2)
    errors, likelihoods = np.full(shape, 1.0), np.full(shape, 1.0)
    for frame, value in error.items():
        errors[frame, 1, 0] = value
    for frame, value in likelihood.items():
        likelihoods[frame, 1, 0] = value
    predicted = PredictedSession(
        name=session,
        view_names=("top", "side"),
        keypoint_names=("nose", "tail"),
        points=np.zeros((*shape, 2)),
        likelihood=likelihoods,
        in_3d=None,
    )
    return find_doubts(predicted, errors if error else None, rate)


def test_frames_with_most_work_come_first_and_the_reason_is_named(tmp_path: Path) -> None:
    found = [doubts({5: 30.0, 40: 4.9}, {20: 0.25}), doubts({}, {7: 0.5}, session="rat")]
    assert write_worst_frames(tmp_path / "worst.csv", found, set()) == 3
    table = pd.read_csv(tmp_path / "worst.csv")
    assert table[["session", "frame", "work"]].values.tolist() == [
        ["mouse", 5, 1.0],
        ["mouse", 20, 0.75],
        ["rat", 7, 0.5],
    ]
    assert table["error"].isna().tolist() == [False, False, True]
    assert table["why"][0] == "nose in side is 30.0 px from the projection of the 3D point"
    assert table["why"][1] == "nose in side has a likelihood of 0.25"


def test_of_frames_close_in_time_only_the_worst_and_none_beside_known_ones(tmp_path: Path) -> None:
    found = doubts({}, {frame: 0.5 - frame / 100 for frame in range(20)}, rate=25)  # 0.2 s are 5 frames
    write_worst_frames(tmp_path / "worst.csv", [found], {("mouse", 18), ("rat", 10), ("mouse", None)})
    assert pd.read_csv(tmp_path / "worst.csv")["frame"].tolist() == [13, 8, 3]


def test_frames_that_a_view_does_not_have_are_left_out(tmp_path: Path) -> None:
    likelihood = np.full((4, 2, 1), 0.5)
    likelihood[2:, 1] = np.nan
    predicted = PredictedSession(
        name="s",
        view_names=("a", "b"),
        keypoint_names=("nose",),
        points=np.zeros((4, 2, 1, 2)),
        likelihood=likelihood,
        in_3d=None,
    )
    write_worst_frames(tmp_path / "worst.csv", [find_doubts(predicted, None, 1.0)], set())
    assert pd.read_csv(tmp_path / "worst.csv")["frame"].tolist() == [0, 1]


def test_the_threshold_is_that_of_the_labeling_page() -> None:
    assert DISAGREEMENT == geometry.DISAGREEMENT
