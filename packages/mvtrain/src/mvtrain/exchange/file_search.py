"""Search for files that a foreign project names, possibly by paths of another computer."""

from __future__ import annotations

import filecmp
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from mvgeom.errors import InputError
from mvtrain.exchange.foreign_labels import ImageFile, ImageSource, Place, VideoFrame
from mvtrain.project.names import as_posix


def find_file(name: str, folders: Sequence[Path | None]) -> Path | None:
    """Find a file by the path that a foreign project has for it.

    The path as written comes first, in each folder in their order. Where it is gone, the longest tail of it that exists
    in a folder counts, and the file's name alone comes last: `C:\\data\\top\\1.mp4` is `<folder>/data/top/1.mp4` before
    `<folder>/top/1.mp4` before `<folder>/1.mp4`. Where nothing is found, letters with accents are tried in Unicode's
    other forms: files from macOS have theirs in two characters, and most programs write one.

    Args:
        name: Path in the foreign project; backslashes are separators, too.
        folders: Folders to search; None is skipped.

    Returns:
        Path of the file; None if there is none.

    Raises:
        InputError: The same tail is that of different files in several folders (`ambiguous-file`).
    """
    places = [folder for folder in folders if folder is not None]
    forms = dict.fromkeys((name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)))
    return next((path for form in forms if (path := _find(form, places)) is not None), None)


def _find(name: str, places: Sequence[Path]) -> Path | None:
    """Find a file by its path as written; see `find_file`."""
    written = as_posix(name)
    if written.is_absolute() and Path(written).is_file():
        return Path(written)
    for start in range(len(written.parts)):
        found = [path for folder in places if (path := folder.joinpath(*written.parts[start:])).is_file()]
        if found:
            # The path as written is that file, whichever folder it begins in.
            different = [path for path in found[1:] if start > 0 and not _same_content(found[0], path)]
            if different:
                candidates = tuple(dict.fromkeys([found[0], *different]))
                raise InputError(
                    f"{name}: the file is gone, and several others have its name, found "
                    f"{', '.join(map(str, candidates))}. Remove or rename those that it is not",
                    code="ambiguous-file",
                    name=name,
                    candidates=candidates,
                )
            return found[0]
    return None


def check_one_place(images: Iterable[tuple[Place, ImageSource | None]]) -> None:
    """Check that a file belongs to one view, and a view of a session to one video.

    Args:
        images: Images with their places.

    Raises:
        InputError: A file is the image of two places, a video is that of two views or sessions, or images of one view
            and session are from two videos (`ambiguous-file`).
    """
    places: dict[Path, Place] = {}
    recordings: dict[tuple[str, str], Path] = {}
    resolved: dict[Path, Path] = {}
    for place, image in images:
        if not isinstance(image, ImageFile | VideoFrame):
            continue
        file = resolved.get(image.path) or resolved.setdefault(image.path, image.path.resolve())
        other = places.setdefault(file, place)
        compared = 3 if isinstance(image, ImageFile) else 2
        if other[:compared] != place[:compared]:
            raise InputError(
                f"{image.path}: one file is found for two images: session {other.session!r}, view {other.view!r}, "
                f"frame {other.number}; session {place.session!r}, view {place.view!r}, frame {place.number}. Keep the "
                "folders of the original paths in --media, so that files of the same name differ, or describe the "
                "names with --pattern",
                code="ambiguous-file",
                path=image.path,
                candidates=(other, place),
            )
        if isinstance(image, VideoFrame):
            first = recordings.setdefault(place[:2], file)
            if first != file and not _same_content(first, file):
                raise InputError(
                    f"session {place.session!r}, view {place.view!r}: images are from two videos, found {first} and "
                    f"{file}. If they are two recordings, describe their names with --pattern, such as "
                    "'<session>/*_<view>'; if they are one, keep one of them",
                    code="ambiguous-file",
                    session=place.session,
                    view=place.view,
                    candidates=(first, file),
                )


def _same_content(first: Path, second: Path) -> bool:
    """Return True for one file by two paths, or for copies of one."""
    present = first.is_file() and second.is_file()
    return present and (first.samefile(second) or filecmp.cmp(first, second, shallow=False))
