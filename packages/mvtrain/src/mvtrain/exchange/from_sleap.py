"""Reader of SLEAP labels with sleap-io: `.slp`, `.pkg.slp` with images inside, and `analysis.h5` with predictions."""

from __future__ import annotations

import traceback
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np

from mvgeom import CameraGroup
from mvgeom.calibration.sources import VIDEO_SUFFIXES
from mvgeom.errors import InputError
from mvgeom.tables import check_structure
from mvgeom.wording import counted
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
from mvtrain.exchange.media import find_file, videos_by_view
from mvtrain.project.images import image_size
from mvtrain.project.names import as_posix, frame_number, split_image_name, split_name
from mvtrain.runtime.imports import need


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordingSessions:
    """Recording sessions of a file.

    Attributes:
        places: Session and view of each video that a camera is linked to.
        cameras: Calibrated cameras by session.
        notes: Remarks for the user.
    """

    places: Mapping[Any, tuple[str, str]] = field(default_factory=dict)
    cameras: Mapping[str | None, CameraGroup] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_sessions(labels: Any, source: Source, options: ReadOptions) -> RecordingSessions:
    """Read the recording sessions of labels of sleap-io.

    The name of a camera is that of the view. The name of a session is that in the names of its videos, where they
    follow the rule of names and their views are the cameras; else that of the file, with a number if it has several.

    Args:
        labels: Labels of sleap-io.
        source: Source of the labels; a view that the user gave comes before the cameras of the file.
        options: Options of the reader; so does a pattern that the user gave.
    """
    if source.view is not None or options.rule.given:
        return RecordingSessions()
    places: dict[Any, tuple[str, str]] = {}
    cameras: dict[str | None, CameraGroup] = {}
    notes: list[str] = []
    num_unused = 0
    for number, session in enumerate(labels.sessions):
        videos = {video: str(camera.name) for camera, video in zip(session.cameras, session.videos, strict=True)}
        if not videos or any(camera.name is None for camera in session.cameras):
            num_unused += 1
            continue
        suffix = f"_{number + 1}" if len(labels.sessions) > 1 else ""
        name = _name_of_videos(videos, options) or f"{_stem(source.path)}{suffix}"
        places |= {video: (name, view) for video, view in videos.items()}
        group = _cameras(session)
        if group is None:
            notes.append(f"{source.path}: the cameras of session {name} are not calibrated or have no image size")
        else:
            cameras[name] = group
    if num_unused:
        notes.append(
            f"{source.path}: not used: {counted(num_unused, 'recording session')} without videos or with a camera "
            "without a name"
        )
    return RecordingSessions(places=places, cameras=cameras, notes=tuple(notes))


def video_path(video: Any) -> PurePosixPath:
    """Return the path of a recording as SLEAP wrote it: of the video that embedded images are from, else of itself.

    For a list of images it is their folder.
    """
    original = video
    while original.source_video is not None:
        original = original.source_video
    if isinstance(original.filename, list):
        return as_posix(str(original.filename[0])).parent
    return as_posix(str(original.filename))


def _name_of_videos(videos: Mapping[Any, str], options: ReadOptions) -> str | None:
    """Return the session that all videos have in their names; None if a name's view is not its camera."""
    rule = options.rule.without_frame or options.rule
    found = set()
    for video, view in videos.items():
        path = video_path(video)
        parts = rule.split_path(path if isinstance(video.filename, list) else path.with_suffix(""))
        if parts is None or parts.view != view:
            return None
        found.add(parts.session)
    return found.pop() if len(found) == 1 else None


def _stem(path: Path) -> str:
    """Return the file's name without `.slp` or `.pkg.slp`."""
    return path.name.removesuffix(".slp").removesuffix(".pkg")


