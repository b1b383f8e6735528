"""Standard deviations in messages: those beyond all sense, of what nothing determines, as a limit."""

from __future__ import annotations

__all__ = ["degrees", "percent"]


def percent(share: float, digits: int = 0) -> str:
    """Return a deviation, given as a share of its quantity, in percent: `3.2 %`, `more than 100 %`."""
    return "more than 100 %" if share > 1 else f"{100 * share:.{digits}f} %"


def degrees(turn: float, digits: int = 1) -> str:
    """Return a deviation of a rotation in degrees: `0.3 degrees`, `more than 180 degrees`."""
    return "more than 180 degrees" if turn > 180 else f"{turn:.{digits}f} degrees"
