"""Names of keypoints and skeletons, from the command line or from a file."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mvgeom.documents import parse_yaml
from mvgeom.errors import InputError
from mvgeom.files import read_text

_NAMES = ("keypoint_names", "keypoints", "bodyparts")
"""Keys of the list of names: ours, others', DeepLabCut's."""

_SEVERAL = "MULTI!"
"""Text in place of `bodyparts` in DeepLabCut's configs of several animals."""

_OF_SEVERAL = ("multianimalbodyparts", "uniquebodyparts")
"""Keys of the names in these configs: those of each animal, and those that exist once."""


@dataclass(frozen=True, kw_only=True)
class Skeleton:
    """Keypoints and the lines between them.

    Attributes:
        keypoint_names: K names.
        pairs: Pairs of names.
        notes: Messages to the user.
    """

    keypoint_names: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def read_skeleton(path: Path) -> Skeleton:
    """Read keypoints and the lines between them from a YAML or JSON file.

    The file has a list `keypoints` (or `keypoint_names`, or DeepLabCut's `bodyparts`) and possibly `skeleton`, a list
    of pairs; both may be in a section `data`, as in the config of a project. In a config of DeepLabCut, keypoints of
    one animal come before those that exist once, and pairs of keypoints that it does not have are left out with a note:
    its template has some, and they stay when keypoints are renamed.

    Raises:
        InputError: The file is missing or not YAML, has no list of names (`missing-field`), or the names or pairs are
            not valid.
    """
    if not path.is_file():
        raise InputError(f"--skeleton {path}: no such file", code="missing-file", path=path)
    document = parse_yaml(read_text(path), path)
    section = _section(document)
    several = [section.get(key) or [] for key in _OF_SEVERAL]
    key = next((key for key in _NAMES if isinstance(section.get(key), list)), None)
    if section.get("bodyparts") == _SEVERAL and key is None and all(isinstance(names, list) for names in several):
        found = [name for names in several for name in names]
    elif key is not None:
        found = section[key]
    else:
        raise InputError(
            f"{path}: no list of keypoints, expected one of the keys {', '.join(_NAMES)}",
            code="missing-field",
            path=path,
            field="keypoints",
        )
    for name in found:
        if isinstance(name, bool | int | float | datetime.date | None):
            raise InputError(
                f"{path}: a keypoint's name must be text, found {name!r}, which YAML reads as another type. Put the "
                "name in quotes",
                code="bad-name",
                path=path,
                name=name,
            )
    names = check_keypoints(found, str(path))
    pairs = section.get("skeleton") or []
    notes = []
    if key in (None, "bodyparts") and isinstance(pairs, list):
        unknown = [pair for pair in pairs if _is_pair(pair) and not all(name in names for name in pair)]
        pairs = [pair for pair in pairs if pair not in unknown]
        if unknown:
            shown = ", ".join("-".join(pair) for pair in unknown)
            notes.append(
                f"{path}: lines of the skeleton to keypoints that the file does not have are left out: {shown}"
            )
    return Skeleton(keypoint_names=names, pairs=_pairs(pairs, names, path), notes=tuple(notes))


def _is_pair(pair: Any) -> bool:
    """Return True for a list of two texts."""
    return isinstance(pair, list) and len(pair) == 2 and all(isinstance(name, str) for name in pair)


def check_keypoints(names: Sequence[Any], origin: str) -> tuple[str, ...]:
    """Check the names of keypoints.

    Args:
        names: Names as read.
        origin: Place of the names, for messages.

    Raises:
        InputError: There is no name (`missing-argument`), one is empty or not text (`bad-name`), or two are equal
            (`duplicate-name`).
    """
    if not names:
        raise InputError(f"{origin}: no keypoints, expected at least one name", code="missing-argument", found=())
    for name in names:
        if not isinstance(name, str) or not name.strip() or name != name.strip():
            raise InputError(
                f"{origin}: a keypoint's name must be text, found {name!r}. Separate names by single commas",
                code="bad-name",
                name=name,
            )
    repeated = next((name for name in names if list(names).count(name) > 1), None)
    if repeated is not None:
        raise InputError(f"{origin}: keypoint {repeated!r} is named twice", code="duplicate-name", name=repeated)
    return tuple(names)


def _section(document: Any) -> dict[str, Any]:
    """Return the mapping with the lists: the document or its section `data`."""
    if not isinstance(document, dict):
        return {}
    data = document.get("data")
    return data if isinstance(data, dict) and any(key in data for key in _NAMES) else document


def _pairs(pairs: Any, names: Sequence[str], path: Path) -> tuple[tuple[str, str], ...]:
    """Return the pairs of a skeleton after checks."""
    for pair in pairs if isinstance(pairs, list) else [pairs]:
        if not isinstance(pair, list) or len(pair) != 2 or not all(name in names for name in pair):
            raise InputError(
                f"{path}: skeleton: not a pair of two keypoints of the list, found {pair!r}",
                code="bad-field",
                path=path,
                field="skeleton",
            )
    return tuple((first, second) for first, second in pairs)
