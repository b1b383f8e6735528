"""Keys of the config: containers by the schema, advice on unknown keys, and keys of other programs to ignore."""

from __future__ import annotations

import difflib
import math
import re
import types
import typing
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Literal, Union

from mvgeom.errors import InputError
from mvtrain.config.schema import LOSS_NAMES, Config, LossConfig, bad_value

INFINITE = ("data.cache_gb", "training.save_every_minutes", "training.gradient_clip_norm")
"""Keys whose value may be infinite: no limit."""

FOREIGN_KEYS = frozenset(
    {
        # sections
        *("dali", "callbacks", "hydra", "litpose", "wandb"),
        # records about a run
        *("creation_datetime", "model_name", "lightning_pose_version"),
        *("model.creation_datetime", "model.model_name", "model.lightning_pose_version"),
        # data of unsupervised losses and of other kinds of models
        *("data.mirrored_column_matches", "data.columns_for_singleview_pca", "data.image_orig_dims"),
        *("data.header_rows", "data.image_delimiter", "data.dataset_names", "data.num_targets"),
        *("model.do_context", "training.gpu_id", "training.profiler"),
        # earlier versions, whose configs are still about
        *("training.dropout_rate", "training.multiple_trainloader_mode", "training.unlabeled_sequence_length"),
        *("training.rng_seed_data_dali", "training.save_heatmaps", "model.learn_weights", "model.reach"),
        # keys with one value that the program accepts
        "model.head",
        # older evaluation scripts
        *("eval.hydra_paths", "eval.fiftyone", "eval.saved_vid_preds_dir", "eval.video_file_to_plot"),
        *("eval.pred_csv_files_to_plot", "eval.colormap_reverse", "eval.create_labeled_video", "eval.dali_parameters"),
        *("eval.fifty_one_dataset_name", "eval.fiftyone_build_speed", "eval.model_display_names"),
        *("eval.path_to_test_videos", "eval.path_to_csv_predictions", "eval.path_to_save_predictions"),
        # unsupervised losses: templates have their parameters even where model.losses_to_use is empty
        *("losses.pca_multiview", "losses.pca_singleview", "losses.temporal"),
        *("losses.unimodal_mse", "losses.unimodal_kl", "losses.unimodal_js"),
        *("losses.unimodal", "losses.unimodal_wasserstein"),
        *("losses.temporal_heatmap_mse", "losses.temporal_heatmap_kl", "losses.temporal_heatmap_js"),
    }
)
"""Full dotted keys of Lightning Pose and Hydra configs without an equivalent here; a section stands for all its keys.

They are not read, and commands list them to the user.
"""

OTHER_NAMES = {
    "data.keypoints": "keypoint_names",
    "training.lr_scheduler_params.multistep_lr": "multisteplr",
}
"""Keys of Lightning Pose that are read under another name of the same section, unless the config has that, too."""

OTHER_VALUES = {"training.lr_scheduler": {"multistep_lr": "multisteplr"}}
"""Values that Lightning Pose takes for another value of the same key."""

NULL_IS_DEFAULT = frozenset(
    {
        *("model.losses_to_use", "model.backbone_checkpoint", "training.train_frames", "training.limit_train_batches"),
        *("training.check_val_every_n_epoch", "training.early_stopping", "training.imgaug_hflip"),
        *("training.uniform_heatmaps_for_nan_keypoints", "eval.save_vids_after_training"),
        # of no effect in its configs, or with a default of Lightning
        *("training.early_stop_patience", "training.test_batch_size", "training.log_every_n_steps"),
        *("eval.confidence_thresh_for_vid", "eval.colormap"),
    }
)
"""Keys that configs of Lightning Pose set to null, which means there what leaving them out means here."""

FALSY_IS: dict[str, Any] = {
    **dict.fromkeys(("data.bbox_file", "data.camera_params_file", "data.video_dir", "model.checkpoint")),
    **dict.fromkeys(("training.ckpt_every_n_epochs", "eval.test_videos_directory")),
    "eval.predict_vids_after_training": False,
}
"""Keys that Lightning Pose tests for truth, and what null, 0, an empty text or an empty list mean there."""

_ADVICE = {
    "model.backbone_checkpoint": "give the backbone's weights as model.backbone_weights, a file with timm's names",
    "training.limit_train_batches": "epochs always have all batches; set the run's length with training.max_steps",
}

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", Path: "a path"}

_ABSENT = object()


def is_foreign(dotted: str) -> bool:
    """Return True if a dotted key belongs to another program and has no equivalent here."""
    return dotted in FOREIGN_KEYS


def conform(values: dict[str, Any]) -> dict[str, Any]:
    """Convert values to the containers of the schema; scalars are left for OmegaConf to convert and check.

    A single text stands for a list of one, lists become tuples, a section that is null counts as absent.

    Raises:
        InputError: `bad-key` for an unknown key, with the nearest valid one in the message; `bad-value` where the
            schema has a section or list and the config something else.
    """
    return _conform_section(Config, values, "")


