"""Synthetic projects: shapes against dense sampling, truth against projection, files against each other."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.console import Console
from scipy.spatial.transform import Rotation

import mvgeom
from helpers.errors import raises_input
from mvgeom import CameraGroup, affine
from mvgeom.tables import read_labeled_boxes, read_video_boxes
from mvtrain.config import Config, DataConfig, load_config
from mvtrain.project.project import read_project
from mvtrain.synth import KEYPOINT_NAMES, SyntheticSpec, generate_project
from mvtrain.synth.generate import generate_if_missing, label
from mvtrain.synth.raycast import (
    SAME_SURFACE,
    Shape,
    View,
    ball,
    between_pixels,
    box,
    cone,
    intersect,
    keypoint_visibility,
    make_view,
    normals,
    pixel_bounds,
    rasterize,
)
from mvtrain.synth.render import Sensor, expose
from mvtrain.synth.scene import Scene, make_rig, make_scene

TINY = {"num_views": 2, "num_frames": 3, "size": 64, "num_sessions": 1, "num_video_frames": 6}


def tiny(**changes: Any) -> SyntheticSpec:
    return SyntheticSpec(**{**TINY, **changes})


def digest(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def read_table(path: Path, depth: int) -> tuple[list[str], np.ndarray]:
    """Return index and (N, K, depth) values of a table with three header rows, keypoints in the generator's order."""
    table = pd.read_csv(path, header=[0, 1, 2], index_col=0)
    assert list(table.columns.get_level_values(1)[::depth]) == list(KEYPOINT_NAMES)
    return [str(name) for name in table.index], table.to_numpy(dtype=float).reshape(len(table), -1, depth)


def random_shape(rng: np.random.Generator, kind: str) -> Shape:
    axes = Rotation.random(random_state=int(rng.integers(2**31))).as_matrix()[None]
    center = rng.normal(0, 20, (1, 3))
    if kind == "ball":
        return ball(center, tuple(rng.uniform(3, 40, 3)), axes)
    if kind == "box":
        return box(center, tuple(rng.uniform(3, 40, 3)), axes)
    first, second = rng.uniform(3, 40, 2)
    end = center + axes[:, :, 0] * (abs(first - second) + rng.uniform(1, 60))
    return cone(center, end, first, second, axes[:, :, 1])


def depth_inside(shape: Shape, frame: int, points: np.ndarray) -> np.ndarray:
    """Return the depth of points (N, 3) inside the solid in mm (roughly, for balls), negative outside."""
    axes, extent = shape.axes[frame], shape.extent[frame]
    local = (points - shape.center[frame]) @ axes
    if shape.kind == "ball":
        return (1 - np.linalg.norm(local / extent, axis=1)) * extent.min()
    if shape.kind == "box":
        return (extent - np.abs(local)).min(axis=1)
    along = np.linspace(0, 1, 401)
    centers = along[:, None] * [extent[0], 0, 0]
    radii = extent[1] + along * (extent[2] - extent[1])
    return (radii - np.linalg.norm(local[:, None] - centers, axis=-1)).max(axis=1)


def view_of(spec: SyntheticSpec, scene: Scene, number: int) -> View:
    return make_view(scene.cameras.select([spec.view_names[number]]))


