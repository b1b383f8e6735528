"""The last lines of every command of mvtrain: what it wrote, and the next command."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.command import run_mvtrain
from helpers.foreign import read, write_deeplabcut
from helpers.runs import make_run
from helpers.tiny import generate_tiny_project, write_tiny_config
from mvtrain.cli.app import COMMANDS

SMALL = ("--num-views", 2, "--num-frames", 2, "--size", 64, "--video-frames", 4, "--num-sessions", 1)

LAST: dict[str, tuple[tuple[object, ...], str]] = {
    "synth": ((*SMALL, "-o", "synthetic"), "synthetic"),
    "init": (("project/videos", "--keypoints", "nose,tail", "-o", "started"), "started"),
    "import": (("deeplabcut", "deeplabcut", "-o", "imported"), "imported"),
    "check": (("project/config.yaml", "-o", "checked"), "checked"),
    "fit": (("tiny.yaml", "-o", "trained"), "trained"),
    "evaluate": (("run",), "run"),
    "report": (("run",), "run/report.html"),
    "export": (("run", "--format", "torch"), "run/export/network.yaml"),
    "predict": (("run", "project/videos", "-o", "predicted"), "predicted"),
    "smooth": (("predicted", "-o", "smoothed"), "smoothed"),
    "convert": (("anipose", "predicted", "-o", "converted"), "converted"),
    "crop": (("project", "-o", "cropped"), "cropped"),
    "pseudolabel": (("project", "predicted", "-n", 2, "--max-std", 1e6), "project"),
    "frames": (("project", "-n", 2, "--small-images"), "project"),
}
"""Arguments with which each command succeeds, in their order, and a path that it writes."""

ELSEWHERE = {"label": "test_label_command.py: a server that a signal ends"}

NO_NEXT_COMMAND = {
    "convert": "its files are for other programs",
    "export": "its graphs are for runtimes without mvtrain",
}
"""Commands after which there is none of ours, and the reason."""


def test_every_command_names_what_it_wrote_and_the_next_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(LAST) | set(ELSEWHERE) == set(COMMANDS)
    monkeypatch.chdir(tmp_path)
    original = read(generate_tiny_project(Path("project"), num_frames=8, num_video_frames=24))
    write_deeplabcut(Path("deeplabcut"), original)
    write_tiny_config(Path("tiny.yaml"), Path("project"), max_epochs=1)
    data = {"data_dir": "project"}
    make_run(Path("run"), original.view_names, original.keypoint_names, data)
    for name, (arguments, written) in LAST.items():
        outcome = run_mvtrain(capsys, monkeypatch, name, *arguments)
        assert outcome.status == 0, f"{name}: {outcome.err}{outcome.out}"
        assert Path(written).exists(), name
        ending = outcome.out.splitlines()[-4:]
        assert written in "\n".join(ending), f"{name}: {ending}"
        assert ("ext: mvtrain " in ending[-1]) == (name not in NO_NEXT_COMMAND), f"{name}: {ending}"