def _cameras(session: Any) -> CameraGroup | None:
    """Return the calibrated cameras of a session; None if one has no intrinsics or no image size."""
    cameras = [camera for camera in session.camera_group.cameras if camera.name is not None]
    sizes = [camera.size if camera.size is not None else _video_size(session.get_video(camera)) for camera in cameras]
    calibrated = [not np.array_equal(camera.matrix, np.eye(3)) for camera in cameras]
    names = tuple(str(camera.name) for camera in cameras)
    if not cameras or None in sizes or not all(calibrated) or len(set(names)) != len(names):
        return None
    return CameraGroup(
        names=names,
        sizes=np.array(sizes, dtype=np.float64),
        matrix=np.stack([camera.matrix for camera in cameras]),
        distortion=np.stack([camera.dist for camera in cameras]),
        rotation=np.stack([cv2.Rodrigues(np.asarray(camera.rvec, dtype=np.float64))[0] for camera in cameras]),
        translation=np.stack([camera.tvec for camera in cameras]),
    )


def _video_size(video: Any | None) -> tuple[int, int] | None:
    """Return width and height of a video; None if it is unknown."""
    shape = None if video is None else video.shape
    return None if shape is None else (int(shape[2]), int(shape[1]))


def choose_instance(frame: Any, path: Path, options: ReadOptions) -> Any | None:
    """Choose the animal of a frame that a person labeled, else the predicted one; None if there is none.

    Animals without any point do not count, and copies of one animal count once.

    Args:
        frame: Labeled frame of sleap-io.
        path: Path of the file, for messages.
        options: Options with the name of the animal, and the lowest likelihood of predictions if they are wanted.

    Raises:
        InputError: Several animals are labeled, or predicted, and none is chosen (`several-individuals`).
    """
    kinds = [frame.user_instances]
    if options.min_likelihood is not None and int(frame.frame_idx) % options.every == 0:
        kinds.append(frame.predicted_instances)
    for kind in kinds:
        instances: list[Any] = []
        for each in kind:
            points = located_points(each, options.min_likelihood)
            named = options.individual is None or (each.track is not None and each.track.name == options.individual)
            twice = any(
                np.array_equal(points, located_points(other, options.min_likelihood), equal_nan=True)
                for other in instances
            )
            if named and not twice and np.isfinite(points).any():
                instances.append(each)
        if len(instances) > 1:
            tracks = ", ".join("none" if each.track is None else repr(each.track.name) for each in instances)
            raise InputError(
                f"{path}, {video_path(frame.video).name}, frame {frame.frame_idx}: labels of several animals, found "
                f"{len(instances)} (tracks: {tracks}), expected one. Choose it with --individual TRACK",
                code="several-individuals",
                path=path,
                frame=int(frame.frame_idx),
            )
        if instances:
            return instances[0]
    return None


def located_points(instance: Any, min_likelihood: float | None) -> np.ndarray:
    """Return (K, 2) points of an animal; NaN where missing, or where a prediction has too low a likelihood."""
    points = np.asarray(instance.points["xy"], dtype=np.float64)
    located = np.asarray(np.isfinite(points).all(axis=-1))
    if is_predicted(instance) and min_likelihood is not None:
        located &= np.asarray(instance.points["score"]) >= min_likelihood
    return np.where(located[:, None], points, np.nan)


def is_predicted(instance: Any) -> bool:
    """Return True for a prediction of SLEAP, which has likelihoods."""
    return "score" in (instance.points.dtype.names or ())


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


_READERS = {"sleap_io", "h5py"}
"""Folders of the libraries that read the files."""


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Let errors of sleap-io and h5py over a file, which can be any, name the file; others are bugs of mvtrain."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        if not any(_READERS.intersection(Path(frame.filename).parts) for frame in frames):
            raise
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
            "as labels with --min-likelihood LIKELIHOOD",
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
        image = np.asarray(video[number])
    if image.ndim != 3 or image.shape[2] not in (1, 3) or image.dtype.kind not in "uif":
        raise InputError(
            f"{slp}: image {number} is not an image, found shape {image.shape} of {image.dtype}, expected "
            "(height, width, 1 or 3)",
            code="damaged-file",
            path=slp,
        )
    return _to_rgb(image)


def _to_rgb(image: np.ndarray) -> np.ndarray:
    """Convert SLEAP's (H, W, 1 or 3) to (H, W, 3) RGB in the depth of the image, uint8 or uint16."""
    depth = np.uint16 if image.dtype == np.uint16 else np.uint8
    return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)), dtype=depth)
