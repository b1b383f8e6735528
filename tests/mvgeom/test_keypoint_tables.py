"""2D keypoint tables in, 3D table out."""

from dataclasses import replace
from pathlib import Path

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings

from helpers.errors import Expectation, raises_input
from mvgeom.reconstruction import Reconstruction
from mvgeom.tables import (
    COORDS_3D,
    covariance_from_columns,
    covariance_to_columns,
    read_keypoints,
    stack_views,
    write_points_3d,
    write_view_points,
)

SHARED = Path(__file__).parents[2].parent / "shared"

LABELS = """scorer,me,me,me,me
bodyparts,nose,nose,tail,tail
coords,x,y,x,y
labeled-data/s_top/img1.png,1.5,2.5,,
labeled-data/s_top/img2.png,3,4,5,6
"""
PREDICTIONS = """scorer,net,net,net,net,net,net,set
bodyparts,nose,nose,nose,tail,tail,tail,
coords,x,y,likelihood,x,y,likelihood,
0,1,2,0.9,3,4,0.1,train
1,5,6,0.8,7,8,0.7,test
"""


def write(folder: Path, text: str, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_labels(tmp_path: Path) -> None:
    table = read_keypoints(write(tmp_path, LABELS))
    assert table.keypoint_names == ("nose", "tail")
    assert table.rows == ("labeled-data/s_top/img1.png", "labeled-data/s_top/img2.png")
    np.testing.assert_array_equal(table.points, [[[1.5, 2.5], [np.nan, np.nan]], [[3, 4], [5, 6]]])
    assert table.likelihood is None


def test_predictions_with_a_last_column_of_sets(tmp_path: Path) -> None:
    table = read_keypoints(write(tmp_path, PREDICTIONS))
    assert table.rows == ("0", "1")
    assert table.likelihood is not None
    np.testing.assert_array_equal(table.likelihood, [[0.9, 0.1], [0.8, 0.7]])
    np.testing.assert_array_equal(table.points[:, 1], [[3, 4], [7, 8]])


def test_tables_written_by_pandas_with_other_coords(tmp_path: Path) -> None:
    columns = pd.MultiIndex.from_product(
        [["eks"], ["nose"], ["x", "y", "likelihood", "x_var"]], names=["scorer", "bodyparts", "coords"]
    )
    pd.DataFrame([[1, 2, 0.5, 9.0]], columns=columns).to_csv(tmp_path / "eks.csv")
    table = read_keypoints(tmp_path / "eks.csv")
    np.testing.assert_array_equal(table.points, [[[1, 2]]])


def test_labels_that_are_not_visible_are_missing(tmp_path: Path) -> None:
    text = "scorer,m,m,m\nbodyparts,a,a,a\ncoords,x,y,visible\ni1,1,2,0\ni2,1,2,1\ni3,1,2,2\n"
    points = read_keypoints(write(tmp_path, text)).points
    assert np.isnan(points[:2]).all()
    np.testing.assert_array_equal(points[2, 0], [1, 2])


@pytest.mark.parametrize("coord", ["visible", "likelihood"])
def test_a_column_that_only_some_keypoints_have(coord: str, tmp_path: Path) -> None:
    text = f"scorer,m,m,m,m,m\nbodyparts,a,a,a,b,b\ncoords,x,y,{coord},x,y\n0,1,2,2,3,4\n"
    with raises_input("missing-column", path="table.csv", keypoint="b", column=coord):
        read_keypoints(write(tmp_path, text))


@pytest.mark.skipif(not SHARED.exists(), reason=f"{SHARED} is absent")
def test_real_label_tables() -> None:
    folder = SHARED / "data" / "human4"
    tables = {view: read_keypoints(folder / f"CollectedData_{view}.csv") for view in ("cam1", "cam2", "cam3", "cam4")}
    stack = stack_views(tables)
    assert stack.points.shape == (100, 4, 19, 2)
    assert stack.likelihood is None
    np.testing.assert_array_equal(stack.points[0, 0, 0], [172.956, 42.760])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b\n1,2\n", raises_input("bad-header", path="table.csv")),
        ("", raises_input("empty-file", path="table.csv")),
        (
            "scorer,m,m,m,m\nindividuals,i,i,j,j\nbodyparts,a,a,a,a\ncoords,x,y,x,y\n0,1,2,3,4\n",
            raises_input("several-individuals", found=("i", "j"), path="table.csv"),
        ),
        ("scorer,m,m,m\nbodyparts,a,a,a\ncoords,x,y,z\n0,1,2,3\n", raises_input("unsupported-file", path="table.csv")),
        ("scorer,m\nbodyparts,a,a\ncoords,x,y\n", raises_input("bad-header", path="table.csv")),
        ("scorer,m,m\nbodyparts,a,a\ncoords,x,x\n0,1,2\n", raises_input("duplicate-name", name="a", path="table.csv")),
        ("scorer,m,m\nbodyparts,a,b\ncoords,x,y\n0,1,2\n", raises_input("missing-column", path="table.csv")),
        ("scorer,m,m\nbodyparts,a,a\ncoords,u,v\n0,1,2\n", raises_input("missing-column", path="table.csv")),
        ("scorer,m,m\nbodyparts,a,a\ncoords,x,y\n", raises_input("empty-file", path="table.csv")),
        (
            "scorer,m,m\nbodyparts,a,a\ncoords,x,y\n0,1,2\n1,x,2\n",
            raises_input("bad-number", line=5, column="a x", path="table.csv"),
        ),
        (
            "scorer,m,m\nbodyparts,a,a\ncoords,x,y\n0,1,2\n1,inf,2\n",
            raises_input("bad-number", line=5, column="a x", path="table.csv"),
        ),
        ("scorer,m,m\nbodyparts,a,a\ncoords,x,y\n0,1,\n", raises_input("empty-cell", line=4, path="table.csv")),
        ("scorer,m,m\nbodyparts,a,a\ncoords,x,y\n0,1,2\n0,1,2,3\n", raises_input("invalid-syntax", path="table.csv")),
        (
            "scorer,m,m\nbodyparts,a,a\ncoords,x,y\n0,1,2,3\n",
            raises_input("wrong-count", found=4, expected=3, path="table.csv"),
        ),
    ],
)
def test_mistakes_are_named(text: str, expected: Expectation, tmp_path: Path) -> None:
    with expected:
        read_keypoints(write(tmp_path, text))


