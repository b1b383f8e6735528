"""Parts of messages: commands that a user can copy into a shell, causes of errors over files, what was left out."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from mvgeom.errors import InputError
from mvgeom.wording import counted


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


def error_of_left_out(problems: Mapping[str, InputError], number: int) -> InputError:
    """Return the error with which a command ends that could not do some of its recordings.

    Args:
        problems: Error of each recording that was left out, by its session; at least one.
        number: Number of all recordings.

    Returns:
        The first error where nothing was done; else `left-out`, with all of them.
    """
    if len(problems) == number:
        return next(iter(problems.values()))
    reasons = "; ".join(f"{name}: {str(error).rstrip('.')}" for name, error in problems.items())
    return InputError(
        f"left out {counted(len(problems), 'recording')} of {number}, the others are done. {reasons}",
        code="left-out",
        problems=dict(problems),
    )
