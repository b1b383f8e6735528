"""Checks of a project's images: each is decoded once, for damaged, blank and similar ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np

from mvgeom.calibration.findings import Finding, error, note, warning
from mvgeom.errors import InputError
from mvgeom.images import bits_in_use, to_8_bits
from mvgeom.wording import counted
from mvtrain.drawing.sheets import frame_title
from mvtrain.project.images import read_stored, turned_warning
from mvtrain.project.label_tables import VISIBLE
from mvtrain.project.project import Project
from mvtrain.project.splits import Split

SIDE = 16
"""Side of the thumbnails in px; small, so that a movement of a few pixels changes them little."""

_BLANK = 0.5
"""Standard deviation in gray levels below which an image is blank."""

_ALL_BITS = 16
"""Bits of the deepest images."""

_BESIDE_STORED = 0.01
"""Share of the labels of turned images above which those outside of the stored image show which px are meant."""

_NUM_EXAMPLES = 3

NEAR = 0.35
"""Distance, relative to the typical one of frames of a session, below which two frames are near-duplicates.

From held-out frames to the nearest training frame it is 0.15 in the median on human4 (1/60 s apart), 0.31 on a
generated project (1/15 s) and 0.58 on one with frames 1/2 s apart; docs/check.md has more.
"""

FLOOR = 0.5
"""Difference in gray levels below which thumbnails are the same, whatever the typical distance."""

_ENOUGH_FRAMES = 5
"""Number of a session's frames from which its own typical distance is used."""

_MIN_UNIT = 1 / 3
"""Smallest unit of a session, relative to the common one."""

_CHUNK = 256

_FEW = {"random": 0.05, "block": 0.25, "session": 0.05}
"""Share of the held-out frames up to which near-duplicates are a note: blocks of time always have borders."""

_COPIED_VIEW = 0.5
"""Share of the frames above which equal images in two views are an error."""


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


@dataclass(frozen=True, kw_only=True)
class NearDuplicate:
    """A frame of the validation or test split and the training frame that is most similar to it.

    Attributes:
        row: Row of the held-out frame in the project.
        train_row: Row of the training frame in the project.
        distance: Distance of their thumbnails over all views; 1 for two typical frames of a session.
    """

    row: int
    train_row: int
    distance: float


def find_near_duplicates(
    thumbnails: np.ndarray, readable: np.ndarray, sessions: tuple[str, ...], split: Split, *, near: float = NEAR
) -> tuple[NearDuplicate, ...]:
    """Find held-out frames that have a near-duplicate among the training frames, nearest first.

    Thumbnails are compared view by view, in units of the typical distance of the session's frames in that view, because
    a small subject in a large arena changes few pixels when it moves. Frames are near-duplicates if they are similar
    over all views together.

    Args:
        thumbnails: (N, V, h, w) gray levels of the thumbnails.
        readable: (N, V) False where there is no image.
        sessions: N names of the frames' sessions.
        split: Split of the frames; those of validation and test are held out.
        near: Largest distance of near-duplicates.
    """
    pixels = thumbnails.reshape(*thumbnails.shape[:2], -1).astype(np.float64)
    units = np.stack([_units(pixels[:, v], readable[:, v], sessions) for v in range(pixels.shape[1])], axis=1)
    units = np.maximum(units, FLOOR / near)
    held = np.concatenate([split.validation, split.test])
    found = []
    for start in range(0, len(held) if len(split.train) else 0, _CHUNK):
        rows = held[start : start + _CHUNK]
        distances = image_distances(pixels, units, readable, rows, split.train)
        nearest = distances.argmin(axis=1)
        for row, column, distance in zip(rows, nearest, distances.min(axis=1), strict=True):
            if distance <= near:
                train_row = int(split.train[column])
                found.append(NearDuplicate(row=int(row), train_row=train_row, distance=float(distance)))
    return tuple(sorted(found, key=lambda pair: pair.distance))


def _units(pixels: np.ndarray, readable: np.ndarray, sessions: tuple[str, ...]) -> np.ndarray:
    """Return the root mean square difference (N,) in gray levels of two typical frames of each row's session.

    Sessions with few frames take that of the others. A session in which the subject hardly moves has a lower limit
    relative to the others, so that its frames are found to be similar.

    Args:
        pixels: (N, P) gray levels of the view.
        readable: (N,) False where there is no image.
        sessions: N names of the frames' sessions.
    """
    names = np.asarray(sessions, dtype=object)
    own = {}
    for session in dict.fromkeys(sessions):
        rows = np.flatnonzero((names == session) & readable)
        if len(rows) >= _ENOUGH_FRAMES:
            own[session] = typical_distance(pixels[rows])
    common = float(np.median(list(own.values()))) if own else typical_distance(pixels[readable])
    return np.array([max(own.get(session, common), _MIN_UNIT * common) for session in sessions])


def typical_distance(pixels: np.ndarray) -> float:
    """Return the root mean square difference of two typical rows of (n, P); 0 for fewer than two rows."""
    if len(pixels) < 2:
        return 0.0
    squares = ((pixels - pixels.mean(axis=0)) ** 2).mean(axis=1) * len(pixels) / (len(pixels) - 1)
    return float(np.sqrt(2 * np.median(squares)))


