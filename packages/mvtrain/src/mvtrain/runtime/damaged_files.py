"""Causes of errors over damaged files, for messages."""

from __future__ import annotations

from pathlib import Path

from mvgeom.errors import InputError


def describe_cause(error: Exception, path: Path) -> str:
    """Describe why a file cannot be used.

    Args:
        error: Error of its reader.
        path: Path of the file, which the message names already.
    """
    if isinstance(error, InputError):
        return str(error).removeprefix(f"{path}: ")
    if isinstance(error, KeyError):
        return f"there is no {error}"
    return f"{type(error).__name__}: {error}"
