"""Order of edits: each counts once, however often a page sends it."""

from __future__ import annotations

_MAX_CLIENTS = 100


class EditOrder:
    """Numbers of the edits that were handled, by page. A page counts its edits from 0."""

    def __init__(self) -> None:
        self._handled: dict[str, int] = {}

    def handled(self, client: str) -> int:
        """Return the number of the first edit of a page that was not handled yet."""
        return self._handled.get(client, 0)

    def set_handled(self, client: str, number: int) -> None:
        """Note that all edits of a page before a number were handled; pages that are long gone are forgotten."""
        self._handled.pop(client, None)
        self._handled[client] = number  # the last one in the order of the dict
        while len(self._handled) > _MAX_CLIENTS:
            self._handled.pop(next(iter(self._handled)))
