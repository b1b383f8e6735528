"""Measures of images: whether a frame is usable, and its description by a backbone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from mvtrain.config import Config
from mvtrain.model.backbone import build_backbone, find_local_weights, input_normalization
from mvtrain.model.inference import normalize
from mvtrain.model.run_folder import load_run

LONGEST = 512
"""Longest side in px of the images that are measured; larger ones are shrunk by a whole factor."""

_BLANK = 0.5
"""Standard deviation in gray levels below which an image is blank, whatever the film."""

_BLANK_SHARE = 0.2
"""Share of the film's contrast below which an image is blank: a black, white or fading image."""

_BLURRED_SHARE = 0.5
"""Share of the film's typical sharpness below which an image is blurred."""

_FROZEN = 0.05
"""Mean difference to the image before, in gray levels, up to which an image is frozen, whatever the film."""

_FROZEN_SHARE = 0.05
"""Share of the film's typical difference up to which an image is frozen."""

_REPEATED = 0.5
"""Share of frozen images above which the film has every image twice, as after a change of its rate."""

_HOPELESS = 0.9
"""Share of images with a fault above which it is a property of the view, and no reason to leave images out."""

REASONS = ("damaged", "blank", "blurred", "frozen")
"""Reasons to leave a frame out, in the order in which they are counted."""

GRID = 4
"""Rows and columns over which patches are averaged: a place in the image counts, small shifts do not."""


@dataclass(frozen=True, kw_only=True)
class ImageMeasures:
    """Measures of one image.

    Attributes:
        contrast: Standard deviation in gray levels.
        sharpness: Variance of the Laplacian.
        movement: Mean absolute differences in gray levels to the image before, and from that to the one before it; NaN
            where there is none.
    """

    contrast: float
    sharpness: float
    movement: tuple[float, float]


def measure_image(grays: list[np.ndarray | None]) -> ImageMeasures:
    """Measure the last of three images.

    Args:
        grays: Three consecutive images as `to_gray` gives them; None where there is no image; the last is one.
    """
    second, first, image = grays
    assert image is not None
    return ImageMeasures(
        contrast=float(image.std()),
        sharpness=float(cv2.Laplacian(image, cv2.CV_32F).var()),
        movement=(_difference(first, image), _difference(second, first)),
    )


