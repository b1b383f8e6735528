"""Does each part earn its place? The same small network with and without it, three seeds each, on two projects.

    OMP_WAIT_POLICY=passive nice uv run python benchmarks/ablation.py --out ablation [--jobs 2]

`generated`: heavy occlusion, every session another animal and room, whole sessions held out for the test, 420 labeled
frames to learn from. Keypoints that a view cannot see (44 %) carry no label there, as when people label what they see;
the generator's truth tells the errors on them. Each seed holds out other sessions. `human4`: a real recording of four
cameras with a detector's labels, of which the last 20 frames are the test for every seed; hidden keypoints are known
where the other views' labels agree, and 3D errors are distances to the triangulated labels. Further projects are the
first with two and three of its four views (`--projects generated-2 generated-3`), with 50 labeled frames
(`generated-50`), and with animals whose left and right limbs look alike (`generated-symmetric`).

The network is the first four blocks of a pretrained DINOv2 ViT-S: from random weights it learns hardly anything in the
time there is. 2D augmentation is on in every row (`imgaug: dlc`); 3D augmentation takes the place of its rotations and
crops (`dlc-mv`). `joint` is attention over all views along epipolar lines (`model.epipolar_attention`) with labels from
3D (`training.labels_from_3d`). Every other row differs from it in what its name says: `+ ...` adds a part, `all` has
the four parts of the mission, and `per_view` is the same network without attention between views. The last three lack
what `joint` has beyond plain attention and the labels of people. `hidden views` hides one of five views in training.

Masking and 3D losses are for a network that has found the keypoints, and set in late in real runs. Here the first part
of a run, with the labels of people and each view on its own, is the same for all rows of a seed and trained once: every
row starts from its checkpoint. Printed per row, mean and standard deviation over the seeds, after the views are fused
(`model.fuse_views`, which needs no training) and, in a second table, with each view's heatmaps as they are:

- error in px of the camera's image (the animal is 60 to 100 px long, the person some 800) of the keypoints a view sees,
  of those hidden from it, and of a view whose image is blank altogether (one view of each test frame, in turn);
- 3D error in mm of all keypoints, and of those that fewer than two views see: all rows go through one and the same
  robust triangulation, weighted by confidence;
- the 3D error's difference from `joint`, seed by seed.

Runs that have a result in the output folder are not repeated; `--print-only` prints what there is.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from ablation_figures import EACH_VIEW, FUSED, measure
from jobs import run_jobs
from rich.console import Console
from safetensors.torch import load_file, save_file

from mvgeom.files import write_text
from mvtrain.config import Config, load_config
from mvtrain.project.label_tables import read_labels, write_labels
from mvtrain.synth import SyntheticSpec, generate_project
from mvtrain.training.train import train

SPEC = SyntheticSpec(
    num_views=4,
    num_frames=640,
    num_sessions=32,
    num_video_frames=40,
    fps=4.0,
    size=192,
    crop=True,
    crop_size=64,
    occlusion=0.8,
    seed=7,
)
SHARED = Path(__file__).parents[2] / "shared"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Differences between the two projects.

    Attributes:
        size: Side of the network's input in px.
        start_epochs: Length of what all rows of a seed start from.
        epochs: Length of the rest of a run.
        data: Further keys of the section `data`.
        training: Further keys of the section `training`.
        threshold: Error in px of the camera's image beyond which the robust triangulation takes a view for an outlier.
        unit: Length of the calibration's unit in mm.
        folder: Project folder; None: generated.
        spec: Spec of a generated project.
        num_views: Number of views that are used, the first ones.
    """

    size: int
    start_epochs: int
    epochs: int
    data: dict[str, Any]
    training: dict[str, Any]
    threshold: float
    unit: float
    folder: Path | None = None
    spec: SyntheticSpec = SPEC
    num_views: int = 4

    def project_folder(self, out: Path) -> Path:
        """Return the folder of the project that is trained on."""
        return self.folder or out / f"project{self._variant}"

    def truth_folder(self, out: Path) -> Path:
        """Return the folder of the generated project that knows all positions."""
        return out / f"truth{self._variant}"

    @property
    def _variant(self) -> str:
        return "-symmetric" if self.spec.symmetric else ""


