"""Files of foreign projects: search for images, videos and calibrations, and their copies in a project folder."""

from __future__ import annotations

import filecmp
import shutil
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np

from mvgeom import CameraGroup
from mvgeom.calibration.sources import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from mvgeom.clock_files import copy_clocks
from mvgeom.errors import InputError
from mvgeom.files import file_name, list_files, replace_file
from mvgeom.formats import FORMATS
from mvgeom.videos import open_video, read_frames
from mvgeom.wording import counted
from mvtrain.exchange.foreign_labels import DecodedImage, ImageFile, ImageSource, Place, ReadOptions, VideoFrame
from mvtrain.project.images import read_header, read_stored
from mvtrain.project.names import as_posix, split_name

_TOML = ".toml"
_CALIBRATION = "calibration"


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


def write_images(images: Mapping[Path, ImageSource], advance: Callable[[], object]) -> None:
    """Write every image as PNG: PNG files are copied as they are, everything else is encoded without loss.

    Images have the pixels of their files, which are not turned by EXIF, and 16 bits where the files have 16.

    A video is decoded once, from its start to the last frame of `images`, because seeking is not exact.

    Args:
        images: Images by target file; folders are made.
        advance: Function to call after each image.

    Raises:
        InputError: An image cannot be read, a frame of a video cannot be decoded (`damaged-file`), or a video is too
            short (`missing-frame`).
    """
    wanted: dict[Path, dict[int, list[Path]]] = {}
    for target, image in images.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(image, VideoFrame):
            wanted.setdefault(image.path, {}).setdefault(image.number, []).append(target)
            continue
        if isinstance(image, ImageFile):
            _copy(image.path, target)
        else:
            _write_png(target, _read_decoded(image)[..., ::-1])
        advance()
    for video, targets in wanted.items():
        _extract(video, targets, advance)


def _copy(source: Path, target: Path) -> None:
    """Copy or convert an image file; a PNG with an EXIF orientation is encoded again without it."""
    if source.suffix.lower() == ".png" and read_header(source).orientation == 1:  # raises now if it is not an image
        shutil.copyfile(source, target)
    else:
        _write_png(target, read_stored(source))


def _read_decoded(image: DecodedImage) -> np.ndarray:
    """Read an image with its library."""
    try:
        return image.read()
    except (OSError, KeyError, IndexError, ValueError) as error:
        raise InputError(
            f"{image.name}: the image cannot be read: {error}", code="unreadable-file", image=image.name
        ) from error


def _extract(path: Path, targets: Mapping[int, list[Path]], advance: Callable[[], object]) -> None:
    """Write frames of one video."""
    video = open_video(path)
    last, number = max(targets), -1
    with closing(read_frames(video)) as frames:
        for number, frame in enumerate(frames):
            for target in targets.get(number, ()):
                if frame is None:
                    raise InputError(
                        f"{path}: frame {number} cannot be decoded", code="damaged-file", path=path, frame=number
                    )
                _write_png(target, frame)
                advance()
            if number == last:
                return
    raise InputError(
        f"{path}: there is no frame {last}: the video ends after {counted(number + 1, 'frame')}",
        code="missing-frame",
        path=path,
        frame=last,
        num_frames=number + 1,
    )


def _write_png(path: Path, image: np.ndarray) -> None:
    """Write (H, W, 3) uint8 or uint16 BGR."""
    success, content = cv2.imencode(".png", np.ascontiguousarray(image))
    assert success, path
    replace_file(path, lambda temporary: temporary.write_bytes(content.tobytes()), wait=False)


def with_names(path: Path) -> Path:
    """Return the absolute path of a file or folder, whose last part is a name also for `.`; links stay as they are."""
    return (path if path.name not in ("", "..") else path.resolve()).absolute()


def videos_in(folder: Path | None) -> list[Path]:
    """List the videos of a folder by name; empty if there is no such folder."""
    return _with_suffix(folder, VIDEO_SUFFIXES)


def images_in(folder: Path | None) -> list[Path]:
    """List the images of a folder by name; empty if there is no such folder."""
    return _with_suffix(folder, IMAGE_SUFFIXES)


