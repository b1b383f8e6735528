"""Locks of folders against other processes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

from mvgeom.errors import InputError

_TRIES = 20
_PAUSE = 0.01
"""Seconds between two tries to lock a file that another process is just removing."""


@contextmanager
def locked_folder(folder: Path, lock_file: Path, *, what: str, busy: str) -> Iterator[None]:
    """Make a folder and lock it against other processes; the lock ends with the process, however it ends.

    It is the operating system's lock of an open file (`flock`), which network file systems pass on to their server if
    they can. On those without such locks, which ends with a warning of filelock, the lock is that the file exists; a
    process of the same machine removes it if its owner is gone.

    Args:
        folder: Folder to lock; it is made with its parents if missing.
        lock_file: Path of the lock, on the same disk; it is removed afterwards.
        what: Name of the folder in messages.
        busy: Message if another process has the lock.

    Raises:
        InputError: Another process has the lock (`busy-folder`), or the folder cannot be made or written
            (`unwritable-file`).
    """
    try:
        lock = _acquire(folder, lock_file)
    except Timeout as error:
        raise InputError(busy, code="busy-folder", path=folder) from error
    except OSError as error:
        raise InputError(
            f"{what} cannot be written to: {error.strerror}", code="unwritable-file", path=folder
        ) from error
    try:
        yield
    finally:
        # Before it is released: afterwards it may be another process's. Whoever has opened it already sees that it is
        # gone, and begins again (filelock compares since 3.21, and does not remove the file itself since 4).
        if os.name != "nt" and not isinstance(lock, SoftFileLock):
            lock_file.unlink(missing_ok=True)
        lock.release()
        if os.name == "nt":
            with suppress(OSError):  # which is refused there while another process has it open
                lock_file.unlink(missing_ok=True)


def _acquire(folder: Path, lock_file: Path) -> FileLock:
    """Make a folder and lock it.

    Raises:
        Timeout: Another process has the lock.
        OSError: The folder or the file cannot be made.
    """
    for left in reversed(range(_TRIES)):
        lock = FileLock(lock_file, timeout=0)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except (FileExistsError, FileNotFoundError, Timeout):
            # Its last user may be removing the file, or its folder, right now.
            if left == 0:
                raise
            time.sleep(_PAUSE)
        else:
            return lock
    raise AssertionError("unreachable")
