"""Parsing of JSON, YAML, TOML and XML in bounded time and memory, whatever the text.

Parsers recurse, so that deep nesting ends a process or raises errors of any kind; whole numbers of many digits overflow
later; references of YAML and XML can grow a small file to gigabytes. Here all of these are an `InputError`. No text
makes an object other than numbers, texts, lists and maps, and none opens a file or a connection.
"""

from __future__ import annotations

import json
import re
import tomllib
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from mvgeom.errors import InputError

__all__ = ["MAX_DEPTH", "check_yaml", "parse_json", "parse_toml", "parse_xml", "parse_yaml", "yaml_events"]

MAX_DEPTH = 100
"""Nesting of lists and maps at most; files of cameras, labels and configs have less than 10."""

_MAX_DIGITS = 300
"""Digits of a number at most: more than any float has."""

_MAX_EXPANDED = 10**6
"""Nodes of a YAML document at most, where it has aliases, with every alias replaced by what it stands for."""

_LONG_NUMBER = re.compile(rf"(?<![\w.])[-+]?\d[\dA-Fa-fxob_:.]{{{_MAX_DIGITS},}}")
_LONG_DIGITS = re.compile(rf"\d{{{_MAX_DIGITS + 1}}}")
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""Escape of half a character, which only with its other half is one that can be shown, stored, or in a file's name."""

_YAML_ERRORS = (yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
"""Errors of PyYAML over a text; those that are not its own come from tags such as `!!int` and `!!binary`."""


def parse_json(text: str, path: Path) -> Any:
    """Parse a JSON document; NaN and Infinity are numbers, as in Python.

    Args:
        text: Content of the file.
        path: Path of the file, for messages.

    Raises:
        InputError: `invalid-syntax`, if the text is not JSON (the message has line and column), too deeply nested, or
            has a number of more than 300 digits.
    """
    _check_numbers(_LONG_DIGITS, text, path, "JSON")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _error(path, "JSON", error) from error
    _check_depth(document, path, "JSON")
    if _HALF.search(text):
        try:
            json.dumps(document, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError as error:
            raise InputError(
                f"{path}: not valid JSON: a text has half a character", code="invalid-syntax", path=path
            ) from error
    return document


def parse_toml(text: str, path: Path) -> dict[str, Any]:
    """Parse a TOML document.

    Raises:
        InputError: As in `parse_json`.
    """
    _check_numbers(_LONG_NUMBER, text, path, "TOML")
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise _error(path, "TOML", error) from error
    _check_depth(document, path, "TOML")
    return document


def parse_yaml(text: str, path: Path) -> Any:
    """Parse a YAML document with PyYAML's safe types; aliases are allowed up to a million nodes.

    Raises:
        InputError: As in `parse_json`, and for tags of other types.
    """
    check_yaml(text, path)
    try:
        return yaml.safe_load(text)
    except _YAML_ERRORS as error:
        raise _error(path, "YAML", error) from error


def check_yaml(text: str, path: Path) -> None:
    """Check the syntax and the size of a YAML document, without making one.

    Raises:
        InputError: As in `parse_yaml`, except for tags.
    """
    _check_numbers(_LONG_NUMBER, text, path, "YAML")
    sizes: dict[str, int] = {}
    stack: list[tuple[str | None, int]] = [(None, 0)]
    has_aliases = False
    for event in yaml_events(text, path):
        anchor = getattr(event, "anchor", None)
        if isinstance(event, yaml.CollectionStartEvent):
            stack.append((anchor, 1))
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, size = stack.pop()
        elif isinstance(event, yaml.AliasEvent):
            has_aliases = True
            # An alias within what it stands for makes a circle, which has no size.
            size = sizes.get(str(anchor), _MAX_EXPANDED + 1)
            anchor = None
        elif isinstance(event, yaml.ScalarEvent):
            size = 1
        else:
            continue
        if anchor is not None:
            sizes[anchor] = size
        stack[-1] = stack[-1][0], stack[-1][1] + size
        if has_aliases and stack[-1][1] > _MAX_EXPANDED:
            raise InputError(
                f"{path}: not valid YAML: an alias refers to itself, to nothing, or to too much",
                code="invalid-syntax",
                path=path,
            )


def yaml_events(text: str, path: Path) -> Iterator[yaml.Event]:
    """Yield the events of a YAML text: starts and ends of lists and maps, scalars and aliases, as PyYAML names them.

    Raises:
        InputError: As in `parse_yaml`, except for tags and aliases.
    """
    depth = 0
    try:
        # The parser of libyaml is fast and does not recurse, unlike its loader.
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise _too_deep(path, "YAML")
            if isinstance(event, yaml.ScalarEvent):
                event.value.encode("utf-8")  # raises a ValueError for half a character
            yield event
    except InputError:
        raise
    except _YAML_ERRORS as error:
        raise _error(path, "YAML", error) from error


def parse_xml(text: str, path: Path) -> ElementTree.Element:
    """Parse an XML document without entities of its own.

    Raises:
        InputError: `invalid-syntax`, if the text is not XML (the message has line and column), too deeply nested, or
            defines entities.
    """
    if "<!ENTITY" in text:
        raise InputError(
            f"{path}: not valid XML: it defines entities, which are not read", code="invalid-syntax", path=path
        )
    parser: Any = ElementTree.XMLPullParser(("start", "end"))
    depth = 0
    root: ElementTree.Element | None = None
    try:
        # In pieces, so that nesting ends the parser before it has made a tree that Python cannot take apart.
        for start in range(0, len(text), 65536):
            parser.feed(text[start : start + 65536])
            for event, element in parser.read_events():
                root = element if root is None else root
                depth += 1 if event == "start" else -1
                if depth > MAX_DEPTH:
                    raise _too_deep(path, "XML")
        parser.close()
    except (ElementTree.ParseError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise _error(path, "XML", error) from error
    if root is None:
        raise InputError(f"{path}: not valid XML: there is no element", code="invalid-syntax", path=path)
    return root


def _check_numbers(pattern: re.Pattern[str], text: str, path: Path, kind: str) -> None:
    """Check that no number has more digits than Python, NumPy and floats take."""
    found = pattern.search(text)
    if found is not None:
        line = text.count("\n", 0, found.start()) + 1
        raise InputError(
            f"{path}, line {line}: not valid {kind}: a number has more than {_MAX_DIGITS} digits, found "
            f"{found[0][:12]}...",
            code="invalid-syntax",
            path=path,
            line=line,
        )


def _check_depth(document: Any, path: Path, kind: str) -> None:
    level = [document]
    for _ in range(MAX_DEPTH + 1):
        level = [
            each
            for node in level
            for each in (node.values() if isinstance(node, dict) else node if isinstance(node, list) else ())
            if isinstance(each, dict | list)
        ]
        if not level:
            return
    raise _too_deep(path, kind)


def _too_deep(path: Path, kind: str) -> InputError:
    return InputError(
        f"{path}: not valid {kind}: more than {MAX_DEPTH} lists and maps are nested", code="invalid-syntax", path=path
    )


def _error(path: Path, kind: str, error: Exception) -> InputError:
    """Return the error for a text that a parser does not take, in one line and with its place if it is known."""
    if isinstance(error, RecursionError):
        return _too_deep(path, kind)
    lines = str(getattr(error, "problem", None) or error).splitlines()
    problem = lines[0] if lines else type(error).__name__
    mark = getattr(error, "problem_mark", None)
    place = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
    return InputError(f"{path}: not valid {kind}: {place}{problem}", code="invalid-syntax", path=path)
