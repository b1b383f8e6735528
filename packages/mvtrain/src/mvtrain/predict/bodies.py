"""Bones and joints by the names of their keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mvgeom import joints_of_bones
from mvgeom.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Body:
    """Bones and joints of an animal.

    Attributes:
        bones: Pairs of keypoints.
        joints: Triples of keypoints; the angle is at the second.
    """

    bones: tuple[tuple[str, str], ...] = ()
    joints: tuple[tuple[str, str, str], ...] = ()

    @classmethod
    def from_skeleton(cls, skeleton: Sequence[tuple[str, str]]) -> Body:
        """Take the bones of a skeleton, and every two of them that share a keypoint as a joint."""
        names = list(dict.fromkeys(name for bone in skeleton for name in bone))
        found = joints_of_bones([(names.index(a), names.index(b)) for a, b in skeleton])
        return cls(bones=tuple(skeleton), joints=tuple((names[a], names[b], names[c]) for a, b, c in found))

    @property
    def bone_names(self) -> list[str]:
        """Names such as `hip:knee`."""
        return [":".join(bone) for bone in self.bones]

    @property
    def joint_names(self) -> list[str]:
        """Names such as `hip:knee:ankle`."""
        return [":".join(joint) for joint in self.joints]

    def numbers(
        self, keypoint_names: Sequence[str], session: str
    ) -> tuple[list[tuple[int, int]], list[tuple[int, int, int]]]:
        """Return bones and joints by the numbers of their keypoints.

        Raises:
            InputError: `unknown-choice` for a name that is not one of the keypoints.
        """
        for name in (name for group in (*self.bones, *self.joints) for name in group):
            if name not in keypoint_names:
                raise InputError(
                    f"session {session!r}: unknown keypoint in a bone or joint, found {name}, expected one of "
                    f"{', '.join(keypoint_names)}",
                    code="unknown-choice",
                    session=session,
                    found=name,
                    expected=tuple(keypoint_names),
                )
        index = {name: number for number, name in enumerate(keypoint_names)}
        bones = [(index[a], index[b]) for a, b in self.bones]
        return bones, [(index[a], index[b], index[c]) for a, b, c in self.joints]


def parse_groups(text: str | None, size: int, option: str) -> tuple[tuple[str, ...], ...] | None:
    """Read `a:b:c,d:e:f`; None for None.

    Raises:
        InputError: `bad-option` for a group of another size, or with a name twice.
    """
    if text is None:
        return None
    groups = tuple(tuple(name.strip() for name in part.split(":")) for part in text.split(",") if part.strip())
    example = ":".join("abc"[:size])
    for group in groups:
        found = ":".join(group)
        if len(group) != size or len(set(group)) != size or not all(group):
            raise InputError(
                f"{option}: found {found}, expected {size} different keypoints joined by colons, such as {example}",
                code="bad-option",
                option=option,
                found=found,
            )
    return groups
