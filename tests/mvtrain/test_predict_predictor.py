"""`mvtrain.load_predictor(RUN).predict(images)` on arrays."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import mvtrain
from helpers.errors import raises_input
from helpers.runs import INPUT, KEYPOINTS, VIEWS, cameras, make_run
from helpers.videos import moving_dot
from mvgeom import reprojection_error

SIZE = (64, 48)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("run") / "run")


@pytest.fixture(scope="module")
def predictor(run: Path) -> mvtrain.Predictor:
    return mvtrain.load_predictor(run)


def stacks(length: int = 6) -> list[np.ndarray]:
    """(N, H, W, 3) RGB per view, noise over a moving square."""
    random = np.random.default_rng(0)
    frames = [[moving_dot(number, view, SIZE)[..., ::-1] for number in range(length)] for view in range(len(VIEWS))]
    noise = random.integers(0, 60, (len(VIEWS), length, SIZE[1], SIZE[0], 3), dtype=np.uint8)
    return list(np.stack(frames) // 2 + noise)


def test_many_frames_and_one(predictor: mvtrain.Predictor) -> None:
    images = stacks()
    found = predictor.predict(images)
    assert found.points.shape == (6, 3, 4, 2)
    assert found.confidence.shape == (6, 3, 4)
    assert (found.view_names, found.keypoint_names) == (VIEWS, KEYPOINTS)
    assert found.points_3d is found.std is found.reprojection_error is found.num_views is None
    assert np.isfinite(found.points).all()
    assert ((found.confidence >= 0) & (found.confidence <= 1)).all()
    # The answer depends on the images, else nothing here could fail.
    assert found.points.std(axis=0).max() > 1
    one = predictor.predict([stack[2] for stack in images])
    assert one.points.shape == (1, 3, 4, 2)
    np.testing.assert_allclose(one.points[0], found.points[2], atol=1e-3)


def test_tensors_and_lists_of_images_are_arrays_too(predictor: mvtrain.Predictor) -> None:
    images = stacks(2)
    expected = predictor.predict(images).points
    np.testing.assert_array_equal(predictor.predict([torch.from_numpy(stack) for stack in images]).points, expected)
    np.testing.assert_array_equal(predictor.predict([list(stack) for stack in images]).points, expected)


def test_loading_keeps_the_callers_random_numbers(run: Path) -> None:
    before = torch.get_rng_state()
    mvtrain.load_predictor(run)
    assert torch.equal(torch.get_rng_state(), before)


def test_images_of_another_size_than_their_camera_are_a_warning(predictor: mvtrain.Predictor) -> None:
    images = [None, *(stack[:, :, :40] for stack in stacks(2)[1:])]
    with pytest.warns(UserWarning, match="another size than its camera") as caught:
        predictor.predict(images, cameras(SIZE))
    assert ["left" in str(each.message) for each in caught] == [True, False]
    assert "40x48" in str(caught[0].message)


def test_points_are_in_px_of_each_views_own_images(predictor: mvtrain.Predictor) -> None:
    images = [stack[:, : INPUT[1], : INPUT[0]] for stack in stacks()]
    enlarged = [stack.repeat(n, axis=1).repeat(n, axis=2) for n, stack in zip((2, 1, 3), images, strict=True)]
    found, larger = predictor.predict(images), predictor.predict(enlarged)
    for view, scale in enumerate((2, 1, 3)):
        # Blocks of equal pixels are averaged to the very same image.
        expected = (found.points[:, view] + 0.5) * scale - 0.5
        np.testing.assert_allclose(larger.points[:, view], expected, atol=1e-3)


def test_a_box_is_a_crop(predictor: mvtrain.Predictor) -> None:
    random = np.random.default_rng(1)
    images = [random.integers(0, 255, (5, 100, 150, 3), dtype=np.uint8) for _ in VIEWS]
    corners = np.array([[10, 20], [31, 7], [50, 40]])
    crops = [image[:, y : y + 48, x : x + 72] for image, (x, y) in zip(images, corners, strict=True)]
    boxes = np.concatenate([corners, np.tile([72, 48], (3, 1))], axis=1)
    found, expected = predictor.predict(images, boxes=boxes), predictor.predict(crops)
    # Beyond the border of a crop there is black, in the image the next pixel.
    distance = np.linalg.norm(found.points - (expected.points + corners[:, None]), axis=-1)
    assert np.median(distance) < 0.2
    per_frame = predictor.predict(images, boxes=np.tile(boxes, (5, 1, 1)))
    np.testing.assert_array_equal(per_frame.points, found.points)


def test_absent_views_are_nan_and_the_others_are_found(predictor: mvtrain.Predictor) -> None:
    images = stacks()
    found = predictor.predict([images[0], None, images[2]])
    assert np.isnan(found.points[:, 1]).all()
    assert np.isnan(found.confidence[:, 1]).all()
    assert np.isfinite(found.points[:, [0, 2]]).all()
    boxes = np.tile([0.0, 0.0, *SIZE], (6, 3, 1))
    boxes[2, 0], boxes[4] = np.nan, np.nan
    found = predictor.predict(images, boxes=boxes)
    absent = np.isnan(found.points).any((-1, -2))
    np.testing.assert_array_equal(np.argwhere(absent), [[2, 0], [4, 0], [4, 1], [4, 2]])


def test_cameras_give_3d_in_whatever_order(predictor: mvtrain.Predictor) -> None:
    images, rig = stacks(), cameras(SIZE)
    found = predictor.predict(images, rig)
    assert found.points_3d is not None
    assert found.std is not None
    assert found.reprojection_error is not None
    assert found.num_views is not None
    assert found.points_3d.shape == found.std.shape == (6, 4, 3)
    np.testing.assert_array_equal(np.isnan(found.points_3d).any(-1), found.num_views == 0)
    assert (found.num_views > 0).any()
    assert found.evidence is not None
    errors = reprojection_error(found.points_3d, found.evidence[..., :2], rig)
    of_all = found.num_views == 3
    np.testing.assert_allclose(found.reprojection_error[of_all], errors.mean(1)[of_all], rtol=1e-6)
    shuffled = predictor.predict(images, rig.select(["right", "top", "left"]))
    np.testing.assert_array_equal(shuffled.points_3d, found.points_3d)


@pytest.mark.parametrize(
    ("change", "code", "facts"),
    [
        ({"images": stacks()[:2]}, "wrong-count", {"found": 2, "expected": 3}),
        ({"images": [*stacks()[:2], stacks()[2] / 255]}, "wrong-dtype", {"view": "right"}),
        ({"images": [*stacks()[:2], stacks()[2][..., 0]]}, "wrong-shape", {"view": "right", "found": (6, 48, 64)}),
        (
            {"images": [*stacks()[:2], stacks()[2][:4]]},
            "wrong-count",
            {"found": {"top": 6, "left": 6, "right": 4}},
        ),
        ({"images": [*stacks()[:2], stacks()[2][:, :0]]}, "wrong-shape", {"view": "right", "found": (6, 0, 64, 3)}),
        ({"images": [*stacks()[:2], [*stacks(1)[2], stacks()[2][0, :9]]]}, "wrong-shape", {"view": "right"}),
        ({"images": dict.fromkeys(VIEWS)}, "wrong-dtype", {"view": "top"}),
        ({"images": [None, None, None]}, "wrong-count", {"argument": "images", "found": {}}),
        ({"boxes": np.zeros((2, 4))}, "wrong-shape", {"argument": "boxes", "found": (2, 4)}),
        ({"cameras": cameras(SIZE).select(["top", "left"])}, "missing-view", {"view": "right"}),
        ({"cameras": "calibration.toml"}, "wrong-type", {"argument": "cameras", "found": "str"}),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    predictor: mvtrain.Predictor, change: dict[str, object], code: str, facts: dict[str, object]
) -> None:
    arguments: dict[str, object] = {"images": stacks(), **change}
    with raises_input(code, **facts):
        predictor.predict(**arguments)  # type: ignore[arg-type]


def test_boxes_without_a_size_are_refused(predictor: mvtrain.Predictor) -> None:
    with raises_input("out-of-range", argument="box"):
        predictor.predict(stacks(), boxes=np.zeros((3, 4)))


def test_unknown_devices_are_refused(run: Path) -> None:
    with raises_input("unknown-choice", argument="device", found="abacus"):
        mvtrain.load_predictor(run, device="abacus")


def test_folders_that_are_not_run_folders_are_refused(run: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", tmp_path):
        with raises_input("not-a-run", path=path):
            mvtrain.load_predictor(path)
    assert mvtrain.load_run(str(run)).folder == run
    (tmp_path / "config.yaml").write_text((run / "config.yaml").read_text())
    with raises_input("not-a-run", path=tmp_path):
        mvtrain.load_predictor(tmp_path)
    (tmp_path / "run.yaml").write_text("{}")
    with raises_input("no-checkpoint"):
        mvtrain.load_predictor(tmp_path)
    with raises_input("no-checkpoint"):
        mvtrain.load_predictor(run, checkpoint="first")


def test_checkpoints_differ(run: Path, predictor: mvtrain.Predictor) -> None:
    last = mvtrain.load_predictor(run, checkpoint="last", device="cpu")
    assert last.checksum != predictor.checksum
    assert np.abs(last.predict(stacks()).points - predictor.predict(stacks()).points).max() > 0


def test_importing_the_package_is_quick() -> None:
    code = "import sys, mvtrain; assert 'torch' not in sys.modules; assert not hasattr(mvtrain, 'nothing')"
    subprocess.run([sys.executable, "-c", code], check=True)
