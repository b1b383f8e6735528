"""The predictor: a trained network on a device, which predicts arrays of images."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from mvgeom import CameraGroup
from mvgeom.errors import InputError
from mvgeom.short_repr import short_repr
from mvtrain.data.batch import Batch, collate
from mvtrain.model.checkpoint import ModelSpec
from mvtrain.model.error_bars import ErrorBars
from mvtrain.model.inference import Network, predict_frames
from mvtrain.model.likelihood import ConfidenceMap, calibrated
from mvtrain.model.reconstruction import estimate_noise, observations, own_observations, to_3d
from mvtrain.model.run_folder import Run, load_run
from mvtrain.predict.video_batches import to_sample, view_image
from mvtrain.project.calibrations import fits_calibration, turned_hint


@dataclass(frozen=True, kw_only=True, eq=False)
class Keypoints:
    """Keypoints of N frames in V views.

    Attributes:
        points: (N, V, K, 2) keypoints in px of the images given; NaN where a view is absent.
        confidence: (N, V, K) confidence in [0, 1], calibrated if the run has a calibration of it; NaN where a view is
            absent.
        evidence: (N, V, K, 3) x, y in px and inverse variance in 1/px^2 of what each view shows by itself, from which
            the world points come; NaN where a view is absent. None where views are not fused.
        covariance: (N, V, K, 2, 2) covariance in px^2, x before y, of what each view shows by itself, as the network
            states it; NaN where a view is absent. None for a network without `model.covariance_head`.
        points_3d: (N, K, 3) world points in the cameras' unit, NaN where no two views agree; None without cameras.
        std: (N, K, 3) standard deviations of `points_3d` along the world's axes; None without cameras.
        reprojection_error: (N, K) mean distances in px between what each view shows and the projections, over the views
            used; None without cameras.
        num_views: (N, K) numbers of views used; None without cameras.
        view_names: V names of the views.
        keypoint_names: K names of the keypoints.
    """

    points: np.ndarray
    confidence: np.ndarray
    evidence: np.ndarray | None
    covariance: np.ndarray | None
    points_3d: np.ndarray | None
    std: np.ndarray | None
    reprojection_error: np.ndarray | None
    num_views: np.ndarray | None
    view_names: tuple[str, ...]
    keypoint_names: tuple[str, ...]

    __repr__ = short_repr


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictor:
    """A network with everything that its predictions depend on.

    Attributes:
        network: Network on its device.
        spec: Description of the network.
        device: Device of the network.
        checksum: Checksum of the network's weights.
        batch_size: Frames per batch.
        confidence_map: Map from the network's confidence to the likelihood that is returned; None returns the
            confidence. Tracking uses the network's own confidence.
        run_folder: Folder of the run; None for a network without one.
        error_bars: Error bars in 3D that were fitted to labels; None takes what left-out views show.
    """

    network: Network
    spec: ModelSpec
    device: torch.device
    checksum: str
    batch_size: int
    confidence_map: ConfidenceMap | None = None
    run_folder: Path | None = None
    error_bars: ErrorBars | None = None

    __repr__ = short_repr

    @classmethod
    def from_run(cls, run: Run, device: torch.device, batch_size: int | None = None) -> Predictor:
        """Move the network of a run to a device.

        Args:
            run: Trained run.
            device: Device of the network.
            batch_size: Frames per batch; None takes `training.test_batch_size` of the run's config.
        """
        return cls(
            network=run.network(device),
            spec=run.spec,
            device=device,
            checksum=run.checksum,
            batch_size=batch_size or run.config.training.test_batch_size,
            confidence_map=run.confidence_map,
            run_folder=run.folder,
            error_bars=run.error_bars,
        )

    def predict(
        self,
        images: Sequence[np.ndarray | None],
        cameras: CameraGroup | None = None,
        boxes: np.ndarray | None = None,
    ) -> Keypoints:
        """Predict the keypoints in images of all views.

        Args:
            images: For each view, in the order of `spec.view_names`, one image (H, W, 3) or N images (N, H, W, 3),
                uint8 RGB; sizes may differ from view to view. Arrays, tensors on the CPU, or lists of arrays; None for
                a view that is absent.
            cameras: Cameras of the images, matched by the views' names, in any order; None predicts no 3D.
            boxes: (V, 4) or (N, V, 4) x, y, width, height in px of the images: the crops that the network gets, with
                the subject as in the training images; NaN where a view shows no subject. None takes whole images.

        Returns:
            The keypoints, with N = 1 for single images.

        Raises:
            InputError: The images, cameras or boxes do not fit the views or each other, or there are no cameras though
                the network's attention is limited to epipolar lines.
        """
        if cameras is None:
            self.spec.check_needs_no_cameras("these images")
        stacks = _check_images(images, self.spec.view_names)
        num_frames = next(len(stack) for stack in stacks if stack is not None)
        windows = _check_boxes(stacks, boxes, num_frames)
        rig = None if cameras is None else _select_cameras(cameras, self.spec.view_names)
        predictions = predict_frames(
            self.network,
            self._batches(stacks, windows, None if rig is None else self.spec.cameras_needed(rig)),
            self.device,
        )
        reconstruction = None
        if rig is not None:
            _warn_of_sizes(stacks, rig)
            observed = observations(predictions, self.confidence_map)
            noise = estimate_noise(observed, rig, own_observations(predictions), self.error_bars)
            reconstruction = to_3d(observed, rig, noise)
        return Keypoints(
            points=predictions.points,
            confidence=calibrated(predictions.confidence, self.confidence_map),
            evidence=None if predictions.before_fusion is None else predictions.before_fusion.evidence,
            covariance=predictions.own_covariance,
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
                # The same code as for videos, whose images are BGR.
                images = [None if stack is None else cv2.cvtColor(stack[row], cv2.COLOR_RGB2BGR) for stack in stacks]
                views = [view_image(*view, self.spec.image_size) for view in zip(images, windows[row], strict=True)]
                samples.append(to_sample(row, views, len(self.spec.keypoint_names), rig))
            yield collate(samples)


def load_predictor(
    run: str | Path,
    *,
    checkpoint: str = "best",
    device: str | torch.device | None = None,
    allow_plugins: bool = False,
) -> Predictor:
    """Load a trained network, ready to predict arrays.

    Args:
        run: Run folder that `mvtrain fit` wrote.
        checkpoint: `best` or `last`.
        device: Device, such as "cuda:1"; None takes a GPU if there is one.
        allow_plugins: Run the plugins that the run names, whoever wrote them.

    Raises:
        InputError: The folder is not a run folder or has no such checkpoint, or no device has this name.
    """
    return Predictor.from_run(load_run(Path(run), checkpoint, allow_plugins=allow_plugins), choose_device(device))


def choose_device(device: str | torch.device | None) -> torch.device:
    """Return the device of this name; None takes a GPU if there is one.

    Raises:
        InputError: No device has this name (`unknown-choice`), or it is not on this computer (`no-device`).
    """
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise InputError(
            f"device: unknown name, found {device!r}, expected cpu, cuda, cuda:1 or mps",
            code="unknown-choice",
            argument="device",
            found=device,
        ) from error
    try:
        torch.empty(0, device=found)
        is_present = found.type != "meta"
    # Torch raises about anything over devices that are not there.
    except (RuntimeError, AssertionError, ImportError, AttributeError, ValueError) as error:
        raise _absent(device, error) from error
    if not is_present:
        raise _absent(device, "it holds no numbers")
    return found


def _absent(device: object, reason: object) -> InputError:
    line = next(iter(str(reason).splitlines()), "")
    return InputError(
        f"device: not on this computer, found {str(device)!r}, expected cpu, cuda, cuda:1 or mps: {line}",
        code="no-device",
        argument="device",
        found=str(device),
    )


def _check_images(images: Sequence[np.ndarray | None], view_names: Sequence[str]) -> tuple[np.ndarray | None, ...]:
    """Return the images as (N, H, W, 3) per view, None for an absent view."""
    if len(images) != len(view_names):
        raise InputError(
            f"images: wrong number of views, found {len(images)}, expected {len(view_names)}: {', '.join(view_names)}. "
            "Give None for a view that is absent",
            code="wrong-count",
            argument="images",
            found=len(images),
            expected=len(view_names),
        )
    stacks: list[np.ndarray | None] = []
    for image, name in zip(images, view_names, strict=True):
        if image is None:
            stacks.append(None)
            continue
        where = f"images: those of view {name}"
        image = _as_array(image, where, name)
        if image.dtype != np.uint8:
            text = f"{where} must be uint8, found {image.dtype}"
            raise InputError(text, code="wrong-dtype", argument="images", view=name, found=str(image.dtype))
        if image.ndim not in (3, 4) or image.shape[-1] != 3 or 0 in image.shape[-3:]:
            text = f"{where} must be RGB images (H, W, 3) or (N, H, W, 3), found shape {image.shape}"
            raise InputError(text, code="wrong-shape", argument="images", view=name, found=image.shape)
        stacks.append(image[None] if image.ndim == 3 else image)
    lengths = {name: len(stack) for name, stack in zip(view_names, stacks, strict=True) if stack is not None}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        found = ", ".join(f"{name} {length}" for name, length in lengths.items()) or "none"
        raise InputError(
            f"images: the numbers of images per view differ or are 0, found {found}, expected the same number for all "
            "views, at least one",
            code="wrong-count",
            argument="images",
            found=lengths,
        )
    return tuple(stacks)


def _as_array(image: object, where: str, view: str) -> np.ndarray:
    """Return the images of a view, also those of a tensor or a list of arrays, as one array."""
    try:
        return np.asarray(image)
    except (TypeError, ValueError, RuntimeError) as error:  # a tensor on a GPU, or images of several sizes
        reason = next(iter(str(error).splitlines()), "")
        text = f"{where} must be an array, a tensor on the CPU or a list of images of one size: {reason}"
        raise InputError(text, code="wrong-shape", argument="images", view=view) from error


def _check_boxes(stacks: Sequence[np.ndarray | None], boxes: np.ndarray | None, num_frames: int) -> np.ndarray:
    """Return the boxes as (N, V, 4); whole images where no boxes were given."""
    num_views = len(stacks)
    if boxes is None:
        whole = [[0.0, 0.0, *(stack.shape[2:0:-1] if stack is not None else (1, 1))] for stack in stacks]
        return np.broadcast_to(np.array(whole, dtype=np.float64), (num_frames, num_views, 4))
    boxes = np.asarray(boxes, dtype=np.float64)
    if boxes.shape not in ((num_views, 4), (num_frames, num_views, 4)):
        raise InputError(
            f"boxes: wrong shape, found {boxes.shape}, expected ({num_views}, 4) or ({num_frames}, {num_views}, 4): x, "
            "y, width, height for each view",
            code="wrong-shape",
            argument="boxes",
            found=boxes.shape,
        )
    return np.broadcast_to(boxes, (num_frames, num_views, 4))


def _warn_of_sizes(stacks: Sequence[np.ndarray | None], cameras: CameraGroup) -> None:
    """Warn of images of another size than their camera's, such as crops."""
    for stack, name, full in zip(stacks, cameras.names, np.asarray(cameras.sizes), strict=True):
        size = None if stack is None else np.array(stack.shape[2:0:-1])
        if size is None or not (full > 0).all() or fits_calibration(size, full):
            continue
        found, expected = ("x".join(f"{length:g}" for length in each) for each in (size, full))
        warnings.warn(
            f"images: those of view {name} have another size than its camera, found {found} px, expected {expected} px."
            " 3D will be wrong if they were resized or cropped; boxes are for crops of whole images"
            f"{turned_hint(size, full)}",
            stacklevel=3,
        )


def _select_cameras(cameras: CameraGroup, view_names: Sequence[str]) -> CameraGroup:
    if not isinstance(cameras, CameraGroup):
        raise InputError(
            f"cameras: found a {type(cameras).__name__}, expected a CameraGroup. Give mvgeom.CameraGroup.load(FILE)",
            code="wrong-type",
            argument="cameras",
            found=type(cameras).__name__,
        )
    missing = [name for name in view_names if name not in cameras.names]
    if missing:
        raise InputError(
            f"cameras: no camera named {', '.join(missing)}, found {', '.join(cameras.names)}, expected the network's "
            f"views {', '.join(view_names)}",
            code="missing-view",
            argument="cameras",
            view=missing[0],
            found=cameras.names,
        )
    if len(view_names) < 2:
        raise InputError(
            f"cameras: 3D needs at least two views, found only {view_names[0]} in the network. Leave the cameras out",
            code="too-few-views",
            argument="cameras",
            found=len(view_names),
        )
    return cameras.select(view_names)
