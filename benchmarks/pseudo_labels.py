"""Gain from videos without labels: teachers, pseudo-labels of their smoothed 3D, students.

    OMP_WAIT_POLICY=passive nice uv run python benchmarks/pseudo_labels.py --out pseudo [--seeds 3] [--steps 450]

A generated project of 8 recordings of 120 frames, each with another animal and room, by 4 cameras. Labels: 8 frames of
each of the first 5 recordings, 40 in all, with 0.7 px of noise. Three networks (the first four blocks of a pretrained
DINOv2 ViT-S at 140 px, the recommended config in so many steps) learn from them, and predict all recordings together,
smoothed over time. `mvtrain pseudolabel` takes 210 frames of the first 7 recordings; nothing is learned of the last.
The same networks learn from both, in as many steps. Printed: errors of all frames and keypoints, hidden ones too,
against the generator's truth; mean and median, in mm in 3D and in px in the images of 192 px.

What has a result in the output folder is not repeated.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from ablation import NUM_BLOCKS, WEIGHTS, keep_first_blocks
from rich.console import Console
from rich.table import Table

from mvgeom import CameraGroup, project
from mvgeom.tables import read_keypoints
from mvtrain.project.label_tables import read_labels, write_labels
from mvtrain.synth import SyntheticSpec, generate_project

SPEC = SyntheticSpec(
    num_views=4,
    num_frames=160,
    num_sessions=8,
    num_video_frames=120,
    size=192,
    occlusion=0.5,
    label_noise=0.7,
    seed=11,
)
GROUPS = {"with labels": range(1, 6), "videos only": range(6, 8), "never seen": range(8, 9)}
"""Numbers of the recordings: what the networks have of them."""

NUM_LABELED, NUM_PSEUDO = 8, 210


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of projects, runs and predictions")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=450)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.5], help="values of training.pseudo_share")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="of vit_small_patch14_dinov2, safetensors")
    arguments = parser.parse_args()
    out: Path = arguments.out
    truth, labeled, backbone = out / "truth", out / "labeled", out / "backbone.safetensors"
    if not truth.exists():
        generate_project(truth, SPEC)
    if not labeled.exists():
        keep_few_labels(truth, labeled)
    if not backbone.exists():
        keep_first_blocks(arguments.weights, backbone)
    seeds = range(arguments.seeds)
    found: dict[str, list[Path]] = {}
    teachers = [fit(labeled, out / f"teacher{seed}", backbone, seed, arguments.steps) for seed in seeds]
    found["labels"] = [predict([run], truth, out / f"predicted-teacher{seed}") for seed, run in enumerate(teachers)]
    together = predict(teachers, truth, out / "predicted-together", "--smooth")
    found[f"{len(teachers)} networks together"] = [together]
    found["and smoothed: the pseudo-labels"] = [together / "smoothed"]
    both = out / "with-pseudo-labels"
    if not both.exists():
        shutil.copytree(labeled, out / "unfinished", dirs_exist_ok=True)
        learned = [number for numbers in GROUPS.values() for number in numbers if number != SPEC.num_sessions]
        sessions = [word for number in learned for word in ("--session", f"session{number}")]
        run("pseudolabel", out / "unfinished", together, "-n", NUM_PSEUDO, *sessions)
        (out / "unfinished").rename(both)
    for share in arguments.shares:
        name = f"labels and pseudo-labels ({share:g})"
        found[name] = []
        for seed in seeds:
            student = out / f"student{seed}-{share:g}"
            fit(both, student, backbone, seed, arguments.steps, f"training.pseudo_share={share}")
            found[name].append(predict([student], truth, out / f"predicted-student{seed}-{share:g}"))
    print_table(found, truth)


def run(*words: object) -> None:
    """Run a command of mvtrain."""
    subprocess.run([sys.executable, "-m", "mvtrain", *map(str, words)], check=True)


def keep_few_labels(truth: Path, out: Path) -> None:
    """Copy a project, with labels of a few frames of each of the first recordings."""
    shutil.copytree(truth, out, ignore=shutil.ignore_patterns("*3d.csv"))
    for path in truth.glob("CollectedData_*.csv"):
        table = read_labels(path)
        names = [str(name) for name in table.image_names]
        rows: list[int] = []
        for number in GROUPS["with labels"]:
            mine = [row for row, name in enumerate(names) if f"/session{number}_" in name]
            rows += mine[:: max(1, len(mine) // NUM_LABELED)][:NUM_LABELED]
        visible = None if table.visible is None else table.visible[rows]
        images = [names[row] for row in rows]
        write_labels(out / path.name, images, table.keypoint_names, table.points[rows], visible, scorer="person")


def fit(folder: Path, out: Path, backbone: Path, seed: int, steps: int, *overrides: str) -> Path:
    """Train a network on a project, unless it is trained; a stopped run goes on."""
    if (out / "predictions_3d.csv").is_file():
        return out
    if (out / "run.yaml").is_file():
        run("fit", "--resume", out)
        return out
    run(
        *("fit", folder / "config.yaml", "--output", out),
        "data.image_resize_dims={height:140,width:140}",
        *("model.backbone=vits_dinov2", f"model.backbone_weights={backbone.resolve()}"),
        f"model.backbone_args={{depth:{NUM_BLOCKS}}}",
        *(f"training.rng_seed_model_pt={seed}", "training.train_prob=0.94", "training.val_prob=0.05"),
        *("training.max_epochs=null", f"training.max_steps={steps}"),
        *("training.unfreezing_epoch=null", "training.unfreezing_step=20"),
        *("eval.predict_vids_after_training=false", *overrides),
    )
    return out


def predict(runs: Sequence[Path], truth: Path, out: Path, *options: str) -> Path:
    """Predict all recordings; what is there already takes no time."""
    run("predict", *runs, truth / "videos", "--output", out, "--calibration", truth / "calibrations", *options)
    return out


def print_table(found: dict[str, list[Path]], truth: Path) -> None:
    """Print errors in 3D and in the images by group of recordings, one value per seed."""
    for what, unit in (("3D", "mm"), ("images", "px")):
        table = Table(f"{what}: mean / median {unit}", *GROUPS)
        for name, folders in found.items():
            cells = []
            for numbers in GROUPS.values():
                by_seed = [errors(folder, truth, numbers, in_3d=what == "3D") for folder in folders]
                cells.append(", ".join(f"{np.nanmean(each):.1f} / {np.nanmedian(each):.1f}" for each in by_seed))
            table.add_row(name, *cells)
        Console(width=120).print(table)


def errors(folder: Path, truth: Path, numbers: Sequence[int], *, in_3d: bool) -> np.ndarray:
    """Distances of predictions to the truth, of all frames and keypoints of some recordings."""
    distances = []
    for session in (f"session{number}" for number in numbers):
        known = pd.read_csv(truth / "videos" / f"{session}_3d.csv", header=[0, 1, 2], index_col=0)
        world = known.to_numpy().reshape(len(known), -1, 3)
        cameras = CameraGroup.load(truth / "calibrations" / f"{session}.toml")
        if in_3d:
            table = pd.read_csv(folder / f"{session}_3d.csv", header=[0, 1, 2], index_col=0)
            points = table.to_numpy().reshape(len(table), world.shape[1], -1)[..., :3]
            distances.append(np.linalg.norm(points - world, axis=-1).ravel())
            continue
        places = project(world, cameras)
        for view, name in enumerate(cameras.names):
            points = read_keypoints(folder / f"{session}_{name}.csv").points
            distances.append(np.linalg.norm(points - places[:, view], axis=-1).ravel())
    return np.concatenate(distances)


if __name__ == "__main__":
    main()
