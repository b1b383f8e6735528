"""Bones of a command line, by the names of their keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mvgeom.errors import InputError

if TYPE_CHECKING:
    from mvgeom.smoothing import Bone

__all__ = ["describe_bones", "parse_pairs"]


def parse_pairs(text: str | None, option: str) -> list[tuple[str, str]]:
    """Read `a:b,c:d`; nothing for None.

    Raises:
        InputError: `bad-option`.
    """
    pairs = []
    for part in (text or "").split(","):
        if not part.strip():
            continue
        names = [name.strip() for name in part.split(":")]
        if len(names) != 2 or not all(names):
            raise InputError(
                f"{option}: found {part.strip()}, expected two keypoints joined by a colon, such as {option} hip:knee",
                code="bad-option",
                option=option,
                found=part.strip(),
            )
        pairs.append((names[0], names[1]))
    return pairs


def describe_bones(bones: Sequence[Bone], keypoint_names: Sequence[str]) -> str:
    """Describe lengths that were held, and bones that hold nothing, in a line."""
    parts = []
    for bone in bones:
        name = f"{keypoint_names[bone.first]}:{keypoint_names[bone.second]}"
        held = bone.length is not None and bone.std is not None
        parts.append(f"{name} {bone.length:.4g} ± {bone.std:.2g}" if held else f"{name} not held, too few sure frames")
    return ", ".join(parts)
