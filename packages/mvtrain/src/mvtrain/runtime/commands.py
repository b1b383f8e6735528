"""Commands in messages, as a user can copy them into a shell."""

from __future__ import annotations

import shlex


def command(*parts: object) -> str:
    """Return a command line; parts with spaces or other special characters are in quotes.

    Args:
        parts: Program, arguments and paths.
    """
    return shlex.join(map(str, parts))
