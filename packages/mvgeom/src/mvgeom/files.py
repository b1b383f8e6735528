"""Reading of text files with errors that name the file, and atomic writing of files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from mvgeom.errors import InputError

__all__ = ["head", "read_text", "replace_file", "write_text"]


def read_text(path: Path) -> str:
    """Read a file as text.

    Raises:
        InputError: `unreadable-file`, if the file does not exist or cannot be read; `not-text`, if it is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: not a text file, byte {error.start} is not UTF-8", code="not-text", path=path
        ) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", code="unreadable-file", path=path) from error


def head(path: Path, size: int = 4096) -> str:
    """Read the first characters of a file to detect its format; bytes that are not UTF-8 are replaced.

    Raises:
        InputError: `unreadable-file`, if the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(size).decode("utf-8-sig", errors="replace")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", code="unreadable-file", path=path) from error


def write_text(path: Path, text: str) -> None:
    """Replace a file by `text`; the old content remains until the new file is complete.

    Raises:
        InputError: `unwritable-file`, if the folder does not exist or cannot be written to.
    """
    replace_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline="\n"))


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write a temporary file in the folder of `path` with `write`, then rename it to `path`.

    The temporary file has the same suffix, because writers such as OpenCV's choose the syntax by it.

    Raises:
        InputError: `unwritable-file`, if the folder does not exist or cannot be written to.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}", code="unwritable-file", path=path) from error
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}", code="unwritable-file", path=path) from error
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    """Return the process's umask; mkstemp ignores it, but other users must be able to read calibrations."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
