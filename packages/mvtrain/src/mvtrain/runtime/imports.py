"""Imports: of libraries that only some commands need, and of large ones without searches for garbage."""

from __future__ import annotations

import atexit
import gc
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from mvgeom.errors import InputError


def need(module: str, why: str, extra: Literal["exchange", "export", "label", "nwb"] = "exchange") -> Any:
    """Import a library of one of mvtrain's extras.

    Args:
        module: Name of the module, such as `sleap_io` or `movement.io`.
        why: Purpose of the library, the subject of the message.
        extra: Extra of mvtrain that installs it.

    Raises:
        InputError: The library is not installed (`missing-library`); the message has the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        raise InputError(
            f"{why} needs the library {library}, which cannot be imported ({error}). Install it with: pip install "
            f'"mvtrain[{extra}]"',
            code="missing-library",
            library=library,
            extra=extra,
        ) from error


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
