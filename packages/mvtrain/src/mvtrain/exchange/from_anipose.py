"""anipose projects: sessions with videos and calibration, labelled in a DeepLabCut project for all cameras.

anipose keeps no labels of its own: its `config.toml` names the DeepLabCut project (`model_folder`) that they are in.
What it adds is which video is which camera of which recording (`cam_regex`), and the calibrations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

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
        root: its folder.
        rule: how its videos' names tell camera and recording.
        videos_raw: name of the folders of videos.
        calibration: name of the folders of calibrations.
        labels: the DeepLabCut project; None where the config names none that is there.
    """

    root: Path
    rule: NameRule
    videos_raw: str
    calibration: str
    labels: Path | None


def read(sources: Sequence[Source], options: ReadOptions) -> list[ForeignLabels]:
    """Read an anipose project; further sources are the DeepLabCut projects that its labels are in.

    Without further sources, the labels are in the project's `model_folder`.

    Raises:
        ValueError: not exactly one source is an anipose project, its config has no `cam_regex`, the labels are nowhere,
            two videos of one camera and recording, and everything that DeepLabCut's labels are refused for.
    """
    configs = [source.path for source in sources if (source.path / _CONFIG).is_file()]
    if len(configs) != 1:
        raise ValueError(
            f"one of the sources must be an anipose project (a folder with {_CONFIG}), found {len(configs)} among "
            f"{', '.join(str(source.path) for source in sources)}"
        )
    project = _read_project(configs[0])
    labels = [source for source in sources if source.path != project.root]
    if not labels:
        if project.labels is None:
            raise ValueError(
                f"{project.root / _CONFIG}: model_folder names no folder that is there; add the DeepLabCut project "
                "with the labels as a further SOURCE"
            )
        labels = [Source(path=project.labels)]
    videos, calibrations = _recordings(project)
    parts = deeplabcut.read(labels, replace(options, rule=project.rule))
    return [replace(part, videos={**part.videos, **videos}, calibrations=calibrations) for part in parts]


def _read_project(root: Path) -> _Project:
    path = root / _CONFIG
    document = parse_toml(path)
    expression = _section(document, "triangulation", path).get("cam_regex")
    if not isinstance(expression, str):
        raise ValueError(f"{path}: no cam_regex in [triangulation], which tells the cameras apart")
    folders = _section(document, "pipeline", path)
    named = document.get("model_folder")
    candidates = [] if not isinstance(named, str) else [Path(named), root / named]
    return _Project(
        root=root,
        rule=camera_regex_rule(expression),
        videos_raw=str(folders.get("videos_raw", "videos-raw")),
        calibration=str(folders.get("calibration_results", "calibration")),
        labels=next((folder for folder in candidates if folder.is_dir()), None),
    )


def _section(document: Mapping[str, Any], name: str, path: Path) -> Mapping[str, Any]:
    section = document.get(name, {})
    if not isinstance(section, dict):
        raise ValueError(f"{path}: {name} must be a section, found {section!r}")
    return section


def _recordings(project: _Project) -> tuple[dict[tuple[str, str], Path], dict[str | None, Path]]:
    """Videos by recording and camera, and calibrations by recording."""
    videos: dict[tuple[str, str], Path] = {}
    calibrations: dict[str | None, Path] = {}
    for folder in sorted(project.root.rglob(project.videos_raw)):
        for video in videos_in(folder):
            parts = project.rule.split(video.stem)
            if parts is None:
                continue
            other = videos.setdefault((parts.session, parts.view), video)
            if other != video:
                raise ValueError(
                    f"two videos of camera {parts.view!r} of recording {parts.session!r}: {other} and {video}; the "
                    "labels do not tell which of them they are of, so import these sessions one by one"
                )
            calibration = _calibration_of(folder.parent, project)
            if calibration is not None:
                calibrations[parts.session] = calibration
    common = project.root / project.calibration / _CALIBRATION_FILE
    return videos, {None: common, **calibrations} if common.is_file() else calibrations


def _calibration_of(session: Path, project: _Project) -> Path | None:
    """The calibration nearest above a session's videos, as anipose looks for it."""
    for folder in (session, *session.parents):
        file = folder / project.calibration / _CALIBRATION_FILE
        if file.is_file():
            return file
        if folder == project.root:
            return None
    return None
