"""Checks of single values, with messages that name the full dotted key."""

from __future__ import annotations


def require(condition: bool, key: str, expected: str, found: object) -> None:
    """Raise a ValueError that names the key, what it must be and what was found, unless the condition holds."""
    if not condition:
        raise ValueError(f"{key} must be {expected}, found {found!r}")


def positive(key: str, value: float | None) -> None:
    """Require a value above 0, or None."""
    require(value is None or value > 0, key, "greater than 0", value)


def not_negative(key: str, value: float | None) -> None:
    """Require a value of 0 or more, or None."""
    require(value is None or value >= 0, key, "0 or more", value)


def fraction(key: str, value: float | None) -> None:
    """Require a value from 0 to 1, or None."""
    require(value is None or 0 <= value <= 1, key, "between 0 and 1", value)
