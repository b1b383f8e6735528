"""Image sources of a camera (folder or video), and matching of images to frames."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from mvgeom.errors import InputError
from mvgeom.files import is_pattern, list_files, list_matches
from mvgeom.images import decode_image, is_turned, to_8_bits
from mvgeom.path_kinds import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from mvgeom.videos import Video, match_videos, open_video
from mvgeom.videos import read_frames as read_video_frames

__all__ = [
    "IMAGE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "Image",
    "Source",
    "count_frames",
    "frame_names",
    "match_sources",
    "open_source",
    "read_frames",
    "source_video",
    "turned_images",
]

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Images of one camera.

    Attributes:
        name: Name of the camera.
        images: Image files in order; empty for a video.
        video: Path of the video file; None for images.
        step: Interval of the frames that are read from the video: every step-th frame.
        matched: Video with its images matched to those of the other cameras, see `match_sources`; None where image n is
            that of frame n.
    """

    name: str
    images: tuple[Path, ...] = ()
    video: Path | None = None
    step: int = 1
    matched: Video | None = None


def open_source(name: str, path: str | Path, *, step: int = 1) -> Source:
    """Open a camera's images or video.

    Args:
        name: Name of the camera.
        path: Path of a folder of images, a pattern such as `boards/left*.jpg`, an image, or a video.
        step: Interval of the frames (or images) to use: every step-th.

    Raises:
        InputError: `missing-file`, if the path or its images do not exist; `unknown-format`, if the file is no image or
            video (both messages have camera and path); `out-of-range`, if the step is less than 1.
    """
    if step < 1:
        raise InputError(f"step: must be at least 1, found {step}", code="out-of-range", argument="step", found=step)
    path = Path(path)
    if path.is_dir():
        files = [file for file in list_files(path) if file.suffix.lower() in IMAGE_SUFFIXES]
        if not files:
            raise InputError(
                f"camera {name!r}: no images in {path}, expected {', '.join(IMAGE_SUFFIXES)}",
                code="missing-file",
                view=name,
                path=path,
            )
    elif is_pattern(path):
        files = [file for file in list_matches(path) if file.suffix.lower() in IMAGE_SUFFIXES]
        if not files:
            raise InputError(f"camera {name!r}: no image matches {path}", code="missing-file", view=name, path=path)
    elif not path.exists():
        raise InputError(f"camera {name!r}: no such file or folder: {path}", code="missing-file", view=name, path=path)
    elif path.suffix.lower() in VIDEO_SUFFIXES:
        return Source(name=name, video=path, step=step)
    elif path.suffix.lower() in IMAGE_SUFFIXES:
        files = [path]
    else:
        raise InputError(
            f"camera {name!r}: {path} has an unknown type, expected a folder, an image ({', '.join(IMAGE_SUFFIXES)}) "
            f"or a video ({', '.join(VIDEO_SUFFIXES)})",
            code="unknown-format",
            view=name,
            path=path,
        )
    return Source(name=name, images=tuple(sorted(files, key=_natural))[::step])


def read_frames(source: Source) -> Iterator[tuple[int, Image]]:
    """Yield numbered gray images of one camera; the number is that of the image in the list, or of the video's frame.

    Images of a video that cannot be decoded are left out; the others keep their numbers.

    Images have the pixels that their files store: an EXIF orientation is ignored, as for labeled images. Values of 16
    bits are scaled by the bits in use.

    Raises:
        InputError: `unreadable-file`, if a file cannot be read; the message has its path.
    """
    if source.video is None:
        for number, file in enumerate(source.images):
            photograph = _read_gray(file)
            if photograph is None:
                raise InputError(
                    f"camera {source.name!r}: {file} cannot be read as an image",
                    code="unreadable-file",
                    view=source.name,
                    path=file,
                )
            yield number, photograph
        return
    found, video = False, source_video(source)
    for number, image in enumerate(read_video_frames(video, is_wanted=lambda frame: frame % source.step == 0)):
        if image is not None:
            found = True
            yield number, np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
    if not found:
        raise InputError(
            f"camera {source.name!r}: no image of {source.video} can be decoded",
            code="unreadable-file",
            view=source.name,
            path=source.video,
        )


def source_video(source: Source) -> Video:
    """Return the video of a camera, with its images matched to frames if they are.

    Raises:
        InputError: The file cannot be opened as a video; the message has the camera.
    """
    if source.matched is not None:
        return source.matched
    assert source.video is not None
    try:
        return open_video(source.video)
    except InputError as error:
        raise error.prefixed(f"camera {source.name!r}: ", view=source.name) from error


