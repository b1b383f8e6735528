"""Parts of messages: commands that a user can copy into a shell, and causes of errors over damaged files."""

from __future__ import annotations

import shlex
from pathlib import Path

from mvgeom.errors import InputError


def command(*parts: object) -> str:
    """Return a command line; parts with spaces or other special characters are in quotes.

    Args:
        parts: Program, arguments and paths.
    """
    return shlex.join(map(str, parts))


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
