"""Locks of folders against other processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from mvgeom.errors import InputError


@contextmanager
def locked_folder(folder: Path, lock_file: Path, *, what: str, busy: str) -> Iterator[None]:
    """Make a folder and lock it against other processes; the lock ends with the process, however it ends.

    Args:
        folder: Folder to lock; it is made with its parents if missing.
        lock_file: Path of the lock, on the same disk; it is removed afterwards.
        what: Name of the folder in messages.
        busy: Message if another process has the lock.

    Raises:
        InputError: Another process has the lock (`busy-folder`), or the folder cannot be made or written
            (`unwritable-file`).
    """
    lock = FileLock(lock_file, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise InputError(busy, code="busy-folder", path=folder) from error
    except OSError as error:
        raise InputError(
            f"{what} cannot be written to: {error.strerror}", code="unwritable-file", path=folder
        ) from error
    try:
        yield
    finally:
        lock.release()
        lock_file.unlink(missing_ok=True)
