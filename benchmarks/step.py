"""Cost of a training step, part by part, in time and memory, and its growth.

    OMP_WAIT_POLICY=passive uv run python benchmarks/step.py [--device cuda] [--precision bf16-mixed] [--threads 1]

The step is the trainer's own (`mvtrain.training.step`) with masking and both 3D losses on: 2 frames of 4 views of 256
x 256 px, 17 keypoints, a ViT-S of random weights. Marks are set from outside, by hooks on the network and gradients.

Seconds are the median over the repeats. On the CPU with one thread they are CPU seconds of this process, which other
work on the machine lengthens little; with more threads they are seconds of the clock, and need an idle machine. On a
GPU they are the device's, between events in its stream.

Memory is the peak of tensors that exist during a part beyond those that existed before the step (gradients come and go
within it; weights and Adam's moments are listed apart), as the allocator counts it: on the CPU in a profiled step of
its own, on a GPU by its caching allocator. What libraries keep for themselves is in neither.

"Everything else" is the step without the optimizer, less backbone and head; the project wants it below 10 %.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor
from torch.profiler import ProfilerActivity, profile, record_function

from mvgeom import project
from mvtrain.config import Config, LossConfig, ModelConfig, PatchMaskConfig, TrainingConfig
from mvtrain.data.batch import Batch, Sample, collate
from mvtrain.losses import LOSSES
from mvtrain.model import inference as predict
from mvtrain.model.checkpoint import ModelSpec, build_model
from mvtrain.model.decode import decode
from mvtrain.model.epipolar import epipolar_bias
from mvtrain.model.inference import Network, Prediction
from mvtrain.synth import SyntheticSpec
from mvtrain.synth.scene import TARGET_HEIGHT, make_rig
from mvtrain.training.build import make_optimizer
from mvtrain.training.schedules import make_schedules
from mvtrain.training.step import TrainingStep

PARTS = {
    "choosing patches": "masking",
    "normalizing, blanking": "masking",
    "epipolar lines": "geometry",
    "backbone": "backbone",
    "head": "head",
    "decoding": "decoding",
    "heatmap loss": "losses",
    "supervised_pairwise_projections": "geometry",
    "supervised_reprojection_heatmap_mse": "geometry",
    "sum and error": "losses",
    "backward: 3D losses": "geometry",
    "backward: heatmap loss, decoding": "losses",
    "backward: head": "head",
    "backward: backbone": "backbone",
    "optimizer": "optimizer",
}
"""Every part of a step in the order they happen, and what it counts as."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One configuration of the step."""

    batch_size: int = 2
    num_views: int = 4
    size: int = 256
    num_keypoints: int = 17
    backbone: str = "vits_dino"
    attention: Any = "joint"
    epipolar: bool = False
    mask_mode: Any = "pixels"
    precision: Any = "32-true"