def videos_by_view(videos: Iterable[Path], view: str | None, options: ReadOptions) -> dict[tuple[str, str], Path]:
    """Find the session and view of the videos of a source and of the folder of media.

    Of two videos of the same session and view the first counts, those of the source before those of the folder. Videos
    without a view in their name are ignored.

    Args:
        videos: Videos of the source.
        view: View of the source, if the user gave it.
        options: Options with the rule of the names and the folder of media.
    """
    found: dict[tuple[str, str], Path] = {}
    rule = options.rule.without_frame or options.rule
    for video, given in [*((video, view) for video in videos), *((video, None) for video in _videos_of_media(options))]:
        name = str(with_names(video).with_suffix(""))
        if given is not None or rule.split_path(as_posix(name)) is not None:
            parts = split_name(name, given, rule, str(video))
            found.setdefault((parts.session, parts.view), video)
    return found


def _videos_of_media(options: ReadOptions) -> list[Path]:
    """List the videos in the folder of media; in its folders, too, where folders are in the names."""
    if (options.rule.without_frame or options.rule).depth == 1 or options.media is None:
        return videos_in(options.media)
    folders = [options.media, *(path for path in list_files(options.media, "**/*") if path.is_dir())]
    return [video for folder in folders for video in videos_in(folder)]


def _with_suffix(folder: Path | None, suffixes: Sequence[str]) -> list[Path]:
    if folder is None or not folder.is_dir():
        return []
    return [path for path in list_files(folder) if path.suffix.lower() in suffixes and path.is_file()]


def find_calibrations(sources: Sequence[Path], given: Path | None) -> dict[str | None, Path]:
    """Find the calibration files by session; the key None is for all other sessions.

    Args:
        sources: Folders or files of the foreign project; `calibrations/<session>.toml` and `calibration.toml` in the
            folders or beside the files count.
        given: Calibration file or folder of any format, or folder of `<session>.toml`, instead of those of the sources.

    Raises:
        InputError: `given` does not exist (`missing-file`), or is a folder without calibrations (`no-calibration`).
    """
    if given is not None:
        if not given.exists():
            raise InputError(f"{given}: the calibration does not exist", code="missing-file", path=given)
        if not given.is_dir():
            return {None: given}
        found: dict[str | None, Path] = {path.stem: path for path in list_files(given, f"*{_TOML}")}
        if not found and any(each.matches(given) for each in FORMATS.values()):
            return {None: given}  # a format that is a folder, such as COLMAP's
        if _CALIBRATION in found:
            found[None] = found[_CALIBRATION]
        if not found:
            raise InputError(
                f"{given}: the folder has no calibration <session>.toml", code="no-calibration", path=given
            )
        return found
    result: dict[str | None, Path] = {}
    for source in sources:
        folder = source if source.is_dir() else source.parent
        for path in list_files(folder / "calibrations", f"*{_TOML}"):
            result.setdefault(path.stem, path)
        if (folder / f"{_CALIBRATION}{_TOML}").is_file():
            result.setdefault(None, folder / f"{_CALIBRATION}{_TOML}")
    return result


def write_calibrations(
    folder: Path, calibrations: Mapping[str | None, Path | CameraGroup], sessions: Sequence[str], views: Sequence[str]
) -> dict[str, CameraGroup]:
    """Write `<session>.toml` for each session that has a calibration.

    TOML is copied as it is, other formats and cameras are written as anipose's TOML. Clocks beside a file are copied.

    Returns:
        Cameras of the sessions that have a calibration.

    Raises:
        InputError: A file cannot be read, lacks a view (`missing-view`), or has cameras that TOML cannot store.
    """
    written = {}
    for session in sessions:
        path = calibrations.get(session, calibrations.get(None))
        if path is None:
            continue
        cameras = path if isinstance(path, CameraGroup) else CameraGroup.load(path)
        where = path if isinstance(path, Path) else f"session {session!r} of the source"
        missing = [view for view in views if view not in cameras.names]
        if missing:
            raise InputError(
                f"{where}: the calibration lacks the camera {', '.join(missing)}, found {', '.join(cameras.names)}, "
                f"expected {', '.join(views)}. Set the names of the views with --pattern or --view",
                code="missing-view",
                path=path,
                view=missing[0],
                found=cameras.names,
                expected=tuple(views),
            )
        folder.mkdir(exist_ok=True)
        target = folder / file_name(f"{session}{_TOML}")
        if isinstance(path, Path) and path.suffix.lower() == _TOML:
            shutil.copyfile(path, target)
        else:
            cameras.save(target, file_format="anipose")
        if isinstance(path, Path):
            copy_clocks(path, target)
        written[session] = cameras
    return written
