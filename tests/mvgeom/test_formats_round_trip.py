"""Round trips: random rigs through every format, and errors where a format cannot hold a camera."""

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import example, given, settings
from scipy.spatial.transform import Rotation

from helpers.errors import raises_input
from mvgeom import formats
from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError

SIZE = (640, 480)

# What each format holds: number of coefficients, fisheye, skew, and what its load needs because it stores no sizes.
FORMATS: dict[str, dict[str, Any]] = {
    "anipose": {"file": "rig.toml", "num_coefficients": 5, "fisheye": True, "skew": True, "load": {}},
    "pose2sim": {"file": "rig.toml", "num_coefficients": 4, "fisheye": False, "skew": True, "load": {}},
    "json": {"file": "rig.json", "num_coefficients": 14, "fisheye": True, "skew": True, "load": {}},
    "qualisys": {"file": "rig.qca.txt", "num_coefficients": 5, "fisheye": False, "skew": False, "load": {}},
    "easymocap": {"file": "rig", "num_coefficients": 5, "fisheye": False, "skew": True, "load": {}},
    "colmap": {"file": "rig", "num_coefficients": 8, "fisheye": True, "skew": False, "load": {}},
    "jarvis": {"file": "rig", "num_coefficients": 5, "fisheye": False, "skew": True, "load": {}},
    "dannce": {"file": "rig.mat", "num_coefficients": 5, "fisheye": False, "skew": True, "load": {"sizes": SIZE}},
    "opencv": {"file": "rig.yml", "num_coefficients": 14, "fisheye": True, "skew": True, "load": {}},
    "dlt": {"file": "rig.csv", "num_coefficients": 0, "fisheye": False, "skew": True, "load": {"sizes": SIZE}},
}


@st.composite
def rigs(draw: st.DrawFn, *, num_coefficients: int, fisheye: bool, skew: bool) -> CameraGroup:
    """Cameras that see the world's origin from 1 to 5 units away, turned any way about their axis."""
    seed = draw(st.integers(0, 2**32 - 1))
    num_views = draw(st.integers(1, 5))
    random = np.random.default_rng(seed)
    lengths = [n for n in (0, 4, 5, 8, 12, 14) if n <= num_coefficients]
    length = draw(st.sampled_from(lengths))
    lenses = [draw(st.booleans()) if fisheye and length == 4 else False for _ in range(num_views)]
    names = draw(
        st.lists(
            st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,8}", fullmatch=True),
            min_size=num_views,
            max_size=num_views,
            unique_by=str.lower,
        )
    )
    rotation = Rotation.random(num_views, random_state=seed).as_matrix()
    matrix = np.zeros((num_views, 3, 3))
    matrix[:, [0, 1], [0, 1]] = random.uniform(400, 2000, (num_views, 2))
    matrix[:, :2, 2] = random.uniform(200, 500, (num_views, 2))
    matrix[:, 2, 2] = 1
    if skew:
        matrix[:, 0, 1] = random.uniform(-3, 3, num_views)
    translation = random.uniform([-0.3, -0.3, 1], [0.3, 0.3, 5], (num_views, 3))
    return CameraGroup(
        names=tuple(names),
        sizes=np.tile(np.array(SIZE, dtype=np.float64), (num_views, 1)),
        matrix=matrix,
        distortion=random.uniform(-0.1, 0.1, (num_views, length)),
        rotation=rotation,
        translation=translation,
        fisheye=tuple(lenses),
    )


def by_opencv(cameras: CameraGroup, points: np.ndarray) -> dict[str, np.ndarray]:
    """Pixels of (N, 3) points by camera name, from OpenCV (which knows no skew: tests add it by hand)."""
    pixels = {}
    for view, name in enumerate(cameras.names):
        pose = cv2.Rodrigues(cameras.rotation[view])[0], cameras.translation[view]
        plain, skew = cameras.matrix[view].copy(), cameras.matrix[view][0, 1] / cameras.matrix[view][1, 1]
        plain[0, 1] = 0
        lens = cameras.distortion[view]
        if cameras.fisheye[view]:
            out = cv2.fisheye.projectPoints(points[:, None], *pose, plain, lens[:4].copy())[0]
        else:
            out = cv2.projectPoints(points[:, None], *pose, plain, np.pad(lens, (0, max(0, 4 - len(lens)))))[0]
        out = out.reshape(-1, 2).copy()
        out[:, 0] += skew * (out[:, 1] - plain[1, 2])
        pixels[name] = out
    return pixels


