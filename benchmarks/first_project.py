"""From videos and a calibration to a trained network with a few labeled frames: commands, clicks, minutes.

    OMP_WAIT_POLICY=passive uv run python benchmarks/first_project.py --weights FILE [--frames 20] [--views 4]

A generated animal in four videos. Every command of docs/your-videos.md runs as its own process, whose CPU time is
measured. Frames are labeled on the page of `mvtrain label`, in a browser that is found as by the tests: the mouse
clicks each keypoint in two views where it lies in the image, 1 px of the screen off, `Shift+A` accepts its projections,
`N` goes on. Clicks and keys are counted. The tables must then have a label of every keypoint in every image in which it
lies.

Nobody labels as fast as this script. The minutes of a person are an estimate from the counts: `--click` seconds to find
and click a keypoint, `--key` seconds to look at its projections and accept them, `--look` seconds for each new frame.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from playwright.sync_api import Page

from mvgeom import CameraGroup, in_image, project
from mvtrain.config import load_config
from mvtrain.project.project import read_project
from mvtrain.synth import SyntheticSpec, generate_project

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

KEYPOINTS = ("nose", "left_ear", "right_ear", "tail_base")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--size", type=int, default=128, help="width and height of the videos in px")
    parser.add_argument("--weights", type=Path, help="weights of vits_dinov2; without, a small network from the start")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--click", type=float, default=2.5, help="seconds of a person per click")
    parser.add_argument("--key", type=float, default=1.5, help="seconds of a person per key")
    parser.add_argument("--look", type=float, default=5.0, help="seconds of a person per frame")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        raw, mine, run = (Path(folder) / name for name in ("raw", "mine", "run"))
        spec = SyntheticSpec(
            num_views=arguments.views, num_frames=1, num_sessions=1, num_video_frames=200, size=arguments.size, seed=0
        )
        generate_project(raw, spec)
        rig = raw / "calibrations" / "session1.toml"
        rows = [
            command("init", raw / "videos", "--calibration", rig, "--keypoints", ",".join(KEYPOINTS), "--output", mine),
            command("frames", mine, "-n", arguments.frames),
            label(mine, raw, arguments),
            command("check", mine / "config.yaml", "--output", Path(folder) / "check"),
            command("fit", mine / "config.yaml", *network(arguments), "--output", run),
            command("predict", run, mine / "videos"),
        ]
        print("\n| step | CPU seconds | by hand |\n|---|---|---|")
        for name, seconds, by_hand in rows:
            print(f"| `mvtrain {name}` | {seconds:.0f} | {by_hand} |")
        print(f"\n{accuracy(run, raw)}")


def network(arguments: argparse.Namespace) -> list[str]:
    """Overrides for a network that a CPU can train in minutes."""
    common = [f"training.max_epochs={arguments.epochs}", "training.accelerator=cpu", "training.num_workers=0"]
    common += ["training.patch_mask=null", "eval.predict_vids_after_training=false"]
    if arguments.weights is not None:
        return [*common, "model.backbone=vits_dinov2", f"model.backbone_weights={arguments.weights}"]
    small = "{depth: 4, embed_dim: 192, num_heads: 3}"
    return [
        *common,
        "model.backbone=vit_tiny_patch16_224",
        f"model.backbone_args={small}",
        "model.backbone_pretrained=false",
    ]


def command(name: str, *arguments: object) -> tuple[str, float, str]:
    """Run a command and time it."""
    began = cpu_seconds()
    line = [sys.executable, "-m", "mvtrain", name, *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    print(f"{name}: {cpu_seconds() - began:.0f} s", flush=True)
    return name, cpu_seconds() - began, "a command"


def cpu_seconds() -> float:
    """CPU time of all processes that have ended, in seconds: it hardly depends on what else the machine does."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def label(mine: Path, raw: Path, arguments: argparse.Namespace) -> tuple[str, float, str]:
    """Label all frames on the page of `mvtrain label`, and check what the tables have then."""
    from helpers.browser import local_page

    truth, inside = true_points(mine, raw)
    line = [sys.executable, "-m", "mvtrain", "label", str(mine), "--no-browser"]
    began = cpu_seconds()
    process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = next(found[1] for text in process.stdout if (found := re.match(r"open (http\S+)", text)))
        with local_page(address, width=1920, height=1080) as page:
            page.wait_for_selector("body[data-frame]")
            counts = Counter[str]()
            for frame in range(len(truth)):
                counts += label_frame(page, truth[frame], inside[frame], last=frame == len(truth) - 1)
            page.keyboard.press("Control+s")
            page.wait_for_selector("#saving:not(.unsaved):not(.failed)", state="attached")
    finally:
        process.terminate()
        process.wait()
    found = read_project(load_config(mine / "config.yaml"))
    labeled = np.isfinite(found.points).all(-1)
    errors = np.linalg.norm(found.points - truth, axis=-1)[labeled & inside]
    print(f"labeled {labeled.sum()} of {inside.sum()}, {np.median(errors):.2f} px from the truth (median)")
    assert (labeled & inside).sum() > 0.98 * inside.sum()
    seconds = counts["clicks"] * arguments.click + counts["keys"] * arguments.key + len(truth) * arguments.look
    by_hand = f"{counts['clicks']} clicks, {counts['keys']} keys: about {seconds / 60:.0f} minutes"
    return "label", cpu_seconds() - began, by_hand


