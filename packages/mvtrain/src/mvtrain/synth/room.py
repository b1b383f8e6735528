"""Surroundings of the animal: a tiled arena on a floor, a round wall with posters, clutter, and moving occluders."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mvgeom import CameraGroup
from mvtrain.synth.animal import orientation
from mvtrain.synth.materials import FLOOR_LIGHT, Part, light_of_hits, plain, random_waves, stripes
from mvtrain.synth.raycast import Floats32, View, ball, between_pixels, box, cone, rasterize
from mvtrain.synth.spec import Floats, smooth_noise

ARENA_RADIUS = 420.0

WALL_RADIUS = 2200.0

CLUTTER_RADII = (1150.0, 1900.0)
"""Radii in mm. Clutter is behind the cameras, so it fills the backgrounds without hiding the animal."""

NUM_CLUTTER = 26
"""Number of solids along the wall."""

NUM_OCCLUDERS = 2

CAMERAS_PER_SECOND = 0.45

MIDWAY = 0.5
"""Number of signs, their speed along the ring of cameras, and their place between animal (0) and cameras (1)."""

_SUBPIXELS = ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25))


@dataclass(frozen=True, kw_only=True)
class Room:
    """Surroundings of one session; colors are linear RGB.

    Attributes:
        tiles: (2, 3) colors of the arena's tiles.
        tile: Side of a tile in mm.
        boards: (3,) color of the floor around the arena.
        wall: (2, 3) colors of the wall, low and high.
        posters: (P, 5) angle, half width in rad, and color of the posters.
        waves: (J, 4) pattern of the stains on the floor.
        clutter: Solids along the wall, one frame each.
    """

    tiles: Floats
    tile: float
    boards: Floats
    wall: Floats
    posters: Floats
    waves: Floats
    clutter: list[Part]


def draw_room(rng: np.random.Generator) -> Room:
    """Draw the room of a session."""
    base = rng.uniform(0.28, 0.5) * rng.uniform(0.85, 1.15, 3)
    angle = np.sort(rng.uniform(-np.pi, np.pi, 12))
    return Room(
        tiles=np.stack([base, base * rng.uniform(0.78, 0.9)]),
        tile=float(rng.uniform(55, 95)),
        boards=np.array([0.24, 0.17, 0.11]) * rng.uniform(0.6, 1.5, 3),
        wall=rng.uniform(0.15, 0.5, (2, 3)),
        posters=np.concatenate([angle[:, None], rng.uniform(0.05, 0.16, (12, 1)), rng.uniform(0.03, 0.7, (12, 3))], 1),
        waves=random_waves(rng, 170.0, 6),
        clutter=[_draw_clutter(rng, n) for n in range(NUM_CLUTTER)],
    )


def make_occluders(
    rng: np.random.Generator, times: Floats, cameras: CameraGroup, target: Floats, strength: float
) -> list[Part]:
    """Make signs on posts that move along the ring of cameras and pause before each.

    Args:
        rng: Generator of the session.
        times: (T,) times in s.
        cameras: Cameras whose lines of sight they cross.
        target: (T, 3) middle of the animal in the world.
        strength: Strength of the occlusion, 0 for no occluders; up to 1 they grow and pause longer.
    """
    parts: list[Part] = []
    if strength == 0:
        return parts
    for number in range(NUM_OCCLUDERS):
        pace = (1 if number % 2 else -1) * CAMERAS_PER_SECOND * rng.uniform(0.8, 1.2)
        stop = len(cameras) * rng.random() + pace * times + 0.2 * smooth_noise(rng, times, 0.2)
        goal = _along_ring(cameras, stop, pause=0.75 * strength)
        sway = np.stack([30.0 * smooth_noise(rng, times, 0.35) for _ in range(3)], axis=-1) * [1.0, 1.0, 0.6]
        center = target + MIDWAY * (goal - target) + sway
        outward = goal - target
        turn = np.arctan2(outward[:, 1], outward[:, 0]) + 0.4 * smooth_noise(rng, times, 0.3)
        axes = orientation(turn, np.zeros_like(turn))
        half = (4.0, 16.0 + 46.0 * strength, 12.0 + 34.0 * strength)
        colors = rng.uniform(0.05, 0.6, (2, 3))
        parts.append(Part(shape=box(center, half, axes), material=stripes(colors[0], colors[1], 1, 14.0)))
        thickness = 4.0 + 8.0 * strength
        foot = np.stack([center[:, 0], center[:, 1], np.zeros(len(center))], axis=-1)
        post = cone(foot, center, thickness, thickness, axes[:, :, 1])
        parts.append(Part(shape=post, material=plain(np.array([0.35, 0.33, 0.30]), gloss=0.15)))
    return parts


def room_light(room: Room, view: View) -> Floats32:
    """Return (H*W, 3) linear RGB of the empty room, the mean over four rays per pixel."""
    samples = [_sampled(room, between_pixels(view, offset)) for offset in _SUBPIXELS]
    return np.mean(samples, axis=0, dtype=np.float32)


def floor_points(view: View) -> Floats32:
    """Return (H*W, 2) points in mm where the pixels' rays meet the floor; infinity where they do not."""
    x, y, z = view.directions
    down = z < -1e-4
    distance = np.where(down, np.float32(view.origin[2]) / np.where(down, -z, 1), np.float32(np.inf))
    return np.stack(
        [
            np.where(down, np.float32(o) + distance * d, np.float32(np.inf))
            for o, d in zip(view.origin[:2], (x, y), strict=True)
        ],
        axis=-1,
    ).astype(np.float32)


