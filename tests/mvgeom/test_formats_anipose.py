from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from helpers.boards import arc_of_cameras
from helpers.errors import raises_input
from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError

SHARED = Path(__file__).parents[2].parent / "shared"

CAMERA = """
[cam_{number}]
name = "{name}"
size = [640.0, 480.0]
matrix = [[500.0, 0.0, 320.0], [0.0, 500.0, 240.0], [0.0, 0.0, 1.0]]
distortions = [0.1, 0.0, 0.0, 0.0, 0.0]
rotation = [0.0, 0.0, 0.1]
translation = [{number}.0, 0.0, 5.0]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "calibration.toml"
    path.write_text(text)
    return path


@pytest.mark.skipif(not SHARED.exists(), reason=f"{SHARED} is absent")
def test_real_project_file_reads_and_round_trips(tmp_path: Path) -> None:
    cameras = CameraGroup.load(SHARED / "data" / "human4" / "calibration.toml")
    assert cameras.names == ("cam1", "cam2", "cam3", "cam4")
    np.testing.assert_array_equal(cameras.sizes, [[1088, 1920]] * 4)
    assert cameras.matrix[0, 0, 2] == 532.97369384375
    assert cameras.distortion.shape == (4, 4)
    assert cameras.matrix.dtype == np.float64
    cameras.save(tmp_path / "again.toml")
    again = CameraGroup.load(tmp_path / "again.toml")
    assert again.names == cameras.names
    np.testing.assert_array_equal(again.matrix, cameras.matrix)
    np.testing.assert_array_equal(again.distortion[:, :4], cameras.distortion)
    np.testing.assert_allclose(again.rotation, cameras.rotation, rtol=0, atol=1e-14)
    np.testing.assert_array_equal(again.translation, cameras.translation)


def test_tables_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "".join(CAMERA.format(number=n, name=f"view{n}") for n in (10, 2, 0)))
    cameras = CameraGroup.load(path)
    assert cameras.names == ("view10", "view2", "view0")
    np.testing.assert_array_equal(cameras.translation[:, 0], [10, 2, 0])


def test_table_without_a_pose_is_left_out_with_a_warning(tmp_path: Path) -> None:
    lens = "\n".join(CAMERA.format(number=1, name="side").splitlines()[:-2])
    path = write(tmp_path, CAMERA.format(number=0, name="top") + lens + CAMERA.format(number=2, name="front"))
    with pytest.warns(UserWarning, match="cameras without extrinsics are left out: side$"):
        assert CameraGroup.load(path).names == ("top", "front")
    half = CAMERA.format(number=1, name="side").replace("rotation", "rotations")
    with raises_input("missing-field", field="rotation"):
        CameraGroup.load(write(tmp_path, CAMERA.format(number=0, name="top") + half))


def test_missing_name_names_the_table(tmp_path: Path) -> None:
    path = write(tmp_path, CAMERA.format(number=3, name="x").replace('name = "x"\n', ""))
    with raises_input("missing-field", field="name", path="calibration.toml"):
        CameraGroup.load(path)


@pytest.mark.parametrize("entry", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("field", ["matrix", "distortions", "rotation", "translation", "size"])
def test_value_that_is_not_finite_names_file_camera_and_field(tmp_path: Path, field: str, entry: str) -> None:
    good = CAMERA.format(number=0, name="top")
    line = next(line for line in good.splitlines() if line.startswith(field))
    head, _, tail = line.partition(".")  # the first float of the line
    first = head.rstrip("0123456789")
    bad = good.replace(line, f"{first}{entry}{tail.lstrip('0123456789')}")
    with raises_input("not-finite"):
        CameraGroup.load(write(tmp_path, bad))


def test_wrong_matrix_shape_names_file_camera_and_shape(tmp_path: Path) -> None:
    bad = CAMERA.format(number=0, name="top").replace(", [0.0, 0.0, 1.0]]", "]")
    with raises_input("wrong-shape", expected=(3, 3)):
        CameraGroup.load(write(tmp_path, bad))


def test_not_toml_states_the_line(tmp_path: Path) -> None:
    with raises_input("invalid-syntax", path="calibration.toml"):
        CameraGroup.load(write(tmp_path, "[cam_0]\nname: top\n"))


@pytest.mark.filterwarnings("ignore:.*without extrinsics are left out")
@pytest.mark.parametrize("file_format", ["anipose", "pose2sim"])
def test_a_file_that_was_cut_off_within_a_camera_is_an_error(file_format: str, tmp_path: Path) -> None:
    """But for a cut before the pose, at the end of a line: cameras without one are left out with a warning."""
    path = tmp_path / "whole.toml"
    rig = arc_of_cameras(3, distortion=(-0.1, 0.02, 0.001, 0.0))
    rig.save(path, file_format=file_format)
    text = path.read_text()
    read = {}
    for end in range(1, len(text)):
        path.write_text(text[:end])
        with suppress(InputError):
            read[end] = CameraGroup.load(path).names
    for end, names in read.items():
        of_last = text[:end].rpartition("name = ")[2]
        if "translation" not in of_last:
            assert text[:end].endswith("]\n")
            assert all(field in of_last for field in ("size", "matrix", "distortions"))
            assert names == rig.names[: len(names)]
    assert len(set(read.values())) == 3