SETTINGS = {
    "generated": Setting(
        size=70,
        start_epochs=14,
        epochs=8,
        data={"split": "session"},
        training={"train_prob": 0.66, "val_prob": 0.06},
        threshold=8.0,
        unit=1.0,
    ),
    "human4": Setting(
        size=98,
        start_epochs=8,
        epochs=8,
        data={"split": "block"},
        training={"train_prob": 0.7, "val_prob": 0.1, "uniform_heatmaps_for_nan_keypoints": True},
        threshold=40.0,
        unit=1000.0,
        folder=SHARED / "data" / "human4",
    ),
}
MAIN_PROJECTS = list(SETTINGS)
SETTINGS |= {f"generated-{number}": replace(SETTINGS["generated"], num_views=number) for number in (2, 3)}
SETTINGS["generated-symmetric"] = replace(SETTINGS["generated"], spec=replace(SPEC, symmetric=True))
SETTINGS["generated-50"] = replace(
    SETTINGS["generated"],
    start_epochs=60,
    epochs=40,
    training={**SETTINGS["generated"].training, "train_frames": 50},
)

MASKING = {"patch_mask": {"init_epoch": 0.0, "final_epoch": 1.0, "init_ratio": 0.0, "final_ratio": 0.5}}
"""Epochs as shares of the row's own part of the run."""
MOVE_3D = {"imgaug": "dlc-mv", "imgaug_3d": True}
PAIRWISE = {"supervised_pairwise_projections": {"log_weight": 0.5}}
REPROJECTION = {"supervised_reprojection_heatmap_mse": {"log_weight": 0.5}}
HIDDEN_VIEWS = {"patch_mask": {"init_epoch": 0.0, "final_epoch": 0.125, "view_ratio": 0.2}}
EACH_VIEW_ALONE = {"model": {"attention": "per_view", "epipolar_attention": False}}
PLAIN_ATTENTION = {"model": {"epipolar_attention": False}}
LABELS_OF_PEOPLE = {"training": {"labels_from_3d": False}}

