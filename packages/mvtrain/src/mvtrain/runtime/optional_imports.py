"""Libraries that only some commands need, and that mvtrain works without."""

from __future__ import annotations

import importlib
from typing import Any, Literal


def need(module: str, why: str, extra: Literal["exchange", "export"] = "exchange") -> Any:
    """Import a library of one of mvtrain's extras.

    Args:
        module: such as `sleap_io` or `movement.io`.
        why: what it is needed for, for the message.
        extra: which extra it belongs to.

    Raises:
        ValueError: it is not installed; the message has the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        raise ValueError(
            f"{why} needs the library {library}, which cannot be imported ({error}); install it with: pip install "
            f'"mvtrain[{extra}]"'
        ) from error