# Shapes and rays


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), kind=st.sampled_from(["ball", "box", "cone"]))
def test_rays_enter_where_the_solid_begins(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    shape = random_shape(rng, kind)
    origin = rng.normal(size=3)
    origin *= 500 / np.linalg.norm(origin)
    rays = shape.center + rng.normal(0, 30, (12, 3)) - origin
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    distance = intersect(shape, origin, tuple(rays.T.astype(np.float32)[:, None]))[0]
    for ray, entry in zip(rays, distance, strict=True):
        stop = entry - 0.02 if np.isfinite(entry) else 900.0
        before = origin + np.linspace(300, stop, 400)[:, None] * ray
        assert (depth_inside(shape, 0, before) < 0.02).all()
        if np.isfinite(entry):
            point = (origin + float(entry) * ray)[None]
            assert abs(depth_inside(shape, 0, point)[0]) < 0.02
            outward, _ = normals(shape, np.zeros(1, dtype=int), point.astype(np.float32))
            assert depth_inside(shape, 0, point + 0.5 * outward)[0] < -0.005
            assert outward[0] @ ray < 1e-3


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), kind=st.sampled_from(["ball", "box", "cone"]))
def test_boxes_hold_the_whole_image(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    spec = tiny(seed=seed % 7, size=(96, 64))
    view = make_view(make_rig(spec, 0).select(["cam1"]))
    shape = random_shape(rng, kind)
    shape = Shape(kind=shape.kind, center=shape.center * 8, axes=shape.axes, extent=shape.extent)
    seen = np.isfinite(intersect(shape, view.origin, tuple(view.directions[:, None]))[0]).reshape(64, 96)
    left, top, right, bottom = pixel_bounds([shape], view)[0, :, 0]
    assert not seen[: max(top, 0)].any()
    assert not seen[bottom:].any()
    assert not seen[:, : max(left, 0)].any()
    assert not seen[:, right:].any()


def test_depth_buffer_agrees_with_testing_every_pixel_against_every_solid() -> None:
    spec = tiny(occlusion=1.0)
    scene = make_scene(spec, 0)
    view = view_of(spec, scene, 1)
    shapes = [part.shape for part in scene.body + scene.occluders]
    depth, owner = rasterize(shapes, view)
    every = np.stack([intersect(shape, view.origin, tuple(view.directions[:, None])) for shape in shapes])
    nearest, second = np.sort(every, axis=0)[:2]
    hit = np.isfinite(nearest)
    np.testing.assert_array_equal(np.isfinite(depth), hit)
    assert 0 <= (depth[hit] - nearest[hit]).max() <= SAME_SURFACE * 1.01
    clear = hit & (second > nearest + 2 * SAME_SURFACE)
    assert clear.sum() > 0.9 * hit.sum()
    np.testing.assert_array_equal(owner[clear], every.argmin(axis=0)[clear])
    assert (owner[~hit] == -1).all()


def test_a_ball_is_seen_where_opencv_projects_it() -> None:
    width, height = 320, 256
    spec = tiny(num_views=4, size=(width, height))
    rng = np.random.default_rng(0)
    cameras = make_rig(spec, 0)
    assert np.abs(cameras.distortion[:, 0]).max() > 0.05
    quiet = Sensor(
        gain=np.ones((1, 3), np.float32),
        curve=np.arange(4096, dtype=np.uint8),
        blur=0.6,
        noise=np.zeros(4 * 3 * width * height, np.int16),
    )
    rows, columns = np.indices((height, width))
    for number, name in enumerate(spec.view_names):
        centers = rng.uniform([-150, -150, 0], [150, 150, 120], (12, 3))
        # Nine rays a pixel: with one, the ragged edge alone moves the centroid of such a disc by 0.1 px.
        thirds = np.stack(np.meshgrid(*[[-1 / 3, 0, 1 / 3]] * 2), axis=-1).reshape(-1, 2)
        views = [make_view(cameras.select([name]).crop(third[None])) for third in thirds]
        seen = np.mean([np.isfinite(rasterize([ball(centers, 9.0)], view)[0]) for view in views], axis=0)
        expected, _ = cv2.projectPoints(
            centers,
            cameras.rotation[number],
            cameras.translation[number],
            cameras.matrix[number],
            cameras.distortion[number],
        )
        errors = []
        for coverage, pixel in zip(seen.reshape(-1, height, width, 1), expected[:, 0], strict=True):
            if (np.abs(pixel - [width / 2, height / 2]) > [width / 2 - 20, height / 2 - 20]).any():
                continue
            image = expose(quiet, (200 * coverage).repeat(3, -1).astype(np.uint8), rng)[..., 0].astype(float)
            errors.append([(image * columns).sum() / image.sum(), (image * rows).sum() / image.sum()] - pixel)
        assert len(errors) >= 6
        assert np.linalg.norm(errors, axis=1).max() < 0.05


def test_rays_between_pixels_are_those_of_the_shifted_camera() -> None:
    camera = make_rig(tiny(), 0).select(["cam1"])
    exact = make_view(camera.crop(np.array([[0.25, -0.25]])))
    near = between_pixels(make_view(camera), (0.25, -0.25))
    # 1e-4 rad is 0.01 px here.
    assert np.abs(near.directions - exact.directions).max() < 1e-4


# The animal


@given(width=st.integers(16, 200), height=st.integers(16, 200), seed=st.integers(0, 1000))
@settings(max_examples=30)
@example(width=48, height=32, seed=36)
@example(width=160, height=40, seed=0)
def test_every_pixel_of_an_image_of_any_shape_has_a_ray(width: int, height: int, seed: int) -> None:
    rig = make_rig(SyntheticSpec(num_frames=1, num_sessions=1, size=(2 * width, 2 * height), seed=seed), 0)
    steps = np.linspace(0, 1, 50)
    sides = [np.stack(np.broadcast_arrays(x, y), axis=-1) for x, y in ((steps, 0), (steps, 1), (0, steps), (1, steps))]
    border = np.concatenate(sides) * (rig.sizes[0] - 1)
    for name in rig.names:
        assert np.isfinite(mvgeom.rays(border[None], rig.select([name]))[1]).all()


def test_left_is_left_and_paws_are_on_the_floor() -> None:
    skeleton = make_scene(tiny(num_video_frames=200), 0).skeleton
    joints = skeleton.joints
    for axes, name in (("head", "ear"), ("chest", "elbow"), ("pelvis", "knee")):
        across = ((joints[f"left_{name}"] - joints[f"right_{name}"]) * skeleton.axes[axes][:, :, 1]).sum(-1)
        assert (across > 15).all()
    assert (((joints["nose"] - joints["tail_base"]) * skeleton.axes["chest"][:, :, 0]).sum(-1) > 100).all()
    lowest = skeleton.keypoints[..., 2].min(axis=1)
    assert lowest.min() > 2
    assert lowest.max() < 15
    paws = np.stack([joints[name] for name in KEYPOINT_NAMES if name.endswith("paw")])
    assert np.linalg.norm(np.diff(paws, axis=1), axis=-1).max() < 90


def test_a_symmetric_animal_has_the_same_shape_and_one_color_for_both_sides() -> None:
    plain, symmetric = (make_scene(tiny(symmetric=symmetric), 0) for symmetric in (False, True))
    for part, other in zip(plain.body, symmetric.body, strict=True):
        assert np.array_equal(part.shape.center, other.shape.center)
        assert np.array_equal(part.shape.extent, other.shape.extent)
    colors = [[part.material.color for part in scene.body] for scene in (plain, symmetric)]
    changed = [not np.array_equal(one, other) for one, other in zip(*colors, strict=True)]
    assert sum(changed) == 9  # the right ear, and four parts of each right leg
    # The right legs of a symmetric animal are painted as its left ones, which nothing has changed.
    assert {tuple(color) for color, new in zip(colors[1], changed, strict=True) if new} <= {
        tuple(color) for color, new in zip(colors[1], changed, strict=True) if not new
    }


def test_keypoints_on_the_back_are_seen_from_above_and_far_legs_are_hidden() -> None:
    scene = make_scene(tiny(num_views=4, num_video_frames=100, occlusion=0.0), 0)
    visible = np.stack([visibility_in(scene, number)[1] for number in range(4)])
    assert (visible[..., KEYPOINT_NAMES.index("spine")] == 2).mean() > 0.85
    assert 0.2 < (visible[..., KEYPOINT_NAMES.index("left_knee")] == 2).mean() < 0.7


def visibility_in(scene: Scene, number: int) -> tuple[np.ndarray, np.ndarray]:
    shapes = [part.shape for part in scene.body + scene.occluders]
    view = make_view(scene.cameras.select([scene.cameras.names[number]]))
    return keypoint_visibility(scene.skeleton.keypoints, scene.skeleton.tolerances, shapes, view)


def test_visibility_agrees_with_marching_along_the_line_of_sight() -> None:
    scene = make_scene(tiny(occlusion=1.0, seed=3), 0)
    checked = 0
    for number in range(2):
        _, visible = visibility_in(scene, number)
        center = scene.cameras.centers[number]
        for frame in (0, 2, 5):
            for k, point in enumerate(scene.skeleton.keypoints[frame]):
                length = np.linalg.norm(point - center)
                free = np.arange(200, length - scene.skeleton.tolerances[k], 0.5)
                path = center + free[:, None] * (point - center) / length
                inside = np.full(len(path), -np.inf)
                for part in scene.body + scene.occluders:
                    shape = part.shape
                    middle, reach = shape.center[frame], shape.extent[frame].sum() + 1
                    near = np.linalg.norm(path - middle, axis=1) < reach
                    if near.any():
                        inside[near] = np.maximum(inside[near], depth_inside(shape, frame, path[near]))
                deepest = inside.max()
                if visible[frame, k] == 0 or abs(deepest) < 0.3:
                    continue  # outside the frame, or too close a call for steps of half a mm
                checked += 1
                assert visible[frame, k] == (1 if deepest > 0 else 2), (number, frame, KEYPOINT_NAMES[k])
    assert checked > 60


def test_occlusion_hides_more_the_stronger_it_is() -> None:
    shares = []
    for occlusion in (0.0, 0.5, 1.0):
        scene = make_scene(tiny(num_views=4, occlusion=occlusion, num_video_frames=120), 0)
        assert bool(scene.occluders) == (occlusion > 0)
        shares.append(np.mean([visibility_in(scene, number)[1] == 2 for number in range(4)]))
    assert shares[0] > shares[1] + 0.02 > shares[2] + 0.04


def test_label_noise_and_missing_labels_are_as_asked() -> None:
    frames = {"num_frames": 150, "num_video_frames": 150}
    labels = {}
    for name, spec in {
        "clean": tiny(**frames),
        "noisy": tiny(**frames, label_noise=1.5),
        "sparse": tiny(**frames, missing_labels=0.3),
    }.items():
        scene = make_scene(spec, 0)
        whole = np.tile([0.0, 0.0, 64.0, 64.0], (150, 1))
        labels[name] = label(scene, view_of(spec, scene, 0), 0, whole, spec)
    noise = (labels["noisy"].points - labels["clean"].points)[labels["clean"].visible > 0]
    assert abs(noise.std() - 1.5) < 0.08
    assert abs(noise.mean()) < 0.08
    np.testing.assert_array_equal(labels["noisy"].visible, labels["clean"].visible)
    present = labels["clean"].visible > 0
    assert abs((labels["sparse"].visible == 0)[present].mean() - 0.3) < 0.03
    assert np.isnan(labels["sparse"].points[labels["sparse"].visible == 0]).all()


def test_labeled_frames_are_spread_over_the_video() -> None:
    spec = tiny(num_frames=21, num_sessions=2, num_video_frames=100)
    first, second = (make_scene(spec, session).labeled for session in range(2))
    assert (len(first), len(second)) == (11, 10)
    for rows in (first, second):
        assert (np.diff(rows) > 0).all()
        assert (np.diff(rows) < 2 * 100 / len(rows) + 1).all()


# Whole projects


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic") / "project"
    calls: list[tuple[int, int]] = []
    generate_project(folder, tiny(), progress=lambda done, total: calls.append((done, total)))
    assert calls == [(n + 1, 12) for n in range(12)]
    return folder


def test_same_seed_same_bytes_whatever_the_number_of_workers(project: Path, tmp_path: Path) -> None:
    generate_project(tmp_path / "again", tiny(), num_workers=2)
    assert digest(tmp_path / "again") == digest(project)


def test_another_seed_changes_every_image_and_label(project: Path, tmp_path: Path) -> None:
    generate_project(tmp_path / "other", tiny(seed=1))
    first, second = digest(project), digest(tmp_path / "other")
    common = set(first) & set(second)
    assert len(common) >= 10
    assert not [name for name in common if first[name] == second[name]]


def test_files_are_those_of_an_ordinary_project(project: Path) -> None:
    names = {str(path.relative_to(project)) for path in project.rglob("*") if path.is_file()}
    images = {name for name in names if name.startswith("labeled-data/")}
    assert len(images) == 6
    assert names - images == {
        "CollectedData_cam1.csv",
        "CollectedData_cam2.csv",
        "calibrations/session1.toml",
        "config.yaml",
        "points_3d.csv",
        "videos/session1_3d.csv",
        "videos/session1_cam1.mp4",
        "videos/session1_cam2.mp4",
    }
    assert not [path for path in project.parent.iterdir() if path != project]


def test_the_trainer_reads_the_project_and_its_config(project: Path) -> None:
    loaded = read_project(load_config(project / "config.yaml"))
    assert loaded.keypoint_names == KEYPOINT_NAMES
    assert loaded.points.shape == (3, 2, 16, 2)
    assert not loaded.warnings
    assert all(cameras is not None and cameras.names == ("cam1", "cam2") for cameras in loaded.cameras)


def test_labels_are_the_projections_of_the_truth(project: Path) -> None:
    rows, truth = read_table(project / "points_3d.csv", 3)
    cameras = CameraGroup.load(project / "calibrations" / "session1.toml")
    expected = mvgeom.project(truth, cameras)
    for number, view in enumerate(cameras.names):
        images, values = read_table(project / f"CollectedData_{view}.csv", 3)
        assert images == [row.replace("session1/", f"session1_{view}/") for row in rows]
        labeled = values[..., 2] > 0
        assert labeled.mean() > 0.8
        assert np.abs(values[..., :2] - expected[:, number])[labeled].max() < 0.01
        assert np.isnan(values[..., :2][~labeled]).all()
        size = cv2.imread(str(project / images[0])).shape
        assert size == (64, 64, 3)


def test_labeled_images_and_truth_belong_to_their_video_frames(project: Path) -> None:
    images, _ = read_table(project / "CollectedData_cam2.csv", 3)
    _, by_frame = read_table(project / "videos" / "session1_3d.csv", 3)
    _, truth = read_table(project / "points_3d.csv", 3)
    capture = cv2.VideoCapture(str(project / "videos" / "session1_cam2.mp4"))
    video = [capture.read()[1].astype(float) for _ in range(6)]
    assert not capture.read()[0]
    assert capture.get(cv2.CAP_PROP_FPS) == 15
    for image, points in zip(images, truth, strict=True):
        frame = int(Path(image).stem.removeprefix("img"))
        stored = cv2.imread(str(project / image)).astype(float)
        difference = [np.abs(stored - other).mean() for other in video]
        assert int(np.argmin(difference)) == frame
        np.testing.assert_allclose(by_frame[frame], points, atol=1e-9)


@pytest.mark.parametrize("crop_size", [None, 48])
def test_crops_hold_the_animal_and_their_labels_lead_back_to_the_frame(tmp_path: Path, crop_size: int | None) -> None:
    folder = tmp_path / "crops"
    generate_project(folder, tiny(size=(128, 96), crop=True, crop_size=crop_size, image_format="png"))
    _, truth = read_table(folder / "points_3d.csv", 3)
    cameras = CameraGroup.load(folder / "calibrations" / "session1.toml")
    expected = mvgeom.project(truth, cameras)
    for number, view in enumerate(cameras.names):
        images, values = read_table(folder / f"CollectedData_{view}.csv", 3)
        boxes = read_labeled_boxes(folder / f"bboxes_{view}.csv").select(images)
        frames = [int(Path(image).stem.removeprefix("img")) for image in images]
        np.testing.assert_array_equal(
            boxes, read_video_boxes(folder / "videos" / f"session1_{view}_bbox.csv", 6)[frames]
        )
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, :2] + boxes[:, 2:] <= [128, 96]).all()
        sizes = np.array([cv2.imread(str(folder / image)).shape[1::-1] for image in images], dtype=float)
        np.testing.assert_array_equal(sizes, boxes[:, 2:] if crop_size is None else np.full((3, 2), 48.0))
        labeled = values[..., 2] > 0
        assert labeled.any()
        assert (values[..., :2][labeled] > -0.5).all()
        assert (values[..., :2] < sizes[:, None])[labeled].all()
        back = affine.apply(affine.invert(affine.from_box(boxes, sizes)), values[..., :2])
        assert np.abs(back - expected[:, number])[labeled].max() < 0.01
    assert read_project(load_config(folder / "config.yaml")).boxes is not None


