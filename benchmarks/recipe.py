"""An existing config unchanged, the recommended recipe, and Lightning Pose itself: the same frames, weights and steps.

    OMP_WAIT_POLICY=passive nice uv run python benchmarks/recipe.py --out recipe --peer ../peer-env/bin/python

Projects: human4 (a real recording: four cameras, detector's labels, 126 px), with frames held out at random and with
its last 20 frames held out; and two generated projects at 252 px, whose last session is held out: `open` (two views,
whole images, no calibration) and `occluded` (three calibrated views, heavy occlusion, hidden keypoints unlabeled).
`../shared/peer` says how to make the peer's environment; without `--peer` its rows are left out.

Rows: `peer`: Lightning Pose with the existing config; `existing`: the same file here; `recommended`: what
`mvtrain.config.recommended` gives; `joint`, `per_view`: the recipe with epipolar attention over all views and hidden
views, and with each view on its own. All start from the same DINOv2-small weights and take the same number of optimizer
steps; what the existing config counts in epochs of 300 is scaled to the run's length. Held-out rows lie in tables of
their own, which neither system reads in training, and both systems' predictions go through the same scoring:

- mean and median error in px of the stored images over visible labels; 3D error of one plain triangulation of all
  views, in mm, against the triangulated labels (generated projects: the truth);
- unlearned: keypoints whose median error is above that of the mean pose of the training frames.

Runs that have a result in the output folder are not repeated, and ours go on where they were stopped; `--print-only`
prints what there is.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from jobs import run_jobs
from rich.console import Console
from rich.table import Table

from mvgeom import affine, triangulate
from mvgeom.files import write_text
from mvtrain.config import load_config
from mvtrain.config.recommended import recommended
from mvtrain.metrics import mean_pose
from mvtrain.model.run_folder import load_run
from mvtrain.predict.labeled_images import predict_project, write_project_predictions
from mvtrain.predict.predictor import Predictor
from mvtrain.project.labels_3d import read_truth
from mvtrain.project.project import Project, read_project
from mvtrain.synth import SyntheticSpec, generate_project
from mvtrain.training.train import train

SHARED = Path(__file__).parents[2] / "shared"
WEIGHTS = SHARED / "weights" / "vit_small_patch14_dinov2.safetensors"
EPOCHS_OF_FILE = 300
"""Length of the existing config, from which its other epochs are scaled."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A project to compare on.

    Attributes:
        make: Writes the whole project into a folder.
        size: Side of the network's input in px, a multiple of the patch's 14.
        batch_size: Frames per step.
        in_3d: True if the recipes may use the calibration.
        seeds: Trainings of each row; the peer has one.
        held_out: Number of frames held out, and True if they are the last ones instead of random ones.
        unit: Length of the calibration's unit in mm.
    """

    make: Callable[[Path], None]
    size: int
    batch_size: int
    in_3d: bool
    seeds: int
    held_out: tuple[int, bool]
    unit: float


def copy_human4(folder: Path) -> None:
    """Copy the tables of human4 and link its images."""
    source = SHARED / "data" / "human4"
    folder.mkdir(parents=True)
    for path in source.iterdir():
        if path.suffix in (".csv", ".toml"):
            shutil.copyfile(path, folder / path.name)
        elif path.is_dir():
            (folder / path.name).symlink_to(path.resolve())


def generate(spec: SyntheticSpec, *, calibrated: bool, hide: bool) -> Callable[[Path], None]:
    """Return what generates a project, without its calibration and without labels of hidden keypoints as asked for."""

    def make(folder: Path) -> None:
        generate_project(folder, spec, num_workers=1)
        if not calibrated:
            shutil.rmtree(folder / "calibrations", ignore_errors=True)
            (folder / "calibration.toml").unlink(missing_ok=True)
        for path in folder.glob("CollectedData_*.csv") if hide else ():
            lines = path.read_text().splitlines(keepends=True)
            rows = [hide_labels(line.rstrip("\n").split(",")) for line in lines[3:]]
            path.write_text("".join([*lines[:3], *rows]))

    return make


def hide_labels(cells: list[str]) -> str:
    """Empty x and y of the keypoints that a row marks as occluded."""
    for start in range(1, len(cells), 3):
        if cells[start + 2] != "2":
            cells[start : start + 3] = ["", "", "0"]
    return ",".join(cells) + "\n"


OPEN = SyntheticSpec(num_views=2, num_frames=100, num_sessions=5, num_video_frames=40, size=256, occlusion=0.3, seed=3)
OCCLUDED = SyntheticSpec(
    num_views=3, num_frames=100, num_sessions=5, num_video_frames=40, size=256, crop=True, occlusion=0.8, seed=11
)
HUMAN4 = Source(make=copy_human4, size=126, batch_size=4, in_3d=True, seeds=1, held_out=(10, False), unit=1000.0)
GENERATED = Source(
    make=generate(OCCLUDED, calibrated=True, hide=True),
    size=252,
    batch_size=2,
    in_3d=True,
    seeds=1,
    held_out=(20, True),
    unit=1.0,
)
PROJECTS = {
    "human4": HUMAN4,
    "human4-block": replace(HUMAN4, seeds=3, held_out=(20, True)),
    "open": replace(GENERATED, make=generate(OPEN, calibrated=False, hide=False), in_3d=False),
    "occluded": GENERATED,
}
ROWS = ("peer", "existing", "recommended", "joint", "per_view")
RECIPES = ("recommended", "joint", "per_view")
"""Rows of the recipe, as it is or with the other attention."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of projects, runs and results")
    parser.add_argument("--peer", type=Path, help="Python of Lightning Pose's environment")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--projects", nargs="+", choices=PROJECTS, default=list(PROJECTS))
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS[:3]))
    parser.add_argument("--seeds", type=int, default=3, help="most seeds of a row")
    parser.add_argument("--print-only", action="store_true")
    parser.add_argument("--run", nargs=3, metavar=("PROJECT", "ROW", "SEED"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    # Not resolved: the python of an environment is a link to one that does not know it.
    peer = None if arguments.peer is None else Path(os.path.abspath(arguments.peer))  # noqa: PTH100
    if arguments.run:
        project, row, seed = arguments.run
        run_one(out, project, row, int(seed), arguments.steps, peer)
        return
    if not arguments.print_only:
        for name in arguments.projects:
            make_project(out, name)
        run_all(out, arguments, peer)
    print_table(out, arguments.projects, arguments.rows)


def make_project(out: Path, name: str) -> None:
    """Write the project three times: `whole`, `heldout`, and `train` with the held-out rows in tables of their own."""
    source, folder = PROJECTS[name], out / "projects" / name
    if folder.exists():
        return
    unfinished = folder.with_name(f"{name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    source.make(unfinished / "whole")
    num_held_out, last = source.held_out
    for split in ("train", "heldout"):
        shutil.copytree(unfinished / "whole", unfinished / split, symlinks=True)
    # The peer predicts tables that end in `_new` after training.
    for path in sorted((unfinished / "whole").glob("*.csv")):
        header = {"CollectedData": 3, "bboxes": 1}.get(path.stem.split("_")[0])
        if header is None:
            continue
        lines = path.read_text().splitlines(keepends=True)
        rows = np.arange(len(lines) - header)
        chosen = rows[-num_held_out:] if last else np.random.default_rng(0).choice(rows, num_held_out, replace=False)
        kept = [line for row, line in enumerate(lines[header:]) if row not in chosen]
        others = [line for row, line in enumerate(lines[header:]) if row in chosen]
        (unfinished / "train" / path.name).write_text("".join([*lines[:header], *kept]))
        (unfinished / "train" / f"{path.stem}_new.csv").write_text("".join([*lines[:header], *others]))
        (unfinished / "heldout" / path.name).write_text("".join([*lines[:header], *others]))
    unfinished.rename(folder)


def run_all(out: Path, arguments: argparse.Namespace, peer: Path | None) -> None:
    """Train and score every row of every project, the first seed of each first."""
    runs = [
        (seed, project, row)
        for project in arguments.projects
        for row in arguments.rows
        for seed in range(1 if row == "peer" else min(arguments.seeds, PROJECTS[project].seeds))
        if row != "peer" or peer is not None
    ]
    commands = {}
    for seed, project, row in sorted(runs, key=lambda run: run[0]):
        command = [sys.executable, __file__, "--out", str(out), "--steps", str(arguments.steps)]
        command += [] if peer is None else ["--peer", str(peer)]
        commands[result_path(out, project, row, seed)] = [*command, "--run", project, row, str(seed)]
    run_jobs(commands, arguments.jobs)


def result_path(out: Path, project: str, row: str, seed: int) -> Path:
    return out / "results" / f"{project}_{row}_{seed}.json"


def run_one(out: Path, name: str, row: str, seed: int, steps: int, peer: Path | None) -> None:
    """Train one row with one seed, score it, write the result."""
    torch.set_num_threads(1)
    result = result_path(out, name, row, seed)
    run_dir = out / "runs" / result.stem
    stopped = row != "peer" and (run_dir / "checkpoints" / "state").is_dir()
    if not stopped:
        shutil.rmtree(run_dir, ignore_errors=True)
    values = make_config(out, name, row, seed, steps)
    config_file = out / "configs" / f"{result.stem}.yaml"
    config_file.parent.mkdir(parents=True, exist_ok=True)
    config_file.write_text(yaml.safe_dump(values, sort_keys=False))
    run_dir.parent.mkdir(parents=True, exist_ok=True)
    views = values["data"]["view_names"]
    with (run_dir.parent / f"{result.stem}.log").open("a" if stopped else "w") as log:
        if row == "peer":
            assert peer is not None
            command = [str(peer), str(SHARED.resolve() / "peer" / "run_peer.py"), "train", str(config_file)]
            command += ["--output_dir", str(run_dir)]
            subprocess.run(command, check=True, stdout=log, stderr=subprocess.STDOUT)
            tables = [run_dir / f"predictions_{view}_new.csv" for view in views]
        else:
            train(load_config(config_file), run_dir, Console(file=log, width=120), resume=stopped)
            run = load_run(run_dir)
            held_out = read_project(load_config(config_file, [f"data.data_dir={out / 'projects' / name / 'heldout'}"]))
            predictor = Predictor.from_run(run, torch.device("cpu"), 8)
            write_project_predictions(
                run_dir / "heldout", held_out, predict_project(predictor, held_out), ["test"] * len(held_out), None
            )
            tables = [run_dir / "heldout" / f"predictions_{view}.csv" for view in views]
    result.parent.mkdir(parents=True, exist_ok=True)
    write_text(result, json.dumps(score(out, name, config_file, tables)))


def make_config(out: Path, name: str, row: str, seed: int, steps: int) -> dict[str, Any]:
    """Return the config of a row: human4's own, or the recommended recipe, on the project and with its length."""
    source = PROJECTS[name]
    folder = out / "projects" / name / "train"
    values: dict[str, Any] = yaml.safe_load((SHARED / "data" / "human4" / "config.yaml").read_text())
    tables = sorted(path for path in folder.glob("CollectedData_*.csv") if not path.stem.endswith("_new"))
    views = [path.stem.removeprefix("CollectedData_") for path in tables]
    num_rows = len(tables[0].read_text().splitlines()) - 3
    keypoints = list(dict.fromkeys(tables[0].read_text().splitlines()[1].split(",")[1:]))
    num_train = num_rows - max(1, num_rows // 10)
    epochs = max(1, round(steps / -(-num_train // source.batch_size)))
    values["data"] |= {
        "data_dir": str(folder),
        "video_dir": str(folder / "videos"),
        "csv_file": [table.name for table in tables],
        "view_names": views,
        "num_keypoints": len(keypoints),
        "keypoint_names": keypoints,
        "image_resize_dims": {"height": source.size, "width": source.size},
    }
    boxes = [f"bboxes_{view}.csv" for view in views]
    values["data"]["bbox_file"] = boxes if (folder / boxes[0]).exists() else None
    training = values["training"]
    if row in RECIPES:
        recipe = recommended(num_frames=num_rows, in_3d=source.in_3d, everywhere=True)
        length = recipe["training"]["max_epochs"]
        training = {
            **recipe["training"],
            "num_workers": 0,
            "uniform_heatmaps_for_nan_keypoints": training["uniform_heatmaps_for_nan_keypoints"],
        }
        values["model"] |= recipe["model"]
        if row == "per_view":
            values["model"] |= {"attention": "per_view"}
            training["patch_mask"] = None
        elif row == "joint":
            masks = {"init_epoch": length // 5, "final_epoch": 2 * length // 5}
            values["model"] |= {"attention": "joint", "epipolar_attention": source.in_3d}
            training["patch_mask"] = {**masks, "final_ratio": 0.0, "view_ratio": 0.2, "clear_share": 0.2}
        values["losses"] = recipe["losses"]
    else:
        length = EPOCHS_OF_FILE
        if not source.in_3d:
            training["imgaug_3d"], values["losses"] = False, {}
    if name in ("open", "occluded"):
        training["uniform_heatmaps_for_nan_keypoints"] = False
    scale = epochs / length
    training |= {"train_batch_size": source.batch_size, "max_epochs": epochs, "num_workers": 0}
    training |= {"check_val_every_n_epoch": max(1, epochs // 3), "rng_seed_data_pt": seed, "rng_seed_model_pt": seed}
    training |= {"train_prob": 0.9, "val_prob": 0.1}
    if row not in RECIPES:
        training["min_epochs"] = epochs
        training["unfreezing_epoch"] = round(scale * training["unfreezing_epoch"])
        milestones = training["lr_scheduler_params"]["multisteplr"]
        milestones["milestones"] = [round(scale * epoch) for epoch in milestones["milestones"]]
    for key in {"init_epoch", "final_epoch"} & (training["patch_mask"] or {}).keys():
        training["patch_mask"][key] = round(scale * training["patch_mask"][key])
    if row not in RECIPES:
        # PyYAML reads 5e-5 as a text.
        rate = float(training["optimizer_params"]["learning_rate"])
        training["optimizer_params"]["learning_rate"] = rate
    values["training"] = training
    if row == "peer":
        # It takes multiples of 128 px only.
        values["data"]["image_resize_dims"] = dict.fromkeys(("height", "width"), round(source.size / 128) * 128)
    values["model"]["backbone"] = "vits_dinov2"
    if row != "peer":
        values["model"]["backbone_weights"] = str(WEIGHTS.resolve())
    values["eval"] |= {"predict_vids_after_training": False, "test_videos_directory": str(folder / "videos")}
    return values


def score(out: Path, name: str, config_file: Path, tables: list[Path]) -> dict[str, Any]:
    """Return the errors of predictions of the held-out rows."""
    source, folder = PROJECTS[name], out / "projects" / name
    train, held_out = (
        read_project(load_config(config_file, [f"data.data_dir={folder / part}", "model.backbone_weights=null"]))
        for part in ("train", "heldout")
    )
    predicted = np.stack([read_predictions(table, held_out.points.shape[2]) for table in tables], axis=1)
    labels = visible_points(held_out)
    error = np.linalg.norm(predicted - labels, axis=-1)
    baseline = np.linalg.norm(mean_pose(visible_points(train)) - labels, axis=-1)
    medians, bounds = (np.nanmedian(values, axis=(0, 1)) for values in (error, baseline))
    found: dict[str, Any] = {
        "mean": float(np.nanmean(error)),
        "median": float(np.nanmedian(error)),
        "keypoints": dict(zip(held_out.keypoint_names, np.round(medians, 2).tolist(), strict=True)),
        "unlearned": [n for n, m, b in zip(held_out.keypoint_names, medians, bounds, strict=True) if m > b],
    }
    if any(cameras is None for cameras in held_out.cameras):
        return found
    truth = read_truth(held_out)
    errors = []
    for row, cameras in enumerate(held_out.cameras):
        frame = affine.apply(held_out.crop_to_full[row], predicted[row])
        known = affine.apply(held_out.crop_to_full[row], labels[row])
        target = triangulate(known, cameras) if truth is None else truth[row]
        errors.append(source.unit * np.linalg.norm(triangulate(frame, cameras) - target, axis=-1))
    return found | {"3D mean": float(np.nanmean(errors)), "3D median": float(np.nanmedian(errors))}


def visible_points(project: Project) -> np.ndarray:
    """Return (N, V, K, 2) visible labels in px of the stored images, NaN elsewhere."""
    return np.where((project.visibility == 2)[..., None], project.points, np.nan)


def read_predictions(path: Path, num_keypoints: int) -> np.ndarray:
    """Return (N, K, 2) predictions of a table with three header rows; a last column `set` is left out."""
    table = pd.read_csv(path, header=[0, 1, 2], index_col=0)
    values = table.loc[:, [column for column in table.columns if column[2] in ("x", "y")]]
    return values.to_numpy(dtype=float).reshape(len(table), num_keypoints, 2)


def print_table(out: Path, projects: list[str], rows: list[str]) -> None:
    """Mean over the seeds that have a result, and their range."""
    table = Table()
    columns = ("mean", "median", "3D mean", "3D median")
    for column in ("project", "row", "seeds", *columns, "unlearned", "worst keypoint"):
        table.add_column(column, justify="left" if column in ("project", "row") else "right")
    for project in projects:
        for row in rows:
            paths = sorted((out / "results").glob(f"{project}_{row}_*.json"))
            results = [json.loads(path.read_text()) for path in paths]
            if not results:
                continue
            cells = [describe([result[column] for result in results if column in result]) for column in columns]
            unlearned = str(max(len(result["unlearned"]) for result in results))
            worst = max((median, name) for result in results for name, median in result["keypoints"].items())
            table.add_row(project, row, str(len(results)), *cells, unlearned, f"{worst[1]} {worst[0]:.1f}")
        table.add_section()
    Console(width=140).print(table)


def describe(values: list[float]) -> str:
    if not values:
        return ""
    span = f" ({min(values):.1f} to {max(values):.1f})" if len(values) > 1 else ""
    return f"{np.mean(values):.1f}{span}"


if __name__ == "__main__":
    main()
