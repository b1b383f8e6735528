"""Photometric augmentation: transforms that change an image's pixels and leave its labels where they are.

Transforms run on uint8 images in model px, after the one warp, so a kernel of 5 px means 5 px of the network's input
whatever the stored size. OpenCV does the work; all randomness comes from the generator that was handed in. Names and
parameters are imgaug's, because existing configs speak them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from mvaug.parameters import Draws, Parameter, Transform

PhotometricFunction = Callable[[np.ndarray, Draws], np.ndarray]
"""(H, W, 3) uint8 RGB image and draws to an image of the same shape and dtype."""

MAX_ELASTIC_DISPLACEMENT = 0.5
"""Largest root mean square displacement, in model px, that an elastic transform may have: labels do not follow it."""


@dataclass(frozen=True, kw_only=True)
class PhotometricSpecification:
    """Function of a photometric transform and the parameters it takes, in imgaug's order."""

    function: PhotometricFunction
    parameters: Mapping[str, Parameter]


def apply_photometric(image: np.ndarray, transforms: Sequence[Transform], generator: np.random.Generator) -> np.ndarray:
    """Apply each transform in turn, with its own probability.

    Args:
        image: (H, W, 3) uint8 RGB; not changed.
        transforms: Photometric transforms in the order they apply.
        generator: Source of all randomness.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    for transform in transforms:
        if generator.random() < transform.p:
            image = PHOTOMETRIC[transform.name].function(image, transform.draws(generator))
    return image


def _lookup(image: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Apply a (256,) or (256, 3) table of float gray levels."""
    return cv2.LUT(image, np.clip(np.rint(table), 0, 255).astype(np.uint8).reshape(1, 256, -1))


def _per_channel(draw: Draws, name: str) -> np.ndarray:
    """Draw a parameter once (1,), or for each channel (3,) where `per_channel` is drawn."""
    count = 3 if draw.flag("per_channel") else 1
    return np.array([draw.number(name) for _ in range(count)])


# --- blur ------------------------------------------------------------------------------------------------------------


def _motion_blur(image: np.ndarray, draw: Draws) -> np.ndarray:
    length, angle, direction = draw.integer("k"), np.deg2rad(draw.number("angle")), draw.number("direction")
    half = (length - 1) / 2
    along = np.linspace(-half, half, length)
    weights = np.linspace(1.0 + direction, 1.0 - direction, len(along))
    # A blur that trails to one side would carry the subject away from its labels: its center of mass stays put.
    along = along - np.average(along, weights=weights)
    x, y = along * np.sin(angle), along * np.cos(angle)
    reach = int(np.ceil(np.abs(along).max())) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    for column, row in ((0, 0), (1, 0), (0, 1), (1, 1)):
        share = (1 - np.abs(x - left - column)) * (1 - np.abs(y - top - row))
        np.add.at(kernel, (top + row + reach, left + column + reach), weights * share)
    # filter2D correlates; the kernel is turned so that it convolves.
    return cv2.filter2D(image, -1, kernel[::-1, ::-1] / kernel.sum())


def _gaussian_blur(image: np.ndarray, draw: Draws) -> np.ndarray:
    sigma = draw.number("sigma")
    return image if sigma < 1e-3 else cv2.GaussianBlur(image, (0, 0), sigma)


def _average_blur(image: np.ndarray, draw: Draws) -> np.ndarray:
    # An even kernel has no center pixel and would shift the image by half a pixel.
    size = draw.integer("k") // 2 * 2 + 1
    return cv2.blur(image, (size, size))


