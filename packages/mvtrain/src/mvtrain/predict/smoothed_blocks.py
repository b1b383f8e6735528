"""Finished blocks of a recording that is being smoothed, on disk, so that it can be resumed."""

from __future__ import annotations

import dataclasses
import json
import shutil
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mvgeom import Bone, Noise, Smoothed
from mvgeom.files import replace_file, write_text


class SmoothedBlocks:
    """Blocks of a recording and its noise.

    Args:
        folder: Existing folder of the recording's unfinished result; what is in it from other inputs is removed.
        identity: Plain values that determine every byte of the result.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        self._folder = folder
        manifest, text = folder / "manifest.json", json.dumps(identity, indent=1)
        if not (manifest.is_file() and manifest.read_text(encoding="utf-8") == text):
            for old in folder.glob("*.npz"):
                old.unlink()
            write_text(manifest, text)

    def noise(self) -> Noise | None:
        """Return the noise; None before it is saved, or where its file is damaged."""
        found = _load(self._folder / "noise.npz")
        if found is None or found.keys() != {field.name for field in dataclasses.fields(Noise)}:
            return None
        return Noise(**{name: value if value.ndim else value.item() for name, value in found.items()})  # type: ignore[arg-type]

    def save_noise(self, noise: Noise) -> None:
        """Save the noise."""
        _save(
            self._folder / "noise.npz", {name: np.asarray(value) for name, value in dataclasses.asdict(noise).items()}
        )

    def bones(self) -> tuple[Bone, ...] | None:
        """Return the bones with their lengths; None before they are saved, or where their file is damaged."""
        found = _load(self._folder / "bones.npz")
        if found is None or found.keys() != {"ends", "sizes"}:
            return None
        rows = zip(found["ends"], found["sizes"], strict=True)
        return tuple(
            Bone(first=int(ends[0]), second=int(ends[1]), length=_number(sizes[0]), std=_number(sizes[1]))
            for ends, sizes in rows
        )

    def save_bones(self, bones: Sequence[Bone]) -> None:
        """Save the bones."""
        ends = np.array([(bone.first, bone.second) for bone in bones], dtype=int).reshape(-1, 2)
        sizes = np.array([(bone.length, bone.std) for bone in bones], dtype=np.float64).reshape(-1, 2)
        _save(self._folder / "bones.npz", {"ends": ends, "sizes": sizes})

    def has(self, number: int) -> bool:
        """Return True if a block and the noise are there as a whole."""
        return self.noise() is not None and _load(self._path(number)) is not None

    def save(self, number: int, found: Smoothed) -> None:
        """Save a block; its noise is that of the recording."""
        _save(self._path(number), {name: each for name, each in vars(found).items() if isinstance(each, np.ndarray)})

    def load(self, number: int) -> Smoothed:
        """Load a block that is there."""
        found, noise = _load(self._path(number)), self.noise()
        assert found is not None
        assert noise is not None
        return Smoothed(**found, noise=noise)  # type: ignore[arg-type]

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self._folder)

    def _path(self, number: int) -> Path:
        return self._folder / f"block{number:06d}.npz"


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]

    replace_file(path, write)


def _load(path: Path) -> dict[str, np.ndarray] | None:
    """Read arrays; None for a file that is not there or, after a power cut, not whole."""
    try:
        with np.load(path, allow_pickle=False) as found:
            return {name: found[name] for name in found.files}
    except (FileNotFoundError, EOFError, ValueError, KeyError, NotImplementedError, zlib.error, zipfile.BadZipFile):
        return None
