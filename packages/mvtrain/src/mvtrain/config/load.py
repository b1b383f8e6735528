"""Python files of users that register losses and backbones."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException, ValidationError

from mvgeom.files import write_text
from mvtrain.config.keys import conform, expected_at, is_foreign
from mvtrain.config.schema import Config, DataConfig, EvalConfig, LossConfig, ModelConfig
from mvtrain.config.training_section import TrainingConfig

_PLUGIN_PREFIX = "mvtrain_plugin_"


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
        name = f"{_PLUGIN_PREFIX}{path.stem}_{hashlib.sha256(bytes(path)).hexdigest()[:8]}"
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
    modules = [module for name, module in list(sys.modules.items()) if name.startswith(_PLUGIN_PREFIX)]
    return tuple(Path(module.__file__) for module in modules if module.__file__)


PATH_KEYS = (
    *("data.data_dir", "data.video_dir", "model.backbone_weights", "model.checkpoint"),
    *("model.plugins", "eval.test_videos_directory"),
)
"""Keys whose values are made absolute: relative to the file's folder, or to the current one for an override."""


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a config file, apply `key=value` overrides, resolve `${...}` and paths, and check every value.

    Args:
        path: YAML file; relative paths in it are relative to its folder.
        overrides: such as `training.max_epochs=10` or `data.view_names=[top,side]`; values are YAML, a mapping replaces
            the file's. Relative paths in them are relative to the current directory.

    Returns:
        The config; `Config.ignored` lists the keys of other systems, which have no effect here.

    Raises:
        ValueError: for a file that is missing or no YAML mapping, an unknown or misspelt key, a value of the wrong type
            or out of range, an interpolation that leads nowhere, and a `???` that nothing replaces. The message names
            the file and the full dotted key. Errors of other kinds are those of a file in `model.plugins`.
    """
    path = Path(path)
    raw = _read_yaml(path)
    bases = dict.fromkeys(PATH_KEYS, path.resolve().parent)
    try:
        for override in overrides:
            _apply_override(raw, override, bases)
        values, ignored = _resolve_known(raw)
        _load_plugins(values, bases["model.plugins"])  # first: they add to the losses that a config may name
        values = conform(values)
        _make_paths_absolute(values, bases)
        merged = OmegaConf.merge(_structure(values), _escaped(values))
        sections = cast(dict[str, Any], OmegaConf.to_object(merged))
        return Config(**sections, ignored=ignored)
    except MissingMandatoryValue as error:
        key = error.full_key
        raise ValueError(f"{path}: {key} has no value; give it one there, or add {key}=VALUE to the command") from error
    except ValidationError as error:
        key = (error.full_key or "").split("[")[0]
        raise ValueError(f"{path}: {key} must be {expected_at(key)}, found {_found(values, key)}") from error
    except OmegaConfBaseException as error:
        problem = str(error.msg or error).splitlines()[0]
        raise ValueError(f"{path}: {error.full_key or 'interpolation'}: {problem}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def save_config(config: Config, path: str | Path) -> None:
    """Write every value of a config, defaults included, as YAML that `load_config` reads back to an equal `Config`.

    Paths are written absolute; keys of other systems (`Config.ignored`) are not written. The file is replaced as a
    whole, never left half written.
    """
    values = _escaped({key: value for key, value in dataclasses.asdict(config).items() if key != "ignored"})
    # OmegaConf's writer, because it quotes texts that its reader would take for numbers, such as a keypoint "1e3".
    text = OmegaConf.to_yaml(OmegaConf.create(values))
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)


def _read_yaml(path: Path) -> DictConfig:
    if not path.is_file():
        kind = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise ValueError(f"config file {path} {kind}")
    try:
        text = path.read_text(encoding="utf-8")
        raw = OmegaConf.create(text)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8: {error}") from error
    except yaml.constructor.ConstructorError as error:
        raise ValueError(f"{path}, {_place(error)}: {error.problem}") from error
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {_place(error)}: {getattr(error, 'problem', None) or error}") from error
    except OmegaConfBaseException as error:
        raise ValueError(f"{path}: {error.full_key}: {str(error.msg or error).splitlines()[0]}") from error
    if not isinstance(raw, DictConfig) or len(raw) == 0:
        found = "a list" if len(raw) else "nothing"
        raise ValueError(f"{path} must hold a mapping of sections (data:, training:, ...), found {found}")
    return raw


def _place(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f"line {mark.line + 1}, column {mark.column + 1}" if mark is not None else "somewhere"


def _apply_override(raw: DictConfig, override: str, bases: dict[str, Path]) -> None:
    """Set one `key=value` in place, and note which paths now count from the current directory."""
    key, equals, text = override.partition("=")
    key = key.strip().lstrip("+")  # Hydra's mark for a key that the file does not have; here every key may be set
    if not equals or not key or not all(part.isidentifier() for part in key.split(".")):
        raise ValueError(f"override {override!r} must look like training.max_epochs=10")
    try:
        value = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]), resolve=False)["value"]  # type: ignore[index, call-overload]
    except yaml.YAMLError as error:
        raise ValueError(f"override {override!r}: the value is not YAML: {getattr(error, 'problem', error)}") from error
    here = Path.cwd()
    for path_key in PATH_KEYS:
        if path_key == key:
            bases[path_key] = here
            if isinstance(value, str) and "${" not in value and value != "???":
                value = str(here / Path(value).expanduser())  # now, so that what interpolates it gets the same folder
        elif path_key.startswith(f"{key}."):
            bases[path_key] = here
    OmegaConf.update(raw, key, value, merge=False, force_add=True)


def _resolve_known(raw: DictConfig) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The sections with interpolations resolved, and the keys of other systems, which stay unresolved and unread."""
    values: dict[str, Any] = {}
    ignored: list[str] = []
    for section_name in ("data", "training", "model", "losses", "eval"):  # before an interpolation into one fails
        if raw.get(section_name) is not None and not isinstance(raw[section_name], DictConfig):
            raise ValueError(f"{section_name} must be a section of keys, found {_container(raw[section_name])!r}")
    for name in map(str, raw):
        if is_foreign(name):
            ignored.append(name)
            continue
        section = raw.get(name)
        if not isinstance(section, DictConfig):
            values[name] = _container(section)
            continue
        known: dict[str, Any] = {}
        for key in map(str, section):
            if is_foreign(f"{name}.{key}"):
                ignored.append(f"{name}.{key}")
            else:
                known[key] = _container(section[key])
        values[name] = known
    return values, tuple(ignored)


