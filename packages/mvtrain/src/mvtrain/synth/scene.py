"""Scene of one session: the animal, its surroundings, and a ring of cameras at various heights, each with its lens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mvgeom import CameraGroup
from mvtrain.synth.animal import Skeleton, build_body, draw_individual, pose, wander
from mvtrain.synth.materials import Part
from mvtrain.synth.room import Room, draw_room, make_occluders
from mvtrain.synth.spec import Floats, Purpose, SyntheticSpec, generator

HALF_VIEW = 330.0
"""Half of the distance in mm that the shorter side of an image covers."""

TARGET_HEIGHT = 55.0
"""Height in mm above the floor of the point that the cameras look at."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One session.

    Attributes:
        number: Position among the sessions.
        cameras: Cameras of the session.
        skeleton: Joints of the animal over the video's frames.
        body: Solids of the animal.
        occluders: Solids that pass between the cameras and the animal.
        room: Surroundings that do not move.
        labeled: Frame numbers in the video of the labeled frames, ascending.
    """

    number: int
    cameras: CameraGroup
    skeleton: Skeleton
    body: list[Part]
    occluders: list[Part]
    room: Room
    labeled: npt.NDArray[np.intp]


def make_scene(spec: SyntheticSpec, session: int) -> Scene:
    """Make the scene of one session of a spec."""
    times = np.arange(spec.num_video_frames) / spec.fps
    cameras = make_rig(spec, session)
    # The first coat depends on the seed, and the sessions run through the others.
    first = int(generator(spec.seed, Purpose.ANIMAL).integers(0, 1000))
    individual = draw_individual(
        generator(spec.seed, Purpose.ANIMAL, session), first + session, symmetric=spec.symmetric
    )
    skeleton = pose(wander(generator(spec.seed, Purpose.MOTION, session), times), individual.size)
    return Scene(
        number=session,
        cameras=cameras,
        skeleton=skeleton,
        body=build_body(skeleton, individual),
        occluders=make_occluders(
            generator(spec.seed, Purpose.OCCLUDERS, session),
            times,
            cameras,
            skeleton.joints["trunk_middle"],
            spec.occlusion,
        ),
        room=draw_room(generator(spec.seed, Purpose.ROOM, session)),
        labeled=_labeled_frames(spec, session),
    )


def make_rig(spec: SyntheticSpec, session: int) -> CameraGroup:
    """Make the rig of one session: the spec's rig, each camera moved by a few mm and half a degree.

    Lenses have five Brown-Conrady coefficients, k1 from -0.15 to 0.1 for square images, and principal points up to 4 %
    from the middle. At the corners of a longer image, distortion is as large as at those of a square.
    """
    width, height = spec.frame_size
    side = min(width, height)
    reach = np.hypot(side, side) / np.hypot(width, height)
    count = spec.num_views
    matrices, distortions, rotations, translations = [], [], [], []
    for view in range(count):
        rng = generator(spec.seed, Purpose.RIG, view)
        focal = rng.uniform(0.95, 1.35)
        # Opposite cameras do not determine depth: two are at about a right angle, not evenly spaced on the ring.
        azimuth = 2 * np.pi * view / max(count, 4) + rng.uniform(-0.2, 0.2)
        elevation = np.radians(34 + (11 if view % 2 else -11) + rng.uniform(-6, 6))
        distance = 2 * HALF_VIEW * focal * rng.uniform(0.95, 1.08)
        aim = np.array([0.0, 0.0, TARGET_HEIGHT]) + rng.uniform(-15, 15, 3)
        roll = rng.uniform(-0.06, 0.06)
        center = aim + distance * np.array(
            [np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)]
        )
        aspect = rng.uniform(0.995, 1.005)
        middle = np.array([width, height]) / 2 - 0.5 + side * rng.uniform(-0.04, 0.04, 2)
        k1 = -0.15 + 0.25 * ((view * 0.618 + rng.random() * 0.3) % 1)
        coefficients = [k1, rng.uniform(-0.02, 0.03), *rng.uniform(-2e-3, 2e-3, 2), rng.uniform(-0.01, 0.01)]
        distortions.append(np.array(coefficients) * reach ** np.array([2, 4, 1, 1, 6]))
        matrices.append([[focal * side, 0.0, middle[0]], [0.0, focal * side * aspect, middle[1]], [0.0, 0.0, 1.0]])

        knock = generator(spec.seed, Purpose.RIG_SHIFT, session, view)
        center = center + knock.normal(0, 4.0, 3)
        rotation = look_at(center, aim + knock.normal(0, 4.0, 3), roll + knock.normal(0, 0.01))
        rotations.append(rotation)
        translations.append(-rotation @ center)
    return CameraGroup(
        names=spec.view_names,
        sizes=np.tile([float(width), float(height)], (count, 1)),
        matrix=np.array(matrices),
        distortion=np.array(distortions),
        rotation=np.array(rotations),
        translation=np.array(translations),
    )


def look_at(center: Floats, target: Floats, roll: float) -> Floats:
    """Return the (3, 3) rotation, world to camera, of a camera at `center` towards `target`, not straight above it.

    `roll` is in rad.
    """
    forward = (target - center) / np.linalg.norm(target - center)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    cos, sin = np.cos(roll), np.sin(roll)
    return np.stack([cos * right + sin * down, cos * down - sin * right, forward])


def _labeled_frames(spec: SyntheticSpec, session: int) -> npt.NDArray[np.intp]:
    """Draw the labeled frames: one at random from each of equal parts of the video."""
    count = spec.num_frames // spec.num_sessions + (session < spec.num_frames % spec.num_sessions)
    edges = np.arange(count + 1) * spec.num_video_frames // count
    return generator(spec.seed, Purpose.LABELED_FRAMES, session).integers(edges[:-1], edges[1:]).astype(np.intp)
