"""Initial poses of all cameras and boards, from pairs of cameras that see a board in the same frame.

A board need not be seen by all cameras: a spanning tree over the pairs that agree best connects the cameras.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree

from mvgeom.calibration.board_poses import order_motions, pose_candidates
from mvgeom.calibration.boards import Floats, Ints
from mvgeom.calibration.camera_pairs import CAP, Observed, Relation, relate, transfer_errors
from mvgeom.calibration.findings import CalibrationError, Finding, error

__all__ = ["Pair", "PoseGraph", "build_pose_graph"]

Pair = tuple[int, int]

_MOST = 0.8
_CLEARLY_MORE = 0.2
_MORE_BOARDS = 3
"""Boards by which more must agree after flipping: one or two of few agree by chance."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PoseGraph:
    """Initial poses of cameras and boards.

    Attributes:
        cameras: (V, 4, 4) transforms from world to camera; the world is the frame of the root camera.
        boards: (F, 4, 4) transforms from board to world; NaN where no camera sees the board.
        labels: (V, F, K) index of the board corner that a camera lists as its k-th corner; k unless the corners are
            listed turned or mirrored.
        agrees: (V, F) booleans, true where a camera sees the board at the pose that the others give.
        relations: Relative poses by pair of cameras that see boards together, the smaller index first.
    """

    cameras: Floats
    boards: Floats
    labels: Ints
    agrees: np.ndarray
    relations: dict[Pair, Relation]


def build_pose_graph(
    names: Sequence[str], normalized: Floats, object_points: Floats, orders: Ints, root: int
) -> PoseGraph:
    """Estimate initial poses of cameras and boards.

    Args:
        names: V camera names.
        normalized: (V, F, K, 2) corners in normalized coordinates; NaN is missing.
        object_points: (K, 3) corners in the board's frame and unit.
        orders: (G, K) equivalent orders of corners; see `corner_orders`.
        root: Index of the camera whose frame is the world.

    Raises:
        CalibrationError: If cameras cannot be connected: they share no boards, the boards they share contradict each
            other, or the images of one are mirrored.
    """
    motions = order_motions(object_points, orders)
    observed = [_observe(each, object_points) for each in normalized]
    relations: dict[Pair, Relation] = {}
    for pair in combinations(range(len(names)), 2):
        relation = relate(observed[pair[0]], observed[pair[1]], object_points, orders, motions)
        if relation is not None:
            relations[pair] = relation
    mirrored = _find_mirrored(names, observed, relations, object_points, orders, motions)
    if mirrored:
        raise CalibrationError(mirrored)
    good = {pair: relation for pair, relation in relations.items() if relation.consistent}
    _check_connected(names, good, relations)
    cameras = _walk(len(names), good, root)
    return _place_boards(cameras, observed, object_points, orders, motions, relations)


def _observe(normalized: Floats, object_points: Floats) -> Observed:
    poses, errors = pose_candidates(normalized, object_points)
    return Observed(normalized=normalized, poses=poses, errors=errors)


def _find_mirrored(
    names: Sequence[str],
    observed: list[Observed],
    relations: dict[Pair, Relation],
    object_points: Floats,
    orders: Ints,
    motions: Floats,
) -> list[Finding]:
    """Find cameras whose boards contradict those of others, but agree after mirroring the image."""
    # Boards that face the cameras can agree with their mirror images by chance: some agreement is no evidence.
    bad = [pair for pair, each in relations.items() if each.common > 2 and each.share < _MOST]
    suspects: dict[int, list[tuple[int, Relation]]] = {}
    for camera in sorted({camera for pair in bad for camera in pair}):
        flipped = _observe(observed[camera].normalized * [-1, 1], object_points)
        for pair in bad:
            if camera in pair:
                partner = pair[0] + pair[1] - camera
                relation = relate(observed[partner], flipped, object_points, orders, motions)
                if relation is None or relation.share <= max(_MOST, relations[pair].share + _CLEARLY_MORE):
                    continue
                if relation.agreeing.sum() >= relations[pair].agreeing.sum() + _MORE_BOARDS:
                    suspects.setdefault(camera, []).append((partner, relation))
    findings = []
    reported: set[int] = set()
    # The mirrored camera contradicts all its partners, a partner contradicts only the mirrored camera.
    for camera in sorted(suspects, key=lambda each: -len(suspects[each])):
        partners = [(partner, relation) for partner, relation in suspects[camera] if partner not in reported]
        if not partners:
            continue
        reported.add(camera)
        before = sum(int(relations[_sorted(camera, partner)].agreeing.sum()) for partner, _ in partners)
        after = sum(int(relation.agreeing.sum()) for _, relation in partners)
        common = sum(relation.common for _, relation in partners)
        either = len(partners) == 1 and len(suspects.get(partners[0][0], ())) == 1
        concerned = (names[camera], names[partners[0][0]]) if either else (names[camera],)
        who = f"the images of camera {' or '.join(map(repr, concerned))} are mirrored"
        text = (
            f"{who}: boards shared with other cameras that agree: {before} of {common} as they are, {after} after "
            "flipping left to right. Turn off mirroring in the camera's software, or flip its images"
        )
        findings.append(
            error("mirrored_images", concerned, text, agreeing=before, agreeing_mirrored=after, common=common)
        )
    return findings