def test_missing_file(tmp_path: Path) -> None:
    with raises_input("unreadable-file", path="nothing.csv"):
        read_keypoints(tmp_path / "nothing.csv")


def test_views_must_be_the_same_frames(tmp_path: Path) -> None:
    top = read_keypoints(write(tmp_path, LABELS))
    side = read_keypoints(write(tmp_path, LABELS.replace("s_top", "s_side"), "side.csv"))
    assert stack_views({"top": top, "side": side}).points.shape == (2, 2, 2, 2)
    late = read_keypoints(write(tmp_path, LABELS.replace("img2", "img3"), "late.csv"))
    with raises_input("tables-differ", view="late", line=5, path="late.csv"):
        stack_views({"top": top, "late": late})
    short = read_keypoints(write(tmp_path, "\n".join(LABELS.splitlines()[:-1]), "short.csv"))
    with raises_input("tables-differ", view="short", path="short.csv"):
        stack_views({"top": top, "short": short})
    renamed = read_keypoints(write(tmp_path, LABELS.replace("tail", "paw"), "renamed.csv"))
    with raises_input("tables-differ", view="r", path="renamed.csv"):
        stack_views({"top": top, "r": renamed})
    swapped = LABELS.replace("nose,nose,tail,tail", "tail,tail,nose,nose")
    with raises_input("tables-differ", view="r", path="swapped.csv"):
        stack_views({"top": top, "r": read_keypoints(write(tmp_path, swapped, "swapped.csv"))})


@pytest.mark.parametrize("column", ["confidence", "Score"])
def test_likelihoods_of_another_name_are_not_ignored_in_silence(tmp_path: Path, column: str) -> None:
    path = tmp_path / "top.csv"
    header = "scorer,n,n,n\nbodyparts,a,a,a\ncoords,x,y,{}\n0,1,2,0.1\n"
    path.write_text(header.format(column))
    with pytest.warns(UserWarning, match=column.lower()):
        assert read_keypoints(path).likelihood is None
    path.write_text(header.format("likelihood"))
    assert read_keypoints(path).likelihood == [[0.1]]


