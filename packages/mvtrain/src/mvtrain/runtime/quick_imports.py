"""Imports of large libraries without searches for garbage."""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quick_imports() -> Iterator[None]:
    """Import in the context without searches for garbage, which take a third of the time to import torch.

    Modules are no garbage: those that came with torch are exempt from later searches, too.
    """
    enabled, first = gc.isenabled(), "torch" not in sys.modules
    gc.disable()
    try:
        yield
        if first and "torch" in sys.modules:
            gc.freeze()
            # What still is exempt at the end of a process counts as leaked: nanobind, which triton uses, prints so.
            atexit.register(gc.unfreeze)
    finally:
        if enabled:
            gc.enable()
