"""Reader of SLEAP labels with sleap-io: `.slp`, `.pkg.slp` with images inside, and `analysis.h5` with predictions."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from mvgeom.calibration.sources import VIDEO_SUFFIXES
from mvgeom.errors import InputError
from mvgeom.tables import check_structure
from mvgeom.wording import counted
from mvtrain.exchange.file_search import find_file
from mvtrain.exchange.foreign_labels import (
    DecodedImage,
    ForeignLabels,
    ImageFile,
    ImageSource,
    LabeledImage,
    LabelPixels,
    Place,
    ReadOptions,
    Source,
    VideoFrame,
)
from mvtrain.exchange.media import videos_by_view
from mvtrain.exchange.sleap_instances import choose_instance, is_predicted, located_points
from mvtrain.exchange.sleap_sessions import RecordingSessions, read_sessions, video_path
from mvtrain.project.frame_numbers import frame_number
from mvtrain.project.images import image_size
from mvtrain.project.names import as_posix, split_image_name, split_name
from mvtrain.runtime.optional_imports import need


def read(sources: Sequence[Source], options: ReadOptions) -> list[ForeignLabels]:
    """Read the labels that people made, and SLEAP's predictions where the options ask for them.

    Raises:
        InputError: sleap-io is not installed (`missing-library`), a source is neither an `.slp` file nor an
            `analysis.h5` (`damaged-file`), has several skeletons (`wrong-count`) or only predictions that are not asked
            for (`no-labels`), a frame has several animals and none is chosen (`several-individuals`), or names do not
            contain the view (`bad-name`).
    """
    return [_read_file(source, options) for source in sources]


def _read_file(source: Source, options: ReadOptions) -> ForeignLabels:
    """Read one file; see `read`."""
    with _damage_named(source.path):
        return _convert(_load(source.path), source, options)


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Let errors of sleap-io and h5py over a file, which can be any, name the file."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{path}: not a labels file of SLEAP (.slp, analysis.h5), or damaged: {type(error).__name__}: {error}",
            code="damaged-file",
            path=path,
        ) from error


def _convert(labels: Any, source: Source, options: ReadOptions) -> ForeignLabels:
    """Convert the labels of one file."""
    if len(labels.skeletons) != 1:
        raise InputError(
            f"{source.path}: wrong number of skeletons, found {len(labels.skeletons)}, expected 1",
            code="wrong-count",
            path=source.path,
            found=len(labels.skeletons),
            expected=1,
        )
    skeleton = labels.skeletons[0]
    names = tuple(str(name) for name in skeleton.node_names)
    recorded = read_sessions(labels, source, options)
    images, num_left = [], 0
    for frame in labels.labeled_frames:
        instance = choose_instance(frame, source.path, options)
        if instance is None:
            num_left += 1
        else:
            images.append(_labeled(frame, instance, names, recorded, source, options))
    if options.individual is not None and not images:
        tracks = tuple(str(track.name) for track in labels.tracks)
        raise InputError(
            f"{source.path}: no labels of this animal, found --individual {options.individual!r}, expected a track, "
            f"one of {', '.join(map(repr, tracks)) or 'none'}",
            code="unknown-choice",
            path=source.path,
            option="--individual",
            found=options.individual,
            expected=tracks,
        )
    num_predicted = sum(bool(frame.predicted_instances) for frame in labels.labeled_frames)
    if not images and num_predicted and options.min_likelihood is None:
        raise InputError(
            f"{source.path}: no labels made by hand, found predictions in {counted(num_predicted, 'frame')}. Take them "
            "as labels with --predictions LIKELIHOOD",
            code="no-labels",
            path=source.path,
            found=num_predicted,
        )
    notes = []
    if num_left:
        kind = (
            "made by hand" if options.min_likelihood is None else "or likely predictions, or between those of --every"
        )
        notes.append(f"{source.path}: left out {counted(num_left, 'frame')} without labels {kind}")
    paths = [(video, _find_video(video, source.path, options.media)) for video in labels.videos]
    found = [path for video, path in paths if path is not None and video not in recorded.places]
    in_sessions = {recorded.places[video]: path for video, path in paths if path and video in recorded.places}
    return ForeignLabels(
        origin=str(source.path),
        keypoint_names=names,
        images=tuple(images),
        has_visibility=True,
        skeleton=tuple((str(edge.source.name), str(edge.destination.name)) for edge in skeleton.edges),
        unlabeled=_unlabeled(labels, {image.place for image in images}, recorded, source, options),
        videos={**videos_by_view(found, source.view, options), **in_sessions},
        calibrations=recorded.cameras,
        notes=(*recorded.notes, *notes),
    )


def _load(path: Path) -> Any:
    """Read a file with sleap-io."""
    sleap_io = need("sleap_io", "import sleap")
    check_structure(path)
    if path.suffix.lower() in (".h5", ".hdf5"):
        return sleap_io.load_analysis_h5(str(path))
    # Opened videos would be those of the same name beside the file, whatever folders their paths have.
    return sleap_io.load_slp(str(path), open_videos=False)


def _labeled(
    frame: Any,
    instance: Any,
    names: Sequence[str],
    recorded: RecordingSessions,
    source: Source,
    options: ReadOptions,
) -> LabeledImage:
    """Convert the labels of one frame."""
    points = located_points(instance, options.min_likelihood)
    located = np.isfinite(points).all(axis=-1)
    # A node with coordinates that is not visible was placed by a person who knew that it was occluded.
    visible = np.asarray(instance.points["visible"], dtype=bool)
    number = int(frame.frame_idx)
    video = video_path(frame.video)
    origin = f"{source.path}, {video.name}, frame {number}"
    return LabeledImage(
        place=_place(frame.video, number, recorded, source, options, origin),
        points=points,
        visibility=np.where(located, np.where(visible, 2, 1), 0).astype(np.int8),
        image=_image(frame.video, number, source.path, options.media),
        pixels=LabelPixels(size=_stated_size(frame.video, source.path, options.media)),
        origin=origin,
        name=str(video),
        predicted=is_predicted(instance),
    )


def _place(
    video: Any, number: int, recorded: RecordingSessions, source: Source, options: ReadOptions, origin: str
) -> Place:
    """Find session, view and frame number of an image."""
    if video in recorded.places:
        session, view = recorded.places[video]
        if isinstance(video.filename, list):
            frame = frame_number(as_posix(_image_name(video, number, origin)).stem)
            number = number if frame is None else frame
        return Place(session, view, number)
    if isinstance(video.filename, list):
        parts = split_image_name(_image_name(video, number, origin), source.view, options.rule, origin)
        assert parts.frame is not None
        return Place(parts.session, parts.view, parts.frame)
    rule = options.rule.without_frame or options.rule
    written = video_path(video)
    # An analysis file need not name its video.
    name = written.with_suffix("") if written.name else as_posix(source.path.name.partition(".analysis")[0])
    parts = split_name(str(name), source.view, rule, origin)
    return Place(parts.session, parts.view, number)


def _unlabeled(
    labels: Any, labeled: Collection[Place], recorded: RecordingSessions, source: Source, options: ReadOptions
) -> dict[Place, ImageSource]:
    """Find the images without labels in lists of images and inside a package, by place."""
    found: dict[Place, ImageSource] = {}
    for video in labels.videos:
        for number in _listed_numbers(video):
            try:
                place = _place(video, number, recorded, source, options, str(source.path))
                image = None if place in labeled else _image(video, number, source.path, options.media)
            except InputError:
                continue  # an image that nothing asks for
            if image is not None:
                found.setdefault(place, image)
    return found


def _listed_numbers(video: Any) -> Sequence[int]:
    """Return the numbers of the images that a list has or a package holds; none for a video file."""
    if isinstance(video.filename, list):
        return range(len(video.filename))
    if _is_video(video.filename) or not _opens(video):
        return ()
    return [int(number) for number in getattr(video.backend, "embedded_frame_inds", None) or ()]


def _image_name(video: Any, number: int, origin: str) -> str:
    """Return the path of an image in a list of images."""
    if number >= len(video.filename):
        raise InputError(
            f"{origin}: there is no such image, found {counted(len(video.filename), 'image')}",
            code="missing-frame",
            frame=number,
        )
    return str(video.filename[number])


def _image(video: Any, number: int, slp: Path, media: Path | None) -> ImageSource | None:
    """Find an image: a file, a frame of a video, or inside the package; None if it is lost."""
    if isinstance(video.filename, list):
        path = find_file(str(video.filename[number]), [slp.parent, media])
        return None if path is None else ImageFile(path=path)
    if _is_video(video.filename):
        found = find_file(str(video.filename), [slp.parent, media])
        return None if found is None else VideoFrame(path=found, number=number)
    # Images of a package are inside it; a path to any other file would be read as if they were.
    if not Path(str(video.filename)).is_file() or not Path(str(video.filename)).samefile(slp):
        return None
    if not _opens(video) or not video.backend.has_frame(number):
        return None
    return DecodedImage(
        name=f"{slp}, {video_path(video).name}, frame {number}", read=lambda: _read_embedded(video, number, slp)
    )


def _opens(video: Any) -> bool:
    """Open the embedded images of a package; return True if they can be read."""
    if video.backend is None and video.exists():
        try:
            video.open()
        except Exception:  # noqa: BLE001 - whatever is in the file, the labels can be read without the images
            return False
    return video.backend is not None


def _stated_size(video: Any, slp: Path, media: Path | None) -> tuple[int, int] | None:
    """Return the width and height in px that the labels state for a video or a list of images; None without any.

    Of a list SLEAP states the size of the first image. Where that has it still, the others may have any.
    """
    shape: Sequence[Any] = (video.backend_metadata or {}).get("shape") or ()
    try:
        size = int(shape[2]), int(shape[1])
    except (TypeError, ValueError, IndexError):
        return None
    if min(size) < 1:
        return None
    if isinstance(video.filename, list):
        first = find_file(str(video.filename[0]), [slp.parent, media]) if video.filename else None
        return None if first is None or image_size(first) == size else size
    return size


def _find_video(video: Any, slp: Path, media: Path | None) -> Path | None:
    """Find the video file of the labels; None if there is none, also for embedded images without their video."""
    if isinstance(video.filename, list):
        return None
    if not _is_video(video.filename):
        return None if video.source_video is None else _find_video(video.source_video, slp, media)
    return find_file(str(video.filename), [slp.parent, media])


def _is_video(name: object) -> bool:
    """Return True if the suffix is that of a video."""
    return PurePosixPath(str(name)).suffix.lower() in VIDEO_SUFFIXES


def _read_embedded(video: Any, number: int, slp: Path) -> np.ndarray:
    """Read an image inside a package."""
    with _damage_named(slp):
        return _to_rgb(video[number])


def _to_rgb(image: np.ndarray) -> np.ndarray:
    """Convert SLEAP's (H, W, 1 or 3) to (H, W, 3) RGB in the depth of the image, uint8 or uint16."""
    depth = np.uint16 if image.dtype == np.uint16 else np.uint8
    return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)), dtype=depth)
