"""Sessions of synchronized videos by their names, their calibrations, and the paths of their output files."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mvgeom import CameraGroup
from mvgeom.calibration.sources import VIDEO_SUFFIXES
from mvgeom.errors import InputError
from mvgeom.files import composed, file_name, list_files, on_disk
from mvgeom.videos import Video
from mvgeom.wording import counted
from mvtrain.project.calibrations import fits_calibration, load_cameras, turned_hint

_MAX_SHOWN = 6
"""Number of file names in a message."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """One recording.

    Attributes:
        name: Name of the session: what the names of its videos have in common.
        videos: Paths of the videos, one per view, in the order of the run's views.
    """

    name: str
    videos: tuple[Path, ...]


@dataclass(frozen=True, kw_only=True)
class IncompleteSession:
    """A session without a video of every view.

    Attributes:
        name: Name of the session.
        missing: Names of the views without a video.
        problem: Message that names the session, its folder and the missing views.
    """

    name: str
    missing: tuple[str, ...]
    problem: str


@dataclass(frozen=True, kw_only=True)
class FoundSessions:
    """Sessions that some inputs name.

    Attributes:
        complete: Sessions with a video of every view.
        incomplete: Sessions that lack a view.
        ignored: Videos in given folders with a view in their names, but not at the end as others there have it.
    """

    complete: tuple[Session, ...]
    incomplete: tuple[IncompleteSession, ...]
    ignored: tuple[Path, ...] = ()

    def ignored_note(self) -> str | None:
        """Return the note about videos that are ignored; None without any."""
        if not self.ignored:
            return None
        shown = _shown([path.name for path in self.ignored])
        return (
            f"{self.ignored[0].parent}: {counted(len(self.ignored), 'video')} not used, found {shown}, expected the "
            "view at the end of the name as in the others, <session>_<view>"
        )


def find_sessions(inputs: Sequence[Path], view_names: Sequence[str]) -> FoundSessions:
    """Group videos into sessions.

    Names are `<session>_<view>.mp4`. In a folder without any such name, a view may be anywhere in a name, between
    characters that are neither letters nor digits (`mouse_cam1_trial3.mp4` is of the session `mouse_trial3`), and every
    video counts where there is a single view.

    Args:
        inputs: Folders, whose videos count if their names have a view; videos, each of which names its whole session
            (the other views are looked for beside it); patterns such as `videos/mouse*_cam1.mp4`.
        view_names: Names of the run's or project's views.

    Raises:
        InputError: An input does not exist or matches nothing, or a video is a link to a file that does not exist
            (`missing-file`); the name of a given video has no view, a folder has no video of any view, or a session
            has two videos of one view.
    """
    files: dict[Path, None] = {}
    for path in inputs:
        files.update(dict.fromkeys(_find_videos(path, view_names)))
    sessions: dict[str, dict[str, Path]] = {}
    for file in files:
        session, view = _split_name(file, view_names) or ("", "")
        other = sessions.setdefault(session, {}).setdefault(view, file)
        if other != file:
            raise InputError(
                f"session {session!r}: two videos of view {view}, found {other} and {file}. Give only one of them",
                code="duplicate-name",
                session=session,
                view=view,
                paths=(other, file),
            )
    incomplete = []
    for name, videos in sessions.items():
        missing = tuple(view for view in view_names if view not in videos)
        if missing:
            found = ", ".join(path.name for path in videos.values())
            folder = next(iter(videos.values())).parent
            problem = (
                f"{folder}: session {name!r} has no video of view {', '.join(missing)}, found {found}, expected one of "
                f"every view: {', '.join(view_names)}"
            )
            incomplete.append(IncompleteSession(name=name, missing=missing, problem=problem))
    complete = [
        Session(name=name, videos=tuple(videos[view] for view in view_names))
        for name, videos in sessions.items()
        if len(videos) == len(view_names)
    ]
    ignored = [file for path in inputs if path.is_dir() for file in _ignored_videos(path, view_names)]
    return FoundSessions(complete=tuple(complete), incomplete=tuple(incomplete), ignored=tuple(dict.fromkeys(ignored)))


def _ignored_videos(folder: Path, view_names: Sequence[str]) -> list[Path]:
    """Return the videos that would be used if no name in the folder had its view at the end."""
    used = _named_videos(folder, view_names)
    others = [path for path in list_files(folder) if path not in used and path.suffix.lower() in VIDEO_SUFFIXES]
    return [path for path in others if path.is_file() and _split_name(path, view_names) is not None]


def _find_videos(path: Path, view_names: Sequence[str]) -> list[Path]:
    if path.is_dir():
        return _named_videos(path, view_names)
    if path.is_file():
        return _siblings(path, view_names)
    _check_link(path)
    if not glob.has_magic(str(path)):
        raise InputError(
            f"input {path}: does not exist. Give folders, videos or patterns of them, or a config.yaml",
            code="missing-file",
            path=path,
        )
    matches = sorted(map(Path, glob.glob(str(path), recursive=True)))  # noqa: PTH207 (pathlib refuses absolute patterns)
    folders = [match for match in matches if match.is_dir()]
    videos = _videos_of_views(matches, view_names)
    if not folders and not videos:
        raise InputError(
            f"input {path}: matches no folder and no video, expected videos <session>_<view>.mp4 with the views "
            f"{', '.join(view_names)}",
            code="missing-file",
            path=path,
        )
    return [video for match in (*folders, *videos) for video in _find_videos(match, view_names)]


def _videos_of_views(files: Iterable[Path], view_names: Sequence[str]) -> list[Path]:
    """Return the videos whose names end in a view; if there are none, those whose names have a view anywhere."""
    videos = [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES and not path.is_dir()]
    named = [path for path in videos if _split_end(path.stem, view_names) is not None]
    named = named or [path for path in videos if _split_name(path, view_names) is not None]
    for path in named:
        _check_link(path)
    return [path for path in named if path.is_file()]


def _check_link(path: Path) -> None:
    """Refuse a link to a file that does not exist, such as that of `mvtrain init` to a video that was moved since.

    Raises:
        InputError: `missing-file`.
    """
    if path.is_symlink() and not path.exists():
        target = path.readlink()
        raise InputError(
            f"{path}: a link to a file that does not exist, found {target}. Put the file back there, or remove the "
            "link and put the video, or a link to its new place, under this name",
            code="missing-file",
            path=path,
            target=target,
        )


def _named_videos(folder: Path, view_names: Sequence[str]) -> list[Path]:
    files = list_files(folder)
    named = _videos_of_views(files, view_names)
    if not named:
        videos = [path.name for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
        raise InputError(
            f"{folder}: no videos of a session, found {_shown(videos) or 'no videos'}, expected "
            f"<session>_<view>.mp4 with the views {', '.join(view_names)}",
            code="missing-file",
            path=folder,
            found=tuple(videos),
        )
    return named


def _shown(names: Sequence[str]) -> str:
    """Return the first names of a list as a text."""
    return ", ".join(names[:_MAX_SHOWN]) + (", ..." if len(names) > _MAX_SHOWN else "")


def _siblings(path: Path, view_names: Sequence[str]) -> list[Path]:
    """List the videos in the same folder of the session that a video belongs to."""
    split = _split_name(path, view_names)
    if split is None or path.suffix.lower() not in VIDEO_SUFFIXES:
        raise InputError(
            f"input {path}: not a video of a session, expected the name <session>_<view>{VIDEO_SUFFIXES[0]} (or "
            f"{', '.join(VIDEO_SUFFIXES[1:])}) with one of the views {', '.join(view_names)}",
            code="bad-name",
            path=path,
        )
    others = [
        video
        for video in _named_videos(path.parent, view_names)
        if (other := _split_name(video, view_names)) and other[0] == split[0] and other[1] != split[1]
    ]
    return [path, *others]


def _split_name(path: Path, view_names: Sequence[str]) -> tuple[str, str] | None:
    """Split a video's name into session and view; None where it has no view, or several."""
    stem = composed(path.stem)
    found = _split_end(stem, view_names)
    if found is not None:
        return found
    # The longest view that fits is taken, because one view's name may be part of another's.
    views = "|".join(re.escape(view) for view in sorted(view_names, key=len, reverse=True))
    places = list(re.finditer(rf"(?<![^\W_])(?:{views})(?![^\W_])", stem))
    if len(places) == 1:
        before, after = stem[: places[0].start()], stem[places[0].end() :]
        session = before[:-1] + after if before else after[1:]
        return (session, places[0][0]) if session else None
    return (stem, view_names[0]) if len(view_names) == 1 and not places else None


