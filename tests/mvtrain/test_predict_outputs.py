"""Tables of predictions: the bytes that pandas would write, and reading them with mvgeom."""

from pathlib import Path

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings

from mvgeom.tables import read_keypoints
from mvtrain.predict.outputs import PredictionRows, write_predictions

NAMES = ["nose", "tail, tip", 'the "ear"']
INDEX = ["a/img,1.png", "nan", 'c".png', "d.png", "e.png"]
values = hnp.arrays(np.float64, (5, 3, 3), elements=st.floats(-1e5, 1e5) | st.just(np.nan))


def format_with_pandas(index: list[str], keypoints: np.ndarray, sets: list[str] | None) -> str:
    columns = pd.MultiIndex.from_tuples(
        [("mvtrain", name, coord) for name in NAMES for coord in ("x", "y", "likelihood")],
        names=["scorer", "bodyparts", "coords"],
    )
    table = pd.DataFrame(keypoints.reshape(len(index), -1), index=index, columns=columns)
    if sets is not None:
        table[("set", "", "")] = sets
    return table.to_csv(float_format="%.4f", lineterminator="\n")


@settings(max_examples=50)
@given(keypoints=values, cut=st.integers(0, 5), with_sets=st.booleans())
def test_the_bytes_are_those_of_pandas_in_any_blocks(
    keypoints: np.ndarray, cut: int, with_sets: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("tables") / "new folder" / "table.csv"
    sets = ["train", "train", "test", "validation", "test"] if with_sets else None
    blocks = [
        PredictionRows(
            index=INDEX[part],
            points=keypoints[part, :, :2],
            likelihood=keypoints[part, :, 2],
            sets=None if sets is None else sets[part],
        )
        for part in (slice(0, cut), slice(cut, 5))
    ]
    write_predictions(path, NAMES, blocks, with_sets=with_sets)
    assert path.read_text() == format_with_pandas(INDEX, keypoints, sets)


def test_mvgeom_reads_it(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    points, likelihood = random.uniform(0, 1000, (4, 2, 2)), random.random((4, 2))
    points[1], likelihood[1] = np.nan, np.nan
    write_predictions(
        tmp_path / "t.csv", ["nose", "tail"], [PredictionRows(index=range(4), points=points, likelihood=likelihood)]
    )
    table = read_keypoints(tmp_path / "t.csv")
    assert (table.rows, table.keypoint_names) == (("0", "1", "2", "3"), ("nose", "tail"))
    np.testing.assert_allclose(table.points, points, atol=5e-5)
    assert table.likelihood is not None
    np.testing.assert_allclose(table.likelihood, likelihood, atol=5e-5)
