"""Search for files that a foreign project names, possibly by paths of another computer."""

from __future__ import annotations

import filecmp
from collections.abc import Iterable, Sequence
from pathlib import Path

from mvgeom.errors import InputError
from mvtrain.exchange.foreign_labels import ImageFile, ImageSource, Place, VideoFrame
from mvtrain.project.names import as_posix


def find_file(name: str, folders: Sequence[Path | None]) -> Path | None:
    """Find a file by the path that a foreign project has for it.

    The path as written comes first, in each folder in their order. Where it is gone, the longest tail of it that exists
    in a folder counts, and the file's name alone comes last: `C:\\data\\top\\1.mp4` is `<folder>/data/top/1.mp4` before
    `<folder>/top/1.mp4` before `<folder>/1.mp4`.

    Args:
        name: Path in the foreign project; backslashes are separators, too.
        folders: Folders to search; None is skipped.

    Returns:
        Path of the file; None if there is none.

    Raises:
        InputError: The same tail is that of different files in several folders (`ambiguous-file`).
    """
    written = as_posix(name)
    places = [folder for folder in folders if folder is not None]
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


def check_one_place(images: Iterable[tuple[Place, ImageSource | None]], videos: Iterable[tuple[Place, Path]]) -> None:
    """Check that no file is the image of two views or frames, and no video that of two views or sessions.

    Args:
        images: Images with their places.
        videos: Videos with the place of any of their frames.

    Raises:
        InputError: A file is used twice (`ambiguous-file`).
    """
    used: dict[Path, Place] = {}
    resolved: dict[Path, Path] = {}
    for place, image in [*images, *((place, VideoFrame(path=path, number=-1)) for place, path in videos)]:
        if not isinstance(image, ImageFile | VideoFrame):
            continue
        file = resolved.get(image.path) or resolved.setdefault(image.path, image.path.resolve())
        other = used.setdefault(file, place)
        if other[: 3 if isinstance(image, ImageFile) else 2] != place[: 3 if isinstance(image, ImageFile) else 2]:
            raise InputError(
                f"{image.path}: one file is found for two images: session {other.session!r}, view {other.view!r}, "
                f"frame {other.number}; session {place.session!r}, view {place.view!r}, frame {place.number}. Keep the "
                "folders of the original paths in --media, so that files of the same name differ, or describe the "
                "names with --pattern",
                code="ambiguous-file",
                path=image.path,
                candidates=(other, place),
            )


def _same_content(first: Path, second: Path) -> bool:
    """Return True for one file by two paths, or for copies of one."""
    return first.samefile(second) or filecmp.cmp(first, second, shallow=False)
