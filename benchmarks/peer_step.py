"""Forward and backward pass of our model beside those of the peer, Lightning Pose 2.4.3.

    uv run python benchmarks/peer_step.py --peer-python ../peer-env/bin/python [--threads 2] [--repeats 7]
        [--attention per_view]

Both models are a ViT-S/16 of random weights with joint attention over 4 views of 256 x 256 px, 17 keypoints, 2 frames;
both end in heatmaps that sum to 1. `--attention per_view` is our network with each view on its own, as configs that are
generated for calibrated projects have it; the peer has no such network. Each runs in a process of its own: ours in this
environment, the peer's in its own (`shared/peer/README.md` says how to install it). The steps take turns, ours, the
peer's, ours, ..., so that both meet the same machine; the tables hold medians, and the ratios are medians over the
pairs of neighboring steps.

With one thread the seconds are CPU seconds, which other work on the machine lengthens little; with more threads they
are seconds of the clock, and need an idle machine. Memory is how far the resident memory of the process rises above
what it was before the first step.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BATCH_SIZE, NUM_VIEWS, NUM_KEYPOINTS, SIZE = 2, 4, 17, 256


def our_heatmaps(backbone: str, attention: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Our model, and heatmaps from images (B, V, 3, H, W) by it."""
    from mvtrain.model.backbone import build_backbone
    from mvtrain.model.multiview import MultiviewTransformer

    model = MultiviewTransformer(
        build_backbone(backbone), num_views=NUM_VIEWS, num_keypoints=NUM_KEYPOINTS, attention=attention
    )
    return model, lambda images: model(images).flatten(-2).softmax(-1)


def peer_heatmaps(backbone: str, _: Any) -> tuple[Any, Callable[[Any], Any]]:
    """The peer's model, and heatmaps from images (B, V, 3, H, W) by it."""
    from lightning_pose.models.heatmap_tracker_multiview import (  # type: ignore[import-not-found]
        HeatmapTrackerMultiviewTransformer,
    )
    from transformers import ViTConfig, ViTModel  # type: ignore[import-not-found]

    if backbone != "vits_dino":
        raise ValueError(f"--backbone: the peer's random weights are made for vits_dino only, found {backbone}")
    # The peer downloads its backbone; here it is built with the same shape and random weights.
    config = ViTConfig(hidden_size=384, num_hidden_layers=12, num_attention_heads=6, intermediate_size=1536)
    ViTModel.from_pretrained = classmethod(lambda cls, *_, **options: cls(config, **options))
    model = HeatmapTrackerMultiviewTransformer(
        num_keypoints=NUM_KEYPOINTS, num_views=NUM_VIEWS, backbone=backbone, image_size=SIZE
    )
    return model, model


MODELS = {"ours": our_heatmaps, "peer": peer_heatmaps}


def serve(name: str, backbone: str, attention: str, threads: int) -> None:
    """Take a step for each line of standard input, and answer with its seconds and the process's memory as JSON."""
    # Libraries print to standard output while they are imported; only answers go to the parent.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model, heatmaps_of = MODELS[name](backbone, attention)
    model.train()
    images = torch.randn(BATCH_SIZE, NUM_VIEWS, 3, SIZE, SIZE)
    clock = time.process_time if threads == 1 else time.perf_counter
    before = resident_bytes()
    for _ in sys.stdin:
        start = clock()
        loss = heatmaps_of(images).square().sum()
        middle = clock()
        loss.backward()
        end = clock()
        model.zero_grad(set_to_none=True)
        peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        answer = {
            "forward": middle - start,
            "backward": end - middle,
            "peak": max(0, peak - before),
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "torch": torch.__version__,
        }
        print(json.dumps(answer), file=answers, flush=True)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


class Worker:
    """A process that takes steps when it is asked to."""

    def __init__(self, name: str, python: str, arguments: argparse.Namespace) -> None:
        options = ["--serve", name, "--backbone", arguments.backbone, "--threads", str(arguments.threads)]
        options += ["--attention", arguments.attention]
        self.name = name
        self.process = subprocess.Popen(
            [python, __file__, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(arguments.threads), "OMP_WAIT_POLICY": "passive"},
        )

    def step(self) -> dict[str, Any]:
        """Seconds and memory of one more step.

        Raises:
            RuntimeError: the process has ended; it has said why on standard error.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("step\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name}: the process ended with exit code {self.process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", default="/work/peer-env/bin/python", help="Python of the peer's environment")
    parser.add_argument("--backbone", default="vits_dino", help="architecture; weights are random")
    parser.add_argument("--attention", choices=("joint", "per_view"), default="joint", help="of our model")
    parser.add_argument("--threads", type=int, default=1, help="of torch, in each process")
    parser.add_argument("--repeats", type=int, default=7, help="steps that count; two more warm up")
    parser.add_argument("--serve", choices=tuple(MODELS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve, arguments.backbone, arguments.attention, arguments.threads)
        return
    workers = [Worker("ours", sys.executable, arguments), Worker("peer", arguments.peer_python, arguments)]
    rounds = [[worker.step() for worker in workers] for _ in range(2 + arguments.repeats)][2:]
    for worker in workers:
        worker.close()
    unit = "CPU seconds" if arguments.threads == 1 else "seconds"
    print(
        f"{arguments.backbone}, {BATCH_SIZE} x {NUM_VIEWS} x {SIZE} x {SIZE}, {arguments.threads} thread(s); {unit}\n"
    )
    print(f"{'':8}{'forward':>9}{'backward':>10}{'both':>8}{'peak MiB':>10}{'parameters':>12}  torch")
    for which, worker in enumerate(workers):
        steps = [pair[which] for pair in rounds]
        forward, backward, both = (median(steps, *parts) for parts in PARTS)
        last = steps[-1]
        print(
            f"{worker.name:8}{forward:9.3f}{backward:10.3f}{both:8.3f}{last['peak'] / 2**20:10.0f}"
            f"{last['parameters'] / 1e6:11.2f}M  {last['torch']}"
        )
    ratios = [
        statistics.median(total(ours, *parts) / total(peer, *parts) for ours, peer in rounds)
        for parts in (*PARTS, ("peak",))
    ]
    print(f"{'ratio':8}{ratios[0]:9.3f}{ratios[1]:10.3f}{ratios[2]:8.3f}{ratios[3]:10.3f}")


PARTS = (("forward",), ("backward",), ("forward", "backward"))


def total(step: dict[str, Any], *parts: str) -> float:
    return float(sum(step[part] for part in parts))


def median(steps: list[dict[str, Any]], *parts: str) -> float:
    return statistics.median(total(step, *parts) for step in steps)


if __name__ == "__main__":
    main()
