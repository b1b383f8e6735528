"""A scan of a project's images: each is decoded once, for damaged and blank images and for comparisons."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import cv2
import numpy as np

from mvgeom.calibration.findings import Finding, error, note, warning
from mvgeom.errors import InputError
from mvgeom.images import bits_in_use, to_8_bits
from mvgeom.wording import counted
from mvtrain.project.image_headers import turned_warning
from mvtrain.project.images import read_stored
from mvtrain.project.label_tables import VISIBLE
from mvtrain.project.project import Project

SIDE = 16
"""Side of the thumbnails in px; small, so that a movement of a few pixels changes them little."""

_BLANK = 0.5
"""Standard deviation in gray levels below which an image is blank."""

_ALL_BITS = 16
"""Bits of the deepest images."""

_BESIDE_STORED = 0.01
"""Share of the labels of turned images above which those outside of the stored image show which px are meant."""

_NUM_EXAMPLES = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageScan:
    """Results of scanning a project's images.

    Attributes:
        thumbnails: (N, V, SIDE, SIDE) uint8 gray levels; 0 where there is no image or it cannot be decoded.
        readable: (N, V) True where there is an image that can be decoded.
        digests: N x V hashes of size and pixels; None where an image is not readable.
        blank: (N, V) True for images of one color.
        bits: (N, V) bits in use of images with 16 bits; 0 for images with 8 bits and where there is none.
        problems: Messages about the images that cannot be decoded, by (row, view).
    """

    thumbnails: np.ndarray
    readable: np.ndarray
    digests: tuple[tuple[bytes | None, ...], ...]
    blank: np.ndarray
    bits: np.ndarray
    problems: dict[tuple[int, int], str]


@dataclass(frozen=True, kw_only=True, eq=False)
class _ScannedImage:
    thumbnail: np.ndarray
    digest: bytes
    blank: bool
    bits: int


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
    blank, bits = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=np.int64)
    digests: list[list[bytes | None]] = [[None] * shape[1] for _ in range(shape[0])]
    problems: dict[tuple[int, int], str] = {}
    view_bits = dict(enumerate(project.value_bits))

    def scan(place: tuple[int, int]) -> _ScannedImage | str:
        path = paths[place[0]][place[1]]
        assert path is not None
        width, height = project.file_sizes[place]
        return _scan_image(path, (int(width), int(height)), view_bits.get(place[1]))

    with ThreadPoolExecutor() as pool:
        for done, (place, scanned) in enumerate(zip(places, pool.map(scan, places), strict=True), start=1):
            if isinstance(scanned, str):
                problems[place] = scanned
            else:
                thumbnails[place], blank[place], bits[place] = scanned.thumbnail, scanned.blank, scanned.bits
                digests[place[0]][place[1]] = scanned.digest
            if progress is not None:
                progress(done, len(places))
    return ImageScan(
        thumbnails=thumbnails,
        readable=np.array([[digest is not None for digest in row] for row in digests]).reshape(shape),
        digests=tuple(tuple(row) for row in digests),
        blank=blank,
        bits=bits,
        problems=problems,
    )


def image_findings(project: Project, scan: ImageScan) -> list[Finding]:
    """Report images that cannot be decoded (training stops at them), blank ones, turned ones, and bits in use."""
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
        text = f"{counted(len(places), 'image')} of one color, such as {shown}"
        names = [project.view_names[view] for view in np.flatnonzero(scan.blank.any(axis=0))]
        findings.append(warning("blank_image", names, text, images=len(places)))
    return [*findings, *_turned_findings(project), *_bits_findings(project, scan)]


def _turned_findings(project: Project) -> list[Finding]:
    """Report images with an EXIF orientation: an error if labels are in px of the turned images."""
    if project.turned is None:
        return []
    (text,) = turned_warning(project.image_paths, project.turned)
    visible = (project.visibility == VISIBLE) & project.turned[..., None]
    inside, inside_turned = (
        ((project.points >= -0.5) & (project.points <= sizes[:, :, None] - 0.5)).all(axis=-1)
        for sizes in (project.file_sizes, project.file_sizes[..., ::-1])
    )
    beside = int((visible & ~inside & inside_turned).sum())
    names = [project.view_names[view] for view in np.flatnonzero(project.turned.any(axis=0))]
    evidence = {"images": int(project.turned.sum()), "labels_outside": beside}
    if beside > _BESIDE_STORED * visible.sum():
        text += (
            f", but only the turned images contain {beside} of their {int(visible.sum())} labels. Save the "
            "images as they are shown, without the tag"
        )
        return [error("turned_images", names, text, **evidence)]
    return [warning("turned_images", names, text, **evidence)]


def _bits_findings(project: Project, scan: ImageScan) -> list[Finding]:
    """Report views whose images with 16 bits use fewer, and images that use more than those of their view."""
    findings = []
    for view, (name, used) in enumerate(zip(project.view_names, project.value_bits, strict=False)):
        own = scan.bits[:, view]
        if used is None or not own.any():
            continue
        if used < _ALL_BITS:
            text = (
                f"view {name}: images with 16 bits use {used} of them, so values are scaled by {counted(used, 'bit')}"
            )
            findings.append(note("value_bits", [name], text, bits=used, images=int((own > 0).sum())))
        more = np.flatnonzero(own > used)
        if len(more):
            text = (
                f"view {name}: {counted(len(more), 'image')} with more bits in use than the others, such as "
                f"{project.image_names[more[0]][view]}, found {own[more].max()}, expected {used}. Their brightness is "
                "another one. Check the camera's settings"
            )
            findings.append(warning("mixed_bits", [name], text, images=len(more), bits=int(own.max())))
    return findings


def thumbnail(image: np.ndarray) -> np.ndarray:
    """Reduce an image (h, w, 3) uint8 RGB of any shape to (SIDE, SIDE) uint8 gray levels, the means of its fields."""
    return cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def _scan_image(path: Path, header_size: tuple[int, int], view_bits: int | None) -> _ScannedImage | str:
    try:
        stored = read_stored(path)
    except InputError as problem:
        return str(problem)
    bits = bits_in_use(stored) if stored.dtype == np.uint16 else 0
    image = cv2.cvtColor(to_8_bits(stored, view_bits), cv2.COLOR_BGR2RGB)
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
        bits=bits,
    )
