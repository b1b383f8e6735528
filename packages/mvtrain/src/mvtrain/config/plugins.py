"""Plugins of a config, and checks of the files that a config may run or read."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mvgeom.documents import parse_json
from mvgeom.errors import InputError
from mvgeom.files import read_text, write_text
from mvtrain.runtime.checksums import file_checksum

ALLOW_PLUGINS = "MVTRAIN_ALLOW_PLUGINS"
"""Variable of the environment that lets the plugins of all run folders run, if it is 1."""

ALLOW_RESOLVERS = "MVTRAIN_ALLOW_RESOLVERS"
"""Variable of the environment that lets `${oc.env:...}` and other resolvers in configs be resolved, if it is 1."""

_PURE_RESOLVERS = ("oc.select", "oc.create", "oc.decode", "oc.deprecated", "oc.dict.keys", "oc.dict.values")
"""Resolvers of OmegaConf that read nothing but the config."""

_RESOLVER = re.compile(r"(?<!\\)(?:\\\\)*\$\{\s*([\w.]+)\s*:")

_PREFIX = "mvtrain_plugin_"
"""Beginning of the names under which plugins are imported."""


def allow_plugins() -> None:
    """Let the plugins of all run folders run in this process and those that it starts, as --allow-plugins asks."""
    os.environ[ALLOW_PLUGINS] = "1"


def remember_plugins(paths: Iterable[Path]) -> None:
    """Remember the content of plugins that a training used, so that run folders with them can be used here.

    A state folder that cannot be written is a warning: the run can be used with --allow-plugins.
    """
    known = _known()
    found = {file_checksum(each): str(each) for each in paths}
    if found.keys() <= known.keys():
        return
    try:
        path = _state_file()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps({**known, **found}, indent=1) + "\n")
    except (OSError, RuntimeError, InputError) as error:
        warnings.warn(f"plugins are not remembered, so the run needs --allow-plugins: {error}", stacklevel=2)


def check_plugin(path: Path) -> None:
    """Check that a plugin of a run folder may run.

    Raises:
        InputError: `plugin-not-allowed`.
    """
    if os.environ.get(ALLOW_PLUGINS) == "1" or file_checksum(path) in _known():
        return
    raise InputError(
        f"model.plugins: the run needs {path}, which is code that no training of yours on this computer used. Read it, "
        "and allow it with --allow-plugins (in Python: allow_plugins=True)",
        code="plugin-not-allowed",
        key="model.plugins",
        path=path,
    )


def announce_plugin(path: Path) -> None:
    """Name a plugin before it runs; of several processes the first one does.

    The line is a warning of the logger `mvtrain`, which Python prints on standard error unless a program has handlers.
    """
    if os.environ.get("LOCAL_RANK", "0") == "0":
        logging.getLogger("mvtrain").warning("running the plugin %s (model.plugins)", path)


def resolver_in(value: Any) -> str | None:
    """Return the first resolver in the texts of a value that reads more than the config; None if all may be resolved.

    Args:
        value: Texts, numbers, lists and maps as in the file, unresolved.
    """
    if os.environ.get(ALLOW_RESOLVERS) == "1":
        return None
    for text in _texts(value):
        for found in _RESOLVER.finditer(text):
            if found[1] not in _PURE_RESOLVERS:
                return found[1]
    return None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)


def _state_file() -> Path:
    """Return the file of the user's own state that has the checksums of plugins."""
    if os.name == "nt":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    else:
        base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "mvtrain" / "plugins.json"


def _known() -> dict[str, str]:
    """Return the paths of remembered plugins by checksum; a file that cannot be read remembers none."""
    try:
        path = _state_file()
        document = parse_json(read_text(path), path) if path.is_file() else {}
    except (InputError, OSError, RuntimeError):  # the last one: no home folder
        return {}
    return {str(key): str(value) for key, value in document.items()} if isinstance(document, dict) else {}


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
