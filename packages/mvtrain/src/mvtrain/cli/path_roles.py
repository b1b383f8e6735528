"""Roles of paths in the commands: what a path must be, and the next step for each kind that is given by mistake."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from mvgeom.errors import InputError
from mvgeom.files import head
from mvgeom.path_kinds import DESCRIPTIONS, VIDEO_SUFFIXES, Role, check_role, has_files, kind_of_path
from mvtrain.runtime.folders import RUN_INFO, check_run_folder, is_ensemble

__all__ = [
    "check_config",
    "check_labeled_project",
    "check_options",
    "check_predict_inputs",
    "check_project",
    "check_run",
    "check_runs",
    "check_sources",
    "check_videos",
    "find_project_config",
    "split_runs",
]

_KINDS = {
    **DESCRIPTIONS,
    "run": "a run folder",
    "run-config": "the config of a run folder",
    "ensemble": "a folder of several runs",
    "run-weights": "weights of a run folder",
    "project": "a project folder",
    "project-table": "a label table of a project",
    "deeplabcut": "a project of DeepLabCut",
    "deeplabcut-config": "the config of a project of DeepLabCut",
    "foreign-config": "a YAML file of another program",
}
"""Kinds of `mvgeom.path_kinds` and those of this program, with their descriptions."""

_SECTIONS = re.compile(r"""(^|[{,])\s*["']?(data|training|model|losses|eval)["']?\s*:""", re.MULTILINE)
_OF_DEEPLABCUT = re.compile(r"^(video_sets|bodyparts|multianimalbodyparts)\s*:", re.MULTILINE)

_IMPORTED_BY = {
    "deeplabcut": "deeplabcut",
    "deeplabcut-config": "deeplabcut",
    "keypoint-table": "deeplabcut",
    "sleap-project": "sleap",
    "coco": "coco",
}
"""Format of `mvtrain import` by kind."""

_FOLDERS = ("folder", "folder-of-images", "folder-of-videos", "folder-of-tables", "folder-of-json")
"""Kinds of folders that sources can be, whatever else is in them."""


def check_config(path: Path, command: str) -> None:
    """Check that a path is the config of a project.

    Raises:
        InputError: `missing-file`, if it does not exist; `unsupported-file`, if it is certainly something else.
    """
    if not path.exists():
        raise InputError(f"{path}: no such config file.", code="missing-file", path=path)
    steps = _import_steps()
    for kind in ("project", "folder-of-tables", "folder"):
        steps[kind] = f"Give its config file, such as: mvtrain {command} {path / 'config.yaml'}"
    steps["project-table"] = f"Give the config file: mvtrain {command} {{folder}}/config.yaml"
    steps["run"] = steps["ensemble"] = "Continue the run with: mvtrain fit --resume {path}"
    steps["foreign-config"] = (
        "It has none of the sections data, model and training. An example is written by: mvtrain synth -o NEW"
    )
    default = f"Give the config.yaml of a project to mvtrain {command}; mvtrain import writes one for foreign labels."
    right = ("yaml", "file", "run-config")
    _check(path, "a config file (YAML)", default, right, steps)


def check_run(path: Path) -> None:
    """Check that a path is a run folder.

    Raises:
        InputError: `not-a-run`, or `unsupported-file`, if it is certainly something else.
    """
    if path.exists():
        _check_run_kind(path, ("run", "project", "folder"))
    check_run_folder(path)


def check_runs(path: Path) -> None:
    """Check that a path is a run folder, or the folder of an ensemble.

    Raises:
        InputError: As `check_run`.
    """
    if path.exists():
        _check_run_kind(path, ("run", "ensemble", "project", "folder"))
    if _kind(path) != "ensemble":
        check_run_folder(path)


def split_runs(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Divide the arguments of `mvtrain predict` into runs and inputs.

    The first is a run; so are those after it that are run folders or ensembles, but for the last, which is an input: a
    run folder as an input stands for the images that it was trained on.

    Raises:
        InputError: `missing-argument`, if there is no input; as `check_runs` for the first.
    """
    count = 1
    while count < len(paths) - 1 and _kind(paths[count]) in ("run", "ensemble"):
        count += 1
    for path in paths[:count]:
        check_runs(path)
    if len(paths) < 2:
        raise InputError(
            f"mvtrain predict: found only the run {paths[0]}, expected inputs after it. Give videos, their folder, or "
            "the config.yaml of a project with labeled images.",
            code="missing-argument",
            path=paths[0],
        )
    return list(paths[:count]), list(paths[count:])


def _check_run_kind(path: Path, right: Iterable[str]) -> None:
    steps = {
        "run-config": f"Give the run folder: {path.parent}, to mvtrain predict.",
        "run-weights": f"Give the run folder: {_run_above(path)}, and choose the weights with --checkpoint.",
        "ensemble": "Give one of the runs in it, which mvtrain fit wrote.",
        "yaml": "Train with: mvtrain fit {path}, and give the run folder that it prints.",
    }
    _check(path, "a run folder", "Give the folder that mvtrain fit wrote.", right, steps)


def check_predict_inputs(paths: Iterable[Path]) -> None:
    """Check inputs of `mvtrain predict` that exist; patterns are left to it.

    Raises:
        InputError: `unsupported-file`, if an input is certainly something else than videos or a project.
    """
    default = "Give videos, their folder, or the config.yaml of a project with labeled images to mvtrain predict."
    steps = {
        "calibration": "Give calibrations with --calibration.",
        "box-table": "Give the folder of the boxes with --boxes.",
        "deeplabcut": "Import its labels with mvtrain import deeplabcut, or give its folder of videos.",
        "ensemble": "Give runs before the videos: mvtrain predict {path} VIDEOS",
        "project-table": "Frames are predicted in all views: mvtrain predict RUN {folder}",
        "file": default,
    }
    right = ("video", "yaml", "folder", "folder-of-tables", "run", "run-config", "project")
    for path in paths:
        if path.exists() and not has_files(path, VIDEO_SUFFIXES):
            _check(path, "videos or a project", default, right, steps)


def check_labeled_project(path: Path | None) -> None:
    """Check the project given to `mvtrain evaluate`; None if none is given.

    Raises:
        InputError: `missing-file`, or `unsupported-file`, if it is certainly something else.
    """
    if path is None:
        return
    if not path.exists():
        raise InputError(f"{path}: no such file or folder.", code="missing-file", path=path)
    steps = _import_steps()
    steps["project-table"] = "Give the project's folder {folder} to mvtrain evaluate."
    default = "Give the config.yaml or the folder of a labeled project to mvtrain evaluate."
    steps["file"] = default
    right = ("yaml", "folder", "folder-of-tables", "run", "run-config", "project")
    _check(path, "a labeled project", default, right, steps)


def check_project(path: Path, command: str) -> None:
    """Check that a path is a project, given by its folder or its config file.

    Args:
        path: Project folder or config file.
        command: Name of the command, for messages.

    Raises:
        InputError: `missing-file`; `unsupported-file`, if the path is certainly something else.
    """
    if not path.exists():
        raise InputError(
            f"{path}: no such file or folder. Start a project with mvtrain init.", code="missing-file", path=path
        )
    steps = _import_steps()
    steps["project-table"] = f"Give the project: mvtrain {command} {{folder}}"
    steps["run"] = steps["run-config"] = f"Give the project that the run was trained on to mvtrain {command}."
    steps["video"] = steps["folder-of-videos"] = "Start a project with: mvtrain init {path}"
    default = f"Give the folder of a project to mvtrain {command}; mvtrain init starts one."
    steps["file"] = default
    _check(path, "a project", default, ("yaml", "project", "folder", "folder-of-tables"), steps)


def find_project_config(path: Path, command: str) -> Path:
    """Return the config file of a project, given by itself or by its folder.

    Raises:
        InputError: As `check_project`; `not-a-project`, if a folder has no config.
    """
    check_project(path, command)
    config = path / "config.yaml" if path.is_dir() else path
    if not config.is_file():
        raise InputError(
            f"{path}: not a project: there is no config.yaml. Start one with mvtrain init.",
            code="not-a-project",
            path=path,
        )
    return config


def check_videos(paths: Iterable[Path]) -> None:
    """Check videos and folders of videos given to `mvtrain init`; patterns are left to it.

    Raises:
        InputError: `unsupported-file`, if a path is certainly something else.
    """
    default = "Give videos or their folder to mvtrain init."
    steps = {
        **_import_steps(),
        "calibration": "Give calibrations with --calibration.",
        "project": "It is a project already: mvtrain frames {path}",
        "file": default,
    }
    right = ("video", "folder", "folder-of-images", "folder-of-tables", "folder-of-json", "run")
    for path in paths:
        if path.exists() and not has_files(path, VIDEO_SUFFIXES):
            _check(path, "videos", default, right, steps)


def check_options(*, calibration: Path | None = None, boxes: Path | None = None) -> None:
    """Check values of --calibration and --boxes; None stands for one that was not given.

    Raises:
        InputError: `missing-file`, or `unsupported-file`, if one is certainly something else.
    """
    for option, path in (("--calibration", calibration), ("--boxes", boxes)):
        if path is not None and not path.exists():
            raise InputError(f"{option} {path}: no such file or folder.", code="missing-file", path=path)
    if calibration is not None and calibration.is_file():
        default = "mvgeom show --help lists the formats; mvgeom calibrate makes a calibration."
        # A format of a plugin can be of any kind that is not certainly another.
        right = ("calibration", "yaml", "run-config", "foreign-config", "deeplabcut-config", "hdf5", "file")
        _check(calibration, "a calibration", default, right, {}, "--calibration")
    if boxes is not None and boxes.is_file():
        default = "--boxes is the folder of the tables <video>_bbox.csv."
        steps = {"box-table": f"Give its folder: --boxes {boxes.parent}", "file": default}
        _check(boxes, "a folder of tables <video>_bbox.csv", default, (), steps, "--boxes")


def check_sources(command: str, paths: Iterable[Path], file_format: str = "") -> None:
    """Check existing sources of `mvtrain import`, `convert`, `smooth` or `pseudolabel`.

    Args:
        command: "import", "convert", "smooth" or "pseudolabel".
        paths: Sources.
        file_format: Format given to `mvtrain import`.

    Raises:
        InputError: `unsupported-file`, if a source is certainly something else.
    """
    if command in ("convert", "smooth", "pseudolabel"):
        expected = "predictions of mvtrain predict, <session>_prediction.json and its tables"
        steps = {
            "project": "Predict first, with mvtrain predict RUN {path}, and give the folder that it prints.",
            "keypoint-table": "Give its folder {folder} and the names of the views with --views.",
        }
        default = "Give a folder that mvtrain predict wrote."
        right: tuple[str, ...] = ("run", "ensemble", "file", "keypoint-json", *_FOLDERS)
    elif file_format in _ACCEPTED_BY_IMPORT:
        expected = _ACCEPTED_BY_IMPORT[file_format][0]
        right = ("file", *_ACCEPTED_BY_IMPORT[file_format][1], *_FOLDERS)
        steps = {
            **_import_steps(),
            "project": "It is a project already: mvtrain check {path}/config.yaml",
            "calibration": "Give calibrations with --calibration.",
            "video": "Give videos of the labels with --media.",
        }
        default = "mvtrain import --help lists what is read."
    else:
        return
    for path in paths:
        if path.exists():
            _check(path, expected, default, right, steps)


_ACCEPTED_BY_IMPORT: dict[str, tuple[str, tuple[str, ...]]] = {
    "deeplabcut": (
        "a project or labels of DeepLabCut",
        ("deeplabcut", "deeplabcut-config", "keypoint-table", "hdf5", "project-table"),
    ),
    "sleap": ("labels of SLEAP (.slp)", ("sleap-project", "hdf5")),
    "anipose": ("a project of anipose", ("deeplabcut", "deeplabcut-config", "keypoint-table", "hdf5", "calibration")),
    "coco": ("a JSON file of COCO annotations", ("coco", "keypoint-json")),
    "mmpose": ("predictions of MMPose (JSON)", ("keypoint-json",)),
    "openpose": ("a folder of OpenPose's JSON", ("keypoint-json",)),
}
"""Description and kinds of the sources of `mvtrain import`, by format."""


def _import_steps() -> dict[str, str]:
    """Return the command that imports each kind of foreign labels."""
    people = "Import it with: mvtrain import mmpose {path} --min-likelihood 0.5 --output NEW; OpenPose's with openpose."
    return {
        **{kind: f"Import it with: mvtrain import {name} {{path}} --output NEW" for kind, name in _IMPORTED_BY.items()},
        "keypoint-json": people,
        "folder-of-json": people,
    }


def _check(
    path: Path, expected: str, default: str, right: Iterable[str], steps: dict[str, str], where: str = ""
) -> None:
    """Refuse any kind that can be told and is not right; `steps` has the next steps by kind, `default` the others'."""
    filled = {kind: step.replace("{folder}", shlex.quote(str(path.parent))) for kind, step in steps.items()}
    refused = {kind: filled.get(kind, default) for kind in (*_KINDS, *steps) if kind not in right}
    kind = _kind(path)
    check_role(path, Role(expected=expected, refused=refused), where, kind, _KINDS)


def _kind(path: Path) -> str:
    """Return the kind of a path: a key of `_KINDS`, or "file" or "folder"."""
    if path.is_dir():
        config = path / "config.yaml"
        if is_ensemble(path):
            return "ensemble"
        if _is_run(path):
            return "run"
        if config.is_file():
            return "deeplabcut" if _OF_DEEPLABCUT.search(head(config, 65536)) else "project"
        return "folder" if (kind := kind_of_path(path)) == "calibration" else kind
    if path.suffix.lower() in (".yaml", ".yml"):
        text = head(path, 65536)
        if _SECTIONS.search(text):
            return "run-config" if _is_run(path.parent) else "yaml"
        if _OF_DEEPLABCUT.search(text):
            return "deeplabcut-config"
    kind = kind_of_path(path)
    if kind == "yaml":
        return "foreign-config"
    if kind == "weights" and _run_above(path) is not None:
        return "run-weights"
    config = path.parent / "config.yaml"
    if kind == "keypoint-table" and config.is_file() and not _OF_DEEPLABCUT.search(head(config, 65536)):
        return "project-table"
    return kind


def _is_run(folder: Path) -> bool:
    return (folder / RUN_INFO).is_file() or (folder / "checkpoints").is_dir()


def _run_above(path: Path) -> Path | None:
    """Return the run folder that a file of weights is in; None outside of one."""
    return next((folder for folder in list(path.parents)[:3] if _is_run(folder)), None)