@pytest.mark.filterwarnings("ignore:camera .*skew:UserWarning")
@pytest.mark.parametrize("name", list(FORMATS))
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_round_trip_projects_alike(name: str, data: st.DataObject) -> None:
    case = FORMATS[name]
    cameras = data.draw(rigs(num_coefficients=case["num_coefficients"], fisheye=case["fisheye"], skew=case["skew"]))
    points = np.random.default_rng(0).uniform(-0.2, 0.2, (20, 3))
    with TemporaryDirectory() as folder:
        path = Path(folder) / case["file"]
        formats.save(cameras, path, file_format=name)
        again = formats.load(path, file_format=name, **case["load"])
        if name != "pose2sim" or not all(each.startswith("cam") for each in cameras.names):
            assert name == formats.identify(path).NAME
    assert set(again.names) == (
        set(cameras.names) if name != "dlt" else {f"cam{number + 1}" for number in range(len(cameras))}
    )
    order = again if name == "dlt" else again.select(cameras.names)
    assert order.fisheye == cameras.fisheye
    np.testing.assert_array_equal(order.sizes, cameras.sizes)
    expected, found = by_opencv(cameras, points), by_opencv(order, points)
    for before, after in zip(expected.values(), found.values(), strict=True):
        np.testing.assert_allclose(after, before, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["anipose", "pose2sim", "easymocap", "opencv"])
def test_skew_that_programs_on_opencv_ignore_is_a_warning(name: str, tmp_path: Path) -> None:
    matrix = np.array([[800.0, 1.5, 320.0], [0, 810.0, 240.0], [0, 0, 1]])
    rig = CameraGroup(
        names=("top",),
        sizes=np.array([SIZE], dtype=np.float64),
        matrix=matrix[None],
        distortion=np.zeros((1, 4)),
        rotation=np.eye(3)[None],
        translation=np.zeros((1, 3)),
    )
    with pytest.warns(UserWarning, match="'top': skew of 1.5 px"):
        formats.save(rig, tmp_path / FORMATS[name]["file"], file_format=name)
    # From the RQ decomposition of a projection matrix, for example.
    matrix[0, 1] = 1e-9
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        formats.save(rig.replace(matrix=matrix[None]), tmp_path / FORMATS[name]["file"], file_format=name)


NASTY = (
    *"'\"\\ \t\n\r\0\x7f\x85\u2028\ufeff\ufffe\ue000\ud800\u00a0\u3000éa1~-#&*!%@`{}[],:<>/.|",
    *("true", "null", "yes", "01", "0x1f", "1e5", ".5", ".inf", "\\n", "&amp;", "]]>", "..", "metadata", "cam_0"),
    *("$base64$", "---", "...", ".png", ".yaml", "con", "T_", "_to_", "x" * 100, ": ", " #"),
)
"""Characters and words that some format of files has its own use for."""

NAMES = st.lists(st.lists(st.sampled_from(NASTY), max_size=3).map("".join), min_size=1, max_size=3, unique=True)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        *((name, case["file"]) for name, case in FORMATS.items() if name != "dlt"),  # which holds no names
        ("opencv", "rig.xml"),
        ("opencv", "rig.json"),
    ],
)
@settings(max_examples=60, deadline=None)
@given(names=NAMES)
@example(names=["true"])
@example(names=["null", "a"])
@example(names=['"q"'])
@example(names=["'"])
@example(names=["cam 1 "])
def test_names_come_back_or_are_refused(name: str, file: str, names: list[str]) -> None:
    count = len(names)
    cameras = CameraGroup(
        names=tuple(names),
        sizes=[SIZE] * count,
        matrix=[[[500, 0, 320], [0, 500, 240], [0, 0, 1]]] * count,
        distortion=np.zeros((count, 4)),
        rotation=[np.eye(3)] * count,
        translation=[[number, 0, 5] for number in range(count)],
    )
    with TemporaryDirectory() as folder:
        path = Path(folder) / file
        try:
            formats.save(cameras, path, file_format=name)
        except InputError as error:
            if error.code != "bad-name":
                raise
            return
        with warnings.catch_warnings(action="error"):
            again = formats.load(path, file_format=name, **FORMATS[name]["load"])
    np.testing.assert_allclose(again.select(names).translation, cameras.translation)
    assert len(again) == count


@pytest.mark.parametrize("name", FORMATS)
def test_plain_names_are_not_refused(name: str, tmp_path: Path) -> None:
    names = ("true", "null") if name in ("easymocap", "colmap") else ("true", "cam 1")
    formats.save(rig(names=names), tmp_path / FORMATS[name]["file"], file_format=name)


