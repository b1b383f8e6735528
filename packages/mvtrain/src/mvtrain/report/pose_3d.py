"""The section of the poses in 3D: skeleton and cameras, to be played and turned."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from mvtrain.report.html import Section, grid, paragraph
from mvtrain.report.plots import FAINT, GRID, INK, KNOWN, PREDICTED, figure, figure_html, go, plain
from mvtrain.report.rig_traces import Outlook, camera_traces, coordinates, outlook, rig_points
from mvtrain.report.scenes import Scene

_HEIGHT = 520
_PERCENTILES = (2, 98)
"""Of the poses' coordinates, that are sure to be inside: a failed triangulation can be anywhere."""
_MARGIN = 0.04
_FIELD_OF_VIEW = np.deg2rad(45)
"""Of plotly's 3D figures, from their lower to their upper edge."""
_ASPECT = 0.95
"""Width over height of the narrowest figure, that of a phone."""
_ROOM = 1.1
_NEAREST = 0.05
_MILLISECONDS = 80

Edges = Sequence[tuple[int, int]]


def pose_section(
    scenes: Sequence[Scene], keypoint_names: Sequence[str], edges: Edges, omitted: Sequence[str]
) -> Section:
    """Scenes as figures.

    Args:
        scenes: what to show; empty where there is nothing in 3D.
        keypoint_names: K names.
        edges: pairs of keypoints that a line joins.
        omitted: sentences about recordings that are not shown.
    """
    figures = [
        figure_html(draw_scene(scene, keypoint_names, edges), f"pose-{position}", _HEIGHT)
        for position, scene in enumerate(scenes)
    ]
    notes = list(omitted)
    if not scenes:
        notes.append("No 3D: the project has no calibration of two views or more, or no two views agree.")
    elif not edges:
        notes.append("Lines between keypoints appear when data.skeleton of the config names them.")
    body = [grid(figures) if len(figures) > 1 else "".join(figures), *(paragraph(note, "note") for note in notes)]
    return Section(
        anchor="pose",
        title="Pose and cameras in 3D",
        how_to_read=(
            "Play, or drag the slider; drag in the figure to turn it, scroll or pinch to come nearer. A pose that "
            "jumps or loses its proportions is wrong even where its reprojection error is small."
        ),
        body_html="\n".join(body),
    )


def draw_scene(scene: Scene, keypoint_names: Sequence[str], edges: Edges) -> go.Figure:
    """A scene as a figure with a frame for every moment, a slider, and buttons to play and to come nearer."""
    rigs = scene.rigs
    drawn = figure(plain(scene.title))
    pose = _pose_traces(scene, 0, keypoint_names, edges)
    drawn.add_traces([*pose, *camera_traces(scene.cameras[0])])
    moving = list(range(len(drawn.data))) if len(rigs) > 1 else list(range(len(pose)))
    drawn.frames = [
        go.Frame(name=str(moment), data=_moved(scene, moment, edges, with_cameras=len(rigs) > 1), traces=moving)
        for moment in range(len(scene.moments))
    ]
    low, high = _bounds(scene)
    rig_view, subject_view = _viewpoints(scene, low, high)
    drawn.update_layout(
        scene=_axes(low, high, rig_view),
        sliders=[_slider(scene.moments)],
        updatemenus=[_play_buttons(), _view_buttons(rig_view, subject_view)],
        margin={"l": 0, "r": 0, "t": 88, "b": 0},
        legend={"y": 1.0, "yanchor": "top", "x": 0, "itemsizing": "constant"},
        showlegend=True,
    )
    return drawn


def _pose_traces(scene: Scene, moment: int, keypoint_names: Sequence[str], edges: Edges) -> list[dict[str, Any]]:
    """Points, and lines where there is a skeleton: what is known, then the prediction."""
    hover = [plain(name) for name in keypoint_names]
    traces = []
    for name, color, size, points in _layers(scene):
        shared: dict[str, Any] = {"type": "scatter3d", "name": name, "legendgroup": name}
        marker = {"size": size, "color": color, "line": {"width": 0}}
        places = {
            "mode": "markers",
            "marker": marker,
            "text": hover,
            "hovertemplate": "%{text}<br>%{x:.4g}, %{y:.4g}, %{z:.4g}",
        }
        traces.append({**shared, **places, **coordinates(points[moment])})
        if edges:
            line = {"mode": "lines", "line": {"color": color, "width": 5}, "hoverinfo": "skip", "showlegend": False}
            traces.append({**shared, **line, **coordinates(_bones(points[moment], edges))})
    return traces


