"""Clicks that labeling takes, errors of accepted projections, and speed of page and tables.

    OMP_WAIT_POLICY=passive uv run python benchmarks/labeling.py [--views 6] [--frames 8] [--project FOLDER]

Accuracy: a generated rig and animal. Every keypoint that two views see gets clicks in two of them, with 0.5, 1 and 2 px
of noise per coordinate; its projections are accepted in all others. The distance from the truth is given in px of the
image, for the exact calibration, for cameras that are turned by 0.1 degree about a random axis, and for such that are
moved by 0.2 % of their distance, too, with a focal length that is 0.2 % longer or shorter. `refined` are the same after
a click in a third view. `learned` is the noise that the page learns from all clicks after the third one, and `within
the ellipse` the share of accepted projections of two clicks within the ellipse of 95 % that this noise gives.

Saving: one frame of a project with 500 frames; a click in every view, so that all tables are written.

Page: a real browser (Chromium, found as by the tests), 6 views of 1280x1024. `redraw` is from a change of zoom and of a
label in all views until the browser has drawn it; `next frame` from the key until all images are drawn, with the images
that the page loads ahead while one works (`ahead`), and without (`cold`).
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from mvgeom import CameraGroup, in_image, pair_parallax, project
from mvtrain.label.geometry import FrameRig, compare_views, estimate_noise, squared_residuals
from mvtrain.label.journal import Label
from mvtrain.label.page_json import ELLIPSE_SIGMAS
from mvtrain.label.run_label import project_config
from mvtrain.label.store import open_store
from mvtrain.project.label_tables import write_labels
from mvtrain.synth import SyntheticSpec, generate_project
from mvtrain.synth.scene import make_scene

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

SIZE = (1280, 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--views", type=int, default=6)
    parser.add_argument("--frames", type=int, default=8, help="frames of the page's project")
    parser.add_argument("--only", choices=("accuracy", "saving", "page"), help="a part of it")
    parser.add_argument("--project", type=Path, help="folder of the page's project; kept, and used again if it exists")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    if arguments.only in (None, "accuracy"):
        accuracy(arguments.views)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.only in (None, "saving"):
            saving(Path(folder) / "large", arguments.views)
        if arguments.only not in (None, "page"):
            return
        path = arguments.project or Path(folder) / "page"
        if not path.exists():
            spec = SyntheticSpec(
                num_views=arguments.views,
                num_frames=arguments.frames,
                num_sessions=1,
                num_video_frames=arguments.frames,
                size=SIZE,
                seed=0,
            )
            generate_project(path, spec, num_workers=os.cpu_count() or 1)
        page(path)


def accuracy(num_views: int) -> None:
    """Print the distances of accepted projections, by calibration and by the pair of views that is clicked."""
    spec = SyntheticSpec(num_views=num_views, num_frames=40, num_sessions=1, num_video_frames=200, size=SIZE, seed=1)
    scene = make_scene(spec, 0)
    cameras, world = scene.cameras, scene.skeleton.keypoints[scene.labeled].reshape(-1, 3)
    points = project(world, cameras)
    inside = in_image(points, cameras)
    generator = np.random.default_rng(0)
    num_keypoints = scene.skeleton.keypoints.shape[1]
    print(
        f"\nclicks per frame: {2 * num_keypoints} with geometry, {num_views * num_keypoints} without "
        f"({num_views} views, {num_keypoints} keypoints)\n"
    )
    print(
        "| click noise | calibration | clicked views | accepted px, median | 95 % | times the clicks' own | marked | "
        "refined, median | learned | within the ellipse |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    calibrations = {
        "exact": cameras,
        "0.1 degree off": perturbed(cameras, np.random.default_rng(1), share=0.0),
        "0.1 degree, 0.2 % off": perturbed(cameras, np.random.default_rng(1), share=0.002),
    }
    for noise in (0.5, 1.0, 2.0):
        noisy = points + generator.normal(0, noise, points.shape)
        own = np.median(np.linalg.norm(noisy - points, axis=-1)[inside])
        for calibration, used in calibrations.items():
            rig = FrameRig(
                cameras=used, crop_to_full=np.tile(np.eye(2, 3), (num_views, 1, 1)), sizes=np.asarray(used.sizes)
            )
            for choice in ("any two", "most parallax"):
                order = choose_views(points, inside, cameras, choice, generator)
                row = accepted(rig, points, noisy, inside, order)
                print(
                    f"| {noise:g} | {calibration} | {choice} | {row['two']:.2f} | {row['95']:.2f} | "
                    f"{row['two'] / own:.2f} | {row['marked']:.0%} | {row['three']:.2f} | {row['learned']:.2f} | "
                    f"{row['covered']:.0%} |"
                )


def accepted(
    rig: FrameRig, points: np.ndarray, noisy: np.ndarray, inside: np.ndarray, order: np.ndarray
) -> dict[str, float]:
    """Distances of the projections that are accepted after two and three clicks, and the noise learned from three."""
    rank = np.argsort(np.argsort(order, axis=0), axis=0)
    others = inside & (rank >= 3) & (np.isfinite(order).sum(0) >= 3)

    def clicks(count: int) -> np.ndarray:
        return np.where(((rank < count) & np.isfinite(order))[..., None], noisy, np.nan)

    learned = estimate_noise(*squared_residuals(rig.cameras, rig.crop_to_full, clicks(3)))
    two, three = (compare_views(rig, clicks(count), noise=learned) for count in (2, 3))
    offsets = (two.projections - points)[others]
    known = np.isfinite(offsets).all(-1)
    squares = np.einsum("ni,nij,nj->n", offsets[known], np.linalg.inv(two.covariances[others][known]), offsets[known])
    distance = np.linalg.norm(offsets[known], axis=-1)
    refined = np.linalg.norm(three.projections - points, axis=-1)[others]
    return {
        "two": float(np.median(distance)),
        "95": float(np.percentile(distance, 95)),
        "marked": float(two.disagrees.mean()),
        "three": float(np.nanmedian(refined)),
        "learned": learned,
        "covered": float(np.mean(squares < ELLIPSE_SIGMAS**2)),
    }


def perturbed(cameras: CameraGroup, generator: np.random.Generator, *, share: float) -> CameraGroup:
    """Cameras that are turned by 0.1 degree, and moved and of another focal length by a share."""
    count = len(cameras)
    axes = generator.normal(size=(count, 3))
    turns = Rotation.from_rotvec(np.deg2rad(0.1) * axes / np.linalg.norm(axes, axis=-1, keepdims=True)).as_matrix()
    moved = cameras.translation * (1 + share * generator.choice([-1, 1], (count, 3)))
    matrix = cameras.matrix.copy()
    matrix[:, [0, 1], [0, 1]] *= 1 + share * generator.choice([-1, 1], (count, 1))
    # The camera turns about its own center, so that everything it sees is displaced, by about 2 px.
    translation = (turns @ moved[..., None])[..., 0]
    return cameras.replace(matrix=matrix, rotation=turns @ cameras.rotation, translation=translation)


def choose_views(
    points: np.ndarray, inside: np.ndarray, cameras: CameraGroup, choice: str, generator: np.random.Generator
) -> np.ndarray:
    """(V, K) order in which the views of a keypoint are clicked, infinite where it is not in the image."""
    order = generator.random(inside.shape)
    if choice == "most parallax":
        parallax = np.where(np.isfinite(angles := pair_parallax(points, cameras)), angles, -1)
        pairs = [(a, b) for a in range(len(inside)) for b in range(a + 1, len(inside))]
        usable = np.array([inside[a] & inside[b] for a, b in pairs])
        best = np.argmax(np.where(usable, parallax, -1), axis=0)
        for keypoint, pair in enumerate(best):
            order[list(pairs[pair]), keypoint] -= 1
    return np.where(inside, order, np.inf)


def saving(root: Path, num_views: int) -> None:
    """Print the time to save one frame of 500."""
    import cv2

    num_frames, names = 500, [f"keypoint{number}" for number in range(16)]
    generator = np.random.default_rng(0)
    pixels = np.zeros((32, 32, 3), np.uint8)
    for view in range(num_views):
        images = [f"labeled-data/s_cam{view}/img{frame:08d}.png" for frame in range(num_frames)]
        (root / images[0]).parent.mkdir(parents=True)
        for image in images:
            cv2.imwrite(str(root / image), pixels)
        points = generator.uniform(0, 31, (num_frames, len(names), 2))
        visible = np.full((num_frames, len(names)), 2)
        write_labels(root / f"CollectedData_cam{view}.csv", images, names, points, visible, scorer="benchmark")
    with open_store(project_config(root)) as store:
        times = []
        for frame in range(30):
            store.edit(frame, {(view, 0): Label(float(frame % 30), 5.0, 2, "click") for view in range(num_views)})
            began = time.perf_counter()
            store.save()
            times.append(1000 * (time.perf_counter() - began))
    print(
        f"\nsaving a frame of {num_frames}, {num_views} tables: {np.median(times):.0f} ms median, "
        f"{max(times):.0f} ms at most"
    )


@contextmanager
def opened(root: Path) -> Iterator[object]:
    """The page of a project in a browser."""
    from helpers.browser import local_page
    from helpers.labeling import serve

    with serve(root) as served, local_page(served.address, width=1920, height=1080) as browser:
        browser.wait_for_selector("body[data-frame]")
        browser.wait_for_timeout(3000)
        yield browser


REDRAW = """async () => {
    const app = mvtrainLabel, times = [], scripts = [];
    const drawn = () => new Promise((resolve) => requestAnimationFrame(() => {
        const channel = new MessageChannel();
        channel.port1.onmessage = resolve;
        channel.port2.postMessage(0);
    }));
    for (let round = 0; round < 40; round++) {
        const began = performance.now();
        for (const view of app.views) view.zoom(round % 2 ? 1.05 : 1 / 1.05, [200, 200]);
        app.select(round % 10);
        scripts.push(performance.now() - began);
        await drawn();
        times.push(performance.now() - began);
    }
    return [times, scripts];
}"""

NEXT = """async (ahead) => {
    const app = mvtrainLabel, times = [];
    const drawn = () => new Promise((resolve) => requestAnimationFrame(() => {
        const channel = new MessageChannel();
        channel.port1.onmessage = resolve;
        channel.port2.postMessage(0);
    }));
    for (let round = 0; round < 6; round++) {
        if (!ahead) app.images.clear();
        const began = performance.now();
        await app.stepFrame(app.position + 1 < app.order.length ? 1 : -1);
        await drawn();
        times.push(performance.now() - began);
        await new Promise((resolve) => setTimeout(resolve, 2500));
    }
    return times;
}"""


def page(root: Path) -> None:
    """Print the times of the page."""
    shutil.rmtree(root / ".mvtrain-label", ignore_errors=True)
    with opened(root) as browser:
        times, scripts = browser.evaluate(REDRAW)  # type: ignore[attr-defined]
        print(
            f"redraw of all views: {np.median(times):.0f} ms median, {np.percentile(times, 95):.0f} ms 95 %, ", end=""
        )
        print(f"of which script {np.median(scripts):.0f} ms")
        for name, ahead in (("ahead", True), ("cold", False)):
            found = browser.evaluate(NEXT, ahead)  # type: ignore[attr-defined]
            print(f"next frame, {name}: {np.median(found):.0f} ms median, {max(found):.0f} ms at most")


if __name__ == "__main__":
    main()
