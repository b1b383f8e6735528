"""The command mvgeom, through its real entry point object; start-up and exit codes through a real process."""

import errno
import inspect
import re
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.transform import Rotation

import mvgeom
from helpers.errors import raises_input
from helpers.foreign_cameras import FOREIGN, foreign_rig
from helpers.mvgeom_command import fails, run
from mvgeom import formats, project
from mvgeom.cameras import CameraGroup
from mvgeom.cli.entry import create_app, run_program
from mvgeom.cli.options import load_calibration
from mvgeom.tables import write_labeled_boxes, write_video_boxes

SHARED = Path(__file__).parents[2].parent / "shared"


@pytest.fixture
def calibration(tmp_path: Path) -> Path:
    turns = [Rotation.from_euler("yx", [angle, 15], degrees=True).inv().as_matrix() for angle in (0, 60, 130)]
    CameraGroup(
        names=("left", "right", "top"),
        sizes=np.tile([1280.0, 1024.0], (3, 1)),
        matrix=np.tile([[1200.0, 0, 640], [0, 1200, 512], [0, 0, 1]], (3, 1, 1)),
        distortion=np.tile([-0.1, 0.05, 0.001, -0.001, 0], (3, 1)),
        rotation=np.stack(turns),
        translation=np.tile([0, 0, 4.0], (3, 1)),
    ).save(tmp_path / "rig.toml")
    return tmp_path / "rig.toml"


def write_keypoints(
    path: Path, points: np.ndarray, likelihood: np.ndarray | None = None, rows: list | None = None
) -> None:
    coords = ["x", "y"] if likelihood is None else ["x", "y", "likelihood"]
    columns = pd.MultiIndex.from_product([["net"], ["nose", "tail"], coords], names=["scorer", "bodyparts", "coords"])
    values = points if likelihood is None else np.concatenate([points, likelihood[..., None]], axis=-1)
    pd.DataFrame(values.reshape(len(points), -1), columns=columns, index=rows).to_csv(path)


def views(folder: Path, calibration: Path, **options: object) -> tuple[np.ndarray, list[str]]:
    """World points (5, 2, 3), and the arguments VIEW=CSV of their exact observations."""
    cameras = CameraGroup.load(calibration)
    world = np.random.default_rng(0).uniform(-0.5, 0.5, (5, 2, 3))
    pixels = project(world, cameras)
    for view, name in enumerate(cameras.names):
        write_keypoints(folder / f"{name}.csv", pixels[:, view], **options)  # type: ignore[arg-type]
    return world, [f"{name}={folder / name}.csv" for name in cameras.names]


