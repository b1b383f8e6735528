"""Residual of the 2D map that stands for the move of 3D augmentation, on a labeled project.

    uv run python benchmarks/move_residual.py [PROJECT/config.yaml] [--draws 10]

For every frame and draw the subject moves in 3D; each view then gets one 2D map. Printed is the distance in
full-image px between what the map makes of a point and where the moved point projects, median, 95th percentile and root
mean square:

- `projections`: of the projected triangulated points, the error of the map alone;
- `labels`: of the 2D labels, which adds how far labels lie from their own triangulation.

Beside our affine (over every triangulated point) stand our similarity and the usual practice: OpenCV's RANSAC
similarity from a view's labels to the projections of the moved points.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import cv2
import numpy as np

from mvaug.fit import fit_affine, fit_similarity
from mvaug.move import MoveOutcome, MoveRanges, draw_move, move_subject
from mvgeom import affine, project, triangulate
from mvtrain.config import load_config
from mvtrain.project.project import full_to_model, read_project

DEFAULT = Path(__file__).parents[2] / "shared" / "data" / "human4" / "config.yaml"
SIZE = (256, 256)


def ransac_from_labels(labels: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(V, 2, 3) OpenCV RANSAC similarities from labels to moved projections; NaN where it finds none."""
    matrices = np.full((len(labels), 2, 3), np.nan)
    for view, (p, q) in enumerate(zip(labels, target, strict=True)):
        both = np.isfinite(p).all(-1) & np.isfinite(q).all(-1)
        if both.sum() >= 2:
            matrix, _ = cv2.estimateAffinePartial2D(p[both], q[both])
            matrices[view] = np.nan if matrix is None else matrix
    return matrices


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", type=Path, default=DEFAULT)
    parser.add_argument("--draws", type=int, default=10, help="moves per frame")
    arguments = parser.parse_args()

    frames = read_project(load_config(arguments.config))
    generator = np.random.default_rng(0)
    errors: dict[str, tuple[list[np.ndarray], list[np.ndarray]]] = {}
    outcomes: Counter[MoveOutcome] = Counter()
    relative: list[np.ndarray] = []
    inside_before, inside_after = [], []
    for row, cameras in enumerate(frames.cameras):
        if cameras is None:
            continue
        labels = np.where((frames.visibility[row] == 2)[..., None], frames.points_full[row], np.nan)
        points_3d = triangulate(labels, cameras)
        if np.isfinite(points_3d).all(-1).sum() < 3:
            continue
        source = project(points_3d, cameras)
        to_model = full_to_model(frames, row, SIZE)
        inside_before.append(in_input(labels, to_model))
        for _ in range(arguments.draws):
            subject = move_subject(points_3d, cameras, MoveRanges(), generator)
            outcomes[subject.outcome] += 1
            inside_after.append(in_input(affine.apply(subject.full_to_moved, labels), to_model))
            target = project(draw_move(points_3d, MoveRanges(), generator).apply(points_3d), cameras)
            both = np.isfinite(source).all(-1) & np.isfinite(target).all(-1)
            maps = {
                "affine over all 3D points (ours)": fit_affine(source, target, both),
                "similarity over all 3D points": fit_similarity(source, target, both),
                "RANSAC similarity from labels": ransac_from_labels(labels, target),
            }
            for name, matrices in maps.items():
                of_projections, of_labels = errors.setdefault(name, ([], []))
                of_projections.append(np.linalg.norm(affine.apply(matrices, source) - target, axis=-1))
                of_labels.append(np.linalg.norm(affine.apply(matrices, labels) - target, axis=-1))
            centered = np.where(both[..., None], target, np.nan)
            size = np.sqrt(np.nanmean(((centered - np.nanmean(centered, 1, keepdims=True)) ** 2).sum(-1), axis=-1))
            relative.append(np.sqrt(np.nanmean(errors["affine over all 3D points (ours)"][0][-1] ** 2, axis=-1)) / size)

    print(
        f"{len(frames)} frames, {arguments.draws} draws each, all taken as they are; full-image px: median / 95 % / rms"
    )
    for name, (of_projections, of_labels) in errors.items():
        print(f"  {name:34s} projections {percentiles(of_projections)}   labels {percentiles(of_labels)}")
    shares = np.percentile(relative, [50, 95, 99, 100])
    print("residual (rms) beside the subject's size (rms) in the view, 50 / 95 / 99 / 100 %:", shares.round(4))
    print("outcomes:", {str(outcome): count for outcome, count in outcomes.items()})
    print(
        f"labels inside a {SIZE[0]} x {SIZE[1]} input: {np.mean(inside_before):.3f} before, "
        f"{np.mean(inside_after):.3f} after the move"
    )


def in_input(points: np.ndarray, to_model: np.ndarray) -> float:
    """Share of the labels that fall into the network's input."""
    model = affine.apply(to_model, points)
    labeled = np.isfinite(points).all(-1)
    return float(((model >= -0.5) & (model <= np.array(SIZE) - 0.5)).all(-1)[labeled].mean())


def percentiles(errors: list[np.ndarray]) -> str:
    distances = np.stack(errors)
    root_mean_square = np.sqrt(np.nanmean(distances**2))
    return "{:6.2f} / {:6.2f} / {:6.2f}".format(*np.nanpercentile(distances, [50, 95]), root_mean_square)


if __name__ == "__main__":
    main()
