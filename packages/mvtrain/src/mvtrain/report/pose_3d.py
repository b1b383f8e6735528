"""Section of the report: 3D figures of poses and cameras that can be played and turned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mvtrain.report.html import Section, grid, join_parts, paragraph
from mvtrain.report.plots import FAINT, GRID, INK, KNOWN, PREDICTED, figure, figure_html, go, plain
from mvtrain.report.scenes import Scene, bounds, camera_traces, coordinates, viewpoints

_HEIGHT = 520
_MILLISECONDS = 80
_HOVER = "%{text}<br>%{x:.4g}, %{y:.4g}, %{z:.4g}"

Edges = Sequence[tuple[int, int]]


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
    for name, color, size in [*layers, ("prediction", PREDICTED, 4)]:
        shared = {"type": "scatter3d", "name": name, "legendgroup": name}
        points = {"mode": "markers", "marker": {"size": size, "color": color, "line": {"width": 0}}}
        hover = {"text": [plain(each) for each in keypoint_names], "hovertemplate": _HOVER}
        lines = {"mode": "lines", "line": {"color": color, "width": 5}, "hoverinfo": "skip", "showlegend": False}
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