@dataclass
class Marks:
    """Progress of a step, noted by name: times, and with `profiled` a label in the profiler's record of memory."""

    device: torch.device
    profiled: bool = False
    found: list[tuple[str, Any]] = field(default_factory=list)
    peaks: dict[str, int] = field(default_factory=dict)

    def __call__(self, name: str) -> None:
        """The part of this name ends here; an empty name starts the step."""
        if self.device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self.found.append((name, event))
            self.peaks[name] = torch.cuda.max_memory_allocated(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
            return
        if self.profiled:
            with record_function(f"mark:{name}"):
                pass
        self.found.append((name, time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()))

    def seconds(self) -> dict[str, float]:
        """Time of each part."""
        result: dict[str, float] = {}
        for (_, start), (name, end) in zip(self.found, self.found[1:], strict=False):
            spent = start.elapsed_time(end) / 1e3 if self.device.type == "cuda" else end - start
            result[name] = result.get(name, 0.0) + spent
        return result


class Bench:
    """A step with everything it needs, marks set around its parts."""

    def __init__(self, setting: Setting, device: torch.device) -> None:
        self.device = device
        self.fabric = Fabric(accelerator=device.type, devices=1, precision=setting.precision)
        config = Config(
            training=TrainingConfig(
                max_epochs=10,
                patch_mask=PatchMaskConfig(
                    init_epoch=0, final_epoch=0, init_ratio=0.5, final_ratio=0.5, mode=setting.mask_mode
                ),
            ),
            model=ModelConfig(attention=setting.attention),
            losses={name: LossConfig(log_weight=0.0, init_epoch=0, ramp_epochs=0) for name in LOSSES},
        )
        spec = ModelSpec(
            backbone=setting.backbone,
            backbone_args={},
            attention=setting.attention,
            epipolar_attention=setting.epipolar,
            view_names=tuple(f"view{view}" for view in range(setting.num_views)),
            keypoint_names=tuple(f"keypoint{number}" for number in range(setting.num_keypoints)),
            image_size=(setting.size, setting.size),
            downsample_factor=2,
            mean=(0.5, 0.5, 0.5),
            std=(0.2, 0.2, 0.2),
            subject_size=200.0,
        )
        torch.manual_seed(0)
        model = build_model(spec).train()
        self.model, self.optimizer = self.fabric.setup(model, make_optimizer(config, model))
        self.batch = make_batch(setting).to(device)
        network = Network.from_model(self.model, spec, device)
        self.step = TrainingStep.from_config(config, spec, make_schedules(config, 100), network, model.patch_size)

    def take(self, marks: Marks) -> None:
        """One step, forward, backward and optimizer."""
        with self._marked(marks) as step:
            marks("")
            loss = step(self.batch, epoch=1, clock=1.0)["loss"]
            marks("sum and error")
            self.fabric.backward(loss)
            marks("backward: backbone")
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            marks("optimizer")

    @contextmanager
    def _marked(self, marks: Marks) -> Iterator[TrainingStep]:
        """The step, its network and losses wrapped; the wrapped functions are the trainer's own."""
        network, head = self.step.network, self.model.module.head

        def marked_network(batch: Batch, mask: Any, **options: Any) -> Prediction:
            marks("choosing patches")
            prediction = network(batch, mask, **options)
            marks("decoding")
            prediction.full_points.register_hook(lambda _: marks("backward: 3D losses"))
            prediction.logits.register_hook(lambda _: marks("backward: heatmap loss, decoding"))
            return prediction

        def marked(name: str, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
            def call(*arguments: Any) -> Tensor:
                value = function(*arguments)
                marks(name)
                return value

            return call

        def marked_bias(*arguments: Any, **options: Any) -> Tensor:
            marks("normalizing, blanking")
            bias = epipolar_bias(*arguments, **options)
            marks("epipolar lines")
            return bias

        def before_head(_: Any, inputs: tuple[Tensor, ...]) -> None:
            marks("backbone")
            inputs[0].register_hook(lambda _: marks("backward: head"))

        handles = [
            self.model.module.register_forward_pre_hook(lambda *_: marks("normalizing, blanking")),
            head.register_forward_pre_hook(before_head),
            head.register_forward_hook(lambda *_: marks("head")),
        ]
        with mock.patch.object(predict, "epipolar_bias", marked_bias):
            yield dataclasses.replace(
                self.step,
                network=marked_network,  # type: ignore[arg-type]
                heatmap_loss=marked("heatmap loss", self.step.heatmap_loss),
                losses={name: marked(name, loss) for name, loss in self.step.losses.items()},
            )
        for handle in handles:
            handle.remove()


def make_batch(setting: Setting) -> Batch:
    """Random images, labels that all views see, cameras of the generator's rig."""
    generator = np.random.default_rng(0)
    size = setting.size
    cameras = make_rig(SyntheticSpec(num_views=setting.num_views, size=size), 0)
    identity = np.tile(np.eye(2, 3), (setting.num_views, 1, 1))
    shape = (setting.num_views, setting.num_keypoints)
    samples = []
    for index in range(setting.batch_size):
        points_3d = generator.uniform(-100, 100, (setting.num_keypoints, 3))
        points_3d[:, 2] += TARGET_HEIGHT
        samples.append(
            Sample(
                index=index,
                images=generator.integers(0, 256, (setting.num_views, size, size, 3), dtype=np.uint8),
                points=project(points_3d, cameras),
                visibility=np.full(shape, 2, dtype=np.int8),
                view_present=np.ones(setting.num_views, dtype=bool),
                to_model=identity,
                model_to_crop=identity[..., :2],
                cameras=cameras,
                moved=False,
            )
        )
    return collate(samples)


@dataclass(frozen=True, kw_only=True)
class Result:
    """Seconds and peak bytes beyond what was there before the step, by part; bytes that a run holds all the time."""

    seconds: dict[str, float]
    peaks: dict[str, int]
    held: int

    def total(self, *kinds: str) -> float:
        """Seconds of all parts of some kinds; of all kinds but the optimizer when none is named."""
        wanted = kinds or tuple(set(PARTS.values()) - {"optimizer"})
        return sum(spent for part, spent in self.seconds.items() if PARTS[part] in wanted)

    @property
    def everything_else(self) -> float:
        """Seconds of what is neither network nor optimizer."""
        return self.total() - self.total("backbone", "head")

    @property
    def peak(self) -> int:
        """The most bytes that any part needs."""
        return max(self.peaks.values())


def measure(setting: Setting, device: torch.device, repeats: int) -> Result:
    """Time and memory of a step; the first two steps, which fill caches, do not count."""
    bench = Bench(setting, device)
    for _ in range(2):
        bench.take(Marks(device))
    timed = []
    for _ in range(repeats):
        marks = Marks(device)
        bench.take(marks)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        timed.append(marks.seconds())
    seconds = {part: statistics.median(times.get(part, 0.0) for times in timed) for part in PARTS}
    # Weights and two moments in float32.
    held = 12 * sum(parameter.numel() for parameter in bench.model.parameters())
    return Result(seconds=seconds, peaks=peaks_of(bench, device), held=held)


def peaks_of(bench: Bench, device: torch.device) -> dict[str, int]:
    marks = Marks(device, profiled=True)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        bench.take(marks)
        return {name: peak - before for name, peak in marks.peaks.items() if name}
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        bench.take(marks)
    assert record.profiler is not None
    events = sorted(record.profiler.kineto_results.events(), key=lambda event: event.start_ns())
    allocated, peak, peaks = 0, 0, {}
    for event in events:
        if event.name() == "[memory]":
            allocated += event.nbytes()
            peak = max(peak, allocated)
        elif event.name().startswith("mark:"):
            name = event.name().removeprefix("mark:")
            if name:
                peaks[name] = peak
            else:
                allocated = 0
            peak = allocated
    return peaks


def print_parts(result: Result, console: Console) -> None:
    table = Table("part", "counts as", "ms", "share of the step", "peak MiB", box=None)
    for part, kind in PARTS.items():
        share = "" if kind == "optimizer" else f"{result.seconds[part] / result.total():.1%}"
        table.add_row(
            part, kind, f"{1e3 * result.seconds[part]:.1f}", share, f"{result.peaks.get(part, 0) / 2**20:.0f}"
        )
    table.add_section()
    for kind in ("backbone", "head", "masking", "decoding", "losses", "geometry"):
        table.add_row(
            f"all {kind}", "", f"{1e3 * result.total(kind):.1f}", f"{result.total(kind) / result.total():.1%}"
        )
    share = f"[bold]{result.everything_else / result.total():.1%}[/]"
    table.add_row("everything but backbone and head", "", f"{1e3 * result.everything_else:.1f}", share)
    table.add_row("the step without the optimizer", "", f"{1e3 * result.total():.1f}", "", f"{result.peak / 2**20:.0f}")
    table.add_row("weights and Adam's moments", "", "", "", f"{result.held / 2**20:.0f}")
    console.print(table)


def print_growth(name: str, results: dict[Any, Result], console: Console) -> None:
    columns = (
        "step ms",
        "backbone",
        "head",
        "masking",
        "decoding",
        "losses",
        "geometry",
        "everything else",
        "peak MiB",
    )
    table = Table(name, *columns, box=None)
    for value, result in results.items():
        milliseconds = [f"{1e3 * result.total(kind):.1f}" for kind in columns[1:7]]
        share = f"{result.everything_else / result.total():.1%}"
        table.add_row(str(value), f"{1e3 * result.total():.0f}", *milliseconds, share, f"{result.peak / 2**20:.0f}")
    console.print(table)


def compare_decoding(setting: Setting, device: torch.device, repeats: int) -> tuple[float, float]:
    """Seconds, forward and backward, of our decoding and of a soft-argmax over heatmaps upsampled to the image size."""
    shape = (setting.batch_size, setting.num_views, setting.num_keypoints, setting.size // 4, setting.size // 4)
    logits = torch.randn(shape, device=device, requires_grad=True)

    def upsampled(logits: Tensor) -> Tensor:
        full = F.interpolate(logits.flatten(0, 1), scale_factor=4.0, mode="bicubic", align_corners=False)
        heatmap = full.flatten(-2).softmax(-1).reshape(full.shape)
        pixels = torch.arange(setting.size, device=device, dtype=torch.float32)
        return torch.stack([heatmap.sum(-2) @ pixels, heatmap.sum(-1) @ pixels], dim=-1)

    spent = []
    for function in (lambda logits: decode(logits)[0], upsampled):
        times = []
        for _ in range(repeats + 1):
            marks = Marks(device)
            marks("")
            function(logits).sum().backward()
            marks("decoding")
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times.append(marks.seconds()["decoding"])
        spent.append(statistics.median(times[1:]))
    return spent[0], spent[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", default="32-true", help="Fabric's: 32-true, bf16-mixed, ...")
    parser.add_argument("--backbone", default="vits_dino", help="architecture; weights are random")
    parser.add_argument("--threads", type=int, default=1, help="of torch, on the CPU")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-growth", action="store_true", help="only the step itself")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    console = Console(width=140)
    device = torch.device(arguments.device)
    base = Setting(backbone=arguments.backbone, precision=arguments.precision)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {arguments.threads} thread(s)"
    console.print(f"{base.backbone}, {base.precision}, on {name}; torch {torch.__version__}\n")
    result = measure(base, device, arguments.repeats)
    print_parts(result, console)
    ours, full = compare_decoding(base, device, arguments.repeats)
    console.print(
        f"\ndecoding, forward and backward: {1e3 * ours:.1f} ms; a soft-argmax over heatmaps upsampled to the image "
        f"{1e3 * full:.1f} ms, {full / ours:.0f} times as much\n"
    )
    if arguments.no_growth:
        return
    growth: dict[str, dict[Any, dict[str, Any]]] = {
        "views": {number: {"num_views": number} for number in (2, 4, 6, 8)},
        "image size": {size: {"size": size} for size in (128, 256, 384)},
        "keypoints": {number: {"num_keypoints": number} for number in (4, 17, 34, 68)},
        "variant": {
            "joint, half of the patches blank": {},
            "joint, half of the patches dropped": {"mask_mode": "tokens"},
            "joint, along epipolar lines": {"epipolar": True},
            "per view": {"attention": "per_view"},
        },
    }
    for axis, settings in growth.items():
        results = {
            value: result
            if (setting := dataclasses.replace(base, **changes)) == base
            else measure(setting, device, arguments.repeats)
            for value, changes in track(settings.items(), axis, console=console, transient=True)
        }
        print_growth(axis, results, console)
        console.print()


if __name__ == "__main__":
    main()
