"""Labels of another program brought to px of the stored images, and crops of images as tables of boxes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mvgeom import CameraGroup
from mvgeom.errors import InputError
from mvgeom.files import file_name
from mvgeom.tables import write_labeled_boxes, write_video_boxes
from mvgeom.videos import open_video
from mvgeom.wording import counted
from mvtrain.exchange.alignment import AlignedFrames
from mvtrain.exchange.foreign_labels import ImageFile, ImageSource, LabeledImage, VideoFrame
from mvtrain.project.calibrations import fits_calibration
from mvtrain.project.images import ImageHeader, from_turned, image_size, read_header
from mvtrain.project.label_tables import image_name

_SWAPPED = 5
"""EXIF orientation from which on width and height are exchanged where viewers show the image."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _View:
    """Labels of one image and what its file states.

    Attributes:
        row: Number of the frame.
        view: Number of the view.
        path: File of the image, or video.
        entry: Labels with the pixels that they are in.
        header: Header of the file.
    """

    row: int
    view: int
    path: Path
    entry: LabeledImage
    header: ImageHeader

    @property
    def shown_size(self) -> tuple[int, int]:
        """Width and height in px of the image as viewers show it."""
        width, height = self.header.size
        return (height, width) if self.header.orientation >= _SWAPPED else (width, height)

    @property
    def may_be_turned(self) -> bool:
        """Return True if the labeling program turns images, and the image has an orientation."""
        return self.entry.pixels.turned and self.header.orientation != 1

    @property
    def states_stored_size(self) -> bool:
        """Return True if the label file states the size of the stored image, which is not that of the turned one."""
        return self.entry.pixels.size == self.header.size != self.shown_size


def to_stored_pixels(aligned: AlignedFrames) -> tuple[AlignedFrames, tuple[str, ...]]:
    """Move the labels to px of the stored images.

    Labels in images that the program turned by their EXIF orientation are turned back, because images are read as
    stored. Where the label file states another size with the same aspect ratio, labels are scaled. Both is noted.

    A program that turns images may state the size of the stored image (Label Studio does). Labels are then in px of the
    stored image, unless labels of such an image lie beside it and inside of the turned one.

    Args:
        aligned: Labels by frame and view.

    Returns:
        The labels in px of the stored images; remarks for the user.

    Raises:
        InputError: An image has another size than its label file states, with another aspect ratio
            (`size-mismatch`), or it cannot be read.
    """
    views = list(_views(aligned))
    swapped = any(_lies_beside_stored(each) for each in views if each.may_be_turned and each.states_stored_size)
    points = aligned.points.copy()
    turned: list[Path] = []
    scaled: list[tuple[Path, tuple[int, int], tuple[int, int]]] = []
    for each in views:
        header, stated = each.header, each.entry.pixels.size
        is_turned = each.may_be_turned and (swapped or not each.states_stored_size)
        size = each.shown_size if is_turned else header.size
        own = each.entry.points
        if stated is not None and stated != size and not (is_turned and each.states_stored_size):
            own = _scale(each, stated, size)
            scaled.append((each.path, stated, size))
        if is_turned:
            own = from_turned(own, header.orientation, header.size)
            turned.append(each.path)
        points[each.row, each.view] = own
    notes = []
    if turned:
        notes.append(
            f"found an EXIF orientation in {counted(len(turned), 'image')}, such as {turned[0]}: images are taken as "
            "stored, and their labels are turned back"
        )
    if scaled:
        path, found, expected = scaled[0]
        notes.append(
            f"labels of {counted(len(scaled), 'image')} are scaled to the image's size, such as {path}: labels are "
            f"for {_times(found)} px, the image has {_times(expected)} px"
        )
    return replace(aligned, points=points), tuple(notes)


def _views(aligned: AlignedFrames) -> Iterator[_View]:
    """Yield the labeled images whose files may have other pixels than the labels."""
    sizes: dict[Path, tuple[int, int]] = {}
    for row, (entries, images) in enumerate(zip(aligned.entries, aligned.images, strict=True)):
        for view, (entry, image) in enumerate(zip(entries, images, strict=True)):
            if entry is None or (entry.pixels.size is None and not entry.pixels.turned):
                continue
            header = _header(image, sizes)
            if isinstance(image, ImageFile | VideoFrame) and header is not None:
                yield _View(row=row, view=view, path=image.path, entry=entry, header=header)


def _header(image: ImageSource | None, sizes: dict[Path, tuple[int, int]]) -> ImageHeader | None:
    """Return the header of an image or of a video's frames; None for images that only their library can read."""
    if isinstance(image, ImageFile):
        return read_header(image.path)
    if isinstance(image, VideoFrame):
        if image.path not in sizes:
            sizes[image.path] = open_video(image.path).size
        return ImageHeader(size=sizes[image.path])
    return None


