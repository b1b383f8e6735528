"""Every command of mvtrain, given every kind of wrong path: one line that names the path and the next step."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.command import run_mvtrain
from helpers.tiny import generate_tiny_project
from helpers.wrong_paths import assert_helps, command_options, make_wrong_paths
from mvtrain.cli.path_roles import (
    _ACCEPTED_BY_IMPORT,
    check_config,
    check_labeled_project,
    check_predict_inputs,
    check_sources,
)
from mvtrain.exchange.run_import import READERS

FOREIGN = {"deeplabcut", "deeplabcut-config", "keypoint-table", "hdf5"}
FOLDERS = {"folder", "folder-of-images", "folder-of-videos", "folder-of-tables", "folder-of-json"}
PROJECTS = {"project", "project config", "run", "run config", "folder-of-tables"}

WITH_THE_RUN = {"missing", "folder"}
"""Kinds that predict refuses only when it knows the run's views: what may be a pattern, a folder without videos."""

ARGUMENTS: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "fit config": (("fit", "{path}", "--dry-run"), {"project config", "run config"}),
    "fit --resume": (("fit", "--resume", "{path}"), {"run", "ensemble"}),
    "init videos": (
        ("init", "{path}", "--keypoints", "a,b", "-o", "{new}"),
        {"video", "folder-of-videos", "project", "*folder", "missing"},
    ),
    "init --calibration": (
        ("init", "{videos}", "--keypoints", "a,b", "-o", "{new}", "--calibration", "{path}"),
        {"calibration", "*folder", "file", "binary", "*yaml", "hdf5"},
    ),
    "label project": (
        ("label", "{path}", "--port", "1"),
        {"project", "project config", "folder", "folder-of-tables", "folder-of-images", "folder-of-json"},
    ),
    "frames project": (("frames", "{path}"), {"project", "project config"}),
    "crop project": (("crop", "{path}", "-o", "{new}"), {"project", "project config"}),
    "check config": (("check", "{path}"), {"project config", "run config"}),
    "predict run": (("predict", "{path}", "{videos}"), {"run", "ensemble"}),
    "predict input": (("predict", "{run}", "{path}"), {"video", "folder-of-videos", *PROJECTS, *WITH_THE_RUN}),
    "predict --calibration": (
        ("predict", "{run}", "{videos}", "--calibration", "{path}"),
        {"calibration", "*folder", "file", "binary", "*yaml", "hdf5"},
    ),
    "predict --boxes": (("predict", "{run}", "{videos}", "--boxes", "{path}"), {"*folder"}),
    "evaluate run": (("evaluate", "{path}"), {"run", "ensemble"}),
    "evaluate project": (("evaluate", "{run}", "{path}"), {*PROJECTS, "folder"}),
    "report run": (("report", "{path}"), {"run", "ensemble"}),
    "export run": (("export", "{path}"), {"run"}),
    "import deeplabcut": (("import", "deeplabcut", "{path}", "-o", "{new}"), {*FOREIGN, *FOLDERS, "project table"}),
    "import sleap": (("import", "sleap", "{path}", "-o", "{new}"), {"sleap-project", "hdf5", *FOLDERS}),
    "import anipose": (("import", "anipose", "{path}", "-o", "{new}"), {*FOREIGN, *FOLDERS, "calibration"}),
    "import coco": (("import", "coco", "{path}", "-o", "{new}"), {"coco", "keypoint-json", *FOLDERS}),
    "import --into": (
        ("import", "sleap", "{videos}", "--into", "{path}"),
        {"project", "project config"},
    ),
    "import mmpose": (("import", "mmpose", "{path}", "-o", "{new}"), {"keypoint-json", *FOLDERS}),
    "import openpose": (("import", "openpose", "{path}", "-o", "{new}"), {"keypoint-json", *FOLDERS}),
    "smooth source": (("smooth", "{path}", "-o", "{new}"), {"run", "ensemble", *FOLDERS, "keypoint-json"}),
    "pseudolabel project": (("pseudolabel", "{path}", "{videos}"), {"project", "project config"}),
    "pseudolabel predictions": (
        ("pseudolabel", "{project}", "{path}"),
        {"run", "ensemble", *FOLDERS, "keypoint-json"},
    ),
    "convert source": (("convert", "anipose", "{path}", "-o", "{new}"), {"run", "ensemble", *FOLDERS, "keypoint-json"}),
}
"""Command line with {path} for the wrong one, and the kinds that are right there; *folder is any folder."""

BY_READER = {"missing", "file", "binary"}
"""Paths that only the reader can refuse: its message names the path and what it expects."""


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("wrong")
    found = make_wrong_paths(folder)
    project = generate_tiny_project(folder / "project", num_frames=2, num_video_frames=2)
    run = folder / "run"
    (run / "checkpoints" / "best").mkdir(parents=True)
    (run / "config.yaml").write_text((project / "config.yaml").read_text())
    (run / "run.yaml").write_text("version: 1\n")
    (run / "checkpoints" / "best" / "model.safetensors").write_bytes(b"weights")
    ensemble = folder / "ensemble"
    ensemble.mkdir()
    (ensemble / "ensemble.yaml").write_text("runs:\n- {folder: seed0, seed: 0, done: false}\n")
    foreign = folder / "mouse-me-2024-05-01"
    foreign.mkdir()
    (foreign / "config.yaml").write_text("Task: mouse\nscorer: me\nvideo_sets:\n  a.mp4:\n    crop: 0, 9, 0, 9\n")
    return {
        **found,
        "project": project,
        "project config": project / "config.yaml",
        "project table": project / "CollectedData_cam1.csv",
        "run": run,
        "run config": run / "config.yaml",
        "ensemble": ensemble,
        "run weights": run / "checkpoints" / "best" / "model.safetensors",
        "deeplabcut": foreign,
        "deeplabcut-config": foreign / "config.yaml",
    }


