"""A scan of a project's images: each is decoded once, for damaged and blank images and for comparisons."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import cv2
import numpy as np

from mvgeom.calibration.findings import Finding, error, warning
from mvgeom.errors import InputError
from mvtrain.check.label_checks import pluralize
from mvtrain.project.images import read_image
from mvtrain.project.project import Project

SIDE = 16
"""Side of the thumbnails in px; small, so that a movement of a few pixels changes them little."""

_BLANK = 0.5
"""Standard deviation in gray levels below which an image is blank."""

_NUM_EXAMPLES = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageScan:
    """Results of scanning a project's images.

    Attributes:
        thumbnails: (N, V, SIDE, SIDE) uint8 gray levels; 0 where there is no image or it cannot be decoded.
        readable: (N, V) True where there is an image that can be decoded.
        digests: N x V hashes of size and pixels; None where an image is not readable.
        blank: (N, V) True for images of one color.
        problems: Messages about the images that cannot be decoded, by (row, view).
    """

    thumbnails: np.ndarray
    readable: np.ndarray
    digests: tuple[tuple[bytes | None, ...], ...]
    blank: np.ndarray
    problems: dict[tuple[int, int], str]


@dataclass(frozen=True, kw_only=True, eq=False)
class _ScannedImage:
    thumbnail: np.ndarray
    digest: bytes
    blank: bool


def scan_images(project: Project, progress: Callable[[int, int], None] | None = None) -> ImageScan:
    """Decode every image in threads; of each only a thumbnail and a hash stay in memory.

    Args:
        project: Project with the images.
        progress: Function that is called with the number of images done and of all.
    """
    paths = project.image_paths
    places = [(row, view) for row, names in enumerate(paths) for view, path in enumerate(names) if path is not None]
    shape = (len(project), len(project.view_names))
    thumbnails = np.zeros((*shape, SIDE, SIDE), dtype=np.uint8)
    blank = np.zeros(shape, dtype=bool)
    digests: list[list[bytes | None]] = [[None] * shape[1] for _ in range(shape[0])]
    problems: dict[tuple[int, int], str] = {}

    def scan(place: tuple[int, int]) -> _ScannedImage | str:
        path = paths[place[0]][place[1]]
        assert path is not None
        width, height = project.file_sizes[place]
        return _scan_image(path, (int(width), int(height)))

    with ThreadPoolExecutor() as pool:
        for done, (place, scanned) in enumerate(zip(places, pool.map(scan, places), strict=True), start=1):
            if isinstance(scanned, str):
                problems[place] = scanned
            else:
                thumbnails[place], blank[place] = scanned.thumbnail, scanned.blank
                digests[place[0]][place[1]] = scanned.digest
            if progress is not None:
                progress(done, len(places))
    return ImageScan(
        thumbnails=thumbnails,
        readable=np.array([[digest is not None for digest in row] for row in digests]).reshape(shape),
        digests=tuple(tuple(row) for row in digests),
        blank=blank,
        problems=problems,
    )


def image_findings(project: Project, scan: ImageScan) -> list[Finding]:
    """Report images that cannot be decoded (an error, because training stops at them) and blank images (a warning)."""
    findings = []
    if scan.problems:
        views = sorted({view for _, view in scan.problems})
        shown = "; ".join(list(scan.problems.values())[:_NUM_EXAMPLES])
        text = (
            f"{len(scan.problems)} of {int(scan.readable.sum()) + len(scan.problems)} images cannot be decoded: {shown}"
            f"{'; ...' if len(scan.problems) > _NUM_EXAMPLES else ''}. Copy them again, or remove their rows from the "
            "label tables"
        )
        names = [project.view_names[view] for view in views]
        findings.append(error("damaged_image", names, text, images=len(scan.problems)))
    if scan.blank.any():
        places = np.argwhere(scan.blank)
        shown = ", ".join(str(project.image_names[row][view]) for row, view in places[:_NUM_EXAMPLES])
        text = f"{pluralize(len(places), 'image')} of one color, such as {shown}"
        names = [project.view_names[view] for view in np.flatnonzero(scan.blank.any(axis=0))]
        findings.append(warning("blank_image", names, text, images=len(places)))
    return findings


def thumbnail(image: np.ndarray) -> np.ndarray:
    """Reduce an image (h, w, 3) uint8 RGB of any shape to (SIDE, SIDE) uint8 gray levels, the means of its fields."""
    return cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def _scan_image(path: Path, header_size: tuple[int, int]) -> _ScannedImage | str:
    try:
        image = read_image(path)
    except InputError as problem:
        return str(problem)
    height, width = image.shape[:2]
    if (width, height) != header_size:
        return (
            f"image {path}: has another size than its header, found {width}x{height} px, expected {header_size[0]}x"
            f"{header_size[1]} px"
        )
    digest = blake2b(f"{width}x{height}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)
    return _ScannedImage(
        thumbnail=thumbnail(image),
        digest=digest.digest(),
        blank=float(cv2.meanStdDev(image)[1].max()) < _BLANK,
    )
