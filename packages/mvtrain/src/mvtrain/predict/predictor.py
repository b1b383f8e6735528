"""A trained network ready to predict: arrays here, videos in `session`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from mvgeom import CameraGroup
from mvtrain.data.batch import Batch, collate
from mvtrain.model.checkpoint import ModelSpec
from mvtrain.model.inference import Network, predict_frames
from mvtrain.model.likelihood import ConfidenceMap, calibrated, view_weights
from mvtrain.model.reconstruction import estimate_noise, to_3d
from mvtrain.model.run_folder import Run, load_run
from mvtrain.predict.video_batches import to_sample, view_image


@dataclass(frozen=True, kw_only=True, eq=False)
class Keypoints:
    """Keypoints of N moments in V views.

    Attributes:
        points: (N, V, K, 2) px of the images given, NaN where a view is absent.
        confidence: (N, V, K) in [0, 1], calibrated where the run has a calibration; NaN where a view is absent.
        points_3d: (N, K, 3) in the cameras' unit, NaN where no two views agree; None without cameras, as what follows.
        std: (N, K, 3) standard deviation of `points_3d` along the world's axes.
        reprojection_error: (N, K) mean distance in px between keypoints and projections, over the views used.
        num_views: (N, K) views used.
        view_names: V names.
        keypoint_names: K names.
    """

    points: np.ndarray
    confidence: np.ndarray
    points_3d: np.ndarray | None
    std: np.ndarray | None
    reprojection_error: np.ndarray | None
    num_views: np.ndarray | None
    view_names: tuple[str, ...]
    keypoint_names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictor:
    """A network with all that decides what it says about an image.

    Attributes:
        network: on its device.
        spec: of the network.
        device: where it is.
        checksum: of its weights.
        batch_size: moments per batch.
        confidence_map: what turns the network's confidence into the likelihoods that are given out, None: nothing.
            Tracking judges by the network's own.
    """

    network: Network
    spec: ModelSpec
    device: torch.device
    checksum: str
    batch_size: int
    confidence_map: ConfidenceMap | None = None

    @classmethod
    def from_run(cls, run: Run, device: torch.device, batch_size: int | None = None) -> Predictor:
        """The network of a run on a device; the batch size is that of the run's config unless given."""
        return cls(
            network=run.network(device),
            spec=run.spec,
            device=device,
            checksum=run.checksum,
            batch_size=batch_size or run.config.training.test_batch_size,
            confidence_map=run.confidence_map,
        )

    def predict(
        self,
        images: Sequence[np.ndarray | None],
        cameras: CameraGroup | None = None,
        boxes: np.ndarray | None = None,
    ) -> Keypoints:
        """Find the keypoints in images of all views.

        Args:
            images: for each view, in the order of `spec.view_names`, one image (H, W, 3) or N images (N, H, W, 3),
                uint8 RGB; sizes may differ from view to view. None for a view that is absent.
            cameras: that took the images; found by the views' names, in whatever order. None: no 3D.
            boxes: (V, 4) or (N, V, 4) x, y, width, height in px of the images: which part of them to look at, as the
                boxes of the training images; NaN where a view shows no subject. None: all of it.

        Returns:
            The keypoints, with N = 1 for single images.

        Raises:
            ValueError: images, cameras or boxes that do not fit the views or each other; no cameras for a network
                whose attention keeps to epipolar lines.
        """
        if cameras is None:
            self.spec.check_needs_no_cameras("these images")
        stacks = _checked_images(images, self.spec.view_names)
        num_frames = next(len(stack) for stack in stacks if stack is not None)
        windows = _windows(stacks, boxes, num_frames)
        rig = None if cameras is None else _rig(cameras, self.spec.view_names)
        found = predict_frames(
            self.network,
            self._batches(stacks, windows, None if rig is None else self.spec.cameras_needed(rig)),
            self.device,
        )
        reconstruction = None
        if rig is not None:
            weights = view_weights(found.confidence, self.confidence_map)
            noise = estimate_noise(found.points, weights, rig)
            reconstruction = to_3d(found.points, weights, rig, noise)
        return Keypoints(
            points=found.points,
            confidence=calibrated(found.confidence, self.confidence_map),
            points_3d=None if reconstruction is None else reconstruction.points,
            std=None if reconstruction is None else reconstruction.std,
            reprojection_error=None if reconstruction is None else reconstruction.error,
            num_views=None if reconstruction is None else reconstruction.num_views,
            view_names=self.spec.view_names,
            keypoint_names=self.spec.keypoint_names,
        )

    def _batches(
        self, stacks: Sequence[np.ndarray | None], windows: np.ndarray, rig: CameraGroup | None
    ) -> Iterator[Batch]:
        for start in range(0, len(windows), self.batch_size):
            samples = []
            for row in range(start, min(start + self.batch_size, len(windows))):
                # The same code as for videos, whose frames are BGR.
                frames = [None if stack is None else cv2.cvtColor(stack[row], cv2.COLOR_RGB2BGR) for stack in stacks]
                views = [view_image(*view, self.spec.image_size) for view in zip(frames, windows[row], strict=True)]
                samples.append(to_sample(row, views, len(self.spec.keypoint_names), rig))
            yield collate(samples)


