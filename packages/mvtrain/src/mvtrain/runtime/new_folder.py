"""New folders: those that appear when they are complete, and those that must be empty at first."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mvgeom.errors import InputError


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder to fill, and rename it to `path` at the end of the block.

    The temporary folder is hidden and beside `path`, so that renaming it is one step on one file system. If the block
    raises, nothing is left.

    Args:
        path: Folder that must not exist yet; missing parents are made.

    Raises:
        InputError: `folder-exists`, or `unwritable-folder` if it cannot be written, also by the block.
    """
    if path.exists():
        raise InputError(f"{path} already exists. Remove it, or choose another folder", code="folder-exists", path=path)
    unfinished = path.parent / f".{path.name}.{os.getpid()}.tmp"
    try:
        unfinished.mkdir(parents=True)
        yield unfinished
        unfinished.rename(path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror}: {error.filename}", code="unwritable-folder", path=path
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def check_new_run_folder(path: Path) -> None:
    """Check that a run folder is new or empty.

    Raises:
        InputError: `folder-exists`.
    """
    if path.exists() and any(path.iterdir()):
        raise InputError(
            f"the run folder {path} is not empty; choose another with --output-dir, remove it, or go on with the run "
            "in it by --resume",
            code="folder-exists",
            path=path,
        )
