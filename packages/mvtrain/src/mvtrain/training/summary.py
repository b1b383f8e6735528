"""Summary of a run before its first step, with an estimate of its memory."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.utils.data import DataLoader

from mvgeom.wording import counted
from mvtrain.config import Config
from mvtrain.data.batch import Batch
from mvtrain.data.dataset import EpochSampler, FrameDataset
from mvtrain.model.backbone import patch_grid
from mvtrain.model.checkpoint import ModelSpec
from mvtrain.model.multiview import MultiviewTransformer, split_output
from mvtrain.project.labels_3d import uses_imgaug_3d, uses_labels_from_3d
from mvtrain.project.project import Project
from mvtrain.project.splits import Split
from mvtrain.training.schedules import Schedules


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """Memory of a training step on each device, in bytes.

    Attributes:
        fixed: Bytes of weights, their gradients, and the two moments of Adam.
        activations: Bytes that the forward pass keeps for the backward pass.
    """

    fixed: int
    activations: int

    @property
    def total(self) -> int:
        """Return the sum; libraries take some hundred megabytes more."""
        return self.fixed + self.activations


def estimate_memory(
    model: MultiviewTransformer,
    *,
    batch_size: int,
    image_size: tuple[int, int],
    precision: str,
    epipolar_attention: bool = False,
) -> MemoryEstimate:
    """Estimate the memory of a training step with Adam.

    The network runs for one sample and for two, on tensors without content, and the bytes that it keeps are counted;
    so fused attention, gradient checkpointing and the head count as they are. Losses in 3D, heatmap losses and the head
    for covariances keep little; of these only the softmax of heatmap losses is counted.

    Args:
        model: Model on any device.
        batch_size: Samples per device.
        image_size: Width and height in model px.
        precision: Fabric's; in mixed precision most of what is kept has half the size.
        epipolar_attention: True if attention has a bias, a number per pair of patches of all views.
    """
    samples = min(batch_size, 2)
    kept = [_kept_bytes(model, count, image_size, epipolar_attention) for count in range(1, samples + 1)]
    # Some tensors, such as tables of positions, exist once for all samples.
    activations = kept[0] + (batch_size - 1) * (kept[-1] - kept[0])
    numbers = sum(parameter.numel() for parameter in model.parameters())
    smaller = 2 if "16" in precision else 1
    return MemoryEstimate(fixed=16 * numbers, activations=activations // smaller)


def _kept_bytes(
    model: MultiviewTransformer, num_samples: int, image_size: tuple[int, int], epipolar_attention: bool
) -> int:
    """Count the bytes that the forward pass of some samples keeps for the backward pass, in full precision."""
    width, height = image_size
    device = next(model.parameters()).device
    # A copy: backbones keep tables of positions, which would be computed without content here.
    copied = copy.deepcopy(model).train()
    copied.covariance_head = None  # hundreds of small steps, which keep some numbers per keypoint
    # Backbones of users may hold tensors that are no buffers.
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    state: dict[str, Tensor] = {
        name: mode.from_tensor(tensor) for name, tensor in (*copied.named_parameters(), *copied.named_buffers())
    }
    weights = {tensor.untyped_storage()._cdata for tensor in state.values()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()._cdata
        if storage not in weights:
            kept[storage] = tensor
        return tensor

    with mode, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        images = torch.empty(num_samples, model.num_views, 3, height, width, device=device)
        bias = None
        if epipolar_attention:
            rows, columns = patch_grid((height, width), model.patch_size)
            bias = torch.empty(num_samples, *(model.num_views * rows * columns,) * 2, device=device)
        output = functional_call(copied, state, (images,), {"attention_bias": bias})
        # Every heatmap loss keeps the softmax of the logits.
        split_output(output)[0].flatten(-2).log_softmax(-1)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def print_summary(
    config: Config,
    project: Project,
    split: Split,
    spec: ModelSpec,
    model: MultiviewTransformer,
    schedules: Schedules,
    train_loader: DataLoader[Batch],
    fabric: Fabric,
    console: Console,
) -> None:
    """Print the data, the network and the schedules of a run."""
    dataset = train_loader.dataset
    assert isinstance(dataset, FrameDataset)
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    width, height = spec.image_size
    backbone, head = _millions(model.backbone), _millions(model.head)
    calibrated = sum(cameras is not None for cameras in project.cameras)
    rows = {
        "project": f"{project.root}: {counted(len(project.view_names), 'view')}, "
        f"{counted(len(project.keypoint_names), 'keypoint')}, {counted(len(project.cameras), 'frame')}, "
        f"{calibrated} of them calibrated",
        "frames": f"{len(split.train)} train, {len(split.validation)} validation, {len(split.test)} test "
        f"(split: {config.data.split}{'' if split.kept_from is None else f', as in {split.kept_from}'})",
        **_describe_pseudo_labels(config, train_loader),
        "model": f"{spec.backbone} ({backbone:.1f} M) + head ({head:.1f} M), {spec.attention} attention, "
        f"input {width}x{height}{', states covariances' if spec.covariance_head else ''}",
        "fusion": _describe_fusion(spec, calibrated),
        "device": f"{fabric.world_size} x {fabric.device.type}, {config.training.precision}",
        "memory": _describe_memory(config, spec, model, fabric),
        "length": f"{counted(schedules.max_epochs, 'epoch', spec='g')} of "
        f"{counted(len(train_loader), 'batch', 'batches')} of {config.training.train_batch_size}",
        "backbone": "learns from the start"
        if schedules.unfreeze == 0
        else f"frozen until epoch {schedules.unfreeze:g}",
        "augmentation": f"imgaug {_short(config.training.imgaug)}, imgaug_3d {_describe_imgaug_3d(config, project)}",
        "labels from 3D": _describe_labels_from_3d(config, project, dataset),
        "patch mask": describe_masking(schedules),
        "heatmap loss": _describe_heatmap_loss(config.model.heatmap_loss_type),
    }
    for name, ramp in schedules.losses.items():
        rows[name] = (
            f"from epoch {ramp.init:g}{_late(ramp.init, schedules)}, "
            f"full weight {ramp.weight:.3g} from epoch {ramp.init + ramp.ramp:g}"
        )
    for name, text in rows.items():
        table.add_row(Text(name, style="bold"), text)
    console.print(table, highlight=False)


def _describe_pseudo_labels(config: Config, loader: DataLoader[Batch]) -> dict[str, str]:
    """Return the row about pseudo-labels; nothing for a project without them."""
    sampler = loader.batch_sampler
    assert isinstance(sampler, EpochSampler)
    if not sampler.num_others:
        return {}
    return {
        "pseudo-labels": f"{counted(len(sampler.others), 'frame')}; an epoch has {sampler.num_others} of them in place "
        f"of labeled ones (training.pseudo_share: {config.training.pseudo_share:g})",
    }


def _describe_memory(config: Config, spec: ModelSpec, model: MultiviewTransformer, fabric: Fabric) -> str:
    estimate = estimate_memory(
        model,
        batch_size=-(-config.training.train_batch_size // fabric.world_size),
        image_size=spec.image_size,
        precision=config.training.precision,
        epipolar_attention=spec.epipolar_attention,
    )
    return (
        f"about {estimate.total / 1e9:.1f} GB per device: {estimate.fixed / 1e9:.2g} for weights and optimizer, "
        f"{estimate.activations / 1e9:.2g} for a batch"
    )


def _describe_imgaug_3d(config: Config, project: Project) -> str:
    used = uses_imgaug_3d(config, project)
    automatic = config.training.imgaug_3d is None
    return f"{_short(used)} (training.imgaug_3d=false turns it off)" if automatic and used else _short(used)


def _describe_fusion(spec: ModelSpec, calibrated: int) -> str:
    if not spec.fuse_views or not calibrated or len(spec.view_names) < 2:
        return "off"
    return "views are fused after the network (model.fuse_views=false turns it off)"


def _describe_labels_from_3d(config: Config, project: Project, dataset: FrameDataset) -> str:
    if not uses_labels_from_3d(config, project):
        return "off"
    count = f"{dataset.num_labels_from_3d} in views that do not see the keypoint"
    automatic = config.training.labels_from_3d is None
    return f"{count} (training.labels_from_3d=false turns them off)" if automatic else count


def _describe_heatmap_loss(name: str) -> str:
    return f"{name}, with a guide for keypoints without a peak" if name == "mse" else name


def describe_masking(schedules: Schedules) -> str:
    """Describe when patches and views are masked, in one line."""
    masking = schedules.masking
    if masking is None:
        return "off"
    if masking.clear <= masking.init < schedules.max_epochs:
        return f"never: it would start at epoch {masking.init:g}, and none is masked from epoch {masking.clear:g}"
    views = f", and {masking.view_ratio:.0%} of the views" if masking.view_ratio > 0 else ""
    init_ratio = masking.init_ratio if masking.final_ratio > 0 else 0.0
    text = (
        f"from epoch {masking.init:g}{_late(masking.init, schedules)} ({init_ratio:.0%}) "
        f"to epoch {masking.final:g} ({masking.final_ratio:.0%}{views})"
    )
    if masking.clear >= schedules.max_epochs:
        return text
    cut = (
        ", before the full share is reached (training.patch_mask.clear_share)" if masking.clear < masking.final else ""
    )
    return f"{text}, none from epoch {masking.clear:g}{cut}"


def _late(epoch: float, schedules: Schedules) -> str:
    """Describe an epoch that the run does not reach."""
    return ", which is after the end of the run" if epoch >= schedules.max_epochs else ""


def _millions(module: nn.Module) -> float:
    return sum(parameter.numel() for parameter in module.parameters()) / 1e6


def _short(value: object) -> str:
    return f"custom ({', '.join(map(str, value))})" if isinstance(value, dict) else str(value).lower()
