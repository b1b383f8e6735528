"""Locks of folders: one process at a time, also while others release, and nothing left of them."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from helpers.errors import raises_input
from mvgeom.errors import InputError
from mvtrain.runtime.locks import locked_folder

SECONDS = 1.0


fcntl = pytest.importorskip("fcntl")


def compete(folder: Path, own_folder: bool, pipe: Connection) -> None:
    """Lock and release as fast as possible; count how often another process held the lock as well."""
    counts: Counter[str] = Counter()
    held = folder / "held"
    locked = folder / "work" if own_folder else folder
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        try:
            with locked_folder(locked, locked / ".lock", what="folder", busy="busy"):
                counts["alone"] += 1
                try:
                    os.close(os.open(held, os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    counts["together"] += 1
                else:
                    held.unlink()
            if own_folder:
                try:
                    locked.rmdir()  # as predictions remove their folder
                except OSError:
                    counts["kept"] += 1
        except InputError as error:
            counts[error.code if error.code == "busy-folder" else str(error)] += 1
    pipe.send(counts)


def test_two_processes_never_hold_a_lock_at_once(tmp_path: Path) -> None:
    context, counts = multiprocessing.get_context("fork"), Counter[str]()
    for own_folder in (False, True):
        pipes, children = [], []
        for _ in range(3):
            ours, theirs = context.Pipe(duplex=False)
            children.append(context.Process(target=compete, args=(tmp_path, own_folder, theirs)))
            children[-1].start()
            pipes.append(ours)
        for pipe, child in zip(pipes, children, strict=True):
            counts += pipe.recv()
            child.join()
    assert counts["alone"] > 100
    assert counts["together"] == 0
    assert counts.keys() <= {"alone", "kept", "busy-folder"}
    assert not list(tmp_path.glob("**/.lock"))


def hold_with_a_child(folder: Path, pipe: Connection) -> None:
    """Lock a folder, and start a process as loaders of training images do."""
    with locked_folder(folder, folder / ".lock", what="folder", busy="busy"):
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        child.start()
        pipe.send(child.pid)
        time.sleep(60)


def test_the_lock_of_a_killed_process_is_free_while_its_children_live(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    parent = context.Process(target=hold_with_a_child, args=(tmp_path, theirs))
    parent.start()
    child = ours.recv()
    try:
        parent.kill()
        parent.join()
        os.kill(child, 0)  # it lives
        with locked_folder(tmp_path, tmp_path / ".lock", what="folder", busy="busy"):
            pass
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_locked_folder_is_busy(tmp_path: Path) -> None:
    with (
        locked_folder(tmp_path, tmp_path / ".lock", what="folder", busy="busy"),
        raises_input("busy-folder", path=tmp_path),
        locked_folder(tmp_path, tmp_path / ".lock", what="folder", busy="busy"),
    ):
        pass
    assert not (tmp_path / ".lock").exists()


@pytest.mark.filterwarnings("ignore:flock not supported")
def test_without_locks_of_the_system_the_file_is_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(handle: int, operation: int) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    for _ in range(2):
        with locked_folder(tmp_path, tmp_path / ".lock", what="folder", busy="busy"):
            assert (tmp_path / ".lock").exists()
            with (
                raises_input("busy-folder", path=tmp_path),
                locked_folder(tmp_path, tmp_path / ".lock", what="folder", busy="busy"),
            ):
                pass
        assert list(tmp_path.iterdir()) == []
