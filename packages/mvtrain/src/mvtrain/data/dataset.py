"""Decoded images of a project in memory that loader workers share."""

from __future__ import annotations

import multiprocessing
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from mvaug import Augmentation, augment_sample
from mvgeom.errors import InputError
from mvtrain.config.load import load_plugins, loaded_plugins
from mvtrain.data.augmentation import with_config_key
from mvtrain.data.batch import Batch, Sample, collate
from mvtrain.project.images import read_image
from mvtrain.project.labels_3d import complete_labels, triangulate_labels
from mvtrain.project.project import Project, full_to_model


class ImageCache:
    """Images by path: those that fit the budget decoded once and kept in one shared block, the others read every time.

    Args:
        paths: the images, in order of importance; the first ones that fit are kept.
        sizes: (N, 2) width and height of each, from its header.
        max_bytes: how much memory to use.

    Raises:
        ValueError: for an image that is damaged, or where the system has less shared memory than asked for.
    """

    def __init__(self, paths: Sequence[Path], sizes: np.ndarray, max_bytes: float) -> None:
        ends = np.cumsum(np.prod(np.asarray(sizes, dtype=np.int64).reshape(-1, 2), axis=-1) * 3)
        num_kept = int(np.searchsorted(ends, max_bytes, side="right"))
        self._place = {path: row for row, path in enumerate(paths[:num_kept])}
        self._starts = np.concatenate([[0], ends])
        self._shapes = [(int(height), int(width), 3) for width, height in np.asarray(sizes)[:num_kept]]
        self._pixels = _shared_block(int(ends[num_kept - 1]) if num_kept else 0)
        with ThreadPoolExecutor() as pool:
            for _ in pool.map(self._fill, self._place):
                pass

    @classmethod
    def from_project(cls, project: Project, *, max_bytes: float) -> ImageCache:
        """A cache of the project's images, frame by frame."""
        places = [(row, view) for row, paths in enumerate(project.image_paths) for view, p in enumerate(paths) if p]
        paths = [project.image_paths[row][view] for row, view in places]
        sizes = np.array([project.file_sizes[row, view] for row, view in places])
        return cls([path for path in paths if path is not None], sizes, max_bytes)

    def _fill(self, path: Path) -> None:
        image = read_image(path)
        expected = self._shapes[self._place[path]]
        if image.shape != expected:
            raise ValueError(
                f"{path}: decodes to {image.shape[1]}x{image.shape[0]} px, its header says {expected[1]}x{expected[0]}"
            )
        self._slot(path)[:] = image

    def _slot(self, path: Path) -> np.ndarray:
        row = self._place[path]
        return self._pixels.numpy()[self._starts[row] : self._starts[row + 1]].reshape(self._shapes[row])

    def read(self, path: Path) -> np.ndarray:
        """(H, W, 3) uint8 RGB; not to be written to."""
        return self._slot(path) if path in self._place else read_image(path)


def _shared_block(num_bytes: int) -> torch.Tensor:
    """(num_bytes,) uint8 that workers see without a copy of their own."""
    block = torch.empty(num_bytes, dtype=torch.uint8)
    # Forked workers see what their parent holds. Shared memory, which is scarce in containers, is for all others.
    if multiprocessing.get_start_method() == "fork":
        return block
    try:
        return block.share_memory_()
    except RuntimeError as error:
        raise ValueError(
            f"data.cache_gb: {num_bytes / 1e9:.2f} GB of decoded images do not fit into shared memory ({error}); lower "
            "data.cache_gb, or give the container more (docker run --shm-size)"
        ) from error


Key = tuple[int, int]
"""Epoch and row of the project: all that a sample's randomness depends on, beside the seed."""


class FrameDataset(Dataset[Sample]):
    """Samples by (epoch, row).

    Args:
        project: where the frames are.
        size: width and height in model px.
        augmentation: what to do to them.
        seed: of the augmentation.
        cache: decoded images.
        labels_from_3d: whether views that do not see a keypoint get its projection as label; see `complete_labels`.
    """

    def __init__(
        self,
        project: Project,
        *,
        size: tuple[int, int],
        augmentation: Augmentation,
        seed: int,
        cache: ImageCache,
        labels_from_3d: bool = False,
    ) -> None:
        self.project = project
        self.size = size
        self.augmentation = augmentation
        self.seed = seed
        self.cache = cache
        self.points_3d = triangulate_labels(project)
        targets = complete_labels(project, self.points_3d) if labels_from_3d else project
        self.points_full, self.visibility = targets.points_full, targets.visibility

    @property
    def num_labels_from_3d(self) -> int:
        """How many labels, over all frames, views do not have themselves."""
        return int((self.visibility != self.project.visibility).sum())

    def __getitem__(self, key: Key) -> Sample:
        epoch, row = key
        project = self.project
        paths = project.image_paths[row]
        images = [None if path is None else self.cache.read(path) for path in paths]
        visibility = self.visibility[row].copy()
        # A counter-based generator, keyed by what the sample is and not by who asks for it.
        generator = np.random.Generator(np.random.Philox(key=[self.seed, epoch], counter=[0, 0, 0, row]))
        try:
            augmented = augment_sample(
                images,
                crop_to_full=project.crop_to_full[row],
                full_to_model=full_to_model(project, row, self.size),
                points=np.where((visibility == 2)[..., None], self.points_full[row], np.nan),
                points_3d=self.points_3d[row],
                cameras=project.cameras[row],
                size=self.size,
                augmentation=self.augmentation,
                generator=generator,
            )
        except InputError as error:
            raise with_config_key(error) from error
        visibility = visibility[:, augmented.keypoint_order]
        outside = ~_inside(augmented.points, self.size)
        visibility[(visibility == 2) & outside] = 0
        return Sample(
            index=row,
            images=augmented.images,
            points=augmented.points,
            visibility=visibility,
            view_present=np.array([image is not None for image in images]),
            to_model=augmented.to_model,
            cameras=project.cameras[row],
            moved=augmented.moved,
        )


