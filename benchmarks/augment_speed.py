"""How fast augmentation is on one core: fits, warps, and whole samples from PNG files.

OMP_NUM_THREADS=1 uv run python benchmarks/augment_speed.py
"""

from __future__ import annotations

import tempfile
import timeit
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

from mvaug import Augmentation, augment_sample, fit_affine, fit_similarity, warp_batch, warp_image
from mvaug.move import MoveRanges, move_subject
from mvgeom import CameraGroup, affine, project


def best(function: Callable[[], object], number: int) -> float:
    """Seconds per call, the best of five rounds."""
    return min(timeit.repeat(function, number=number, repeat=5)) / number


def rig() -> CameraGroup:
    """Four cameras 8 units from the origin, 90 degrees apart, 640 x 512."""
    poses = []
    for angle in np.arange(4) * np.pi / 2:
        center = 8 * np.array([np.cos(angle), np.sin(angle), 0.3])
        z = -center / np.linalg.norm(center)
        x = np.cross(z, [0, 0, 1.0])
        x /= np.linalg.norm(x)
        rotation = np.stack([x, np.cross(z, x), z])
        poses.append((rotation, -rotation @ center))
    return CameraGroup(
        names=("a", "b", "c", "d"),
        sizes=np.tile([640.0, 512.0], (4, 1)),
        matrix=np.tile([[1000.0, 0, 320], [0, 1000, 256], [0, 0, 1]], (4, 1, 1)),
        distortion=np.tile([-0.05, 0.01, 0, 0, 0], (4, 1)),
        rotation=np.stack([r for r, _ in poses]),
        translation=np.stack([t for _, t in poses]),
    )


def main() -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    generator = np.random.default_rng(0)

    source, target = generator.normal(0, 100, (2, 128, 17, 2))
    mask = generator.random((128, 17)) < 0.9
    print(f"similarity, 128 sets of 17 pairs: {1e3 * best(lambda: fit_similarity(source, target, mask), 50):.3f} ms")
    print(f"affine,     128 sets of 17 pairs: {1e3 * best(lambda: fit_affine(source, target, mask), 50):.3f} ms")

    images = generator.integers(0, 256, (128, 256, 256, 3), dtype=np.uint8)
    turn = np.array([[1.05, -0.3, 30.0], [0.3, 1.05, -40.0]])
    seconds = best(lambda: [warp_image(image, turn, (256, 256)) for image in images], 1)
    print(f"warp 256 x 256 x 3, OpenCV uint8: {128 / seconds:.0f} images/s")
    tensor, matrices = torch.as_tensor(images).permute(0, 3, 1, 2), torch.as_tensor(np.tile(turn, (128, 1, 1)))
    seconds = best(lambda: warp_batch(tensor, matrices, (256, 256)), 1)
    print(f"warp 256 x 256 x 3, torch CPU:    {128 / seconds:.0f} images/s")

    cameras = rig()
    points_3d = generator.uniform(-1, 1, (17, 3))
    seconds = best(lambda: move_subject(points_3d, cameras, MoveRanges(), generator), 50)
    print(f"3D move and fit, 4 views, 17 points: {1e3 * seconds:.2f} ms")

    # Noise under a blur: about as hard for PNG as a photograph.
    photos = [cv2.GaussianBlur(generator.integers(0, 256, (512, 640, 3), dtype=np.uint8), (0, 0), 2) for _ in range(4)]
    frame_to_model = np.tile(affine.resize((640, 512), (256, 256)), (4, 1, 1))
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{view}.png" for view in range(4)]
        for path, photo in zip(paths, photos, strict=True):
            cv2.imwrite(str(path), photo)

        def read() -> list[np.ndarray]:
            return [cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in paths]

        def augment(augmentation: Augmentation, stored: list[np.ndarray]) -> None:
            augment_sample(
                stored,
                file_to_frame=np.tile(np.eye(2, 3), (4, 1, 1)),
                frame_to_model=frame_to_model,
                points=project(points_3d, cameras),
                points_3d=points_3d,
                cameras=cameras,
                size=(256, 256),
                augmentation=augmentation,
                generator=generator,
            )

        stored = read()
        print(f"4 views of 640 x 512: read PNG {1e3 * best(read, 5):.1f} ms")
        for imgaug in ("none", "dlc-mv", "dlc"):
            augmentation = Augmentation.from_config(imgaug, True)
            alone, whole = (
                best(lambda a=augmentation: augment(a, stored), 10),
                best(lambda a=augmentation: augment(a, read()), 10),
            )
            print(f"  {imgaug:7s} + 3D: augment {1e3 * alone:.1f} ms; from disk {1 / whole:.0f} samples/s on one core")


if __name__ == "__main__":
    main()
