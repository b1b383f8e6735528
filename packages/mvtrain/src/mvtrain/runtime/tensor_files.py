"""Tensors written by PyTorch, with the disk's errors as errors of Python."""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO, Any

import torch


def save_tensors(content: object, path: Path) -> None:
    """Write tensors and plain values as `torch.save` does, without a copy in memory.

    Given a path, `torch.save` raises a RuntimeError without the reason where the disk is full.

    Args:
        content: Tensors and plain values, nested in dictionaries and lists.
        path: Path of the file.

    Raises:
        OSError: The file cannot be written, or the disk is full.
    """
    with path.open("wb") as file:
        sink = _Sink(file)
        torch.save(content, sink)  # type: ignore[arg-type]
        if sink.error is not None:
            raise sink.error


class _Sink(io.RawIOBase):
    """File that keeps the first error of writing and then takes everything, as PyTorch must not see one.

    Args:
        file: File that is written.

    Attributes:
        error: First error.
    """

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self.error: OSError | None = None
        self._file = file

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, content: Any, /) -> int:
        """Write bytes to the file; after an error they are dropped."""
        size = memoryview(content).nbytes
        if self.error is None:
            try:
                self._file.write(content)
            except OSError as error:
                self.error = error
        return size
