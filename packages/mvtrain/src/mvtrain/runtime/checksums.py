"""Large files with a YAML file beside them that has their name and checksum.

New content gets a new name, the YAML file is replaced in one step, and only then the old file is removed: whenever the
process dies, the disk is full or the power fails, the folder has a complete pair. The checksum detects damaged or
exchanged files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from mvgeom.documents import parse_yaml
from mvgeom.errors import InputError
from mvgeom.files import file_name, read_text, write_text
from mvgeom.temporary import publish, temporary_file


def write_checksummed(
    folder: Path, stem: str, suffix: str, write: Callable[[Path], object], facts: dict[str, Any]
) -> None:
    """Write `<stem>-<checksum><suffix>` and the YAML file `<stem>.yaml` that describes it; remove an older pair.

    Args:
        folder: Folder of both files; it is made if missing.
        stem: Kind of the file, such as "model".
        suffix: Suffix of the large file.
        write: Function that writes the large file to a path.
        facts: Plain values for the YAML file.

    Raises:
        InputError: The folder cannot be written, or the disk is full (`unwritable-file`); an older pair is unchanged.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made: {error.strerror}", code="unwritable-file", path=folder) from error
    try:
        with temporary_file(folder / f"{stem}{suffix}") as temporary:
            write(temporary)
            checksum = file_checksum(temporary)
            named = folder / f"{stem}-{checksum[:12]}{suffix}"
            publish(temporary, named)
    except OSError as error:
        raise InputError(
            f"{folder}: the {stem} cannot be written: {error.strerror or error}", code="unwritable-file", path=folder
        ) from error
    write_text(
        folder / f"{stem}.yaml", yaml.safe_dump({**facts, "file": named.name, "sha256": checksum}, sort_keys=False)
    )
    for old in folder.glob(f"{stem}-*{suffix}"):
        if old != named:
            old.unlink()


def read_checksummed(folder: Path, stem: str, what: str) -> tuple[dict[str, Any], Path]:
    """Read the description of a large file and check its checksum.

    Args:
        folder: Folder of both files.
        stem: Kind of the file, as in `write_checksummed`.
        what: Kind of the file in messages, such as "checkpoint".

    Returns:
        Values of the YAML file, and the path of the large file.

    Raises:
        InputError: A file is missing (`missing-file`), is damaged or was exchanged (`damaged-file`), or the YAML file
            is not a description, without YAML tags, of a large file (`invalid-syntax`).
    """
    description = folder / f"{stem}.yaml"
    if folder.is_file():
        raise InputError(
            f"{folder} is a file; a {what} is a folder with {description.name} and the file it names",
            code="not-a-folder",
            path=folder,
        )
    if not description.is_file():
        raise InputError(
            f"{folder} holds no {what}: it has no {description.name}", code="missing-file", path=description
        )
    text = read_text(description)
    try:
        facts = parse_yaml(text, description)
        path, checksum = folder / file_name(facts["file"]), facts["sha256"]
    except (InputError, TypeError, KeyError) as error:
        raise InputError(
            f"{description} does not describe a {what}: {error}", code="invalid-syntax", path=description
        ) from error
    if not path.is_file():
        raise InputError(f"{description} names {path.name}, which is not beside it", code="missing-file", path=path)
    if file_checksum(path) != checksum:
        raise InputError(
            f"{path} is not the file that {description.name} describes: it is damaged or was exchanged",
            code="damaged-file",
            path=path,
        )
    return facts, path


def file_checksum(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
