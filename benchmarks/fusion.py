"""Time of the fusion of views beside that of the network, per frame on one thread.

    OMP_WAIT_POLICY=passive uv run python benchmarks/fusion.py [--views 4] [--keypoints 17] [--size 256]

The network is a ViT-S/16 with random weights, whose views attend each on its own; heatmaps are a quarter of the images.
Both are timed in turn in one run, so that other work on the machine burdens them alike.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from mvgeom import CameraGroup
from mvtrain.model.backbone import build_backbone
from mvtrain.model.fusion import fuse_views
from mvtrain.model.multiview import MultiviewTransformer

ROUNDS = 7
FACTOR = 2
FRAMES = 4


def ring(num_views: int, size: int) -> CameraGroup:
    """Cameras around the origin that look at it, 5 units away."""
    angles = 2 * np.pi * np.arange(num_views) / num_views + 0.3 * np.arange(num_views)
    axes = np.stack([-np.cos(angles), -np.sin(angles), np.zeros(num_views)], axis=-1)
    right = np.stack([np.sin(angles), -np.cos(angles), np.zeros(num_views)], axis=-1)
    focal, center = 2.0 * size, (size - 1) / 2
    return CameraGroup(
        names=tuple(f"view{view}" for view in range(num_views)),
        sizes=np.full((num_views, 2), float(size)),
        matrix=np.tile([[focal, 0, center], [0, focal, center], [0, 0, 1]], (num_views, 1, 1)),
        distortion=np.zeros((num_views, 0)),
        rotation=np.stack([right, np.cross(axes, right), axes], axis=1),
        translation=np.tile([0.0, 0.0, 5.0], (num_views, 1)),
    )


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--keypoints", type=int, default=17)
    parser.add_argument("--size", type=int, default=256)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    backbone = build_backbone("vit_small_patch16_224")
    model = MultiviewTransformer(
        backbone, num_views=arguments.views, num_keypoints=arguments.keypoints, attention="per_view"
    ).eval()
    images = torch.randn(FRAMES, arguments.views, 3, arguments.size, arguments.size)
    cameras = CameraGroup.stack([ring(arguments.views, arguments.size)] * FRAMES).to(like=torch.zeros(1))
    to_model = torch.eye(2, 3).expand(FRAMES, arguments.views, 2, 3)
    present = torch.ones(FRAMES, arguments.views, dtype=torch.bool)
    logits = model(images)
    seconds: dict[str, list[float]] = {"network": [], "fusion": []}
    for _ in range(ROUNDS):
        start = time.perf_counter()
        model(images)
        between = time.perf_counter()
        fuse_views(logits, cameras, to_model, present, FACTOR)
        seconds["network"].append(between - start)
        seconds["fusion"].append(time.perf_counter() - between)
    network, fusion = (1e3 * min(found) / FRAMES for found in seconds.values())
    print(f"network {network:.0f} ms, fusion {fusion:.1f} ms a frame: {fusion / network:.1%}")


if __name__ == "__main__":
    main()
