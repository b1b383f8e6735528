"""The animal's body: solids around the skeleton, and the coat of an individual."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mvtrain.synth.materials import Material, Part, plain, random_waves
from mvtrain.synth.shapes import Floats, ball, cone
from mvtrain.synth.skeleton import LEGS, TRUNK_RADII, Skeleton

_COATS = np.array(
    [
        [[0.26, 0.17, 0.10], [0.10, 0.065, 0.04], [0.50, 0.43, 0.34]],
        [[0.72, 0.66, 0.57], [0.36, 0.19, 0.08], [0.80, 0.76, 0.70]],
        [[0.20, 0.20, 0.22], [0.62, 0.60, 0.57], [0.45, 0.44, 0.43]],
        [[0.50, 0.24, 0.08], [0.24, 0.09, 0.03], [0.70, 0.55, 0.40]],
        [[0.09, 0.085, 0.09], [0.55, 0.52, 0.48], [0.20, 0.19, 0.19]],
    ]
)
"""Linear RGB of back, spots and belly."""

_PINK = np.array([0.55, 0.28, 0.25])
_DARK = np.array([0.02, 0.018, 0.02])


@dataclass(frozen=True, kw_only=True)
class Individual:
    """Properties that differ from animal to animal.

    Attributes:
        size: Factor on all lengths.
        coat: (3, 3) linear RGB of back, spots and belly.
        waves: (J, 4) pattern of the spots; see `Material.waves`.
        threshold: Value of the pattern above which spots begin; the higher, the fewer.
        symmetric: True if left and right have the same colors.
    """

    size: float
    coat: Floats
    waves: Floats
    threshold: float
    symmetric: bool


def draw_individual(rng: np.random.Generator, number: int, *, symmetric: bool) -> Individual:
    """Draw the animal of a session; consecutive numbers have different coats."""
    return Individual(
        size=float(rng.uniform(0.88, 1.14)),
        coat=_COATS[number % len(_COATS)] * rng.uniform(0.85, 1.15, (3, 1)) * rng.uniform(0.95, 1.05, (1, 3)),
        waves=random_waves(rng, 62.0),
        threshold=float(rng.uniform(0.05, 0.25)),
        symmetric=symmetric,
    )


def build_body(skeleton: Skeleton, individual: Individual) -> list[Part]:
    """Return the animal's parts over the skeleton's T frames."""
    body = _Body(skeleton)
    fur, trunk = _coat(individual), TRUNK_RADII
    body.add_tube("pelvis", "trunk_middle", (trunk["pelvis"], trunk["spine"]), "pelvis", fur)
    body.add_tube("trunk_middle", "chest", (trunk["spine"], trunk["chest"]), "chest", fur)
    body.add_tube("chest", "neck", (trunk["chest"] - 1, 26.0), "chest", fur)
    body.add_tube("neck", "head", (24.0, 20.0), "head", fur)
    body.add_ball("head", (29.0, 22.0, 21.0), "head", fur)
    body.add_tube("head", "nose", (19.0, 6.2), "head", _coat(individual, white=0.25))
    body.add_ball("nose", (7.5, 6.8, 6.0), "head", plain(_DARK, gloss=0.5))
    for side in ("left", "right"):
        body.add_ball(f"{side}_eye", (5.0, 4.0, 5.0), "head", plain(_DARK, gloss=0.7))
        ear = _PINK if side == "left" or individual.symmetric else _PINK * 0.45
        material = Material(color=ear, second=ear, under=individual.coat[0], grain=0.1)
        body.add_ball(f"{side}_ear", (4.5, 12.0, 17.0), "head", material)
    _add_legs(body, individual)
    body.add_tube("tail_base", "tail_1", (11.0, 8.5), "pelvis", fur)
    body.add_tube("tail_1", "tail_mid", (8.5, 7.5), "pelvis", fur)
    body.add_tube("tail_mid", "tail_3", (7.5, 6.5), "pelvis", _coat(individual, tone=0.8))
    body.add_tube("tail_3", "tail_tip", (6.5, 5.0), "pelvis", _coat(individual, tone=0.55))
    return body.parts


class _Body:
    """Collection of parts; radii are for an animal of size 1, `axes` is the name of the body axes of a part."""

    def __init__(self, skeleton: Skeleton) -> None:
        self.skeleton = skeleton
        self.parts: list[Part] = []

    def add_tube(self, start: str, end: str, radii: tuple[float, float], axes: str, material: Material) -> None:
        first, second = (self.skeleton.size * radius for radius in radii)
        sideways, joints = self.skeleton.axes[axes][:, :, 1], self.skeleton.joints
        self.parts.append(Part(shape=cone(joints[start], joints[end], first, second, sideways), material=material))

    def add_ball(self, joint: str, radii: tuple[float, float, float], axes: str, material: Material) -> None:
        scaled = [self.skeleton.size * radius for radius in radii]
        shape = ball(self.skeleton.joints[joint], scaled, self.skeleton.axes[axes])
        self.parts.append(Part(shape=shape, material=material))


def _add_legs(body: _Body, individual: Individual) -> None:
    """Add the legs, whose sides differ little in tone and white ends, or not at all."""
    for leg in LEGS:
        side, end = leg.split("_")
        tone, sock = (1.1, 0.5) if side == "left" or individual.symmetric else (0.72, 0.0)
        front = end == "front"
        axes, middle = ("chest", f"{side}_elbow") if front else ("pelvis", f"{side}_knee")
        upper, lower = ((17.0, 11.5), (10.5, 7.5)) if front else ((24.0, 13.0), (12.0, 7.5))
        body.add_tube(f"{leg}_hip", middle, upper, axes, _coat(individual, tone=tone))
        body.add_tube(middle, f"{leg}_ankle", lower, axes, _coat(individual, tone=tone, white=sock / 2))
        body.add_tube(f"{leg}_ankle", f"{leg}_paw", (7.5, 7.0), axes, _coat(individual, tone=tone, white=sock))
        body.add_ball(f"{leg}_paw", (13.0, 9.0, 8.0), axes, _coat(individual, tone=tone, white=sock))


def _coat(individual: Individual, *, tone: float = 1.0, white: float = 0.0) -> Material:
    """Return the coat, lighter or darker by `tone`, and mixed with white."""
    back, spots, belly = individual.coat * tone * (1 - white) + 0.85 * white
    return Material(
        color=back,
        second=spots,
        under=belly,
        waves=individual.waves,
        threshold=individual.threshold,
        grain=0.22,
        gloss=0.04,
    )
