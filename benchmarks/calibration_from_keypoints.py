"""Calibration without a board against the truth: generated rigs, degenerate motions, and human4 against its board.

OMP_NUM_THREADS=1 uv run python benchmarks/calibration_from_keypoints.py [--seeds 5] [--human4 ../shared/data/human4]

Rigs are compared after one similarity, fitted to centers and axes of the cameras: rotation errors in degrees, position
errors in percent of the mean distance of two cameras. "Held" is the share of errors within two of the stated standard
deviations (95 % expected), relative to the first camera. The scale is compared before the similarity.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from mvgeom import CameraGroup, affine, in_image, project
from mvgeom.calibration import CalibrationError, KnownLength, calibrate_from_keypoints, refine
from mvgeom.calibration.world_axes import WorldChange, change_world
from mvgeom.calibration.world_frame import similarity
from mvgeom.tables import read_keypoints, read_labeled_boxes, stack_views

NAMES = ("nose", "tail", "left", "right", "top", "back")
LENGTH = 0.12


@dataclass(frozen=True, kw_only=True)
class Case:
    """A generated recording.

    Attributes:
        name: Row of the table.
        num_views: Number of cameras.
        step_deg: Angle between neighboring cameras.
        noise: Standard deviation of the keypoints in px.
        outliers: Share of keypoints that are somewhere else.
        exchanged: Share of frames of a view in which left and right are exchanged.
        missing: Share of keypoints that are missing.
        distortion: First radial coefficient.
        own_focal: Relative standard deviation of the cameras' focal lengths.
        center: Standard deviation of the principal points in px.
        known: True if intrinsics are given.
        wand: True for two points instead of a subject.
        lasting: Standard deviation in px of errors that last for about 10 frames.
        frames: Number of frames.
        motion: `free`, `plane`, `still`, `far` (20 times as far, and as long focal lengths), `beside` (40 m away from
            cameras side by side), or `spot` (cameras turned on one spot).
    """

    name: str
    num_views: int = 4
    step_deg: float = 50.0
    noise: float = 1.0
    outliers: float = 0.0
    exchanged: float = 0.0
    missing: float = 0.1
    distortion: float = 0.0
    own_focal: float = 0.0
    center: float = 0.0
    known: bool = False
    wand: bool = False
    lasting: float = 0.0
    frames: int = 300
    motion: str = "free"


CASES = (
    Case(name="intrinsics given", known=True, distortion=-0.1, center=10),
    Case(name="focal lengths unknown"),
    Case(name="the same, centers off by 10 px", center=10.0),
    Case(name="the same, focal lengths differ", center=10.0, own_focal=0.05),
    Case(name="the same, barrel -0.15", center=10.0, own_focal=0.05, distortion=-0.15),
    Case(name="two cameras, intrinsics given", num_views=2, known=True),
    Case(name="three cameras", num_views=3, step_deg=35),
    Case(name="eight cameras around", num_views=8, step_deg=45),
    Case(name="wand", wand=True, noise=0.4, frames=600),
    Case(name="10 % outliers", outliers=0.1),
    Case(name="left and right exchanged, 20 %", exchanged=0.2),
    Case(name="half is missing", missing=0.5),
    Case(name="errors that last, 3 px", lasting=3.0, noise=2.0),
    Case(name="plane", motion="plane"),
    Case(name="subject hardly moves", motion="still"),
    Case(name="far away, telephoto lenses", motion="far"),
    Case(name="too little depth: cameras side by side", motion="beside", noise=2.0),
    Case(name="cameras on one spot", motion="spot"),
    Case(name="plane, intrinsics given", motion="plane", known=True),
    Case(name="cameras on one spot, intrinsics given", motion="spot", known=True),
)


def rig(case: Case, rng: np.random.Generator) -> CameraGroup:
    """Cameras of 1280x1024 px on an arc, about 2 m from the origin, that look near it."""
    count = case.num_views
    rotation, translation = [], []
    for view in range(count):
        angle = np.deg2rad(case.step_deg * (view - (count - 1) / 2))
        distance = (2 + 0.2 * rng.normal()) * (20 if case.motion == "far" else 1)
        center = np.array([np.sin(angle), 0, -np.cos(angle)]) * distance
        center[1] = -0.5 + 0.3 * rng.normal()
        if case.motion == "beside":
            center = np.array([0.4 * view, 0.05 * view, -40.0])
        forward = 0.1 * rng.normal(size=3) - center
        if case.motion == "spot":
            center = np.array([0, 0, -2.0])
            forward = np.array([0.15 * (view - 1.5), 0.1 * (view % 2), 1.0])
        forward /= np.linalg.norm(forward)
        right = np.cross([0, 1.0, 0], forward)
        right /= np.linalg.norm(right)
        turn = np.stack([right, np.cross(forward, right), forward])
        turn = Rotation.from_euler("z", 5 * rng.normal(), degrees=True).as_matrix() @ turn
        rotation.append(turn)
        translation.append(-turn @ center)
    focal = (20 if case.motion in ("far", "beside") else 1) * 1100 * (1 + case.own_focal * rng.normal(size=count))
    matrix = np.tile(np.eye(3), (count, 1, 1))
    matrix[:, 0, 0] = matrix[:, 1, 1] = focal
    matrix[:, :2, 2] = [639.5, 511.5] + case.center * rng.normal(size=(count, 2))
    return CameraGroup(
        names=tuple(f"cam{view + 1}" for view in range(count)),
        sizes=np.tile([1280.0, 1024.0], (count, 1)),
        matrix=matrix,
        distortion=np.tile([case.distortion, 0, 0, 0], (count, 1)),
        rotation=np.array(rotation),
        translation=np.array(translation),
    )


def film(case: Case, cams: CameraGroup, rng: np.random.Generator) -> np.ndarray:
    """(N, V, K, 2) keypoints of a rigid animal that walks and turns, nose and tail `LENGTH` apart."""
    count = case.frames
    body = np.array(
        [[0.06, 0, 0], [-0.06, 0, 0], [0, 0.04, 0.01], [0, -0.04, 0.01], [0, 0, 0.05], [-0.03, 0.01, -0.03]]
    )
    if case.wand:
        body = body[:2]
    path = gaussian_filter1d(rng.normal(size=(count, 3)), 6, axis=0)
    path *= np.array([0.4, 0.3, 0.4]) / path.std(axis=0)
    turns = Rotation.from_rotvec(gaussian_filter1d(rng.normal(size=(count, 3)), 10, axis=0) * 12)
    if case.motion == "plane":
        path[:, 1], body, turns = 0, body * [1, 0, 1], Rotation.from_rotvec(turns.as_rotvec() * [0, 1, 0])
    if case.motion == "still":
        path *= 0.002
        turns = Rotation.from_rotvec(turns.as_rotvec() * 0.002)
    world = np.einsum("nij,kj->nki", turns.as_matrix(), body) + path[:, None]
    pixels = project(world, cams)
    pixels = np.where(np.asarray(in_image(pixels, cams))[..., None], pixels, np.nan)
    pixels += case.noise * rng.normal(size=pixels.shape)
    if case.lasting:
        error = gaussian_filter1d(rng.normal(size=pixels.shape), 4, axis=0)
        pixels += case.lasting * error / error.std()
    if case.exchanged:
        swap = rng.random(pixels.shape[:2]) < case.exchanged
        pixels[swap] = pixels[swap][:, [0, 1, 3, 2, 4, 5]]
    wrong = rng.random(pixels.shape[:3]) < case.outliers
    pixels[wrong] = rng.uniform(0, 1000, (int(wrong.sum()), 2))
    pixels[rng.random(pixels.shape[:3]) < case.missing] = np.nan
    return pixels


def compare(found: CameraGroup, truth: CameraGroup, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Return errors (V,) of rotations in degrees and of positions in percent, after one similarity."""
    probes = [
        np.concatenate(
            [each.centers, *(each.centers + reach * gap(each) / gap(truth) * each.rotation[:, axis] for axis in (2, 0))]
        )
        for each in (found, truth)
    ]
    scale, rotation, shift = similarity(*probes, np.ones(len(probes[0])))
    moved = change_world(found, WorldChange(scale=scale, rotation=rotation, shift=shift))
    turn = Rotation.from_matrix(moved.rotation @ np.swapaxes(truth.rotation, 1, 2)).magnitude()
    shift = np.linalg.norm(moved.centers - truth.centers, axis=1)
    return np.rad2deg(turn), 100 * shift / gap(truth)


