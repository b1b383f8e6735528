"""Section of the report: 3D figures of poses and cameras that can be played and turned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from mvgeom import CameraGroup
from mvgeom.rig_figure import focus, frustum_corners, frustum_depth, quiet_azimuth, upright_rotation
from mvtrain.drawing.sheets import frame_title
from mvtrain.evaluation.evaluation import Evaluation
from mvtrain.project.project import Project
from mvtrain.report.html import (
    FAINT,
    GRID,
    INK,
    KNOWN,
    PREDICTED,
    Section,
    color,
    figure,
    figure_html,
    go,
    grid,
    join_parts,
    paragraph,
    plain,
)
from mvtrain.report.predicted_videos import Recording

_MAX_COORDINATES = 5000
"""Largest number of 3D keypoints in a scene, for the size of the page."""
_MIN_FRAMES, _MAX_FRAMES = 40, 300
_MAX_RECORDINGS = 3
"""Largest number of recordings, because browsers can draw only a few 3D figures at a time."""
_OUTLINE = (0, 1, 2, 0, 3, 4, 0, -1, 2, 3, -1, 4, 1)
"""Order of the corners of a frustum (0 is the camera center) along one line; -1 is a gap."""
_PERCENTILES = (2, 98)
"""Percentiles of the poses' coordinates that are always inside, because a failed triangulation can be anywhere."""
_MARGIN = 0.04
_FIELD_OF_VIEW = np.deg2rad(45)
"""Field of view of plotly's 3D figures, from the lower to the upper edge."""
_ASPECT = 0.95
"""Width over height of the narrowest figure, on a phone."""
_DISTANCE_FACTOR = 1.1
_MIN_DISTANCE = 0.05
_ELEVATION_DEGREES = 20

