import cv2
import numpy as np
import pytest
from array_api_compat import array_namespace
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.errors import raises_input
from helpers.geometry import FISHEYE, LENSES, random_rig
from helpers.optional import torch
from mvgeom import CameraGroup, distort, invertible_radius, undistort
from mvgeom.distortion import (
    Jacobian,
    apply_homography,
    distort_with_jacobian,
    homography_jacobian,
    tilt_matrices,
)
from mvgeom.lens_range import lens_terms

SEEDS = st.integers(0, 2**32 - 1)


def one_camera(distortion: list[float], *, fisheye: bool = False, focal: float = 1000.0) -> CameraGroup:
    return CameraGroup(
        names=("camera",),
        sizes=[[1280, 1024]],
        matrix=[[[focal, 0.4, 640], [0, 1.01 * focal, 500], [0, 0, 1]]],
        distortion=[distortion],
        rotation=[np.eye(3)],
        translation=[np.zeros(3)],
        fisheye=(fisheye,),
    )


def disc(radius: float, count: int = 400) -> np.ndarray:
    """(1, count, 2) points that fill a disc, its rim included."""
    radii = radius * np.sqrt(np.linspace(0, 1, count))
    angles = np.arange(count) * 2.4
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=-1)[None]


def random_lens(rng: np.random.Generator, length: int) -> list[float]:
    """Lenses from pincushion to strong barrel, with decentring, prism and tilt of real size."""
    scale = [0.25, 0.1, 2e-3, 2e-3, 0.03, 0.05, 0.02, 0.01, *[1e-3] * 4, 0.05, 0.05]
    return list(rng.normal(size=length) * scale[:length])


@pytest.mark.parametrize("length", LENSES)
@settings(max_examples=30)
@given(seed=SEEDS)
def test_undistort_inverts_distort(length: int, seed: int) -> None:
    cams = one_camera(random_lens(np.random.default_rng(seed), length))
    limit = float(invertible_radius(cams)[0])
    normalized = disc(min(0.98 * limit, 1.2))
    pixels = distort(normalized, cams)
    assert np.isfinite(pixels).all()
    again = undistort(pixels, cams)
    np.testing.assert_allclose(again, normalized, rtol=0, atol=1e-10)
    np.testing.assert_allclose(distort(again, cams), pixels, rtol=0, atol=1e-9)


@settings(max_examples=30)
@given(seed=SEEDS)
def test_undistort_inverts_distort_for_fisheye(seed: int) -> None:
    cams = one_camera(list(np.random.default_rng(seed).normal(size=4) * [0.1, 0.03, 0.01, 0.005]), fisheye=True)
    normalized = disc(min(0.98 * float(invertible_radius(cams)[0]), np.tan(np.radians(80))))
    pixels = distort(normalized, cams)
    np.testing.assert_allclose(distort(undistort(pixels, cams), cams), pixels, rtol=0, atol=1e-9)
    np.testing.assert_allclose(undistort(pixels, cams), normalized, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("distortion", "radius"),
    [
        ([-0.4, 0.0, 0.0, 0.0], 0.9999999 / np.sqrt(1.2)),
        ([0.5, 0.0, 0.0, 0.0], 1.5),
        ([-0.4, 0.0, 0.002, -0.003, 0.0], 0.88),
        ([0.5, 0.2, 0.0, 0.0, 0.1], 1.5),
        ([-0.35, 0.15, 0.0, 0.0, -0.03], 1.0),
    ],
)
def test_strong_lenses_are_inverted_up_to_the_fold(distortion: list[float], radius: float) -> None:
    cams = one_camera(distortion)
    pixels = distort(disc(radius, 5000), cams)
    again = undistort(pixels, cams)
    assert np.isfinite(again).all()
    np.testing.assert_allclose(distort(again, cams), pixels, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("dtype", "share", "widest"), [(np.float64, 0.9999, 1.5), (np.float32, 0.85, 1.2)])
