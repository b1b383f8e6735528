"""HDF5 tables of pandas: DeepLabCut's layouts are read, and the code that a pickle in them names is never run."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from helpers.errors import raises_input
from mvgeom.tables import read_keypoints, read_pandas_table

tables = pytest.importorskip("tables")


class Code:
    """Object whose pickle runs a command when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


def make_table(rows: list[Any]) -> pd.DataFrame:
    columns = pd.MultiIndex.from_product(
        [["net"], ["nose", "tail"], ["x", "y", "likelihood"]], names=["scorer", "bodyparts", "coords"]
    )
    values = np.random.default_rng(0).uniform(0, 1, (len(rows), 6))
    index = pd.MultiIndex.from_tuples(rows) if isinstance(rows[0], tuple) else pd.Index(rows)
    return pd.DataFrame(values, index=index, columns=columns)


@pytest.mark.parametrize(
    ("layout", "rows"),
    [
        ("table", [0, 1, 2]),
        ("fixed", [0, 1, 2]),
        ("table", ["labeled-data/s/a.png", "labeled-data/s/b.png"]),
        ("fixed", [("labeled-data", "s", "a.png")]),  # pandas has no layout `table` for rows of several cells
    ],
)
def test_tables_of_deeplabcut_are_read(tmp_path: Path, layout: str, rows: list[Any]) -> None:
    table = make_table(rows)
    table.to_hdf(tmp_path / "t.h5", key="df_with_missing", format=layout, mode="w")
    found = read_pandas_table(tmp_path / "t.h5")
    pd.testing.assert_frame_equal(found, table)
    np.testing.assert_array_equal(read_keypoints(tmp_path / "t.h5").points[..., 0], table.to_numpy()[:, [0, 3]])


@pytest.mark.parametrize("place", ["attribute", "values"])
def test_code_in_a_file_is_named_and_not_run(tmp_path: Path, place: str) -> None:
    path, mark = tmp_path / "t.h5", tmp_path / "ran"
    make_table([0, 1]).to_hdf(path, key="df_with_missing", format="table", mode="w")
    with tables.open_file(path, "a") as file:
        if place == "attribute":
            file.root.df_with_missing._v_attrs.info = Code(mark)
        else:
            file.remove_node("/df_with_missing", recursive=True)
    if place == "values":
        pd.Series([Code(mark)], dtype=object).to_hdf(path, key="s", mode="w")
    with raises_input("damaged-file", path="t.h5") as raised:
        read_pandas_table(path)
    assert "system" in str(raised.value)
    with raises_input("damaged-file", path="t.h5"):
        read_keypoints(path)
    assert not mark.exists()


def test_pytables_is_left_as_it_was(tmp_path: Path) -> None:
    make_table([0, 1]).to_hdf(tmp_path / "t.h5", key="k", format="table", mode="w")
    read_pandas_table(tmp_path / "t.h5")
    assert tables.attributeset.pickle is pickle
    assert tables.atom.pickle is pickle
