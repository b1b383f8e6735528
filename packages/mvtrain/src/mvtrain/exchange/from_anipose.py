"""Reader of anipose projects: sessions with videos and calibration, labeled in a DeepLabCut project for all cameras.

anipose has no labels of its own: its `config.toml` names the DeepLabCut project with the labels (`model_folder`). The
anipose project adds the camera and the recording of each video (`cam_regex`), and the calibrations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mvgeom.errors import InputError
from mvgeom.files import list_files
from mvgeom.formats.anipose import parse_toml
from mvtrain.exchange import from_deeplabcut as deeplabcut
from mvtrain.exchange.foreign_labels import ForeignLabels, ReadOptions, Source
from mvtrain.exchange.media import videos_in
from mvtrain.project.names import NameRule, camera_regex_rule

_CONFIG = "config.toml"
_CALIBRATION_FILE = "calibration.toml"


@dataclass(frozen=True, kw_only=True)
class _Project:
    """An anipose project.

    Attributes:
        root: Folder of the project.
        rule: Rule that splits the names of videos into camera and recording.
        videos_raw: Name of the folders with videos.
        calibration: Name of the folders with calibrations.
        offsets: By camera, the top-left pixel (x, y) of the recorded part of the full image.
        labels: DeepLabCut project with the labels; None if the config names none that exists.
    """

    root: Path
    rule: NameRule
    videos_raw: str
    calibration: str
    offsets: Mapping[str, tuple[int, int]]
    labels: Path | None


def read(sources: Sequence[Source], options: ReadOptions) -> list[ForeignLabels]:
    """Read an anipose project; further sources are the DeepLabCut projects with its labels.

    Without further sources, the labels are in the project's `model_folder`.

    Raises:
        InputError: Not exactly one source is an anipose project (`wrong-count`), its config has no `cam_regex`
            (`missing-field`) or an offset that is not two numbers (`bad-field`), there are no labels (`missing-file`),
            or a camera has two videos of a recording (`duplicate-name`); besides, the errors of DeepLabCut's labels.
    """
    configs = [source.path for source in sources if (source.path / _CONFIG).is_file()]
    if len(configs) != 1:
        raise InputError(
            f"{', '.join(str(source.path) for source in sources)}: wrong number of anipose projects (folders with "
            f"{_CONFIG}), found {len(configs)}, expected 1",
            code="wrong-count",
            found=len(configs),
            expected=1,
        )
    project = _read_project(configs[0])
    labels = [source for source in sources if source.path != project.root]
    if not labels:
        if project.labels is None:
            raise InputError(
                f"{project.root / _CONFIG}: model_folder: the DeepLabCut project does not exist. Add the project with "
                "the labels as a further SOURCE",
                code="missing-file",
                key="model_folder",
                path=project.root / _CONFIG,
            )
        labels = [Source(path=project.labels)]
    videos, calibrations = _recordings(project)
    parts = deeplabcut.read(labels, replace(options, rule=project.rule))
    return [
        replace(part, videos={**part.videos, **videos}, calibrations=calibrations, offsets=project.offsets)
        for part in parts
    ]


def _read_project(root: Path) -> _Project:
    """Read the config of a project."""
    path = root / _CONFIG
    document = parse_toml(path)
    expression = _section(document, "triangulation", path).get("cam_regex")
    if not isinstance(expression, str):
        raise InputError(
            f"{path}: there is no text cam_regex in [triangulation]. It distinguishes the cameras",
            code="missing-field",
            key="triangulation.cam_regex",
            path=path,
        )
    folders = _section(document, "pipeline", path)
    named = document.get("model_folder")
    candidates = [] if not isinstance(named, str) else [Path(named), root / named]
    return _Project(
        root=root,
        rule=camera_regex_rule(expression),
        videos_raw=_folder_name(folders, "videos_raw", "videos-raw", path),
        calibration=_folder_name(folders, "calibration_results", "calibration", path),
        offsets=_offsets(_section(document, "cameras", path), path),
        labels=next((folder for folder in candidates if folder.is_dir()), None),
    )


def _section(document: Mapping[str, Any], name: str, path: Path) -> Mapping[str, Any]:
    """Return a section of the config, empty if there is none."""
    section = document.get(name, {})
    if not isinstance(section, dict):
        raise InputError(
            f"{path}: {name}: not a section, found {section!r}", code="bad-field", key=name, path=path, found=section
        )
    return section


def _offsets(cameras: Mapping[str, Any], path: Path) -> dict[str, tuple[int, int]]:
    """Return the offsets of the cameras, which anipose adds to the labels before it triangulates them."""
    found = {}
    for name in cameras:
        offset = _section(cameras, name, path).get("offset")
        if offset is None:
            continue
        numbers = offset if isinstance(offset, list) else []
        if len(numbers) != 2 or not all(isinstance(each, int | float) and float(each).is_integer() for each in numbers):
            raise InputError(
                f"{path}: cameras.{name}.offset: not two whole numbers x, y in px, found {offset!r}",
                code="bad-field",
                key=f"cameras.{name}.offset",
                path=path,
                found=offset,
            )
        found[str(name)] = (int(numbers[0]), int(numbers[1]))
    return found


def _folder_name(section: Mapping[str, Any], key: str, default: str, path: Path) -> str:
    """Return the name of a kind of folder from the section `pipeline`."""
    name = section.get(key, default)
    if not isinstance(name, str) or not name or "\0" in name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise InputError(
            f"{path}: pipeline.{key}: not the name of a folder, found {name!r}",
            code="bad-field",
            key=f"pipeline.{key}",
            path=path,
            found=name,
        )
    return name


def _recordings(project: _Project) -> tuple[dict[tuple[str, str], Path], dict[str | None, Path]]:
    """Find videos by recording and camera, and calibrations by recording."""
    videos: dict[tuple[str, str], Path] = {}
    calibrations: dict[str | None, Path] = {}
    for folder in list_files(project.root, f"**/{project.videos_raw}"):
        for video in videos_in(folder):
            parts = project.rule.split(video.stem)
            if parts is None:
                continue
            other = videos.setdefault((parts.session, parts.view), video)
            if other != video:
                raise InputError(
                    f"recording {parts.session!r}, camera {parts.view!r}: there are two videos, found {other} and "
                    f"{video}. The labels belong to one of them, so import these sessions one by one",
                    code="duplicate-name",
                    session=parts.session,
                    view=parts.view,
                )
            calibration = _calibration_of(folder.parent, project)
            if calibration is not None:
                calibrations[parts.session] = calibration
    common = project.root / project.calibration / _CALIBRATION_FILE
    return videos, {None: common, **calibrations} if common.is_file() else calibrations


def _calibration_of(session: Path, project: _Project) -> Path | None:
    """Find the calibration in the nearest folder above a session's videos, as anipose does."""
    for folder in (session, *session.parents):
        file = folder / project.calibration / _CALIBRATION_FILE
        if file.is_file():
            return file
        if folder == project.root:
            return None
    return None
