"""Temporary files: complete or absent, on disk before they count, and swept where their process was killed."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.errors import raises_input
from mvgeom import temporary
from mvgeom.files import replace_file, write_text
from mvgeom.temporary import publish, sweep, temporary_file, temporary_folder

pytestmark = pytest.mark.skipif(os.name == "nt", reason="no locks of open files there")

HOLD = """
import sys, time
from pathlib import Path
from mvgeom.temporary import temporary_file, temporary_folder

target = Path(sys.argv[1])
with temporary_file(target / "table.csv") as file, temporary_folder(target / "out") as folder:
    file.write_text("half")
    (folder / "half.txt").write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that is writing a file and a folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.wait()


def test_what_a_process_writes_is_swept_once_it_is_killed_and_not_before(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    before = sorted(tmp_path.iterdir())
    assert len(before) == 2
    sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == before
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    write_text(tmp_path / "other.txt", "")  # the first write into the folder sweeps it
    assert list(tmp_path.iterdir()) == [tmp_path / "other.txt"]


def test_without_locks_age_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporary, "_lock", lambda handle: None)
    new, old, folder = tmp_path / ".a-1.mvtmp.csv", tmp_path / ".a-2.mvtmp.csv", tmp_path / ".b-1.mvtmp"
    folder.mkdir()
    for path in (new, old, folder / "part.bin"):
        path.write_text("")
    past = time.time() - 25 * 3600
    for path in (old, folder):
        os.utime(path, (past, past))
    sweep(tmp_path)
    assert set(tmp_path.iterdir()) == {new, folder}  # something in the folder is new
    os.utime(folder / "part.bin", (past, past))
    sweep(tmp_path)
    assert set(tmp_path.iterdir()) == {new}


def test_others_files_and_other_names_are_not_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("table.mvtmp.csv", ".table-abc.csv", ".mvtmpx", ".a.mvtmp.b.csv")
    for name in names:
        (tmp_path / name).write_text("")
    (tmp_path / ".link.mvtmp").symlink_to(tmp_path / "table.mvtmp.csv")
    sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*names, ".link.mvtmp"}
    (tmp_path / ".own.mvtmp").write_text("")
    uid = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: uid + 1)
    sweep(tmp_path)
    assert (tmp_path / ".own.mvtmp").exists()


def test_a_file_that_was_swept_before_it_was_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, calls = temporary._lock, []

    def slow(handle: int) -> bool | None:
        calls.append(handle)
        if len(calls) == 1:  # another process takes the file for one that was left
            (made,) = tmp_path.glob(".*.mvtmp*")
            made.rmdir() if made.is_dir() else made.unlink()
        return lock(handle)

    monkeypatch.setattr(temporary, "_lock", slow)
    with temporary_file(tmp_path / "a.txt") as file:
        file.write_text("whole")
        publish(file, tmp_path / "a.txt")
    calls.clear()
    with temporary_folder(tmp_path / "b") as folder:
        publish(folder, tmp_path / "b")
    assert len(calls) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b"]


def test_content_is_on_disk_before_the_name_and_the_name_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    rename, fsync = Path.replace, os.fsync

    def noted(path: Path, target: Path) -> Path:
        events.append("rename")
        return rename(path, target)

    def noted_fsync(handle: int) -> None:
        events.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        fsync(handle)

    monkeypatch.setenv("MVGEOM_FSYNC", "1")
    monkeypatch.setattr(Path, "replace", noted)
    monkeypatch.setattr(os, "fsync", noted_fsync)
    write_text(tmp_path / "a.txt", "whole")
    assert events == ["file", "rename", "folder"]
    events.clear()
    with temporary_folder(tmp_path / "b") as folder:
        (folder / "c").mkdir()
        (folder / "c" / "d.txt").write_text("whole")
        publish(folder, tmp_path / "b")
    assert events == ["file", "folder", "folder", "rename", "folder"]
    events.clear()
    monkeypatch.setenv("MVGEOM_FSYNC", "0")
    write_text(tmp_path / "a.txt", "whole")
    assert events == ["rename"]


def test_results_have_the_rights_of_new_files(tmp_path: Path) -> None:
    (tmp_path / "usual").write_text("")
    (tmp_path / "usual_folder").mkdir()
    write_text(tmp_path / "a.txt", "")
    with temporary_folder(tmp_path / "b") as folder:
        publish(folder, tmp_path / "b")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "usual").stat().st_mode
    assert (tmp_path / "b").stat().st_mode == (tmp_path / "usual_folder").stat().st_mode


def test_an_error_leaves_the_file_before_and_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "before")

    def fail(path: Path) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    with raises_input("unwritable-file", path=tmp_path / "a.txt"):
        replace_file(tmp_path / "a.txt", fail)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]


def test_a_long_name_has_room_for_a_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / f"{'é' * 115}.csv"
    write_text(path, "whole")
    assert list(tmp_path.iterdir()) == [path]
