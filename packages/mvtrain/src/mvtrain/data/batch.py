"""Samples and batches of them, on the CPU and on a device."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

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
        cameras: Cameras (B, V, ...), or None where no sample is calibrated, or lens models differ between samples. The
            world's origin is moved to the cameras' centroid, so that float32 is enough wherever the cameras are.
        calibrated: (B,) False where the sample's session has no calibration; its cameras are placeholders.
        num_moved: Number of samples that were moved in 3D; of a part, those of the whole batch.
        mixed: Samples and cameras of each lens model where lens models differ between samples; else empty.
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
    mixed: tuple[tuple[Tensor, CameraGroup], ...] = ()

    def __len__(self) -> int:
        return len(self.index)

    def to(self, device: torch.device) -> Batch:
        """Copy the batch to a device; copies from pinned memory do not block."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """Copy the batch to page-locked memory (called by torch's data loader)."""
        return self._map(Tensor.pin_memory)

    @property
    def has_cameras(self) -> bool:
        """Return True if any sample is calibrated."""
        return self.cameras is not None or bool(self.mixed)

    def by_lens_model(self) -> tuple[tuple[Tensor | slice, Batch], ...]:
        """Split into parts within which the cameras can be stacked; return which samples each has, and the part."""
        if not self.mixed:
            return ((slice(None), self),)
        return tuple((rows, self._select(rows, cameras)) for rows, cameras in self.mixed)

    def _select(self, rows: Tensor, cameras: CameraGroup) -> Batch:
        tensors = map_tensors(self, lambda tensor: tensor[rows])
        return dataclasses.replace(self, cameras=cameras, mixed=(), **tensors)  # type: ignore[arg-type]

    def _map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        mixed = tuple((function(rows), _map_cameras(cameras, function)) for rows, cameras in self.mixed)
        cameras = None if self.cameras is None else _map_cameras(self.cameras, function)
        return dataclasses.replace(self, cameras=cameras, mixed=mixed, **map_tensors(self, function))  # type: ignore[arg-type]


def map_tensors(instance: Any, function: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    """Return the tensors among the fields of a dataclass, by name, each changed by a function."""
    fields = {field.name: getattr(instance, field.name) for field in dataclasses.fields(instance)}
    return {name: function(value) for name, value in fields.items() if isinstance(value, Tensor)}


def join_samples(parts: Sequence[tuple[Tensor | slice, Tensor]]) -> Tensor:
    """Put values of the parts of a batch, see `Batch.by_lens_model`, in the order of its samples."""
    if len(parts) == 1:
        return parts[0][1]
    order = torch.cat([rows for rows, _ in parts if isinstance(rows, Tensor)]).argsort()
    return torch.cat([values for _, values in parts])[order]


def _map_cameras(cameras: CameraGroup, function: Callable[[Tensor], Tensor]) -> CameraGroup:
    arrays = ("sizes", "matrix", "distortion", "rotation", "translation")
    return cameras.replace(**{name: function(getattr(cameras, name)) for name in arrays})


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples; everything is on the CPU, in float32."""
    present = np.stack([sample.view_present for sample in samples])
    points = np.stack([sample.points for sample in samples])
    mixed = _stack_cameras([sample.cameras for sample in samples])
    return Batch(
        index=torch.tensor([sample.index for sample in samples]),
        images=torch.from_numpy(_channels_first(np.stack([sample.images for sample in samples]))),
        points=torch.from_numpy(np.nan_to_num(points).astype(np.float32)),
        visibility=torch.from_numpy(np.stack([sample.visibility for sample in samples]).astype(np.int64)),
        view_mask=None if present.all() else torch.from_numpy(present),
        to_model=torch.from_numpy(np.stack([sample.to_model for sample in samples]).astype(np.float32)),
        model_to_crop=torch.from_numpy(np.stack([sample.model_to_crop for sample in samples]).astype(np.float32)),
        cameras=mixed[0][1] if len(mixed) == 1 else None,
        calibrated=torch.tensor([sample.cameras is not None for sample in samples]),
        num_moved=sum(sample.moved for sample in samples),
        mixed=mixed if len(mixed) > 1 else (),
    )


def _channels_first(images: np.ndarray) -> np.ndarray:
    """Return (B, V, H, W, 3) as (B, V, 3, H, W); OpenCV splits channels ten times faster than a transposed copy."""
    height, width = images.shape[2:4]
    planes = np.empty((*images.shape[:2], 3, height, width), dtype=np.uint8)
    for image, parts in zip(images.reshape(-1, height, width, 3), planes.reshape(-1, 3, height, width), strict=True):
        cv2.split(image, list(parts))
    return planes


def _stack_cameras(groups: Sequence[CameraGroup | None]) -> tuple[tuple[Tensor, CameraGroup], ...]:
    """Return samples and cameras of each lens model; those without cameras get placeholders of the first."""
    known = [group for group in groups if group is not None]
    if not known:
        return ()
    filled = [group or known[0] for group in groups]
    stacked = []
    for model in dict.fromkeys(group.fisheye for group in filled):
        rows = [row for row, group in enumerate(filled) if group.fisheye == model]
        cameras = CameraGroup.stack([_center_world(filled[row]) for row in rows])
        stacked.append((torch.tensor(rows), cameras.to(like=torch.zeros(0, dtype=torch.float32))))
    return tuple(stacked)


def _center_world(cameras: CameraGroup) -> CameraGroup:
    centroid = cameras.centers.mean(-2)
    return cameras.replace(translation=cameras.translation + cameras.rotation @ centroid)
