"""Photometric transforms: they keep shape, dtype and positions, and the presets' strengths are as intended."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mvaug.parameters import Transform
from mvaug.photometric import PHOTOMETRIC, apply_photometric, elastic_displacement
from mvaug.presets import PRESETS, parse_imgaug


def pipeline_of(name: str, **kwargs) -> tuple[Transform, ...]:
    return parse_imgaug({name: {"p": 1.0, "kwargs": kwargs}}).photometric


def apply_one(image: np.ndarray, name: str, seed: int = 0, **kwargs) -> np.ndarray:
    return apply_photometric(image, pipeline_of(name, **kwargs), np.random.default_rng(seed))


def grayish(photo: np.ndarray) -> np.ndarray:
    return np.repeat(photo[..., :1], 3, axis=2)


@pytest.mark.parametrize("name", [*PHOTOMETRIC, *(f"preset {preset}" for preset in PRESETS)])
def test_any_image_keeps_its_shape_and_dtype_and_is_not_written_to(name, photo):
    shapes = [photo, photo[:1, :1], photo[:3, :5], photo[:, :10], photo[:9], grayish(photo), np.zeros_like(photo)]
    transforms = (
        parse_imgaug(name.removeprefix("preset ")).photometric if name.startswith("preset") else pipeline_of(name)
    )
    for image in (np.ascontiguousarray(shape) for shape in shapes):
        before = image.copy()
        for seed in range(3):
            output = apply_photometric(image, transforms, np.random.default_rng(seed))
            assert output.shape == image.shape
            assert output.dtype == np.uint8
        np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("name", list(PHOTOMETRIC))
def test_the_same_generator_gives_the_same_bytes_and_another_does_not(name, photo):
    first = [apply_one(photo, name, seed) for seed in range(4)]
    again = [apply_one(photo, name, seed) for seed in range(4)]
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert any((image != photo).any() for image in first)
    random = bool(PHOTOMETRIC[name].parameters) and name not in ("Invert", "Grayscale")
    assert (len({image.tobytes() for image in first}) > 1) == random


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("MotionBlur", {}),
        ("GaussianBlur", {}),
        ("AverageBlur", {}),
        ("MedianBlur", {}),
        ("Downscale", {}),
        ("Sharpen", {}),
        ("JpegCompression", {"compression": 30}),
    ],
)
def test_labels_hold_a_blob_stays_where_it_is(name, kwargs):
    """Blurs above all: an off-center or even-sized kernel would carry the subject away from its labels."""
    x, y = np.meshgrid(np.arange(96), np.arange(96))
    light = 220 * np.exp(-((x - 48.3) ** 2 + (y - 47.1) ** 2) / (2 * 5.0**2))
    image = np.repeat(np.rint(light).astype(np.uint8)[..., None], 3, axis=2)
    for seed in range(8):
        output = apply_one(image, name, seed, **kwargs)[..., 1].astype(float)
        output[output < 6] = 0
        centroid = np.array([(output * x).sum(), (output * y).sum()]) / output.sum()
        np.testing.assert_allclose(centroid, [48.3, 47.1], atol=0.1)


def test_the_presets_elastic_moves_pixels_by_less_than_half_a_pixel():
    """Measured on a ramp that climbs 3 gray levels a pixel, at the strongest that the preset draws."""
    ramp = np.repeat(np.tile(np.arange(5, 245, 3, dtype=np.uint8), (80, 1))[..., None], 3, axis=2)
    shifts = []
    for seed in range(20):
        output = apply_one(ramp, "ElasticTransformation", seed, alpha=10, sigma=5).astype(float)
        shifts.append((output - ramp)[5:-5, 5:-5, 0])
    rounding = 1 / 12
    measured = np.sqrt(np.mean(np.square(shifts)) - rounding) / 3
    assert measured == pytest.approx(elastic_displacement(10, 5), rel=0.1)
    assert measured < 0.5


def test_motion_blur_spreads_along_its_angle():
    image = np.zeros((31, 31, 3), dtype=np.uint8)
    image[15, 15] = 250
    vertical = apply_one(image, "MotionBlur", k=5, angle=0, direction=0)
    np.testing.assert_array_equal(vertical[13:18, 15, 0], np.full(5, 50))
    assert vertical[..., 0].sum() == 250
    horizontal = apply_one(image, "MotionBlur", k=5, angle=90, direction=0)
    np.testing.assert_array_equal(horizontal, vertical.transpose(1, 0, 2))


def test_dropout_blackens_its_share_in_cells(photo):
    changed = [
        (apply_one(photo, "CoarseDropout", seed, p=0.02, size_percent=0.3) == 0).all(-1).mean() for seed in range(40)
    ]
    assert np.mean(changed) == pytest.approx(0.02, abs=0.006)


def test_dropout_per_channel_leaves_color(photo):
    output = apply_one(photo, "CoarseDropout", p=0.3, size_px=8, per_channel=True)
    dropped = output == 0
    assert dropped.any(-1).mean() > dropped.all(-1).mean() + 0.2


def test_salt_is_bright_and_pepper_is_dark(photo):
    for name, is_right in (("CoarseSalt", lambda v: v >= 127), ("CoarsePepper", lambda v: v <= 128)):
        output = apply_one(photo, name, p=0.2, size_percent=0.1)
        changed = (output != photo).any(-1)
        assert 0.1 < changed.mean() < 0.3
        assert is_right(output[changed]).all()


def test_gray_levels_follow_their_formulas(photo):
    values = photo.astype(float)
    np.testing.assert_array_equal(apply_one(photo, "Add", value=30), np.clip(values + 30, 0, 255))
    np.testing.assert_array_equal(apply_one(photo, "Multiply", mul=1.3), np.clip(np.rint(values * 1.3), 0, 255))
    np.testing.assert_array_equal(
        apply_one(photo, "LinearContrast", alpha=1.5), np.clip(np.rint(128 + (values - 128) * 1.5), 0, 255)
    )
    np.testing.assert_array_equal(
        apply_one(photo, "GammaContrast", gamma=0.8), np.clip(np.rint(255 * (values / 255) ** 0.8), 0, 255)
    )
    np.testing.assert_array_equal(apply_one(photo, "Invert"), 255 - photo)


def test_per_channel_draws_three_values(photo):
    shift = apply_one(photo, "Add", value=[-15, 15], per_channel=True).astype(int) - photo
    assert len(np.unique(np.median(shift, axis=(0, 1)))) == 3


def test_noise_has_the_strength_asked_for(photo):
    noise = apply_one(photo, "AdditiveGaussianNoise", scale=8, per_channel=True).astype(float) - photo
    assert noise.std() == pytest.approx(8, rel=0.1)
    one = apply_one(grayish(photo), "AdditiveGaussianNoise", scale=8)
    assert (one[..., 0] == one[..., 1]).all()


def test_equalization_and_clahe_are_opencvs_per_channel(photo):
    np.testing.assert_array_equal(
        apply_one(photo, "AllChannelsHistogramEqualization")[..., 2],
        cv2.equalizeHist(np.ascontiguousarray(photo[..., 2])),
    )
    clahe = cv2.createCLAHE(clipLimit=4.0, tileGridSize=(6, 6))
    np.testing.assert_array_equal(
        apply_one(photo, "AllChannelsCLAHE", clip_limit=4.0, tile_grid_size_px=6)[..., 1],
        clahe.apply(np.ascontiguousarray(photo[..., 1])),
    )


def test_compressing_harder_loses_more(photo):
    error = [np.abs(apply_one(photo, "JpegCompression", compression=c).astype(int) - photo).mean() for c in (1, 50, 95)]
    assert error[0] < error[1] < error[2]
    # Channel order survives the codec: red stays red.
    assert np.abs(apply_one(photo, "JpegCompression", compression=1).mean((0, 1)) - photo.mean((0, 1))).max() < 2


def test_every_transform_is_drawn_with_its_probability(photo):
    transforms = parse_imgaug({"Invert": {"p": 0.3}}).photometric
    generator = np.random.default_rng(0)
    count = sum((apply_photometric(photo, transforms, generator) != photo).any() for _ in range(300))
    assert 65 < count < 115