def _draw_clutter(rng: np.random.Generator, number: int) -> Part:
    angle = 2 * np.pi * (number + rng.uniform(-0.4, 0.4)) / NUM_CLUTTER
    radius = rng.uniform(*CLUTTER_RADII)
    spot = np.array([[radius * np.cos(angle), radius * np.sin(angle), 0.0]])
    color, second = rng.uniform(0.02, 0.65, (2, 3))
    half = rng.uniform(50, 150, 3)
    axes = orientation(np.array([rng.uniform(0, np.pi)]), np.zeros(1))
    kind = rng.integers(0, 3)
    material = (
        stripes(color, second, int(rng.integers(0, 3)), float(rng.uniform(25, 70)))
        if rng.random() < 0.5
        else plain(color, gloss=0.2)
    )
    up = np.array([[0.0, 0.0, 1.0]])
    if kind == 0:
        return Part(shape=box(spot + up * half[2], tuple(half), axes), material=material)
    if kind == 1:
        return Part(shape=ball(spot + up * half[0], float(half[0])), material=material)
    top = spot + up * rng.uniform(250, 600)
    return Part(shape=cone(spot, top, half[0] * 0.6, half[1] * 0.4, axes[:, :, 1]), material=material)


def _sampled(room: Room, view: View) -> Floats32:
    floor = floor_points(view)
    radius = np.hypot(floor[:, 0], floor[:, 1])
    on_floor = radius < WALL_RADIUS
    light = np.empty((len(floor), 3), dtype=np.float32)
    light[on_floor] = _floor(room, floor[on_floor])
    light[~on_floor] = _wall(room, view.origin, view.directions[:, ~on_floor])
    depth, owner = rasterize([part.shape for part in room.clutter], view)
    _, pixels = np.nonzero(owner >= 0)
    frames = np.zeros_like(pixels)
    light[pixels] = light_of_hits(room.clutter, depth[0, pixels], owner[0, pixels], frames, pixels, view)
    return light


def _floor(room: Room, points: Floats32) -> Floats32:
    x, y = points[:, 0], points[:, 1]
    radius = np.hypot(x, y)
    stains = np.zeros(len(points), dtype=np.float32)
    for a, b, _, phase in room.waves.astype(np.float32):
        # The second term bends the wave fronts, which makes stains instead of a weave.
        stains += np.sin(a * x + b * y + phase + 1.5 * np.sin(2.3 * b * x - 1.7 * a * y))
    stains /= np.float32(len(room.waves))
    column, row = np.floor(x / room.tile), np.floor(y / room.tile)
    tiles = room.tiles[((column + row) % 2).astype(np.intp)]
    joint = np.minimum(np.abs(x / room.tile - np.round(x / room.tile)), np.abs(y / room.tile - np.round(y / room.tile)))
    tiles = tiles * np.where(joint * room.tile < 1.6, 0.6, 1.0)[:, None]
    board = np.floor(y / 120)
    boards = room.boards * (1 + 0.16 * np.sin(7.7 * board) + 0.08 * np.sin(x / 23 + 3 * board))[:, None]
    boards = boards * np.where(np.abs(y / 120 - np.round(y / 120)) < 0.02, 0.5, 1.0)[:, None]
    color = np.where((radius < ARENA_RADIUS)[:, None], tiles, boards)
    rim = np.abs(radius - ARENA_RADIUS) < 6
    color = np.where(rim[:, None], np.array([0.08, 0.09, 0.12]), color)
    fading = 1 / (1 + (radius / 2600) ** 2)
    return (color * FLOOR_LIGHT * ((1 + 0.14 * stains) * fading)[:, None]).astype(np.float32)


def _wall(room: Room, origin: Floats, directions: Floats32) -> Floats32:
    x, y, z = directions
    a = x * x + y * y
    half_b = x * origin[0] + y * origin[1]
    c = origin[0] ** 2 + origin[1] ** 2 - WALL_RADIUS**2
    distance = (-half_b + np.sqrt(half_b**2 - a * c)) / np.maximum(a, 1e-9)
    height = np.clip(origin[2] + distance * z, 0, 3000)
    angle = np.arctan2(origin[1] + distance * y, origin[0] + distance * x)
    rise = (height / 1500)[:, None].clip(0, 1)
    color = room.wall[0] + rise * (room.wall[1] - room.wall[0])
    color = color * (1 + 0.08 * np.sign(np.sin(14 * angle)))[:, None]
    for at, half, *paint in room.posters:
        inside = (np.abs(angle - at) < half) & (height > 250) & (height < 250 + 2 * half * WALL_RADIUS)
        color = np.where(inside[:, None], np.array(paint), color)
    return (color * FLOOR_LIGHT * 0.75).astype(np.float32)


def _along_ring(cameras: CameraGroup, stop: Floats, pause: float) -> Floats:
    """Return (T, 3) places in the world on a ring through the cameras' centers.

    Args:
        cameras: V cameras.
        stop: (T,) places: whole numbers are cameras in the order of their azimuth, modulo V, others are between them.
        pause: Fraction of the way from one whole number to the next that is spent at them.
    """
    centers = cameras.centers
    azimuth = np.arctan2(centers[:, 1], centers[:, 0])
    order = np.argsort(azimuth)
    ring = np.stack([azimuth[order], np.hypot(centers[order, 0], centers[order, 1]), centers[order, 2]], axis=-1)
    ring = np.concatenate([ring, ring[:1] + np.array([2 * np.pi, 0.0, 0.0])])
    whole = np.floor(stop).astype(np.intp) % len(cameras)
    part = np.clip((stop % 1.0 - pause / 2) / (1 - pause), 0.0, 1.0)
    part = (part * part * (3 - 2 * part))[:, None]
    angle, radius, height = ((1 - part) * ring[whole] + part * ring[whole + 1]).T
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=-1)