def test_sessions_have_their_own_animal_and_cameras_and_views_any_number(tmp_path: Path) -> None:
    spec = tiny(num_views=5, num_sessions=2, num_frames=2, num_video_frames=2)
    generate_project(tmp_path / "many", spec)
    first, second = (CameraGroup.load(tmp_path / "many" / "calibrations" / f"session{n}.toml") for n in (1, 2))
    assert first.names == spec.view_names
    moved = np.linalg.norm(first.centers - second.centers, axis=-1)
    assert (moved > 0.1).all()
    assert (moved < 60).all()
    np.testing.assert_array_equal(first.matrix, second.matrix)
    one, other = (make_scene(spec, session).skeleton for session in range(2))
    assert one.size != other.size
    images, _ = read_table(tmp_path / "many" / "CollectedData_cam5.csv", 3)
    assert [Path(image).parts[1] for image in images] == ["session1_cam5", "session2_cam5"]


# Mistakes


def test_an_existing_folder_is_not_changed(tmp_path: Path) -> None:
    with raises_input("occupied-folder", path=tmp_path):
        generate_project(tmp_path, tiny())
    assert not list(tmp_path.iterdir())


def test_an_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate_project(tmp_path / "project", tiny(), progress=interrupt)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with raises_input("unwritable-file", path=tmp_path / "file" / "project"):
        generate_project(tmp_path / "file" / "project", tiny())


