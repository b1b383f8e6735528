"""Samples of a project: cache of decoded images, augmentation, dataset, order of the frames, loader."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from mvaug import Augmentation, augment_sample
from mvgeom import affine
from mvgeom.errors import InputError
from mvgeom.wording import counted
from mvtrain.config.plugins import load_plugins, loaded_plugins
from mvtrain.config.schema import TrainingConfig
from mvtrain.data.batch import Batch, Sample, collate
from mvtrain.project.images import read_image
from mvtrain.project.labels_3d import complete_labels, triangulate_labels
from mvtrain.project.project import Project, full_to_model

Key = tuple[int, int]
"""Epoch and row of the project: a sample's randomness depends on these and the seed only."""


def make_augmentation(
    training: TrainingConfig, imgaug_3d: bool | Mapping[str, Any], keypoint_names: Sequence[str]
) -> Augmentation:
    """Parse the augmentation of training samples.

    Args:
        training: Section of the config.
        imgaug_3d: 3D augmentation that the project gets.
        keypoint_names: Keypoint names of the project.

    Raises:
        InputError: A value of `training.imgaug` or `training.imgaug_3d` is not valid, or a flip cannot tell left from
            right; its `key` is the config's key.
    """
    try:
        return Augmentation.from_config(
            training.imgaug, imgaug_3d, keypoint_names=keypoint_names, hflip=training.imgaug_hflip
        )
    except InputError as error:
        if error.facts.get("argument") == "keypoint_names":
            key = "training.imgaug_hflip" if training.imgaug_hflip else "training.imgaug"
            raise error.prefixed(f"{key}: ", key=key) from error
        raise with_config_key(error) from error


def with_config_key(error: InputError) -> InputError:
    """Return an error of mvaug with the key of the config before its message; errors of other arguments as they are."""
    argument = error.facts.get("argument", "")
    if not argument.startswith("imgaug"):
        return error
    return error.prefixed("training.", key=f"training.{argument}")


class ImageCache:
    """Images by path: decoded once into a block of shared memory as far as they fit, the others read every time.

    Args:
        paths: Paths of the images, in order of importance; the first ones that fit are kept.
        sizes: (N, 2) width and height of each image, from its header.
        max_bytes: Largest size of the block in bytes.
        bits: Bits in use of images with 16 bits, by path; without one, those of the image alone.

    Raises:
        InputError: An image is damaged or of another size than its header says, or the system has less shared memory
            than the block needs.
    """

    def __init__(
        self, paths: Sequence[Path], sizes: np.ndarray, max_bytes: float, bits: Mapping[Path, int] | None = None
    ) -> None:
        self._bits = bits or {}
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
        """Make the cache of a project's images, frame by frame."""
        places = [(row, view) for row, paths in enumerate(project.image_paths) for view, p in enumerate(paths) if p]
        paths = [project.image_paths[row][view] for row, view in places]
        sizes = np.array([project.file_sizes[row, view] for row, view in places])
        return cls([path for path in paths if path is not None], sizes, max_bytes, project.bits_of_paths)

    def _fill(self, path: Path) -> None:
        image = read_image(path, self._bits.get(path))
        expected = self._shapes[self._place[path]]
        if image.shape != expected:
            raise InputError(
                f"image {path}: decodes to another size than its header says, found {image.shape[1]}x{image.shape[0]} "
                f"px, expected {expected[1]}x{expected[0]} px",
                code="size-mismatch",
                path=path,
                found=image.shape[1::-1],
                expected=expected[1::-1],
            )
        self._slot(path)[:] = image

    def _slot(self, path: Path) -> np.ndarray:
        row = self._place[path]
        return self._pixels.numpy()[self._starts[row] : self._starts[row + 1]].reshape(self._shapes[row])

    def read(self, path: Path) -> np.ndarray:
        """Return (H, W, 3) uint8 RGB; not to be written to."""
        return self._slot(path) if path in self._place else read_image(path, self._bits.get(path))


