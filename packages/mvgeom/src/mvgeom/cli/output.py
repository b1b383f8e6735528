"""Output of commands: results on standard output, problems as one line each, as a rule on standard error."""

from __future__ import annotations

__all__ = ["print_output", "print_problem"]

PIPE_WIDTH = 160
"""Columns of tables where the output is not a terminal: files and pipes have room."""


def print_output(content: object) -> None:
    """Print a line of text, or a table."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=isinstance(content, str))
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    console.print(content, markup=False)


def print_problem(kind: str, style: str, message: object, *, on_stderr: bool = True) -> None:
    """Print `kind: message` in one line, the kind in a rich style, the message as it is."""
    from rich.console import Console
    from rich.text import Text

    # Text, not markup: messages quote lists and paths, whose brackets are no markup.
    text = Text.assemble((f"{kind}:", style), " ", " ".join(str(message).split()))
    Console(stderr=on_stderr, soft_wrap=True, highlight=False).print(text)