@settings(max_examples=60)
@given(seed=SEEDS)
@example(seed=354288252)  # almost a fold, at slope 0.05
@example(seed=79986717)
def test_no_pixel_of_the_range_is_lost(dtype: type, share: float, widest: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    cams = one_camera(list(rng.uniform([-0.45, -0.2, -5e-3, -5e-3, -0.1], [0.2, 0.35, 5e-3, 5e-3, 0.1])))
    pixels = distort(disc(min(share * float(invertible_radius(cams)[0]), widest)), cams)
    again = undistort(pixels.astype(dtype), cams.to(dtype=dtype))
    assert np.isfinite(again).all()
    found = distort(again.astype(np.float64), cams)
    np.testing.assert_allclose(found, pixels, rtol=0, atol=1e-9 if dtype == np.float64 else 2e-3)


@pytest.mark.parametrize("distortion", [[-0.3, 0.1, 1e-3, -1e-3, 0.0], [0.1, 0.05, 0, 0, 0.02], LENSES[8], LENSES[14]])
def test_float32_is_good_to_a_thousandth_of_a_pixel(distortion: list[float]) -> None:
    cams = one_camera(distortion)
    pixels = distort(disc(0.85), cams).astype(np.float32)
    again = undistort(pixels, cams.to(dtype=np.float32))
    assert again.dtype == np.float32
    np.testing.assert_allclose(distort(again.astype(np.float64), cams), pixels, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("distortion", "radius"),
    [
        ([-0.4, 0, 0, 0], 1 / np.sqrt(1.2)),
        ([0.2, -0.3, 0, 0], np.sqrt((0.6 + np.sqrt(0.36 + 6.0)) / 3.0)),
        ([0.5, 0.1, 0, 0, 0.01], 100.0),
        ([0.0, 0.0, 0, 0, -0.01], (1 / 0.07) ** (1 / 6)),
        ([], 1e4),
    ],
)
def test_invertible_radius_is_where_the_radial_model_turns_back(distortion: list[float], radius: float) -> None:
    found = float(invertible_radius(one_camera(distortion))[0])
    assert found == pytest.approx(radius, rel=1e-6)
    assert found <= radius * (1 + 1e-12)


def test_invertible_radius_of_fisheye_is_the_tangent_of_the_angle_where_it_turns_back() -> None:
    cams = one_camera([-0.3, 0.0, 0.0, 0.0], fisheye=True)
    assert float(invertible_radius(cams)[0]) == pytest.approx(np.tan(1 / np.sqrt(0.9)), rel=1e-5)


def test_invertible_radius_ends_before_a_pole_of_the_rational_model() -> None:
    cams = one_camera([0.0, 0.0, 0.0, 0.0, 0.0, -0.25, 0.0, 0.0])
    assert float(invertible_radius(cams)[0]) == pytest.approx(2.0, rel=1e-6)
    assert np.isnan(distort(np.array([[[2.5, 0.0]]]), cams)).all()
    far = one_camera([6.8, 1.6, 0.0, 0.0, 0.03, 5.0, 6.0, -0.001])
    assert 70 < float(invertible_radius(far)[0]) < 80
    points = disc(1.4)
    np.testing.assert_allclose(undistort(distort(points, far), far), points, rtol=0, atol=1e-10)


@settings(max_examples=25)
@given(seed=SEEDS)
def test_the_model_is_one_to_one_within_the_invertible_radius(seed: int) -> None:
    rng = np.random.default_rng(seed)
    distortion = np.array([random_lens(rng, 12)]) * [1, 1, 10, 10, 1, 1, 1, 1, 10, 10, 10, 10]
    cams = one_camera(list(distortion[0]))
    points = disc(min(float(invertible_radius(cams)[0]), 3.0) * 0.999999, 2000)
    xp = array_namespace(distortion)
    _, jacobian = distort_with_jacobian(points[..., 0], points[..., 1], lens_terms(distortion, fisheye=False), xp)
    assert (jacobian.xx * jacobian.yy - jacobian.xy * jacobian.yx > 0).all()
    assert (jacobian.xx > 0).all()


def test_outside_the_invertible_range_is_nan() -> None:
    cams = one_camera([-0.4, 0.0, 0.0, 0.0])
    fold = 1 / np.sqrt(1.2)
    outside = np.array([[[fold * 1.001, 0.0], [0.0, -1.5], [3.0, 3.0], [np.nan, 0.1], [0.1, np.inf]]])
    assert np.isnan(distort(outside, cams)).all()
    # The image of the fold is 2/3 of its radius from the center; no ray maps farther out.
    far = np.array([[[640 + 1000 * fold * 0.6668, 500.0], [640 - 5000.0, 500.0], [np.nan, 500.0], [1e300, 0.0]]])
    assert np.isnan(undistort(far, cams)).all()
    assert np.isfinite(undistort(np.array([[[640 + 1000 * fold * 0.6665, 500.0]]]), cams)).all()
    # This one turns back at 1.09, where it has reached 0.665, and outwards again at 1.68: 0.7 has one ray, beyond.
    again = one_camera([-0.4, 0.06, 0.0, 0.0])
    assert float(invertible_radius(again)[0]) == pytest.approx(1.0875, abs=1e-3)
    assert np.isnan(undistort(np.array([[[640 + 700.0, 500.0], [640.0, 500 - 1010 * 0.68]]]), again)).all()
    assert np.isfinite(undistort(np.array([[[640 + 660.0, 500.0]]]), again)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("length", [*LENSES, "fisheye"])
def test_absurd_pixels_are_nan_without_overflow(length: int | str, dtype: type) -> None:
    fisheye = length == "fisheye"
    cams = one_camera(FISHEYE if fisheye else LENSES[length], fisheye=fisheye).to(dtype=dtype)
    pixels = np.array([[[-1e8, 3e7], [1e11, 0.0], [1e13, 0.0], [1e38, -1e38], [np.inf, -np.inf]]], dtype=dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        assert np.isnan(undistort(pixels, cams)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("length", [*LENSES, "fisheye"])
def test_absurd_directions_are_nan_without_overflow(length: int | str, dtype: type) -> None:
    fisheye = length == "fisheye"
    cams = one_camera(FISHEYE if fisheye else LENSES[length], fisheye=fisheye).to(dtype=dtype)
    large = np.finfo(dtype).max
    points = np.array([[[large, 0.0], [0.0, -large], [large, large], [np.inf, 0.0], [0.0, -np.inf]]], dtype=dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        assert np.isnan(distort(points, cams)).all()


@pytest.mark.parametrize("length", LENSES)
def test_golden_opencv_project_points(length: int) -> None:
    cams = one_camera(LENSES[length])
    normalized = disc(0.7)
    points = np.concatenate([normalized[0], np.ones((normalized.shape[1], 1))], axis=1)
    coefficients = np.array(LENSES[length]) if length else None
    # cv2 knows no skew: it is compared without.
    plain = cams.replace(matrix=cams.matrix * np.array([[1, 0, 1], [1, 1, 1], [1, 1, 1]]))
    expected, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), plain.matrix[0], coefficients)
    np.testing.assert_allclose(distort(normalized, plain)[0], expected[:, 0], rtol=0, atol=1e-9)


@pytest.mark.parametrize("length", [4, 5, 8, 12, 14])
def test_golden_opencv_undistort_points_iterated_to_convergence(length: int) -> None:
    cams = one_camera(LENSES[length])
    matrix = cams.matrix[0] * np.array([[1, 0, 1], [1, 1, 1], [1, 1, 1]])
    pixels = distort(disc(0.6), cams.replace(matrix=matrix[None]))
    criteria = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 2000, 1e-14)
    expected = cv2.undistortPoints(pixels[0], matrix, np.array(LENSES[length]), criteria=criteria)
    found = undistort(pixels, cams.replace(matrix=matrix[None]))
    np.testing.assert_allclose(found[0], expected.reshape(-1, 2), rtol=0, atol=1e-9)


def test_golden_opencv_fisheye() -> None:
    cams = one_camera(FISHEYE, fisheye=True)
    matrix = cams.matrix[0].copy()
    matrix[0, 1] = 0
    cams = cams.replace(matrix=matrix[None])
    normalized = disc(2.5)
    expected = cv2.fisheye.distortPoints(normalized.copy(), matrix, np.array(FISHEYE))
    pixels = distort(normalized, cams)
    np.testing.assert_allclose(pixels, expected.reshape(1, -1, 2), rtol=0, atol=1e-9)
    criteria = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 1000, 1e-15)
    back = cv2.fisheye.undistortPoints(pixels.copy(), matrix, np.array(FISHEYE), criteria=criteria)
    np.testing.assert_allclose(undistort(pixels, cams), back.reshape(1, -1, 2), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("length", [4, 5, 8, 12])
def test_padding_with_zeros_changes_nothing(length: int) -> None:
    points = disc(0.7)
    short, padded = one_camera(LENSES[length]), one_camera(LENSES[length] + [0.0] * (14 - length))
    np.testing.assert_allclose(distort(points, short), distort(points, padded), rtol=0, atol=1e-10)


@pytest.mark.parametrize("length", [*LENSES, "fisheye"])
def test_jacobian_equals_autograd(length: int | str) -> None:
    fisheye = length == "fisheye"
    distortion = torch.tensor([FISHEYE if fisheye else LENSES[length]], dtype=torch.float64)
    points = torch.tensor(disc(0.8, 25))
    points[0, 0] = 0
    lens, xp = lens_terms(distortion, fisheye=fisheye), array_namespace(points)
    x, y = points[..., 0].requires_grad_(), points[..., 1].requires_grad_()
    outputs, jacobian = distort_with_jacobian(x, y, lens, xp)
    expected = [torch.autograd.grad(out.sum(), (x, y), retain_graph=True, allow_unused=True) for out in outputs]
    found = [(jacobian.xx, jacobian.xy), (jacobian.yx, jacobian.yy)]
    for (found_x, found_y), (expected_x, expected_y) in zip(found, expected, strict=True):
        torch.testing.assert_close(found_x, torch.zeros_like(x) if expected_x is None else expected_x)
        torch.testing.assert_close(found_y, torch.zeros_like(y) if expected_y is None else expected_y)


def test_jacobian_of_a_tilted_sensor_equals_autograd() -> None:
    forward, _ = tilt_matrices(lens_terms(torch.tensor([[0.0] * 12 + [0.3, -0.2]]).double(), fisheye=False), torch)
    inner = Jacobian(1.1, -0.3, 0.4, 0.9)
    linear = torch.tensor([[inner.xx, inner.xy], [inner.yx, inner.yy]], dtype=torch.float64)
    points = torch.tensor(disc(0.8, 25)).requires_grad_()
    x, y = (points @ linear.T).unbind(-1)
    found = homography_jacobian(forward, x.detach(), y.detach(), inner)
    rows = (found.xx, found.xy), (found.yx, found.yy)
    for component, row in zip(apply_homography(forward, x, y), rows, strict=True):
        (expected,) = torch.autograd.grad(component.sum(), points, retain_graph=True)
        torch.testing.assert_close(torch.stack(row, dim=-1), expected)


@pytest.mark.parametrize("length", [5, 14, "fisheye"])
def test_gradients_of_undistort_equal_finite_differences(length: int | str) -> None:
    fisheye = length == "fisheye"
    cams = one_camera(FISHEYE if fisheye else LENSES[length], fisheye=fisheye).to(
        like=torch.zeros(0, dtype=torch.float64)
    )
    pixels = distort(torch.tensor(disc(0.6, 7)), cams)

    def solve(pixels: torch.Tensor, distortion: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
        return undistort(pixels, cams.replace(distortion=distortion, matrix=matrix))

    inputs = (pixels, cams.distortion, cams.matrix)
    assert torch.autograd.gradcheck(solve, tuple(value.clone().requires_grad_() for value in inputs), atol=1e-6)


@pytest.mark.parametrize("fisheye", [False, True])
def test_gradients_are_finite_on_the_axis_and_zero_where_missing(fisheye: bool) -> None:
    cams = one_camera(FISHEYE, fisheye=fisheye).to(like=torch.zeros(0, dtype=torch.float64))
    pixels = torch.tensor([[[640.0, 500.0], [np.nan, 500.0], [1e6, 1e6]]], dtype=torch.float64, requires_grad=True)
    undistort(pixels, cams).nansum().backward()
    assert torch.isfinite(pixels.grad).all()
    assert (pixels.grad[0, 0] != 0).all()
    assert pixels.grad[0, 1:].tolist() == [[0.0, 0.0]] * 2
    normalized = torch.tensor([[[0.0, 0.0], [np.nan, 0.0], [1e5, 0.0]]], dtype=torch.float64, requires_grad=True)
    distort(normalized, cams).nansum().backward()
    assert torch.isfinite(normalized.grad).all()
    assert (normalized.grad[0, 0] != 0).all()
    assert normalized.grad[0, 1:].tolist() == [[0.0, 0.0]] * 2


def test_lenses_of_both_kinds_mix_in_one_group() -> None:
    rng = np.random.default_rng(3)
    mixed = random_rig(rng, 5, lens=14, fisheye=(True, False, False, True, False))
    normalized = np.tile(disc(0.8, 50), (5, 1, 1))
    pixels = distort(normalized, mixed)
    for view, name in enumerate(mixed.names):
        alone = mixed.select([name])
        assert alone.fisheye == (mixed.fisheye[view],)
        np.testing.assert_array_equal(distort(normalized[view : view + 1], alone)[0], pixels[view])
    np.testing.assert_allclose(undistort(pixels, mixed), normalized, rtol=0, atol=1e-11)
    assert invertible_radius(mixed).shape == (5,)


@pytest.mark.parametrize("length", LENSES)
def test_a_pixel_has_the_same_ray_whatever_stands_beside_it(length: int) -> None:
    # Newton's method stops when all pixels have settled: those outside the range never do.
    cams = one_camera(random_lens(np.random.default_rng(length), length))
    pixels = np.random.default_rng(0).uniform(-2000, 4000, (1, 200, 2))
    alone = np.concatenate([undistort(pixels[:, place : place + 1], cams) for place in range(200)], axis=1)
    np.testing.assert_array_equal(undistort(pixels, cams), alone)


def test_half_precision_is_refused() -> None:
    cams = one_camera(LENSES[5]).to(like=torch.zeros(0))
    with raises_input("wrong-array", dtype="torch.bfloat16"):
        undistort(torch.zeros(1, 3, 2, dtype=torch.bfloat16), cams)