def test_every_command_and_every_format_is_tried() -> None:
    formats = {name.split()[1] for name in ARGUMENTS if name.startswith("import ")} - {"--into"}
    assert formats == set(READERS) == set(_ACCEPTED_BY_IMPORT)
    tried = {f"mvtrain {name.split()[0]}" for name in ARGUMENTS}
    assert tried == set(command_options("mvtrain")) - {"mvtrain synth"}  # its only path is a new folder


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_the_message_names_the_path_and_the_next_step(
    argument: str,
    paths: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    template, right = ARGUMENTS[argument]
    options = {**command_options("mvtrain"), **command_options("mvgeom")}
    places = {"run": paths["run"], "videos": paths["project"] / "videos", "new": tmp_path / "new"}
    places["project"] = paths["project"]
    for kind, path in paths.items():
        if kind in right or ("*folder" in right and path.is_dir()) or ("*yaml" in right and path.suffix == ".yaml"):
            continue
        outcome = run_mvtrain(capsys, monkeypatch, *(word.format(path=path, **places) for word in template))
        assert outcome.status == 2, f"{kind}: {outcome.err}"
        lines = outcome.err.splitlines()
        assert len(lines) == 1, f"{kind}: {outcome.err}"
        assert lines[0].startswith("error: ")
        if kind in BY_READER:
            assert str(path) in lines[0], f"{kind}: {lines[0]}"
        else:
            assert_helps(lines[0], path, options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("kind", "words", "step"),
    [
        ("keypoint-table", ("fit",), "mvtrain import deeplabcut {path} --output NEW"),
        ("deeplabcut", ("fit",), "mvtrain import deeplabcut {path} --output NEW"),
        ("deeplabcut-config", ("check",), "mvtrain import deeplabcut {path} --output NEW"),
        ("coco", ("fit",), "mvtrain import coco {path} --output NEW"),
        ("sleap-project", ("fit",), "mvtrain import sleap {path} --output NEW"),
        ("run", ("fit",), "mvtrain fit --resume {path}"),
        ("project", ("fit",), "mvtrain fit {path}/config.yaml"),
        ("project", ("report",), "mvtrain fit {path}/config.yaml"),
        ("run config", ("report",), "{parent}"),
        ("run weights", ("export",), "{parent}"),
        ("project table", ("fit",), "mvtrain fit {parent}/config.yaml"),
        ("project table", ("predict", "{run}"), "mvtrain predict RUN {parent}"),
    ],
)
def test_the_next_step_can_be_copied(
    kind: str,
    words: tuple[str, ...],
    step: str,
    paths: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = paths[kind]
    parent = paths["run"] if kind == "run weights" else path.parent
    outcome = run_mvtrain(capsys, monkeypatch, *(word.format(run=paths["run"]) for word in words), path)
    assert step.format(path=path, parent=parent) in outcome.err, outcome.err


def test_what_is_right_beside_other_files_is_not_refused(paths: dict[str, Path], tmp_path: Path) -> None:
    videos = tmp_path / "videos"  # with tables beside them, as a recording's folder has
    videos.mkdir()
    (videos / "s_top.mp4").write_bytes(b"video")
    (videos / "s_top.csv").write_bytes(paths["keypoint-table"].read_bytes())
    (videos / "calibration.toml").write_bytes(paths["calibration"].read_bytes())
    one_line = tmp_path / "one_line.yaml"
    one_line.write_text('{"data": {"data_dir": "x"}}')
    check_predict_inputs([videos, paths["project"], paths["folder-of-tables"], tmp_path / "s*_top.mp4"])
    check_config(one_line, "fit")
    check_labeled_project(paths["folder-of-tables"])
    for file_format in (*READERS, "of a plugin"):
        check_sources("import", [videos, paths["folder-of-images"]], file_format)


ABSENT = {
    "init": ("nowhere", "--keypoints", "a"),
    "frames": ("nowhere",),
    "label": ("nowhere",),
    "crop": ("nowhere", "-o", "new"),
    "fit": ("nowhere",),
    "check": ("nowhere",),
    "predict": ("nowhere", "videos"),
    "smooth": ("nowhere", "-o", "new"),
    "pseudolabel": ("nowhere", "predictions"),
    "export": ("nowhere",),
    "evaluate": ("nowhere",),
    "report": ("nowhere",),
    "import": ("coco", "nowhere", "-o", "new"),
    "convert": ("anipose", "nowhere", "-o", "new"),
}


def test_a_wrong_path_is_named_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    assert {f"mvtrain {name}" for name in ABSENT} == set(command_options("mvtrain")) - {"mvtrain synth"}
    code = (
        "import json, sys\nfrom mvtrain.cli.app import main\n"
        "for arguments in json.loads(sys.argv[1]):\n    sys.argv = ['mvtrain', *arguments]\n"
        "    try:\n        main()\n    except SystemExit as ended:\n        assert ended.code == 2, arguments\n"
        "    heavy = {'torch', 'pandas', 'scipy', 'lightning', 'cv2', 'matplotlib'} & set(sys.modules)\n"
        "    assert not heavy, (arguments, heavy)\n"
    )
    lines = json.dumps([[name, *arguments] for name, arguments in ABSENT.items()])
    done = subprocess.run(
        [sys.executable, "-c", code, lines], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    errors = done.stderr.splitlines()
    assert [line for line in errors if "nowhere" not in line] == []
    assert len(errors) == len(ABSENT)
