"""Shapes of the public functions, as jaxtyping annotations that beartype checks when the functions run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import mvgeom
from helpers.geometry import CameraGroup, random_rig
from mvgeom import affine, boxes

torch = pytest.importorskip("torch")
beartype = pytest.importorskip("beartype").beartype
jaxtyping = pytest.importorskip("jaxtyping")
Bool, Float, TypeCheckError, jaxtyped = jaxtyping.Bool, jaxtyping.Float, jaxtyping.TypeCheckError, jaxtyping.jaxtyped

Array = np.ndarray | torch.Tensor
checked = jaxtyped(typechecker=beartype)

# `views` and `pairs` have the sizes V and P, which a camera group cannot show to the checker.
World = Float[Array, "*batch K 3"]
Pixels = Float[Array, "*batch V K 2"]
Views = Float[Array, " V"]
Pairs = Float[Array, " P"]


@checked
def project(points: World, cams: CameraGroup, views: Views) -> Pixels:
    return mvgeom.project(points, cams)


@checked
def undistort(points: Pixels, cams: CameraGroup) -> Pixels:
    return mvgeom.undistort(points, cams)


@checked
def distort(points: Pixels, cams: CameraGroup) -> Pixels:
    return mvgeom.distort(points, cams)


@checked
def in_image(points: Pixels, cams: CameraGroup) -> Bool[Array, "*batch V K"]:
    return mvgeom.in_image(points, cams)


@checked
def visible(points: World, cams: CameraGroup, views: Views) -> Bool[Array, "*batch V K"]:
    return mvgeom.visible(points, cams)


@checked
def world_to_camera(points: World, cams: CameraGroup, views: Views) -> Float[Array, "*batch V K 3"]:
    return mvgeom.world_to_camera(points, cams)


@checked
def rays(points: Pixels, cams: CameraGroup) -> tuple[Float[Array, "V 3"], Float[Array, "*batch V K 3"]]:
    return mvgeom.rays(points, cams)


@checked
def epipolar_distance(points: Pixels, cams: CameraGroup, pairs: Pairs) -> Float[Array, "*batch P K"]:
    return mvgeom.epipolar_distance(points, cams)


@checked
def pair_parallax(points: Pixels, cams: CameraGroup, pairs: Pairs) -> Float[Array, "*batch P K"]:
    return mvgeom.pair_parallax(points, cams)


@checked
def triangulate(points: Pixels, cams: CameraGroup) -> World:
    return mvgeom.triangulate(points, cams)


@checked
def triangulate_pairs(points: Pixels, cams: CameraGroup, pairs: Pairs) -> Float[Array, "*batch P K 3"]:
    return mvgeom.triangulate_pairs(points, cams)


@checked
def triangulate_robust(
    points: Pixels, cams: CameraGroup
) -> tuple[World, Bool[Array, "*batch V K"], Float[Array, "*batch V K"]]:
    found = mvgeom.triangulate_robust(points, cams)
    return found.points, found.inliers, found.error


@checked
def reprojection_error(world: World, points: Pixels, cams: CameraGroup) -> Float[Array, "*batch V K"]:
    return mvgeom.reprojection_error(world, points, cams)


@checked
def covariance(points: World, cams: CameraGroup) -> Float[Array, "*batch K 3 3"]:
    return mvgeom.covariance(points, cams)


@checked
def box_of_keypoints(points: Pixels) -> Float[Array, "*batch V 4"]:
    return boxes.from_keypoints(points)


@checked
def map_of_box(box: Float[Array, "*batch 4"]) -> Float[Array, "*batch 2 3"]:
    return affine.from_box(box, (64, 48))


@checked
def apply(matrix: Float[Array, "*batch 2 3"], points: Float[Array, "*batch K 2"]) -> Float[Array, "*batch K 2"]:
    return affine.apply(matrix, points)


@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_functions_keep_the_shapes_they_promise(batch: tuple[int, ...], library: str) -> None:
    rng = np.random.default_rng(0)
    cams: Any = random_rig(rng, 4)
    world: Any = rng.uniform(-0.1, 0.1, (*batch, 5, 3))
    views: Any = np.zeros(4)
    pairs: Any = np.zeros(6)
    if library == "torch":
        world, views, pairs = (torch.from_numpy(each) for each in (world, views, pairs))
        cams = cams.to(like=world)
    pixels = project(world, cams, views)
    distort(undistort(pixels, cams), cams)
    in_image(pixels, cams)
    visible(world, cams, views)
    world_to_camera(world, cams, views)
    rays(pixels, cams)
    per_pair: tuple[Callable[..., Any], ...] = (epipolar_distance, pair_parallax, triangulate_pairs)
    for function in per_pair:
        function(pixels, cams, pairs)
    triangulate_robust(pixels, cams)
    covariance(world, cams)
    reprojection_error(triangulate(pixels, cams), pixels, cams)
    box = box_of_keypoints(pixels)
    apply(map_of_box(box), pixels)


def test_the_checker_checks() -> None:
    with pytest.raises(TypeCheckError):
        map_of_box(np.zeros((2, 3)))
    with pytest.raises(TypeCheckError):
        box_of_keypoints(np.zeros((2, 5, 2), dtype=np.int64))
