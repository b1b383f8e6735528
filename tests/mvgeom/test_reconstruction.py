"""Whole tables to 3D: outliers left out, noise estimated, uncertainty that holds."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from helpers.errors import raises_input
from mvgeom import project, triangulate, undistort
from mvgeom.cameras import CameraGroup
from mvgeom.reconstruction import Method, keypoint_noise, noise_from_errors, reconstruct


@pytest.fixture(scope="module")
def rig() -> CameraGroup:
    """Five cameras on a ring of radius 4, looking at the origin."""
    turns = [Rotation.from_euler("yx", [angle, 15], degrees=True).inv().as_matrix() for angle in (0, 60, 130, 200, 290)]
    return CameraGroup(
        names=tuple("abcde"),
        sizes=np.tile([1280.0, 1024.0], (5, 1)),
        matrix=np.tile([[1200.0, 0, 640], [0, 1200, 512], [0, 0, 1]], (5, 1, 1)),
        distortion=np.tile([-0.1, 0.05, 0.001, -0.001, 0], (5, 1)),
        rotation=np.stack(turns),
        translation=np.tile([0, 0, 4.0], (5, 1)),
    )


def scene(rig: CameraGroup, noise: float, outliers: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """World points (N, K, 3) and observations (N, V, K, 2) with Gaussian noise and a fraction of wild ones."""
    random = np.random.default_rng(seed)
    world = random.uniform(-0.6, 0.6, (200, 5, 3))
    pixels = project(world, rig) + random.normal(size=(200, 5, 5, 2)) * noise
    wild = random.random(pixels.shape[:-1]) < outliers
    return world, np.where(wild[..., None], pixels + random.uniform(-150, 150, pixels.shape), pixels)


def test_noise_and_uncertainty_hold_with_and_without_outliers(rig: CameraGroup) -> None:
    for outliers in (0.0, 0.1):
        world, pixels = scene(rig, 1.5, outliers)
        found = reconstruct(pixels, rig)
        assert 1.35 < found.noise < 1.65
        assert found.threshold == pytest.approx(4 * found.noise)
        standardized = (found.points - world) / found.std
        # The median of |z| of a normal variable is 0.6745.
        assert np.nanmedian(np.abs(standardized)) == pytest.approx(0.6745, rel=0.1)
        assert np.isnan(found.points).any(-1).mean() < 0.01
        assert np.nanpercentile(np.linalg.norm(found.points - world, axis=-1), 99) < 0.03


def test_outliers_spoil_the_other_methods_but_not_robust(rig: CameraGroup) -> None:
    world, pixels = scene(rig, 1.0, 0.15)

    def error(method: str) -> float:
        found = reconstruct(pixels, rig, method=method)  # type: ignore[arg-type]
        return float(np.nanpercentile(np.linalg.norm(found.points - world, axis=-1), 90))

    assert error("robust") < 0.2 * min(error("refined"), error("linear"))


def test_methods_are_those_of_triangulate(rig: CameraGroup) -> None:
    _, pixels = scene(rig, 1.0, 0.0)
    for method, steps in (("linear", 0), ("refined", 2)):
        found = reconstruct(pixels, rig, method=method)  # type: ignore[arg-type]
        np.testing.assert_allclose(found.points, triangulate(pixels, rig, refine_steps=steps), atol=1e-12)
        assert found.threshold == np.inf


def test_missing_observations(rig: CameraGroup) -> None:
    _, pixels = scene(rig, 1.0, 0.0)
    pixels[0, 1:, 0] = np.nan  # one view left
    pixels[1, 2:, 0] = np.nan  # two views left
    found = reconstruct(pixels, rig)
    assert np.isnan(found.points[0, 0]).all()
    assert np.isnan(found.std[0, 0]).all()
    assert np.isnan(found.error[0, 0])
    assert found.num_views[0, 0] == 0
    assert found.num_views[1, 0] == 2
    assert found.num_views[2, 0] == 5
    assert np.median(found.std[1, 0] / found.std[2, 0]) > 1


@pytest.mark.parametrize("weighted", [None, "weights", "covariances"])
@pytest.mark.parametrize("method", ["linear", "refined", "robust"])
def test_keypoints_without_a_viewing_ray_are_absent(rig: CameraGroup, method: Method, weighted: str | None) -> None:
    lost = rig.replace(distortion=np.where(np.arange(5)[:, None] == 2, [-0.9, 0, 0, 0, 0], rig.distortion))
    _, pixels = scene(rig, 1.0, 0.0)
    pixels[::2, 2] = [3.0, 3.0]
    pixels[1::2, 2] = np.nan
    assert np.isnan(undistort(np.moveaxis(pixels, 1, 0).reshape(5, -1, 2), lost)[2]).all()
    absent = np.where(np.arange(5)[:, None, None] == 2, np.nan, pixels)
    options = {None: {}, "weights": {"weights": np.ones(pixels.shape[:3])},
               "covariances": {"covariances": np.broadcast_to(np.eye(2), (*pixels.shape, 2))}}[weighted]  # fmt: skip
    found, expected = (reconstruct(each, lost, method=method, **options) for each in (pixels, absent))
    assert found.num_views.max() == 4
    assert found.noise == expected.noise
    for name in ("points", "std", "error", "num_views"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-9)
    flat, empty = (np.moveaxis(each, 1, 0).reshape(5, -1, 2) for each in (pixels, absent))
    assert keypoint_noise(flat, lost) == keypoint_noise(empty, lost)


def test_nothing_observed(rig: CameraGroup) -> None:
    for rows in (3, 0):
        found = reconstruct(np.full((rows, 5, 2, 2), np.nan), rig)
        assert found.points.shape == (rows, 2, 3)
        assert np.isnan(found.points).all()
        assert (found.num_views == 0).all()


def test_long_tables_are_done_in_pieces(rig: CameraGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    _, pixels = scene(rig, 1.0, 0.1)
    whole = reconstruct(pixels, rig, threshold=5, noise=1)
    monkeypatch.setattr("mvgeom.reconstruction.CHUNK", 77)
    pieces = reconstruct(pixels, rig, threshold=5, noise=1)
    np.testing.assert_allclose(pieces.points, whole.points, atol=1e-10)
    np.testing.assert_array_equal(pieces.num_views, whole.num_views)
    np.testing.assert_allclose(pieces.std, whole.std, rtol=1e-6)


def test_std_is_proportional_to_the_given_noise(rig: CameraGroup) -> None:
    _, pixels = scene(rig, 1.0, 0.0)
    one, three = (reconstruct(pixels, rig, method="linear", noise=noise) for noise in (1, 3))
    np.testing.assert_allclose(three.std, 3 * one.std, rtol=1e-9)


def test_weights_are_inverse_variances(rig: CameraGroup) -> None:
    world, exact = scene(rig, 0.0, 0.0)
    random = np.random.default_rng(3)
    weights = random.choice([0.05, 1.0], exact.shape[:-1])
    pixels = exact + 1.5 * random.normal(size=exact.shape) / np.sqrt(weights)[..., None]
    weighted, plain = reconstruct(pixels, rig, weights=weights), reconstruct(pixels, rig)
    assert 1.3 < weighted.noise < 1.7
    standardized = np.abs((weighted.points - world) / weighted.std)
    assert np.nanmedian(standardized) == pytest.approx(0.6745, rel=0.1)

    def error(points: np.ndarray) -> float:
        return float(np.nanmedian(np.linalg.norm(points - world, axis=-1)))

    assert error(weighted.points) < 0.8 * error(plain.points)
    ones = reconstruct(pixels, rig, weights=np.ones(weights.shape))
    np.testing.assert_allclose(ones.points, plain.points, atol=1e-9)
    np.testing.assert_allclose(ones.std, plain.std, rtol=1e-6)


@pytest.mark.parametrize("method", ["robust", "refined", "linear"])
def test_a_view_without_weight_is_a_missing_view(rig: CameraGroup, method: Method) -> None:
    _, pixels = scene(rig, 1.0, 0.0)
    weights = np.ones(pixels.shape[:-1])
    weights[:, 1], weights[:, 3] = 0.0, np.nan
    missing = np.where((weights > 0)[..., None], pixels, np.nan)
    without, expected = (
        reconstruct(pixels, rig, method=method, weights=weights),
        reconstruct(missing, rig, method=method),
    )
    for name in ("points", "std", "error"):
        np.testing.assert_allclose(getattr(without, name), getattr(expected, name), rtol=1e-7, atol=1e-9)
    np.testing.assert_array_equal(without.num_views, expected.num_views)
    assert without.num_views.max() == 3


def test_wrong_options(rig: CameraGroup) -> None:
    _, pixels = scene(rig, 1.0, 0.0)
    for noise in (0, -1.0, np.inf):
        with raises_input("out-of-range", argument="noise", found=noise):
            reconstruct(pixels, rig, noise=noise)
    with raises_input("out-of-range", argument="noise"):
        reconstruct(pixels, rig, noise=np.nan)
    with raises_input("unknown-choice", argument="method", found="best"):
        reconstruct(pixels, rig, method="best")  # type: ignore[arg-type]


def test_noise_from_errors_without_two_views() -> None:
    assert np.isnan(noise_from_errors(np.full((3, 4), np.nan)))
