"""Run folders: what a killed start has left does not stop the next one."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.errors import raises_input
from mvtrain.runtime.folders import check_new_run_folder


@pytest.mark.parametrize(
    "names",
    [
        (),
        (".lock",),
        (".lock", "run.yaml"),
        ("run.yaml", "split.csv", ".config-abcdefgh.mvtmp.yaml"),
        ("ensemble_config.yaml",),
    ],
)
def test_the_beginning_of_a_killed_run_counts_as_new(names: tuple[str, ...], tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).write_text("")
    check_new_run_folder(tmp_path)


@pytest.mark.parametrize(
    "name", ["config.yaml", "ensemble.yaml", "notes.txt", ".hidden", "a.mvtmp.yaml", "metrics.csv"]
)
def test_anything_else_is_not_overwritten(name: str, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("")
    (tmp_path / name).write_text("")
    with raises_input("occupied-folder", path=tmp_path):
        check_new_run_folder(tmp_path)