def test_workers_below_one(tmp_path: Path) -> None:
    with raises_input("out-of-range", argument="num_workers", found=0):
        generate_project(tmp_path / "project", tiny(), num_workers=0)


@pytest.mark.parametrize(
    ("changes", "code", "argument"),
    [
        ({"num_views": 0}, "bad-value", "num_views"),
        ({"num_frames": 2.5}, "bad-value", "num_frames"),
        ({"size": 63}, "bad-value", "size"),
        ({"size": (64, 16)}, "bad-value", "size"),
        ({"size": "64"}, "bad-value", "size"),
        ({"size": [None, 64]}, "bad-value", "size"),
        ({"occlusion": 1.5}, "bad-value", "occlusion"),
        ({"label_noise": -1}, "bad-value", "label_noise"),
        ({"label_noise": float("nan")}, "bad-value", "label_noise"),
        ({"missing_labels": 2}, "bad-value", "missing_labels"),
        ({"sensor_noise": True}, "bad-value", "sensor_noise"),
        ({"seed": -1}, "bad-value", "seed"),
        ({"fps": 0}, "bad-value", "fps"),
        ({"crop": "no"}, "bad-value", "crop"),
        ({"symmetric": 1}, "bad-value", "symmetric"),
        ({"crop_size": 64}, "excluded-options", "crop_size"),
        ({"image_format": "bmp"}, "bad-value", "image_format"),
        ({"num_sessions": 4}, "out-of-range", "num_frames"),
        ({"num_frames": 7}, "out-of-range", "num_video_frames"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, changes: dict[str, Any], code: str, argument: str) -> None:
    with raises_input(code, argument=argument) as caught:
        tiny(**changes)
    assert argument in str(caught.value)
    data = DataConfig(data_dir=tmp_path / "project", synthetic={**dataclasses.asdict(tiny()), **changes})
    with raises_input(code, argument=argument, key=f"data.synthetic.{argument}"):
        generate_if_missing(Config(data=data), Console(quiet=True))
    assert not list(tmp_path.iterdir())


def test_whole_numbers_may_have_a_decimal_point(tmp_path: Path) -> None:
    spec = tiny(num_video_frames=3, num_frames=2, num_sessions=1)
    as_floats = {key: float(value) if type(value) is int else value for key, value in dataclasses.asdict(spec).items()}
    as_floats["size"] = [float(side) for side in spec.frame_size]
    data = DataConfig(data_dir=tmp_path / "project", synthetic=as_floats)
    generate_if_missing(Config(data=data), Console(quiet=True))
    assert len(list((tmp_path / "project").glob("CollectedData_*.csv"))) == spec.num_views


def test_an_unknown_field_is_named(tmp_path: Path) -> None:
    data = DataConfig(data_dir=tmp_path / "project", synthetic={"num_view": 3})
    with raises_input("bad-key", key="data.synthetic.num_view") as caught:
        generate_if_missing(Config(data=data), Console(quiet=True))
    assert "num_views" in str(caught.value)
