"""Finding videos and images that a foreign project names, where it says or where the user says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from mvgeom.calibration.sources import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from mvtrain.exchange.labels import ReadOptions
from mvtrain.exchange.names import split_name


def find_file(name: str, folders: Sequence[Path | None]) -> Path | None:
    """A file that a foreign project names, maybe by a path of another computer.

    Args:
        name: path as written there; backslashes are separators too.
        folders: where to look, in this order: for the path below them, then for the file's name alone.
    """
    written = PurePosixPath(name.replace("\\", "/"))
    candidates = [Path(written)] if written.is_absolute() else []
    for folder in folders:
        if folder is not None:
            candidates += [folder / written, folder / written.name]
    return next((path for path in candidates if path.is_file()), None)


def videos_in(folder: Path | None) -> list[Path]:
    """The videos of a folder, by name; none where there is no such folder."""
    return _with_suffix(folder, VIDEO_SUFFIXES)


def images_in(folder: Path | None) -> list[Path]:
    """The images of a folder, by name; none where there is no such folder."""
    return _with_suffix(folder, IMAGE_SUFFIXES)


def videos_by_view(videos: Iterable[Path], view: str | None, options: ReadOptions) -> dict[tuple[str, str], Path]:
    """Videos of a source and of the folder of media by session and view.

    Of two videos of the same session and view the first counts, and the source's before those of the folder. Those
    whose name tells no view are left aside.

    Args:
        videos: of the source.
        view: that the user said the source is.
        options: has the rule by which names are made, and the folder of media.
    """
    found: dict[tuple[str, str], Path] = {}
    for video, said in [*((video, view) for video in videos), *((video, None) for video in videos_in(options.media))]:
        if said is not None or options.rule.split(video.stem) is not None:
            parts = split_name(video.stem, said, options.rule, str(video))
            found.setdefault((parts.session, parts.view), video)
    return found


def _with_suffix(folder: Path | None, suffixes: Sequence[str]) -> list[Path]:
    if folder is None or not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes and path.is_file())