def gap(cams: CameraGroup) -> float:
    """Return the mean distance of two cameras."""
    return float(np.linalg.norm(cams.centers[:, None] - cams.centers, axis=-1).sum() / (len(cams) * (len(cams) - 1)))


def held(found: CameraGroup, truth: CameraGroup, deviations) -> np.ndarray:  # type: ignore[no-untyped-def]
    """Return booleans: errors of relative rotations, positions and focal lengths within two standard deviations."""
    relative = [each.rotation @ each.rotation[0].T for each in (found, truth)]
    turns = np.rad2deg(Rotation.from_matrix(relative[0] @ np.swapaxes(relative[1], 1, 2)).as_rotvec())
    places = [(each.centers - each.centers[0]) @ each.rotation[0].T / gap(each) for each in (found, truth)]
    shifts = places[0] - places[1]
    checks = [np.abs(turns[1:]) <= 2 * deviations.rotation_deg[1:]]
    checks.append(np.abs(shifts[1:]) <= 2 * deviations.position[1:] / gap(found))
    spread = deviations.focal[:, 0]
    checks.append((np.abs(found.matrix - truth.matrix)[:, 0, 0] <= 2 * spread)[spread > 0])
    return np.concatenate([each.reshape(-1) for each in checks])


def run(case: Case, seeds: int) -> Iterator[str]:
    """Yield a row of the table."""
    turn, shift, focal, scale, inside, refused, seconds, stated = [], [], [], [], [], [], [], []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        truth = rig(case, rng)
        points = film(case, truth, rng)
        begin = time.process_time()
        try:
            found = calibrate_from_keypoints(
                points,
                truth.names,
                truth.sizes,
                keypoint_names=NAMES[: points.shape[2]],
                intrinsics=truth if case.known else None,
                lengths=[KnownLength(first="nose", second="tail", length=LENGTH)],
            )
        except CalibrationError as error:
            refused.append(error.findings[0].code)
            continue
        seconds.append(time.process_time() - begin)
        errors = [each for each in found.findings if each.severity == "error"]
        if errors:
            refused.append(errors[0].code)
            continue
        degrees, percent = compare(found.cameras, truth, 2.0)
        turn.append(degrees.max())
        shift.append(percent.max())
        focal.append(100 * np.abs(found.cameras.matrix[:, 0, 0] / truth.matrix[:, 0, 0] - 1).max())
        scale.append(100 * abs(gap(found.cameras) / gap(truth) - 1))
        inside.append(held(found.cameras, truth, found.deviations))
        stated.append(np.linalg.norm(found.deviations.rotation_deg, axis=1).max())
    codes = ", ".join(sorted(set(refused)))
    if turn:
        yield (
            f"| {case.name} | {np.max(turn):.2f} ±{np.max(stated):.2f} | {np.max(shift):.2f} | {np.max(focal):.2f} | "
            f"{np.max(scale):.2f} | {100 * np.concatenate(inside).mean():.0f} % | {len(refused)} of {seeds} {codes} | "
            f"{np.mean(seconds):.1f} |"
        )
    else:
        yield f"| {case.name} | - | - | - | - | - | {len(refused)} of {seeds} {codes} | - |"


