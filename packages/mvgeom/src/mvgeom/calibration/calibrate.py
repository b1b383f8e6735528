"""From boards in pictures to a calibrated rig: intrinsics, poses over the graph of pairs, adjustment of everything."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mvgeom.calibration.adjusted import deviations
from mvgeom.calibration.board_poses import normalize_corners
from mvgeom.calibration.boards import Floats
from mvgeom.calibration.bundle import Booleans, residuals
from mvgeom.calibration.detections import Detections
from mvgeom.calibration.findings import Finding, note, sort_findings, warning
from mvgeom.calibration.intrinsics import Lens
from mvgeom.calibration.lenses import calibrate_lenses
from mvgeom.calibration.pose_graph import PoseGraph, build_pose_graph
from mvgeom.calibration.quality import judge
from mvgeom.calibration.result import Calibration
from mvgeom.calibration.rig_adjustment import RigAdjustment, adjust_rig, views_of_boards
from mvgeom.calibration.schur import Loss
from mvgeom.calibration.selection import select_frames
from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError

Progress = Callable[[str], None]
"""Called with what is being done now."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to calibrate.

    Attributes:
        lens: what is sought of each lens.
        loss: of the residuals, see `schur.adjust`; robust losses give less weight beyond three standard deviations.
        loss_scale: px where a robust loss begins to give less weight; None takes it from the residuals.
        reference: camera that the others' poses are determined relative to, and whose frame is the world unless
            `origin_frame` is given; None takes the first.
        origin_frame: moment whose board is the world: x along its rows, y along its columns, z into it.
        max_frames: adjust at most this many moments, those that together cover images and pairs of cameras best.
    """

    lens: Lens = dataclasses.field(default_factory=Lens)
    loss: Loss = "huber"
    loss_scale: float | None = None
    reference: str | None = None
    origin_frame: str | None = None
    max_frames: int = 200


def calibrate(
    detections: Detections,
    options: Options | None = None,
    *,
    intrinsics: CameraGroup | None = None,
    progress: Progress | None = None,
) -> Calibration:
    """Calibrate a rig.

    Args:
        detections: corners, see `detect_boards` and `from_points`.
        options: see `Options`.
        intrinsics: cameras whose intrinsics to start from (or to keep: `Lens.fix_intrinsics`, `fix_distortion`). They
            are needed where a camera sees fewer than 3 boards.
        progress: called at each stage.

    Returns:
        The rig with its report.

    Raises:
        CalibrationError: when the pictures do not allow it; its findings say why.
        ValueError: for options that do not fit the detections.
    """
    options = options or Options()
    say = progress or (lambda _: None)
    _check(detections, options, intrinsics)
    say("intrinsics")
    lenses = calibrate_lenses(detections, options.lens, known=intrinsics)
    cameras, findings = lenses.cameras, list(lenses.findings)
    points = np.where(lenses.used[..., None, None], detections.points, np.nan)
    chosen = select_frames(points, detections.sizes, options.max_frames, _origin_index(detections, options))
    points, frames = points[:, chosen], tuple(detections.frames[frame] for frame in chosen)

    say("poses")
    reference = cameras.names.index(options.reference) if options.reference else 0
    graph = build_pose_graph(
        cameras.names, normalize_corners(points, cameras), detections.object_points, detections.orders, reference
    )
    points = _relabel(points, graph)
    findings += _label_findings(cameras.names, frames, graph)
    shown = dataclasses.replace(detections, points=points, frames=frames)
    placed = shown.seen & np.isfinite(graph.boards).all((-1, -2))
    used = placed & graph.agrees
    findings += _contradictions(cameras.names, placed, used)

    say("adjustment")
    adjusted = adjust_rig(
        cameras,
        graph,
        detections.object_points,
        points,
        used,
        options.lens.free(len(cameras), cameras.distortion.shape[-1]),
        reference=reference,
        loss=options.loss,
        loss_scale=options.loss_scale,
    )
    return _result(adjusted, shown, graph, options, findings)


def _check(detections: Detections, options: Options, intrinsics: CameraGroup | None) -> None:
    lens = options.lens
    if options.reference is not None and options.reference not in detections.names:
        raise InputError(
            f"no camera {options.reference!r} for the reference; there are {list(detections.names)}",
            code="missing-view",
            argument="reference",
            view=options.reference,
        )
    if intrinsics is None and (lens.fix_intrinsics or lens.fix_distortion):
        raise InputError(
            "to keep intrinsics or distortion, give the cameras that have them (intrinsics)",
            code="missing-argument",
            argument="intrinsics",
        )
    if options.max_frames < 1:
        raise InputError(
            f"max_frames must be at least 1, got {options.max_frames}",
            code="out-of-range",
            argument="max_frames",
            found=options.max_frames,
        )


def _origin_index(detections: Detections, options: Options) -> int | None:
    if options.origin_frame is None:
        return None
    if options.origin_frame not in detections.frames:
        shown = ", ".join(detections.frames[:5])
        raise InputError(
            f"no board was found at {options.origin_frame!r}; frames with boards are {shown}, ...",
            code="missing-frame",
            argument="origin_frame",
            frame=options.origin_frame,
        )
    return detections.frames.index(options.origin_frame)


def _relabel(points: Floats, graph: PoseGraph) -> Floats:
    ordered = np.empty_like(points)
    np.put_along_axis(ordered, graph.labels[..., None], points, axis=2)
    return ordered


def _label_findings(names: tuple[str, ...], frames: tuple[str, ...], graph: PoseGraph) -> list[Finding]:
    turned = (graph.labels != np.arange(graph.labels.shape[-1])).any(-1)
    findings = []
    for view in np.flatnonzero(turned.any(axis=1)):
        which = [frames[frame] for frame in np.flatnonzero(turned[view])]
        shown = ", ".join(which[:5]) + (", ..." if len(which) > 5 else "")
        text = (
            f"camera {names[view]!r} listed the corners of {len(which)} boards turned or mirrored ({shown}); the "
            "other cameras show how, and it was put right. A board with an odd number of corners along one side and "
            "an even one along the other has no such doubt"
        )
        findings.append(note("turned_board", [names[view]], text, boards=len(which)))
    return findings


def _contradictions(names: tuple[str, ...], placed: Booleans, used: Booleans) -> list[Finding]:
    findings = []
    for view, name in enumerate(names):
        out, all_seen = int((placed[view] & ~used[view]).sum()), int(placed[view].sum())
        if out:
            build = warning if out > 0.2 * all_seen else note
            text = (
                f"camera {name!r}: {out} of {all_seen} boards are not where the other cameras see them and were left "
                "out; many of them mean that pictures are not of the same moments or the camera moved"
            )
            findings.append(build("contradicting_boards", [name], text, left_out=out, boards=all_seen))
    return findings


def _result(
    adjusted: RigAdjustment, detections: Detections, graph: PoseGraph, options: Options, findings: list[Finding]
) -> Calibration:
    scene, placed = adjusted.solution.scene, adjusted.blocks >= 0
    seen = detections.seen & placed
    views = views_of_boards(detections.points, seen, adjusted.blocks)
    found = residuals(scene, views)
    errors = np.full(detections.points.shape, np.nan)
    errors[seen] = np.where((views.weights > 0)[..., None] & np.isfinite(found), found, np.nan)
    boards = np.full((len(placed), 4, 4), np.nan)
    boards[placed] = np.eye(4)
    boards[placed, :3, :3], boards[placed, :3, 3] = scene.rotation, scene.position
    cameras = scene.cameras
    if options.origin_frame is not None:
        cameras, boards = _move_world(cameras, boards, detections, options.origin_frame)
    calibration = Calibration(
        cameras=cameras,
        detections=detections,
        boards=boards,
        used=adjusted.used,
        residuals=errors,
        noise=adjusted.noise,
        deviations=deviations(scene.cameras, adjusted.solution.covariance, adjusted.noise),
        relations=graph.relations,
        findings=(),
    )
    return dataclasses.replace(calibration, findings=sort_findings([*findings, *judge(calibration)]))


def _move_world(
    cameras: CameraGroup, boards: Floats, detections: Detections, origin_frame: str
) -> tuple[CameraGroup, Floats]:
    """The same rig in the frame of the board at a moment."""
    origin = boards[detections.frames.index(origin_frame)]
    if not np.isfinite(origin).all():
        raise InputError(
            f"the board at {origin_frame!r} could not be placed and cannot be the world's origin",
            code="missing-frame",
            argument="origin_frame",
            frame=origin_frame,
        )
    rotation = cameras.rotation @ origin[:3, :3]
    translation = cameras.translation + cameras.rotation @ origin[:3, 3]
    return cameras.replace(rotation=rotation, translation=translation), np.linalg.inv(origin) @ boards