def load_predictor(run: str | Path, *, checkpoint: str = "best", device: str | torch.device | None = None) -> Predictor:
    """A trained network, ready to predict arrays.

    Args:
        run: folder that `mvtrain fit` wrote.
        checkpoint: `best` or `last`.
        device: such as `cuda:1`; None: a GPU if there is one.

    Raises:
        ValueError: no run folder, or no such checkpoint in it.
    """
    return Predictor.from_run(load_run(Path(run), checkpoint), choose_device(device))


def choose_device(device: str | torch.device | None) -> torch.device:
    """The device of this name; None: a GPU if there is one.

    Raises:
        ValueError: no device has this name.
    """
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        return torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"no device is called {device!r}; give cpu, cuda, cuda:1 or mps") from error


def _checked_images(images: Sequence[np.ndarray | None], view_names: Sequence[str]) -> tuple[np.ndarray | None, ...]:
    """(N, H, W, 3) per view, None for an absent one."""
    if len(images) != len(view_names):
        raise ValueError(
            f"images of {len(images)} views were given, the network has {len(view_names)}: {', '.join(view_names)}; "
            "give None for a view that is absent"
        )
    stacks: list[np.ndarray | None] = []
    for image, name in zip(images, view_names, strict=True):
        if image is not None and (image.dtype != np.uint8 or image.ndim not in (3, 4) or image.shape[-1] != 3):
            raise ValueError(
                f"images of view {name} must be uint8 RGB of shape (H, W, 3) or (N, H, W, 3), got {image.dtype} "
                f"{image.shape}"
            )
        stacks.append(image[None] if image is not None and image.ndim == 3 else image)
    lengths = {name: len(stack) for name, stack in zip(view_names, stacks, strict=True) if stack is not None}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        found = ", ".join(f"{name} has {length}" for name, length in lengths.items()) or "none has any"
        raise ValueError(f"all views must have the same number of images, at least one: {found}")
    return tuple(stacks)


def _windows(stacks: Sequence[np.ndarray | None], boxes: np.ndarray | None, num_frames: int) -> np.ndarray:
    """(N, V, 4) boxes; whole images where none were given."""
    num_views = len(stacks)
    if boxes is None:
        whole = [[0.0, 0.0, *(stack.shape[2:0:-1] if stack is not None else (1, 1))] for stack in stacks]
        return np.broadcast_to(np.array(whole, dtype=np.float64), (num_frames, num_views, 4))
    boxes = np.asarray(boxes, dtype=np.float64)
    if boxes.shape not in ((num_views, 4), (num_frames, num_views, 4)):
        raise ValueError(
            f"boxes must have shape ({num_views}, 4) or ({num_frames}, {num_views}, 4): x, y, width, height for each "
            f"view; got {boxes.shape}"
        )
    return np.broadcast_to(boxes, (num_frames, num_views, 4))


def _rig(cameras: CameraGroup, view_names: Sequence[str]) -> CameraGroup:
    missing = [name for name in view_names if name not in cameras.names]
    if missing:
        raise ValueError(
            f"the cameras are {', '.join(cameras.names)}, the network's views {', '.join(view_names)}: no camera named "
            f"{', '.join(missing)}"
        )
    if len(view_names) < 2:
        raise ValueError(f"3D needs at least two views, the network has only {view_names[0]}")
    return cameras.select(view_names)
