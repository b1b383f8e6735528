"""Weights and training states that are written to do harm, with checksums that are right."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.errors import raises_input
from helpers.weights import (
    ARGUMENTS,
    BACKBONE,
    Harmful,
    fabric,
    read_backbone,
    read_state_file,
    training_state,
    write_backbone,
    write_state,
)
from mvtrain.model.backbone import build_backbone
from mvtrain.training.state import RunProgress, load_state


def change_state(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    path = write_state(folder)
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    return path


def compress(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data + bytes(100_000))


def test_a_state_that_was_written_is_read(tmp_path: Path) -> None:
    path, generator = write_state(tmp_path), torch.get_rng_state()
    state = training_state()  # of other weights, whose random numbers come after
    progress = load_state(path.parents[2], fabric(), state)
    assert (progress.epoch, progress.batches_done, progress.log_position) == (1, 2, 100)
    saved = torch.load(path, weights_only=True)
    for name, each in state.items():
        for found, expected in zip(tensors(each.state_dict()), tensors(saved[name]), strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert len(tensors(saved["optimizer"])) == 12
    torch.testing.assert_close(torch.get_rng_state(), generator, rtol=0, atol=0)


def tensors(content: Any) -> list[torch.Tensor]:
    """Tensors in nested dictionaries and lists."""
    if isinstance(content, torch.Tensor):
        return [content]
    inner = content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
    return [tensor for each in inner for tensor in tensors(each)]


# PyTorch's kernels would read past the end of such moments.
@pytest.mark.parametrize("name", ["exp_avg", "exp_avg_sq"])
@pytest.mark.parametrize(
    "moments",
    [
        torch.zeros(1),
        torch.zeros(3, 2, 1),
        torch.zeros(6),
        torch.zeros(()).expand(3, 2),
        torch.zeros(3, 2, dtype=torch.long),
        torch.zeros(3, 2).to_sparse(),
        torch.zeros(3, 2, device="meta"),
        [0.0] * 6,
        None,
    ],
    ids=lambda moments: str(moments if not isinstance(moments, torch.Tensor) else tuple(moments.shape)),
)
def test_moments_that_do_not_fit_their_weights_are_refused(name: str, moments: Any, tmp_path: Path) -> None:
    path = change_state(tmp_path, lambda content: content["optimizer"]["state"][0].update({name: moments}))
    with raises_input("unsupported-file", path=path):
        read_state_file(path)


@pytest.mark.parametrize("name", ["name", "lr", "full_learning_rate", "betas", "eps", "weight_decay", "amsgrad"])
@pytest.mark.parametrize("value", [None, [0.9], float("nan")], ids=str)
def test_groups_of_weights_with_odd_values_are_refused(name: str, value: Any, tmp_path: Path) -> None:
    path = change_state(tmp_path, lambda content: content["optimizer"]["param_groups"][0].update({name: value}))
    with raises_input("unsupported-file", path=path):
        read_state_file(path)


@pytest.mark.parametrize("name", [field.name for field in fields(RunProgress)])
def test_every_value_of_a_state_is_checked(name: str, tmp_path: Path) -> None:
    for number, value in enumerate((None, "x", -1, float("nan"), [None], {"sums": 1}, Harmful)):

        def change(content: dict[str, Any], value: Any = value) -> None:
            content.pop(name) if value is Harmful else content.update({name: value})

        path = change_state(tmp_path / str(number), change)
        with raises_input("unsupported-file", path=path, field=name):
            read_state_file(path)


def test_files_that_unpack_to_more_than_their_size_are_refused(tmp_path: Path) -> None:
    path = write_backbone(".pth")(tmp_path)
    compress(path)
    with raises_input("unreadable-file", path=path):
        read_backbone(path)
    path = write_state(tmp_path)
    compress(path)
    with raises_input("unsupported-file", path=path):
        read_state_file(path)


def test_one_row_named_often_is_not_resampled(tmp_path: Path) -> None:
    # 10 kB that would take 2 TB as a table.
    weights = build_backbone(BACKBONE, arguments=ARGUMENTS).state_dict()
    weights["pos_embed"] = torch.zeros(()).expand(1, 10**10 + 1, 24)
    torch.save(weights, tmp_path / "weights.pth")
    with raises_input("unsupported-file", reshaped=["pos_embed (1, 10000000001, 24) instead of (1, 197, 24)"]):
        read_backbone(tmp_path / "weights.pth")


def test_a_run_folder_may_have_the_name_of_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_state(Path("http-runs"))
    assert str(path).startswith("http")
    assert load_state(path.parents[2], fabric(), training_state()).epoch == 1