def to_gray(image: np.ndarray) -> np.ndarray:
    """Return an image (H, W, 3) uint8 BGR as (h, w) float32 gray levels, at most about `LONGEST` px long."""
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    factor = max(1, max(gray.shape) // LONGEST)
    if factor > 1:
        size = (max(1, gray.shape[1] // factor), max(1, gray.shape[0] // factor))
        gray = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
    return np.asarray(gray, dtype=np.float32)


def find_faults(measures: list[list[ImageMeasures | None]]) -> tuple[np.ndarray, dict[tuple[str, int], float]]:
    """Find what is wrong with the images of a film.

    Every measure is compared with the same view's other images. A fault that nearly all images of a view have is a
    property of the view (a covered lens, a view in which nothing moves), and not a fault.

    Args:
        measures: M x V measures; None where an image cannot be decoded.

    Returns:
        (M, V) positions in `REASONS`, -1 for images without fault; and the share of such images by reason and view
        where it is ignored.
    """
    num_frames, num_views = len(measures), len(measures[0]) if measures else 0
    faults, ignored = np.full((num_frames, num_views), -1), {}
    for view in range(num_views):
        column = [row[view] for row in measures]
        present = np.array([entry is not None for entry in column], dtype=bool)
        faults[~present, view] = REASONS.index("damaged")
        known = [entry for entry in column if entry is not None]
        left = np.flatnonzero(present)
        for reason, wrong in _faults_of_view(known):
            # Of a frame that is blank, blur says nothing more.
            if wrong.mean() > _HOPELESS:
                ignored[reason, view] = float(wrong.mean())
                continue
            new = left[wrong & (faults[left, view] < 0)]
            faults[new, view] = REASONS.index(reason)
    return faults, ignored


def _faults_of_view(known: list[ImageMeasures]) -> list[tuple[str, np.ndarray]]:
    """Return the images (n,) that have each fault."""
    if not known:
        return []
    contrast = np.array([entry.contrast for entry in known])
    sharpness = np.array([entry.sharpness for entry in known])
    movement = np.array([entry.movement for entry in known])
    # Nine tenths of a film may be black.
    blank = contrast < max(_BLANK, _BLANK_SHARE * float(np.quantile(contrast, 0.9)))
    rest = ~blank if (~blank).any() else blank
    blurred = sharpness < _BLURRED_SHARE * float(np.median(sharpness[rest]))
    finite = movement[rest][np.isfinite(movement[rest])]
    typical = float(np.median(finite)) if len(finite) else 0.0
    still = movement <= max(_FROZEN, _FROZEN_SHARE * typical)
    # A codec refreshes a frozen image now and then, so one difference of two may be larger.
    frozen = np.asarray(still.any(axis=1))
    if frozen.mean() > _REPEATED:
        frozen = np.asarray(still.all(axis=1))
    return [("blank", blank), ("blurred", blurred), ("frozen", frozen)]


def _difference(first: np.ndarray | None, second: np.ndarray | None) -> float:
    """Return the mean absolute difference in gray levels; NaN without both images."""
    if first is None or second is None:
        return float("nan")
    return float(cv2.absdiff(first, second).mean())


class BackboneFeatures:
    """Backbone that describes images.

    Args:
        backbone: Vision transformer of timm.
        name: Name of the backbone, for its normalization and for messages.
        size: Height and width of its input in px, about.
        device: Device to compute on.
    """

    def __init__(self, backbone: nn.Module, name: str, size: tuple[int, int], device: torch.device) -> None:
        patch = backbone.patch_embed.patch_size  # type: ignore[union-attr]
        self.name = name
        self.size = tuple(
            max(GRID, round(length / side)) * side
            for length, side in zip(size, patch, strict=True)  # type: ignore[arg-type]
        )
        self._grid = tuple(length // side for length, side in zip(self.size, patch, strict=True))  # type: ignore[arg-type]
        self._backbone = backbone.to(device).eval()
        self._device = device
        self._mean, self._std = (torch.tensor(values, device=device) for values in input_normalization(name))

    @property
    def num_features(self) -> int:
        """Return the number of values that describe an image."""
        return int(self._backbone.embed_dim) * GRID**2  # type: ignore[arg-type]

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """Shrink an image (H, W, 3) uint8 BGR to the input (h, w, 3) uint8 RGB."""
        height, width = self.size
        small = cv2.resize(image, (int(width), int(height)), interpolation=cv2.INTER_AREA)
        return cv2.cvtColor(small, cv2.COLOR_BGR2RGB)

    @torch.inference_mode()
    def describe(self, images: np.ndarray) -> np.ndarray:
        """Return (N, F) float32 of prepared images (N, h, w, 3)."""
        batch = torch.from_numpy(images).to(self._device).permute(0, 3, 1, 2)
        tokens = self._backbone.forward_features(normalize(batch, self._mean, self._std))  # type: ignore[operator]
        patches = tokens[:, -self._grid[0] * self._grid[1] :].transpose(1, 2).unflatten(2, self._grid)
        pooled = nn.functional.adaptive_avg_pool2d(patches.float(), GRID)
        return np.asarray(pooled.flatten(1).cpu().numpy())


def load_features(config: Config, run: Path | None, device: torch.device) -> BackboneFeatures | None:
    """Load the backbone of a run, or the config's pretrained one where its weights are on this computer.

    Args:
        config: Config of the project.
        run: Run folder; None takes the config's backbone.
        device: Device to compute on.

    Returns:
        The backbone; None where there are no trained weights.

    Raises:
        InputError: The run folder or the weights cannot be read.
    """
    size = (config.data.image_resize_dims.height, config.data.image_resize_dims.width)
    if run is not None:
        loaded = load_run(run)
        backbone = loaded.model.backbone
        assert isinstance(backbone, nn.Module)
        return BackboneFeatures(backbone, loaded.spec.backbone, loaded.spec.image_size[::-1], device)
    weights = find_local_weights(config)
    if weights is None:
        return None
    built = build_backbone(config.model.backbone, weights=weights, arguments=config.model.backbone_args)
    return BackboneFeatures(built, config.model.backbone, size, device)
