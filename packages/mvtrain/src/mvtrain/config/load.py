"""Reading of config files with overrides and interpolations; writing of configs."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException, ValidationError

from mvgeom.documents import check_yaml
from mvgeom.errors import InputError
from mvgeom.files import read_text, write_text
from mvtrain.config.keys import check_numbers, conform, expected_at, is_foreign
from mvtrain.config.plugins import ALLOW_RESOLVERS, load_plugins, resolver_in
from mvtrain.config.schema import Config, DataConfig, EvalConfig, LossConfig, ModelConfig, TrainingConfig, bad_value
from mvtrain.runtime.folders import is_run_config

PATH_KEYS = (
    *("data.data_dir", "data.video_dir", "model.backbone_weights", "model.checkpoint"),
    "data.split_from",
    *("model.plugins", "eval.test_videos_directory"),
)
"""Keys whose values are made absolute: relative to the file's folder, or to the current one for an override."""

OF_PROJECT = ("data.video_dir", "eval.test_videos_directory")
"""Of these, keys that are relative to data.data_dir where the file's folder has nothing of their name."""

_LONGEST_PATH = 4096
"""Characters; systems open no longer one."""

_YAML_ERRORS = (yaml.YAMLError, ValueError, KeyError, RecursionError)
"""Errors of PyYAML over a text: the last three come from tags such as `!!int` and from very deep nesting."""


def load_config(path: str | Path, overrides: Sequence[str] = (), *, allow_plugins: bool = False) -> Config:
    """Read a config file, apply `key=value` overrides, resolve `${...}` and paths, and check every value.

    Args:
        path: YAML file; relative paths in it are relative to its folder. Where that has nothing of their name, folders
            of videos are relative to data.data_dir, and that and they to the current folder, as in Lightning Pose.
        overrides: Texts such as `training.max_epochs=10` or `data.view_names=[top,side]`; values are YAML, a mapping
            replaces the file's. Relative paths in them are relative to the current directory.
        allow_plugins: Run the plugins of a run folder's config, whoever wrote them. Those of other configs run always.

    Returns:
        The config; `Config.ignored` lists the keys of other programs, which have no effect here.

    Raises:
        InputError: The file is missing or not a YAML mapping, a key is unknown or misspelled (`bad-key`), a value is
            of the wrong type, out of range (`bad-value`) or missing (`missing-field`), or an interpolation cannot be
            resolved, or reads more than the config (`bad-value`), or the config is that of a run folder with plugins
            that no training here used (`plugin-not-allowed`), or the overrides are one text in place of a list
            (`wrong-type`). The message names the file and the full dotted key, the
            fact `key` is that key. Errors of other kinds are those of a file in `model.plugins`.
    """
    path = Path(path)
    if isinstance(overrides, str):  # a sequence of texts, too: its letters
        raise InputError(
            f"overrides: found one text, expected a list of texts. Give [{overrides!r}].",
            code="wrong-type",
            argument="overrides",
        )
    raw = _read_yaml(path)
    bases = dict.fromkeys(PATH_KEYS, path.resolve().parent)
    try:
        for override in overrides:
            _apply_override(raw, override, bases)
        values, ignored = _resolve_known(raw)
        # First, because they add to the losses that a config can name.
        _load_plugins(values, bases["model.plugins"], check=is_run_config(path) and not allow_plugins)
        values = conform(values)
        _make_paths_absolute(values, bases)
        merged = OmegaConf.merge(_structure(tuple(values.get("losses", {}))), _escaped(values))
        check_numbers(OmegaConf.to_container(merged))
        sections = cast(dict[str, Any], OmegaConf.to_object(merged))
        return Config(**sections, ignored=ignored)
    except MissingMandatoryValue as error:
        key = error.full_key
        raise InputError(
            f"{path}: {key} has no value. Set it in the file, or add {key}=VALUE to the command",
            code="missing-field",
            key=key,
            path=path,
        ) from error
    except ValidationError as error:
        key = (error.full_key or "").split("[")[0]
        found = _value_at(values, key)
        shown = "null" if found is None else f"{found!r} ({type(found).__name__})"
        raise _in_file(path, bad_value(key, expected_at(key), found, shown)) from error
    except OmegaConfBaseException as error:
        raise _omegaconf_error(path, error) from error
    except InputError as error:
        raise _in_file(path, error) from error


def save_config(config: Config, path: str | Path) -> None:
    """Write every value of a config, defaults included, as YAML that `load_config` reads back to an equal `Config`.

    Paths are written absolute; keys of other programs (`Config.ignored`) are not written. The file is replaced as a
    whole, never left half written.

    Raises:
        InputError: The file cannot be written.
    """
    values = _escaped({key: value for key, value in dataclasses.asdict(config).items() if key != "ignored"})
    # OmegaConf's writer, because it quotes texts that its reader would take for numbers, such as a keypoint "1e3".
    text = OmegaConf.to_yaml(OmegaConf.create(values))
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)


