"""Records of an unfinished prediction: which are kept and which repeated, and one process at a time."""

from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from helpers.errors import raises_input
from mvtrain.predict.records import Records, unfinished_folder

VIEWS, KEYPOINTS = 2, 3
IDENTITY = {"checkpoint": "abc", "batch_size": 4}


def random_fields(number: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    keypoints = random.normal(size=(number, VIEWS, KEYPOINTS, 3)).astype(np.float32)
    keypoints[::3, 0] = np.nan
    return keypoints, random.integers(0, 4, (number, VIEWS), dtype=np.uint8)


def write_records(folder: Path, number: int, batch_size: int = 4) -> Records:
    """Write the records of `number` frames, in batches."""
    folder.mkdir(parents=True, exist_ok=True)
    records = Records(folder, VIEWS, KEYPOINTS)
    assert records.resume(IDENTITY, batch_size) == 0
    keypoints, status = random_fields(number)
    with records.appending() as file:
        for start in range(0, number, batch_size):
            part = slice(start, start + batch_size)
            records.append(file, start, {"keypoints": keypoints[part], "status": status[part]})
    return records


@settings(max_examples=25)
@given(number=st.integers(0, 30), start=st.integers(0, 30), length=st.integers(0, 30))
def test_appended_records_are_read_back(
    number: int, start: int, length: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    records = write_records(tmp_path_factory.mktemp("records"), number)
    keypoints, status = random_fields(number)
    assert len(records) == number
    part = slice(start, min(start + length, number))
    found = records.read(part.start, part.stop)
    np.testing.assert_array_equal(found["count"], np.arange(1, number + 1)[part])
    np.testing.assert_array_equal(found["keypoints"], keypoints[part])
    np.testing.assert_array_equal(found["status"], status[part])
    assert sum(map(len, records.blocks())) == number


@settings(max_examples=50)
@given(number=st.integers(0, 20), lost=st.integers(0, 600), zeros=st.integers(0, 300))
def test_a_cut_off_or_zeroed_end_is_repeated_from_the_last_whole_batch(
    number: int, lost: int, zeros: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("records")
    records = write_records(folder, number)
    path = folder / "records"
    content = path.read_bytes()
    path.write_bytes(content[: max(len(content) - lost, 0)] + bytes(zeros))
    size, now = records.dtype.itemsize, path.read_bytes()
    whole = next(
        (n for n in range(number) if now[n * size : (n + 1) * size] != content[n * size : (n + 1) * size]), number
    )
    done = Records(folder, VIEWS, KEYPOINTS).resume(IDENTITY, 4)
    assert done == whole // 4 * 4
    assert path.read_bytes() == content[: done * size]


@pytest.mark.parametrize(("key", "value"), [("checkpoint", "other"), ("batch_size", 8), ("views", [1])])
def test_other_inputs_start_without_records(key: str, value: object, tmp_path: Path) -> None:
    write_records(tmp_path, 12)
    records = Records(tmp_path, VIEWS, KEYPOINTS)
    assert records.resume(IDENTITY, 4) == 12
    assert records.resume(IDENTITY | {key: value}, 4) == 0
    assert len(records) == 0
    assert records.resume(IDENTITY, 4) == 0


def test_a_damaged_manifest_starts_without_records(tmp_path: Path) -> None:
    records = write_records(tmp_path, 12)
    (tmp_path / "manifest.json").write_bytes(b"\xff\x00")
    assert records.resume(IDENTITY, 4) == 0


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with unfinished_folder(tmp_path, "a") as folder:
        assert folder.is_dir()
        with (
            raises_input("busy-folder", path="a"),
            unfinished_folder(tmp_path, "a"),
        ):
            pass
        with unfinished_folder(tmp_path, "b"):
            pass
        (folder / "records").touch()
    assert (tmp_path / ".partial" / "a" / "records").is_file()
    with unfinished_folder(tmp_path, "a") as folder:
        Records(folder, VIEWS, KEYPOINTS).remove()
    assert list(tmp_path.iterdir()) == []


def test_an_output_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        raises_input("unwritable-file", path="a"),
        unfinished_folder(tmp_path / "file" / "out", "a"),
    ):
        pass
