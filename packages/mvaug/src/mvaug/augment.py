"""Augmentation of one frame: move the subject in 3D, warp each view once, change its pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from mvaug.geometric import draw_model_maps
from mvaug.mirror import mirrored_order
from mvaug.move import MovedSubject, MoveOutcome, MoveRanges, move_subject, unmoved
from mvaug.parameters import Transform, Values
from mvaug.photometric import apply_photometric
from mvaug.presets import Pipeline, parse_imgaug
from mvaug.warp import warp_image
from mvgeom import affine
from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError
from mvgeom.wording import counted

_HORIZONTAL_FLIP = Transform(name="Fliplr", p=0.5, parameters=(("p", Values(kind="constant", values=(1.0,))),))


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """2D augmentation of each view and the ranges of the 3D move; hashable and picklable.

    Attributes:
        pipeline: 2D augmentation of each view.
        move: Ranges of the 3D move, or None for no move.
        mirrored_order: For every keypoint the one that takes its place in a mirror image; empty when nothing flips.
    """

    pipeline: Pipeline = field(default_factory=Pipeline)
    move: MoveRanges | None = None
    mirrored_order: tuple[int, ...] = ()

    @classmethod
    def from_config(
        cls,
        imgaug: str | Mapping[str, Any] | None,
        imgaug_3d: bool | Mapping[str, Any],
        *,
        keypoint_names: Sequence[str] = (),
        hflip: bool = False,
    ) -> Self:
        """Parse the augmentation that a config describes.

        2D and 3D augmentation go together: `imgaug="dlc"` with `imgaug_3d=True` rotates and crops each view as well,
        because `to_model` undoes that exactly before anything is triangulated. `dlc-mv` is `dlc` without its geometric
        part, which is what other systems use beside a 3D augmentation.

        Args:
            imgaug: Preset's name, mapping of transforms, or None; see `mvaug.presets.parse_imgaug`.
            imgaug_3d: True, False, or mapping of ranges; see `mvaug.move.MoveRanges`.
            keypoint_names: K keypoint names; needed where a flip has to tell left from right.
            hflip: Flip all views of half of the frames left to right.

        Raises:
            InputError: An argument is not understood, or a flip cannot tell left from right. Its `argument` is the
                argument with the place in it, such as "imgaug.Rotate.p".
        """
        pipeline = parse_imgaug(imgaug)
        if hflip:
            pipeline = replace(pipeline, geometric=(_HORIZONTAL_FLIP, *pipeline.geometric))
        if pipeline.mirrors and not keypoint_names:
            raise InputError(
                "keypoint_names: found none, expected one per keypoint. Flips swap left and right keypoints by their "
                "names: give the names, or turn flips off.",
                code="missing-argument",
                argument="keypoint_names",
            )
        return cls(
            pipeline=pipeline,
            move=MoveRanges.from_config(imgaug_3d),
            mirrored_order=mirrored_order(keypoint_names) if pipeline.mirrors else (),
        )

    @classmethod
    def none(cls) -> Self:
        """Return the augmentation that only crops and resizes, for validation and prediction."""
        return cls()


@dataclass(frozen=True, kw_only=True, eq=False)
class AugmentedSample:
    """V views of one frame, ready for the network.

    Attributes:
        images: (V, H, W, 3) uint8 RGB in model px; black where a view is absent or its stored image ends.
        to_model: (V, 2, 3) float64 map from full-image px of the moved subject to model px: crop, resize and 2D
            augmentation, but not the 3D move. Its inverse carries predictions to where the cameras see the moved
            subject.
        points: (V, K, 2) float64 labels in model px, NaN missing; they may lie outside the image.
        points_3d: (K, 3) float64 moved labels in world units, NaN missing.
        full_to_moved: (V, 2, 3) float64 affine map that stands for the 3D move in each view, full-image px to
            full-image px.
        fit_residual: (V,) float64 root mean square residual of that map in full-image px; 0 when unmoved.
        outcome: Result of the 3D move: moved, or why not. Count these to know what 3D augmentation does.
        keypoint_order: (K,) int; row k of the labels was row `keypoint_order[k]`. Anything else per keypoint that the
            caller holds (visibility) has to be indexed with it too. 0..K-1 unless the frame was mirrored.
    """

    images: np.ndarray
    to_model: np.ndarray
    points: np.ndarray
    points_3d: np.ndarray
    full_to_moved: np.ndarray
    fit_residual: np.ndarray
    outcome: MoveOutcome
    keypoint_order: np.ndarray

    @property
    def moved(self) -> bool:
        """Return True if the subject was moved in 3D."""
        return self.outcome is MoveOutcome.MOVED


def augment_sample(
    images: Sequence[np.ndarray | None],
    *,
    crop_to_full: np.ndarray,
    full_to_model: np.ndarray,
    points: np.ndarray,
    points_3d: np.ndarray,
    cameras: CameraGroup | None,
    size: tuple[int, int],
    augmentation: Augmentation,
    generator: np.random.Generator,
) -> AugmentedSample:
    """Augment all views of one frame consistently.

    Args:
        images: V stored images (h_v, w_v, 3) uint8 RGB of any size, or None for a view that is absent.
        crop_to_full: (V, 2, 3) maps from crop px (of the stored image) to full-image px (of the camera).
        full_to_model: (V, 2, 3) maps from full-image px to model px without augmentation: the network's crop and
            resize.
        points: (V, K, 2) labels in full-image px, NaN missing.
        points_3d: (K, 3) labels in world units, NaN missing.
        cameras: V cameras of the full images, in the order of the views; None: no 3D move.
        size: Width and height of the network's input in px.
        augmentation: 2D and 3D augmentation to draw from.
        generator: Source of all randomness: the same state gives the same bytes.

    Raises:
        InputError: The number of views or keypoints differs between arguments, or an image is not (h, w, 3) uint8.
    """
    points, points_3d = np.asarray(points, dtype=np.float64), np.asarray(points_3d, dtype=np.float64)
    full_to_model = np.asarray(full_to_model, dtype=np.float64)
    num_views, num_keypoints = _checked_sizes(images, crop_to_full, full_to_model, points, points_3d, cameras)

    subject = _moved_subject(points_3d, cameras, num_views, augmentation.move, generator)
    model_maps, mirrored = draw_model_maps(augmentation.pipeline.geometric, full_to_model, size, generator)
    to_model = affine.compose(model_maps, full_to_model)
    image_maps = affine.compose(to_model, subject.full_to_moved)
    crop_to_model = affine.compose(image_maps, np.asarray(crop_to_full, dtype=np.float64))

    width, height = size
    output = np.zeros((num_views, height, width, 3), dtype=np.uint8)
    for view, image in enumerate(images):
        if image is not None:
            warped = warp_image(image, crop_to_model[view], size)
            output[view] = apply_photometric(warped, augmentation.pipeline.photometric, generator)

    order = np.arange(num_keypoints)
    if mirrored:
        order = np.asarray(augmentation.mirrored_order)
        if len(order) != num_keypoints:
            raise InputError(
                f"points_3d: found {counted(num_keypoints, 'keypoint')}, expected {len(order)}. The augmentation was "
                f"made with {counted(len(order), 'keypoint name')}: make it with those of the labels.",
                code="wrong-count",
                argument="points_3d",
                found=num_keypoints,
                expected=len(order),
            )
    return AugmentedSample(
        images=output,
        to_model=to_model,
        points=affine.apply(image_maps, points)[:, order],
        points_3d=subject.points[order],
        full_to_moved=subject.full_to_moved,
        fit_residual=subject.residual,
        outcome=subject.outcome,
        keypoint_order=order,
    )


def _moved_subject(
    points_3d: np.ndarray,
    cameras: CameraGroup | None,
    num_views: int,
    ranges: MoveRanges | None,
    generator: np.random.Generator,
) -> MovedSubject:
    if ranges is None:
        return unmoved(points_3d, num_views, MoveOutcome.OFF)
    if cameras is None:
        return unmoved(points_3d, num_views, MoveOutcome.NO_CAMERAS)
    return move_subject(points_3d, cameras, ranges, generator)


def _checked_sizes(
    images: Sequence[np.ndarray | None],
    crop_to_full: np.ndarray,
    full_to_model: np.ndarray,
    points: np.ndarray,
    points_3d: np.ndarray,
    cameras: CameraGroup | None,
) -> tuple[int, int]:
    """Check that the arguments of `augment_sample` fit each other; return the number of views and of keypoints."""
    num_views, num_keypoints = len(images), points_3d.shape[0] if points_3d.ndim else 0
    shapes = {
        "crop_to_full": (np.shape(crop_to_full), (num_views, 2, 3)),
        "full_to_model": (np.shape(full_to_model), (num_views, 2, 3)),
        "points": (points.shape, (num_views, num_keypoints, 2)),
        "points_3d": (points_3d.shape, (num_keypoints, 3)),
    }
    for name, (found, expected) in shapes.items():
        if found != expected:
            raise InputError(
                f"{name}: wrong shape for {counted(num_views, 'image')}, found {found}, expected {expected}.",
                code="wrong-shape",
                argument=name,
                found=found,
                expected=expected,
            )
    if cameras is not None and cameras.batch_shape:
        raise InputError(
            f"cameras: found batch dimensions {tuple(cameras.batch_shape)}, expected none. Pass the cameras of one "
            f"frame.",
            code="wrong-shape",
            argument="cameras",
        )
    if cameras is not None and len(cameras) != num_views:
        raise InputError(
            f"cameras: found {len(cameras)} ({', '.join(cameras.names)}), expected {num_views}, one per image.",
            code="wrong-count",
            argument="cameras",
            found=len(cameras),
            expected=num_views,
        )
    for view, image in enumerate(images):
        if image is not None and (image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size):
            raise InputError(
                f"images[{view}]: found {image.dtype} of shape {image.shape}, expected uint8 of shape (h, w, 3).",
                code="wrong-array",
                argument="images",
                view=view,
            )
    return num_views, num_keypoints