def _median_blur(image: np.ndarray, draw: Draws) -> np.ndarray:
    return cv2.medianBlur(image, draw.integer("k") // 2 * 2 + 1)


def _sharpen(image: np.ndarray, draw: Draws) -> np.ndarray:
    alpha, lightness = draw.number("alpha"), draw.number("lightness")
    kernel = np.full((3, 3), -alpha)
    kernel[1, 1] = (1 - alpha) + alpha * (8 + lightness)
    return cv2.filter2D(image, -1, kernel)


def _emboss(image: np.ndarray, draw: Draws) -> np.ndarray:
    alpha, strength = draw.number("alpha"), draw.number("strength")
    effect = np.array([[-1 - strength, -strength, 0], [-strength, 1, strength], [0, strength, 1 + strength]])
    kernel = alpha * effect
    kernel[1, 1] += 1 - alpha
    return cv2.filter2D(image, -1, kernel)


def _downscale(image: np.ndarray, draw: Draws) -> np.ndarray:
    """Shrink and stretch back: detail is lost, positions stay."""
    height, width = image.shape[:2]
    scale = draw.number("scale")
    small = (max(round(width * scale), 1), max(round(height * scale), 1))
    return cv2.resize(cv2.resize(image, small, interpolation=cv2.INTER_AREA), (width, height))


# --- occlusion -----------------------------------------------------------------------------------------------------


def _coarse_mask(shape: tuple[int, ...], draw: Draws, num_channels: int) -> np.ndarray:
    """Draw cells of a coarse grid, each set with the transform's probability: (H, W, num_channels) boolean."""
    height, width = shape[:2]
    if "size_percent" in draw:
        rows, columns = round(draw.number("size_percent") * height), round(draw.number("size_percent") * width)
    else:
        rows, columns = draw.integer("size_px"), draw.integer("size_px")
    least = draw.integer("min_size")
    rows, columns = min(max(rows, least), height), min(max(columns, least), width)
    cells = (draw.generator.random((rows, columns, num_channels)) < draw.number("p")).astype(np.uint8)
    mask = cv2.resize(cells, (width, height), interpolation=cv2.INTER_NEAREST)
    return mask.reshape(height, width, num_channels).astype(bool)


def _fine_mask(shape: tuple[int, ...], draw: Draws, num_channels: int) -> np.ndarray:
    return draw.generator.random((*shape[:2], num_channels)) < draw.number("p")


def _dropped(make_mask: Callable[[tuple[int, ...], Draws, int], np.ndarray]) -> PhotometricFunction:
    def function(image: np.ndarray, draw: Draws) -> np.ndarray:
        """Blacken the cells of a mask."""
        mask = make_mask(image.shape, draw, 3 if draw.flag("per_channel") else 1)
        return np.where(mask, np.uint8(0), image)

    return function


def _peppered(make_mask: Callable[[tuple[int, ...], Draws, int], np.ndarray], kind: str) -> PhotometricFunction:
    def function(image: np.ndarray, draw: Draws) -> np.ndarray:
        """Brighten (salt) or darken (pepper) cells to imgaug's values, an arcsine law over that half of the range."""
        mask = make_mask(image.shape, draw, 3 if draw.flag("per_channel") else 1)
        chosen = np.flatnonzero(mask)
        level = draw.generator.beta(0.5, 0.5, size=len(chosen))
        if kind == "salt":
            level = np.maximum(level, 1 - level)
        elif kind == "pepper":
            level = np.minimum(level, 1 - level)
        output = image.copy()
        values = np.rint(255 * level).astype(np.uint8)
        if mask.shape[2] == 1:
            output.reshape(-1, 3)[chosen] = values[:, None]
        else:
            output.reshape(-1)[chosen] = values
        return output

    return function


# --- gray levels -----------------------------------------------------------------------------------------------------


def _add(image: np.ndarray, draw: Draws) -> np.ndarray:
    return _lookup(image, np.arange(256.0)[:, None] + _per_channel(draw, "value"))


def _multiply(image: np.ndarray, draw: Draws) -> np.ndarray:
    return _lookup(image, np.arange(256.0)[:, None] * _per_channel(draw, "mul"))


def _linear_contrast(image: np.ndarray, draw: Draws) -> np.ndarray:
    return _lookup(image, 128 + (np.arange(256.0)[:, None] - 128) * _per_channel(draw, "alpha"))


def _gamma_contrast(image: np.ndarray, draw: Draws) -> np.ndarray:
    return _lookup(image, 255 * (np.arange(256.0)[:, None] / 255) ** _per_channel(draw, "gamma"))


def _multiply_and_add(image: np.ndarray, draw: Draws) -> np.ndarray:
    return _lookup(image, np.arange(256.0) * draw.number("mul") + draw.number("add"))


def _invert(image: np.ndarray, draw: Draws) -> np.ndarray:
    return 255 - image if draw.flag("p") else image


def _grayscale(image: np.ndarray, draw: Draws) -> np.ndarray:
    alpha = draw.number("alpha")
    gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(gray, alpha, image, 1 - alpha, 0)


def _multiply_saturation(image: np.ndarray, draw: Draws) -> np.ndarray:
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hsv[..., 1] = np.minimum(hsv[..., 1] * draw.number("mul"), 255).astype(np.uint8)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def _add_to_hue(image: np.ndarray, draw: Draws) -> np.ndarray:
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    # imgaug's value counts 255 to a full turn, OpenCV's hue 180.
    hsv[..., 0] = (hsv[..., 0].astype(int) + round(draw.number("value") * 180 / 255)) % 180
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def _equalize(image: np.ndarray, draw: Draws) -> np.ndarray:
    return cv2.merge([cv2.equalizeHist(channel) for channel in cv2.split(image)])


def _equalize_lightness(image: np.ndarray, draw: Draws) -> np.ndarray:
    return _on_lightness(image, cv2.equalizeHist)


def _clahe_filter(draw: Draws) -> cv2.CLAHE:
    tiles = max(draw.integer("tile_grid_size_px"), 1)
    return cv2.createCLAHE(clipLimit=max(draw.number("clip_limit"), 0.01), tileGridSize=(tiles, tiles))


def _clahe(image: np.ndarray, draw: Draws) -> np.ndarray:
    clahe = _clahe_filter(draw)
    return cv2.merge([clahe.apply(channel) for channel in cv2.split(image)])


def _clahe_lightness(image: np.ndarray, draw: Draws) -> np.ndarray:
    return _on_lightness(image, _clahe_filter(draw).apply)


def _on_lightness(image: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    lightness, a, b = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2LAB))
    return cv2.cvtColor(cv2.merge([function(lightness), a, b]), cv2.COLOR_LAB2RGB)