@settings(max_examples=50, deadline=None)
@given(cameras=rigs(num_coefficients=14, fisheye=True, skew=True))
def test_json_is_lossless(cameras: CameraGroup) -> None:
    with TemporaryDirectory() as folder:
        cameras.save(Path(folder) / "rig.json")
        again = CameraGroup.load(Path(folder) / "rig.json")
    assert again.names == cameras.names
    assert again.fisheye == cameras.fisheye
    for field in ("sizes", "matrix", "distortion", "rotation", "translation"):
        np.testing.assert_array_equal(getattr(again, field), getattr(cameras, field))


def rig(**changes: Any) -> CameraGroup:
    fields: dict[str, Any] = {
        "names": ("a", "b"),
        "sizes": [SIZE, SIZE],
        "matrix": [[[500, 0, 320], [0, 500, 240], [0, 0, 1]]] * 2,
        "distortion": np.zeros((2, 5)),
        "rotation": [np.eye(3), np.eye(3)],
        "translation": [[0, 0, 5], [1, 0, 5]],
    }
    return CameraGroup(**{**fields, **changes})


@pytest.mark.parametrize("name", [name for name, case in FORMATS.items() if case["num_coefficients"] < 14])
def test_coefficients_that_do_not_fit_are_an_error(name: str, tmp_path: Path) -> None:
    distortion = np.zeros((2, 14))
    distortion[1, FORMATS[name]["num_coefficients"]] = 0.01
    path = tmp_path / FORMATS[name]["file"]
    with raises_input("unsupported-camera", view="b", field="distortion"):
        formats.save(rig(distortion=distortion), path, file_format=name)
    assert not path.exists()


@pytest.mark.parametrize("name", [name for name, case in FORMATS.items() if not case["fisheye"]])
def test_fisheye_that_does_not_fit_is_an_error(name: str, tmp_path: Path) -> None:
    cameras = rig(distortion=np.zeros((2, 4)), fisheye=(False, True))
    with raises_input("unsupported-camera", view="b", field="fisheye"):
        formats.save(cameras, tmp_path / FORMATS[name]["file"], file_format=name)


@pytest.mark.parametrize("name", [name for name, case in FORMATS.items() if not case["skew"]])
def test_skew_that_does_not_fit_is_an_error(name: str, tmp_path: Path) -> None:
    matrix = np.array([[[500, 2, 320], [0, 500, 240], [0, 0, 1.0]]] * 2)
    with raises_input("unsupported-camera", view="a", field="skew"):
        formats.save(rig(matrix=matrix), tmp_path / FORMATS[name]["file"], file_format=name)


def test_zeros_beyond_what_a_format_holds_are_no_loss(tmp_path: Path) -> None:
    distortion = np.zeros((2, 14))
    distortion[:, 0] = 0.1
    formats.save(rig(distortion=distortion), tmp_path / "rig.toml")
    np.testing.assert_array_equal(formats.load(tmp_path / "rig.toml").distortion, distortion[:, :5])


def test_batch_of_rigs_is_an_error(tmp_path: Path) -> None:
    with raises_input("wrong-shape", argument="cameras", found=(2,)):
        CameraGroup.stack([rig(), rig()]).save(tmp_path / "rig.json")


