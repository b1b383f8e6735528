"""Projects in memory, for tests of what only looks at their arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mvtrain.project.project import Project


def random_project(num_frames: int, view_names: tuple[str, ...], keypoint_names: tuple[str, ...]) -> Project:
    """Build a project of one session with every keypoint visible in every view, at random places."""
    shape = (num_frames, len(view_names))
    points = np.random.default_rng(0).uniform(5, 60, (*shape, len(keypoint_names), 2))
    return Project(
        root=Path("nowhere"),
        view_names=view_names,
        keypoint_names=keypoint_names,
        image_names=tuple(
            tuple(f"labeled-data/s_{view}/{row}.png" for view in view_names) for row in range(num_frames)
        ),
        sessions=("s",) * num_frames,
        points=points,
        visibility=np.full(points.shape[:3], 2, dtype=np.int8),
        file_sizes=np.full((*shape, 2), (80, 64)),
        boxes=None,
        cameras=(None,) * num_frames,
        crop_to_full=np.broadcast_to(np.eye(2, 3), (*shape, 2, 3)),
    )
