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
        InputError: The folder exists (`occupied-folder`), or cannot be written, also by the block (`unwritable-file`).
    """
    if path.exists():
        raise InputError(
            f"{path} already exists. Remove it, or choose another folder", code="occupied-folder", path=path
        )
    unfinished = path.parent / f".{path.name}.{os.getpid()}.tmp"
    try:
        unfinished.mkdir(parents=True)
        yield unfinished
        unfinished.rename(path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror}: {error.filename}", code="unwritable-file", path=path
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def check_new_run_folder(path: Path) -> None:
    """Check that a run folder is new or empty.

    Raises:
        InputError: The folder has files in it (`occupied-folder`), or is a file (`not-a-folder`).
    """
    if path.exists() and not path.is_dir():
        raise InputError(f"the run folder {path} is a file", code="not-a-folder", path=path)
    if path.exists() and any(path.iterdir()):
        raise InputError(
            f"the run folder {path} is not empty. Choose another with --output-dir, remove it, or continue the run in "
            "it with --resume",
            code="occupied-folder",
            path=path,
        )
