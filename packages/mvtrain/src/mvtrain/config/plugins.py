"""Plugins: Python files of a config that register losses, backbones and transforms."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path

from mvgeom.errors import InputError
from mvtrain.config.trust import announce_plugin, check_plugin

_PREFIX = "mvtrain_plugin_"
"""Beginning of the names under which plugins are imported."""


def load_plugins(paths: Iterable[Path], *, check: bool = False, announce: bool = True) -> None:
    """Run Python files that register losses and backbones, each once per process; their exceptions are not caught.

    Args:
        paths: Absolute paths of the files.
        check: Run only files that may run although a run folder names them, see `check_plugin`.
        announce: Name each file before it runs.

    Raises:
        InputError: A file does not exist (`missing-file`), is not a Python file (`unsupported-file`), or may not run
            (`plugin-not-allowed`).
    """
    for path in paths:
        if not path.exists():
            raise InputError(
                f"model.plugins: {path} does not exist", code="missing-file", key="model.plugins", path=path
            )
        if not path.is_file() or path.suffix != ".py":
            raise InputError(
                f"model.plugins: {path} is not a Python file (.py)",
                code="unsupported-file",
                key="model.plugins",
                path=path,
            )
        name = f"{_PREFIX}{path.stem}_{hashlib.sha256(bytes(path)).hexdigest()[:8]}"
        if name in sys.modules:
            continue
        if check:
            check_plugin(path)
        if announce:
            announce_plugin(path)
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
