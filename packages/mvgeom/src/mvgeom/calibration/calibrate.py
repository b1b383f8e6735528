"""Calibration of a rig from board corners: intrinsics, poses from camera pairs, joint adjustment."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mvgeom._arrays import check_number
from mvgeom.calibration.adjusted import deviations
from mvgeom.calibration.board_poses import normalize_corners
from mvgeom.calibration.board_timing import find_offset, frame_numbers
from mvgeom.calibration.boards import Floats, Ints
from mvgeom.calibration.bundle import NUM_POSE, Booleans, residuals
from mvgeom.calibration.detections import Detections
from mvgeom.calibration.face_poses import describe_faces, place_faces
from mvgeom.calibration.findings import CalibrationError, Finding, describe_shift, error, note, sort_findings, warning
from mvgeom.calibration.held_lenses import lens_covariance
from mvgeom.calibration.lens_jacobian import NUM_INTRINSICS
from mvgeom.calibration.lens_model import Lens, free_parameters, square_pixels
from mvgeom.calibration.lenses import Lenses, fit_lenses, lenses_by_camera
from mvgeom.calibration.pose_graph import PoseGraph, build_pose_graph
from mvgeom.calibration.quality import assess
from mvgeom.calibration.result import Calibration
from mvgeom.calibration.rig_adjustment import RigAdjustment, adjust_rig, relative_noise, views_of_boards
from mvgeom.calibration.rig_suspects import explain_suspects, lens_only_error, suspect
from mvgeom.calibration.schur import Loss
from mvgeom.calibration.selection import select_frames
from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError
from mvgeom.wording import counted

__all__ = ["Options", "Progress", "calibrate"]

Progress = Callable[[str], None]
"""Called with a description of the current stage."""

_DOUBTFUL, _DOUBTFUL_FISHEYE = 4, 1
"""Distortion coefficients that count as unknown where none was chosen: k1 k2 p1 p2, and k1 of fisheye lenses."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of a calibration.

    Attributes:
        lens: Lens parameters to estimate, of all cameras or by camera name.
        loss: Loss of the residuals, see `schur.adjust`; robust losses reduce the weight of residuals beyond three
            standard deviations.
        loss_scale: Residual in px beyond which a robust loss reduces the weight; None computes it from the residuals.
        reference: Name of the camera that the poses of the others are relative to, and whose frame is the world unless
            `origin_frame` is given; None selects the first camera.
        origin_frame: Name of the frame whose board defines the world: x along its rows, y along its columns, z into it.
        max_frames: Largest number of frames to adjust; those that together best cover images and pairs of cameras are
            selected.
    """

    lens: Lenses = dataclasses.field(default_factory=Lens)
    loss: Loss = "huber"
    loss_scale: float | None = None
    reference: str | None = None
    origin_frame: str | None = None
    max_frames: int = 200

    def __post_init__(self) -> None:
        check_number(self.max_frames, "max_frames", whole=True)
        if self.loss_scale is not None:
            check_number(self.loss_scale, "loss_scale")


def calibrate(
    detections: Detections,
    options: Options | None = None,
    *,
    intrinsics: CameraGroup | None = None,
    progress: Progress | None = None,
) -> Calibration:
    """Calibrate a rig from detected board corners.

    Args:
        detections: Corners of the board in all cameras, see `detect_boards` and `from_points`.
        options: Options of the calibration; None uses the defaults of `Options`.
        intrinsics: Cameras whose intrinsics are the initial values (or are kept: `Lens.fix_intrinsics`,
            `fix_distortion`). Required for a camera that sees fewer than 3 boards.
        progress: Function called at each stage.

    Returns:
        Calibrated rig with its residuals, statistics and findings.

    Raises:
        CalibrationError: If the detections do not allow a calibration; its findings give the reasons.
        InputError: `missing-view`, if the reference camera is unknown; `missing-argument`, if fixed parameters are
            requested without `intrinsics`; `out-of-range`, if `max_frames` is less than 1; `missing-frame`, if the
            board of `origin_frame` is missing; `size-mismatch` or `cameras-differ`, if `intrinsics` do not fit the
            images or the lens.
    """
    options = options or Options()
    notify = progress or (lambda _: None)
    _check(detections, options, intrinsics)
    faces = detections.faces
    if faces is None:
        return _calibrate(detections, options, intrinsics, notify)
    notify("faces of the body")
    chosen = select_frames(
        detections.points, detections.sizes, options.max_frames, _origin_index(detections, options), faces
    )
    frames = tuple(detections.frames[frame] for frame in chosen)
    detections = dataclasses.replace(detections, points=detections.points[:, chosen], frames=frames)
    # Each face in each of these frames is a board of its own, and none of them is left out.
    most = max(1, len(frames) * (int(faces.max()) + 1))
    apart = dataclasses.replace(options, origin_frame=None, max_frames=most)
    joined, shared = place_faces(detections, lambda each: calibrate(each, apart, intrinsics=intrinsics))
    result = _calibrate(joined, options, intrinsics, notify, faces=faces)
    notes = describe_faces(detections, result.detections.object_points, shared)
    return dataclasses.replace(result, findings=sort_findings([*result.findings, *notes]))


def _calibrate(
    detections: Detections,
    options: Options,
    intrinsics: CameraGroup | None,
    notify: Progress,
    *,
    faces: Ints | None = None,
) -> Calibration:
    """Calibrate with one rigid board, whose faces (K,) may be adjusted with all else."""
    origin = _origin_index(detections, options)
    notify("intrinsics")
    lenses = fit_lenses(detections, options.lens, known=intrinsics)
    cameras, findings = lenses.cameras, list(lenses.findings)
    points = np.where(lenses.used[..., None, None], detections.points, np.nan)
    chosen = select_frames(points, detections.sizes, options.max_frames, origin)
    points, frames = points[:, chosen], tuple(detections.frames[frame] for frame in chosen)

    notify("poses")
    reference = cameras.names.index(options.reference) if options.reference else 0
    normalized = normalize_corners(points, cameras)
    try:
        graph = build_pose_graph(cameras.names, normalized, detections.object_points, detections.orders, reference)
    except CalibrationError as failed:
        raise CalibrationError(_with_offsets(failed, cameras.names, normalized, frames, detections)) from failed
    points = _relabel(points, graph)
    findings += _label_findings(cameras.names, frames, graph)
    shown = dataclasses.replace(detections, points=points, frames=frames)
    placed = shown.seen & np.isfinite(graph.boards).all((-1, -2))
    used = placed & graph.agrees

    notify("adjustment")
    stored = int(cameras.distortion.shape[-1])
    free = free_parameters(lenses.lenses, stored)
    arguments = graph, detections.object_points, points, used, placed & ~used
    alone = lens_only_error(cameras, shown, placed)
    given = lenses_by_camera(options.lens, cameras.names) if intrinsics is None else lenses.lenses
    doubtful = _doubtful(given, lenses.lenses, stored)
    settings = {
        # Plain least squares, as other programs do it, counts all corners alike. Where poses of faces are found, they
        # are known only roughly here, and the errors are theirs, not the camera's.
        "relative": np.ones(len(alone)) if options.loss == "linear" or faces is not None else relative_noise(alone),
        "faces": faces,
        "reference": reference,
        "loss": options.loss,
        "loss_scale": options.loss_scale,
    }
    square = square_pixels(lenses.lenses)
    adjusted = adjust_rig(cameras, *arguments, free | doubtful, square, **settings)  # type: ignore[arg-type]
    if doubtful.any():
        distorted = _distorted(adjusted, doubtful)
        free[distorted] |= doubtful[distorted]
        doubtful[distorted] = False
    if doubtful.any():
        adjusted = adjust_rig(cameras, *arguments, free, square, doubtful=doubtful, **settings)  # type: ignore[arg-type]
    shown = dataclasses.replace(shown, object_points=adjusted.solution.scene.object_points)
    if faces is not None:  # their poses are known better now
        alone = lens_only_error(cameras, shown, placed)
    findings += _contradictions(cameras.names, placed, used | adjusted.used)
    suspicion = suspect(
        alone, cameras, adjusted.solution.scene, shown, adjusted.blocks, placed & (adjusted.blocks >= 0), adjusted.used
    )
    if len(cameras) > 1 and suspicion.cameras:
        notify("synchronization")
        # Lenses would take up errors that are not theirs. They are as uncertain as each camera's own images leave them.
        held = lens_covariance(cameras, shown, placed, free | doubtful, square)
        free[:, NUM_POSE:] = False
        adjusted = adjust_rig(cameras, *arguments, free, square, held=held, **settings)  # type: ignore[arg-type]
        shown = dataclasses.replace(shown, object_points=adjusted.solution.scene.object_points)
        boards = _board_poses(adjusted, graph)
        suspects = explain_suspects(suspicion, adjusted.solution.scene.cameras, boards, shown, placed)
        reported = {name for each in suspects for name in each.cameras}
        findings = [
            each for each in findings if each.code != "contradicting_boards" or not reported & set(each.cameras)
        ]
        findings += suspects
    return _result(adjusted, shown, graph, options, findings)


def _doubtful(given: Sequence[Lens], lenses: Sequence[Lens], stored: int) -> Booleans:
    """Return booleans (V, C), true for the first distortion coefficients of cameras for which none was chosen.

    That a camera's boards do not show distortion does not mean that there is none, and what little there is turns the
    camera in the rig.

    Args:
        given: V lenses as asked for.
        lenses: V lenses with their numbers of coefficients.
        stored: Length of the distortion arrays.
    """
    doubtful = np.zeros((len(lenses), NUM_POSE + NUM_INTRINSICS + stored), dtype=bool)
    for view, (asked, lens) in enumerate(zip(given, lenses, strict=True)):
        if asked.num_coefficients is None and lens.num_coefficients == 0 and not lens.fix_distortion:
            first = min(_DOUBTFUL_FISHEYE if lens.fisheye else _DOUBTFUL, stored)
            doubtful[view, NUM_POSE + NUM_INTRINSICS :][:first] = True
    return doubtful


def _distorted(adjusted: RigAdjustment, doubtful: Booleans) -> Booleans:
    """Return booleans (V,), true for cameras whose distortion the whole rig shows, by Akaike's criterion."""
    distorted = np.zeros(len(doubtful), dtype=bool)
    for view, columns in enumerate(doubtful):
        places = np.flatnonzero(columns)
        values = adjusted.solution.scene.cameras.distortion[view, places - NUM_POSE - NUM_INTRINSICS]
        covariance = adjusted.solution.covariance[view][:, view][np.ix_(places, places)] * adjusted.noise**2
        # Coefficients may be as good as unknown one by one, and well known together.
        spread = np.sqrt(np.diag(covariance))
        inverse = np.linalg.pinv(covariance / np.outer(spread, spread), hermitian=True)
        distorted[view] = (values / spread) @ inverse @ (values / spread) > 2 * len(places)
    return distorted