def _split_end(stem: str, view_names: Sequence[str]) -> tuple[str, str] | None:
    """Split `<session>_<view>`; the longest view that fits is taken, because one view's name may end in another's."""
    stem = composed(stem)
    fitting = [view for view in view_names if stem.endswith(f"_{view}") and len(stem) > len(view) + 1]
    if not fitting:
        return None
    view = max(fitting, key=len)
    return stem.removesuffix(f"_{view}"), view


LABELED_VIDEOS = "labeled_videos"
"""Folder, in an output folder, of the videos of each view with its keypoints."""

EVIDENCE = "evidence"
"""Folder, in an output folder, of the tables of what each view shows by itself."""


@dataclass(frozen=True, kw_only=True)
class OutputPaths:
    """Paths of one session's files in an output folder; those per view are in the order of the views.

    Attributes:
        tables: Tables of the keypoints of each view.
        evidence: Tables of what each view shows by itself, where views are fused.
        table_3d: Table of the world points.
        tracks: Tables of the boxes in which a subject was tracked, one per view.
        labeled: Videos of each view with its keypoints.
        overlay: Video of all views with their keypoints.
        still: PNG of one frame of the overlay.
        summary: JSON file that describes the others; written last.
    """

    tables: tuple[Path, ...]
    evidence: tuple[Path, ...]
    table_3d: Path
    tracks: tuple[Path, ...]
    labeled: tuple[Path, ...]
    overlay: Path
    still: Path
    summary: Path

    @classmethod
    def from_session(cls, session: Session, out_dir: Path) -> OutputPaths:
        """Build the paths from the names of a session and its videos."""

        def per_view(ending: str, folder: Path = out_dir) -> tuple[Path, ...]:
            return tuple(folder / file_name(f"{video.stem}{ending}") for video in session.videos)

        return cls(
            tables=per_view(".csv"),
            evidence=per_view(".csv", out_dir / EVIDENCE),
            table_3d=out_dir / file_name(f"{session.name}_3d.csv"),
            tracks=per_view("_track.csv"),
            labeled=per_view("_labeled.mp4", out_dir / LABELED_VIDEOS),
            overlay=out_dir / file_name(f"{session.name}_overlay.mp4"),
            still=out_dir / file_name(f"{session.name}_overlay.png"),
            summary=out_dir / file_name(session.name, "_prediction.json"),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """Cameras of a recording.

    Attributes:
        path: Path of the calibration file.
        cameras: Cameras in the order of the run's views.
    """

    path: Path
    cameras: CameraGroup


def find_calibration(session: Session, given: Path | None, data_dir: Path | None) -> Path | None:
    """Find the calibration of a session.

    If none is given, the order is: `calibrations/<session>.toml` or `calibration.toml` beside the videos, in the folder
    above them (the project they belong to), in the project that the run was trained on.

    Args:
        session: Session to find the calibration of.
        given: Calibration file for all sessions, or folder with `<session>.toml` or `calibration.toml`; None looks in
            the places above.
        data_dir: Project folder of the run.

    Returns:
        The path; None where there is no calibration.

    Raises:
        InputError: The given path does not exist, or is a folder without a calibration of this session.
    """
    if given is not None:
        return _find_given(session, given)
    videos = session.videos[0].parent
    for project in (videos, videos.resolve().parent, data_dir):
        if project is not None:
            own = on_disk(project / "calibrations" / file_name(f"{session.name}.toml"))
            for path in (own, project / "calibration.toml"):
                if path.is_file():
                    return path
    return None


def load_calibration(path: Path, view_names: Sequence[str]) -> Calibration:
    """Read the cameras of the run's views.

    Raises:
        InputError: The file cannot be read or lacks a view; the message names both lists.
    """
    (cameras,) = load_cameras([path], view_names)
    assert cameras is not None
    return Calibration(path=path, cameras=cameras)


def early_end(path: Path, num_frames: int, longest: int) -> str:
    """Return the warning about a video that ends before another one of its session.

    Args:
        path: Path of the video.
        num_frames: Number of its frames.
        longest: Number of frames of the longest video.
    """
    return f"{path} ends after {num_frames} of {longest} frames: absent from then on"


def size_warnings(calibration: Calibration, videos: Sequence[Video]) -> list[str]:
    """Return one warning for each video that has another size than its camera in the calibration."""
    warnings = []
    for name, video, calibrated in zip(
        calibration.cameras.names, videos, np.asarray(calibration.cameras.sizes), strict=True
    ):
        if (calibrated > 0).all() and not fits_calibration(np.array(video.size), calibrated):
            found = "x".join(map(str, video.size))
            expected = "x".join(f"{length:g}" for length in calibrated)
            warnings.append(
                f"{video.path}: the video has another size than camera {name} of {calibration.path}, found {found} px, "
                f"expected {expected} px. 3D will be wrong if the video was resized or cropped"
                f"{turned_hint(np.array(video.size), calibrated)}"
            )
    return warnings


def _find_given(session: Session, given: Path) -> Path:
    if given.is_file():
        return given
    if not given.is_dir():
        raise InputError(f"calibration {given}: does not exist", code="missing-file", path=given)
    for path in (on_disk(given / file_name(f"{session.name}.toml")), given / "calibration.toml"):
        if path.is_file():
            return path
    raise InputError(
        f"calibration folder {given}: no calibration of session {session.name!r}, expected {session.name}.toml or "
        "calibration.toml",
        code="missing-file",
        path=given,
        session=session.name,
    )
