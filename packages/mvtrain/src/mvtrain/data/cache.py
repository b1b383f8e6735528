"""Decoded images of a project in memory that loader workers share."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from mvtrain.data.images import read_image
from mvtrain.data.project import Project


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
    def of_project(cls, project: Project, *, max_bytes: float) -> ImageCache:
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
