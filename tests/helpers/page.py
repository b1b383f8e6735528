"""A parser of HTML pages: tables by id, texts by id, and all addresses."""

from __future__ import annotations

from html.parser import HTMLParser

_VOID = {"meta", "link", "img", "br", "input"}
_LOADING = ("src", "href", "srcset", "data", "action", "poster")


class Page(HTMLParser):
    """Elements of a page.

    Attributes:
        tables: Rows of cells of each table by its id, the head first.
        texts: Text of each other element with an id.
        links: (tag, attribute, value) of each attribute with an address.
        styles: Text of the style elements.
        scripts: Text of the script elements.
        tags: Tags of all elements.
    """

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.texts: dict[str, str] = {}
        self.links: list[tuple[str, str, str]] = []
        self.styles: list[str] = []
        self.scripts: list[str] = []
        self.tags: list[str] = []
        self._open: list[tuple[str, str | None]] = []
        self.feed(content)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self.links += [(tag, name, value) for name, value in attributes.items() if name in _LOADING]
        if tag in _VOID:
            return
        self._open.append((tag, attributes.get("id")))
        if tag == "table":
            self.tables[attributes["id"]] = []
        elif tag == "tr":
            self._table().append([])
        elif tag in ("td", "th"):
            self._table()[-1].append("")
        elif tag in ("style", "script"):
            (self.styles if tag == "style" else self.scripts).append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        inside = {tag for tag, _ in self._open}
        if inside & {"td", "th"}:
            self._table()[-1][-1] += data
        for kind, texts in (("style", self.styles), ("script", self.scripts)):
            if kind in inside:
                texts[-1] += data
        for _, anchor in self._open:
            if anchor is not None:
                self.texts[anchor] = self.texts.get(anchor, "") + data

    def _table(self) -> list[list[str]]:
        return self.tables[next(anchor for tag, anchor in reversed(self._open) if tag == "table" and anchor)]
