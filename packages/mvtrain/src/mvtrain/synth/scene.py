"""Everything of one session that exists before a camera looks at it, over all frames of its videos."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mvgeom import CameraGroup
from mvtrain.synth.animal import build_body, draw_individual
from mvtrain.synth.keyed import Purpose, generator
from mvtrain.synth.motion import wander
from mvtrain.synth.occluders import make_occluders
from mvtrain.synth.parts import Part
from mvtrain.synth.rig import make_rig
from mvtrain.synth.room import Room, draw_room
from mvtrain.synth.skeleton import Skeleton, pose
from mvtrain.synth.spec import SyntheticSpec


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One session.

    Attributes:
        number: its position among the sessions.
        cameras: its rig.
        skeleton: the animal's joints over the video's frames.
        body: the animal's solids.
        occluders: solids that pass between the cameras and the animal.
        room: what stands still.
        labelled: positions in the video of the labelled frames, ascending.
    """

    number: int
    cameras: CameraGroup
    skeleton: Skeleton
    body: list[Part]
    occluders: list[Part]
    room: Room
    labelled: npt.NDArray[np.intp]


def make_scene(spec: SyntheticSpec, session: int) -> Scene:
    """The scene of one session of a spec."""
    times = np.arange(spec.num_video_frames) / spec.fps
    cameras = make_rig(spec, session)
    # The first coat depends on the seed, and the sessions run through the others.
    first = int(generator(spec.seed, Purpose.ANIMAL).integers(0, 1000))
    individual = draw_individual(generator(spec.seed, Purpose.ANIMAL, session), first + session)
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
        labelled=_labelled_frames(spec, session),
    )


def _labelled_frames(spec: SyntheticSpec, session: int) -> npt.NDArray[np.intp]:
    """One frame at random out of each of as many equal stretches of the video as this session has labels."""
    count = spec.num_frames // spec.num_sessions + (session < spec.num_frames % spec.num_sessions)
    edges = np.arange(count + 1) * spec.num_video_frames // count
    return generator(spec.seed, Purpose.LABELLED_FRAMES, session).integers(edges[:-1], edges[1:]).astype(np.intp)
