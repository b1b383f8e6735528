"""Tables of keypoints read in blocks of rows: the same rows, and the same errors, as when read at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers.errors import raises_input
from mvgeom.tables import read_keypoint_blocks, read_keypoints


def write_table(path: Path, length: int, wrong: int | None = None, delimiter: str = ",") -> Path:
    lines = ["scorer,net,net,net", "bodyparts,nose,nose,nose", "coords,x,y,likelihood"]
    for row in range(length):
        cells = ",," if row % 5 == 3 else f"{row}.5,{2 * row}.25,0.9"
        lines.append(f"{row},{'oops,1,0.5' if row == wrong else cells}")
    path.write_text("\n".join(lines).replace(",", delimiter) + "\n")
    return path


@pytest.mark.parametrize("delimiter", [",", ";"])
@pytest.mark.parametrize("length", [1, 4, 9, 100])
def test_blocks_are_the_rows_of_the_table(length: int, delimiter: str, tmp_path: Path) -> None:
    path = write_table(tmp_path / "table.csv", 9, delimiter=delimiter)
    whole, blocks = read_keypoints(path), list(read_keypoint_blocks(path, length))
    assert len(blocks) == (-(-9 // length) if delimiter == "," else 1)
    assert sum((block.rows for block in blocks), ()) == whole.rows
    np.testing.assert_array_equal(np.concatenate([block.points for block in blocks]), whole.points)
    np.testing.assert_array_equal(np.concatenate([block.likelihood for block in blocks]), whole.likelihood)  # type: ignore[misc]


def test_a_fault_is_named_by_its_line_in_the_file(tmp_path: Path) -> None:
    path = write_table(tmp_path / "table.csv", 9, wrong=7)
    for length in (2, 9):
        with raises_input("bad-number", path=path, line=11):
            list(read_keypoint_blocks(path, length))
