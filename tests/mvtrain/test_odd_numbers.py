"""Odd numbers, absent devices and wrong arguments end in one line, never in a traceback or for want of memory."""

from __future__ import annotations

import dataclasses
import time
import typing
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from helpers.errors import check_error, raises_input
from helpers.runs import make_run
from mvgeom.errors import InputError
from mvtrain.config import Config, load_config
from mvtrain.config.keys import INFINITE, _all_keys
from mvtrain.model.backbone import build_backbone
from mvtrain.model.checkpoint import load_checkpoint
from mvtrain.predict.predictor import choose_device
from mvtrain.project.names import camera_regex_rule

KEYS = [key for key in _all_keys(Config, "") if not key.startswith("losses")]
ODD = (".inf", "-.inf", ".nan", "9" * 400, "-1e999", "1.5", "[.nan]", "{a: .inf}")


@pytest.mark.parametrize("value", ODD)
def test_no_key_takes_an_odd_number(value: str, tmp_path: Path) -> None:
    path, messages = tmp_path / "config.yaml", []
    for key in KEYS[ODD.index(value) :: len(ODD)]:  # every key with an odd number, every odd number with many keys
        document: dict[str, Any] = {}
        section = document
        *parents, last = key.split(".")
        for name in parents:
            section = section.setdefault(name, {})
        section[last] = "VALUE"
        path.write_text(yaml.safe_dump(document).replace("VALUE", value))
        try:
            config = load_config(path)
        except InputError as error:
            messages.append(str(error))
            continue
        assert_finite(config, key)
    assert all("\n" not in message and len(message) < 1000 for message in messages), messages


def assert_finite(config: Config, key: str) -> None:
    value: Any = config
    for name in key.split("."):
        value = getattr(value, name)
    for number in value if isinstance(value, tuple) else value.values() if isinstance(value, dict) else [value]:
        if isinstance(number, float):
            assert abs(number) != float("inf") or key in INFINITE, key
            assert number == number, key


