"""torch, for tests that also run where only mvgeom is installed: there, a test that uses torch skips and says so."""

from __future__ import annotations

from typing import Any

import pytest


class _SkipsWhenCalled:
    """Stands for a library that is not installed; can be named in decorators and annotations, but not used."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> _SkipsWhenCalled:
        return _SkipsWhenCalled(self._name)

    def __call__(self, *_: object, **__: object) -> Any:
        pytest.skip(f"{self._name} is not installed")


try:
    import torch
except ModuleNotFoundError:
    torch: Any = _SkipsWhenCalled("torch")  # type: ignore[no-redef]

__all__ = ["double_tensor", "torch"]


def double_tensor() -> Any:
    """An empty float64 tensor: what `CameraGroup.to(like=...)` takes library and dtype from."""
    return torch.zeros(0, dtype=torch.float64)
