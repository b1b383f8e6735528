"""Options with three values, two keypoints and a length, that may be given several times: `--length nose tail 0.12`."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

from mvgeom.errors import InputError

__all__ = ["LengthCommand", "parse_length"]

_SEPARATOR = "\x1f"
_OPTIONS = ("--length", "--bone")


class LengthCommand(TyperCommand):
    """A command whose options `--length` and `--bone` take three values, several times; Typer has no such options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Join the values of each `--length A B LENGTH` before the arguments are parsed."""
        return super().parse_args(ctx, _join_lengths(args))


def parse_length(text: str, option: str) -> tuple[str, str, float]:
    """Return the keypoints and the length of a value that `LengthCommand` joined.

    Raises:
        InputError: `bad-option`.
    """
    values = text.split(_SEPARATOR)
    try:
        first, second, length = values
        number = float(length)
        if not 0 < number < float("inf"):
            raise ValueError(length)
        return first, second, number
    except ValueError:
        raise InputError(
            f"{option}: wrong form, found {' '.join(values)!r}, expected two keypoints and a positive length, such as "
            f"{option} nose tail 0.12",
            code="bad-option",
            option=option,
            found=values,
        ) from None


def _join_lengths(args: list[str]) -> list[str]:
    """Return the arguments with each `--length A B LENGTH` as one value; one that lacks values is left as it is."""
    joined: list[str] = []
    position = 0
    while position < len(args):
        first, equals, value = args[position].partition("=")
        if args[position] == "--":
            return [*joined, *args[position:]]
        if first not in _OPTIONS:
            joined.append(args[position])
            position += 1
            continue
        position += 1
        count = 2 if equals else 3
        values = [*([value] if equals else []), *args[position : position + count]]
        position += count
        joined.append(f"{first}={_SEPARATOR.join(values)}")
    return joined
