"""Options that several commands share."""

from __future__ import annotations


def split_names(text: str | None) -> tuple[str, ...]:
    """Return the names of a list separated by commas; none for None."""
    return tuple(name.strip() for name in text.split(",")) if text else ()