def label_frame(page: Page, truth: np.ndarray, inside: np.ndarray, *, last: bool) -> Counter[str]:
    """Label a frame; truth (V, K, 2) in px of the images, inside (V, K). Return the numbers of clicks and keys."""
    counts = Counter[str]()
    generator = np.random.default_rng(0)

    def press(key: str) -> None:
        page.keyboard.press(key)
        settle(page)
        counts["keys"] += 1

    press("1")  # accepting goes on to the next keypoint that needs a hand, so only the first is chosen
    for keypoint in range(truth.shape[1]):
        if page.evaluate("mvtrainLabel.activeKeypoint") != keypoint:
            press(str(keypoint + 1))
        views = np.flatnonzero(inside[:, keypoint]).tolist()[:2]
        for view in views:
            script = """([view, point]) => {
                const { marks } = mvtrainLabel.views[view], { left, top } = marks.getBoundingClientRect();
                const [x, y] = mvtrainLabel.views[view].toScreen(point);
                return [left + x, top + y];
            }"""
            place = np.array(page.evaluate(script, [view, truth[view, keypoint].tolist()]))
            x, y = (place + generator.normal(0, 1, 2)).tolist()
            page.keyboard.down("Shift")  # places also where another mark is near
            page.mouse.click(x, y)
            page.keyboard.up("Shift")
            settle(page)
            counts["clicks"] += 1
        if len(views) == 2:
            press("Shift+A")
    if not last:
        shown = page.get_attribute("body", "data-frame")
        press("n")
        page.wait_for_selector(f"body:not([data-frame='{shown}'])")
        settle(page)
    return counts


def settle(page: Page) -> None:
    """Wait until nothing is on its way to or from the server."""
    page.wait_for_timeout(20)
    while page.evaluate("mvtrainLabel.busy"):  # the page's policy forbids `wait_for_function`
        page.wait_for_timeout(20)


def true_points(mine: Path, raw: Path) -> tuple[np.ndarray, np.ndarray]:
    """(N, V, K, 2) places of the keypoints in the images of the project's frames, and (N, V, K) True within them."""
    config = load_config(mine / "config.yaml")
    found = read_project(config, need_labels=False)
    table = pd.read_csv(raw / "videos" / "session1_3d.csv", header=[0, 1, 2], index_col=0).droplevel(0, axis=1)
    numbers = [int(Path(names[0] or "").stem.removeprefix("img")) for names in found.image_names]
    world = np.stack([table.loc[numbers, (name, list("xyz"))].to_numpy() for name in KEYPOINTS], axis=1)
    cameras = CameraGroup.load(raw / "calibrations" / "session1.toml").select(found.view_names)
    points = np.asarray(project(world, cameras))
    return points, np.asarray(in_image(points, cameras))


def accuracy(run: Path, raw: Path) -> str:
    """Distance of the predicted 3D keypoints of the whole videos from the truth, in the calibration's unit."""
    tables = [run / "video_preds" / "session1_3d.csv", raw / "videos" / "session1_3d.csv"]
    predicted, true = (
        pd.read_csv(path, header=[0, 1, 2], index_col=0).droplevel(0, axis=1)[list(KEYPOINTS)] for path in tables
    )
    place = [(name, axis) for name in KEYPOINTS for axis in "xyz"]
    shape = (len(true), len(KEYPOINTS), 3)
    true_points = true[place].to_numpy().reshape(shape)
    distance = np.linalg.norm(predicted[place].to_numpy().reshape(shape) - true_points, axis=-1)
    length = np.linalg.norm(true_points[:, 0] - true_points[:, -1], axis=-1)
    return (
        f"3D keypoints of all {len(true)} frames: {np.nanmedian(distance):.1f} from the truth (median), "
        f"{np.nanpercentile(distance, 95):.1f} (95 %), {np.isnan(distance).mean():.0%} missing; the animal is "
        f"{np.median(length):.0f} long"
    )


if __name__ == "__main__":
    main()
