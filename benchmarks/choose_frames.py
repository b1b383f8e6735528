"""Coverage of a film by chosen frames: `mvtrain frames` beside frames at equal distances in time and random ones.

    uv run python benchmarks/choose_frames.py [--weights vit_small_patch14_dinov2.safetensors]

Films are generated, so that the true 3D pose of every frame is known: one in which the animal always moves, and one in
which it rests for three quarters of the time (the same images with new noise). A row has the distance from a frame of
the film to the nearest chosen frame, mean and 95 %, in mm: the root mean square over keypoints, of the pose in the
arena and of the pose about its own center; and the number of chosen frames that are near-duplicates of another.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch

from mvgeom.videos import Video, open_video, read_frames
from mvtrain.check.image_checks import FLOOR, NEAR, image_distances, typical_distance
from mvtrain.model.backbone import build_backbone
from mvtrain.predict.recordings import Session
from mvtrain.start.choose_frames import Appearance, choose_frames, scan_candidates
from mvtrain.start.frame_measures import BackboneFeatures, find_faults
from mvtrain.synth import SyntheticSpec, generate_project

NUM_VIEWS, NUM_FRAMES = 3, 600
NUM_RANDOM = 20


@dataclass(frozen=True, kw_only=True, eq=False)
class Film:
    """A session's videos and the true poses (T, K, 3) of its frames in mm."""

    name: str
    session: Session
    videos: tuple[Video, ...]
    poses: np.ndarray


def make_films(folder: Path, seed: int) -> list[Film]:
    """Render a film and make the one with rests of it."""
    spec = SyntheticSpec(
        num_views=NUM_VIEWS, num_frames=1, num_sessions=1, num_video_frames=NUM_FRAMES, size=192, seed=seed
    )
    project = folder / f"project{seed}"
    generate_project(project, spec, num_workers=2)
    table = pd.read_csv(project / "videos" / "session1_3d.csv", header=[0, 1, 2], index_col=0)
    poses = table.to_numpy(dtype=np.float64).reshape(len(table), -1, 3)
    moving = [project / "videos" / f"session1_{view}.mp4" for view in spec.view_names]
    numbers = resting_numbers(np.random.default_rng(seed))
    resting = [repeat_frames(path, numbers, seed) for path in moving]
    return [
        Film(
            name=name,
            session=Session(name=name, videos=tuple(paths)),
            videos=tuple(open_video(path) for path in paths),
            poses=of,
        )
        for name, paths, of in (("moving", moving, poses), ("resting", resting, poses[numbers]))
    ]


def resting_numbers(generator: np.random.Generator) -> np.ndarray:
    """Return the frames of a film of the same length that stops at 12 frames, 37 frames each."""
    stops = set(generator.choice(NUM_FRAMES // 4, 12, replace=False).tolist())
    numbers = [number for frame in range(NUM_FRAMES // 4) for number in [4 * frame] * (38 if frame in stops else 1)]
    return np.array(numbers[:NUM_FRAMES])


def repeat_frames(path: Path, numbers: np.ndarray, seed: int) -> Path:
    """Write a video of the given frames of another, with new noise in each image."""
    images = list(read_frames(open_video(path)))
    out = path.with_name(path.name.replace("session1", "resting"))
    generator = np.random.default_rng(seed)
    height, width = images[0].shape[:2]
    writer = cv2.VideoWriter(str(out), cv2.VideoWriter.fourcc(*"mp4v"), 15.0, (width, height))
    for number in numbers:
        noisy = images[number] + generator.normal(0, 3, images[number].shape)
        writer.write(np.clip(noisy, 0, 255).astype(np.uint8))
    writer.release()
    return out


def coverage(poses: np.ndarray, chosen: np.ndarray) -> tuple[float, float]:
    """Return the mean and 95 % of the distances from all frames to the nearest chosen one."""
    differences = poses[:, None] - poses[chosen]
    nearest = np.sqrt((differences**2).sum(-1).mean(-1)).min(axis=1)
    return float(nearest.mean()), float(np.quantile(nearest, 0.95))


def count_twins(thumbnails: np.ndarray, chosen: np.ndarray) -> int:
    """Count the chosen frames that are near-duplicates of one with a smaller number, as `mvtrain check` has it."""
    values = thumbnails.astype(np.float64)
    typical = [max(typical_distance(values[:, view]), FLOOR / NEAR) for view in range(values.shape[1])]
    readable = np.ones(values.shape[:2], dtype=bool)
    rows = np.sort(chosen)
    distances = image_distances(values, np.tile(typical, (len(values), 1)), readable, rows, rows)
    return int((np.tril(distances <= NEAR, -1)).any(axis=1).sum())


def choose(film: Film, features: BackboneFeatures | None) -> Callable[[int], np.ndarray]:
    """Return the function that chooses n frames of a film as `mvtrain frames` does, which looks at all 600."""
    every = np.arange(len(film.poses))
    scanned = scan_candidates(film.videos, every, len(every), features, lambda number: None)
    faults, _ = find_faults(scanned.measures)
    usable = np.flatnonzero((faults < 0).all(axis=1))
    appearance = take(scanned.appearance, usable)
    return lambda wanted: usable[choose_frames(appearance, take(appearance, usable[:0]), wanted).rows]


def take(appearance: Appearance, rows: np.ndarray) -> Appearance:
    """Return some of the frames."""
    return Appearance(
        thumbnails=appearance.thumbnails[rows],
        features=appearance.features[rows],
        readable=appearance.readable[rows],
        times=appearance.times[rows],
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="weights of DINOv2-small, for the choice by a backbone")
    parser.add_argument("--seeds", type=int, default=2, help="number of generated films of each kind")
    arguments = parser.parse_args()
    backbone = None
    if arguments.weights is not None:
        network = build_backbone("vits_dinov2", weights=arguments.weights)
        backbone = BackboneFeatures(network, "vits_dinov2", (196, 196), torch.device("cpu"))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for film in (film for seed in range(arguments.seeds) for film in make_films(Path(folder), seed)):
            every = np.arange(len(film.poses))
            thumbnails = scan_candidates(
                film.videos, every, len(every), None, lambda number: None
            ).appearance.thumbnails
            centered = film.poses - film.poses.mean(axis=1, keepdims=True)
            choosers = {"small images": choose(film, None)}
            if backbone is not None:
                choosers["backbone"] = choose(film, backbone)
            for wanted in (10, 20, 40):
                methods = [(method, [chooser(wanted)]) for method, chooser in choosers.items()]
                methods.append(("equal distances", [np.linspace(0, len(every) - 1, wanted).round().astype(int)]))
                draws = [np.random.default_rng(draw).choice(every, wanted, replace=False) for draw in range(NUM_RANDOM)]
                methods.append(("random", draws))
                for method, choices in methods:
                    values = [
                        (*coverage(film.poses, chosen), *coverage(centered, chosen), count_twins(thumbnails, chosen))
                        for chosen in choices
                    ]
                    rows.append((film.name, wanted, method, len(choices[0]), *np.mean(values, axis=0)))
                    print(rows[-1], flush=True)
    columns = ["film", "n", "method", "chosen", "mean", "95 %", "centered mean", "centered 95 %", "twins"]
    table = pd.DataFrame(rows, columns=columns).groupby(["film", "n", "method"], sort=False).mean()
    print(table.round(1).to_string())


if __name__ == "__main__":
    main()