ROWS: dict[str, dict[str, dict]] = {
    "per_view": EACH_VIEW_ALONE,
    "joint": {},
    "+ masking": {"training": MASKING},
    "+ 3D augmentation": {"training": MOVE_3D},
    "+ pairwise": {"losses": PAIRWISE},
    "+ reprojection": {"losses": REPROJECTION},
    "all": {"training": {**MASKING, **MOVE_3D}, "losses": {**PAIRWISE, **REPROJECTION}},
    "+ hidden views": {"training": HIDDEN_VIEWS},
    "plain attention": PLAIN_ATTENTION,
    "plain attention + hidden views": {**PLAIN_ATTENTION, "training": HIDDEN_VIEWS},
    "labels of people only": LABELS_OF_PEOPLE,
}
FURTHER_ROWS: dict[str, dict[str, dict]] = {
    "covariance head": {"model": {**EACH_VIEW_ALONE["model"], "covariance_head": True}},
}
"""Rows that are run only where they are named: their figures are those of another script (`covariance_head.py`)."""
WEIGHTS = SHARED / "weights" / "vit_small_patch14_dinov2.safetensors"
START = "start"
"""The name, among the runs, of what all rows of a seed start from."""
START_CHANGES = {**EACH_VIEW_ALONE, **LABELS_OF_PEOPLE}
NUM_BLOCKS = 4
BACKBONE_FILE = "backbone.safetensors"
Run = tuple[str, str, int]
"""Project, row, seed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of projects, runs and results")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")
    parser.add_argument("--projects", nargs="+", choices=SETTINGS, default=MAIN_PROJECTS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="of vit_small_patch14_dinov2, safetensors")
    parser.add_argument("--rows", nargs="+", choices=[*ROWS, *FURTHER_ROWS], default=list(ROWS))
    parser.add_argument("--print-only", action="store_true")
    parser.add_argument("--run", nargs=3, metavar=("PROJECT", "ROW", "SEED"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    out, seeds = arguments.out, range(arguments.seeds)
    if arguments.run:
        project, row, seed = arguments.run
        run_one(out, (project, row, int(seed)))
        return
    if not arguments.print_only:
        for project in arguments.projects:
            make_project(out, SETTINGS[project])
        keep_first_blocks(arguments.weights, out / BACKBONE_FILE)
        run_all(out, [(project, START, seed) for seed in seeds for project in arguments.projects], arguments.jobs)
        # Seed by seed: an interrupted benchmark has whole comparisons.
        runs = [(project, row, seed) for seed in seeds for project in arguments.projects for row in arguments.rows]
        run_all(out, runs, arguments.jobs)
    for project in arguments.projects:
        for kind in (FUSED, EACH_VIEW):
            print_table(out, project, kind, arguments.rows, arguments.seeds)


def make_project(out: Path, setting: Setting) -> None:
    """Generate the folder that knows all positions, and the same with the hidden keypoints unlabeled."""
    folder, truth = setting.project_folder(out), setting.truth_folder(out)
    if folder.exists():
        return
    if not truth.exists():
        generate_project(truth, setting.spec, num_workers=2)
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(truth, unfinished, ignore=shutil.ignore_patterns("videos"))
    for view in setting.spec.view_names:
        table = read_labels(unfinished / f"CollectedData_{view}.csv")
        assert table.visible is not None
        seen = table.visible == 2
        points = np.where(seen[..., None], table.points, np.nan)
        names = [str(name) for name in table.image_names]
        write_labels(
            table.path,
            names,
            table.keypoint_names,
            points,
            np.where(seen, 2, 0).astype(np.int8),
            scorer="synthetic",
            float_format="%.4f",
        )
    unfinished.rename(folder)


def keep_first_blocks(weights: Path, out: Path) -> None:
    """The weights of a network of `NUM_BLOCKS` blocks."""
    kept = {
        name: tensor
        for name, tensor in load_file(weights).items()
        if not name.startswith("blocks.") or int(name.split(".")[1]) < NUM_BLOCKS
    }
    save_file(kept, out)


def run_all(out: Path, wanted: list[Run], jobs: int) -> None:
    """Every run in a process of its own, `jobs` at a time."""
    command = [sys.executable, __file__, "--out", str(out), "--run"]
    run_jobs({result_path(out, run): [*command, *map(str, run)] for run in wanted}, jobs)


def result_path(out: Path, run: Run) -> Path:
    project, row, seed = run
    return out / "results" / f"{project}_{row.replace('+', 'with').replace(' ', '_')}_{seed}.json"


def run_one(out: Path, run: Run) -> None:
    """Train one row with one seed, measure it, write the result."""
    torch.set_num_threads(1)
    result = result_path(out, run)
    run_dir = out / "runs" / result.stem
    shutil.rmtree(run_dir, ignore_errors=True)
    config = make_start(out, run) if run[1] == START else make_config(out, run)
    run_dir.parent.mkdir(parents=True, exist_ok=True)
    with (run_dir.parent / f"{result.stem}.log").open("w") as log:
        train(config, run_dir, Console(file=log, width=120))
    result.parent.mkdir(parents=True, exist_ok=True)
    setting = SETTINGS[run[0]]
    figures = measure(run_dir, config, setting.truth_folder(out), threshold=setting.threshold, unit=setting.unit)
    write_text(result, json.dumps(figures))


def make_start(out: Path, run: Run) -> Config:
    """The config of the common start: at its end the learning rate is still what it was."""
    values = common_values(out, run, SETTINGS[run[0]].start_epochs)
    values["training"]["lr_scheduler"] = None
    add(values, START_CHANGES)
    return write_config(out, run, values)


def make_config(out: Path, run: Run) -> Config:
    """The config of a row; only what the row names differs between rows."""
    project, row, seed = run
    epochs = SETTINGS[project].epochs
    values = common_values(out, run, epochs)
    add(values, {**ROWS, **FURTHER_ROWS}[row])
    start = out / "runs" / result_path(out, (project, START, seed)).stem
    values["model"]["checkpoint"] = str((start / "checkpoints" / "last").resolve())
    masking = values["training"].get("patch_mask")
    if masking is not None:
        starts = {key: round(share * epochs, 3) for key, share in masking.items() if key.endswith("_epoch")}
        values["training"]["patch_mask"] = {**masking, **starts}
    return write_config(out, run, values)


def add(values: dict[str, dict], changes: dict[str, dict]) -> None:
    for section, keys in changes.items():
        values[section] |= keys


def write_config(out: Path, run: Run, values: dict[str, dict]) -> Config:
    path = out / "configs" / f"{result_path(out, run).stem}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(values))
    return load_config(path)


def common_values(out: Path, run: Run, epochs: int) -> dict[str, dict]:
    """Return the keys that the configs of all rows of a project share."""
    project, _, seed = run
    setting = SETTINGS[project]
    folder = setting.project_folder(out)
    tables = sorted(folder.glob("CollectedData_*.csv"))[: setting.num_views]
    views = [path.stem.removeprefix("CollectedData_") for path in tables]
    values: dict[str, dict] = {
        "data": {
            "data_dir": str(folder.resolve()),
            "view_names": views,
            "bbox_file": [f"bboxes_{view}.csv" for view in views],
            "image_resize_dims": {"height": setting.size, "width": setting.size},
            "downsample_factor": 1,
            "cache_gb": 1.0,
            **setting.data,
        },
        "training": {
            "imgaug": "dlc",
            "imgaug_3d": False,
            "train_batch_size": 4,
            "num_workers": 0,
            "max_epochs": epochs,
            "check_val_every_n_epoch": 4,
            "optimizer": "AdamW",
            "optimizer_params": {"learning_rate": 2e-3},
            "backbone_learning_rate": 3e-4,
            "warmup_epochs": 0.5,
            "lr_scheduler": "cosine",
            "gradient_clip_norm": 1.0,
            "rng_seed_data_pt": seed,
            "rng_seed_model_pt": seed,
            "accelerator": "cpu",
            "precision": "auto",
            "labels_from_3d": True,
            **setting.training,
        },
        "model": {
            "model_type": "heatmap_multiview_transformer",
            "backbone": "vit_small_patch14_dinov2",
            "backbone_args": {"depth": NUM_BLOCKS},
            "backbone_weights": str((out / BACKBONE_FILE).resolve()),
            "heatmap_loss_type": "kl",
            "epipolar_attention": True,
        },
        "losses": {},
        "eval": {"predict_vids_after_training": False},
    }
    return values


def print_table(out: Path, project: str, kind: str, rows: list[str], seeds: int) -> None:
    """Print mean and standard deviation over the seeds that have a result, as the tables of docs/ablation.md."""
    results = {
        row: {
            seed: json.loads(path.read_text())
            for seed in range(seeds)
            if (path := result_path(out, (project, row, seed))).exists()
        }
        for row in rows
    }
    columns = ["visible", "hidden", "blank view", "3D", "3D median", "3D seen by one"]
    if SETTINGS[project].folder is not None:  # human4: two views see every keypoint
        columns.remove("3D seen by one")
    print(f"\n{project}, {'fused' if kind == FUSED else 'without fusion'}\n")
    print("| " + " | ".join(["row", "seeds", *columns, "3D - joint"]).replace("3D seen", "seen") + " |")
    print("|---" * (len(columns) + 3) + "|")
    for row, by_seed in results.items():
        if by_seed:
            cells = [mean_and_spread([result[kind + column] for result in by_seed.values()]) for column in columns]
            beside = results.get("joint", {}) if row != "joint" else {}
            paired = [by_seed[seed][f"{kind}3D"] - beside[seed][f"{kind}3D"] for seed in by_seed if seed in beside]
            differences = ", ".join(f"{difference:+.1f}" for difference in paired)
            print("| " + " | ".join([row, str(len(by_seed)), *cells, differences]) + " |")


def mean_and_spread(values: list[float]) -> str:
    spread = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):.1f}{spread}"


if __name__ == "__main__":
    main()