def _check_connected(names: Sequence[str], good: dict[Pair, Relation], relations: dict[Pair, Relation]) -> None:
    count, label = connected_components(_graph(len(names), good), directed=False)
    if count == 1:
        return
    groups = [[names[int(camera)] for camera in np.flatnonzero(label == group)] for group in range(count)]
    described = " | ".join(", ".join(group) for group in groups)
    doubted = [
        f"{names[a]} and {names[b]} agree on {int(relation.agreeing.sum())} of {relation.common}"
        for (a, b), relation in relations.items()
        if label[a] != label[b] and (a, b) not in good
    ]
    if doubted:
        text = (
            f"the cameras form groups that do not agree on any boards: {described}. Between the groups, "
            f"{'; '.join(doubted)} boards. Check that the images are of the same frames (synchronized and matched "
            "correctly) and that the cameras did not move"
        )
        raise CalibrationError([error("contradicting_boards", names, text, groups=count)])
    text = (
        f"the cameras form groups that share no board in any frame: {described}. Show the board to cameras of "
        "both groups at the same time, and check that the file names match"
    )
    raise CalibrationError([error("disconnected_cameras", names, text, groups=count)])


def _graph(num_views: int, relations: dict[Pair, Relation]) -> csr_array:
    rows, columns = zip(*relations, strict=True) if relations else ((), ())
    costs = [relation.cost for relation in relations.values()]
    return csr_array((costs, (rows, columns)), shape=(num_views, num_views))


def _walk(num_views: int, relations: dict[Pair, Relation], root: int) -> Floats:
    """Return transforms (V, 4, 4) from the root camera to each camera along the spanning tree."""
    tree = minimum_spanning_tree(_graph(num_views, relations))
    order, before = breadth_first_order(tree, root, directed=False)
    poses = np.tile(np.eye(4), (num_views, 1, 1))
    for camera in order[1:]:
        parent = int(before[camera])
        step = relations[_sorted(parent, int(camera))].pose
        poses[camera] = (step if parent < camera else np.linalg.inv(step)) @ poses[parent]
    return poses


def _place_boards(
    cameras: Floats,
    observed: list[Observed],
    object_points: Floats,
    orders: Ints,
    motions: Floats,
    relations: dict[Pair, Relation],
) -> PoseGraph:
    """Place each board at the candidate pose that agrees best with all cameras; mark the cameras that agree."""
    num_views, num_frames = len(observed), len(observed[0].normalized)
    boards = np.full((num_frames, 4, 4), np.nan)
    labels = np.tile(np.arange(len(object_points)), (num_views, num_frames, 1))
    agrees = np.zeros((num_views, num_frames), dtype=bool)
    solved = np.stack([each.solved for each in observed])
    for frame in np.flatnonzero(solved.any(axis=0)):
        who = np.flatnonzero(solved[:, frame])
        candidates = np.concatenate(
            [
                np.linalg.inv(cameras[view]) @ observed[view].poses[frame][np.isfinite(observed[view].errors[frame])]
                for view in who
            ]
        )
        errors = np.stack(
            [
                transfer_errors(cameras[view] @ candidates, observed[view].normalized[frame], object_points, orders)
                for view in who
            ]
        )
        best = int(np.minimum(errors.min(-1), CAP).sum(0).argmin())
        chosen = errors[:, best].argmin(-1)
        agrees[who, frame] = errors[:, best].min(-1) < CAP
        common = int(np.bincount(chosen[agrees[who, frame]]).argmax())
        boards[frame] = candidates[best] @ motions[common]
        back = np.argsort(orders[common])
        for view, number in zip(who, chosen, strict=True):
            labels[view, frame] = back[orders[number]]
    return PoseGraph(cameras=cameras, boards=boards, labels=labels, agrees=agrees, relations=relations)


def _sorted(one: int, other: int) -> Pair:
    return (one, other) if one < other else (other, one)
