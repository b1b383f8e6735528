"""The images of imported labels into `labeled-data`, copied or taken from videos."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from mvgeom import CameraGroup
from mvgeom.calibration.sources import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from mvgeom.files import replace_file
from mvtrain.exchange.foreign_labels import DecodedImage, ImageFile, ImageSource, ReadOptions, VideoFrame
from mvtrain.predict.video import open_video, read_frames
from mvtrain.project.images import image_size, read_image
from mvtrain.project.names import split_name


def write_images(images: Mapping[Path, ImageSource], advance: Callable[[], object]) -> None:
    """Write every image as PNG: PNG files are copied as they are, everything else is encoded without loss.

    A video is decoded once, from its start to the last frame wanted, because seeking is not exact.

    Args:
        images: by target file; folders are made.
        advance: called after each image.

    Raises:
        ValueError: an image cannot be read, or a video lacks a frame or cannot decode it.
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
    if source.suffix.lower() == ".png":
        image_size(source)  # what is no image is refused here, not at the first training
        shutil.copyfile(source, target)
    else:
        _write_png(target, read_image(source)[..., ::-1])


def _read_decoded(image: DecodedImage) -> np.ndarray:
    try:
        return image.read()
    except (OSError, KeyError, IndexError, ValueError) as error:
        raise ValueError(f"{image.name}: the image cannot be read: {error}") from error


def _extract(path: Path, targets: Mapping[int, list[Path]], advance: Callable[[], object]) -> None:
    """Write frames of one video."""
    video = open_video(path)
    last, number = max(targets), -1
    with closing(read_frames(video)) as frames:
        for number, frame in enumerate(frames):
            for target in targets.get(number, ()):
                if frame is None:
                    raise ValueError(f"{path}: frame {number} is wanted, but cannot be decoded")
                _write_png(target, frame)
                advance()
            if number == last:
                return
    raise ValueError(f"{path}: frame {last} is wanted, but the video ends after {number + 1} frames")


def _write_png(path: Path, image: np.ndarray) -> None:
    """Write (H, W, 3) uint8 BGR."""
    success, content = cv2.imencode(".png", np.ascontiguousarray(image))
    assert success, path
    replace_file(path, lambda temporary: temporary.write_bytes(content.tobytes()))


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


_TOML = ".toml"


def find_calibrations(sources: Sequence[Path], given: Path | None) -> dict[str | None, Path]:
    """Calibration files by session; the key None is for all other sessions.

    Args:
        sources: folders or files of the foreign project; `calibrations/<session>.toml` and `calibration.toml` beside
            them count.
        given: a calibration file of any format, or a folder of `<session>.toml`; then nothing else counts.

    Raises:
        ValueError: `given` does not exist, or is a folder without any.
    """
    if given is not None:
        if not given.exists():
            raise ValueError(f"calibration {given} does not exist")
        if not given.is_dir():
            return {None: given}
        found: dict[str | None, Path] = {path.stem: path for path in sorted(given.glob(f"*{_TOML}"))}
        if not found:
            raise ValueError(f"calibration folder {given} has no <session>.toml")
        return found
    result: dict[str | None, Path] = {}
    for source in sources:
        folder = source if source.is_dir() else source.parent
        for path in sorted((folder / "calibrations").glob(f"*{_TOML}")):
            result.setdefault(path.stem, path)
        if (folder / "calibration.toml").is_file():
            result.setdefault(None, folder / "calibration.toml")
    return result


def write_calibrations(
    folder: Path, calibrations: Mapping[str | None, Path], sessions: Sequence[str], views: Sequence[str]
) -> int:
    """Write `<session>.toml` for each session that has a calibration.

    TOML is copied as it is, other formats are written as anipose's TOML.

    Returns:
        How many sessions have one.

    Raises:
        ValueError: a file cannot be read, lacks a view (the message has both lists), or holds cameras that TOML cannot.
    """
    number = 0
    for session in sessions:
        path = calibrations.get(session, calibrations.get(None))
        if path is None:
            continue
        cameras = CameraGroup.load(path)
        missing = [view for view in views if view not in cameras.names]
        if missing:
            raise ValueError(
                f"calibration {path} has the cameras {', '.join(cameras.names)}, but the views are {', '.join(views)}; "
                "--pattern and --view say what the views are called"
            )
        folder.mkdir(exist_ok=True)
        target = folder / f"{session}{_TOML}"
        if path.suffix.lower() == _TOML:
            shutil.copyfile(path, target)
        else:
            cameras.save(target, file_format="anipose")
        number += 1
    return number
