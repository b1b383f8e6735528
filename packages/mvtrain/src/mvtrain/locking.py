"""One process at a time in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def exclusive(folder: Path, lock_file: Path, *, what: str, busy: str) -> Iterator[None]:
    """Make a folder and keep other processes out of it; the lock goes with the process, however it ends.

    Args:
        folder: made with its parents when it does not exist.
        lock_file: on the same disk; removed afterwards.
        what: the folder's name in messages.
        busy: the message when another process holds the lock.

    Raises:
        ValueError: another process is there, or the folder cannot be made or written to.
    """
    lock = FileLock(lock_file, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise ValueError(busy) from error
    except OSError as error:
        raise ValueError(f"{what} cannot be written to: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()
        lock_file.unlink(missing_ok=True)
