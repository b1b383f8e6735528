"""One sample in, one augmented sample out: move the subject, warp each view once, change its pixels."""

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

_HORIZONTAL_FLIP = Transform(name="Fliplr", p=0.5, parameters=(("p", Values(kind="constant", values=(1.0,))),))


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What `training.imgaug`, `training.imgaug_3d` and `training.imgaug_hflip` mean; hashable and picklable.

    Attributes:
        pipeline: 2D augmentation of each view.
        move: ranges of the 3D move, or None for none.
        mirrored_order: for every keypoint the one that takes its place in a mirror image; empty when nothing flips.
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
        """Read a config's augmentation.

        2D and 3D augmentation go together: `imgaug: dlc` with `imgaug_3d: true` rotates and crops each view as well,
        because `to_model` undoes that exactly before anything is triangulated. `dlc-mv` is `dlc` without its geometric
        part, which is what other systems use beside a 3D augmentation.

        Args:
            imgaug: a preset's name, a mapping of transforms, or None; see `mvaug.presets.parse_imgaug`.
            imgaug_3d: true, false, or a mapping of ranges; see `mvaug.move.MoveRanges`.
            keypoint_names: K names; needed where a flip has to tell left from right.
            hflip: flip all views of half of the samples left to right.

        Raises:
            ValueError: for anything that is not understood, and for a flip whose left and right cannot be told.
        """
        pipeline = parse_imgaug(imgaug)
        if hflip:
            pipeline = replace(pipeline, geometric=(_HORIZONTAL_FLIP, *pipeline.geometric))
        if pipeline.mirrors and not keypoint_names:
            raise ValueError("flipping swaps left and right keypoints, so it needs the keypoint names; none were given")
        return cls(
            pipeline=pipeline,
            move=MoveRanges.from_config(imgaug_3d),
            mirrored_order=mirrored_order(keypoint_names) if pipeline.mirrors else (),
        )

    @classmethod
    def none(cls) -> Self:
        """No augmentation: crop and resize only, for validation and prediction."""
        return cls()


@dataclass(frozen=True, kw_only=True, eq=False)
class AugmentedSample:
    """V views of one moment, ready for the network.

    Attributes:
        images: (V, H, W, 3) uint8 RGB in model px; black where a view is absent or the frame ends.
        to_model: (V, 2, 3) float64 from px of the moved frame to model px: crop, resize and 2D augmentation, but not
            the 3D move. Its inverse carries predictions to where the cameras see the moved subject.
        points: (V, K, 2) float64 labels in model px, NaN missing; they may lie outside the image.
        points_3d: (K, 3) float64 moved labels in the world, NaN missing.
        frame_to_moved: (V, 2, 3) float64 the affine that stands for the 3D move in each view, frame px to frame px.
        fit_residual: (V,) float64 root mean square misfit of that affine in frame px; 0 when unmoved.
        outcome: whether the subject moved and if not, why; count these to know what 3D augmentation does.
        keypoint_order: (K,) int; row k of the labels was row `keypoint_order[k]`. Anything else per keypoint that the
            caller holds (visibility) has to be indexed with it too. 0..K-1 unless the sample was mirrored.
    """

    images: np.ndarray
    to_model: np.ndarray
    points: np.ndarray
    points_3d: np.ndarray
    frame_to_moved: np.ndarray
    fit_residual: np.ndarray
    outcome: MoveOutcome
    keypoint_order: np.ndarray

    @property
    def moved(self) -> bool:
        """Whether the subject was moved in 3D."""
        return self.outcome is MoveOutcome.MOVED


def augment_sample(
    images: Sequence[np.ndarray | None],
    *,
    file_to_frame: np.ndarray,
    frame_to_model: np.ndarray,
    points: np.ndarray,
    points_3d: np.ndarray,
    cameras: CameraGroup | None,
    size: tuple[int, int],
    augmentation: Augmentation,
    generator: np.random.Generator,
) -> AugmentedSample:
    """Augment all views of one moment consistently.

    Args:
        images: V stored images (h_v, w_v, 3) uint8 RGB of any size, or None for a view that is absent.
        file_to_frame: (V, 2, 3) stored px to frame px: where the stored crop lies in the camera's frame.
        frame_to_model: (V, 2, 3) frame px to model px without augmentation: the network's crop and resize.
        points: (V, K, 2) labels in frame px, NaN missing.
        points_3d: (K, 3) labels in the world, NaN missing.
        cameras: V cameras of the frames, in the order of the views; None: no 3D move.
        size: width and height of the network's input in px.
        augmentation: what to do.
        generator: source of all randomness: the same state gives the same bytes.

    Raises:
        ValueError: when the number of views or keypoints disagrees, or an image is not (h, w, 3) uint8.
    """
    points, points_3d = np.asarray(points, dtype=np.float64), np.asarray(points_3d, dtype=np.float64)
    frame_to_model = np.asarray(frame_to_model, dtype=np.float64)
    num_views, num_keypoints = _checked_sizes(images, file_to_frame, frame_to_model, points, points_3d, cameras)

    subject = _moved_subject(points_3d, cameras, num_views, augmentation.move, generator)
    model_maps, mirrored = draw_model_maps(augmentation.pipeline.geometric, frame_to_model, size, generator)
    to_model = affine.compose(model_maps, frame_to_model)
    image_maps = affine.compose(to_model, subject.frame_to_moved)
    file_to_model = affine.compose(image_maps, np.asarray(file_to_frame, dtype=np.float64))

    width, height = size
    output = np.zeros((num_views, height, width, 3), dtype=np.uint8)
    for view, image in enumerate(images):
        if image is not None:
            warped = warp_image(image, file_to_model[view], size)
            output[view] = apply_photometric(warped, augmentation.pipeline.photometric, generator)

    order = np.arange(num_keypoints)
    if mirrored:
        order = np.asarray(augmentation.mirrored_order)
        if len(order) != num_keypoints:
            raise ValueError(f"augmentation was made for {len(order)} keypoints, but the labels have {num_keypoints}")
    return AugmentedSample(
        images=output,
        to_model=to_model,
        points=affine.apply(image_maps, points)[:, order],
        points_3d=subject.points[order],
        frame_to_moved=subject.frame_to_moved,
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
    file_to_frame: np.ndarray,
    frame_to_model: np.ndarray,
    points: np.ndarray,
    points_3d: np.ndarray,
    cameras: CameraGroup | None,
) -> tuple[int, int]:
    num_views, num_keypoints = len(images), points_3d.shape[0]
    shapes = {
        "file_to_frame": (np.shape(file_to_frame), (num_views, 2, 3)),
        "frame_to_model": (np.shape(frame_to_model), (num_views, 2, 3)),
        "points": (points.shape, (num_views, num_keypoints, 2)),
        "points_3d": (points_3d.shape, (num_keypoints, 3)),
    }
    for name, (found, expected) in shapes.items():
        if found != expected:
            raise ValueError(f"{name} must have shape {expected} for {num_views} images, got {found}")
    if cameras is not None and (len(cameras) != num_views or cameras.batch_shape):
        raise ValueError(
            f"{num_views} images need as many cameras, unbatched; got {list(cameras.names)} with batch "
            f"dimensions {cameras.batch_shape}"
        )
    for view, image in enumerate(images):
        if image is not None and (image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size):
            raise ValueError(f"image of view {view} must be (h, w, 3) uint8, got {image.shape} {image.dtype}")
    return num_views, num_keypoints