def _board_poses(adjusted: RigAdjustment, graph: PoseGraph) -> Floats:
    """Return the poses (F, 4, 4) of the boards: adjusted ones, and initial ones of boards that were left out."""
    boards = graph.boards.copy()
    placed = adjusted.blocks >= 0
    boards[placed, :3, :3], boards[placed, :3, 3] = adjusted.solution.scene.rotation, adjusted.solution.scene.position
    return boards


def _check(detections: Detections, options: Options, intrinsics: CameraGroup | None) -> None:
    lenses = lenses_by_camera(options.lens, detections.names)
    if options.reference is not None and options.reference not in detections.names:
        raise InputError(
            f"reference: unknown camera, found {options.reference!r}, expected one of {list(detections.names)}",
            code="missing-view",
            argument="reference",
            view=options.reference,
        )
    if intrinsics is None and any(lens.fix_intrinsics or lens.fix_distortion for lens in lenses):
        raise InputError(
            "intrinsics: missing, but fixed intrinsics or distortion need them. Give cameras that have them.",
            code="missing-argument",
            argument="intrinsics",
        )
    if options.max_frames < 1:
        raise InputError(
            f"max_frames: must be at least 1, found {options.max_frames}",
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
            f"origin_frame: no board was detected in {options.origin_frame!r}, frames with boards are {shown}, ...",
            code="missing-frame",
            argument="origin_frame",
            frame=options.origin_frame,
        )
    return detections.frames.index(options.origin_frame)


