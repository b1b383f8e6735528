"""Samples and batches of them, on the CPU and on a device."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from mvgeom import CameraGroup


@dataclass(frozen=True, kw_only=True)
class Sample:
    """All views of one frame, ready for the network.

    Attributes:
        index: Row of the project.
        images: (V, H, W, 3) uint8 RGB in model px.
        points: (V, K, 2) labels in model px, NaN where missing.
        visibility: (V, K) 0 excluded, 1 occluded, 2 visible; always 0 where the label lies outside the image.
        view_present: (V,) False where the view has no image.
        to_model: (V, 2, 3) maps from full-image px to model px.
        model_to_crop: (V, 2, 2) linear parts of the maps from model px to crop px, those of the stored image.
        cameras: Cameras of the session, or None where it has no calibration.
        moved: True if the subject was moved in 3D.
    """

    index: int
    images: np.ndarray
    points: np.ndarray
    visibility: np.ndarray
    view_present: np.ndarray
    to_model: np.ndarray
    model_to_crop: np.ndarray
    cameras: CameraGroup | None
    moved: bool


@dataclass(frozen=True, kw_only=True)
class Batch:
    """B samples of V views and K keypoints.

    Attributes:
        index: (B,) rows of the project.
        images: (B, V, 3, H, W) uint8 RGB.
        points: (B, V, K, 2) labels in model px, 0 where missing.
        visibility: (B, V, K) 0 excluded, 1 occluded, 2 visible.
        view_mask: (B, V) False where a view has no image; None where all have one.
        to_model: (B, V, 2, 3) maps from full-image px to model px.
        model_to_crop: (B, V, 2, 2) linear parts of the maps from model px to crop px, those of the stored image.
        cameras: Cameras (B, V, ...), or None where no sample is calibrated. The world's origin is moved to the cameras'
            centroid, so that float32 is enough wherever the cameras are.
        calibrated: (B,) False where the sample's session has no calibration; its cameras are placeholders.
        num_moved: Number of samples that were moved in 3D.
    """

    index: Tensor
    images: Tensor
    points: Tensor
    visibility: Tensor
    view_mask: Tensor | None
    to_model: Tensor
    model_to_crop: Tensor
    cameras: CameraGroup | None
    calibrated: Tensor
    num_moved: int

    def __len__(self) -> int:
        return len(self.index)

    def to(self, device: torch.device) -> Batch:
        """Copy the batch to a device; copies from pinned memory do not block."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """Copy the batch to page-locked memory (called by torch's data loader)."""
        return self._map(Tensor.pin_memory)

    def _map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        tensors = {
            field.name: function(value)
            for field in dataclasses.fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        cameras = self.cameras
        if cameras is not None:
            arrays = ("sizes", "matrix", "distortion", "rotation", "translation")
            cameras = cameras.replace(**{name: function(getattr(cameras, name)) for name in arrays})
        return dataclasses.replace(self, cameras=cameras, **tensors)  # type: ignore[arg-type]


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples; everything is on the CPU, in float32."""
    present = np.stack([sample.view_present for sample in samples])
    points = np.stack([sample.points for sample in samples])
    return Batch(
        index=torch.tensor([sample.index for sample in samples]),
        images=torch.from_numpy(_channels_first(np.stack([sample.images for sample in samples]))),
        points=torch.from_numpy(np.nan_to_num(points).astype(np.float32)),
        visibility=torch.from_numpy(np.stack([sample.visibility for sample in samples]).astype(np.int64)),
        view_mask=None if present.all() else torch.from_numpy(present),
        to_model=torch.from_numpy(np.stack([sample.to_model for sample in samples]).astype(np.float32)),
        model_to_crop=torch.from_numpy(np.stack([sample.model_to_crop for sample in samples]).astype(np.float32)),
        cameras=_stack_cameras([sample.cameras for sample in samples]),
        calibrated=torch.tensor([sample.cameras is not None for sample in samples]),
        num_moved=sum(sample.moved for sample in samples),
    )


def _channels_first(images: np.ndarray) -> np.ndarray:
    """Return (B, V, H, W, 3) as (B, V, 3, H, W); OpenCV splits channels ten times faster than a transposed copy."""
    height, width = images.shape[2:4]
    planes = np.empty((*images.shape[:2], 3, height, width), dtype=np.uint8)
    for image, parts in zip(images.reshape(-1, height, width, 3), planes.reshape(-1, 3, height, width), strict=True):
        cv2.split(image, list(parts))
    return planes


def _stack_cameras(groups: Sequence[CameraGroup | None]) -> CameraGroup | None:
    known = [group for group in groups if group is not None]
    if not known:
        return None
    centered = [_center_world(group or known[0]) for group in groups]
    return CameraGroup.stack(centered).to(like=torch.zeros(0, dtype=torch.float32))


def _center_world(cameras: CameraGroup) -> CameraGroup:
    centroid = cameras.centers.mean(-2)
    return cameras.replace(translation=cameras.translation + cameras.rotation @ centroid)
