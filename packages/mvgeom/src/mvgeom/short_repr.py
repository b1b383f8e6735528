"""Representation of results in a notebook: one line per field, arrays as shape and type."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

__all__ = ["short_repr"]

_LONGEST = 90
"""Characters of a field's value."""


def short_repr(result: Any) -> str:
    """Return the class of a dataclass and a line per field; arrays and tensors are named by shape and type.

    A class takes it as its method: `__repr__ = short_repr`.
    """
    lines = [f"  {each.name}: {_value(getattr(result, each.name))}" for each in fields(result)]
    return "\n".join([type(result).__name__, *lines])


def _value(value: Any) -> str:
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is not None and dtype is not None:
        return f"{tuple(shape)} {dtype}"
    line = " ".join(repr(value).split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."