def _lies_beside_stored(view: _View) -> bool:
    """Return True if all labels are inside of the turned image, and one is outside of the stored one."""
    points = view.entry.points[np.isfinite(view.entry.points).all(axis=-1)]
    stored, shown = (
        ((points >= -0.5) & (points <= np.array(size) - 0.5)).all(axis=-1)
        for size in (view.header.size, view.shown_size)
    )
    return bool(len(points) and shown.all() and not stored.all())


def _scale(view: _View, stated: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Scale labels from an image of the stated size to the image; pixel centers are at whole numbers in both."""
    factors = np.array(size) / np.array(stated)
    # The size of a scaled image is rounded to whole px.
    if (np.abs(factors[::-1] * stated - size) > np.maximum(factors[::-1], 1.0)).any():
        raise InputError(
            f"image {view.path}: another size and aspect ratio than its labels are for, found {_times(size)} px, "
            f"expected {_times(stated)} px as {view.entry.origin} states. Give the images that were labeled",
            code="size-mismatch",
            path=view.path,
            found=size,
            expected=stated,
            source=view.entry.origin,
        )
    return (view.entry.points + 0.5) * factors - 0.5


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def drop_whole_images(
    aligned: AlignedFrames,
    folder: Path,
    cameras: Mapping[str, CameraGroup],
    videos: Mapping[tuple[str, str], Path],
) -> AlignedFrames:
    """Return the frames without the crops that begin at (0, 0) and are not known to be smaller than the full image.

    DeepLabCut notes a crop for every video, also for whole ones. The size of the full image is that of the calibration,
    else that of the video; where there is neither, a crop at (0, 0) makes no difference.

    Args:
        aligned: Labels by frame and view.
        folder: Folder of the written project, for the images' sizes.
        cameras: Cameras by session.
        videos: Videos by session and view.
    """
    sizes: dict[tuple[str, str], tuple[float, float] | None] = {}
    crops: list[tuple[tuple[int, int] | None, ...]] = []
    for (session, number), row in zip(aligned.frames, aligned.crops, strict=True):
        kept: list[tuple[int, int] | None] = []
        for view, crop in zip(aligned.view_names, row, strict=True):
            path = folder / image_name(session, view, number)
            if crop == (0, 0) and path.is_file():
                if (session, view) not in sizes:
                    sizes[session, view] = _full_size(session, view, cameras, videos)
                full = sizes[session, view]
                crop = None if full is None or _fits(image_size(path), full) else crop
            kept.append(crop)
        crops.append(tuple(kept))
    return replace(aligned, crops=tuple(crops))


def has_crops(aligned: AlignedFrames) -> bool:
    """Return True if an image is not a full image."""
    return any(crop is not None for row in aligned.crops for crop in row)


def write_image_boxes(path: Path, folder: Path, aligned: AlignedFrames, view: int) -> None:
    """Write `bboxes_<view>.csv`; a full image has a box of its own size.

    Args:
        path: Path of the table.
        folder: Folder of the written project.
        aligned: Labels by frame and view.
        view: Number of the view.
    """
    names, boxes = [], []
    for (session, number), images, crops in zip(aligned.frames, aligned.images, aligned.crops, strict=True):
        if images[view] is not None:
            name = image_name(session, aligned.view_names[view], number)
            names.append(name)
            boxes.append((*(crops[view] or (0, 0)), *image_size(folder / name)))
    write_labeled_boxes(path, names, np.array(boxes, dtype=np.float64).reshape(-1, 4))


def write_boxes_of_videos(videos: Sequence[tuple[str, Path]], offsets: Mapping[str, tuple[int, int]]) -> None:
    """Write `<video>_bbox.csv` beside videos, with the same box in every frame.

    Args:
        videos: Views and their videos.
        offsets: By view, the top-left pixel of its videos in full-image px; (0, 0) where a view is not in it.
    """
    for view, path in videos:
        video = open_video(path)
        box = np.array([*offsets.get(view, (0, 0)), *video.size], dtype=np.float64)
        write_video_boxes(path.with_name(file_name(f"{path.stem}_bbox.csv")), np.tile(box, (video.num_frames, 1)))


def _full_size(
    session: str, view: str, cameras: Mapping[str, CameraGroup], videos: Mapping[tuple[str, str], Path]
) -> tuple[float, float] | None:
    """Return width and height of the full images of a view; None if unknown."""
    if session in cameras:
        width, height = cameras[session].select([view]).sizes[0]
        return float(width), float(height)
    if (session, view) in videos:
        return open_video(videos[session, view]).size
    return None


def _fits(size: tuple[int, int], full: tuple[float, float]) -> bool:
    """Return True if an image has the size of the full image."""
    return bool(fits_calibration(np.array(size), np.array(full)))
