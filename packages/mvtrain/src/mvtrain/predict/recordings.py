"""Which synchronized videos the inputs of a prediction name: `<session>_<view>.mp4`, the views being the run's."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mvgeom import CameraGroup
from mvgeom.calibration.sources import VIDEO_SUFFIXES
from mvtrain.predict.video import Video
from mvtrain.project.calibrations import fits_calibration, load_cameras

_SHOWN = 6


@dataclass(frozen=True, kw_only=True)
class Session:
    """One recording.

    Attributes:
        name: what its videos' names have in common.
        videos: one per view, in the order of the run's views.
    """

    name: str
    videos: tuple[Path, ...]


@dataclass(frozen=True, kw_only=True)
class FoundSessions:
    """What some inputs hold.

    Attributes:
        complete: sessions with a video of every view.
        incomplete: for each session that lacks a view, a sentence that says which.
    """

    complete: tuple[Session, ...]
    incomplete: tuple[str, ...]


def find_sessions(inputs: Iterable[Path], view_names: Sequence[str]) -> FoundSessions:
    """Group videos into sessions.

    Args:
        inputs: folders, whose videos count as far as their names end in a view; videos, each of which stands for its
            whole session, the other views being looked for beside it; patterns such as `videos/mouse*_cam1.mp4`.
        view_names: of the run.

    Raises:
        ValueError: an input that does not exist or matches nothing, a named video whose name ends in no view, no video
            of any view at all, and two videos of one view of one session.
    """
    files: dict[Path, None] = {}
    for path in inputs:
        files.update(dict.fromkeys(_videos_of(path, view_names)))
    sessions: dict[str, dict[str, Path]] = {}
    for file in files:
        session, view = _split_name(file, view_names) or ("", "")
        other = sessions.setdefault(session, {}).setdefault(view, file)
        if other != file:
            raise ValueError(f"two videos of view {view} of session {session!r}: {other} and {file}")
    incomplete = []
    for name, videos in sessions.items():
        missing = [view for view in view_names if view not in videos]
        if missing:
            found = ", ".join(path.name for path in videos.values())
            folder = next(iter(videos.values())).parent
            incomplete.append(
                f"session {name!r} in {folder} has no video of view {', '.join(missing)}; the run's views are "
                f"{', '.join(view_names)}, found {found}"
            )
    complete = [
        Session(name=name, videos=tuple(videos[view] for view in view_names))
        for name, videos in sessions.items()
        if len(videos) == len(view_names)
    ]
    return FoundSessions(complete=tuple(complete), incomplete=tuple(incomplete))


def _videos_of(path: Path, view_names: Sequence[str]) -> list[Path]:
    if path.is_dir():
        return _named_videos(path, view_names)
    if path.is_file():
        return _siblings(path, view_names)
    if not glob.has_magic(str(path)):
        raise ValueError(f"input {path} does not exist; give folders, videos or patterns of them, or a config.yaml")
    matches = sorted(map(Path, glob.glob(str(path), recursive=True)))  # noqa: PTH207 (pathlib refuses absolute patterns)
    videos = [match for match in matches if match.is_dir() or _is_named_video(match, view_names)]
    if not videos:
        raise ValueError(
            f"input {path} matches no folder and no video <session>_<view>.mp4 with the run's views "
            f"{', '.join(view_names)}"
        )
    return [video for match in videos for video in _videos_of(match, view_names)]


def _is_named_video(path: Path, view_names: Sequence[str]) -> bool:
    return path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES and _split_name(path, view_names) is not None


def _named_videos(folder: Path, view_names: Sequence[str]) -> list[Path]:
    files = sorted(folder.iterdir())
    named = [path for path in files if _is_named_video(path, view_names)]
    if not named:
        videos = [path.name for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
        shown = ", ".join(videos[:_SHOWN]) + (", ..." if len(videos) > _SHOWN else "")
        raise ValueError(
            f"no session in {folder}: videos must be named <session>_<view>.mp4 with the run's views "
            f"{', '.join(view_names)}; found {shown or 'no videos'}"
        )
    return named


def _siblings(path: Path, view_names: Sequence[str]) -> list[Path]:
    """The videos of the session that a video belongs to, in the same folder."""
    split = _split_name(path, view_names)
    if split is None or path.suffix.lower() not in VIDEO_SUFFIXES:
        raise ValueError(
            f"input {path} is no video of a session: its name must be <session>_<view>{VIDEO_SUFFIXES[0]} (or "
            f"{', '.join(VIDEO_SUFFIXES[1:])}) with one of the run's views {', '.join(view_names)}"
        )
    others = [
        video
        for video in _named_videos(path.parent, view_names)
        if (other := _split_name(video, view_names)) and other[0] == split[0] and other[1] != split[1]
    ]
    return [path, *others]


def _split_name(path: Path, view_names: Sequence[str]) -> tuple[str, str] | None:
    """Session and view; the longest view that fits, because one view's name may end in another's."""
    fitting = [view for view in view_names if path.stem.endswith(f"_{view}") and len(path.stem) > len(view) + 1]
    if not fitting:
        return None
    view = max(fitting, key=len)
    return path.stem.removesuffix(f"_{view}"), view


@dataclass(frozen=True, kw_only=True)
class OutputPaths:
    """Files of one session in an output folder, those per view in the order of the views.

    Attributes:
        tables: keypoints of each view.
        table_3d: world points.
        tracks: boxes in which a subject was followed, in each view.
        labeled: videos of each view with its keypoints.
        overlay: video of all views with their keypoints.
        still: picture of one moment of it.
        summary: what it all consists of; written last.
    """

    tables: tuple[Path, ...]
    table_3d: Path
    tracks: tuple[Path, ...]
    labeled: tuple[Path, ...]
    overlay: Path
    still: Path
    summary: Path

    @classmethod
    def from_session(cls, session: Session, out_dir: Path) -> OutputPaths:
        """The files of a session."""

        def per_view(ending: str) -> tuple[Path, ...]:
            return tuple(out_dir / f"{video.stem}{ending}" for video in session.videos)

        return cls(
            tables=per_view(".csv"),
            table_3d=out_dir / f"{session.name}_3d.csv",
            tracks=per_view("_track.csv"),
            labeled=per_view("_labeled.mp4"),
            overlay=out_dir / f"{session.name}_overlay.mp4",
            still=out_dir / f"{session.name}_overlay.png",
            summary=out_dir / f"{session.name}_prediction.json",
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """The cameras of a recording.

    Attributes:
        path: where they are from.
        cameras: in the order of the run's views.
    """

    path: Path
    cameras: CameraGroup


def find_calibration(session: Session, given: Path | None, data_dir: Path | None) -> Path | None:
    """The calibration of a session, None where there is none.

    Without one that was given: `calibrations/<session>.toml` or `calibration.toml` beside the videos or in the folder
    above them (the project they belong to), else in the project the run was trained on.

    Args:
        session: the recording.
        given: a file for all sessions, or a folder with `<session>.toml` or `calibration.toml`.
        data_dir: project of the run.

    Raises:
        ValueError: the given path does not exist, or is a folder without a calibration of this session.
    """
    if given is not None:
        return _in_given(session, given)
    videos = session.videos[0].parent
    for project in (videos, videos.resolve().parent, data_dir):
        if project is not None:
            for path in (project / "calibrations" / f"{session.name}.toml", project / "calibration.toml"):
                if path.is_file():
                    return path
    return None


def load_calibration(path: Path, view_names: Sequence[str]) -> Calibration:
    """Read the cameras of the run's views.

    Raises:
        ValueError: the file cannot be read or lacks a view; the message names both lists.
    """
    (cameras,) = load_cameras([path], view_names)
    assert cameras is not None
    return Calibration(path=path, cameras=cameras)


def size_warnings(calibration: Calibration, videos: Sequence[Video]) -> list[str]:
    """Sentences about videos whose frames do not have the size that their calibration speaks of."""
    warnings = []
    for name, video, calibrated in zip(
        calibration.cameras.names, videos, np.asarray(calibration.cameras.sizes), strict=True
    ):
        if (calibrated > 0).all() and not fits_calibration(np.array(video.size), calibrated):
            found = "x".join(map(str, video.size))
            expected = "x".join(f"{length:g}" for length in calibrated)
            warnings.append(
                f"{video.path} is {found} px, but camera {name} of {calibration.path} {expected} px: 3D will be wrong "
                "if the video was resized or cropped"
            )
    return warnings


def _in_given(session: Session, given: Path) -> Path:
    if given.is_file():
        return given
    if not given.is_dir():
        raise ValueError(f"calibration {given} does not exist")
    for path in (given / f"{session.name}.toml", given / "calibration.toml"):
        if path.is_file():
            return path
    raise ValueError(
        f"the calibration folder {given} has neither {session.name}.toml nor calibration.toml, for session "
        f"{session.name!r}"
    )
