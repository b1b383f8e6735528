"""Backbones: timm's vision transformers, their weights, and the grid of their patches."""

from __future__ import annotations

import math
import pickle
import traceback
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

from mvgeom.errors import InputError
from mvgeom.files import file_name, list_files
from mvgeom.wording import counted
from mvtrain.config import Config
from mvtrain.config.plugins import loaded_plugins
from mvtrain.runtime.tensor_files import READING_ERRORS, load_tensors

_HUB_TIMEOUT = 15
"""Seconds that the hub of weights has to answer."""

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
"""First letters of the names of SAM's image encoders, whose attention is windowed."""

_MAX_DEPTH, _MAX_ARGUMENT = 1000, 10**5
"""Largest number of blocks, and largest number among all other arguments of an architecture."""


def patch_grid(image_size: tuple[int, int], patch_size: tuple[int, int]) -> tuple[int, int]:
    """Count the rows and columns of the patches of an image; those that the border cuts off count.

    Args:
        image_size: Height and width in px.
        patch_size: Rows and columns of pixels.
    """
    return -(-image_size[0] // patch_size[0]), -(-image_size[1] // patch_size[1])


def patch_centers(grid: tuple[int, int], patch_size: tuple[int, int], device: torch.device | None = None) -> Tensor:
    """Return (N, 2) x and y in px of the patches' centers, row by row; the center of the first pixel is (0, 0)."""
    y = (torch.arange(grid[0], device=device) + 0.5) * patch_size[0] - 0.5
    x = (torch.arange(grid[1], device=device) + 0.5) * patch_size[1] - 0.5
    return torch.stack([x.expand(grid), y[:, None].expand(grid)], dim=-1).flatten(0, 1)


class RotaryTables(nn.Module):
    """Rotary embedding of timm whose tables are computed once and kept on the device.

    Timm's own embedding builds its table on the CPU and copies it at every call, and the copy makes the host wait for
    the GPU.

    Args:
        rope: Rotary embedding without parameters, whose table depends on the patches' rows and columns alone.
    """

    def __init__(self, rope: nn.Module) -> None:
        super().__init__()
        self.rope = rope
        self._tables: dict[tuple[int, int, torch.device], Tensor] = {}

    @staticmethod
    def fit(rope: nn.Module) -> bool:
        """Return True if an embedding's table is always the same: not learned, and not varied at random in training."""
        fixed = not list(rope.parameters()) and not getattr(rope, "aug_active", False)
        return fixed and next(rope.buffers(), None) is not None

    def get_embed(self, shape: tuple[int, int]) -> Tensor:
        """Return the (N, channels) table of the patches of an image, row by row.

        Args:
            shape: Rows and columns of patches.
        """
        key = (*shape, next(self.rope.buffers()).device)
        if key not in self._tables:
            # Tensors made in inference mode cannot take part in training, which may come later.
            with torch.inference_mode(False):
                self._tables[key] = self.rope.get_embed(shape)  # type: ignore[operator]
        return self._tables[key]


def build_backbone(
    name: str,
    *,
    pretrained: bool = False,
    weights: Path | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> VisionTransformer | Eva:
    """Build a timm vision transformer for images of any size that its patches divide.

    Args:
        name: Key of `BACKBONES`, or the name of any timm model whose attention is global (`VisionTransformer` or
            `Eva`).
        pretrained: Take timm's weights, from its cache or the network; without effect where `weights` are given.
        weights: File with timm's parameter names, safetensors or a torch state dictionary.
        arguments: Further arguments of the architecture (`depth`, `embed_dim`, `patch_size`, ...), for training from
            scratch.

    Raises:
        InputError: `unknown-choice` for an unknown name; `bad-value` for an architecture without global attention or
            arguments that do not fit it; `missing-file`, `unreadable-file` or `unsupported-file` for weights that
            cannot be had or do not fit.
    """
    timm_name = _timm_name(name)
    # Weights are read from a file by ourselves: an architecture changed by `arguments` then fails by name, not deep
    # inside.
    from_hub = pretrained and weights is None
    _check_arguments(arguments or {})
    if from_hub and (unreachable := _hub_error(timm_name)) is not None:
        raise _no_weights(name, timm_name, unreachable) from unreachable
    try:
        model = timm.create_model(
            timm_name, pretrained=from_hub, num_classes=0, dynamic_img_size=True, **dict(arguments or {})
        )
    except (OSError, RuntimeError, TypeError, AssertionError, ValueError, LookupError, ArithmeticError) as error:
        if "dynamic_img_size" in str(error):
            raise _not_plain(name, f"is from {timm.models.model_entrypoint(timm_name).__module__}") from error
        if from_hub and isinstance(error, RuntimeError) and "loading state_dict" in str(error):
            raise InputError(
                f"model.backbone: the pretrained weights of {name!r} ({timm_name}) do not fit the network with "
                f"model.backbone_args {dict(arguments or {})!r}: {_last_line(error)}. Leave out arguments that change "
                "its weights, or train from random weights with model.backbone_pretrained=false.",
                code="unsupported-file",
                key="model.backbone",
                backbone=name,
            ) from error
        if from_hub and isinstance(error, OSError | RuntimeError):
            raise _no_weights(name, timm_name, error) from error
        # Without arguments of the user it is a fault of timm, or of the plugin that registered the backbone.
        if (not arguments and not isinstance(error, TypeError | AssertionError)) or _is_of_plugin(error):
            raise
        raise InputError(
            f"model.backbone: {name!r} cannot be built with model.backbone_args {dict(arguments or {})!r}: "
            f"{' '.join(str(error).split())}",
            code="bad-value",
            key="model.backbone_args",
            backbone=name,
        ) from error
    if not isinstance(model, VisionTransformer | Eva):
        raise _not_plain(name, f"is a {type(model).__name__}")
    if not isinstance(model.patch_embed, PatchEmbed):
        raise _not_plain(name, "makes each token from more than one patch of the image, by convolutions")
    if len(model.blocks) == 0 or model.patch_embed.proj.in_channels != 3:
        raise InputError(
            f"model.backbone_args: {dict(arguments or {})!r} makes {counted(len(model.blocks), 'block')} over images "
            f"of {counted(model.patch_embed.proj.in_channels, 'channel')}, expected one block or more, and 3 channels",
            code="bad-value",
            key="model.backbone_args",
            backbone=name,
        )
    if getattr(model, "patch_drop", None) is not None and not isinstance(model.patch_drop, torch.nn.Identity):
        raise InputError(
            "model.backbone_args: patch_drop_rate drops other patches in every view. To drop patches use "
            "training.patch_mask with mode: tokens.",
            code="bad-value",
            key="model.backbone_args",
        )
    # The pooling of tokens for a classifier: parameters that no gradient reaches stop training on several GPUs.
    model.attn_pool, model.fc_norm = None, torch.nn.Identity()  # type: ignore[assignment]
    if weights is not None:
        load_weights(model, weights, name)
    if isinstance(model, Eva) and model.rope is not None and RotaryTables.fit(model.rope):
        model.rope = RotaryTables(model.rope)
    return model


def _check_arguments(arguments: Mapping[str, Any]) -> None:
    """Check the numbers among the arguments of an architecture, so that none asks for more than a computer has.

    Raises:
        InputError: `bad-value`, for a number that is not finite, negative or too large, or a rate outside [0, 1).
    """
    for name, value in arguments.items():
        # Timm drops arguments that are null, also those that it does not know, such as `depth:6` without a space.
        if not isinstance(name, str) or not name.isidentifier():
            raise InputError(
                f"model.backbone_args: not a name of an argument, found {name!r}",
                code="bad-value",
                key="model.backbone_args",
                found=name,
            )
        parts = value if isinstance(value, list | tuple) else [value]
        numbers = [part for part in parts if isinstance(part, int | float)]
        limit = _MAX_DEPTH if name == "depth" else _MAX_ARGUMENT
        bad = [each for each in numbers if not 0 <= each <= limit or (name.endswith("_rate") and each >= 1)]
        if bad:
            expected = "a rate from 0 to below 1" if name.endswith("_rate") else f"a number from 0 to {limit}"
            raise InputError(
                f"model.backbone_args: {name} must be {expected}, found {str(bad[0])[:20]}",
                code="bad-value",
                key="model.backbone_args",
                argument=name,
                found=bad[0],
            )


def _is_of_plugin(error: BaseException) -> bool:
    """Return True if a plugin raised the error, itself or by a library; what timm and torch refuse are arguments."""
    frames = traceback.extract_tb(error.__traceback__)
    plugins = {str(path) for path in loaded_plugins()}
    last = max((number for number, frame in enumerate(frames) if frame.filename in plugins), default=None)
    if last is None:
        return False
    libraries = tuple(str(Path(library.__file__ or "").parent) for library in (timm, torch))
    return not any(frame.filename.startswith(libraries) for frame in frames[last + 1 :])


def _not_plain(name: str, reason: str) -> InputError:
    return InputError(
        f"model.backbone: {name!r} {reason}, expected a plain vision transformer: joint attention over views needs "
        f"blocks that all attend over all patches. Use one such as {', '.join(BACKBONES)}.",
        code="bad-value",
        key="model.backbone",
        backbone=name,
    )


def input_normalization(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the channels' mean and standard deviation of a backbone's pretraining, for values in [0, 1].

    Raises:
        InputError: `unknown-choice` or `bad-value` for a name that cannot be used.
    """
    timm_name = _timm_name(name)
    pretrained_config = timm.get_pretrained_cfg(timm_name)
    if pretrained_config is None:
        return IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
    return tuple(pretrained_config.mean), tuple(pretrained_config.std)


def load_weights(model: VisionTransformer | Eva, path: Path, name: str) -> None:
    """Fill a backbone from a file with timm's parameter names; position embeddings are resampled to the model's grid.

    Raises:
        InputError: `missing-file`, `unreadable-file`, or `unsupported-file` for weights of another architecture; the
            message names the parameters that differ.
    """
    state = read_state(path)
    own = model.state_dict()
    state = {key: value for key, value in state.items() if not key.startswith(("head.", "fc_norm.", "attn_pool."))}
    if "pos_embed" in state and "pos_embed" in own and _is_table(state["pos_embed"]):
        prefix = 0 if getattr(model, "no_embed_class", False) else int(model.num_prefix_tokens)
        side = math.isqrt(max(0, state["pos_embed"].shape[1] - prefix))
        # Pretrained grids are square; rows and columns of another grid do not follow from their product.
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
            f"{len(items)} {problem} ({', '.join(items[:3])}{', ...' if len(items) > 3 else ''})"
            for problem, items in (("missing", missing), ("unexpected", unexpected), ("of another shape", reshaped))
            if items
        ]
        raise InputError(
            f"model.backbone_weights: {path} does not hold the weights of {name!r}: parameters {'; '.join(problems)}",
            code="unsupported-file",
            key="model.backbone_weights",
            path=path,
            missing=missing,
            unexpected=unexpected,
            reshaped=reshaped,
        )
    model.load_state_dict(state)


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """Read tensors by name from a safetensors file or a torch state dictionary, without unpickling objects.

    Raises:
        InputError: `missing-file`, `unreadable-file`, or `unsupported-file` for a file of anything but tensors by name.
    """
    if not path.is_file():
        raise InputError(
            f"model.backbone_weights: there is no file {path}",
            code="missing-file",
            key="model.backbone_weights",
            path=path,
        )
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = load_tensors(path)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"model.backbone_weights: {path} holds more than plain tensors. Such files can run code and are refused.",
            code="unsupported-file",
            key="model.backbone_weights",
            path=path,
        ) from error
    except (SafetensorError, OSError, *READING_ERRORS) as error:
        raise InputError(
            f"model.backbone_weights: {path} cannot be read: {_last_line(error)}",
            code="unreadable-file",
            key="model.backbone_weights",
            path=path,
        ) from error
    state = state.get("state_dict", state.get("model", state)) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError(
            f"model.backbone_weights: {path} does not hold tensors by name",
            code="unsupported-file",
            key="model.backbone_weights",
            path=path,
        )
    return state


def _is_table(value: Tensor) -> bool:
    """Return True for rows by batch that are all in memory: a small file can name one row as often as it likes."""
    return value.ndim == 3 and value.layout == torch.strided and value.nbytes <= value.untyped_storage().nbytes()


def _timm_name(name: str) -> str:
    if name.startswith(WINDOWED):
        raise InputError(
            f"model.backbone: {name!r} (SAM) cannot attend over several views: most of its blocks attend within "
            "windows of 14 x 14 patches, by their relative positions in one image, and a patch of another view is in "
            f"no window. Use one of {', '.join(BACKBONES)}.",
            code="bad-value",
            key="model.backbone",
            backbone=name,
        )
    timm_name = BACKBONES.get(name, name)
    if not timm.is_model(timm_name.split(".")[0]):
        close = timm.list_models(f"*{name}*")[:5]
        hint = f" Similar timm names: {', '.join(close)}." if close else ""
        raise InputError(
            f"model.backbone: unknown backbone {name!r}, expected one of {', '.join(BACKBONES)}, or the name of a timm "
            f"vision transformer.{hint}",
            code="unknown-choice",
            key="model.backbone",
            backbone=name,
        )
    try:
        timm.get_pretrained_cfg(timm_name)
    except RuntimeError as error:
        architecture = timm_name.split(".")[0]
        known = ", ".join(timm.models.get_arch_pretrained_cfgs(architecture))
        raise InputError(
            f"model.backbone: timm has no weights {timm_name!r}, expected one of {known} for {architecture}",
            code="unknown-choice",
            key="model.backbone",
            backbone=name,
        ) from error
    return timm_name


def _no_weights(name: str, timm_name: str, error: Exception) -> InputError:
    """Return the error for pretrained weights that cannot be had."""
    return InputError(
        f"model.backbone: the pretrained weights of {name!r} ({timm_name}) are neither cached nor can they be "
        f"downloaded: {_last_line(error)}. Give a local file with model.backbone_weights=PATH (safetensors "
        "with timm's names), or train from random weights with model.backbone_pretrained=false.",
        code="missing-file",
        key="model.backbone",
        backbone=name,
    )


def _hub_error(timm_name: str) -> Exception | None:
    """Return the error of a hub that does not answer, where weights have to be downloaded from it; else None.

    The hub's library has no setting for its retries of a download, which take most of a minute: it is asked once.
    """
    hub = getattr(timm.get_pretrained_cfg(timm_name), "hf_hub_id", None)
    if not hub:
        return None
    import huggingface_hub as hub_library
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError, HTTPError

    cached = Path(constants.HF_HUB_CACHE) / file_name(f"models--{hub.replace('/', '--')}") / "snapshots"
    if list_files(cached, "*/*"):
        return None  # whatever the file is called: timm knows
    try:
        url = hub_library.hf_hub_url(hub, "model.safetensors")
        hub_library.get_hf_file_metadata(url, timeout=_HUB_TIMEOUT)
    except HfHubHTTPError:
        return None  # it answers: what is wrong, the download says
    except (OSError, HTTPError) as error:
        return error
    return None


def _last_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__


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
