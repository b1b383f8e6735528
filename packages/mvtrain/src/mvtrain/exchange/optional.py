"""Libraries that only exchange needs, and that mvtrain works without."""

from __future__ import annotations

import importlib
from typing import Any


def need(module: str, why: str) -> Any:
    """Import a library of the extra `exchange`.

    Args:
        module: such as `sleap_io` or `movement.io`.
        why: what it is needed for, for the message.

    Raises:
        ValueError: it is not installed; the message has the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        raise ValueError(
            f"{why} needs the library {library}, which cannot be imported ({error}); install it with: pip install "
            '"mvtrain[exchange]"'
        ) from error