def match_sources(sources: Mapping[str, Source], match: Literal["name", "order"] = "name") -> dict[str, Source]:
    """Match the images of the cameras' videos to frames by their presentation times, see `mvgeom.videos.match_videos`.

    Frame rates may be whole multiples of each other, such as 30 and 60: frames are then those of the highest rate.

    Args:
        sources: Images or videos by camera name.
        match: Method of matching: `name` by time, `order` by number.

    Returns:
        The sources; image files are matched by `frame_names`.

    Raises:
        InputError: A video cannot be read; `rates-differ` or `unmatched-frames`, if the times of the images do not tell
            which of them belong together.
    """
    with_video = [source for source in sources.values() if source.video is not None]
    if match == "order" or len(with_video) < 2:
        return dict(sources)
    videos = [source_video(source) for source in with_video]
    try:
        matched = match_videos(videos, [source.name for source in with_video], multiples=True)
    except InputError as error:
        # Images of the same number are of other times at another rate: only wrong rates are a reason for it.
        rarely = "Only if the stated rates are wrong, give" if error.code == "rates-differ" else "Give"
        raise error.advised(f"{rarely} --match order (match='order').") from error
    opened = {source.name: video for source, video in zip(with_video, matched, strict=True)}
    return {name: replace(source, matched=opened.get(source.name)) for name, source in sources.items()}


def _read_gray(path: Path) -> Image | None:
    """Read an image as gray values; None if it cannot be read."""
    try:
        image = decode_image(np.fromfile(path, dtype=np.uint8), gray=True)  # cv2.imread cannot open every name
    except OSError:
        return None
    return None if image is None or image.dtype not in (np.uint8, np.uint16) else to_8_bits(image)


def turned_images(source: Source) -> list[Path]:
    """Return the images that viewers show turned by EXIF; `read_frames` gives their pixels as stored."""
    return [file for file in source.images if file.is_file() and is_turned(np.fromfile(file, dtype=np.uint8))]


def count_frames(source: Source) -> int:
    """Count the images that `read_frames` will yield; for a video, as many as it announces."""
    if source.video is None:
        return len(source.images)
    video = source_video(source)
    frames = np.arange(video.num_frames) if video.frames is None else video.frames
    return int((frames % source.step == 0).sum())


def frame_names(sources: Mapping[str, Source], match: Literal["name", "order"] = "name") -> dict[str, list[str] | None]:
    """Return frame names of the images of each camera; None for videos, see `match_sources`.

    With `name`, the common beginning and end of all file names of one camera are removed: cam1_007.png and cam2_007.png
    are both 007. With `order`, the n-th image of each camera belongs to the n-th image of the others.

    Args:
        sources: Images or videos by camera name.
        match: Method of matching images: by name or by order.

    Raises:
        InputError: `unmatched-frames`, if some cameras have videos and others images, or if several cameras have images
            but no name in common (the message shows the names); `duplicate-name`, if two images of a camera have the
            name of one frame (1.png and 01.png).
    """
    videos = [name for name, source in sources.items() if source.video is not None]
    if videos and len(videos) != len(sources):
        images = [name for name in sources if name not in videos]
        raise InputError(
            f"cameras {', '.join(videos)} have videos and {', '.join(images)} images; frames can only be matched "
            "between videos or between images. Use one kind for all cameras.",
            code="unmatched-frames",
            views=videos,
        )
    if videos:
        return dict.fromkeys(sources)
    if match == "order":
        return {name: [str(number) for number in range(len(source.images))] for name, source in sources.items()}
    single = all(len(source.images) == 1 for source in sources.values())
    names: dict[str, list[str] | None] = {
        name: ["0"] if single else _distinguishing([file.stem for file in source.images])
        for name, source in sources.items()
    }
    for name, source in sources.items():
        _check_distinct(source, names[name] or [])
    seen = [name for each in names.values() for name in each or []]
    if len(sources) > 1 and len(set(seen)) == len(seen):
        shown = "; ".join(f"{name}: {', '.join((each or [])[:3])}" for name, each in names.items())
        raise InputError(
            f"no image of one camera has the same name as an image of another, so no frame is shared ({shown}). Use "
            "matching names (cam1_007.png, cam2_007.png), or match by order.",
            code="unmatched-frames",
            views=tuple(names),
        )
    return names


def _check_distinct(source: Source, names: list[str]) -> None:
    """Refuse two images of a camera for one frame: only one of them could count."""
    earlier: dict[str, Path] = {}
    for name, file in zip(names, source.images, strict=True):
        first = earlier.setdefault(name, file)
        if first != file:
            raise InputError(
                f"camera {source.name!r}: two images of frame {name!r}, found {first} and {file}, expected one. Remove "
                "one of them, or match by order.",
                code="duplicate-name",
                view=source.name,
                name=name,
                path=file,
                other=first,
            )


def _distinguishing(stems: list[str]) -> list[str]:
    """Return the part of each name that differs, with whole numbers; a single name is returned unchanged."""
    if len(stems) == 1:
        digits = re.findall(r"\d+", stems[0])
        return [digits[-1].lstrip("0") or "0"] if digits else stems
    shortest = min(len(stem) for stem in stems)
    start = 0
    while start < shortest and len({stem[start] for stem in stems}) == 1:
        start += 1
    end = 0
    while end < shortest - start and len({stem[-1 - end] for stem in stems}) == 1:
        end += 1
    while start > 0 and stems[0][start - 1].isdigit():
        start -= 1
    while end > 0 and stems[0][len(stems[0]) - end].isdigit():
        end -= 1
    parts = [stem[start : len(stem) - end] for stem in stems]
    return [part.lstrip("0") or "0" if part.isdigit() else part for part in parts]


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Return a sort key that puts img10 after img9."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", path.name) if part]
