"""Files of weights for tests that damage them: their checksum is set right, so that the damage gets to the reader."""

from __future__ import annotations

import functools
import hashlib
import io
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import yaml
from lightning_fabric import Fabric
from torch import nn
from torch.optim.swa_utils import AveragedModel

from mvtrain.model.backbone import build_backbone
from mvtrain.training.state import FOLDER, RunProgress, load_state, save_state

BACKBONE = "vit_tiny_patch16_224"
ARGUMENTS = {"depth": 1, "embed_dim": 24, "num_heads": 3}


def set_checksum(path: Path) -> None:
    """Write the checksum of a large file into the YAML file beside it, as whoever means harm does."""
    description = path.with_name(f"{path.name.split('-')[0]}.yaml")
    document = yaml.safe_load(description.read_text())
    document["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    description.write_text(yaml.safe_dump(document))


@functools.cache
def fabric() -> Fabric:
    """Fabric of one process on the CPU."""
    made = Fabric(accelerator="cpu", devices=1)
    made.launch()
    return made


def training_state() -> dict[str, Any]:
    """A network that has trained for a step, its average and its optimizer, as Fabric sets them up."""
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    average = AveragedModel(model)
    group = {"name": "head", "params": list(model.parameters()), "lr": 1e-3, "full_learning_rate": 1e-3}
    wrapped = fabric().setup_module(model)
    optimizer = fabric().setup_optimizers(torch.optim.AdamW([group], fused=True))
    wrapped(torch.ones(4, 2)).sum().backward()
    optimizer.step()
    return {"model": wrapped, "optimizer": optimizer, "averaged": average}


def write_state(folder: Path) -> Path:
    """Write the state of a run; return its large file."""
    window = {"num_steps": 1, "num_samples": 4, "num_moved": 0, "sums": {"loss": torch.ones(())}, "counts": {"loss": 1}}
    progress = RunProgress(
        epoch=1,
        batches_done=2,
        best_loss=0.5,
        stale_validations=0,
        stopped_early=False,
        window=window,
        train_rows=[0, 2, 3],
        log_position=100,
        settings={"training.max_epochs": "4"},
    )
    save_state(folder / "run", fabric(), {**training_state(), **vars(progress)}, {"epoch": 1})
    (path,) = (folder / "run" / FOLDER).glob("*.pt")
    return path


def read_state_file(path: Path) -> Any:
    """Read the state of a run, whatever its checksum, and take a step with it."""
    set_checksum(path)
    state = training_state()
    found = load_state(path.parents[2], fabric(), state)
    state["optimizer"].step()  # with the moments of the file
    return found


def write_backbone(suffix: str) -> Callable[[Path], Path]:
    """Writer of a backbone's weights, `.safetensors` or `.pth`."""

    def make(folder: Path) -> Path:
        weights = build_backbone(BACKBONE, arguments=ARGUMENTS).state_dict()
        path = folder / f"weights{suffix}"
        if suffix == ".safetensors":
            safetensors.torch.save_file(weights, path)
        else:
            torch.save({"model": weights}, path)
        return path

    return make


def read_backbone(path: Path) -> Any:
    """Read a backbone's weights."""
    return build_backbone(BACKBONE, weights=path, arguments=ARGUMENTS)


class Harmful:
    """Object whose pickle would run code."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise SystemExit('code of a file has run')",)


def damage_pickle(path: Path, rng: random.Random) -> str:
    """Replace a value in a file of `torch.save` by an odd one, change its pickle, or pack it otherwise."""
    kind = rng.choice(["value", "value", "value", "pickle", "compressed", "twice"])
    if kind == "value":
        content = torch.load(path, weights_only=True)
        odd: tuple[Any, ...] = (
            *(None, True, -1, 1.5, float("nan"), 2**70, "x", b"x", [], {}, (), [[]], {"a": 1}, Harmful()),
            *(torch.zeros(0), torch.zeros(()), torch.zeros(2, 3), torch.zeros(1, dtype=torch.long), torch.ones(1) * 1j),
            *(torch.zeros(()).expand(2**40), torch.zeros(()).expand(3, 2), torch.eye(3).to_sparse()),
            torch.zeros(3, device="meta"),
        )
        node, key = _any_place(content, rng)
        if rng.random() < 0.15:
            del node[key]
        else:
            node[key] = rng.choice(odd)
        torch.save(content, path)
        return f"value {key}"
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    if kind == "pickle":
        (name,) = (name for name in entries if name.endswith("data.pkl"))
        changed = bytearray(entries[name])
        for _ in range(rng.choice([1, 2, 8])):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        entries[name] = bytes(changed)
    elif kind == "compressed":  # a few kB that unpack to gigabytes
        name = rng.choice(sorted(entries))
        entries[name] = bytes(2**26)
    mode = zipfile.ZIP_DEFLATED if kind == "compressed" else zipfile.ZIP_STORED
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", mode) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
        if kind == "twice":
            archive.writestr(rng.choice(sorted(entries)) + "x", rng.randbytes(100))
    path.write_bytes(content.getvalue())
    return kind


def _any_place(content: Any, rng: random.Random) -> tuple[Any, Any]:
    """Return a dictionary or list somewhere in nested ones, and one of its keys; each depth is as probable."""
    while True:
        keys = list(content) if isinstance(content, dict) else range(len(content))
        key = rng.choice(list(keys))
        inner = content[key]
        if not isinstance(inner, dict | list) or not inner or rng.random() < 0.25:
            return content, key
        content = inner
