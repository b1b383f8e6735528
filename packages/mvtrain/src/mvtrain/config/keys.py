"""Keys of Lightning Pose and Hydra configs that have no counterpart here; they are named to the user and not read."""

from __future__ import annotations

import difflib
import types
import typing
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Literal, Union

from mvtrain.config.schema import LOSS_NAMES, Config, LossConfig

FOREIGN_KEYS = frozenset(
    {
        # sections
        *("dali", "callbacks", "hydra", "litpose", "wandb"),
        # what the other system records about a run
        *("creation_datetime", "model_name", "lightning_pose_version"),
        *("model.creation_datetime", "model.model_name", "model.lightning_pose_version"),
        # data of unsupervised losses and of other kinds of model
        *("data.mirrored_column_matches", "data.columns_for_singleview_pca", "data.image_orig_dims"),
        *("data.header_rows", "data.image_delimiter", "data.dataset_names"),
        *("model.do_context", "training.gpu_id", "training.profiler"),
        # older evaluation scripts
        *("eval.hydra_paths", "eval.fiftyone", "eval.saved_vid_preds_dir", "eval.video_file_to_plot"),
        *("eval.pred_csv_files_to_plot", "eval.colormap_reverse"),
        # unsupervised losses: templates carry their parameters even where model.losses_to_use is empty
        *("losses.pca_multiview", "losses.pca_singleview", "losses.temporal"),
        *("losses.unimodal_mse", "losses.unimodal_kl", "losses.unimodal_js"),
        *("losses.temporal_heatmap_mse", "losses.temporal_heatmap_kl", "losses.temporal_heatmap_js"),
    }
)
"""Full dotted keys; a section stands for everything in it."""


def is_foreign(dotted: str) -> bool:
    """Whether a dotted key belongs to another system and has no counterpart here."""
    return dotted in FOREIGN_KEYS


_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", Path: "a path"}


def conform(values: dict[str, Any]) -> dict[str, Any]:
    """Values in the containers the schema asks for; scalars are left for OmegaConf to convert and check.

    A single text stands for a list of one, lists become tuples, a section that is null counts as absent.

    Raises:
        ValueError: for an unknown key (with the nearest valid one), and where a section or list is expected and
            something else found.
    """
    return _conform_section(Config, values, "")


def expected_at(dotted: str) -> str:
    """What a key's value must be, in words; for messages."""
    hint: Any = Config
    for part in dotted.split("."):
        cls = _section_of(hint)
        if cls is not None:
            hint = typing.get_type_hints(cls)[part]
        elif typing.get_origin(hint) is dict:
            hint = typing.get_args(hint)[1]
    return _describe(hint)


def _conform_section(cls: type, values: dict[Any, Any], prefix: str) -> dict[str, Any]:
    hints = {name: hint for name, hint in typing.get_type_hints(cls).items() if (prefix, name) != ("", "ignored")}
    result: dict[str, Any] = {}
    for key, value in values.items():
        dotted = f"{prefix}{key}"
        if key not in hints:
            raise ValueError(f"unknown key {dotted}; {_nearest(str(key), prefix, list(hints))}")
        conformed = _conform_value(hints[key], value, dotted)
        if conformed is not _ABSENT:
            result[key] = conformed
    return result


_ABSENT = object()


def _conform_value(hint: Any, value: Any, dotted: str) -> Any:
    members = _members(hint)
    section = _section_of(hint)
    if section is not None:
        if value is None:
            return None if type(None) in members else _ABSENT
        if not isinstance(value, dict):
            raise ValueError(f"{dotted} must be a section of keys, found {value!r}")
        return _conform_section(section, value, f"{dotted}.")
    if dotted == "losses":
        return _conform_losses(value)
    lists = [member for member in members if typing.get_origin(member) is tuple]
    if lists and not (value is None and type(None) in members):
        return _conform_list(lists[0], value, dotted)
    if isinstance(value, dict | list | tuple):
        container = dict if isinstance(value, dict) else tuple
        if not any(typing.get_origin(member) is container for member in members):
            raise ValueError(f"{dotted} must be {_describe(hint)}, found {value!r}")
    if members == (bool,) and not isinstance(value, bool) and value not in (0, 1, "true", "false"):
        raise ValueError(f"{dotted} must be true or false, found {value!r}")  # OmegaConf takes any number for true
    return value


def _conform_losses(value: Any) -> Any:
    if value is None:
        return _ABSENT
    if not isinstance(value, dict):
        raise ValueError(f"losses must be a section of keys, found {value!r}")
    for name in value:
        if name not in LOSS_NAMES:
            raise ValueError(f"unknown key losses.{name}; {_nearest(str(name), 'losses.', list(LOSS_NAMES))}")
    converted = {name: _conform_value(LossConfig | None, loss, f"losses.{name}") for name, loss in value.items()}
    # Existing configs turn a loss off by a weight of null.
    return {
        name: loss for name, loss in converted.items() if loss is not None and loss.get("log_weight", 0) is not None
    }


def _conform_list(hint: Any, value: Any, dotted: str) -> Any:
    if isinstance(value, str):
        value = [value] if value else []
    if not isinstance(value, list | tuple):
        raise ValueError(f"{dotted} must be {_describe(hint)}, found {'null' if value is None else repr(value)}")
    element = typing.get_args(hint)[0]
    if typing.get_origin(element) is not tuple:
        for i, item in enumerate(value):
            if item is None or isinstance(item, dict | list | tuple):
                raise ValueError(f"{dotted}[{i}] must be {_WORDS[element]}, found {'null' if item is None else item!r}")
        return tuple(value)
    length = len(typing.get_args(element))
    for i, item in enumerate(value):
        if not isinstance(item, list | tuple) or len(item) != length:
            raise ValueError(f"{dotted}[{i}] must be a list of {length}, found {item!r}")
    return tuple(tuple(map(str, item)) for item in value)


def _members(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) in (Union, types.UnionType) else (hint,)


def _section_of(hint: Any) -> type | None:
    return next((member for member in _members(hint) if isinstance(member, type) and is_dataclass(member)), None)


def _nearest(key: str, prefix: str, siblings: list[str]) -> str:
    """Advice: the nearest key of the same section, or the key of that name in another section, or what there is."""
    close = difflib.get_close_matches(key, siblings, n=1, cutoff=0.6)
    if close:
        return f"did you mean {prefix}{close[0]}?"
    every = _all_keys(Config, "")
    moved = [dotted for dotted in every if dotted.rsplit(".", 1)[-1] == key]
    moved = moved or difflib.get_close_matches(f"{prefix}{key}", every, n=1, cutoff=0.75)
    if moved:
        return f"did you mean {moved[0]}?"
    return f"{prefix.rstrip('.') or 'a config'} has {', '.join(siblings)}"


def _all_keys(cls: type, prefix: str) -> list[str]:
    keys = []
    for name, hint in typing.get_type_hints(cls).items():
        section = _section_of(hint)
        keys += [f"{prefix}{name}"] if section is None else _all_keys(section, f"{prefix}{name}.")
    return [key for key in keys if key != "ignored"]


def _describe(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        words = [_describe(member) for member in arguments if member is not type(None)]
        return " or ".join([*words, "null"] if type(None) in arguments else words)
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin is tuple:
        inner = arguments[0]
        return "a list of pairs" if typing.get_origin(inner) is tuple else f"a list ({_WORDS[inner]} each)"
    if origin is dict or is_dataclass(hint):
        return "a mapping"
    return _WORDS.get(hint, str(hint))
