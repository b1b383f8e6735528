import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.errors import Expectation, raises_input
from helpers.optional import torch
from mvgeom import affine

SEEDS = st.integers(0, 2**32 - 1)


def random_maps(rng: np.random.Generator, *batch: int) -> np.ndarray:
    """Maps that turn, scale, shear and shift, never near singular."""
    angle, shear = rng.uniform(0, 2 * np.pi, batch), rng.uniform(-0.5, 0.5, batch)
    scale = 10 ** rng.uniform(-1, 1, (*batch, 2)) * rng.choice([-1, 1], (*batch, 1))
    turn = np.stack([np.stack([np.cos(angle), -np.sin(angle)], -1), np.stack([np.sin(angle), np.cos(angle)], -1)], -2)
    lean = np.stack([np.stack([np.ones(batch), shear], -1), np.stack([np.zeros(batch), np.ones(batch)], -1)], -2)
    return np.concatenate([turn @ lean * scale[..., None, :], rng.uniform(-500, 500, (*batch, 2, 1))], axis=-1)


@pytest.mark.parametrize("batch", [(), (2,), (1, 2)])
@settings(max_examples=25)
@given(seed=SEEDS)
def test_maps_are_a_group(batch: tuple[int, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b, c = (random_maps(rng, *batch) for _ in range(3))
    points = rng.uniform(-1000, 1000, size=(*batch, 5, 2))
    one = affine.identity()
    close = {"rtol": 1e-9, "atol": 1e-5}
    np.testing.assert_allclose(affine.compose(one, a), a, **close)
    np.testing.assert_allclose(affine.compose(a, one), a, **close)
    np.testing.assert_allclose(affine.compose(affine.invert(a), a), np.broadcast_to(one, a.shape), **close)
    np.testing.assert_allclose(affine.compose(a, affine.invert(a)), np.broadcast_to(one, a.shape), **close)
    np.testing.assert_allclose(
        affine.compose(affine.compose(a, b), c), affine.compose(a, affine.compose(b, c)), **close
    )
    np.testing.assert_allclose(affine.compose(a, b, c), affine.compose(affine.compose(a, b), c), **close)
    np.testing.assert_allclose(
        affine.apply(affine.compose(a, b), points), affine.apply(a, affine.apply(b, points)), **close
    )
    np.testing.assert_allclose(affine.apply(affine.invert(a), affine.apply(a, points)), points, **close)


@settings(max_examples=25)
@given(seed=SEEDS)
def test_composition_is_a_product_of_homogeneous_matrices(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = random_maps(rng, 3), random_maps(rng, 3)
    np.testing.assert_allclose(affine.to_3x3(affine.compose(a, b)), affine.to_3x3(a) @ affine.to_3x3(b), rtol=1e-12)
    np.testing.assert_array_equal(affine.from_3x3(affine.to_3x3(a)), a)
    np.testing.assert_allclose(affine.to_3x3(affine.invert(a)), np.linalg.inv(affine.to_3x3(a)), rtol=1e-7, atol=1e-9)


@settings(max_examples=25)
@given(seed=SEEDS)
def test_numpy_equals_torch(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b, points = random_maps(rng, 2), random_maps(rng, 2), rng.normal(size=(2, 4, 2))
    ta, tb, tp = torch.tensor(a), torch.tensor(b), torch.tensor(points)
    np.testing.assert_allclose(affine.apply(ta, tp), affine.apply(a, points), rtol=1e-12)
    np.testing.assert_allclose(affine.compose(ta, tb), affine.compose(a, b), rtol=1e-12)
    np.testing.assert_allclose(affine.invert(ta), affine.invert(a), rtol=1e-12)
    np.testing.assert_allclose(affine.to_3x3(ta), affine.to_3x3(a))


def test_from_box_undoes_the_definition_of_files_px() -> None:
    """x_frame = bbox_x + (x_file + 0.5) * bbox_w / file_w - 0.5, likewise y with h."""
    box, size = np.array([37.0, -12.0, 933.0, 700.0]), (320, 256)
    file = np.random.default_rng(0).uniform(0, 300, size=(9, 2))
    frame = box[:2] + (file + 0.5) * box[2:] / size - 0.5
    np.testing.assert_allclose(affine.apply(affine.from_box(box, size), frame), file, rtol=0, atol=1e-12)


@settings(max_examples=25)
@given(seed=SEEDS)
def test_a_box_maps_its_edges_to_the_edges_of_the_image(seed: int) -> None:
    rng = np.random.default_rng(seed)
    box = np.concatenate([rng.uniform(-100, 100, (3, 2)), rng.uniform(1, 900, (3, 2))], axis=-1)
    size = rng.integers(1, 500, size=2)
    matrix = affine.from_box(box, tuple(int(side) for side in size))
    corners = np.stack([box[:, :2] - 0.5, box[:, :2] + box[:, 2:] - 0.5], axis=1)
    expected = np.broadcast_to([[-0.5, -0.5], size - 0.5], (3, 2, 2))
    np.testing.assert_allclose(affine.apply(matrix, corners), expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(affine.from_box(torch.tensor(box), torch.tensor(size)), matrix, rtol=1e-12)


def test_crop_then_resize_is_from_box_and_resizes_compose() -> None:
    cropped = affine.translate((-10.0, -20.0))
    np.testing.assert_allclose(
        affine.compose(affine.resize((100, 50), (33, 77)), cropped), affine.from_box([10, 20, 100, 50], (33, 77))
    )
    np.testing.assert_allclose(
        affine.compose(affine.resize((33, 77), (640, 480)), affine.resize((100, 50), (33, 77))),
        affine.resize((100, 50), (640, 480)),
    )
    np.testing.assert_allclose(affine.apply(affine.resize((4, 4), (2, 2)), np.array([[0.5, 2.5]])), [[0.0, 1.0]])


def test_resized_images_and_points_agree() -> None:
    """A blob's centroid moves as the map of OpenCV's resize says."""
    import cv2

    y, x = np.mgrid[:120, :160]
    image = np.exp(-((x - 71.3) ** 2 + (y - 44.8) ** 2) / (2 * 6.0**2))
    small = cv2.resize(image, (64, 40), interpolation=cv2.INTER_AREA)
    y, x = np.mgrid[:40, :64]
    centroid = np.array([(x * small).sum(), (y * small).sum()]) / small.sum()
    expected = affine.apply(affine.resize((160, 120), (64, 40)), np.array([[71.3, 44.8]]))[0]
    np.testing.assert_allclose(centroid, expected, rtol=0, atol=0.01)


def test_missing_points_stay_missing_and_pass_no_gradient() -> None:
    points = torch.tensor([[1.0, 2.0], [float("nan"), 3.0]], requires_grad=True)
    mapped = affine.apply(affine.from_box(torch.tensor([0.0, 0.0, 10.0, 10.0]), (5, 5)), points)
    assert torch.isnan(mapped[1]).all()
    assert torch.isfinite(mapped[0]).all()
    mapped[0].sum().backward()
    assert points.grad[1].tolist() == [0.0, 0.0]


def test_dtype_and_leading_dimensions_are_kept() -> None:
    box = torch.tensor([[1.0, 2.0, 30.0, 40.0]] * 3)
    matrix = affine.from_box(box[:, None], (8, 8))
    assert matrix.dtype == torch.float32
    assert matrix.shape == (3, 1, 2, 3)
    assert affine.apply(matrix, torch.zeros(4, 7, 2)).shape == (3, 4, 7, 2)
    assert affine.identity(matrix).dtype == torch.float32


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: affine.from_box([1, 2, 0, 5], (8, 8)), raises_input("out-of-range", argument="box")),
        (lambda: affine.from_box([1, 2, 3], (8, 8)), raises_input("wrong-shape", argument="box", found=(3,))),
        (lambda: affine.from_box([1, 2, 3, 4], (8, 0)), raises_input("out-of-range", argument="size")),
        (lambda: affine.from_box([1, 2, 3, 4], np.array([8, -1])), raises_input("out-of-range", argument="size")),
        (lambda: affine.resize((0, 4), (2, 2)), raises_input("out-of-range", argument="old")),
        (lambda: affine.invert(np.array([[1.0, 2, 0], [2, 4, 0]])), raises_input("bad-matrix", argument="matrix")),
        (
            lambda: affine.apply(np.eye(3), np.zeros((4, 2))),
            raises_input("wrong-shape", argument="matrix", found=(3, 3)),
        ),
        (lambda: affine.apply(np.eye(2, 3), np.zeros(3)), raises_input("wrong-shape", argument="points", found=(3,))),
        *(
            (lambda maps=maps: affine.compose(*maps), raises_input("wrong-shape", found=(3, 3)))
            for maps in ([np.eye(3)], [np.eye(3), np.eye(2, 3)], [np.eye(2, 3), np.eye(3)])
        ),
        (lambda: affine.from_3x3(np.ones((3, 3))), raises_input("bad-matrix", argument="matrix")),
        (lambda: affine.from_3x3(np.ones((2, 3))), raises_input("wrong-shape", argument="matrix", found=(2, 3))),
    ],
)
def test_messages(call: object, expected: Expectation) -> None:
    with expected:
        call()
