"""Speed of the way from files to batches: map fits, warps, the steps of a sample, and the loader with its workers.

    OMP_NUM_THREADS=1 uv run python benchmarks/data.py [FOLDER] [--workers 0 1 2] [--epochs 3]

The project has 4 views of 640 x 512 PNG and is generated in FOLDER, or in a temporary one; a FOLDER that exists is used
as it is. Samples have 256 x 256 px, the `dlc` preset and the 3D move. Cold means that every epoch decodes its files
(which the operating system may well hold in memory), cached that they are decoded once (`data.cache_gb`).

Two figures per loader row: samples per second of the best epoch, which other work on the machine lowers, and CPU
milliseconds per sample over all processes, their start included, which it does not. Targets and peers are those of
the project's design for two cores.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import timeit
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from mvaug import Augmentation, fit_affine, fit_similarity, warp_image
from mvaug.move import MoveRanges, move_subject
from mvtrain.config import load_config
from mvtrain.data.batch import collate
from mvtrain.data.dataset import EpochSampler, FrameDataset, ImageCache, make_loader
from mvtrain.project.images import read_image
from mvtrain.project.project import Project, read_project
from mvtrain.synth import SyntheticSpec, generate_project

SIZE = (256, 256)
BATCH_SIZE = 8
SPEC = SyntheticSpec(
    num_views=4, num_frames=48, num_sessions=1, num_video_frames=48, size=(640, 512), image_format="png"
)


def best(function: Callable[[], object]) -> float:
    """Milliseconds per call: the best of five rounds, each a tenth of a second or one call."""
    function()
    number = max(1, int(0.1 / max(timeit.timeit(function, number=1), 1e-9)))
    return 1e3 * min(timeit.repeat(function, number=number, repeat=5)) / number


def time_maps(table: Table) -> None:
    """Fits and warps of 128 sets and images."""
    generator = np.random.default_rng(0)
    source, target = generator.normal(0, 100, (2, 128, 17, 2))
    mask = generator.random((128, 17)) < 0.9
    similarity = best(lambda: fit_similarity(source, target, mask))
    table.add_row("similarity fit of 128 sets of 17 pairs", f"{similarity:.2f} ms", "<= 0.5 ms", "11.3 ms")
    table.add_row("affine fit of 128 sets of 17 pairs", f"{best(lambda: fit_affine(source, target, mask)):.2f} ms")

    images = generator.integers(0, 256, (128, 256, 256, 3), dtype=np.uint8)
    turn = np.array([[1.05, -0.3, 30.0], [0.3, 1.05, -40.0]])
    seconds = best(lambda: [warp_image(image, turn, SIZE) for image in images]) / 1e3
    table.add_row("warp of 128 images of 256x256x3", f"{128 / seconds:.0f} images/s", ">= 950 images/s", "102 images/s")


def make_dataset(project: Project, imgaug: str, cache_gb: float) -> FrameDataset:
    return FrameDataset(
        project,
        size=SIZE,
        augmentation=Augmentation.from_config(imgaug, True, keypoint_names=project.keypoint_names),
        seed=0,
        cache=ImageCache.from_project(project, max_bytes=cache_gb * 1e9),
    )


def time_steps(table: Table, project: Project) -> None:
    """The steps of a sample in one process, mean over the project's frames."""
    rows = range(len(project))
    paths = [path for paths in project.image_paths for path in paths if path is not None]
    table.add_row(
        "reading its PNG files", f"{best(lambda: [read_image(path) for path in paths]) / len(rows):.1f} ms/sample"
    )
    generator = np.random.default_rng(0)
    cameras, points_3d = project.cameras[0], make_dataset(project, "none", 0).points_3d[0]
    assert cameras is not None
    move = best(lambda: move_subject(points_3d, cameras, MoveRanges(), generator))
    table.add_row("3D move and fit of its views", f"{move:.2f} ms/sample")
    for imgaug in ("none", "dlc-mv", "dlc"):
        dataset = make_dataset(project, imgaug, 4)
        milliseconds = best(lambda d=dataset: [d[0, row] for row in rows]) / len(rows)
        table.add_row(f"{imgaug} with 3D move, images in memory", f"{milliseconds:.1f} ms/sample")
    samples = [dataset[0, row] for row in range(BATCH_SIZE)]
    table.add_row(f"stacking {BATCH_SIZE} samples", f"{best(lambda: collate(samples)) / BATCH_SIZE:.2f} ms/sample")


def time_loader(dataset: FrameDataset, num_workers: int, num_epochs: int) -> tuple[float, float]:
    """Samples per second of the best epoch, and CPU milliseconds per sample over this process and its workers."""
    num_frames = len(dataset.project)
    before = sum(os.times()[:4])
    sampler = EpochSampler(np.arange(num_frames), batch_size=BATCH_SIZE, seed=0)
    loader = make_loader(dataset, sampler, num_workers=num_workers, pin_memory=False)
    seconds = []
    for epoch in range(num_epochs + 1):
        sampler.epoch = epoch
        start = time.perf_counter()
        for _ in loader:
            pass
        seconds.append(time.perf_counter() - start)
    del loader  # the time of workers counts once they have ended
    cpu = sum(os.times()[:4]) - before
    return num_frames / min(seconds[1:]), 1e3 * cpu / (num_frames * len(seconds))


def time_loaders(table: Table, project: Project, workers: list[int], num_epochs: int) -> None:
    for kind, cache_gb in (("cold", 0.0), ("cached", 4.0)):
        dataset = make_dataset(project, "dlc", cache_gb)
        for num_workers in workers:
            rate, cpu = time_loader(dataset, num_workers, num_epochs)
            goal = (">= 40 samples/s", "8.2 samples/s") if (kind, num_workers) == ("cold", 2) else ("", "")
            measured = f"{rate:.1f} samples/s, {cpu:.1f} ms CPU/sample"
            table.add_row(f"loader, {kind}, {num_workers} workers", measured, *goal)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="project to use, or to generate if it does not exist")
    parser.add_argument("--workers", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=3, help="timed ones, after one to warm up")
    arguments = parser.parse_args()
    # As in the loader's workers, so that one core is one core.
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    table = Table("work", "measured", "target", "best peer", box=None)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary) / "project"
        if not folder.exists():
            generate_project(folder, SPEC, num_workers=2)
        project = read_project(load_config(folder / "config.yaml"))
        time_maps(table)
        time_steps(table, project)
        time_loaders(table, project, arguments.workers, arguments.epochs)
    Console(width=120).print(table, highlight=False)


if __name__ == "__main__":
    main()
