"""Cameras in a 3D figure: frusta with names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from mvgeom import CameraGroup
from mvgeom.rig_figure import focus, frustum_corners, frustum_depth, quiet_azimuth, upright_rotation
from mvtrain.drawing.sheets import frame_title
from mvtrain.evaluate.evaluation import Evaluation
from mvtrain.project.project import Project
from mvtrain.report.plots import color, plain
from mvtrain.report.predicted_videos import Recording

_ORDER = (0, 1, 2, 0, 3, 4, 0, -1, 2, 3, -1, 4, 1)
"""How the corners of a frustum (0 is the camera's centre) are joined by one line; -1 is a gap."""


def camera_traces(cameras: CameraGroup) -> list[dict[str, Any]]:
    """Plotly traces: the frustum of each camera, then all names."""
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
        # Not `plain`: what stands inside of a 3D figure is painted, and knows no entities.
        "text": list(cameras.names),
        "textfont": {"color": [color(view) for view in range(len(cameras))], "size": 13},
        "textposition": "top center",
        "hoverinfo": "skip",
        "showlegend": False,
        **coordinates(np.asarray(cameras.centers)),
    }
    return [*traces, names]


def rig_points(cameras: CameraGroup) -> np.ndarray:
    """(M, 3) all that `camera_traces` draws."""
    return np.concatenate(frustum_corners(cameras, frustum_depth(cameras)))


def _outline(corners: np.ndarray) -> np.ndarray:
    with_gap = np.vstack([corners, np.full((1, 3), np.nan)])
    return with_gap[list(_ORDER)]


def coordinates(points: np.ndarray) -> dict[str, np.ndarray]:
    """World points (M, 3) as plotly takes them; NaN is a gap."""
    return dict(zip("xyz", points.astype(np.float32).T, strict=True))


_MAX_COORDINATES = 5000
"""Keypoints over all moments of a scene, for the page's size."""
_MOST, _FEWEST = 300, 40
_MAX_RECORDINGS = 3
"""Browsers draw only a few 3D figures at a time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """T poses of K keypoints.

    Attributes:
        title: plain text.
        moments: T names.
        points: (T, K, 3) predicted, world; NaN where missing.
        known: (T, K, 3) what they should be; None where that is not known.
        known_name: what it is.
        cameras: T camera groups, one shared object per rig.
    """

    title: str
    moments: tuple[str, ...]
    points: np.ndarray
    known: np.ndarray | None
    known_name: str
    cameras: tuple[CameraGroup, ...]

    @property
    def rigs(self) -> list[CameraGroup]:
        """The different rigs, in the order in which they come."""
        return list({id(rig): rig for rig in self.cameras}.values())


def scenes_of(evaluation: Evaluation, project: Project, recordings: Sequence[Recording]) -> list[Scene]:
    """A scene of the labelled moments and one for each of some recordings; those without any 3D point are left out."""
    scenes = [_of_labeled(evaluation, project), *(_of_recording(each) for each in recordings[:_MAX_RECORDINGS])]
    return [scene for scene in scenes if scene is not None]


def _of_labeled(evaluation: Evaluation, project: Project) -> Scene | None:
    """Session by session, evenly chosen where there are too many."""
    order = sorted(range(len(evaluation.rows)), key=lambda n: (evaluation.sessions[n], evaluation.rows[n]))
    shown = [n for n in order if np.isfinite(evaluation.points_3d[n]).any()]
    if not shown:
        return None
    places = np.linspace(0, len(shown) - 1, min(len(shown), _num_frames(len(evaluation.keypoint_names))))
    chosen = [shown[place] for place in np.unique(places.round().astype(int))]
    rows = evaluation.rows[chosen]
    # Frames without cameras have no points in 3D.
    by_truth = evaluation.truth_3d is not None
    known = evaluation.truth_3d if evaluation.truth_3d is not None else evaluation.labels_3d
    some = "" if len(chosen) == len(order) else f", {len(chosen)} of {len(order)}"
    return Scene(
        title=f"labelled moments{some}",
        moments=tuple(
            f"{frame_title(project, row)} ({evaluation.split[n]})" for n, row in zip(chosen, rows, strict=True)
        ),
        points=evaluation.points_3d[chosen],
        known=known[chosen],
        known_name="truth" if by_truth else "triangulated labels",
        cameras=tuple(rig for row in rows if (rig := project.cameras[row]) is not None),
    )


def _of_recording(recording: Recording) -> Scene | None:
    """All frames, or as many consecutive ones from its middle as there is room for."""
    num_frames, num_keypoints = recording.points_3d.shape[:2]
    if not np.isfinite(recording.points_3d).any():
        return None
    count = min(num_frames, _num_frames(num_keypoints))
    first = (num_frames - count) // 2
    frames = range(first, first + count)
    some = "" if count == num_frames else f", frames {first} to {first + count - 1} of {num_frames}"
    return Scene(
        title=f"video {recording.session}{some}",
        moments=tuple(f"frame {frame}" for frame in frames),
        points=recording.points_3d[first : first + count],
        known=None,
        known_name="",
        cameras=(recording.cameras,) * count,
    )


def _num_frames(num_keypoints: int) -> int:
    return max(_FEWEST, min(_MOST, _MAX_COORDINATES // num_keypoints))


_PERCENTILES = (2, 98)
"""Of the poses' coordinates, that are sure to be inside: a failed triangulation can be anywhere."""
_MARGIN = 0.04
_FIELD_OF_VIEW = np.deg2rad(45)
"""Of plotly's 3D figures, from their lower to their upper edge."""
_ASPECT = 0.95
"""Width over height of the narrowest figure, that of a phone."""
_ROOM = 1.1
_NEAREST = 0.05
_ELEVATION_DEGREES = 20