def image_distances(
    pixels: np.ndarray, units: np.ndarray, readable: np.ndarray, rows: np.ndarray, others: np.ndarray
) -> np.ndarray:
    """Return the root mean square differences (R, O) over pixels and common views, in the units of the first frame.

    They are infinite where two frames have no view in common.

    Args:
        pixels: (N, V, P) gray levels, or other values that describe an image.
        units: (N, V) typical difference of two frames, in gray levels.
        readable: (N, V) False where there is no image.
        rows: (R,) rows of the first frames.
        others: (O,) rows of the second frames.
    """
    total, count = np.zeros((len(rows), len(others))), np.zeros((len(rows), len(others)))
    for view in range(pixels.shape[1]):
        one, other = pixels[rows, view], pixels[others, view]
        squares = (one**2).sum(1)[:, None] + (other**2).sum(1) - 2 * one @ other.T
        squares = np.maximum(squares, 0) / (pixels.shape[2] * units[rows, view, None] ** 2)
        both = readable[rows, view][:, None] & readable[others, view]
        total += np.where(both, squares, 0)
        count += both
    return np.sqrt(np.where(count > 0, total / np.maximum(count, 1), np.inf))


def near_duplicate_findings(
    project: Project, split: Split, near_duplicates: tuple[NearDuplicate, ...], kind: str
) -> list[Finding]:
    """Report near-duplicates across the split: a note if they are few, a warning if they are more.

    Args:
        project: Project of the frames.
        split: Split of the frames.
        near_duplicates: Near-duplicates from `find_near_duplicates`.
        kind: Kind of split: `data.split` of the config.
    """
    if not near_duplicates:
        return []
    held_out = {name: rows for name, rows in (("validation", split.validation), ("test", split.test)) if len(rows)}
    counts = {name: sum(pair.row in set(rows.tolist()) for pair in near_duplicates) for name, rows in held_out.items()}
    counts_text = " and ".join(f"{counts[name]} of {len(rows)} {name} frames" for name, rows in held_out.items())
    shown = "; ".join(
        f"{frame_title(project, pair.row)} and {frame_title(project, pair.train_row)} ({pair.distance:.2f})"
        for pair in near_duplicates[:3]
    )
    advice = {
        "random": "Errors on such frames are too small. Hold out blocks of time with data.split=block"
        + (", or whole sessions with data.split=session" if len(set(project.sessions)) > 1 else ""),
        "block": "At the borders of blocks this is unavoidable; elsewhere the subject rests, or frames were labeled "
        "twice",
        "session": "Check if two sessions have the same recording",
    }[kind]
    share = len(near_duplicates) / sum(len(rows) for rows in held_out.values())
    build = warning if share > _FEW[kind] else note
    text = (
        f"found a near-duplicate among the training frames for {counts_text} (with the distance relative to typical "
        f"frames: {shown}). {advice}"
    )
    return [build("near_duplicates", (), text, frames=len(near_duplicates), share=share)]


def copy_findings(project: Project, split: Split, scan: ImageScan) -> list[Finding]:
    """Report equal images: in two rows of a view (a warning), or in two views in most frames (an error)."""
    findings = []
    split_names, views_of = split.names(), _find_copies(scan)
    if views_of:
        across = sum(len(set(split_names[list(rows)])) > 1 for rows in views_of)
        shown = "; ".join(" = ".join(frame_title(project, row) for row in rows[:3]) for rows in list(views_of)[:3])
        views = [project.view_names[view] for view in sorted(set().union(*views_of.values()))]
        text = (
            f"{counted(len(views_of), 'frame')} with the same image more than once under different names ({shown}; "
            f"views {', '.join(views)}), {across} of them in more than one of training, validation and test. "
            "Keep one of each"
        )
        findings.append(warning("same_image", views, text, frames=len(views_of), across_split=across))
    for one, other in combinations(range(len(project.view_names)), 2):
        rows = np.flatnonzero(scan.readable[:, [one, other]].all(axis=1) & ~scan.blank[:, [one, other]].any(axis=1))
        same = sum(scan.digests[row][one] == scan.digests[row][other] for row in rows)
        if same > _COPIED_VIEW * len(rows):
            pair = (project.view_names[one], project.view_names[other])
            text = (
                f"views {pair[0]} and {pair[1]} have the same image in {same} of {len(rows)} frames: one view's images "
                "were copied into the other's folder, or one table names the other's images. Correct them"
            )
            findings.append(error("same_view", pair, text, frames=same))
    return findings


def _find_copies(scan: ImageScan) -> dict[tuple[int, ...], set[int]]:
    """Find the rows that have the same image in a view, and the views in which they have it."""
    views_of: dict[tuple[int, ...], set[int]] = defaultdict(set)
    for view in range(scan.blank.shape[1]):
        rows_of: dict[bytes, list[int]] = defaultdict(list)
        for row, digests in enumerate(scan.digests):
            digest = digests[view]
            if digest is not None and not scan.blank[row, view]:
                rows_of[digest].append(row)
        for rows in rows_of.values():
            if len(rows) > 1:
                views_of[tuple(rows)].add(view)
    return views_of