def read_3d(path: Path) -> tuple[pd.DataFrame, np.ndarray]:
    table = pd.read_csv(path, header=[0, 1, 2], index_col=0)["mvgeom"]
    return table, np.stack([table[name][["x", "y", "z"]].to_numpy() for name in ("nose", "tail")], axis=1)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from mvgeom.cli import main; sys.argv = ['mvgeom', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'cv2', 'scipy', 'matplotlib', 'pandas', 'torch'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_convert_by_suffix_and_back(calibration: Path, tmp_path: Path) -> None:
    result = run("convert", calibration, tmp_path / "rig.qca.txt", "--scale", 1000)
    assert result.exit_code == 0
    assert "3 cameras (left, right, top) -> " in result.stdout
    assert "Qualisys XML" in result.stdout
    back = run("convert", tmp_path / "rig.qca.txt", tmp_path / "folder", "--to", "easymocap", "--scale", 0.001)
    assert back.exit_code == 0
    again, cameras = CameraGroup.load(tmp_path / "folder"), CameraGroup.load(calibration)
    np.testing.assert_allclose(again.translation, cameras.translation, atol=1e-9)
    np.testing.assert_allclose(again.matrix, cameras.matrix, atol=1e-9)


def test_convert_warns_of_formats_with_other_units(calibration: Path, tmp_path: Path) -> None:
    in_mm, out = tmp_path / "rig.qca.txt", tmp_path / "folder"
    assert "warning" not in run("convert", calibration, in_mm, "--scale", 1000).stderr  # anipose's unit is any
    warned = run("convert", in_mm, out, "--to", "easymocap")
    assert warned.exit_code == 0
    assert "--scale 0.001" in warned.stderr
    assert "warning" not in run("convert", in_mm, out, "--to", "easymocap", "--scale", 0.001).stderr
    assert "warning" not in run("convert", in_mm, out, "--to", "jarvis").stderr
    assert "--scale 1000" in run("convert", out, in_mm, "--from", "easymocap").stderr


def test_convert_turns_the_images_of_a_view(calibration: Path, tmp_path: Path) -> None:
    before, output = CameraGroup.load(calibration), tmp_path / "turned.toml"
    assert run("convert", calibration, "-o", output, "--turn", f"{before.names[1]}=90").exit_code == 0
    turned = before.turn({before.names[1]: 90})
    np.testing.assert_allclose(CameraGroup.load(output).matrix, turned.matrix, rtol=1e-12)
    assert CameraGroup.load(output).sizes.tolist() == turned.sizes.tolist()
    fails("bad-option", "convert", calibration, "-o", output, "--turn", f"{before.names[1]}=left", option="--turn")
    fails("out-of-range", "convert", calibration, "-o", output, "--turn", f"{before.names[1]}=45", found=45)


def test_convert_with_sizes(calibration: Path, tmp_path: Path) -> None:
    run("convert", calibration, tmp_path / "rig.mat")
    fails("missing-size", "convert", tmp_path / "rig.mat", tmp_path / "rig.json", view="left")
    sizes = ["--size", "left=1280x1024", "--size", "right=1280x1024", "--size", "top=640x480"]
    assert run("convert", tmp_path / "rig.mat", tmp_path / "rig.json", *sizes).exit_code == 0
    np.testing.assert_array_equal(CameraGroup.load(tmp_path / "rig.json").sizes[2], [640, 480])


def test_options_of_formats_reach_them(calibration: Path, tmp_path: Path) -> None:
    cameras = CameraGroup.load(calibration)
    cameras = cameras.replace(distortion=np.zeros((3, 0)))
    cameras.save(tmp_path / "rig.csv", origin="lower-left")
    result = run(
        "convert",
        tmp_path / "rig.csv",
        tmp_path / "rig.json",
        "--size",
        "1280x1024",
        "-O",
        "names=left,right,top",
        "-O",
        "origin=lower-left",
    )
    assert result.exit_code == 0, result.output
    again = CameraGroup.load(tmp_path / "rig.json")
    assert again.names == cameras.names
    np.testing.assert_allclose(again.matrix, cameras.matrix, atol=1e-9)
    cameras.save(tmp_path / "rig.mat")
    options = ["--size", "1280x1024", "-O", "one_based=false"]
    assert run("convert", tmp_path / "rig.mat", tmp_path / "rig.json", *options).exit_code == 0
    np.testing.assert_allclose(CameraGroup.load(tmp_path / "rig.json").matrix[0, 0, 2], 641)


def format_options() -> dict[str, set[object]]:
    """Type of each option of the formats' `load`, by its name; an option of several formats has one type."""
    found: dict[str, set[object]] = {}
    for each in formats.FORMATS.values():
        hints = get_type_hints(each.load)
        for name, parameter in inspect.signature(each.load).parameters.items():
            if parameter.kind is parameter.KEYWORD_ONLY:
                found.setdefault(name, set()).update(set(get_args(hints[name])) or {hints[name]})
    return found


@pytest.mark.parametrize(("name", "types"), sorted(format_options().items()))
def test_every_option_of_a_format_is_parsed_by_its_type(
    name: str, types: set[object], calibration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = {
        "bool": {"true": True, "False": False},
        "int": {"3": 3},
        "Sequence[str]": {"a,b": ["a", "b"]},
        "tuple[float, float]": {"640x480": (640, 480)},
        "Path": {"other.yml": Path("other.yml")},
        "'lower-left'": {"lower-left": "lower-left"},
    }
    shown = {each.__name__ if isinstance(each, type) and not get_args(each) else repr(each) for each in types}
    kind = next(kind for kind in cases if any(each.endswith(kind) for each in shown))
    given: dict[str, object] = {}
    monkeypatch.setattr(formats, "load", lambda path, **options: given.update(options))
    for text, value in cases[kind].items():
        load_calibration(calibration, option=[f"{name}={text}"])
        assert given[name] == value
        assert type(given[name]) is type(value)
    if kind == "bool":
        with raises_input("bad-option", key=name, found="1"):
            load_calibration(calibration, option=[f"{name}=1"])


def test_fisheye_false_is_false(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    FOREIGN["multical"].write(path, foreign_rig(("a", "b"), 4, fisheye=True))
    for text, fisheye in (("false", False), ("true", True)):
        result = run("convert", path, "-o", tmp_path / "rig.json", "-O", f"fisheye={text}")
        assert result.exit_code == 0, result.output
        assert CameraGroup.load(tmp_path / "rig.json").fisheye == (fisheye, fisheye)
    with raises_input("unknown-choice", argument="fisheye", found="false"):
        formats.load(path, fisheye="false")


def test_a_bug_is_not_the_users_mistake(calibration: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("operands could not be broadcast together")

    monkeypatch.setattr(np, "isclose", broken)
    result = run("show", calibration)
    assert result.exit_code == 1
    assert "Traceback (most recent call last)" in result.stderr
    assert "operands could not be broadcast together" in result.stderr
    last = result.stderr.splitlines()[-1]
    assert last.startswith(f"bug: mvgeom {mvgeom.__version__} failed")


def test_a_wrong_command_line_is_one_line() -> None:
    for arguments in (["show"], ["shows"], ["show", "a.toml", "--colour", "red"], ["triangulate", "a", "b=c"]):
        result = run(*arguments)
        assert result.exit_code == 2
        assert result.stderr.count("\n") == 1
        assert result.stderr.startswith("error: ")
        assert "--help" in result.stderr


@pytest.mark.parametrize("place", [0, 1, 2])
def test_debug_shows_the_traceback_of_every_error(place: int) -> None:
    arguments = ["show", "nothing.toml"]
    result = run(*arguments[:place], "--debug", *arguments[place:])
    assert result.exit_code == 2
    assert "Traceback (most recent call last)" in result.stderr
    assert result.stderr.endswith("error: nothing.toml: no such file or folder\n")


def test_paths_with_brackets_are_printed_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "rig[bold].toml"
    assert fails("missing-file", "show", path) == f"error: {path}: no such file or folder\n"
    path.mkdir()
    assert "rig[bold].toml" in fails("unsupported-file", "show", path, kind="empty-folder")


def test_an_error_of_the_system_is_one_line(calibration: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "rig.png")

    monkeypatch.setattr("mvgeom.rig_figure.save_rig_figure", full)
    result = run("show", calibration, "-o", "rig.png")
    assert (result.exit_code, result.stderr) == (2, "error: rig.png: No space left on device\n")


def test_programs_explain_their_own_errors(capsys: pytest.CaptureFixture[str]) -> None:
    app = create_app("mvgeom", "A program.")

    @app.command()
    def run_out() -> None:
        raise MemoryError("of the device")

    @app.command()
    def other() -> None:
        pass

    with pytest.raises(SystemExit) as ended:
        run_program(
            app,
            "mvgeom",
            explain=[lambda error: "too little memory" if isinstance(error, MemoryError) else None],
            arguments=["run-out"],
        )
    assert (ended.value.code, capsys.readouterr().err) == (2, "error: too little memory\n")


def test_version_and_short_help() -> None:
    assert run("--version").stdout == f"mvgeom {mvgeom.__version__}\n"
    assert run("show", "-h").stdout == run("show", "--help").stdout
    module = [sys.executable, "-m", "mvgeom", "--version"]
    assert subprocess.run(module, check=True, capture_output=True, text=True).stdout == f"mvgeom {mvgeom.__version__}\n"


def test_commands_name_what_they_wrote_and_what_comes_next(calibration: Path, tmp_path: Path) -> None:
    result = run("convert", calibration, "--output", tmp_path / "rig.json")
    *_, written, following = result.stdout.splitlines()
    assert str(tmp_path / "rig.json") in written
    assert following == f"next: mvgeom show {tmp_path / 'rig.json'}"


def test_convert_mistakes(calibration: Path, tmp_path: Path) -> None:
    fails("missing-file", "convert", tmp_path / "nothing.toml", "-o", tmp_path / "a.json", path="nothing.toml")
    fails("missing-file", "convert", calibration, "-o", tmp_path / "no" / "a.json", path="no")
    fails("missing-argument", "convert", calibration, option="--output")
    fails("unknown-format", "convert", calibration, tmp_path / "a.bin", path="a.bin")
    fails("unknown-format", "convert", calibration, tmp_path / "a.toml", "--to", "anypose", found="anypose")
    fails("unsupported-camera", "convert", calibration, tmp_path / "a.csv", view="left", field="distortion")
    fails("bad-option", "convert", calibration, tmp_path / "a.json", "--scale", 0, option="--scale")
    fails("unknown-choice", "convert", calibration, tmp_path / "a.json", "-O", "frame=1", argument="frame")
    fails("bad-option", "show", calibration, "-O", "frame", option="--option KEY=VALUE")
    fails("bad-option", "show", calibration, "-O", "frame=first", key="frame")
    fails("bad-option", "show", calibration, "-O", "frame=²", key="frame")
    fails("bad-option", "show", calibration, "-O", "one_based=1", key="one_based")
    fails("bad-option", "show", calibration, "--size", "big", option="--size")


def test_warnings_are_one_line(calibration: Path, tmp_path: Path) -> None:
    run("convert", calibration, "-o", tmp_path / "folder", "--to", "easymocap")
    text = (tmp_path / "folder" / "extri.yml").read_text()
    unposed = re.sub(r"(?m)^(R|Rot|T)_top:.*\n(?: .*\n)*", "", text.replace('   - "top"\n', ""))
    (tmp_path / "folder" / "extri.yml").write_text(unposed)
    result = run("show", tmp_path / "folder")
    assert result.exit_code == 0
    assert result.stderr.startswith("warning: ")
    assert "cameras without extrinsics are left out: top" in result.stderr


def test_show(calibration: Path, tmp_path: Path) -> None:
    result = run("show", calibration, "-o", tmp_path / "rig.png")
    assert result.exit_code == 0
    row = next(line for line in result.stdout.splitlines() if "right" in line)
    assert "1280x1024" in row
    assert "1200.0" in row
    assert "4 coeff." in row
    assert "57x47" in row  # 2 atan(640 / 1200) is 56 degrees, and the lens compresses the border
    assert ", 4 to 4 away" in result.stdout
    assert (tmp_path / "rig.png").stat().st_size > 10_000
    fails("unknown-format", "show", calibration, "-o", tmp_path / "rig.doc", path="rig.doc")


def test_triangulate_exact_points(calibration: Path, tmp_path: Path) -> None:
    world, arguments = views(tmp_path, calibration)
    result = run("triangulate", calibration, *arguments, "-o", tmp_path / "3d.csv")
    assert result.exit_code == 0
    assert "10 of 10 points triangulated from 30 of 30 keypoints" in result.stdout
    table, points = read_3d(tmp_path / "3d.csv")
    np.testing.assert_allclose(points, world, atol=1e-5)
    assert (table["nose"]["num_views"] == 3).all()
    assert (table["nose"]["error"] < 1e-6).all()


@pytest.mark.parametrize("folder", ["tables", "run=3"])
@pytest.mark.parametrize("name", ["cam=1", "=", "a=b=c", "cafe\u0301"])
def test_any_name_of_a_camera_is_one_on_the_command_line(
    name: str, folder: str, calibration: Path, tmp_path: Path
) -> None:
    """Names and paths with `=`, and names with an accent that macOS stores apart."""
    before = CameraGroup.load(calibration)
    before.replace(names=(name, *before.names[1:])).save(calibration)
    tables = tmp_path / folder
    tables.mkdir()
    world, arguments = views(tables, calibration)
    assert run("triangulate", calibration, *arguments, "-o", tmp_path / "3d.csv").exit_code == 0
    np.testing.assert_allclose(read_3d(tmp_path / "3d.csv")[1], world, atol=1e-5)
    typed = unicodedata.normalize("NFD", name)
    assert run("convert", calibration, tmp_path / "turned.toml", "--turn", f"{typed}=90").exit_code == 0


@pytest.mark.parametrize("method", ["robust", "refined", "linear"])
def test_triangulate_methods_and_likelihood(method: str, calibration: Path, tmp_path: Path) -> None:
    likelihood = np.ones((5, 2))
    likelihood[0, 0] = 0.4
    world, arguments = views(tmp_path, calibration, likelihood=likelihood)
    output = tmp_path / "3d.csv"
    result = run("triangulate", calibration, *arguments, "-o", output, "--method", method)
    assert result.exit_code == 0
    assert "(3 below the likelihood)" in result.stdout
    table, points = read_3d(output)
    assert np.isnan(points[0, 0]).all()
    assert table["nose"]["num_views"][0] == 0
    np.testing.assert_allclose(points[1:], world[1:], atol=1e-5)
    run("triangulate", calibration, *arguments, "-o", output, "--method", method, "--min-likelihood", 0.3)
    np.testing.assert_allclose(read_3d(output)[1], world, atol=1e-5)


def test_triangulate_keypoints_of_crops(calibration: Path, tmp_path: Path) -> None:
    cameras = CameraGroup.load(calibration)
    world = np.random.default_rng(0).uniform(-0.5, 0.5, (5, 2, 3))
    pixels = project(world, cameras)
    x, y, width, height = boxes = np.array([300.0, 200, 640, 480])
    stored = (320, 480)
    in_crop = (pixels - [x, y] + 0.5) * np.array(stored) / [width, height] - 0.5
    names = [f"labeled-data/s/img{row}.png" for row in range(5)]
    arguments: list[str] = []
    for view, name in enumerate(cameras.names):
        write_keypoints(tmp_path / f"{name}.csv", in_crop[:, view], rows=names)
        write_labeled_boxes(tmp_path / f"{name}_boxes.csv", names, np.tile(boxes, (5, 1)))
        arguments += [f"{name}={tmp_path / name}.csv", "--boxes", f"{name}={tmp_path / name}_boxes.csv"]
    output = tmp_path / "3d.csv"
    fails("missing-argument", "triangulate", calibration, *arguments, "-o", output, option="--crop-size")
    result = run("triangulate", calibration, *arguments, "-o", output, "--crop-size", "320x480")
    assert result.exit_code == 0, result.output
    np.testing.assert_allclose(read_3d(output)[1], world, atol=1e-4)

    # The same as predictions on a video: one box per frame, frames by number.
    for view, name in enumerate(cameras.names):
        write_keypoints(tmp_path / f"{name}.csv", in_crop[:, view])
        write_video_boxes(tmp_path / f"{name}_boxes.csv", np.tile(boxes, (5, 1)))
    output.unlink()
    assert run("triangulate", calibration, *arguments, "-o", output, "--crop-size", "320x480").exit_code == 0
    np.testing.assert_allclose(read_3d(output)[1], world, atol=1e-4)


@pytest.mark.parametrize("of_images", [True, False])
def test_triangulate_crops_without_an_animal(calibration: Path, tmp_path: Path, of_images: bool) -> None:
    """Keypoints of a row without a box are missing."""
    cameras = CameraGroup.load(calibration)
    world = np.random.default_rng(0).uniform(-0.5, 0.5, (4, 2, 3))
    names = [f"labeled-data/s/img{row}.png" for row in range(4)]
    boxes = np.tile([0.0, 0, 320, 480], (4, 1))
    boxes[2] = np.nan
    arguments: list[str] = []
    for view, name in enumerate(cameras.names):
        pixels = project(world, cameras)[:, view]
        if of_images:
            write_keypoints(tmp_path / f"{name}.csv", pixels, rows=names)
            write_labeled_boxes(tmp_path / f"{name}_boxes.csv", names, boxes)
        else:
            write_keypoints(tmp_path / f"{name}.csv", pixels)
            write_video_boxes(tmp_path / f"{name}_boxes.csv", boxes)
        arguments += [f"{name}={tmp_path / name}.csv", "--boxes", f"{name}={tmp_path / name}_boxes.csv"]
    output = tmp_path / "3d.csv"
    result = run("triangulate", calibration, *arguments, "-o", output, "--crop-size", "320x480")
    assert result.exit_code == 0, result.output
    points = read_3d(output)[1]
    assert np.isnan(points[2]).all()
    np.testing.assert_allclose(points[[0, 1, 3]], world[[0, 1, 3]], atol=1e-4)


def test_triangulate_mistakes(calibration: Path, tmp_path: Path) -> None:
    _, arguments = views(tmp_path, calibration)
    output = ["-o", tmp_path / "3d.csv"]
    fails("too-few-views", "triangulate", calibration, arguments[0], *output, found=1, expected=2)
    cam9 = arguments[1].replace("right=", "cam9=")
    for command in ("triangulate", "smooth", "check", "refine"):
        written = () if command == "check" else output
        fails("missing-view", command, calibration, arguments[0], cam9, *written, view="cam9", path=calibration)
    fails("bad-option", "triangulate", calibration, "left.csv", *output, option="VIEW=PATH")
    fails("duplicate-name", "triangulate", calibration, arguments[0], arguments[0], *output, name="left")
    fails("missing-file", "triangulate", calibration, arguments[0], "top=missing.csv", *output, path="missing.csv")
    fails("bad-option", "triangulate", calibration, *arguments, *output, "--noise", 0, option="--noise")
    boxes = ["--boxes", arguments[0].replace("left=", "side=")]
    fails("missing-view", "triangulate", calibration, *arguments, *output, *boxes, view="side", option="--boxes")
    assert not (tmp_path / "3d.csv").exists()


def test_triangulate_nothing_seen_twice(calibration: Path, tmp_path: Path) -> None:
    _, arguments = views(tmp_path, calibration, likelihood=np.zeros((5, 2)))
    result = run("triangulate", calibration, *arguments, "-o", tmp_path / "3d.csv")
    assert result.exit_code == 0
    assert "warning: no point is seen by two of left, right, top" in result.stderr


@pytest.mark.skipif(not SHARED.exists(), reason=f"{SHARED} is absent")
def test_human4_from_crops_to_3d(tmp_path: Path) -> None:
    folder = SHARED / "data" / "human4"
    arguments: list[str] = []
    for view in ("cam1", "cam2", "cam3", "cam4"):
        arguments += [f"{view}={folder}/CollectedData_{view}.csv", "--boxes", f"{view}={folder}/bboxes_{view}.csv"]
    output = tmp_path / "3d.csv"
    result = run("triangulate", folder / "calibration.toml", *arguments, "--crop-size", "320x320", "-o", output)
    assert result.exit_code == 0, result.output
    table = pd.read_csv(output, header=[0, 1, 2], index_col=0)["mvgeom"]
    errors = np.concatenate([table[name]["error"].dropna() for name in table.columns.levels[0]])
    assert len(errors) > 1800
    assert 8 < np.median(errors) < 15  # the labels and the pose of cam3 are no better than that
    heights = table["Nose"]["z"].dropna()
    assert heights.between(0, 2.5).all()
    assert table.index[0] == "labeled-data/balancing_cam1/img00000000.jpg"