def human4(folder: Path) -> Iterator[str]:
    """Yield rows for human4 against the calibration from a board."""
    board = CameraGroup.load(folder / "calibration.toml")
    tables = {name: read_keypoints(folder / f"CollectedData_{name}.csv") for name in board.names}
    stack = stack_views(tables)
    points = stack.points.copy()
    for view, name in enumerate(board.names):
        boxes = read_labeled_boxes(folder / f"bboxes_{name}.csv").select(tables[name].rows)
        points[:, view] = affine.apply(np.asarray(affine.invert(affine.from_box(boxes, (320, 320)))), points[:, view])
    ways: dict[str, Callable[[], dict]] = {  # type: ignore[type-arg]
        "intrinsics of the board": lambda: {"intrinsics": board},
        "focal length 1680": lambda: {"focal": 1680.0},
        "nothing given": dict,
    }
    for way, options in ways.items():
        try:
            found = calibrate_from_keypoints(points, board.names, board.sizes, **options())
        except CalibrationError as error:
            yield f"| human4, {way} | - | - | - | - | - | refused: {error.findings[0].code} | - |"
            continue
        degrees, percent = compare(found.cameras, board, 4.0)
        refined = compare(found.cameras, refine(board, points).cameras, 4.0)
        focal = 100 * np.abs(found.cameras.matrix[:, 0, 0] / board.matrix[:, 0, 0] - 1).max()
        inside = held(found.cameras, board, found.deviations)
        text = ", ".join(f"{each.severity} {each.code}" for each in found.findings if each.severity != "note")
        stated = np.linalg.norm(found.deviations.rotation_deg, axis=1).max()
        yield (
            f"| human4, {way} | {' '.join(f'{each:.2f}' for each in degrees)} ±{stated:.2f} | "
            f"{' '.join(f'{each:.2f}' for each in percent)} | {focal:.2f} | - | {100 * inside.mean():.0f} % | {text} | "
            f"against the refined board calibration: {refined[0].max():.2f} deg, {refined[1].max():.2f} % |"
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", default="")
    parser.add_argument("--human4", type=Path, default=Path("../shared/data/human4"))
    arguments = parser.parse_args()
    print("| recording | rotation deg | position % | focal % | scale % | held | refused | CPU s |")
    print("|---|---|---|---|---|---|---|---|")
    for case in CASES:
        if arguments.only in case.name:
            for row in run(case, arguments.seeds):
                print(row, flush=True)
    if arguments.human4.is_dir() and arguments.only in "human4":
        for row in human4(arguments.human4):
            print(row, flush=True)


if __name__ == "__main__":
    main()
