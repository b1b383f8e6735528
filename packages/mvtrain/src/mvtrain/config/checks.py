"""Checks of single config values, with errors that name the full dotted key."""

from __future__ import annotations

from mvgeom.errors import InputError


def bad_value(key: str, expected: str, found: object, shown: str | None = None) -> InputError:
    """Return the error for a value that a key cannot have.

    Args:
        key: Full dotted key.
        expected: Values that the key can have, in words.
        found: Value in the config.
        shown: Text of the value in the message; None: as Python prints it.
    """
    if shown is None:
        shown = "null" if found is None else repr(found)
    return InputError(f"{key} must be {expected}, found {shown}", code="bad-value", key=key, found=found)


def require(condition: bool, key: str, expected: str, found: object) -> None:
    """Raise the error for a bad value unless the condition holds."""
    if not condition:
        raise bad_value(key, expected, found)


def require_positive(key: str, value: float | None) -> None:
    """Require a value above 0, or None."""
    require(value is None or value > 0, key, "greater than 0", value)


def require_not_negative(key: str, value: float | None) -> None:
    """Require a value of 0 or more, or None."""
    require(value is None or value >= 0, key, "0 or more", value)


def require_fraction(key: str, value: float | None) -> None:
    """Require a value from 0 to 1, or None."""
    require(value is None or 0 <= value <= 1, key, "between 0 and 1", value)
