"""Files of PyTorch: written with the disk's errors as errors of Python, read without code and in bounded memory."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from pathlib import Path
from typing import IO, Any

import torch

READING_ERRORS = (
    *(pickle.UnpicklingError, zipfile.BadZipFile, struct.error, EOFError, RuntimeError),
    *(ValueError, TypeError, AttributeError, LookupError, AssertionError, ArithmeticError),
)
"""Exceptions of reading a damaged pickle and of taking what is in it: it can hold about anything."""


def load_tensors(path: Path, *, mmap: bool = False) -> Any:
    """Read tensors and plain values of `torch.save`, on the CPU; a pickle that would run code is refused.

    Args:
        path: Path of the file.
        mmap: Read the tensors' content only where it is used.

    Raises:
        pickle.UnpicklingError: The file has more than tensors and plain values.
        OSError: The file cannot be read.
        Exception: Another of `READING_ERRORS`: the file is damaged, or unpacks to more than its size, as none of
            `torch.save` does.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > path.stat().st_size:
            raise ValueError(f"the file unpacks to {size} bytes, found {path.stat().st_size} bytes of file")
    return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)


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
