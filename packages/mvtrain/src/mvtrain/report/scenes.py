"""What is played in 3D: poses over time, what is known about them, and the cameras."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mvgeom import CameraGroup
from mvtrain.checking.duplicates import frame_title
from mvtrain.data.project import Project
from mvtrain.evaluation.evaluation import Evaluation
from mvtrain.report.recordings import Recording

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
    scenes = [_of_labelled(evaluation, project), *(_of_recording(each) for each in recordings[:_MAX_RECORDINGS])]
    return [scene for scene in scenes if scene is not None]


def _of_labelled(evaluation: Evaluation, project: Project) -> Scene | None:
    """Session by session, evenly chosen where there are too many."""
    order = sorted(range(len(evaluation.rows)), key=lambda n: (evaluation.sessions[n], evaluation.rows[n]))
    shown = [n for n in order if np.isfinite(evaluation.points_3d[n]).any()]
    if not shown:
        return None
    places = np.linspace(0, len(shown) - 1, min(len(shown), _num_moments(len(evaluation.keypoint_names))))
    chosen = [shown[place] for place in np.unique(places.round().astype(int))]
    rows = evaluation.rows[chosen]
    # Moments without cameras have no points in 3D.
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
    count = min(num_frames, _num_moments(num_keypoints))
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


def _num_moments(num_keypoints: int) -> int:
    return max(_FEWEST, min(_MOST, _MAX_COORDINATES // num_keypoints))
