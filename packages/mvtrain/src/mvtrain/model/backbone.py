"""Where the patches of an image lie."""

from __future__ import annotations

import math
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers import PatchEmbed, resample_abs_pos_embed
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn


def patch_grid(image_size: tuple[int, int], patch_size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of the patches of an image; those that the border cuts off count.

    Args:
        image_size: height and width in px.
        patch_size: rows and columns of pixels.
    """
    return -(-image_size[0] // patch_size[0]), -(-image_size[1] // patch_size[1])


def patch_centers(grid: tuple[int, int], patch_size: tuple[int, int], device: torch.device | None = None) -> Tensor:
    """(N, 2) x and y in px of the patches' centres, row by row; the centre of the first pixel is (0, 0)."""
    y = (torch.arange(grid[0], device=device) + 0.5) * patch_size[0] - 0.5
    x = (torch.arange(grid[1], device=device) + 0.5) * patch_size[1] - 0.5
    return torch.stack([x.expand(grid), y[:, None].expand(grid)], dim=-1).flatten(0, 1)


class RotaryTables(nn.Module):
    """Stands in for a rotary embedding of timm, which builds its table on the CPU and copies it at every call.

    That copy makes the host wait for the GPU.

    Args:
        rope: a rotary embedding without parameters, whose table depends on the patches' rows and columns alone.
    """

    def __init__(self, rope: nn.Module) -> None:
        super().__init__()
        self.rope = rope
        self._tables: dict[tuple[int, int, torch.device], Tensor] = {}

    @staticmethod
    def fit(rope: nn.Module) -> bool:
        """Whether an embedding's table is always the same: not learned, and not varied at random in training."""
        fixed = not list(rope.parameters()) and not getattr(rope, "aug_active", False)
        return fixed and next(rope.buffers(), None) is not None

    def get_embed(self, shape: tuple[int, int]) -> Tensor:
        """(N, channels) table of the patches of an image, row by row.

        Args:
            shape: rows and columns of patches.
        """
        key = (*shape, next(self.rope.buffers()).device)
        if key not in self._tables:
            # What inference mode makes cannot take part in training, which may come later.
            with torch.inference_mode(False):
                self._tables[key] = self.rope.get_embed(shape)  # type: ignore[operator]
        return self._tables[key]


BACKBONES = {
    "vits_dino": "vit_small_patch16_224.dino",
    "vitb_dino": "vit_base_patch16_224.dino",
    "vits_dinov2": "vit_small_patch14_dinov2.lvd142m",
    "vitb_dinov2": "vit_base_patch14_dinov2.lvd142m",
    "vits_dinov3": "vit_small_patch16_dinov3.lvd1689m",
    "vitb_dinov3": "vit_base_patch16_dinov3.lvd1689m",
    "vitb_imagenet": "vit_base_patch16_224.mae",
}
"""Names that existing configs use, and timm's names for the same weights."""

WINDOWED = ("vitb_sam", "samvit_")
"""How the names of SAM's image encoders begin."""


def build_backbone(
    name: str,
    *,
    pretrained: bool = False,
    weights: Path | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> VisionTransformer | Eva:
    """A timm vision transformer that takes images of any size its patches divide.

    Args:
        name: a key of `BACKBONES`, or any timm model whose attention is global (`VisionTransformer` or `Eva`).
        pretrained: take timm's weights, from its cache or the network. Not used where `weights` are given.
        weights: a file with timm's parameter names, safetensors or a torch state dictionary.
        arguments: further arguments of the architecture (`depth`, `embed_dim`, `patch_size`, ...), for training from
            scratch.

    Raises:
        ValueError: unknown name, an architecture without global attention, weights that do not fit or cannot be had.
    """
    timm_name = _timm_name(name)
    # Weights are read from a file by ourselves: an architecture changed by `arguments` then fails by name, not deep
    # inside.
    from_hub = pretrained and weights is None
    try:
        model = timm.create_model(
            timm_name, pretrained=from_hub, num_classes=0, dynamic_img_size=True, **dict(arguments or {})
        )
    except (TypeError, AssertionError) as error:
        if "dynamic_img_size" in str(error):
            raise _not_plain(name, f"is from {timm.models.model_entrypoint(timm_name).__module__}") from error
        raise ValueError(
            f"model.backbone: {name!r} cannot be built with model.backbone_args {dict(arguments or {})!r}: {error}"
        ) from error
    except (OSError, RuntimeError) as error:
        if not from_hub:
            raise
        raise ValueError(
            f"model.backbone: the pretrained weights of {name!r} ({timm_name}) are neither cached nor can they be "
            "downloaded. Give a local file with model.backbone_weights=PATH (safetensors with timm's names), or train "
            f"from random weights with model.backbone_pretrained=false. The download said: {_last_line(error)}"
        ) from error
    if not isinstance(model, VisionTransformer | Eva):
        raise _not_plain(name, f"is a {type(model).__name__}")
    if not isinstance(model.patch_embed, PatchEmbed):
        raise _not_plain(name, "makes its tokens of more than one patch of the image each, by convolutions")
    if getattr(model, "patch_drop", None) is not None and not isinstance(model.patch_drop, torch.nn.Identity):
        raise ValueError(
            "model.backbone_args: patch_drop_rate would drop other patches in every view; to drop patches use "
            "training.patch_mask with mode: tokens"
        )
    # What would pool the tokens for a classifier: parameters that no gradient reaches stop training on several GPUs.
    model.attn_pool, model.fc_norm = None, torch.nn.Identity()  # type: ignore[assignment]
    if weights is not None:
        load_weights(model, weights, name)
    if isinstance(model, Eva) and model.rope is not None and RotaryTables.fit(model.rope):
        model.rope = RotaryTables(model.rope)
    return model


def _not_plain(name: str, what: str) -> ValueError:
    return ValueError(
        f"model.backbone: {name!r} {what}; joint attention over views needs a plain vision transformer, whose every "
        f"block attends over all patches, such as {', '.join(BACKBONES)}"
    )


def input_normalization(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the channels that a backbone was pretrained with, for values in [0, 1].

    Raises:
        ValueError: unknown name.
    """
    timm_name = _timm_name(name)
    pretrained_config = timm.get_pretrained_cfg(timm_name)
    if pretrained_config is None:
        return IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
    return tuple(pretrained_config.mean), tuple(pretrained_config.std)


def load_weights(model: VisionTransformer | Eva, path: Path, name: str) -> None:
    """Fill a backbone from a file with timm's parameter names; position embeddings are resampled to the model's grid.

    Raises:
        ValueError: the file is missing, unreadable, or of another architecture; the message names what differs.
    """
    state = read_state(path)
    own = model.state_dict()
    state = {key: value for key, value in state.items() if not key.startswith(("head.", "fc_norm.", "attn_pool."))}
    if "pos_embed" in state and "pos_embed" in own and state["pos_embed"].ndim == 3:
        prefix = 0 if getattr(model, "no_embed_class", False) else int(model.num_prefix_tokens)
        side = math.isqrt(max(0, state["pos_embed"].shape[1] - prefix))
        # Pretrained grids are square; the rows and columns of another one cannot be told from their product.
        if state["pos_embed"].shape[1] == side**2 + prefix:
            state["pos_embed"] = resample_abs_pos_embed(
                state["pos_embed"],
                new_size=list(model.patch_embed.grid_size),
                old_size=[side, side],
                num_prefix_tokens=prefix,
            )
    missing = sorted(own.keys() - state.keys())
    unexpected = sorted(state.keys() - own.keys())
    reshaped = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(own[key].shape)}"
        for key in sorted(own.keys() & state.keys())
        if state[key].shape != own[key].shape
    ]
    if missing or unexpected or reshaped:
        problems = [
            f"{len(items)} {what} ({', '.join(items[:3])}{', ...' if len(items) > 3 else ''})"
            for what, items in (("missing", missing), ("unexpected", unexpected), ("of another shape", reshaped))
            if items
        ]
        raise ValueError(
            f"model.backbone_weights: {path} does not hold the weights of {name!r}: parameters {'; '.join(problems)}"
        )
    model.load_state_dict(state)


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """Tensors by name from a safetensors file or a torch state dictionary (never unpickling objects).

    Raises:
        ValueError: the file is missing or is neither.
    """
    if not path.is_file():
        raise ValueError(f"model weights: there is no file {path}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, EOFError, OSError) as error:
        raise ValueError(f"model weights: {path} cannot be read: {_last_line(error)}") from error
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"model weights: {path} is not a file of plain tensors, and files that could run code are refused"
        ) from error
    state = state.get("state_dict", state.get("model", state)) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError(f"model weights: {path} does not hold tensors by name")
    return state


def _timm_name(name: str) -> str:
    if name.startswith(WINDOWED):
        raise ValueError(
            f"model.backbone: {name!r} (SAM) cannot attend over several views: most of its blocks attend within "
            "windows of 14 x 14 patches, by their relative positions in one image, and a patch of another view is in "
            f"no window. Use one of {', '.join(BACKBONES)}"
        )
    timm_name = BACKBONES.get(name, name)
    if not timm.is_model(timm_name.split(".")[0]):
        close = timm.list_models(f"*{name}*")[:5]
        hint = f"; similar timm names: {', '.join(close)}" if close else ""
        raise ValueError(
            f"model.backbone: unknown backbone {name!r}; use one of {', '.join(BACKBONES)}, or the name of a timm "
            f"vision transformer{hint}"
        )
    try:
        timm.get_pretrained_cfg(timm_name)
    except RuntimeError as error:
        architecture = timm_name.split(".")[0]
        known = ", ".join(timm.models.get_arch_pretrained_cfgs(architecture))
        raise ValueError(
            f"model.backbone: timm has no weights {timm_name!r}; {architecture} comes as {known}"
        ) from error
    return timm_name


def _last_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
