"""Where a camera's pictures come from, a folder of images or a video, and which of them are the same moment."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from mvgeom.errors import InputError

Image = npt.NDArray[np.uint8]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".pgm")
VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".m4v", ".mpg", ".mpeg", ".webm")


@dataclass(frozen=True, kw_only=True)
class Source:
    """The pictures of one camera.

    Attributes:
        name: of the camera.
        images: image files in order; empty for a video.
        video: the video file; None for images.
        step: every how many frames of the video one is taken.
    """

    name: str
    images: tuple[Path, ...] = ()
    video: Path | None = None
    step: int = 1


def open_source(name: str, path: str | Path, *, step: int = 1) -> Source:
    """Find a camera's pictures.

    Args:
        name: of the camera.
        path: a folder of images, a pattern such as `boards/left*.jpg`, an image, or a video.
        step: of a video (or of many images) take every step-th.

    Raises:
        ValueError: when there is nothing there, or no image; the message names the camera and the path.
    """
    if step < 1:
        raise InputError(f"step must be at least 1, got {step}", code="out-of-range", argument="step", found=step)
    path = Path(path)
    if path.is_dir():
        files = [file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES]
        if not files:
            raise InputError(
                f"camera {name!r}: no images in {path} (of {', '.join(IMAGE_SUFFIXES)})",
                code="missing-file",
                view=name,
                path=path,
            )
    elif any(character in path.name for character in "*?["):
        files = [file for file in path.parent.glob(path.name) if file.suffix.lower() in IMAGE_SUFFIXES]
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
            f"camera {name!r}: {path} is neither a folder nor an image ({', '.join(IMAGE_SUFFIXES)}) nor a video "
            f"({', '.join(VIDEO_SUFFIXES)})",
            code="unknown-format",
            view=name,
            path=path,
        )
    return Source(name=name, images=tuple(sorted(files, key=_natural))[::step])


def read_frames(source: Source) -> Iterator[tuple[int, Image]]:
    """Grey pictures of one camera, with their number: of the image in the list, or of the frame in the video.

    Raises:
        ValueError: when a file cannot be read; the message names it.
    """
    if source.video is None:
        for number, file in enumerate(source.images):
            image = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
            if image is None:
                raise InputError(
                    f"camera {source.name!r}: {file} cannot be read as an image",
                    code="unreadable-file",
                    view=source.name,
                    path=file,
                )
            yield number, np.asarray(image, dtype=np.uint8)
        return
    capture = cv2.VideoCapture(str(source.video))
    try:
        number = 0
        while capture.grab():
            if number % source.step == 0:
                decoded, picture = capture.retrieve()
                if decoded:
                    grey = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
                    yield number, np.asarray(grey, dtype=np.uint8)
            number += 1
        if number == 0:
            raise InputError(
                f"camera {source.name!r}: {source.video} cannot be read as a video",
                code="unreadable-file",
                view=source.name,
                path=source.video,
            )
    finally:
        capture.release()


def count_frames(source: Source) -> int:
    """How many pictures `read_frames` will give; for a video what its header says, which may be wrong."""
    if source.video is None:
        return len(source.images)
    capture = cv2.VideoCapture(str(source.video))
    frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    capture.release()
    return max(0, -(-frames // source.step))


def frame_names(sources: Mapping[str, Source], match: Literal["name", "order"] = "name") -> dict[str, list[str] | None]:
    """Names by which the images of different cameras are the same moment; None for videos, whose frame number is it.

    With `name`, what all file names of one camera begin and end with is left out: cam1_007.png and cam2_007.png are
    both 007. With `order`, the n-th image of each camera belongs to the n-th of the others.

    Args:
        sources: by camera.
        match: how images are matched.

    Raises:
        ValueError: when some cameras have videos and others images, or images of more than one camera have no name in
            common; the message shows the names.
    """
    videos = [name for name, source in sources.items() if source.video is not None]
    if videos and len(videos) != len(sources):
        images = [name for name in sources if name not in videos]
        raise InputError(
            f"cameras {', '.join(videos)} have videos and {', '.join(images)} images; moments can only be matched "
            "between videos or between images",
            code="mixed-sources",
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
    seen = [name for each in names.values() for name in each or []]
    if len(sources) > 1 and len(set(seen)) == len(seen):
        shown = "; ".join(f"{name}: {', '.join((each or [])[:3])}" for name, each in names.items())
        raise InputError(
            f"no image of one camera has the same name as an image of another, so no moment is shared ({shown}). Name "
            "them alike (cam1_007.png, cam2_007.png), or match them by order",
            code="no-shared-frame",
            views=tuple(names),
        )
    return names


def _distinguishing(stems: list[str]) -> list[str]:
    """The part of each name in which names differ, not cutting numbers in two; all of it if there is just one name."""
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
    """Sorts img10 behind img9."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", path.name) if part]