def check_numbers(values: Any, dotted: str = "") -> None:
    """Check that all numbers of a config are finite and fit into 64 bits, those of `INFINITE` may be infinite.

    Args:
        values: Sections with values of their types.
        dotted: Key of the values; "" for all sections.

    Raises:
        InputError: `bad-value`, for the first that is not.
    """
    if isinstance(values, dict | list | tuple):
        items = values.items() if isinstance(values, dict) else enumerate(values)
        for key, value in items:
            inner = f"{dotted}[{key}]" if not isinstance(values, dict) else f"{dotted}.{key}".removeprefix(".")
            check_numbers(value, inner)
    elif isinstance(values, float) and not math.isfinite(values):
        if not (values > 0 and dotted in INFINITE):
            raise bad_value(dotted, "a finite number", values)
    elif isinstance(values, int) and not -(2**63) <= values < 2**63:
        raise bad_value(dotted, "a number below 2^63", values, f"one of {len(str(abs(values)))} digits")


def as_whole(value: Any) -> Any:
    """Return 300 for 300.0 or 3e2, as some programs write whole numbers, also in a list; any other value as it is."""
    if isinstance(value, list | tuple):
        return [as_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def expected_at(dotted: str) -> str:
    """Describe in words the values that a key can have."""
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
        name = OTHER_NAMES.get(dotted, key)
        if (value is None and dotted in NULL_IS_DEFAULT) or (name != key and name in values):
            continue
        if name not in hints:
            raise _unknown_key(dotted, _ADVICE.get(dotted) or _nearest(str(key), prefix, list(hints)))
        if dotted in FALSY_IS and (not value or value == [""]):
            value = FALSY_IS[dotted]
        if isinstance(value, str):
            value = OTHER_VALUES.get(dotted, {}).get(value, value)
        conformed = _conform_value(hints[name], value, dotted)
        if conformed is not _ABSENT:
            result[name] = conformed
    return result


def _conform_value(hint: Any, value: Any, dotted: str) -> Any:
    members = _members(hint)
    if int in members and float not in members:
        value = as_whole(value)
    section = _section_of(hint)
    if section is not None:
        if value is None:
            return None if type(None) in members else _ABSENT
        if not isinstance(value, dict):
            raise bad_value(dotted, "a section of keys", value)
        return _conform_section(section, value, f"{dotted}.")
    if dotted == "losses":
        return _conform_losses(value)
    lists = [member for member in members if typing.get_origin(member) is tuple]
    if lists and not (value is None and type(None) in members):
        return _conform_list(lists[0], value, dotted)
    if isinstance(value, dict | list | tuple):
        container = dict if isinstance(value, dict) else tuple
        if not any(typing.get_origin(member) is container for member in members):
            raise bad_value(dotted, _describe(hint), value)
    if members == (bool,) and not isinstance(value, bool) and value not in (0, 1, "true", "false"):
        raise bad_value(dotted, "true or false", value)  # OmegaConf takes any number for true
    return value


def _conform_losses(value: Any) -> Any:
    if value is None:
        return _ABSENT
    if not isinstance(value, dict):
        raise bad_value("losses", "a section of keys", value)
    for name in value:
        if name not in LOSS_NAMES:
            raise _unknown_key(f"losses.{name}", _nearest(str(name), "losses.", list(LOSS_NAMES)))
    converted = {name: _conform_value(LossConfig | None, loss, f"losses.{name}") for name, loss in value.items()}
    # Existing configs turn a loss off by a weight of null.
    return {
        name: loss for name, loss in converted.items() if loss is not None and loss.get("log_weight", 0) is not None
    }


def _conform_list(hint: Any, value: Any, dotted: str) -> Any:
    if isinstance(value, str):
        value = [value]
    if value == [""]:
        value = []
    if not isinstance(value, list | tuple):
        raise bad_value(dotted, _describe(hint), value)
    element = typing.get_args(hint)[0]
    if element is int:
        value = as_whole(value)
    if typing.get_origin(element) is not tuple:
        for i, item in enumerate(value):
            # OmegaConf checks the other items too, but its error has no key.
            if item is None or isinstance(item, dict | list | tuple) or (element is int and not _is_whole(item)):
                raise bad_value(f"{dotted}[{i}]", _WORDS[element], item)
        return tuple(value)
    length = len(typing.get_args(element))
    for i, item in enumerate(value):
        if not isinstance(item, list | tuple) or len(item) != length:
            raise bad_value(f"{dotted}[{i}]", f"a list of {length}", item)
    return tuple(tuple(map(str, item)) for item in value)


def _is_whole(value: Any) -> bool:
    """Return True if OmegaConf takes the value for a whole number: an int, or a text of one."""
    return type(value) is int or (isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d+\s*", value) is not None)


def _unknown_key(dotted: str, advice: str) -> InputError:
    return InputError(f"unknown key {dotted}; {advice}", code="bad-key", key=dotted)


def _members(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) in (Union, types.UnionType) else (hint,)


def _section_of(hint: Any) -> type | None:
    return next((member for member in _members(hint) if isinstance(member, type) and is_dataclass(member)), None)


def _nearest(key: str, prefix: str, siblings: list[str]) -> str:
    """Name the nearest key of the same section, else the key of that name in another section, else all keys."""
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
