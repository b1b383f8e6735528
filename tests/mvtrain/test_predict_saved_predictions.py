"""Files of `mvtrain predict`, found and read back, and the errors of damaged ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from helpers.errors import raises_input
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
def test_written_predictions_are_read(tmp_path_factory: pytest.TempPathFactory, values: np.ndarray) -> None:
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
    with raises_input("missing-file", path=folder):
        find_predictions(folder)
    named = find_predictions(folder, VIEWS)
    assert [(files.session, list(files.tables)) for files in named] == [("mouse", [*VIEWS]), ("rat", [*VIEWS])]
    assert named[0].tables["far_top"].name == "mouse_far_top.csv"


def test_frame_rate_is_that_of_a_video_that_exists(tmp_path: Path) -> None:
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
    ("damage", "name", "code", "facts"),
    [
        (lambda folder: (folder / "mouse_top.csv").unlink(), "mouse_top.csv", "missing-file", {}),
        (
            lambda folder: (folder / "mouse_prediction.json").write_text("{"),
            "mouse_prediction.json",
            "damaged-file",
            {},
        ),
        (
            lambda folder: (folder / "mouse_prediction.json").write_text("[1]"),
            "mouse_prediction.json",
            "damaged-file",
            {},
        ),
        (
            lambda folder: replace_in(folder / "mouse_top.csv", "tail", "ear"),
            "mouse_far_top.csv",
            "keypoints-differ",
            {"found": ("nose", "tail"), "expected": ("nose", "ear")},
        ),
        (
            lambda folder: replace_in(folder / "mouse_top.csv", "\n1,", "\n7,"),
            "mouse_top.csv",
            "bad-field",
            {"found": "7", "expected": "1"},
        ),
        (
            lambda folder: replace_in(folder / "mouse_top.csv", "likelihood", "score"),
            "mouse_top.csv",
            "missing-column",
            {"column": "likelihood"},
        ),
        (lambda folder: (folder / "mouse_3d.csv").write_text("a\nb\nc\n0\n"), "mouse_3d.csv", "damaged-file", {}),
        (
            lambda folder: (folder / "mouse_3d.csv").write_text("s,s\nb,nose\nc,x\n0,1\n"),
            "mouse_3d.csv",
            "tables-differ",
            {},
        ),
    ],
)
def test_damaged_predictions(tmp_path: Path, damage, name: str, code: str, facts: dict[str, object]) -> None:
    folder = write(tmp_path)
    damage(folder)
    with raises_input(code, path=folder / name, **facts):
        [load_predictions(files) for files in find_predictions(folder)]


def test_sources_without_predictions(tmp_path: Path) -> None:
    with raises_input("missing-file", path=tmp_path / "none"):
        find_predictions(tmp_path / "none")
    with raises_input("missing-file", path=tmp_path):
        find_predictions(tmp_path, VIEWS)
    write(tmp_path)
    (tmp_path / "mouse_prediction.json").unlink()
    (tmp_path / "mouse_top.csv").unlink()
    with raises_input("missing-view", path=tmp_path, session="mouse", view="top"):
        find_predictions(tmp_path, VIEWS)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"session": "a", "views": 3}'])
def test_the_cause_of_a_damaged_summary_is_reported_in_words(tmp_path: Path, text: str) -> None:
    path = write(tmp_path) / "mouse_prediction.json"
    path.write_text(text)
    with raises_input("damaged-file", path=path) as caught:
        find_predictions(tmp_path)
    assert "Error(" not in str(caught.value)
    assert str(caught.value).count(str(path)) == 1
