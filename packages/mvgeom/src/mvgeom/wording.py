"""Numbers with their nouns in messages and summaries."""

from __future__ import annotations

__all__ = ["counted"]


def counted(number: float, noun: str, plural: str = "", *, spec: str = "") -> str:
    """Return a number with its noun, in the singular for 1: `1 view`, `0 views`, `3 labeled frames`.

    Args:
        number: Number of things.
        noun: Noun in the singular, with the words before it.
        plural: Plural of the noun if it is not the singular with an s, such as "boxes".
        spec: Format of the number, such as "g".
    """
    return f"{number:{spec}} {noun if number == 1 else plural or f'{noun}s'}"
