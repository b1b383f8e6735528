"""Temporary files and folders beside what they become: on disk before they are renamed, swept if they are left.

Each is locked while its process writes it. Who writes into the same folder next removes those that nobody holds: their
process was killed. Where files cannot be locked (Windows, some network file systems) a day's age decides instead.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mvgeom.errors import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["is_temporary", "publish", "sweep", "sync", "temporary_file", "temporary_folder"]

_MARK = ".mvtmp"
"""End of the names of temporary files and folders, before the suffix."""

_MAX_STEM = 40
"""Characters of the final name in a temporary one at most; a character has up to four bytes."""

_MAX_AGE = 24 * 3600.0
"""Seconds without a change after which a temporary file counts as left, where files cannot be locked."""

_OFF = "MVGEOM_FSYNC"
"""Variable of the environment; with `0` nothing waits for the disk."""

_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EPERM, errno.EROFS}
"""Errors of file systems that cannot wait for a folder, or for a file that is not the user's own."""

_swept: set[Path] = set()
"""Folders that this process has swept."""


@contextmanager
def temporary_file(path: Path) -> Iterator[Path]:
    """Make an empty file beside `path`, with the same suffix; it is removed after the block unless it was renamed.

    The suffix is the same because writers such as OpenCV's choose the syntax by it. HDF5 locks files itself: write
    those in a `temporary_folder`.

    Args:
        path: Path of the file that it becomes, by `publish`.

    Raises:
        OSError: It cannot be made.
    """
    _sweep_once(path.parent)
    while True:
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.stem[:_MAX_STEM]}-", suffix=f"{_MARK}{path.suffix}"
        )
        # Another process may have taken it for one that was left, just before it was locked.
        if _lock(handle) is not False and os.fstat(handle).st_nlink > 0:
            break
        os.close(handle)
    temporary = Path(name)
    temporary.chmod(0o666 & ~_umask())
    if fcntl is None:
        os.close(handle)  # an open file cannot be renamed there
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
        if fcntl is not None:
            os.close(handle)


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """Make an empty hidden folder beside `path`; it is removed after the block, with all in it, unless it was renamed.

    Args:
        path: Path of the folder that it becomes, by `publish`; its parents are made if missing.

    Raises:
        OSError: It cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep_once(path.parent)
    temporary, handle = _locked_folder(path)
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def publish(temporary: Path, path: Path, *, wait: bool = True) -> None:
    """Rename a complete file or folder to its final path, with its content on disk before and its name after.

    Args:
        temporary: File, or folder with all in it.
        path: Final path on the same file system. An existing file is replaced; there must be no folder.
        wait: False to rename it without waiting for the disk.

    Raises:
        InputError: `unwritable-file`, also if the disk is full.
    """
    try:
        if wait:
            _sync_all(temporary)
        temporary.replace(path)
        if wait:
            sync(path.parent)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written: {error.strerror or error}", code="unwritable-file", path=path
        ) from error


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk, so that a power cut cannot lose it.

    Nothing happens with `MVGEOM_FSYNC=0` in the environment, nor where the file system cannot do it.

    Raises:
        OSError: The disk is full or faulty.
    """
    if os.environ.get(_OFF) == "0" or (os.name == "nt" and path.is_dir()):
        return
    try:
        handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


def _sync_all(path: Path) -> None:
    """Wait until a file, or a folder with all in it, is on the disk."""
    for folder, _, names in os.walk(path, topdown=False):
        for file in (Path(folder) / name for name in names):
            if file.is_file() and not file.is_symlink():
                sync(file)
        sync(Path(folder))
    if path.is_file():
        sync(path)


def sweep(folder: Path) -> None:
    """Remove the temporary files and folders in a folder that are the user's own and whose process is gone."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if is_temporary(Path(entry.path)):
                with suppress(OSError):
                    _remove_if_left(Path(entry.path))


def _sweep_once(folder: Path) -> None:
    """Sweep a folder at the first time that this process writes into it."""
    if folder.absolute() not in _swept:
        _swept.add(folder.absolute())
        sweep(folder)


def is_temporary(path: Path) -> bool:
    """Return True if a path has the name of a temporary file or folder, whether its process is gone or not."""
    return path.name.startswith(".") and (path.name.endswith(_MARK) or path.stem.endswith(_MARK))


def _locked_folder(path: Path) -> tuple[Path, int | None]:
    """Make a folder with the rights of any new one, and lock it; the handle is None where folders have no locks."""
    while True:
        made = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name[:_MAX_STEM]}-", suffix=_MARK))
        if fcntl is None:
            made.chmod(0o777 & ~_umask())
            return made, None
        try:
            handle = os.open(made, os.O_RDONLY)
        except FileNotFoundError:  # taken for one that was left
            continue
        if _lock(handle) is not False and os.fstat(handle).st_nlink > 0:
            made.chmod(0o777 & ~_umask())
            return made, handle
        os.close(handle)


def _remove_if_left(path: Path) -> None:
    """Remove a temporary file or folder if it is the user's own and its process is gone.

    Raises:
        OSError: It cannot be opened or removed.
    """
    found = path.lstat()
    is_own = not hasattr(os, "getuid") or found.st_uid == os.getuid()
    if not is_own or not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        return
    if fcntl is None:
        if _is_old(path):
            _remove(path)
        return
    is_folder = stat.S_ISDIR(found.st_mode)
    handle = os.open(path, (os.O_RDONLY if is_folder else os.O_RDWR) | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        locked = _lock(handle)
        if locked or (locked is None and _is_old(path)):
            _remove(path)
    finally:
        os.close(handle)


def _lock(handle: int) -> bool | None:
    """Lock an open file until it is closed: True if it is locked now, False if another has it, None without locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_old(path: Path) -> bool:
    """Return True if nothing in a file or folder was changed for a day."""
    paths = [path, *(Path(folder) / name for folder, _, names in os.walk(path) for name in names)]
    return time.time() - max(each.lstat().st_mtime for each in paths) > _MAX_AGE


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _umask() -> int:
    """Return the process's umask; tempfile ignores it, but other users must be able to read results."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
