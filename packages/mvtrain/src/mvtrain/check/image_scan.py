"""Every image of a project decoded once: which are damaged or blank, and what is kept to compare them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import cv2
import numpy as np

from mvgeom.calibration.findings import Finding, error, warning
from mvtrain.check.label_checks import counted
from mvtrain.project.images import read_image
from mvtrain.project.project import Project

SIDE = 16
"""Side of the thumbnails. Coarse, so that a subject that moved by a few pixels still looks the same."""

_BLANK = 0.5
"""Standard deviation in gray levels below which an image shows nothing."""

_NUM_EXAMPLES = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageScan:
    """What the pixels of a project's images say.

    Attributes:
        thumbnails: (N, V, SIDE, SIDE) uint8 gray; 0 where there is no image or it cannot be decoded.
        readable: (N, V) whether there is an image that can be decoded.
        digests: N x V hashes of size and pixels; None where not readable.
        blank: (N, V) images of one color.
        problems: what is wrong with each image that cannot be decoded, by (row, view).
    """

    thumbnails: np.ndarray
    readable: np.ndarray
    digests: tuple[tuple[bytes | None, ...], ...]
    blank: np.ndarray
    problems: dict[tuple[int, int], str]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Seen:
    thumbnail: np.ndarray
    digest: bytes
    blank: bool


def scan_images(project: Project, progress: Callable[[int, int], None] | None = None) -> ImageScan:
    """Decode every image in threads; of each only a thumbnail and a hash stay in memory.

    Args:
        project: whose images to read.
        progress: called with the number of images done and of all.
    """
    paths = project.image_paths
    places = [(row, view) for row, names in enumerate(paths) for view, path in enumerate(names) if path is not None]
    shape = (len(project), len(project.view_names))
    thumbnails = np.zeros((*shape, SIDE, SIDE), dtype=np.uint8)
    blank = np.zeros(shape, dtype=bool)
    digests: list[list[bytes | None]] = [[None] * shape[1] for _ in range(shape[0])]
    problems: dict[tuple[int, int], str] = {}

    def look(place: tuple[int, int]) -> _Seen | str:
        path = paths[place[0]][place[1]]
        assert path is not None
        width, height = project.file_sizes[place]
        return _look_at(path, (int(width), int(height)))

    with ThreadPoolExecutor() as pool:
        for done, (place, seen) in enumerate(zip(places, pool.map(look, places), strict=True), start=1):
            if isinstance(seen, str):
                problems[place] = seen
            else:
                thumbnails[place], blank[place] = seen.thumbnail, seen.blank
                digests[place[0]][place[1]] = seen.digest
            if progress is not None:
                progress(done, len(places))
    return ImageScan(
        thumbnails=thumbnails,
        readable=np.array([[digest is not None for digest in row] for row in digests]).reshape(shape),
        digests=tuple(tuple(row) for row in digests),
        blank=blank,
        problems=problems,
    )


def _look_at(path: Path, header_size: tuple[int, int]) -> _Seen | str:
    try:
        image = read_image(path)
    except ValueError as problem:
        return str(problem)
    height, width = image.shape[:2]
    if (width, height) != header_size:
        return f"image {path} decodes to {width}x{height} px, its header says {header_size[0]}x{header_size[1]}"
    digest = blake2b(f"{width}x{height}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)
    return _Seen(
        thumbnail=thumbnail(image),
        digest=digest.digest(),
        blank=float(cv2.meanStdDev(image)[1].max()) < _BLANK,
    )


def thumbnail(image: np.ndarray) -> np.ndarray:
    """(SIDE, SIDE) uint8 gray: the mean over as many fields of an image (h, w, 3) uint8 RGB of any shape."""
    return cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def image_findings(project: Project, scan: ImageScan) -> list[Finding]:
    """Images that cannot be decoded (an error: training stops at them) and images that show nothing."""
    findings = []
    if scan.problems:
        views = sorted({view for _, view in scan.problems})
        shown = "; ".join(list(scan.problems.values())[:_NUM_EXAMPLES])
        text = (
            f"{len(scan.problems)} of {int(scan.readable.sum()) + len(scan.problems)} images cannot be decoded: {shown}"
            f"{'; ...' if len(scan.problems) > _NUM_EXAMPLES else ''}. Copy them again, or take their rows out of the "
            "label tables"
        )
        names = [project.view_names[view] for view in views]
        findings.append(error("damaged_image", names, text, images=len(scan.problems)))
    if scan.blank.any():
        places = np.argwhere(scan.blank)
        shown = ", ".join(str(project.image_names[row][view]) for row, view in places[:_NUM_EXAMPLES])
        text = f"{counted(len(places), 'image')} of one color, which show nothing, such as {shown}"
        names = [project.view_names[view] for view in np.flatnonzero(scan.blank.any(axis=0))]
        findings.append(warning("blank_image", names, text, images=len(places)))
    return findings
