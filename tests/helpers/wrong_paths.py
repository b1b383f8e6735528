"""Files and folders that people give to a command by mistake, and the check that a message helps."""

from __future__ import annotations

import functools
import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from helpers.boards import arc_of_cameras
from helpers.keypoint_files import frame_table, write_mmpose_video, write_openpose


def make_wrong_paths(folder: Path) -> dict[str, Path]:
    """One path of every kind, by the name of the kind in `mvgeom.path_kinds` or a name of its own."""
    points, likelihood = np.full((3, 4, 2), 5.0), np.ones((3, 4))
    for name in ("videos", "images", "tables", "empty", "notes"):
        (folder / name).mkdir()
    files: dict[str, bytes] = {
        "empty.csv": b"",
        "session_top.mp4": b"\0\0\0\x18ftypmp42" + bytes(100),
        "sheet.xlsx": b"PK\x03\x04" + bytes(30),
        "net.ckpt": b"PK\x03\x04" + bytes(30),
        "labels.slp": b"\x89HDF\r\n\x1a\n" + bytes(30),
        "strange.h5": b"\x89HDF\r\n\x1a\n" + bytes(30),
        "boxes.csv": b",x,y,h,w\n0,1,2,3,4\n",
        "coco.json": json.dumps({"images": [], "annotations": [], "categories": []}).encode(),
        "other.yaml": b"optimizer: adam\nepochs: 3\n",
        "notes/notes.txt": b"some words\n",
        "notes.txt": b"some words\n",
        "data.bin": bytes(range(128, 256)),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "videos" / "session_top.mp4").write_bytes(files["session_top.mp4"])
    cv2.imwrite(str(folder / "img0.png"), np.zeros((8, 8, 3), np.uint8))
    cv2.imwrite(str(folder / "images" / "img0.png"), np.zeros((8, 8, 3), np.uint8))
    with zipfile.ZipFile(folder / "project.zip", "w") as archive:
        archive.writestr("a.txt", "a")
    frame_table(points, likelihood).to_csv(folder / "table.csv")
    frame_table(points, likelihood).to_csv(folder / "tables" / "table.csv")
    arc_of_cameras(2).save(folder / "rig.toml")
    return {
        "missing": folder / "nowhere.csv",
        "empty-file": folder / "empty.csv",
        "video": folder / "session_top.mp4",
        "image": folder / "img0.png",
        "archive": folder / "project.zip",
        "workbook": folder / "sheet.xlsx",
        "weights": folder / "net.ckpt",
        "sleap-project": folder / "labels.slp",
        "hdf5": folder / "strange.h5",
        "keypoint-table": folder / "table.csv",
        "box-table": folder / "boxes.csv",
        "keypoint-json": write_mmpose_video(folder / "mmpose", points, likelihood),
        "coco": folder / "coco.json",
        "calibration": folder / "rig.toml",
        "yaml": folder / "other.yaml",
        "file": folder / "notes.txt",
        "binary": folder / "data.bin",
        "folder": folder / "notes",
        "folder-of-videos": folder / "videos",
        "folder-of-images": folder / "images",
        "folder-of-tables": folder / "tables",
        "folder-of-json": write_openpose(folder / "openpose", points, likelihood),
        "empty-folder": folder / "empty",
    }


def assert_helps(line: str, path: Path, options: Mapping[str, frozenset[str]]) -> None:
    """Assert that a message names the path, and a command or an option that exists.

    Args:
        line: The message.
        path: Path that was given by mistake.
        options: Options of every command, by `program command`.
    """
    assert str(path) in line, line
    commands = re.findall(r"\b(mvgeom|mvtrain) ([a-z]+)\b", line)
    named = [f"{program} {command}" for program, command in commands]
    assert set(named) <= set(options), line
    flags = re.findall(r"(?<![\w-])--[a-z][a-z-]*", line)
    known = {flag for each in options.values() for flag in each} | {"--help"}
    assert set(flags) <= known, line
    assert named or flags, line


@functools.cache
def command_options(program: str) -> dict[str, frozenset[str]]:
    """Options of every command of a program, by `program command`."""
    import typer.main

    if program == "mvgeom":
        from mvgeom.cli.commands import app
    else:
        from mvtrain.cli.app import app
    group = typer.main.get_command(app)
    return {
        f"{program} {name}": frozenset(option for parameter in command.params for option in parameter.opts)
        for name, command in group.commands.items()  # type: ignore[attr-defined]
    }