def test_torch_tensors_on_a_graph_are_written(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    cameras = rig().to(like=torch.zeros(1, dtype=torch.float64, requires_grad=True))
    cameras = cameras.replace(translation=cameras.translation.requires_grad_())
    cameras.save(tmp_path / "rig.json")
    np.testing.assert_array_equal(CameraGroup.load(tmp_path / "rig.json").translation, rig().translation)


def test_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    rig().save(path)
    before = path.read_bytes()
    with raises_input("unsupported-camera", view="a", field="distortion"):
        rig(distortion=np.ones((2, 8))).save(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["rig.toml"]


def test_folder_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with raises_input("unwritable-file", path="rig.toml"):
        rig().save(tmp_path / "nowhere" / "rig.toml")


def test_suffix_of_no_format_lists_the_formats(tmp_path: Path) -> None:
    with raises_input("unknown-format", path="rig.bin"):
        rig().save(tmp_path / "rig.bin")


def test_jarvis_folder_of_another_rig_is_an_error(tmp_path: Path) -> None:
    formats.save(rig(), tmp_path / "rig", file_format="jarvis")
    with raises_input("occupied-folder", views=("b",), path="rig"):
        formats.save(rig(names=("a", "c")), tmp_path / "rig", file_format="jarvis")


@pytest.mark.parametrize("origin", ["upper-left", "lower-left"])
def test_dlt_pixels_follow_the_formula_of_dltdv(origin: str, tmp_path: Path) -> None:
    cameras = rig(rotation=[Rotation.from_rotvec([0.1, 0.2, 0.3]).as_matrix(), np.eye(3)])
    formats.save(cameras, tmp_path / "rig.csv", origin=origin)
    c = np.loadtxt(tmp_path / "rig.csv", delimiter=",")[:, 0]
    x = np.array([0.2, -0.1, 0.3])
    uv = np.array([c[0:3] @ x + c[3], c[4:7] @ x + c[7]]) / (c[8:11] @ x + 1)
    ours = by_opencv(cameras, x[None])["a"][0]
    # MATLAB counts from 1; before DLTdv8 from the bottom row upward.
    expected = ours + 1 if origin == "upper-left" else [ours[0] + 1, SIZE[1] - ours[1]]
    np.testing.assert_allclose(uv, expected, atol=1e-9)
    again = formats.load(tmp_path / "rig.csv", sizes=SIZE, names=["a", "b"], origin=origin)
    np.testing.assert_allclose(by_opencv(again, x[None])["a"][0], ours, atol=1e-9)


def test_dlt_with_the_wrong_origin_is_an_error(tmp_path: Path) -> None:
    formats.save(rig(), tmp_path / "rig.csv", origin="lower-left")
    with raises_input("not-a-camera", view="cam1", found="upper-left", expected="lower-left", path="rig.csv"):
        formats.load(tmp_path / "rig.csv", sizes=SIZE)


@pytest.mark.parametrize(("origin", "suggested"), [("upper-left", (641, 481)), ("lower-left", None)])
def test_a_missing_size_is_suggested_only_where_the_principal_point_is_known(
    origin: str, suggested: tuple[int, int] | None, tmp_path: Path
) -> None:
    formats.save(rig(), tmp_path / "rig.csv", origin=origin)
    with raises_input("missing-size", view="cam1", suggested=suggested):
        formats.load(tmp_path / "rig.csv", origin=origin)


def test_dlt_needs_the_origin_in_front(tmp_path: Path) -> None:
    with raises_input("unsupported-camera", view="b", field="translation"):
        formats.save(rig(translation=[[0, 0, 5], [1, 0, 0]]), tmp_path / "rig.csv")


def test_colmap_counts_pixels_from_the_corner(tmp_path: Path) -> None:
    formats.save(rig(), tmp_path, file_format="colmap")
    camera = (tmp_path / "cameras.txt").read_text().splitlines()[1].split()
    assert camera[:4] == ["1", "OPENCV", "640", "480"]
    assert [float(value) for value in camera[4:8]] == [500, 500, 320.5, 240.5]


def test_dannce_counts_pixels_from_one_and_transposes(tmp_path: Path) -> None:
    from scipy.io import loadmat

    rotation = Rotation.from_rotvec([0.1, 0.2, 0.3]).as_matrix()
    formats.save(rig(rotation=[rotation, np.eye(3)]), tmp_path / "rig.mat")
    first = loadmat(tmp_path / "rig.mat", simplify_cells=True)["params"][0]
    np.testing.assert_array_equal(first["K"], [[500, 0, 0], [0, 500, 0], [321, 241, 1]])
    np.testing.assert_array_equal(first["r"], rotation.T)
    zero_based = formats.load(tmp_path / "rig.mat", sizes=SIZE, one_based=False)
    assert zero_based.matrix[0, 0, 2] == 321
    for function in (rig().save, lambda path, **options: formats.load(path, sizes=SIZE, **options)):
        with raises_input("unknown-choice", argument="one_based", found="false"):
            function(tmp_path / "rig.mat", one_based="false")


def test_jarvis_transposes(tmp_path: Path) -> None:
    rotation = Rotation.from_rotvec([0.1, 0.2, 0.3]).as_matrix()
    formats.save(rig(rotation=[rotation, np.eye(3)]), tmp_path, file_format="jarvis")
    storage = cv2.FileStorage(str(tmp_path / "a.yaml"), cv2.FILE_STORAGE_READ)
    np.testing.assert_array_equal(storage.getNode("intrinsicMatrix").mat()[2], [320, 240, 1])
    np.testing.assert_array_equal(storage.getNode("R").mat(), rotation.T)