@dataclass(frozen=True, kw_only=True)
class _Outlook:
    """From where a scene is looked at, in the world's directions.

    Attributes:
        up: (3,) unit vector.
        towards_eye: (3,) unit vector from the scene to the eye.
    """

    up: np.ndarray
    towards_eye: np.ndarray


def bounds(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """(3,) lowest and highest coordinates that are shown."""
    poses = scene.points[np.isfinite(scene.points).all(-1)]
    everything = np.concatenate([np.percentile(poses, _PERCENTILES, axis=0), *(rig_points(rig) for rig in scene.rigs)])
    low, high = everything.min(axis=0), everything.max(axis=0)
    # A rig in a plane still needs some room.
    margin = np.maximum(_MARGIN * (high - low), 0.02 * (high - low).max())
    return low - margin, high + margin


def viewpoints(scene: Scene, low: np.ndarray, high: np.ndarray) -> tuple[dict[str, Any], dict[str, Any]]:
    """Plotly's cameras that see the whole rig, and the subject.

    Their unit is the longest side of the scene, their origin its middle.
    """
    unit, middle = (high - low).max(), (high + low) / 2
    look = _outlook(scene.cameras[0])
    subject = np.percentile(scene.points[np.isfinite(scene.points).all(-1)], _PERCENTILES, axis=0)
    corners = np.array(list(product(*subject.T)))
    everything = np.concatenate([corners, *(rig_points(rig) for rig in scene.rigs)])
    return _viewpoint(look, (everything - middle) / unit), _viewpoint(look, (corners - middle) / unit)


def _viewpoint(look: _Outlook, points: np.ndarray) -> dict[str, Any]:
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


def _outlook(cameras: CameraGroup) -> _Outlook:
    """As the cameras see up and down, and so that as few of them as possible hide each other."""
    upright = upright_rotation(cameras)
    azimuth = np.deg2rad(quiet_azimuth((cameras.centers - focus(cameras)) @ upright.T))
    elevation = np.deg2rad(_ELEVATION_DEGREES)
    direction = [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)]
    return _Outlook(up=upright[2], towards_eye=np.array(direction) @ upright)
