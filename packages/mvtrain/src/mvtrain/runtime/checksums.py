"""A large file with a YAML beside it that names it and gives its checksum: whole, or as it was before.

New content gets a new name, the YAML is exchanged in one move, and only then the old file goes: whenever the process
dies or the disk is full, the folder holds a whole pair. The checksum tells a damaged or exchanged file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from mvgeom.files import replace_file, write_text


def write_checksummed(
    folder: Path, stem: str, suffix: str, write: Callable[[Path], object], facts: dict[str, Any]
) -> None:
    """Write `<stem>-<checksum><suffix>` and the YAML `<stem>.yaml` that makes it valid; an older pair goes.

    Args:
        folder: made when it does not exist.
        stem: what the file is.
        suffix: of the large file.
        write: writes the large file to the path it is given.
        facts: plain values that go into the YAML.

    Raises:
        ValueError: the folder cannot be written to, or the disk is full; the older pair is then still there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{folder} cannot be made: {error.strerror}") from error
    unnamed = folder / f"{stem}{suffix}"
    replace_file(unnamed, write)
    checksum = file_checksum(unnamed)
    named = folder / f"{stem}-{checksum[:12]}{suffix}"
    unnamed.replace(named)
    write_text(
        folder / f"{stem}.yaml", yaml.safe_dump({**facts, "file": named.name, "sha256": checksum}, sort_keys=False)
    )
    for old in folder.glob(f"{stem}-*{suffix}"):
        if old != named:
            old.unlink()


def read_checksummed(folder: Path, stem: str, what: str) -> tuple[dict[str, Any], Path]:
    """The facts of a sealed file, and its path once its checksum has been found right.

    Raises:
        ValueError: `what` is not there, is damaged, or is not described by YAML without tags.
    """
    description = folder / f"{stem}.yaml"
    if folder.is_file():
        raise ValueError(f"{folder} is a file; a {what} is a folder with {description.name} and the file it names")
    try:
        facts = yaml.safe_load(description.read_text(encoding="utf-8"))
        path, checksum = folder / facts["file"], facts["sha256"]
    except FileNotFoundError as error:
        raise ValueError(f"{folder} holds no {what}: it has no {description.name}") from error
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError) as error:
        raise ValueError(f"{description} does not describe a {what}: {error}") from error
    if not path.is_file():
        raise ValueError(f"{description} names {path.name}, which is not beside it")
    if file_checksum(path) != checksum:
        raise ValueError(f"{path} is not the file that {description.name} describes: it is damaged or was exchanged")
    return facts, path


def file_checksum(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