def test_keys_of_numbers_are_among_the_tried() -> None:
    hints = typing.get_type_hints(type(Config().training))
    numbers = [name for name, hint in hints.items() if hint in (int, float, int | None, float | None)]
    assert len(numbers) > 25
    assert {f"training.{name}" for name in numbers} <= set(KEYS)
    assert dataclasses.is_dataclass(Config)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("training.max_epochs", ".inf"),
        ("training.optimizer_params.learning_rate", ".inf"),
        ("training.warmup_epochs", ".inf"),
        ("training.train_frames", ".inf"),
        ("training.unfreezing_epoch", ".nan"),
        ("training.patch_mask.final_epoch", ".inf"),
        ("training.rng_seed_data_pt", "9" * 30),
        ("training.lr_scheduler_params.multisteplr.milestones", "[1.5]"),
        ("training.lr_scheduler_params.multisteplr.milestones", "[1, .inf]"),
        ("training.lr_scheduler_params.multisteplr.milestones", "[true]"),
        ("training.lr_scheduler_params.multisteplr.milestone_steps", f"[{'9' * 30}]"),
        ("training.imgaug", "{Rotate: {p: .nan}}"),
        ("training.devices", ".inf"),
        ("model.backbone_args", "{depth: .inf}"),
        ("model.backbone_args", "{patch_size: [16, .nan]}"),
        ("data.cache_gb", ".nan"),
        ("losses.heatmap_js", "{log_weight: .nan}"),
    ],
)
def test_odd_numbers_are_refused_by_key(key: str, value: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("data: {data_dir: a}\n")
    with pytest.raises(InputError) as caught:
        load_config(tmp_path / "config.yaml", [f"{key}={value}"])
    assert key.split(".")[-1] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_numbers_without_a_limit(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("data: {data_dir: a}\n")
    for key in INFINITE:
        load_config(tmp_path / "config.yaml", [f"{key}=.inf"])
        with raises_input("bad-value"):
            load_config(tmp_path / "config.yaml", [f"{key}=.nan"])


ARGUMENTS: tuple[dict[str, Any], ...] = (
    *({"depth": value} for value in (-1, 0, 1.5, "a", 10**6, 10**30, float("inf"), [2])),
    *({"patch_size": value} for value in (0, -16, [0, 1], 1.5, 10**9, "16")),
    *({"embed_dim": value} for value in (0, -8, 7, 10**9, 1.5)),
    *({"num_heads": value} for value in (0, -1, 10**9, 1.5)),
    *({"img_size": value} for value in (0, -1, 10**6, "a")),
    *({"mlp_ratio": value} for value in (-1, float("nan"), float("inf"), 10**9)),
    *({"reg_tokens": value} for value in (-1, 10**12)),
    *({"drop_path_rate": value} for value in (5, -1, float("nan"))),
    *({"in_chans": 1}, {"in_chans": 0}, {"num_classes": 5}, {"foo": 1}, {"norm_layer": "x"}, {"global_pool": "x"}),
)


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_wrong_arguments_of_a_backbone(arguments: dict[str, Any]) -> None:
    start = time.process_time()
    with raises_input("bad-value", key="model.backbone_args") as caught:
        build_backbone("vit_tiny_patch16_224", arguments={"depth": 1, "embed_dim": 24, "num_heads": 3, **arguments})
    assert "\n" not in str(caught.value)
    assert time.process_time() - start < 5


ABSENT = {
    "cuda:99": "no-device",
    "xla": "no-device",
    "hpu:0": "no-device",
    "meta": "no-device",
    "tpu": "unknown-choice",
    "cuda:-1": "unknown-choice",
    f"cuda:{'9' * 40}": "unknown-choice",
    "": "unknown-choice",
}


@pytest.mark.parametrize("device", ABSENT)
def test_absent_devices(device: str) -> None:
    with raises_input(ABSENT[device], argument="device") as caught:
        choose_device(device)
    assert "\n" not in str(caught.value)


def test_the_cpu_is_present() -> None:
    assert choose_device("cpu") == torch.device("cpu")


ODD_SPECS: tuple[dict[str, Any], ...] = (
    {"image_size": [10**9, 10**9]},
    {"image_size": [True, True]},
    {"image_size": [-1, 32]},
    {"downsample_factor": 60},
    {"downsample_factor": True},
    {"mean": [float("nan"), 0.5, 0.5]},
    {"std": [0.0, 0.5, 0.5]},
    {"std": [10**400, 0.5, 0.5]},
    {"subject_size": float("inf")},
    {"subject_size": True},
    {"subject_size": -1.0},
    {"backbone_args": {"depth": 10**6}},
    {"backbone_args": {"depth": 12, "embed_dim": 96_000, "num_heads": 3}},
    {"backbone_args": {"depth": 1, "embed_dim": 24, "num_heads": 3, "img_size": 50_000}},
    {"keypoint_names": [f"k{number}" for number in range(3000)]},
    {"view_names": [f"v{number}" for number in range(3000)]},
    {"backbone": "nothing"},
    {"backbone": "vit_giant_patch14_reg4_dinov2"},
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("odd") / "run") / "checkpoints" / "best"


@pytest.mark.parametrize("odd", ODD_SPECS, ids=lambda odd: f"{next(iter(odd))} {str(next(iter(odd.values())))[:30]}")
def test_a_model_that_asks_for_gigabytes_is_refused(odd: dict[str, Any], checkpoint: Path, tmp_path: Path) -> None:
    for file in checkpoint.iterdir():
        (tmp_path / file.name).symlink_to(file)
    document = yaml.safe_load((checkpoint / "model.yaml").read_text())
    (tmp_path / "model.yaml").unlink()
    (tmp_path / "model.yaml").write_text(yaml.safe_dump({**document, "spec": {**document["spec"], **odd}}))
    start = time.process_time()
    with pytest.raises(InputError) as caught:
        load_checkpoint(tmp_path)
    assert "\n" not in str(caught.value)
    assert time.process_time() - start < 10
    check_error(caught.value, caught.value.code)


@pytest.mark.parametrize(
    "expression",
    [
        *("(a+)+$", "([a-z]+)*1", "(a|a)*b", "((a{1,20}){1,20}){1,20}x", "(a)\\1", "(?P<a>a)(?P=a)", "(a)(?(1)b|c)"),
        *("(" + "a?" * 40 + "a" * 40 + ")", "(a|a)" * 40 + "1", ".*" * 20 + "(1)", "(" * 3000 + "a" + ")" * 3000),
    ],
)
def test_camera_expressions_that_can_take_for_ever_are_refused(expression: str) -> None:
    start = time.process_time()
    with raises_input("bad-value", key="cam_regex"):
        camera_regex_rule(expression).split("a" * 60)
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    ("expression", "name", "view"),
    [
        ("cam([0-9])", "mouse_cam1", "1"),
        ("-cam([A-Z]+)$", "2026-mouse-camB", "B"),
        (r"_([a-z]+)\s?$", "mouse_top", "top"),
        ("_(" + "|".join(f"view{number}" for number in range(40)) + ")$", "mouse_view17", "view17"),
        (r"cam-?(\d+)", "cam-12_session", "12"),
        (r"^(.+?)_\d+$", "top_123", "top"),
        (r"(?:cam|kamera)[_-]([A-Za-z0-9]+)", "x_kamera-left_y", "left"),
    ],
)
def test_usual_camera_expressions(expression: str, name: str, view: str) -> None:
    parts = camera_regex_rule(expression).split(name)
    assert parts is not None
    assert parts.view == view