_HEIGHT = 520
_MILLISECONDS = 80
_HOVER = "%{text}<br>%{x:.4g}, %{y:.4g}, %{z:.4g}"
Edges = Sequence[tuple[int, int]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """T poses of K keypoints with their cameras.

    Attributes:
        title: Title as text.
        frame_names: T names of the frames.
        points: (T, K, 3) predicted world points; NaN where missing.
        known: (T, K, 3) true points or triangulated labels; None if the scene has none.
        known_name: Name of the known points.
        cameras: T camera groups, one shared object per rig.
    """

    title: str
    frame_names: tuple[str, ...]
    points: np.ndarray
    known: np.ndarray | None
    known_name: str
    cameras: tuple[CameraGroup, ...]

    @property
    def rigs(self) -> list[CameraGroup]:
        """Distinct rigs in the order of the frames."""
        return list({id(rig): rig for rig in self.cameras}.values())


@dataclass(frozen=True, kw_only=True)
class _Direction:
    """Direction from which a scene is seen, in world coordinates.

    Attributes:
        up: (3,) unit vector that points up in the figure.
        backward: (3,) unit vector from the scene to plotly's camera.
    """

    up: np.ndarray
    backward: np.ndarray


def scenes_of(evaluation: Evaluation, project: Project, recordings: Sequence[Recording]) -> list[Scene]:
    """Make a scene of the labeled frames and of each of the first recordings; those without 3D points are left out."""
    scenes = [_labeled_scene(evaluation, project), *(_recording_scene(each) for each in recordings[:_MAX_RECORDINGS])]
    return [scene for scene in scenes if scene is not None]


def _labeled_scene(evaluation: Evaluation, project: Project) -> Scene | None:
    """Make a scene of the labeled frames, session by session, evenly chosen if there are too many."""
    order = sorted(range(len(evaluation.rows)), key=lambda n: (evaluation.sessions[n], evaluation.rows[n]))
    shown = [n for n in order if np.isfinite(evaluation.points_3d[n]).any()]
    if not shown:
        return None
    positions = np.linspace(0, len(shown) - 1, min(len(shown), _num_frames(len(evaluation.keypoint_names))))
    chosen = [shown[n] for n in np.unique(positions.round().astype(int))]
    rows = evaluation.rows[chosen]
    # Frames without cameras have no points in 3D.
    by_truth = evaluation.truth_3d is not None
    known = evaluation.truth_3d if evaluation.truth_3d is not None else evaluation.labels_3d
    some = "" if len(chosen) == len(order) else f", {len(chosen)} of {len(order)}"
    return Scene(
        title=f"labeled frames{some}",
        frame_names=tuple(
            f"{frame_title(project, row)} ({evaluation.split[n]})" for n, row in zip(chosen, rows, strict=True)
        ),
        points=evaluation.points_3d[chosen],
        known=known[chosen],
        known_name="truth" if by_truth else "triangulated labels",
        cameras=tuple(rig for row in rows if (rig := project.cameras[row]) is not None),
    )


def _recording_scene(recording: Recording) -> Scene | None:
    """Make a scene of all frames of a recording, or of consecutive ones from its middle if there are too many."""
    num_frames, num_keypoints = recording.points_3d.shape[:2]
    if not np.isfinite(recording.points_3d).any():
        return None
    count = min(num_frames, _num_frames(num_keypoints))
    first = (num_frames - count) // 2
    frames = range(first, first + count)
    some = "" if count == num_frames else f", frames {first} to {first + count - 1} of {num_frames}"
    return Scene(
        title=f"video {recording.session}{some}",
        frame_names=tuple(f"frame {frame}" for frame in frames),
        points=recording.points_3d[first : first + count],
        known=None,
        known_name="",
        cameras=(recording.cameras,) * count,
    )


def _num_frames(num_keypoints: int) -> int:
    """Return the largest number of frames of a scene."""
    return max(_MIN_FRAMES, min(_MAX_FRAMES, _MAX_COORDINATES // num_keypoints))


def camera_traces(cameras: CameraGroup) -> list[dict[str, Any]]:
    """Make plotly traces: the frustum of each camera, then one trace with all names."""
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter3d",
            "mode": "lines",
            "line": {"color": color(view), "width": 3},
            "name": plain(name),
            "hoverinfo": "name",
            "showlegend": False,
            **coordinates(_outline(corners)),
        }
        for view, (name, corners) in enumerate(
            zip(cameras.names, frustum_corners(cameras, frustum_depth(cameras)), strict=True)
        )
    ]
    names = {
        "type": "scatter3d",
        "mode": "text",
        # Not `plain`: texts inside a 3D figure are drawn as pixels, without HTML entities.
        "text": list(cameras.names),
        "textfont": {"color": [color(view) for view in range(len(cameras))], "size": 13},
        "textposition": "top center",
        "hoverinfo": "skip",
        "showlegend": False,
        **coordinates(np.asarray(cameras.centers)),
    }
    return [*traces, names]


def rig_points(cameras: CameraGroup) -> np.ndarray:
    """Return all (M, 3) points of `camera_traces`."""
    return np.concatenate(frustum_corners(cameras, frustum_depth(cameras)))


def _outline(corners: np.ndarray) -> np.ndarray:
    """Return the points of the line that draws a frustum, with NaN for gaps."""
    with_gap = np.vstack([corners, np.full((1, 3), np.nan)])
    return with_gap[list(_OUTLINE)]


def coordinates(points: np.ndarray) -> dict[str, np.ndarray]:
    """Convert world points (M, 3) to the coordinates of a plotly trace; NaN is a gap."""
    return dict(zip("xyz", points.astype(np.float32).T, strict=True))


def bounds(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Return the (3,) lowest and highest coordinates of the axes."""
    poses = scene.points[np.isfinite(scene.points).all(-1)]
    everything = np.concatenate([np.percentile(poses, _PERCENTILES, axis=0), *(rig_points(rig) for rig in scene.rigs)])
    low, high = everything.min(axis=0), everything.max(axis=0)
    # Keep a margin even if all points are in a plane.
    margin = np.maximum(_MARGIN * (high - low), 0.02 * (high - low).max())
    return low - margin, high + margin


def viewpoints(scene: Scene, low: np.ndarray, high: np.ndarray) -> tuple[dict[str, Any], dict[str, Any]]:
    """Place plotly's cameras so that they see the whole rig, and the subject alone.

    Their unit is the longest side of the scene, their origin its center.
    """
    unit, middle = (high - low).max(), (high + low) / 2
    direction = _choose_direction(scene.cameras[0])
    subject = np.percentile(scene.points[np.isfinite(scene.points).all(-1)], _PERCENTILES, axis=0)
    corners = np.array(list(product(*subject.T)))
    everything = np.concatenate([corners, *(rig_points(rig) for rig in scene.rigs)])
    return _viewpoint(direction, (everything - middle) / unit), _viewpoint(direction, (corners - middle) / unit)


def _viewpoint(direction: _Direction, points: np.ndarray) -> dict[str, Any]:
    """Place plotly's camera as close as possible to points (M, 3) that all have to be visible."""
    right = np.cross(direction.up, direction.backward)
    axes = np.stack([right / np.linalg.norm(right), np.cross(direction.backward, right), direction.backward])
    axes[1] /= np.linalg.norm(axes[1])
    seen = points @ axes.T
    middle = (seen.min(axis=0) + seen.max(axis=0)) / 2
    half_height = np.maximum(np.abs(seen - middle)[:, 0] / _ASPECT, np.abs(seen - middle)[:, 1])
    depth = (seen - middle)[:, 2]
    distance = max(_MIN_DISTANCE, _DISTANCE_FACTOR * float((half_height / np.tan(_FIELD_OF_VIEW / 2) + depth).max()))
    center = middle @ axes
    vectors = {"up": direction.up, "center": center, "eye": center + distance * direction.backward}
    return {name: dict(zip("xyz", vector.round(5).tolist(), strict=True)) for name, vector in vectors.items()}


def _choose_direction(cameras: CameraGroup) -> _Direction:
    """Choose the up direction of the cameras, and an azimuth at which few of them hide each other."""
    upright = upright_rotation(cameras)
    azimuth = np.deg2rad(quiet_azimuth((cameras.centers - focus(cameras)) @ upright.T))
    elevation = np.deg2rad(_ELEVATION_DEGREES)
    backward = [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)]
    return _Direction(up=upright[2], backward=np.array(backward) @ upright)


def pose_section(
    scenes: Sequence[Scene], keypoint_names: Sequence[str], edges: Edges, omitted: Sequence[str]
) -> Section:
    """Show each scene as a figure.

    Args:
        scenes: Scenes to show; empty where there are no 3D points.
        keypoint_names: K names of the keypoints.
        edges: Pairs of keypoints that a line joins.
        omitted: Sentences about recordings that are not shown.
    """
    figures = [
        figure_html(draw_scene(scene, keypoint_names, edges), f"pose-{position}", _HEIGHT)
        for position, scene in enumerate(scenes)
    ]
    notes = list(omitted)
    if not scenes:
        notes.append("No 3D: the project has no calibration of two views or more, or no two views agree.")
    elif not edges:
        notes.append("Lines between keypoints are drawn if data.skeleton of the config names them.")
    shown = [grid(figures)] if len(figures) > 1 else figures
    return Section(
        anchor="pose",
        title="Pose and cameras in 3D",
        how_to_read=(
            "Play, or drag the slider; drag in the figure to turn it, scroll or pinch to zoom. A pose that jumps or "
            "loses its proportions is wrong even where its reprojection error is small."
        ),
        body_html=join_parts([*shown, *(paragraph(note, "note") for note in notes)]),
    )


def draw_scene(scene: Scene, keypoint_names: Sequence[str], edges: Edges) -> go.Figure:
    """Draw a scene as an animation with a slider, and with buttons to play and to zoom."""
    drawn = figure(plain(scene.title))
    styles = _styles(scene, keypoint_names, edges)
    first = _trace_points(scene, 0, edges)
    pose = [{**style, **coordinates(points)} for style, points in zip(styles, first, strict=True)]
    drawn.add_traces([*pose, *camera_traces(scene.cameras[0])])
    cameras_move = len(scene.rigs) > 1
    moving = list(range(len(drawn.data) if cameras_move else len(pose)))
    frames = []
    for frame in range(len(scene.frame_names)):
        moved = [{"type": "scatter3d", **coordinates(points)} for points in _trace_points(scene, frame, edges)]
        if cameras_move:
            moved += camera_traces(scene.cameras[frame])
        frames.append(go.Frame(name=str(frame), data=moved, traces=moving))
    drawn.frames = frames
    low, high = bounds(scene)
    rig_view, subject_view = viewpoints(scene, low, high)
    drawn.update_layout(
        scene=_axes(low, high, rig_view),
        sliders=[_slider(scene.frame_names)],
        updatemenus=[_play_buttons(), _view_buttons(rig_view, subject_view)],
        margin={"l": 0, "r": 0, "t": 88, "b": 0},
        legend={"y": 1.0, "yanchor": "top", "x": 0, "itemsizing": "constant"},
        showlegend=True,
    )
    return drawn


def _styles(scene: Scene, keypoint_names: Sequence[str], edges: Edges) -> list[dict[str, Any]]:
    """Style the traces: known points, then predicted ones; for each the points, and lines if there are edges."""
    layers = [] if scene.known is None else [(scene.known_name, KNOWN, 3)]
    styles: list[dict[str, Any]] = []
    for name, shade, size in [*layers, ("prediction", PREDICTED, 4)]:
        shared = {"type": "scatter3d", "name": name, "legendgroup": name}
        points = {"mode": "markers", "marker": {"size": size, "color": shade, "line": {"width": 0}}}
        hover = {"text": [plain(each) for each in keypoint_names], "hovertemplate": _HOVER}
        lines = {"mode": "lines", "line": {"color": shade, "width": 5}, "hoverinfo": "skip", "showlegend": False}
        styles += [{**shared, **points, **hover}, {**shared, **lines}] if edges else [{**shared, **points, **hover}]
    return styles


def _trace_points(scene: Scene, frame: int, edges: Edges) -> list[np.ndarray]:
    """Return the points of each trace in a frame, in the order of `_styles`."""
    layers = [scene.points] if scene.known is None else [scene.known, scene.points]
    traces = []
    for points in layers:
        traces += [points[frame], _bones(points[frame], edges)] if edges else [points[frame]]
    return traces


def _bones(points: np.ndarray, edges: Edges) -> np.ndarray:
    """Return (3 E, 3) points: both ends of each line and a gap."""
    gap = np.full(3, np.nan)
    return np.array([each for a, b in edges for each in (points[a], points[b], gap)])


def _axes(low: np.ndarray, high: np.ndarray, camera: dict[str, Any]) -> dict[str, Any]:
    """Lay out the axes with equal units, seen from a camera of plotly."""
    ratio = (high - low) / (high - low).max()
    axes = {
        f"{name}axis": {
            "range": [float(low[axis]), float(high[axis])],
            "autorange": False,
            "title": {"text": name, "font": {"size": 12, "color": FAINT}},
            "gridcolor": GRID,
            "showbackground": False,
            "zeroline": False,
            "tickfont": {"size": 10, "color": FAINT},
            "nticks": 5,
            "showspikes": False,
        }
        for axis, name in enumerate("xyz")
    }
    return {
        **axes,
        "aspectmode": "manual",
        "aspectratio": dict(zip("xyz", ratio.tolist(), strict=True)),
        "camera": camera,
        "dragmode": "turntable",
        # Keep the direction of view that the reader chose while the pose plays.
        "uirevision": "turned",
    }


def _slider(frame_names: Sequence[str]) -> dict[str, Any]:
    still = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}
    steps = [
        {"label": plain(name), "method": "animate", "args": [[str(frame)], still]}
        for frame, name in enumerate(frame_names)
    ]
    return {
        "steps": steps,
        "active": 0,
        "x": 0.02,
        "len": 0.96,
        "pad": {"t": 4, "b": 16},
        "ticklen": 0,
        "minorticklen": 0,
        # Names under all steps would overlap; the name of the current step is above the slider.
        "font": {"color": "rgba(0,0,0,0)", "size": 1},
        "currentvalue": {"font": {"color": INK, "size": 13}, "prefix": "", "xanchor": "left"},
    }