def _read_yaml(path: Path) -> DictConfig:
    if not path.exists():
        raise InputError(f"config file {path} does not exist", code="missing-file", path=path)
    if not path.is_file():
        raise InputError(f"config file {path} is a folder, expected a file", code="unreadable-file", path=path)
    text = read_text(path)
    check_yaml(text, path)
    try:
        raw = OmegaConf.create(text)
    except OmegaConfBaseException as error:
        raise _omegaconf_error(path, error) from error
    except _YAML_ERRORS as error:
        raise InputError(f"{path}: invalid YAML: {_yaml_problem(error)}", code="invalid-syntax", path=path) from error
    expected = f"{path} must be a mapping of sections (data:, training:, ...)"
    if len(raw) == 0:
        raise InputError(f"{expected}, found nothing", code="empty-file", path=path)
    if not isinstance(raw, DictConfig):
        raise InputError(f"{expected}, found a list", code="invalid-syntax", path=path)
    return raw


def _yaml_problem(error: Exception) -> str:
    """Describe an error of `_YAML_ERRORS` in one line, with its place in the text where it has one."""
    if isinstance(error, RecursionError):
        return "too deeply nested"
    lines = str(getattr(error, "problem", None) or error).splitlines()
    problem = lines[0] if lines else type(error).__name__
    mark = getattr(error, "problem_mark", None)
    return problem if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: {problem}"


def _omegaconf_error(path: Path, error: OmegaConfBaseException) -> InputError:
    problem = (str(error.msg or error).splitlines() or [type(error).__name__])[0]
    key = error.full_key or ""
    return InputError(f"{path}: {key or 'config'}: {problem}", code="bad-value", key=key, path=path)


def _in_file(path: Path, error: InputError) -> InputError:
    """Return the error with the config file before its message, and as its `path` unless it names another one."""
    return error.prefixed(f"{path}: ", path=error.facts.get("path", path))


def _apply_override(raw: DictConfig, override: str, bases: dict[str, Path]) -> None:
    """Set one `key=value` in place; paths of its key count from the current directory from now on."""
    key, equals, text = override.partition("=")
    key = key.strip().lstrip("+")  # Hydra's mark for a key that the file does not have; here every key can be set
    if not equals or not key or not all(part.isidentifier() for part in key.split(".")):
        raise InputError(
            f"override {override!r} must look like training.max_epochs=10", code="bad-option", override=override
        )
    text = _with_spaces(text)
    try:
        check_yaml(text, path := Path(f"override {override!r}"))
    except InputError as error:
        found = str(error).removeprefix(f"{path}: ")
        raise InputError(
            f"override {override!r}: {found}", code="invalid-syntax", key=key, override=override
        ) from error
    try:
        value = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]), resolve=False)["value"]  # type: ignore[index, call-overload]
    except OmegaConfBaseException as error:
        problem = str(error.msg or error).splitlines()[0]
        raise InputError(f"override {override!r}: {problem}", code="bad-value", key=key, override=override) from error
    except _YAML_ERRORS as error:
        raise InputError(
            f"override {override!r}: the value is not YAML: {_yaml_problem(error)}",
            code="invalid-syntax",
            key=key,
            override=override,
        ) from error
    here = Path.cwd()
    for path_key in PATH_KEYS:
        if path_key == key:
            bases[path_key] = here
            # An empty text is not the current folder: it is refused with the file's paths.
            if isinstance(value, str) and value.strip() and "${" not in value and value != "???":
                value = str(here / _expanded(key, value))  # now, so that what interpolates it gets the same folder
        elif path_key.startswith(f"{key}."):
            bases[path_key] = here
    try:
        OmegaConf.update(raw, key, value, merge=False, force_add=True)
    except ValueError as error:  # OmegaConf's int() of a name below a list
        raise InputError(
            f"override {override!r}: {key} is below a list, which has no keys. Set the whole list",
            code="bad-key",
            key=key,
            override=override,
        ) from error


def _with_spaces(text: str) -> str:
    """Put a space after the colons of `{a:1,b:{c:2}}`, Hydra's notation: YAML would take `a:1` for a key."""
    if not text.lstrip().startswith(("{", "[{")) or "'" in text or '"' in text:
        return text
    return re.sub(r"(?<=[{,\s])([A-Za-z_]\w*):(?=\S)", r"\1: ", text)


