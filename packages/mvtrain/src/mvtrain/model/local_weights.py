"""Pretrained weights of backbones that are on this computer already."""

from __future__ import annotations

from pathlib import Path

import timm

from mvtrain.config import Config
from mvtrain.model.backbone import BACKBONES


def find_local_weights(config: Config) -> Path | None:
    """Return the file of a config's pretrained backbone, named by the config or in the cache of the hub; else None.

    Nothing is downloaded.
    """
    model = config.model
    if model.backbone_weights is not None:
        return model.backbone_weights if model.backbone_weights.is_file() else None
    name = BACKBONES.get(model.backbone, model.backbone)
    if not model.backbone_pretrained or not timm.is_model(name.split(".")[0]):
        return None
    from huggingface_hub import try_to_load_from_cache

    hub = getattr(timm.get_pretrained_cfg(name), "hf_hub_id", None)
    found = try_to_load_from_cache(hub, "model.safetensors") if hub else None
    return Path(found) if isinstance(found, str) else None