class FrameDataset(Dataset[Sample]):
    """Samples by (epoch, row).

    Args:
        project: Project of the frames.
        size: Width and height of the network's input in model px.
        augmentation: Augmentation of the samples.
        seed: Random seed of the augmentation.
        cache: Cache of decoded images.
        labels_from_3d: True if views that do not see a keypoint get its projection as label; see `complete_labels`.
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
        """Return the number of labels, over all frames, that are projections of 3D labels."""
        return int((self.visibility != self.project.visibility).sum())

    def __getitem__(self, key: Key) -> Sample:
        epoch, row = key
        project = self.project
        paths = project.image_paths[row]
        images = [None if path is None else self.cache.read(path) for path in paths]
        visibility = self.visibility[row].copy()
        # A counter-based generator, keyed by the sample, so that it does not depend on the worker.
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
            model_to_crop=affine.invert(affine.compose(augmented.to_model, project.crop_to_full[row]))[..., :2],
            cameras=project.cameras[row],
            moved=augmented.moved,
        )

    def __getitems__(self, keys: Sequence[Key]) -> list[Sample | InputError]:
        """Return the samples of a batch (called by torch's data loader), or in their place the error of one of them.

        Torch makes a text of an exception in a worker; as a value it keeps its code and facts.
        """
        try:
            return [self[key] for key in keys]
        except InputError as error:
            return [error]


def subject_size(points_3d: np.ndarray) -> float | None:
    """Return the median diagonal of the subject's 3D bounding box, in world units; None if no frame has a box."""
    known = points_3d[np.isfinite(points_3d).all(-1).sum(-1) >= 2]
    return None if len(known) == 0 else float(np.median(_diagonal(known))) or None


def range_of_motion(points_3d: np.ndarray, sessions: Sequence[str]) -> float | None:
    """Return the median over sessions of the diagonal of the box around all their 3D labels; None without a box.

    It takes the place of the size of a subject of one keypoint, which has none.

    Args:
        points_3d: (N, K, 3) world points, NaN where missing.
        sessions: Session of each of the N frames.
    """
    names = np.asarray(sessions)
    boxes = [
        float(_diagonal(known[None])[0])
        for name in dict.fromkeys(sessions)
        if len(known := points_3d[(names == name)[:, None] & np.isfinite(points_3d).all(-1)])
    ]
    moving = [box for box in boxes if box > 0]
    return float(np.median(moving)) if moving else None


def _diagonal(points: np.ndarray) -> np.ndarray:
    """Return the (N,) diagonals of the boxes around points (N, K, 3), NaN where missing."""
    return np.linalg.norm(np.nanmax(points, axis=1) - np.nanmin(points, axis=1), axis=-1)


class EpochSampler(Sampler[list[Key]]):
    """Batches of (epoch, row), shuffled by (seed, epoch).

    Args:
        rows: Rows of the project.
        batch_size: Frames per batch over all ranks; the last batch of an epoch may be smaller.
        seed: Random seed of the order; None keeps the rows in order.
        others: Rows of which every epoch has some in place of `rows`, chosen anew for each epoch, as it is as long as
            without them. They need a seed.
        share: Share of the others in an epoch.
        rank: Number of this process among `num_ranks`: it gets every num_ranks-th frame of each batch.
        num_ranks: Number of processes that share the batches.

    Attributes:
        epoch: Epoch of the next iteration.
        first_batch: Number of batches of that epoch to leave out, because a resumed run has done them.

    Raises:
        InputError: A batch, such as the last of an epoch, would leave a process without a frame (`out-of-range`).
    """

    def __init__(
        self,
        rows: Sequence[int] | np.ndarray,
        *,
        batch_size: int,
        seed: int | None,
        others: np.ndarray | None = None,
        share: float = 0.0,
        rank: int = 0,
        num_ranks: int = 1,
    ) -> None:
        self.rows = np.asarray(rows, dtype=np.int64)
        self.others = np.zeros(0, dtype=np.int64) if others is None else others
        self.num_others = min(round(share * len(self.rows)), len(self.others))
        smallest = min(batch_size, len(self.rows) % batch_size or batch_size, max(len(self.rows), 1))
        if smallest < num_ranks:
            raise InputError(
                f"{num_ranks} processes cannot share a batch of {smallest}: {counted(len(self.rows), 'frame')} in "
                f"batches of {batch_size}. Change training.train_batch_size or the number of devices",
                code="out-of-range",
                key="training.train_batch_size",
                found=smallest,
                expected=num_ranks,
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
            generator = np.random.Generator(np.random.Philox(key=[self.seed, self.epoch]))
            rows = generator.permutation(rows)
            if self.num_others:
                others = generator.permutation(self.others)[: self.num_others]
                rows = generator.permutation(np.concatenate([rows[: len(rows) - self.num_others], others]))
        for start in range(self.first_batch * self.batch_size, len(rows), self.batch_size):
            batch = rows[start : start + self.batch_size]
            yield [(self.epoch, int(row)) for row in batch[self.rank :: self.num_ranks]]


def make_loader(
    dataset: FrameDataset, sampler: EpochSampler, *, num_workers: int, pin_memory: bool
) -> DataLoader[Batch]:
    """Make a loader whose batches depend on the sampler's epoch and the dataset's seed, not on the number of workers.

    Its iterator raises an `InputError` that names the file when an image cannot be decoded.
    """
    return _Loader(
        dataset,  # type: ignore[arg-type]  # samples in, batches out: collate_fn changes the type
        batch_sampler=sampler,
        collate_fn=_collate,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=pin_memory,
        # A worker that is not forked has not run the plugins, which register transforms.
        worker_init_fn=partial(_init_worker, plugins=loaded_plugins()),
        # Without a generator of its own a loader draws its base seed from, and so advances, torch's global state.
        generator=torch.Generator(),
    )


class _Loader(DataLoader[Batch]):
    """Loader that raises an `InputError` of a worker as if there were no worker."""

    def __iter__(self) -> Any:
        for batch in super().__iter__():
            if isinstance(batch, InputError):
                raise batch
            yield batch


def _shared_block(num_bytes: int) -> torch.Tensor:
    """Return (num_bytes,) uint8 that loader workers share."""
    block = torch.empty(num_bytes, dtype=torch.uint8)
    # Forked workers share their parent's memory. Shared memory, which is scarce in containers, is for all others.
    if multiprocessing.get_start_method() == "fork":
        return block
    try:
        return block.share_memory_()
    except RuntimeError as error:
        raise InputError(
            f"data.cache_gb: {num_bytes / 1e9:.2f} GB of decoded images do not fit into shared memory ({error}). Lower "
            "data.cache_gb, or give the container more (docker run --shm-size)",
            code="bad-value",
            key="data.cache_gb",
            found=num_bytes / 1e9,
        ) from error


def _inside(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.all((points >= -0.5) & (points <= np.array(size) - 0.5), axis=-1)


def _collate(samples: Sequence[Sample | InputError]) -> Batch | InputError:
    """Stack samples; an error takes the place of the batch."""
    error = next((sample for sample in samples if isinstance(sample, InputError)), None)
    try:
        return error or collate([sample for sample in samples if isinstance(sample, Sample)])
    except InputError as error:
        return error


def _init_worker(worker: int, *, plugins: tuple[Path, ...]) -> None:
    del worker
    load_plugins(plugins, announce=False)
    # The workers themselves are the parallelism.
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
