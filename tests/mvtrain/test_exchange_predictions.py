"""What `mvtrain predict` wrote, found and read back, and what is wrong with it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from helpers.foreign import write_prediction
from helpers.videos import write_session
from mvtrain.predict.saved_predictions import find_predictions, load_predictions

VIEWS, KEYPOINTS = ("top", "far_top"), ("nose", "tail")


def write(folder: Path, num_frames: int = 3, **changes) -> Path:
    points = np.arange(num_frames * 8, dtype=np.float64).reshape(num_frames, 2, 2, 2)
    names = {"session": "mouse", "view_names": VIEWS, "keypoint_names": KEYPOINTS, **changes}
    return write_prediction(folder, points, np.full(points.shape[:-1], 0.5), **names)


@given(
    values=arrays(
        np.float64,
        st.tuples(st.integers(1, 5), st.just(2), st.just(2), st.just(3)),
        elements=st.one_of(st.just(np.nan), st.floats(-1e4, 1e4)),
    )
)
@settings(max_examples=30, deadline=None)
def test_what_was_written_is_read(tmp_path_factory: pytest.TempPathFactory, values: np.ndarray) -> None:
    values[np.isnan(values).any(axis=-1)] = np.nan
    folder = write_prediction(
        tmp_path_factory.mktemp("preds"),
        values[..., :2],
        values[..., 2],
        session="mouse_1",
        view_names=VIEWS,
        keypoint_names=KEYPOINTS,
    )
    (files,) = find_predictions(folder)
    session = load_predictions(files)
    assert (session.name, session.view_names, session.keypoint_names) == ("mouse_1", VIEWS, KEYPOINTS)
    assert session.in_3d is None
    np.testing.assert_allclose(session.points, values[..., :2], atol=1e-4)
    np.testing.assert_allclose(session.likelihood, values[..., 2], atol=1e-4)


def test_a_view_that_ends_early_is_missing_from_there_on(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "mouse_top.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    session = load_predictions(find_predictions(tmp_path)[0])
    assert np.isnan(session.points[2, 0]).all()
    assert np.isfinite(session.points[:2]).all()
    assert np.isfinite(session.points[2, 1]).all()


def test_sources(tmp_path: Path) -> None:
    folder = write(tmp_path / "run" / "video_preds")
    write(folder, session="rat")
    assert [files.session for files in find_predictions(tmp_path / "run")] == ["mouse", "rat"]
    assert [files.session for files in find_predictions(folder / "rat_prediction.json")] == ["rat"]
    for path in folder.glob("*.json"):
        path.unlink()
    with pytest.raises(ValueError, match=r"no <session>_prediction.json of mvtrain predict; for tables"):
        find_predictions(folder)
    named = find_predictions(folder, VIEWS)
    assert [(files.session, list(files.tables)) for files in named] == [("mouse", [*VIEWS]), ("rat", [*VIEWS])]
    assert named[0].tables["far_top"].name == "mouse_far_top.csv"


def test_frame_rate_is_that_of_a_video_that_is_there(tmp_path: Path) -> None:
    folder = write(tmp_path)
    assert find_predictions(folder)[0].frame_rate() is None
    write_session(tmp_path / "videos", VIEWS, [3, 3], fps=[12.5, 12.5], suffix=".mp4")
    (files,) = find_predictions(write(tmp_path, videos=tmp_path / "videos"))
    assert files.frame_rate() == 12.5


def replace_in(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "mouse_top.csv").unlink(), "names tables that are not beside it: mouse_top.csv"),
        (lambda folder: (folder / "mouse_prediction.json").write_text("{"), "is not the summary of a prediction"),
        (lambda folder: (folder / "mouse_prediction.json").write_text("[1]"), "is not the summary of a prediction"),
        (
            lambda folder: replace_in(folder / "mouse_top.csv", "tail", "ear"),
            "has the keypoints nose, tail, ",
        ),
        (lambda folder: replace_in(folder / "mouse_top.csv", "\n1,", "\n7,"), "rows must be the frames 0, 1, 2, ..."),
        (
            lambda folder: replace_in(folder / "mouse_top.csv", "likelihood", "score"),
            "mouse_top.csv: has no likelihood, so it is no table of predictions",
        ),
        (
            lambda folder: (folder / "mouse_3d.csv").write_text("a\nb\nc\n0\n"),
            "mouse_3d.csv: is no table of 3D keypoints",
        ),
        (
            lambda folder: (folder / "mouse_3d.csv").write_text("s,s\nb,nose\nc,x\n0,1\n"),
            "mouse_3d.csv: must have x, y, z, x_std, y_std, z_std, error, num_views for each of nose, tail and 3 rows",
        ),
    ],
)
def test_damaged_predictions(tmp_path: Path, damage, message: str) -> None:
    folder = write(tmp_path)
    damage(folder)
    with pytest.raises(ValueError, match=re.escape(message)):
        [load_predictions(files) for files in find_predictions(folder)]


def test_sources_that_hold_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="none does not exist"):
        find_predictions(tmp_path / "none")
    with pytest.raises(ValueError, match=re.escape("no table <session>_<view>.csv in ")):
        find_predictions(tmp_path, VIEWS)
    write(tmp_path)
    (tmp_path / "mouse_prediction.json").unlink()
    (tmp_path / "mouse_top.csv").unlink()
    with pytest.raises(ValueError, match=r"session 'mouse' in .* has no table of view top"):
        find_predictions(tmp_path, VIEWS)
