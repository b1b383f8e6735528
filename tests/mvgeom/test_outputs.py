"""Outputs of mvgeom's commands: no input is replaced, under whatever name it is given, and no output by another."""

from __future__ import annotations

import json
import os
import tomllib
import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from helpers.boards import arc_of_cameras
from helpers.command_lines import write_inputs
from helpers.errors import raises_input
from helpers.mvgeom_command import fails, run, run_next
from helpers.wrong_paths import command_options
from mvgeom.cli.rig_output import report_files
from mvgeom.formats import FORMATS

KEYPOINTS = ("cam1=cam1.csv", "cam2=cam2.csv", "--boxes", "cam1=boxes.csv", "--crop-size", "8x8")
BOARD = ("cam1=images", "cam2=board*.png", "--board", "board.toml")

COMMANDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "convert": (("convert", "rig.toml", "-o", "{out}"), ("rig.sync.json",)),
    "show": (("show", "rig.toml", "-o", "{out}"), ("rig.toml", "rig.sync.json")),
    "triangulate": (
        ("triangulate", "rig.toml", *KEYPOINTS, "-o", "{out}"),
        ("rig.toml", "rig.sync.json", "cam1.csv", "cam2.csv", "boxes.csv"),
    ),
    "smooth": (
        ("smooth", "rig.toml", *KEYPOINTS, "-o", "{out}"),
        ("rig.toml", "rig.sync.json", "cam1.csv", "cam2.csv", "boxes.csv"),
    ),
    "check": (("check", "rig.toml", *KEYPOINTS), ()),
    "refine": (
        ("refine", "rig.toml", *KEYPOINTS, "-o", "{out}"),
        ("rig.sync.json", "cam1.csv", "cam2.csv", "boxes.csv"),
    ),
    "sync": (
        ("sync", "rig.toml", *KEYPOINTS, "--fps", "50", "-o", "{out}"),
        ("rig.toml", "cam1.csv", "cam2.csv", "boxes.csv"),
    ),
    "sync board": (
        (
            "sync",
            "rig.toml",
            "cam1=images/a.png",
            "cam2=board1.png",
            "--board",
            "board.toml",
            "--fps",
            "50",
            "-o",
            "{out}",
        ),
        ("rig.toml", "board.toml", "images/a.png", "board1.png"),
    ),
    "place": (
        ("place", "rig.toml", "cam1=cam1.csv", "--points", "room.csv", "-o", "{out}"),
        ("rig.toml", "rig.sync.json", "cam1.csv", "room.csv"),
    ),
    "world": (
        ("world", "rig.toml", "cam1=cam1.csv", "cam2=cam2.csv", "--points", "room.csv", "-o", "{out}"),
        ("rig.toml", "rig.sync.json", "cam1.csv", "cam2.csv", "room.csv"),
    ),
    "world board": (
        ("world", "rig.toml", *BOARD, "-o", "{out}"),
        ("rig.toml", "board.toml", "images/a.png", "board1.png"),
    ),
    "calibrate": (
        ("calibrate", *BOARD, "--intrinsics", "rig.toml", "-o", "{out}"),
        ("rig.toml", "board.toml", "images/a.png", "board1.png"),
    ),
    "calibrate keypoints": (
        ("calibrate", "--keypoints", *KEYPOINTS, "--intrinsics", "rig.toml", "-o", "{out}"),
        ("rig.toml", "cam1.csv", "cam2.csv", "boxes.csv"),
    ),
}
"""Command line with {out} for the output, and the files that it reads."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with inputs of all commands, in which the commands run."""
    write_inputs(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    """Bytes of all files of a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_command_is_tried() -> None:
    assert {f"mvgeom {name.split()[0]}" for name in COMMANDS} == set(command_options("mvgeom"))


@pytest.mark.parametrize("name", [name for name, (_, read) in COMMANDS.items() if read])
def test_no_command_replaces_what_it_reads(name: str, folder: Path) -> None:
    template, read = COMMANDS[name]
    (folder / "linked").symlink_to(folder)
    before = contents(folder)
    for file in read:
        (folder / "link.toml").symlink_to(file)
        for shown in (file, folder / file, f"images/../{file}", f"linked/{file}", "link.toml"):
            fails("unwritable-file", *(word.format(out=shown) for word in template), path=Path(shown))
        (folder / "link.toml").unlink()
    assert contents(folder) == before


WRITERS = ("convert", "refine", "place", "world", "world board", "calibrate", "calibrate keypoints")
"""Commands that write a calibration."""


@pytest.mark.parametrize("name", WRITERS)
def test_no_calibration_is_named_like_clocks(name: str, folder: Path) -> None:
    before = contents(folder)
    for output in ("rig.sync.json", "new.sync.json", "new.SYNC.json"):
        fails("unwritable-file", *(word.format(out=output) for word in COMMANDS[name][0]), path=Path(output))
    assert contents(folder) == before


@pytest.mark.parametrize("name", WRITERS)
def test_no_calibration_is_written_beside_clocks_of_another_one(name: str, folder: Path) -> None:
    clocks = (folder / "rig.sync.json").read_bytes()
    (folder / "rig.sync.json").rename(folder / "new.sync.json")
    before = contents(folder)
    for output in ("new.toml", "new.json", folder / "new.toml"):
        arguments = (word.format(out=output) for word in COMMANDS[name][0])
        fails("unwritable-file", *arguments, path=Path(output), other="new.sync.json")
    assert contents(folder) == before
    assert (folder / "new.sync.json").read_bytes() == clocks


def test_a_folder_is_not_written_beside_clocks_of_another_one(folder: Path) -> None:
    (folder / "rig.sync.json").rename(folder / "v1.2.sync.json")
    fails("unwritable-file", "convert", "rig.toml", "-o", "v1.2", "--to", "easymocap", other="v1.2.sync.json")
    assert not (folder / "v1.2").exists()


def test_clocks_of_the_same_name_stay(folder: Path) -> None:
    before = (folder / "rig.sync.json").read_bytes()
    for arguments in (("convert", "rig.toml"), ("refine", "rig.toml", "cam1=cam1.csv", "cam2=cam2.csv", "--force")):
        result = run(*arguments, "-o", "rig.json")
        assert result.exit_code == 0, result.output
        assert (folder / "rig.sync.json").read_bytes() == before


def test_damaged_clocks_are_found_before_anything_is_written(folder: Path) -> None:
    (folder / "rig.sync.json").write_text("{}")
    before = contents(folder)
    fails("missing-field", "convert", "rig.toml", "-o", "new.toml", path="rig.sync.json")
    assert contents(folder) == before


OUTPUTS = {
    **{name: f"my rig{each.SUFFIXES[0] if each.SUFFIXES else ''}" for name, each in FORMATS.items()},
    "opencv": "it's.xml",
    "pose2sim": "$rig & co.txt",
}
WRITTEN = {name: file for name, file in OUTPUTS.items() if not getattr(FORMATS[name], "READ_ONLY", False)}
"""Outputs of each format, with characters that are special in a shell."""


@pytest.mark.parametrize("sizes", [[[640, 480], [640, 480]], [[640, 480], [480, 640]]])
@pytest.mark.parametrize("name", WRITTEN)
def test_the_next_command_of_convert_runs_for_every_format(name: str, sizes: list[list[int]], folder: Path) -> None:
    arc_of_cameras(2, distortion=()).replace(sizes=np.array(sizes), names=("left", "top")).save("rig.toml")
    (folder / "rig.sync.json").unlink()
    result = run("convert", "rig.toml", "-o", WRITTEN[name], "--to", name)
    assert result.exit_code == 0, result.output
    shown = run_next(result)
    assert shown.exit_code == 0, shown.output
    for camera, size in zip(("left", "top"), sizes, strict=True):
        (row,) = [line for line in shown.stdout.splitlines() if camera in line.split()]
        assert f"{size[0]}x{size[1]}" in row.split()


@pytest.mark.parametrize("output", ["my rig.toml", "my rig.mat", "my rig.csv"])
def test_the_next_command_after_keypoints_reads_them_alike(output: str, folder: Path) -> None:
    arc_of_cameras(2, distortion=()).save("rig.toml")
    (folder / "my cam1.csv").write_bytes((folder / "cam1.csv").read_bytes())
    views = ("cam1=my cam1.csv", "cam2=cam2.csv")
    boxes = ("--boxes", "cam1=boxes.csv", "--boxes", "cam2=boxes.csv", "--crop-size", "1280x1024")
    options = ("--min-likelihood", 0.25, "--ignore-sync", "--force")
    result = run("refine", "rig.toml", *views, *boxes, *options, "-o", output)
    assert result.exit_code == 0, result.output
    assert f"next: mvgeom check '{output}' 'cam1=my cam1.csv' cam2=cam2.csv" in result.stdout
    assert f"{' '.join(boxes)} --min-likelihood 0.25 --ignore-sync\n" in result.stdout
    assert run_next(result).exit_code == 0


def test_the_next_command_of_world_runs(folder: Path) -> None:
    floor = ("--floor", "a", "--floor", "b", "--floor", "c")
    result = run("world", "rig.toml", "cam1=cam1.csv", "cam2=cam2.csv", *floor, "-o", "my world.mat")
    assert result.exit_code == 0, result.output
    assert run_next(result).exit_code == 0


@pytest.mark.parametrize("name", ["triangulate", "check", "sync"])
def test_the_next_command_of_keypoints_runs(name: str, folder: Path) -> None:
    (folder / "my cam1.csv").write_bytes((folder / "cam1.csv").read_bytes())
    (folder / "rig.sync.json").unlink()
    options = {"triangulate": ("-o", "my points.csv"), "check": (), "sync": ("--fps", 50)}[name]
    reading = ("--from", "anipose", "--min-likelihood", 0.25)
    result = run(name, "rig.toml", "cam1=my cam1.csv", "cam2=cam2.csv", *reading, *options)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1].count("next: mvgeom ") == 1
    assert "--min-likelihood 0.25 --from anipose" in result.stdout.splitlines()[-1]
    assert run_next(result).exit_code == 0


def test_show_names_the_figure_and_the_next_command(folder: Path) -> None:
    last = run("show", "rig.toml", "--from", "anipose", "-o", "rig.png").stdout.splitlines()[-1]
    assert last == "figure: rig.png; next: mvgeom check rig.toml VIEW=PATH --from anipose"


def test_options_of_version_0_1_0_stay_valid_and_hidden(folder: Path) -> None:
    views = ("rig.toml", "cam1=cam1.csv", "cam2=cam2.csv")
    assert run("smooth", *views, "-o", "new.csv", "--views", "tables").exit_code == 0
    assert (folder / "tables" / "cam1.csv").is_file()
    fails("missing-frame", "world", "rig.toml", *BOARD, "--frame", "a", "-o", "new.toml", frame="a")
    assert not {"--views", "--frame"} & {*run("smooth", "-h").stdout.split(), *run("world", "-h").stdout.split()}


def test_tables_of_views_are_outputs(folder: Path) -> None:
    arguments = ("smooth", "rig.toml", "cam1=cam1.csv", "cam2=cam2.csv")
    before = contents(folder)
    fails("unwritable-file", *arguments, "-o", "new.csv", "--view-tables", ".", path="cam1.csv", other="cam1.csv")
    fails("unwritable-file", *arguments, "-o", "images/cam2.csv", "--view-tables", "images", path="cam2.csv")
    assert contents(folder) == before


def test_files_of_a_report_are_outputs(folder: Path) -> None:
    (folder / "images" / "a.png").rename(folder / "images" / "cam1.png")
    (folder / "residuals.csv").write_bytes((folder / "cam2.csv").read_bytes())
    before = contents(folder)
    views, sizes = ("cam1=cam1.csv", "cam2=residuals.csv"), ("--size", "1280x1024")
    fails("unwritable-file", "calibrate", *BOARD, "-o", "new.toml", "--report", "images", path="cam1.png")
    options = ("-o", "new.toml", "--report", ".")
    fails("unwritable-file", "calibrate", "--keypoints", *views, *sizes, *options, path="residuals.csv")
    fails("unwritable-file", "refine", "rig.toml", *views, *options, path="residuals.csv")
    fails("unwritable-file", "refine", "rig.toml", *views, "-o", "images/report.json", "--report", "images")
    assert contents(folder) == before


def test_a_folder_of_json_is_what_is_read_from_it(folder: Path) -> None:
    (folder / "poses").mkdir()
    (folder / "poses" / "a_000000000000_keypoints.json").write_text('{"version": 1.3, "people": []}')
    views = ("cam1=poses", "cam2=poses")
    output = "poses/a_000000000000_keypoints.json"
    fails("unwritable-file", "refine", "rig.toml", *views, "-o", output, path=Path(output))


def test_calibrations_are_converted_and_refined_in_place(folder: Path) -> None:
    before = arc_of_cameras(2).load("rig.toml")
    result = run("convert", "rig.toml", "-o", "rig.toml", "--scale", 2)
    assert result.exit_code == 0, result.output
    after = arc_of_cameras(2).load("rig.toml")
    assert after.translation == pytest.approx(2 * before.translation)
    result = run("refine", "rig.toml", "cam1=cam1.csv", "cam2=cam2.csv", "-o", "rig.toml", "--force", "--ignore-sync")
    assert result.exit_code == 0, result.output
    assert (folder / "rig.sync.json").is_file()


METADATA = {"adjusted": True, "error": 0.25, "note": "by hand"}


@pytest.mark.parametrize("name", ["anipose", "pose2sim"])
@pytest.mark.parametrize("output", ["rig.toml", "new.toml"])
def test_metadata_stay_with_the_cameras(name: str, output: str, folder: Path) -> None:
    arc_of_cameras(2, distortion=()).replace(names=("a", "b")).save("rig.toml", file_format=name, metadata=METADATA)
    result = run("convert", "rig.toml", "-o", output, "--scale", 2, "--to", name)
    assert result.exit_code == 0, result.output
    assert not result.stderr
    assert tomllib.loads(Path(output).read_text())["metadata"] == METADATA


def test_metadata_of_other_cameras_are_left_out_with_a_warning(folder: Path) -> None:
    arc_of_cameras(2).save("rig.toml", metadata=METADATA)
    views = ("cam1=cam1.csv", "cam2=cam2.csv")
    result = run("world", "rig.toml", *views, "--axes", "a", "b", "c", "--ignore-sync", "-o", "world.toml")
    assert result.exit_code == 0, result.output
    assert tomllib.loads(Path("world.toml").read_text())["metadata"] == METADATA
    result = run("refine", "rig.toml", *views, "-o", "rig.toml", "--force", "--ignore-sync")
    assert result.exit_code == 0, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("warning: ")]
    assert "metadata" in line
    assert "metadata" not in tomllib.loads(Path("rig.toml").read_text())


def test_what_a_replaced_file_has_beside_cameras_is_named(tmp_path: Path) -> None:
    cameras = arc_of_cameras(2, distortion=())
    cameras.save(tmp_path / "rig.json")
    with warnings.catch_warnings(action="error"):
        cameras.save(tmp_path / "rig.json")
    document = json.loads((tmp_path / "rig.json").read_text())
    (tmp_path / "rig.json").write_text(json.dumps({**document, "metadata": {}}))
    with pytest.warns(UserWarning, match="metadata"):
        cameras.save(tmp_path / "rig.json")
    (tmp_path / "rig.toml").write_text('[metadata]\n[charuco]\nsquares = 7\n[cam_0]\nname = "a"\nmatrix = []\n')
    with pytest.warns(UserWarning, match="metadata, charuco$"):
        cameras.save(tmp_path / "rig.toml")
    cameras.save(tmp_path / "rig.toml", file_format="pose2sim", metadata=METADATA)
    with pytest.warns(UserWarning, match="metadata$"):
        cameras.save(tmp_path / "rig.toml", file_format="pose2sim")


def test_a_mat_file_with_more_than_cameras_is_not_replaced(tmp_path: Path) -> None:
    path, cameras = tmp_path / "rig.mat", arc_of_cameras(2, distortion=())
    for _ in range(2):
        cameras.save(path)
    stored = {name: value for name, value in loadmat(path).items() if not name.startswith("__")}
    savemat(path, {**stored, "labelData": np.arange(3)})
    before = path.read_bytes()
    with raises_input("unwritable-file", path=path, found=("labelData",)):
        cameras.save(path)
    assert path.read_bytes() == before
    path.write_bytes(b"MATLAB 7.3 MAT-file" + bytes(600))
    with raises_input("unwritable-file", path=path):
        cameras.save(path)
    path.write_bytes(b"damaged")
    cameras.save(path)


@pytest.mark.parametrize("file", ["points3D.txt", "images.txt"])
def test_a_model_with_points_is_not_replaced(file: str, folder: Path) -> None:
    arc_of_cameras(2, distortion=()).save("col", file_format="colmap")
    arguments = ("convert", "col", "-o", "col", "--to", "colmap", "--scale", 0.001)
    (folder / "col" / "points3D.txt").write_text("# 3D point list with one line of data per point:\n\n")
    (folder / "rig.sync.json").unlink()
    assert run(*arguments).exit_code == 0
    path = folder / "col" / file
    if file == "points3D.txt":
        path.write_text("1 0.1 0.2 0.3 255 255 255 0.5 1 0 2 0\n")
    else:
        *lines, _ = path.read_text().splitlines()
        path.write_text("\n".join([*lines, "320.5 240.5 -1"]) + "\n")
    before = contents(folder)
    fails("occupied-folder", *arguments, path="col")
    assert contents(folder) == before


def test_an_output_of_an_earlier_run_is_replaced(folder: Path) -> None:
    for _ in range(2):
        result = run("triangulate", "rig.toml", *KEYPOINTS, "-o", "points.csv", "--ignore-sync")
        assert result.exit_code == 0, result.output


def test_the_files_of_a_report_are_known(folder: Path) -> None:
    views = ("cam1=cam1.csv", "cam2=cam2.csv")
    run("refine", "rig.toml", *views, "-o", "new.toml", "--force", "--ignore-sync", "--report", "report")
    written = set(Path("report").iterdir())
    assert written
    assert written <= set(report_files(Path("report"), ("cam1", "cam2")))


@pytest.mark.skipif(os.name == "nt", reason="links need rights")
def test_an_input_that_is_a_link_is_what_it_points_to(folder: Path) -> None:
    (folder / "view.csv").symlink_to("cam1.csv")
    fails("unwritable-file", "triangulate", "rig.toml", "cam1=view.csv", "cam2=cam2.csv", "-o", "cam1.csv")
