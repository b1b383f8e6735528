"""Left and right keypoints by name, for mirror images."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mvgeom.errors import InputError

_OPPOSITE = {"left": "right", "Left": "Right", "LEFT": "RIGHT", "l": "r", "L": "R"}
_OPPOSITE |= {right: left for left, right in _OPPOSITE.items()}
# Words in snake_case, camelCase and "LShoulder": separators, a capital before a capitalized word, words, digits.
_TOKENS = re.compile(r"[^A-Za-z0-9]+|[A-Z](?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_WORDS = {"left", "right"}


def mirrored_order(keypoint_names: Sequence[str]) -> tuple[int, ...]:
    """Find for every keypoint the index of the one that takes its place in a mirror image.

    A name is left or right by one of its words: `LeftEar`, `left_ear`, `ear_left`, `earLeft`, `front_left_paw`,
    `LShoulder`, `L_ear`, `ear_L`, `ear_l`, `earL`, or `lwrist` where `rwrist` exists too. All others stay themselves.

    Args:
        keypoint_names: K distinct keypoint names.

    Returns:
        K indices, an involution: `points[order]` are the labels of the mirrored image.

    Raises:
        InputError: `missing-counterpart`, if a keypoint with the word left or right has none, or one with the letter l
            or r where others are left and right by that letter.
    """
    positions = {name: index for index, name in enumerate(keypoint_names)}
    partners = [_partner(name, positions) for name in keypoint_names]
    letters_mean_sides = any(partner is not None for partner in partners)
    order = []
    for index, (name, partner) in enumerate(zip(keypoint_names, partners, strict=True)):
        if partner is not None:
            order.append(positions[partner])
            continue
        tokens = _TOKENS.findall(name)
        is_side = any(token.lower() in _WORDS for token in tokens)
        if is_side or (letters_mean_sides and any(token in _OPPOSITE for token in tokens)):
            counterpart = "".join(_OPPOSITE.get(token, token) for token in tokens)
            raise InputError(
                f"keypoint_names: {name!r} has no counterpart in the mirror image, found {list(keypoint_names)}, "
                f"expected {counterpart!r} among them. Rename the keypoint, or turn flips off.",
                code="missing-counterpart",
                argument="keypoint_names",
                keypoint=name,
                counterpart=counterpart,
            )
        order.append(index)
    return tuple(order)


def _partner(name: str, positions: dict[str, int]) -> str | None:
    """Find the name of the opposite side's keypoint, if there is one."""
    tokens = _TOKENS.findall(name)
    swapped = "".join(_OPPOSITE.get(token, token) for token in tokens)
    if swapped != name:
        return swapped if swapped in positions else None
    # "lwrist" is one word; only the existence of "rwrist" tells that its first letter is a side.
    glued = {"l": "r", "r": "l"}.get(name[:1], "") + name[1:]
    return glued if glued != name and len(glued) == len(name) and glued in positions else None
