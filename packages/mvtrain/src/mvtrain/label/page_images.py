"""Images for the page, as browsers can show them: those of the frames, and those before and after in the videos."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from threading import Lock

import cv2
import numpy as np
from PIL import Image

from mvgeom.calibration.sources import VIDEO_SUFFIXES
from mvgeom.clocks import Clocks
from mvgeom.errors import InputError
from mvgeom.files import file_name
from mvgeom.frame_reader import FrameReader
from mvgeom.videos import Video, match_videos, open_video
from mvtrain.config import Config
from mvtrain.project.calibrations import load_view_clocks, session_files
from mvtrain.project.images import HEADER_ERRORS, read_image
from mvtrain.project.names import frame_number
from mvtrain.project.project import Project
from mvtrain.project.view_tables import frame_of_row

_JPEG_QUALITY = 92
_DEPTH = 8
_ORIENTATION = 0x0112
"""EXIF tag; browsers would turn the image, whose labels are in px of the stored one."""

REACH = 60
"""Largest distance in frames from the labeled one."""

_BLOCK = 8
"""Frames that are decoded together."""

_MAX_CACHED = 1500


def page_image(path: Path) -> tuple[bytes, str]:
    """Return the content of an image and its media type.

    Raises:
        InputError: The image is missing, unreadable or damaged.
    """
    kind = _plain_type(path)
    if kind is None:
        return encode(read_image(path)[..., ::-1], ".png"), "image/png"
    try:
        return path.read_bytes(), kind
    except OSError as error:
        raise InputError(f"image {path} cannot be read: {error.strerror}", code="unreadable-file", path=path) from error


def encode(image: np.ndarray, suffix: str) -> bytes:
    """Encode (H, W, 3) uint8 BGR as `.png` or `.jpg`."""
    parameters = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if suffix == ".jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 1]
    success, content = cv2.imencode(suffix, np.ascontiguousarray(image), parameters)
    assert success
    return content.tobytes()


def _png_depth(path: Path) -> int:
    """Return the bits per channel of a PNG file; Pillow does not tell them for colors."""
    with path.open("rb") as file:
        return file.read(25)[24]


def _plain_type(path: Path) -> str | None:
    """Return the media type of a file that browsers show as `read_image` reads it; None for any other."""
    try:
        with Image.open(path) as image:
            plain = image.mode in ("L", "RGB") and image.getexif().get(_ORIENTATION, 1) == 1
            kind = {"PNG": "image/png", "JPEG": "image/jpeg"}.get(image.format or "") if plain else None
        return None if kind == "image/png" and _png_depth(path) > _DEPTH else kind
    except (OSError, *HEADER_ERRORS):
        return None  # read_image says what is wrong


class NeighborFrames:
    """Videos of a project, opened when a frame of them is asked for.

    Args:
        config: Config; videos are looked for in `data.video_dir`, `eval.test_videos_directory` and `videos` of the
            project.
        project: Project whose frames are labeled.
    """

    def __init__(self, config: Config, project: Project) -> None:
        folders = [config.data.video_dir, config.eval.test_videos_directory, project.root / "videos"]
        self._folders = [folder for folder in folders if folder is not None and folder.is_dir()]
        self._project = project
        self._override = config.data.camera_params_file
        self._readers: dict[Path, FrameReader] = {}
        self._videos: dict[str, dict[Path, Video]] = {}
        self._lock = Lock()
        self._cache: OrderedDict[tuple[int, int, int], bytes] = OrderedDict()

    def place(self, frame: int, view: int) -> tuple[Path, int] | None:
        """Return the video of a labeled image and its frame in it; None where there is no video or no number."""
        name = self._project.image_names[frame][view]
        number = None if name is None else frame_number(PurePosixPath(name.replace("\\", "/")).stem)
        if number is None:
            return None
        stem = f"{self._project.sessions[frame]}_{self._project.view_names[view]}"
        paths = (folder / file_name(f"{stem}{suffix}") for folder in self._folders for suffix in VIDEO_SUFFIXES)
        path = next((path for path in paths if path.is_file()), None)
        return None if path is None else (path, number)

    def read(self, frame: int, view: int, offset: int) -> bytes:
        """Return a neighbor of a labeled image as JPEG, cropped and resized like it.

        Args:
            frame: Number of the labeled frame.
            view: Number of the view.
            offset: Distance in frames, at most `REACH`.

        Raises:
            InputError: There is no video (`missing-file`) or no such frame (`missing-frame`), the video cannot be
                opened, or the frame cannot be decoded (`damaged-file`).
        """
        place = self.place(frame, view)
        if place is None:
            raise InputError("there is no video of this image", code="missing-file", frame=frame, view=view)
        path, number = place[0], place[1] + offset
        if abs(offset) > REACH or number < 0:
            raise InputError(f"{path}: no frame {number} here", code="missing-frame", path=path, frame=number)
        with self._lock:
            video = self._matched_videos(frame).get(path) or open_video(path)
            reader = self._readers.setdefault(path, FrameReader(video))
        with reader.lock:
            key = (frame, view, number)
            if key not in self._cache:
                first = number - number % _BLOCK
                wanted = {video.image_of(at): at for at in range(first, first + _BLOCK) if video.has_image(at)}
                for position, image in reader.read(sorted(image for image in wanted if image is not None)):
                    self._cache[frame, view, wanted[position]] = encode(self._crop(image, frame, view), ".jpg")
            content = self._cache.get(key)
        with self._lock:
            while len(self._cache) > _MAX_CACHED:
                self._cache.popitem(last=False)
        if content is None:
            raise InputError(
                f"{path}: frame {number} cannot be decoded, or the video ends before it",
                code="damaged-file",
                path=path,
                frame=number,
            )
        return content

    def _matched_videos(self, frame: int) -> dict[Path, Video]:
        """Open the videos of a frame's session; their images belong to frames by their times, or else by number."""
        session = self._project.sessions[frame]
        if session not in self._videos:
            videos: list[Video] = []
            views: list[str] = []
            for view, name in enumerate(self._project.view_names):
                place = self.place(frame, view)
                with suppress(InputError):  # said when a frame of this video is asked for
                    if place is not None:
                        videos.append(open_video(place[0]))
                        views.append(name)
            with suppress(InputError):  # the frames of such a project were chosen or imported by number
                names = [video.path.name for video in videos]
                videos = list(match_videos(videos, names, clocks=self._clocks(session, views)))
            self._videos[session] = {video.path: video for video in videos}
        return self._videos[session]

    def _clocks(self, session: str, views: Sequence[str]) -> Clocks | None:
        """Load the clocks of some views beside the session's calibration; None where there are none."""
        project = self._project
        frames = [frame_of_row(names, project.view_names) for names in project.image_names]
        files = session_files(project.root, session, frames, self._override)
        return load_view_clocks(files[0] if files else None, views)

    def _crop(self, image: np.ndarray, frame: int, view: int) -> np.ndarray:
        if self._project.boxes is None:
            return image
        width, height = self._project.file_sizes[frame, view].tolist()
        to_full = self._project.crop_to_full[frame, view]
        return cv2.warpAffine(image, to_full, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
