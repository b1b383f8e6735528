"""Poses of cameras from points of known position, each camera by itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mvgeom._arrays import as_float64
from mvgeom.calibration.board_poses import is_planar, normalize_corners, pose_candidates
from mvgeom.calibration.boards import Floats, Ints, seen_corners
from mvgeom.calibration.bundle import Scene, Views, linearize, residuals
from mvgeom.calibration.deviation_words import degrees
from mvgeom.calibration.findings import CalibrationError, Finding, error, note, sort_findings, warning
from mvgeom.calibration.information import invert_information
from mvgeom.calibration.schur import adjust
from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError

__all__ = ["PlacedCameras", "place_by_points"]

_MIN_POINTS = 4
_CLICK_NOISE = 1.0
"""px; standard deviation of a click where the points are too few to tell it."""

_ROBUST_SIGMAS = 3.0
_SMALL_ERROR = 2.0
"""px; points that miss by less are clicked as well as one can."""

_CLEARLY_BETTER = 3.0
"""Ratio of the errors with a point and without it, from which on it is wrong."""

_AMBIGUOUS = 1.5
"""Ratio of the errors of two poses of a plane, below which noise may have chosen between them."""

_MUCH_TURN_DEG = 1.0
_LARGE_ERROR = 0.01


@dataclass(frozen=True, kw_only=True, eq=False)
class PlacedCameras:
    """Cameras with poses from known points.

    Attributes:
        cameras: V cameras in the world of the points.
        residuals: (V, K, 2) projection minus observation in px, also of a point that was left out; NaN where not
            observed.
        rms: (V,) root mean square of the lengths of the residuals in px, without points that were left out.
        rotation_deg: (V, 3) standard deviations of the rotation about the camera's axes in degrees.
        position: (V, 3) standard deviations of the camera's position along the world's axes, in its unit.
        findings: Problems and doubts.
    """

    cameras: CameraGroup
    residuals: Floats
    rms: Floats
    rotation_deg: Floats
    position: Floats
    findings: tuple[Finding, ...]


def place_by_points(cams: CameraGroup, positions: Mapping[str, Floats], points: Mapping[str, Floats]) -> PlacedCameras:
    """Determine the pose of each camera from points whose positions are known.

    Four points in a plane determine a pose, or six in general position. A plane has two solutions, of which the better
    one is taken; where the other is nearly as good, this is an error. One point per camera without which the others
    agree much better is left out.

    Args:
        cams: V cameras; their intrinsics are used, and their poses are ignored.
        positions: (3,) position by name; K of them.
        points: (K, 2) observed points in full-image px by camera name, in the order of `positions`; NaN is missing.

    Raises:
        CalibrationError: If a camera sees too few points, or the points are in a line; its findings name each camera.
        InputError: `missing-view`, if a camera has no points; `wrong-shape`, if their number is another.
    """
    names = list(positions)
    world = np.array([positions[name] for name in names], dtype=np.float64).reshape(-1, 3)
    placed: list[PlacedCameras] = []
    problems: list[Finding] = []
    findings: list[Finding] = []
    for name in cams.names:
        if name not in points:
            raise InputError(f"points: camera {name!r} has none, found {list(points)}", code="missing-view", view=name)
        seen = as_float64(points[name], "points")
        if seen.shape != (len(world), 2):
            raise InputError(
                f"points: wrong shape for camera {name!r}, found {seen.shape}, expected ({len(world)}, 2)",
                code="wrong-shape",
                argument="points",
                found=seen.shape,
            )
        one = cams.select([name])
        try:
            placed.append(_place(one, world, seen, names))
        except CalibrationError as failed:
            problems += failed.findings
            continue
        findings += placed[-1].findings
    if problems:
        raise CalibrationError(problems)
    return PlacedCameras(
        cameras=cams.replace(
            rotation=np.concatenate([each.cameras.rotation for each in placed]),
            translation=np.concatenate([each.cameras.translation for each in placed]),
        ),
        residuals=np.concatenate([each.residuals for each in placed]),
        rms=np.concatenate([each.rms for each in placed]),
        rotation_deg=np.concatenate([each.rotation_deg for each in placed]),
        position=np.concatenate([each.position for each in placed]),
        findings=sort_findings(findings),
    )


def _place(one: CameraGroup, world: Floats, seen: Floats, names: list[str]) -> PlacedCameras:
    name = one.names[0]
    # Numbers of the size of a room, about its middle: positions of surveyors have many digits.
    middle = world.mean(axis=0)
    size = max(float(np.linalg.norm(world - middle, axis=1).max()), 1e-12)
    local = (world - middle) / size
    normalized = normalize_corners(seen[None, None], one)[0]
    usable = np.flatnonzero(seen_corners(normalized[0]))
    _check_enough(name, local[usable])
    solutions = _solutions(one, local, seen, normalized, usable)
    wrong = _wrong_point(one, local, seen, normalized, usable, solutions)
    if wrong is not None:
        usable = usable[usable != wrong]
        solutions = _solutions(one, local, seen, normalized, usable)
    if not solutions:
        text = (
            f"camera {name!r}: no pose puts the {len(usable)} points in front of it. Are the names those of the points?"
        )
        raise CalibrationError([error("no_pose", [name], text, points=len(usable))])
    scene, rms = solutions[0]
    findings: list[Finding] = []
    if len(solutions) > 1 and solutions[1][1] < _AMBIGUOUS * max(rms, 0.1) and not _same(scene, solutions[1][0]):
        text = (
            f"camera {name!r}: two poses fit alike ({rms:.2f} and {solutions[1][1]:.2f} px), because the points are "
            "in a plane that is seen from afar or straight on. Add a point out of the plane"
        )
        findings.append(error("ambiguous_pose", [name], text, error=rms, other=solutions[1][1]))
    offsets = np.full((1, len(world), 2), np.nan)
    clicked = np.flatnonzero(seen_corners(seen))
    everywhere = dataclasses.replace(scene, object_points=local[clicked])
    found = residuals(everywhere, _views(seen[clicked]))[0]
    offsets[0, clicked] = np.where(np.isfinite(found), found, np.nan)
    turn, shift, noise = _spread(scene, _views(seen[usable]))
    if wrong is not None:
        miss = float(np.linalg.norm(offsets[0, wrong]))
        text = (
            f"camera {name!r}: {names[wrong]!r} was left out: it misses by {miss:.1f} px, the others by {rms:.1f} px "
            "without it. Its click or its position is wrong"
        )
        findings.append(warning("point_left_out", [name], text, error=miss, others=rms))
    findings += _assess(name, one, rms, noise, turn, len(usable))
    assert scene.rotation is not None
    rotation, translation = scene.rotation[0], scene.position[0] * size
    return PlacedCameras(
        cameras=one.replace(rotation=rotation[None], translation=(translation - rotation @ middle)[None]),
        residuals=offsets,
        rms=np.array([rms]),
        rotation_deg=turn[None],
        position=(shift * size)[None],
        findings=tuple(findings),
    )


def _solutions(
    one: CameraGroup, local: Floats, seen: Floats, normalized: Floats, usable: Ints
) -> list[tuple[Scene, float]]:
    """Return adjusted poses from the usable points with their errors in px, the better one first."""
    poses, _ = pose_candidates(normalized[:, usable], local[usable])
    found = [_adjust(one, local[usable], seen[usable], pose) for pose in poses[0] if np.isfinite(pose).all()]
    return sorted(found, key=lambda each: each[1])


def _wrong_point(
    one: CameraGroup,
    local: Floats,
    seen: Floats,
    normalized: Floats,
    usable: Ints,
    solutions: list[tuple[Scene, float]],
) -> int | None:
    """Return the index of the point without which all others agree much better; None if there is none."""
    if not solutions or solutions[0][1] < _SMALL_ERROR:
        return None
    errors: dict[int, float] = {}
    for point in usable:
        rest = usable[usable != point]
        # The rest must determine a pose with something to spare, or it agrees in any case.
        if len(rest) < _MIN_POINTS + 1 or (not is_planar(local[rest]) and len(rest) < 6):
            continue
        errors[int(point)] = min((each[1] for each in _solutions(one, local, seen, normalized, rest)), default=np.inf)
    if not errors:
        return None
    best = min(errors, key=lambda point: errors[point])
    return best if errors[best] < solutions[0][1] / _CLEARLY_BETTER else None


def _check_enough(name: str, points: Floats) -> None:
    count = len(points)
    needed = _MIN_POINTS if count < _MIN_POINTS or is_planar(points) else 6
    if count < needed:
        text = (
            f"camera {name!r}: too few points, found {count}, expected {needed} "
            f"({_MIN_POINTS} if they are in one plane, else 6)"
        )
        raise CalibrationError([error("too_few_points", [name], text, points=count)])
    values = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    if values[1] < 1e-3 * values[0]:
        text = f"camera {name!r}: its {count} points are in a line, which leaves the turn about the line open"
        raise CalibrationError([error("points_in_line", [name], text, points=count)])


def _adjust(one: CameraGroup, world: Floats, seen: Floats, pose: Floats) -> tuple[Scene, float]:
    """Minimize the errors over the pose; return the scene, with the points as a board, and the error in px."""
    scene = Scene(
        cameras=one.replace(rotation=np.eye(3)[None], translation=np.zeros((1, 3))),
        rotation=pose[None, :3, :3],
        position=pose[None, :3, 3],
        object_points=world,
    )
    views = _views(seen)
    nothing = np.zeros((1, scene.camera_size), dtype=bool)
    lengths = np.linalg.norm(residuals(scene, views)[0], axis=-1)
    scale = max(_ROBUST_SIGMAS * float(np.median(lengths)), 1e-3)
    fitted = adjust(scene, views, nothing, loss="huber", loss_scale=scale).scene
    return fitted, float(np.sqrt((residuals(fitted, views)[0] ** 2).sum(-1).mean()))


def _views(seen: Floats) -> Views:
    first = np.zeros(1, dtype=np.int64)
    return Views(
        camera=first, block=first, pixels=seen[None], weights=np.ones((1, len(seen))), num_cameras=1, num_blocks=1
    )


def _same(one: Scene, other: Scene) -> bool:
    assert one.rotation is not None
    assert other.rotation is not None
    return bool(np.allclose(one.rotation, other.rotation, atol=1e-3))


def _spread(scene: Scene, views: Views) -> tuple[Floats, Floats, float]:
    """Return standard deviations of the rotation in degrees and of the camera's position, and the noise in px."""
    assert scene.rotation is not None
    slope = linearize(scene, views).by_block.reshape(-1, 6)
    error_px = residuals(scene, views).reshape(-1)
    freedom = len(error_px) - 6
    # Few clicks tell little of their own noise.
    noise = float(np.sqrt((error_px @ error_px + 4 * _CLICK_NOISE**2) / (max(freedom, 0) + 4)))
    covariance = invert_information(slope.T @ slope)[0] * noise**2
    rotation, position = scene.rotation[0], scene.position[0]
    # With R <- exp(w) R and t <- t + d the center -R't moves by -R'[t] w - R'd.
    x, y, z = position
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    by_pose = np.concatenate([-rotation.T @ cross, -rotation.T], axis=1)
    center = by_pose @ covariance @ by_pose.T
    return np.rad2deg(np.sqrt(np.diag(covariance)[:3])), np.sqrt(np.diag(center)), noise


def _assess(name: str, one: CameraGroup, rms: float, noise: float, turn: Floats, count: int) -> list[Finding]:
    findings = []
    side = float(one.sizes.max())
    if rms > _LARGE_ERROR * side:
        text = (
            f"camera {name!r}: the points miss by {rms:.1f} px ({100 * rms / side:.1f} % of the image). Are names, "
            "unit and axes of the positions right, and are the intrinsics those of this camera?"
        )
        findings.append(error("high_residual", [name], text, rms=rms))
    spread = float(np.linalg.norm(turn))
    if spread > _MUCH_TURN_DEG:
        text = (
            f"camera {name!r}: the pose is uncertain, {degrees(spread)} for a noise of {noise:.1f} px. Take points "
            "that are farther apart"
        )
        findings.append(warning("uncertain_pose", [name], text, rotation_deg=spread))
    if count == _MIN_POINTS:
        text = f"camera {name!r}: with {count} points, a wrong one cannot be found; take six or more"
        findings.append(note("few_points", [name], text, points=count))
    return findings
