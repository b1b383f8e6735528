"""Common parts of the readers of HDF5 files: the file's signature, and imports of optional libraries."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from mvgeom.errors import InputError

__all__ = ["H5_ERRORS", "has_dataset", "import_optional", "is_hdf5"]

_SIGNATURE = b"\x89HDF\r\n\x1a\n"

H5_ERRORS = (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, RuntimeError, NotImplementedError)
"""Errors of the libraries over a file that is damaged or of another kind."""


def is_hdf5(path: Path) -> bool:
    """Return True if a file begins with the signature of HDF5; no library is needed."""
    try:
        with path.open("rb") as file:
            return file.read(len(_SIGNATURE)) == _SIGNATURE
    except OSError:
        return False


def import_optional(module: str, path: Path) -> Any:
    """Import h5py or tables, which reading HDF5 files needs.

    Raises:
        InputError: `missing-library`, if it is not installed; the message has the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"{path}: reading HDF5 needs the library {module}, which cannot be imported ({error}). Install it with: "
            'pip install "mvgeom[hdf5]"',
            code="missing-library",
            path=path,
            library=module,
            extra="hdf5",
        ) from error


def has_dataset(path: Path, name: str) -> bool:
    """Return True if an HDF5 file contains a dataset or group of this name at its root.

    Raises:
        InputError: `missing-library`, if h5py is not installed.
    """
    h5py = import_optional("h5py", path)
    try:
        with h5py.File(path, "r") as file:
            return name in file
    except H5_ERRORS:
        return False
