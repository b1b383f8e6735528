"""The figure of a rig: what it shows is where it should be, for ordinary and odd rigs."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.text import Text
from mpl_toolkits.mplot3d.proj3d import proj_transform
from scipy.spatial.transform import Rotation

from helpers.errors import raises_input
from mvgeom import figure_fonts, project
from mvgeom.calibration import report
from mvgeom.calibration.board_figure import draw_boards
from mvgeom.calibration.camera_figure import draw_residuals
from mvgeom.cameras import CameraGroup
from mvgeom.rig_figure import draw_rig, focus, frustum_corners, save_rig_figure, upright_rotation


def ring(angles: list[float], tilt: float = 20, distance: float = 3) -> CameraGroup:
    """Upright cameras in a world whose z is up, looking at (1, 2, 0.5)."""
    count = len(angles)
    rotation = np.stack(
        [Rotation.from_euler("xyz", [-90 - tilt, 0, angle], degrees=True).inv().as_matrix() for angle in angles]
    )
    target = np.array([1, 2, 0.5])
    translation = np.array([0, 0, distance]) - rotation @ target
    return CameraGroup(
        names=tuple(f"c{number}" for number in range(count)),
        sizes=np.tile([640.0, 480.0], (count, 1)),
        matrix=np.tile([[600.0, 2, 320], [0, 600, 240], [0, 0, 1]], (count, 1, 1)),
        distortion=np.zeros((count, 5)),
        rotation=rotation,
        translation=translation,
    )


def test_focus_is_where_the_axes_meet() -> None:
    np.testing.assert_allclose(focus(ring([0, 40, 170])), [1, 2, 0.5], atol=1e-9)


def test_focus_of_parallel_cameras_is_their_center() -> None:
    cameras = ring([0, 0])
    shifted = cameras.replace(translation=cameras.translation + np.array([[0.0, 0, 0], [1, 0, 0]]))
    np.testing.assert_allclose(focus(shifted), shifted.centers.mean(axis=0))


def test_up_snaps_to_the_nearest_axis() -> None:
    np.testing.assert_allclose(upright_rotation(ring([0, 90, 180, 270]))[2], [0, 0, 1], atol=1e-12)
    cameras = ring([0, 90, 180])
    turn = Rotation.from_rotvec([0.9, 0.1, 0.2]).as_matrix()
    turned = cameras.replace(rotation=cameras.rotation @ turn.T)
    rotation = upright_rotation(turned)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)
    assert rotation[2] @ turn[:, 2] > np.cos(np.deg2rad(25))


def test_cameras_that_look_down_leave_the_world_as_it_is() -> None:
    down = ring([0, 180], tilt=90)
    np.testing.assert_array_equal(upright_rotation(down), np.eye(3))


def test_frustum_corners_project_to_the_image_corners() -> None:
    cameras = ring([0, 100])
    for view, corners in enumerate(frustum_corners(cameras, 0.7)):
        np.testing.assert_allclose(corners[0], cameras.centers[view], atol=1e-12)
        pixels = project(corners[1:], cameras)[view]
        np.testing.assert_allclose(pixels, [[-0.5, -0.5], [639.5, -0.5], [639.5, 479.5], [-0.5, 479.5]], atol=1e-9)


@pytest.mark.parametrize(
    "cameras",
    [
        ring([0, 40, 170, 300]),
        ring([0]),
        ring([0, 0], tilt=90),
        ring(np.linspace(0, 350, 14).tolist()),
        ring([10, 80], tilt=0, distance=3000),
    ],
    ids=["ring", "one", "same place", "fourteen", "millimeters"],
)
def test_names_are_inside_the_figure(cameras: CameraGroup) -> None:
    figure = draw_rig(cameras, "title")
    figure.canvas.draw()
    width, height = figure.canvas.get_width_height()
    for axes in figure.axes:
        shown = [text for text in axes.texts if text.get_text().split("\n")[0] in cameras.names]
        assert len(shown) == len(cameras)
        for text in shown:
            if axes.name == "3d":  # its texts know their place only while they are drawn
                flat = proj_transform(*text.get_position_3d(), axes.get_proj())[:2]
                low = high = axes.transData.transform(flat)
            else:
                low, high = text.get_window_extent().get_points()
            assert (low >= -1).all()
            assert (high <= [width + 1, height + 1]).all()


def test_files_of_several_kinds(tmp_path: Path) -> None:
    save_rig_figure(ring([0, 40, 170]), tmp_path / "rig.png")
    assert (tmp_path / "rig.png").read_bytes().startswith(b"\x89PNG")
    save_rig_figure(ring([0, 40, 170]), tmp_path / "rig.svg")
    assert b"<svg" in (tmp_path / "rig.svg").read_bytes()
    with raises_input("unknown-format", path="rig.docx"):
        save_rig_figure(ring([0, 40]), tmp_path / "rig.docx")
    with raises_input("unwritable-file", path="rig.png"):
        save_rig_figure(ring([0, 40]), tmp_path / "nowhere" / "rig.png")


NAMES = ("カメラ", "左", "한국어")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("script", [0, 1, 2])
def test_names_of_any_script_are_drawn_without_warnings(script: int, tmp_path: Path) -> None:
    cameras = ring([0, 40, 170]).replace(names=(NAMES[script], "b", "c"))
    save_rig_figure(cameras, tmp_path / "rig.png", title=NAMES[script])
    points = np.random.default_rng(0).uniform(0, 400, (20, 6, 2))
    report._save(draw_residuals(NAMES[script], cameras.sizes[0], points[0], points[0] / 100), tmp_path / "a.png")
    report._save(draw_boards(cameras.select(NAMES[script]), points, np.ones(20, dtype=bool)), tmp_path / "b.png")


def test_an_installed_font_with_the_letters_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figure_fonts, "_FONTS", ("no such font", "STIXGeneral"))
    figure = draw_rig(ring([0, 40, 170]))
    families = {tuple(text.get_fontfamily()) for text in figure.findobj(Text)}
    assert families == {("sans-serif", "STIXGeneral")}
    assert tuple(matplotlib.rcParams["font.family"]) == ("sans-serif",)
