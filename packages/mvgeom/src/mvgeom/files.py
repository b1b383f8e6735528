"""Reading of text files with errors that name the file, and atomic writing of files."""

from __future__ import annotations

import codecs
import hashlib
import os
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

from mvgeom.errors import InputError
from mvgeom.temporary import publish, temporary_file

__all__ = [
    "composed",
    "file_name",
    "head",
    "inside",
    "is_pattern",
    "list_files",
    "list_matches",
    "on_disk",
    "read_text",
    "replace_file",
    "split_at_file",
    "write_text",
]

_MAX_BYTES = 240
"""Bytes of a file's name at most: file systems take 255."""

_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f/\\\ud800-\udc7f\udd00-\udfff]" + (r"|[<>:\"|?*]" if os.name == "nt" else ""))
"""Separators of all systems, control characters, and halves of characters, which no file system stores."""

_DRIVE = re.compile(r"^([A-Za-z]):")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d|conin\$|conout\$)\s*(\..*)?", re.IGNORECASE)
"""Names that are devices on Windows, also with a suffix."""

_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,10}$")


def list_files(folder: Path, pattern: str = "*") -> list[Path]:
    """List the files and folders in a folder that its user sees, by name.

    Names that begin with "." are left out, at any depth: macOS puts a file `._NAME` beside every file NAME on drives of
    other systems, and programs keep their own data in hidden folders.

    Args:
        folder: Folder; one that does not exist has no files.
        pattern: Pattern of the names as `Path.glob` takes it, such as `*.toml`, `*/*` or `**/*`.
    """
    found = folder.glob(pattern)
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def is_pattern(path: Path) -> bool:
    """Return True for a pattern of names such as `left*.jpg`; an existing file or folder is never one."""
    # Names may have brackets, such as those of downloaded copies: video[1].mp4.
    return any(character in path.name for character in "*?[") and not path.exists()


def list_matches(pattern: Path) -> list[Path]:
    """List the files that match the pattern of names at the end of a path, as `list_files` does."""
    # A row of asterisks means the same as one, but `Path.glob` refuses it before Python 3.13.
    return list_files(pattern.parent, re.sub(r"\*+", "*", pattern.name))


def read_text(path: Path) -> str:
    """Read a file as text.

    Raises:
        InputError: `unreadable-file`, if the file does not exist or cannot be read; `not-text`, if it is not UTF-8.
    """
    try:
        content = path.read_bytes()
        _refuse_utf_16(content, path)
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: not a text file, byte {error.start} is not UTF-8", code="not-text", path=path
        ) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", code="unreadable-file", path=path) from error


def head(path: Path, size: int = 4096) -> str:
    """Read the first characters of a file to detect its format; bytes that are not UTF-8 are replaced.

    Raises:
        InputError: `unreadable-file`, if the file cannot be read; `not-text`, if it is UTF-16, which no format is.
    """
    try:
        with path.open("rb") as file:
            content = file.read(size)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", code="unreadable-file", path=path) from error
    _refuse_utf_16(content, path)
    return content.decode("utf-8-sig", errors="replace")


def _refuse_utf_16(content: bytes, path: Path) -> None:
    """Raise `not-text` for the mark with which Windows' programs begin a text in UTF-16."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InputError(
            f"{path}: text in UTF-16, expected UTF-8. Save it as UTF-8, or in PowerShell with Out-File -Encoding utf8.",
            code="not-text",
            path=path,
        )


def file_name(text: str, ending: str = "") -> str:
    """Make the name of a file or folder of a text that may come from a file, such as a session's or a camera's.

    Every path that is made of such a text is `folder / file_name(text)`, which is in the folder whatever the text. A
    name that all systems take is returned as it is, on Windows without its characters `<>:"|?*`. In any other,
    separators, control characters and drive letters are replaced, names of devices and empty ones are completed, and
    long ones cut; the suffix stays. Changed names end in a checksum of the text, so that they stay different.

    Args:
        text: Text of the name, with its suffix.
        ending: Constant end of the name after the text, which stays, as readers that look for it need, such as
            `_prediction.json`.

    Returns:
        Name of at most 240 bytes, without separators.
    """
    text += ending
    name = _DRIVE.sub(r"\1_", _UNSAFE.sub("_", text))
    if not name.strip(". ") or _RESERVED.fullmatch(name):
        name = f"_{name.strip('. ')}"
    if name == text and len(os.fsencode(name)) <= _MAX_BYTES:
        return name
    found = _SUFFIX.search(name)
    suffix = ending or (found[0] if found is not None else "")
    mark = f"-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}{suffix}"
    stem = os.fsencode(name.removesuffix(suffix))[: _MAX_BYTES - len(mark)]
    return stem.decode("utf-8", "ignore") + mark


def inside(folder: Path, name: str) -> Path:
    """Return the path of a name that may have folders, such as that of an image in a table, if it is in a folder.

    Args:
        folder: Folder that the path must be in.
        name: Path relative to the folder; backslashes are separators, too.

    Raises:
        InputError: `bad-name`, if the path is absolute, leads out of the folder, or cannot be a path.
    """
    parts = name.replace("\\", "/").split("/")
    if not name or ".." in parts or "\0" in name or not parts[0] or _DRIVE.match(name):
        raise InputError(
            f"{folder}: not a path in this folder, found {name[:80]!r}. Rename it",
            code="bad-name",
            path=folder,
            name=name,
        )
    return folder.joinpath(*parts)


def composed(name: str) -> str:
    """Return a name with each letter and its accent as one character (NFC), in which names are compared.

    Files from macOS have the letter and the accent as two characters in their names, and most programs write one.
    """
    return unicodedata.normalize("NFC", name)


def on_disk(path: Path) -> Path:
    """Return a path as its file or folder has it, whose accents may be in another form; as given if there is none."""
    if str(path).isascii() or path.exists():
        return path
    parent = on_disk(path.parent)
    forms = (parent / unicodedata.normalize(form, path.name) for form in ("NFC", "NFD"))
    return next((each for each in forms if each.exists()), path)


def split_at_file(text: str) -> tuple[str, str]:
    """Split `NAME=PATH` before the first path that exists, or pattern that files match; else at the first `=`.

    Returns:
        Name and path; the path is "" for a text without `=`.
    """
    splits = [(text[:place], text[place + 1 :]) for place, character in enumerate(text) if character == "="]
    found = (each for each in splits if each[1] and _is_there(Path(each[1])))
    return next(found, splits[0] if splits else (text, ""))


def _is_there(path: Path) -> bool:
    return on_disk(path).exists() or (is_pattern(path) and bool(list_matches(path)))


def write_text(path: Path, text: str) -> None:
    """Replace a file by `text`; the old content remains until the new file is complete.

    Raises:
        InputError: `unwritable-file`, if the folder does not exist or cannot be written to.
    """
    replace_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline="\n"))


def replace_file(path: Path, write: Callable[[Path], object], *, wait: bool = True) -> None:
    """Write a temporary file in the folder of `path` with `write`, then rename it to `path` once it is on the disk.

    Args:
        path: Path of the file; an earlier one stays unless the new one is complete.
        write: Function that writes the file to a path with the same suffix.
        wait: False for one of many files of a folder that waits for the disk itself, when it is complete.

    Raises:
        InputError: `unwritable-file`, if the folder does not exist or cannot be written to, or the disk is full.
    """
    try:
        with temporary_file(path) as temporary:
            write(temporary)
            publish(temporary, path, wait=wait)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written: {error.strerror or error}", code="unwritable-file", path=path
        ) from error
