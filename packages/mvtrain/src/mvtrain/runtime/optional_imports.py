"""Imports of libraries that only some commands need."""

from __future__ import annotations

import importlib
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