def _resolve_known(raw: DictConfig) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Resolve the interpolations of the sections, and list the keys of other programs, which stay unresolved."""
    _check_resolvers(raw)
    values: dict[str, Any] = {}
    ignored: list[str] = []
    for section_name in ("data", "training", "model", "losses", "eval"):  # before an interpolation into one fails
        if raw.get(section_name) is not None and not isinstance(raw[section_name], DictConfig):
            raise bad_value(section_name, "a section of keys", _container(raw[section_name]))
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


def _check_resolvers(raw: DictConfig) -> None:
    """Check that no value reads more than the config; those of other programs lose theirs, as they have no effect."""
    for name, section in _nodes(raw):
        inner = _nodes(section) if isinstance(section, DictConfig) and not _is_special(section) else [("", section)]
        for key, node in inner:
            dotted = f"{name}.{key}" if key else name
            value = OmegaConf.to_container(node, resolve=False) if OmegaConf.is_config(node) else node._value()
            resolver = resolver_in(value)
            if resolver is None:
                continue
            if is_foreign(name) or is_foreign(dotted):
                OmegaConf.update(raw, dotted, "???", merge=False)
                continue
            raise InputError(
                f"{dotted}: found ${{{resolver}:...}}, which reads more than the config, such as the environment. "
                f"Write the value itself, or allow it with {ALLOW_RESOLVERS}=1 in the environment",
                code="bad-value",
                key=dotted,
                found=value,
            )


def _nodes(section: DictConfig) -> list[tuple[str, Any]]:
    """Return keys and nodes of a section, unresolved."""
    return [(str(key), section._get_node(key)) for key in section]


def _is_special(node: DictConfig) -> bool:
    return node._is_interpolation() or node._is_missing() or node._is_none()


def _container(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True, throw_on_missing=True) if OmegaConf.is_config(value) else value


@functools.cache
def _structure(losses_named: tuple[str, ...]) -> DictConfig:
    """Make the schema's fields and types, by section: a default `Config` would have values derived from defaults.

    It takes most of the time of loading a config; merging copies it.
    """
    sections = (("data", DataConfig), ("training", TrainingConfig), ("model", ModelConfig), ("eval", EvalConfig))
    losses = {name: OmegaConf.structured(LossConfig) for name in losses_named}
    return OmegaConf.create({**{name: OmegaConf.structured(cls) for name, cls in sections}, "losses": losses})


def _load_plugins(values: dict[str, Any], base: Path, *, check: bool) -> None:
    section = values.get("model")
    listed = section.get("plugins") if isinstance(section, dict) else None
    paths = [listed] if isinstance(listed, str) and listed else listed
    # Anything but a list is an error of `conform`, which comes next.
    if isinstance(paths, list):
        load_plugins((_absolute("model.plugins", path, base) for path in paths), check=check)


def _make_paths_absolute(values: dict[str, Any], bases: dict[str, Path]) -> None:
    data = values.get("data", {})
    for dotted, base in bases.items():
        section, key = dotted.split(".")
        value = values.get(section, {}).get(key)
        if isinstance(value, str):
            folders = [base]
            if dotted == "data.data_dir" and data.get("synthetic") is None:  # a generated one need not be there yet
                folders.append(Path.cwd())
            if dotted in OF_PROJECT:
                folders += [Path(data["data_dir"])] if isinstance(data.get("data_dir"), str) else []
                folders.append(Path.cwd())
            paths = [_absolute(dotted, value, folder) for folder in folders]
            values[section][key] = str(next(filter(os.path.exists, paths), paths[0]))
        elif isinstance(value, tuple):
            values[section][key] = tuple(str(_absolute(dotted, item, base)) for item in value)


def _absolute(dotted: str, value: object, base: Path) -> Path:
    if not isinstance(value, str):
        raise bad_value(dotted, expected_at(dotted), value)
    if not value.strip():
        raise bad_value(dotted, "a path or null", value, "an empty text")
    return (base / _expanded(dotted, value)).resolve()


def _expanded(dotted: str, value: str) -> Path:
    """Return a path with its `~` expanded."""
    if "\0" in value:
        raise bad_value(dotted, "a path without null characters", value)
    if len(value) > _LONGEST_PATH:  # each of its folders would be looked for
        raise bad_value(dotted, f"a path of at most {_LONGEST_PATH} characters", value, f"{len(value)}")
    try:
        return Path(value).expanduser()
    except RuntimeError as error:
        raise bad_value(dotted, "a path whose ~ is a folder of a known user", value) from error


def _value_at(values: dict[str, Any], dotted: str) -> Any:
    value: Any = values
    for part in dotted.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _escaped(value: Any) -> Any:
    """Escape `${` in texts, so that OmegaConf does not take it for an interpolation (again)."""
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_escaped(item) for item in value)
    if isinstance(value, str | Path):
        return str(value).replace("${", "\\${")
    return value
