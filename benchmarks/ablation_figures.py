"""Figures of one run of the ablation: errors of its best checkpoint, before and after the fusion of views."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from mvaug import Augmentation
from mvgeom import affine, reprojection_error, triangulate, triangulate_robust
from mvgeom import project as project_points
from mvtrain.config import Config
from mvtrain.data.batch import Batch
from mvtrain.data.dataset import EpochSampler, FrameDataset, ImageCache, make_loader
from mvtrain.metrics import occluded_points
from mvtrain.model.checkpoint import load_checkpoint
from mvtrain.model.inference import FramePredictions, Network, predict_frames
from mvtrain.project.labels_3d import read_truth, triangulate_labels
from mvtrain.project.project import Project, read_project
from mvtrain.project.splits import split_frames

EACH_VIEW, FUSED = "", "fused "
"""First words of the names of figures before and after the fusion of views."""


def measure(run_dir: Path, config: Config, truth_dir: Path, *, threshold: float, unit: float) -> dict[str, float]:
    """Measure errors of a run's best checkpoint on the test frames, against the generator's truth or against labels.

    Args:
        run_dir: Run folder.
        config: Config of the run.
        truth_dir: Folder of the generated project that knows all positions.
        threshold: Error in px of the camera's image beyond which the robust triangulation takes a view for an outlier.
        unit: Length of the calibration's unit in mm.
    """
    project = read_project(config)
    rows = split_frames(project, config).test
    truth, world, visible, hidden = known_places(config, project, rows, truth_dir)

    model, spec = load_checkpoint(run_dir / "checkpoints" / "best")
    device = torch.device("cpu")
    network = replace(Network.from_model(model, spec, device), fuses_views=True)
    dataset = FrameDataset(
        project,
        size=spec.image_size,
        augmentation=Augmentation.none(),
        seed=0,
        cache=ImageCache.from_project(project, max_bytes=1e9),
    )
    loader = make_loader(dataset, EpochSampler(rows, batch_size=32, seed=None), num_workers=0, pin_memory=False)
    predictions = predict_frames(network, loader, device)
    blank = rows % len(project.view_names)
    without_view = predict_frames(network, blank_views(loader, blank, spec.mean), device)
    frame, few = np.arange(len(rows)), visible.sum(1) < 2
    figures = {"share hidden": float(hidden.sum() / (hidden | visible).sum())}
    for kind, of_all, of_blank in (
        (EACH_VIEW, before_fusion(predictions), before_fusion(without_view)),
        (FUSED, predictions, without_view),
    ):
        error = np.linalg.norm(of_all.points - truth, axis=-1)
        error_blank = np.linalg.norm(of_blank.points - truth, axis=-1)
        error_3d, reprojection = errors_3d(of_all, project, world, threshold)
        figures |= {
            f"{kind}visible": float(error[visible].mean()),
            f"{kind}hidden": float(error[hidden].mean()),
            f"{kind}blank view": float(error_blank[frame, blank][visible[frame, blank]].mean()),
            f"{kind}3D": unit * float(np.nanmean(error_3d)),
            f"{kind}3D median": unit * float(np.nanmedian(error_3d)),
            f"{kind}3D seen by one": unit * float(error_3d[few].mean()) if few.any() else np.nan,
            f"{kind}reprojection": float(np.nanmedian(reprojection)),
        }
    return figures


def before_fusion(predictions: FramePredictions) -> FramePredictions:
    """The same predictions from each view's heatmaps as the network made them."""
    return FramePredictions(
        index=predictions.index, points=predictions.own_points, confidence=predictions.own_confidence
    )


def known_places(
    config: Config, project: Project, rows: np.ndarray, truth_dir: Path
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return full-image px (N, V, K, 2) and world points (N, K, 3) of some rows; where visible, where hidden."""
    labels_3d = triangulate_labels(project)
    if config.data.split == "session":
        with_truth = read_project(replace(config, data=replace(config.data, data_dir=truth_dir.resolve())))
        world = read_truth(with_truth)
        assert world is not None
        truth = np.stack([project_points(world[row], project.cameras[row]) for row in rows])
        return truth, world[rows], with_truth.visibility[rows] == 2, with_truth.visibility[rows] == 1
    visible = project.visibility == 2
    occluded = affine.apply(project.crop_to_full, occluded_points(project, labels_3d, None))
    places = np.where(visible[..., None], project.points_full, occluded)
    return places[rows], labels_3d[rows], visible[rows], np.isfinite(occluded).all(-1)[rows]


def blank_views(batches: Iterable[Batch], views: np.ndarray, mean: tuple[float, ...]) -> Iterator[Batch]:
    """The same batches with one view of each frame replaced by the mean color, which is 0 for the network.

    Args:
        batches: Batches of all frames, in their order.
        views: (N,) number of the view of each frame.
        mean: Mean of each channel, in [0, 1].
    """
    color = torch.tensor(mean).mul(255).round().to(torch.uint8)[:, None, None]
    first = 0
    for batch in batches:
        images = batch.images.clone()
        images[torch.arange(len(batch)), torch.from_numpy(views[first : first + len(batch)])] = color
        first += len(batch)
        yield replace(batch, images=images)


def errors_3d(
    predictions: FramePredictions, project: Project, world: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """(N, K) distance from the truth of robustly triangulated predictions, and (N, V, K) their reprojection error.

    Where no two views agree the robust triangulation gives nothing; all views then make the point, so that every row is
    judged on all keypoints and none gains by giving up.
    """
    errors, reprojections = [], []
    for number, row in enumerate(predictions.index):
        cameras = project.cameras[row]
        assert cameras is not None
        points, weights = predictions.points[number], predictions.confidence[number]
        robust = triangulate_robust(points, cameras, weights, threshold=threshold).points
        found = np.where(np.isfinite(robust), robust, triangulate(points, cameras, weights))
        errors.append(np.linalg.norm(found - world[number], axis=-1))
        reprojections.append(reprojection_error(found, points, cameras))
    return np.stack(errors), np.stack(reprojections)