def _container(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True, throw_on_missing=True) if OmegaConf.is_config(value) else value


def _structure(values: dict[str, Any]) -> DictConfig:
    """The schema's fields and types; by section, as a default `Config` would bring along what follows from defaults."""
    sections = (("data", DataConfig), ("training", TrainingConfig), ("model", ModelConfig), ("eval", EvalConfig))
    losses = {name: OmegaConf.structured(LossConfig) for name in values.get("losses", {})}
    return OmegaConf.create({**{name: OmegaConf.structured(cls) for name, cls in sections}, "losses": losses})


def _load_plugins(values: dict[str, Any], base: Path) -> None:
    section = values.get("model")
    listed = section.get("plugins") if isinstance(section, dict) else None
    paths = [listed] if isinstance(listed, str) and listed else listed
    # Anything but a list is told by the check of the schema, which comes next.
    if isinstance(paths, list):
        load_plugins(_absolute("model.plugins", path, base) for path in paths)


def _absolute(dotted: str, value: object, base: Path) -> Path:
    if not isinstance(value, str):
        raise ValueError(f"{dotted} must be {expected_at(dotted)}, found {value!r} in it")
    if not value.strip():
        raise ValueError(f"{dotted} must be a path or null, found an empty text")
    return (base / Path(value).expanduser()).resolve()


def _make_paths_absolute(values: dict[str, Any], bases: dict[str, Path]) -> None:
    for dotted, base in bases.items():
        section, key = dotted.split(".")
        value = values.get(section, {}).get(key)
        if isinstance(value, str):
            values[section][key] = str(_absolute(dotted, value, base))
        elif isinstance(value, tuple):
            values[section][key] = tuple(str(_absolute(dotted, item, base)) for item in value)


def _found(values: dict[str, Any], dotted: str) -> str:
    value: Any = values
    for part in dotted.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return "null" if value is None else f"{value!r} ({type(value).__name__})"


def _escaped(value: Any) -> Any:
    """The same values with `${` in texts escaped, so that OmegaConf does not take it for an interpolation (again)."""
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_escaped(item) for item in value)
    if isinstance(value, str | Path):
        return str(value).replace("${", "\\${")
    return value