def test_views_without_likelihood_count_as_certain(tmp_path: Path) -> None:
    with_likelihood = read_keypoints(write(tmp_path, PREDICTIONS))
    text = "scorer,m,m,m,m\nbodyparts,nose,nose,tail,tail\ncoords,x,y,x,y\n0,1,2,3,4\n1,1,2,3,4\n"
    stack = stack_views({"a": with_likelihood, "b": read_keypoints(write(tmp_path, text, "b.csv"))})
    assert stack.likelihood is not None
    np.testing.assert_array_equal(stack.likelihood[:, 1], 1)


@settings(max_examples=25, deadline=None)
@given(points=hnp.arrays(np.float64, (3, 2, 3), elements=st.floats(-1e4, 1e4)), missing=st.integers(0, 5))
def test_3d_table_comes_back(points: np.ndarray, missing: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("table") / "out.csv"
    points = points.copy()
    points.reshape(6, 3)[missing] = np.nan
    error = np.where(np.isnan(points[..., 0]), np.nan, 1.25)
    views = np.where(np.isnan(error), 0, 3)
    whole = Reconstruction(
        points=points, std=np.abs(points) / 10, error=error, num_views=views, noise=1.0, threshold=np.inf
    )
    arrays = ("points", "std", "error", "num_views")
    blocks = [
        (rows, replace(whole, **{name: getattr(whole, name)[part] for name in arrays}))
        for rows, part in ((["a", "b"], slice(0, 2)), (["c"], slice(2, 3)))
    ]
    write_points_3d(path, ["nose", "tail"], [(["a", "b", "c"], whole)])
    in_one = path.read_bytes()
    write_points_3d(path, ["nose", "tail"], blocks)
    assert path.read_bytes() == in_one
    table = pd.read_csv(path, header=[0, 1, 2], index_col=0)
    assert list(table.index) == ["a", "b", "c"]
    assert tuple(table["mvgeom"]["tail"].columns) == COORDS_3D
    back = np.stack([table["mvgeom"][name][["x", "y", "z"]].to_numpy() for name in ("nose", "tail")], axis=1)
    np.testing.assert_allclose(back, points, rtol=1e-9, atol=1e-300)
    np.testing.assert_array_equal(table["mvgeom"]["nose"]["num_views"], views[:, 0])


@given(
    std=hnp.arrays(np.float64, (3, 2, 2), elements=st.floats(0.01, 100)),
    correlation=hnp.arrays(np.float64, (3, 2), elements=st.floats(-0.99, 0.99)),
)
@settings(max_examples=20, deadline=None)
def test_covariances_survive_a_table(
    tmp_path_factory: pytest.TempPathFactory, std: np.ndarray, correlation: np.ndarray
) -> None:
    covariance = covariance_from_columns(np.concatenate([std, correlation[..., None]], axis=-1))
    np.testing.assert_allclose(covariance_to_columns(covariance)[..., :2], std)
    covariance[1, 0] = np.nan
    path, values = tmp_path_factory.mktemp("table") / "table.csv", np.ones((3, 2))
    points = np.where(np.isfinite(covariance[..., 0]), 7.0, np.nan)
    write_view_points(path, ["0", "1", "2"], ["a", "b"], points, covariance, values, values)
    found = read_keypoints(path).covariance
    assert found is not None
    np.testing.assert_allclose(found, covariance, rtol=1e-4)


def test_covariances_that_are_none(tmp_path: Path) -> None:
    assert read_keypoints(write(tmp_path, PREDICTIONS)).covariance is None
    header = "scorer,n,n,n,n,n,n,n\nbodyparts,a,a,a,a,a,b,b\ncoords,x,y,x_std,y_std,xy_correlation,x,y\n"
    assert read_keypoints(write(tmp_path, f"{header}0,1,2,3,4,0,5,6\n")).covariance is None
    columns = np.array([[-1.0, 2.0, 0.5], [1.0, 2.0, 0.5]])
    assert np.isnan(covariance_from_columns(columns)[0]).any()
    assert np.isfinite(covariance_from_columns(columns)[1]).all()