def _relabel(points: Floats, graph: PoseGraph) -> Floats:
    ordered = np.empty_like(points)
    np.put_along_axis(ordered, graph.labels[..., None], points, axis=2)
    return ordered


def _with_offsets(
    failed: CalibrationError,
    names: tuple[str, ...],
    normalized: Floats,
    frames: tuple[str, ...],
    detections: Detections,
) -> list[Finding]:
    """Return the findings, with the offset in time at which cameras that contradict each other agree."""
    findings = []
    numbers = frame_numbers(frames)
    for each in failed.findings:
        findings.append(each)
        if each.code != "contradicting_boards":
            continue
        for view in range(1, len(names)):
            offset = find_offset(normalized[0], normalized[view], detections.object_points, detections.orders, numbers)
            if offset is not None:
                text = (
                    f"camera {names[view]!r} is {describe_shift(offset)} against {names[0]!r}: their boards agree with "
                    "this undone. Shift its frames, and calibrate again"
                )
                findings.append(error("late_camera", [names[view]], text, frames=offset))
    return findings


def _label_findings(names: tuple[str, ...], frames: tuple[str, ...], graph: PoseGraph) -> list[Finding]:
    turned = (graph.labels != np.arange(graph.labels.shape[-1])).any(-1)
    findings = []
    for view in np.flatnonzero(turned.any(axis=1)):
        which = [frames[frame] for frame in np.flatnonzero(turned[view])]
        shown = ", ".join(which[:5]) + (", ..." if len(which) > 5 else "")
        text = (
            f"camera {names[view]!r}: the corners of {counted(len(which), 'board')} were listed turned or mirrored "
            f"({shown}); this was corrected with the help of the other cameras. A board with an odd number of corners "
            "along one side and an even number along the other avoids this ambiguity"
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
                f"camera {name!r}: boards that contradict the other cameras, left out: {out} of {all_seen}. If this "
                "affects many boards, the images are not of the same frames, or the camera moved"
            )
            findings.append(build("contradicting_boards", [name], text, left_out=out, boards=all_seen))
    return findings


def _result(
    adjusted: RigAdjustment,
    detections: Detections,
    graph: PoseGraph,
    options: Options,
    findings: list[Finding],
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
    return dataclasses.replace(calibration, findings=sort_findings([*findings, *assess(calibration, findings)]))


def _move_world(
    cameras: CameraGroup, boards: Floats, detections: Detections, origin_frame: str
) -> tuple[CameraGroup, Floats]:
    """Transform the rig into the coordinate frame of the board in the given frame."""
    origin = boards[detections.frames.index(origin_frame)]
    if not np.isfinite(origin).all():
        raise InputError(
            f"origin_frame: the board at {origin_frame!r} has no pose and cannot define the world. Choose another.",
            code="missing-frame",
            argument="origin_frame",
            frame=origin_frame,
        )
    rotation = cameras.rotation @ origin[:3, :3]
    translation = cameras.translation + cameras.rotation @ origin[:3, 3]
    return cameras.replace(rotation=rotation, translation=translation), np.linalg.inv(origin) @ boards
