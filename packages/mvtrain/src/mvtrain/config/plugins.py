"""Python files of users that register losses, backbones, image transforms and calibration formats."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path

_PREFIX = "mvtrain_plugin_"


def load_plugins(paths: Iterable[Path]) -> None:
    """Run Python files, each once per process; what they raise is not caught.

    Args:
        paths: absolute.

    Raises:
        ValueError: a file does not exist or is not Python's.
    """
    for path in paths:
        if not path.is_file() or path.suffix != ".py":
            kind = "is no Python file (.py)" if path.exists() else "does not exist"
            raise ValueError(f"model.plugins: {path} {kind}")
        name = f"{_PREFIX}{path.stem}_{hashlib.sha256(bytes(path)).hexdigest()[:8]}"
        if name in sys.modules:
            continue
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        # Before it runs: dataclasses, pickle and timm's registry look up the module that a function is from.
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise


def loaded_plugins() -> tuple[Path, ...]:
    """Return the files that `load_plugins` ran in this process, in the order in which it did."""
    modules = [module for name, module in list(sys.modules.items()) if name.startswith(_PREFIX)]
    return tuple(Path(module.__file__) for module in modules if module.__file__)