def _moved(scene: Scene, moment: int, edges: Edges, *, with_cameras: bool) -> list[dict[str, Any]]:
    """What of the traces is different in a moment."""
    traces: list[dict[str, Any]] = []
    for _, _, _, points in _layers(scene):
        traces.append({"type": "scatter3d", **coordinates(points[moment])})
        if edges:
            traces.append({"type": "scatter3d", **coordinates(_bones(points[moment], edges))})
    return [*traces, *camera_traces(scene.cameras[moment])] if with_cameras else traces


def _layers(scene: Scene) -> list[tuple[str, str, float, np.ndarray]]:
    predicted = ("prediction", PREDICTED, 4.0, scene.points)
    return [predicted] if scene.known is None else [(scene.known_name, KNOWN, 3.0, scene.known), predicted]


def _bones(points: np.ndarray, edges: Edges) -> np.ndarray:
    """(3 E, 3) the ends of each line and a gap."""
    gap = np.full(3, np.nan)
    return np.array([each for a, b in edges for each in (points[a], points[b], gap)])


def _bounds(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """(3,) lowest and highest coordinates that are shown."""
    poses = scene.points[np.isfinite(scene.points).all(-1)]
    everything = np.concatenate([np.percentile(poses, _PERCENTILES, axis=0), *(rig_points(rig) for rig in scene.rigs)])
    low, high = everything.min(axis=0), everything.max(axis=0)
    # A rig in a plane still needs some room.
    margin = np.maximum(_MARGIN * (high - low), 0.02 * (high - low).max())
    return low - margin, high + margin


def _viewpoints(scene: Scene, low: np.ndarray, high: np.ndarray) -> tuple[dict[str, Any], dict[str, Any]]:
    """Plotly's cameras that see the whole rig, and the subject.

    Their unit is the longest side of the scene, their origin its middle.
    """
    unit, middle = (high - low).max(), (high + low) / 2
    look = outlook(scene.cameras[0])
    subject = np.percentile(scene.points[np.isfinite(scene.points).all(-1)], _PERCENTILES, axis=0)
    corners = np.array(list(product(*subject.T)))
    everything = np.concatenate([corners, *(rig_points(rig) for rig in scene.rigs)])
    return _viewpoint(look, (everything - middle) / unit), _viewpoint(look, (corners - middle) / unit)


def _viewpoint(look: Outlook, points: np.ndarray) -> dict[str, Any]:
    """From where all points (M, 3) are seen, as near as can be."""
    right = np.cross(look.up, look.towards_eye)
    axes = np.stack([right / np.linalg.norm(right), np.cross(look.towards_eye, right), look.towards_eye])
    axes[1] /= np.linalg.norm(axes[1])
    seen = points @ axes.T
    middle = (seen.min(axis=0) + seen.max(axis=0)) / 2
    half_height = np.maximum(np.abs(seen - middle)[:, 0] / _ASPECT, np.abs(seen - middle)[:, 1])
    depth = (seen - middle)[:, 2]
    distance = max(_NEAREST, _ROOM * float((half_height / np.tan(_FIELD_OF_VIEW / 2) + depth).max()))
    center = middle @ axes
    vectors = {"up": look.up, "center": center, "eye": center + distance * look.towards_eye}
    return {name: dict(zip("xyz", vector.round(5).tolist(), strict=True)) for name, vector in vectors.items()}


def _axes(low: np.ndarray, high: np.ndarray, camera: dict[str, Any]) -> dict[str, Any]:
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
        # What the reader turned stays turned while the pose plays.
        "uirevision": "turned",
    }


def _slider(moments: Sequence[str]) -> dict[str, Any]:
    still = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}
    steps = [
        {"label": plain(name), "method": "animate", "args": [[str(moment)], still]}
        for moment, name in enumerate(moments)
    ]
    return {
        "steps": steps,
        "active": 0,
        "x": 0.02,
        "len": 0.96,
        "pad": {"t": 4, "b": 16},
        "ticklen": 0,
        "minorticklen": 0,
        # Names under every step would cover each other; the chosen one stands above.
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
