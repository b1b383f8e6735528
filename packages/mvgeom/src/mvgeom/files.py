"""Reading text with errors that name the file, and writing a file whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from mvgeom.errors import InputError


def read_text(path: Path) -> str:
    """The file as text.

    Raises:
        ValueError: when there is no such file, it cannot be read, or it is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: not a text file (byte {error.start} is not UTF-8)", code="not-text", path=path
        ) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", code="unreadable-file", path=path) from error


def head(path: Path, size: int = 4096) -> str:
    """The first characters of a file, for guessing its format; what is not UTF-8 is replaced.

    Raises:
        ValueError: when the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(size).decode("utf-8-sig", errors="replace")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", code="unreadable-file", path=path) from error


def write_text(path: Path, text: str) -> None:
    """Replace the file by `text`; what was there stays until the new file is complete.

    Raises:
        ValueError: when the folder does not exist or cannot be written to.
    """
    replace_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline="\n"))


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file in the folder of `path`, then rename it to `path`.

    The temporary file keeps the suffix, because writers such as OpenCV's choose the syntax by it.

    Raises:
        ValueError: when the folder does not exist or cannot be written to.
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
    """The process's mask for new files; mkstemp ignores it, and others in the lab want to read calibrations."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