def _play_buttons() -> dict[str, Any]:
    playing = {
        "frame": {"duration": _MILLISECONDS, "redraw": True},
        "transition": {"duration": 0},
        "fromcurrent": True,
        "mode": "immediate",
    }
    stop = {"mode": "immediate", "frame": {"duration": 0, "redraw": False}, "transition": {"duration": 0}}
    return _buttons(
        0.0,
        "left",
        [
            {"label": "\u25b6 Play", "method": "animate", "args": [None, playing]},
            {"label": "Pause", "method": "animate", "args": [[None], stop]},
        ],
    )


def _view_buttons(rig_view: dict[str, Any], subject_view: dict[str, Any]) -> dict[str, Any]:
    views = {"Whole rig": rig_view, "Subject": subject_view}
    steps = [{"label": name, "method": "relayout", "args": [{"scene.camera": view}]} for name, view in views.items()]
    return _buttons(1.0, "right", steps)


def _buttons(x: float, anchor: str, buttons: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "type": "buttons",
        "direction": "right",
        "showactive": False,
        "buttons": buttons,
        "x": x,
        "xanchor": anchor,
        "y": 1.0,
        "yanchor": "bottom",
        "pad": {"b": 6, "l": 4, "r": 4},
        "font": {"size": 12},
    }