# --- noise and compression -------------------------------------------------------------------------------------------


def _gaussian_noise(image: np.ndarray, draw: Draws) -> np.ndarray:
    num_channels = 3 if draw.flag("per_channel") else 1
    noise = draw.generator.standard_normal((*image.shape[:2], num_channels), dtype=np.float32)
    noise = draw.number("loc") + draw.number("scale") * noise
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def _jpeg(image: np.ndarray, draw: Draws) -> np.ndarray:
    quality = int(np.clip(100 - draw.number("compression"), 1, 100))
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    success, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert success, "OpenCV cannot encode JPEG"
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None, "OpenCV cannot decode its own JPEG"
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)


def _elastic(image: np.ndarray, draw: Draws) -> np.ndarray:
    height, width = image.shape[:2]
    alpha, sigma = draw.number("alpha"), draw.number("sigma")
    noise = draw.generator.random((height, width, 2), dtype=np.float32)
    noise -= 0.5
    source = cv2.GaussianBlur(noise, (0, 0), sigma) * np.float32(2 * alpha) + _positions(height, width)
    # No second map: x and y are the channels of the first. OpenCV's type stubs do not know that.
    result: np.ndarray = cv2.remap(image, source, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
    return result


@lru_cache(maxsize=8)
def _positions(height: int, width: int) -> np.ndarray:
    """Return x and y of every pixel (height, width, 2), one read-only array for all callers."""
    positions = np.moveaxis(np.indices((height, width), dtype=np.float32)[::-1], 0, -1).copy()
    positions.setflags(write=False)
    return positions


def elastic_displacement(alpha: float, sigma: float) -> float:
    """Compute the displacement of `ElasticTransformation`.

    Args:
        alpha: Factor of the noise, which is uniform on [-1, 1].
        sigma: Standard deviation in px of the Gaussian that smooths the noise.

    Returns:
        Root mean square displacement per axis in px.
    """
    return float(alpha / np.sqrt(3) / max(2 * np.sqrt(np.pi) * sigma, 1.0))


_PER_CHANNEL = Parameter(default=False, flag=True)
_COARSE = {
    "size_px": Parameter(default=(3, 8), integer=True, low=1),
    "size_percent": Parameter(low=0.0, high=1.0),
    "per_channel": _PER_CHANNEL,
    "min_size": Parameter(default=3, integer=True, low=1),
}
_FINE = {"p": Parameter(default=(0.0, 0.03), low=0.0, high=1.0), "per_channel": _PER_CHANNEL}
_COARSE_P = {"p": Parameter(default=(0.02, 0.1), low=0.0, high=1.0), **_COARSE}
_CLAHE = {
    "clip_limit": Parameter(default=(0.1, 8.0), low=0.0),
    "tile_grid_size_px": Parameter(default=(3, 12), integer=True, low=1),
}

PHOTOMETRIC: dict[str, PhotometricSpecification] = {
    name: PhotometricSpecification(function=function, parameters=parameters)
    for name, function, parameters in (
        (
            "MotionBlur",
            _motion_blur,
            {
                "k": Parameter(default=(3, 7), integer=True, low=1, high=99),
                "angle": Parameter(default=(0, 360)),
                "direction": Parameter(default=(-1, 1), low=-1, high=1),
            },
        ),
        ("GaussianBlur", _gaussian_blur, {"sigma": Parameter(default=(0.0, 3.0), low=0.0)}),
        ("AverageBlur", _average_blur, {"k": Parameter(default=(1, 7), integer=True, low=1)}),
        ("MedianBlur", _median_blur, {"k": Parameter(default=(1, 7), integer=True, low=1)}),
        (
            "Sharpen",
            _sharpen,
            {
                "alpha": Parameter(default=(0.0, 0.2), low=0.0, high=1.0),
                "lightness": Parameter(default=(0.8, 1.2), low=0),
            },
        ),
        (
            "Emboss",
            _emboss,
            {
                "alpha": Parameter(default=(0.0, 1.0), low=0.0, high=1.0),
                "strength": Parameter(default=(0.25, 1.0), low=0),
            },
        ),
        ("Downscale", _downscale, {"scale": Parameter(default=(0.3, 1.0), low=0.01, high=1.0)}),
        ("CoarseDropout", _dropped(_coarse_mask), _COARSE_P),
        ("CoarseSalt", _peppered(_coarse_mask, "salt"), _COARSE_P),
        ("CoarsePepper", _peppered(_coarse_mask, "pepper"), _COARSE_P),
        ("CoarseSaltAndPepper", _peppered(_coarse_mask, "both"), _COARSE_P),
        ("Dropout", _dropped(_fine_mask), {**_FINE, "p": Parameter(default=(0.0, 0.05), low=0.0, high=1.0)}),
        ("Salt", _peppered(_fine_mask, "salt"), _FINE),
        ("Pepper", _peppered(_fine_mask, "pepper"), _FINE),
        ("SaltAndPepper", _peppered(_fine_mask, "both"), _FINE),
        ("Add", _add, {"value": Parameter(default=(-20, 20)), "per_channel": _PER_CHANNEL}),
        ("Multiply", _multiply, {"mul": Parameter(default=(0.8, 1.2), low=0.0), "per_channel": _PER_CHANNEL}),
        (
            "MultiplyAndAddToBrightness",
            _multiply_and_add,
            {"mul": Parameter(default=(0.7, 1.3), low=0.0), "add": Parameter(default=(-30, 30))},
        ),
        ("LinearContrast", _linear_contrast, {"alpha": Parameter(default=(0.6, 1.4)), "per_channel": _PER_CHANNEL}),
        (
            "GammaContrast",
            _gamma_contrast,
            {"gamma": Parameter(default=(0.7, 1.7), low=0.01), "per_channel": _PER_CHANNEL},
        ),
        ("Invert", _invert, {"p": Parameter(default=1.0, flag=True)}),
        ("Grayscale", _grayscale, {"alpha": Parameter(default=1.0, low=0.0, high=1.0)}),
        ("MultiplySaturation", _multiply_saturation, {"mul": Parameter(default=(0.0, 3.0), low=0.0)}),
        ("AddToHue", _add_to_hue, {"value": Parameter(default=(-255, 255))}),
        ("AllChannelsHistogramEqualization", _equalize, {}),
        ("HistogramEqualization", _equalize_lightness, {}),
        ("AllChannelsCLAHE", _clahe, _CLAHE),
        ("CLAHE", _clahe_lightness, _CLAHE),
        (
            "AdditiveGaussianNoise",
            _gaussian_noise,
            {
                "loc": Parameter(default=0.0),
                "scale": Parameter(default=(0.0, 15.0), low=0.0),
                "per_channel": _PER_CHANNEL,
            },
        ),
        ("JpegCompression", _jpeg, {"compression": Parameter(default=(0, 100), low=0, high=100)}),
        (
            "ElasticTransformation",
            _elastic,
            {"alpha": Parameter(default=(0.0, 10.0), low=0.0), "sigma": Parameter(default=5.0, low=0.5)},
        ),
    )
}
"""Photometric transforms by name; `mvaug.register_photometric` adds to them."""