def subject_size(points_3d: np.ndarray) -> float | None:
    """Median over frames of the diagonal of the subject's 3D bounding box, in world units; None without 3D labels."""
    known = points_3d[np.isfinite(points_3d).all(-1).sum(-1) >= 2]
    if len(known) == 0:
        return None
    extent = np.nanmax(known, axis=1) - np.nanmin(known, axis=1)
    return float(np.median(np.linalg.norm(extent, axis=-1)))


def _inside(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.all((points >= -0.5) & (points <= np.array(size) - 0.5), axis=-1)


class EpochSampler(Sampler[list[Key]]):
    """Batches of (epoch, row), shuffled by (seed, epoch).

    Args:
        rows: of the project.
        batch_size: frames per batch over all ranks; the last batch of an epoch may be smaller.
        seed: of the order; None keeps the rows in order.
        rank: which process of `num_ranks` this is: it gets every num_ranks-th frame of each batch.
        num_ranks: processes that share the batches.

    Attributes:
        epoch: which order comes next.
        first_batch: how many batches of that epoch are left out, because a run goes on from within it.

    Raises:
        ValueError: batches too small to share, or a last batch that would leave a process without a frame.
    """

    def __init__(
        self,
        rows: Sequence[int] | np.ndarray,
        *,
        batch_size: int,
        seed: int | None,
        rank: int = 0,
        num_ranks: int = 1,
    ) -> None:
        self.rows = np.asarray(rows, dtype=np.int64)
        smallest = min(batch_size, len(self.rows) % batch_size or batch_size, max(len(self.rows), 1))
        if smallest < num_ranks:
            raise ValueError(
                f"{num_ranks} processes cannot share a batch of {smallest}: {len(self.rows)} frames in batches of "
                f"{batch_size}; change training.train_batch_size or the number of devices"
            )
        self.rank, self.num_ranks = rank, num_ranks
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0
        self.first_batch = 0

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def __iter__(self) -> Iterator[list[Key]]:
        rows = self.rows
        if self.seed is not None:
            rows = np.random.Generator(np.random.Philox(key=[self.seed, self.epoch])).permutation(rows)
        for start in range(self.first_batch * self.batch_size, len(rows), self.batch_size):
            batch = rows[start : start + self.batch_size]
            yield [(self.epoch, int(row)) for row in batch[self.rank :: self.num_ranks]]


_BEFORE_MESSAGE = re.compile(r"\n(?:[\w.]+\.)?(?:ValueError|InputError): ")
"""End of a traceback: what stands between it and the error's message."""


class _Loader(DataLoader[Batch]):
    """Batches; an error in a worker reads as if there were no worker."""

    def __iter__(self) -> Any:
        try:
            yield from super().__iter__()
        except ValueError as error:
            # torch puts the worker's traceback before the message, which alone tells the user what to do.
            *before, message = _BEFORE_MESSAGE.split(str(error))
            if not before:
                raise
            raise (InputError if isinstance(error, InputError) else ValueError)(message.rstrip()) from error


def make_loader(
    dataset: FrameDataset, sampler: EpochSampler, *, num_workers: int, pin_memory: bool
) -> DataLoader[Batch]:
    """A loader whose batches depend on the sampler's epoch and the data set's seed, not on the number of workers.

    Its iterator raises a ValueError that names the file when an image cannot be decoded.
    """
    return _Loader(
        dataset,  # type: ignore[arg-type]  # samples in, batches out: collate_fn changes the type
        batch_sampler=sampler,
        collate_fn=collate,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=pin_memory,
        # A worker that is not forked has not run the plugins, which register transforms.
        worker_init_fn=partial(_init_worker, plugins=loaded_plugins()),
        # Without a generator of its own a loader draws its base seed from, and so advances, torch's global state.
        generator=torch.Generator(),
    )


def _init_worker(worker: int, *, plugins: tuple[Path, ...]) -> None:
    del worker
    load_plugins(plugins)
    # The workers themselves are the parallelism.
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
