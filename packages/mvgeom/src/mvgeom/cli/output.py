"""Output of commands: results on standard output, and one-line problems, usually on standard error."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import TYPE_CHECKING

from mvgeom.wording import counted

if TYPE_CHECKING:
    from mvgeom.calibration import Finding

__all__ = ["print_findings", "print_next", "print_output", "print_problem", "print_start"]

_STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}


PIPE_WIDTH = 160
"""Width in columns of tables that are not printed on a terminal; files and pipes have no limit."""


def print_output(content: object) -> None:
    """Print a line of text or a table."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=isinstance(content, str))
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    console.print(content, markup=False)


def print_start(*paths: object) -> None:
    """Print the first line of a command, before heavy imports: the first path that it reads, and how many others.

    Args:
        paths: Paths that the command reads; nothing is printed for none, whose absence the command reports.
    """
    if paths:
        others = f" and {counted(len(paths) - 1, 'other')}" if len(paths) > 1 else ""
        print_output(f"reading {paths[0]}{others} ...")


def print_next(*parts: object, written: str = "") -> None:
    """Print the command to run next, as a shell takes it: parts with spaces and other special characters are quoted.

    Args:
        parts: Program, arguments and paths.
        written: Output of this command, which is named before.
    """
    print_output(f"{f'{written}; ' if written else ''}next: {shlex.join(map(str, parts))}")


def print_problem(kind: str, style: str, message: object, *, on_stderr: bool = True) -> None:
    """Print `kind: message` in one line; the kind has a rich style, the message is unchanged."""
    from rich.console import Console
    from rich.text import Text

    # Text, not markup: messages contain lists and paths whose brackets are not markup.
    text = Text.assemble((f"{kind}:", style), " ", " ".join(str(message).split()))
    Console(stderr=on_stderr, soft_wrap=True, highlight=False).print(text)


def print_findings(findings: Iterable[Finding], *, failed: bool = False) -> None:
    """Print findings: on standard output with a result, on standard error without one."""
    for each in findings:
        print_problem(each.severity, _STYLES[each.severity], each.text, on_stderr=failed)
