"""Rigid bodies with several boards: two-sided boards, cubes, and markers fixed to one thing."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mvgeom.calibration.charuco_board import CharucoBoard
from mvgeom.calibration.tag_grid import TagGrid
from mvgeom.errors import InputError
from mvgeom.wording import counted

__all__ = ["BoardSet", "Face", "two_sided"]

Floats = npt.NDArray[np.float64]


def _identity() -> Floats:
    return np.eye(3)


@dataclass(frozen=True, kw_only=True, eq=False)
class Face:
    """A board on a rigid body.

    Attributes:
        board: Board with markers.
        rotation: (3, 3) rotation from the board's frame to that of the body.
        position: (3,) origin of the board's frame in the body's, in the boards' unit.
    """

    board: CharucoBoard | TagGrid
    rotation: Floats = field(default_factory=_identity)
    position: Floats = field(default_factory=lambda: np.zeros(3))


@dataclass(frozen=True, kw_only=True, eq=False)
class BoardSet:
    """Several boards on a rigid body, of which a camera sees one or more.

    Attributes:
        faces: Boards and their poses.
        estimated: True if the poses are unknown; `calibrate` then finds those relative to the first face.

    Raises:
        InputError: `out-of-range`, if there is no face; `duplicate-name`, if two faces have the same markers.
    """

    faces: tuple[Face, ...]
    estimated: bool = False

    def __post_init__(self) -> None:
        if not self.faces:
            raise InputError("faces: there is none, expected at least one", code="out-of-range", argument="faces")
        seen: dict[tuple[str, int], int] = {}
        for number, face in enumerate(self.faces, 1):
            for marker in face.board.ids:
                key = face.board.dictionary, marker
                if key in seen:
                    raise InputError(
                        f"faces: marker {marker} of {face.board.dictionary} is on face {seen[key]} and on face "
                        f"{number}. Give each face numbers of its own (first_id).",
                        code="duplicate-name",
                        argument="faces",
                        found=marker,
                    )
                seen[key] = number

    def __str__(self) -> str:
        return f"set of {counted(len(self.faces), 'board')} ({self.faces[0].board}, ...)"

    @property
    def inverted(self) -> bool:
        """Return True if the first face is inverted."""
        return self.faces[0].board.inverted

    def points(self) -> Floats:
        """Return the corners (K, 3) of all faces, one after the other, in the body's frame."""
        return np.concatenate([face.board.points() @ face.rotation.T + face.position for face in self.faces])

    def face_of_points(self) -> npt.NDArray[np.int64]:
        """Return the index (K,) of the face that each corner is on."""
        return np.repeat(np.arange(len(self.faces)), [len(face.board.points()) for face in self.faces])


def two_sided(board: CharucoBoard | TagGrid, thickness: float) -> BoardSet:
    """Return a flat body with a board on either side.

    The board on the back is of the same size, turned about its vertical axis, and its markers go on counting where
    those of the front end. The middles of both are at the same place.

    Args:
        board: Board on the front, whose frame is that of the body.
        thickness: Distance of the two sides, in the board's unit.

    Raises:
        InputError: `out-of-range`, if the thickness is negative, or the dictionary has too few markers.
    """
    if not (np.isfinite(thickness) and thickness >= 0):
        raise InputError(
            f"thickness: must not be negative, found {thickness}",
            code="out-of-range",
            argument="thickness",
            found=thickness,
        )
    corners = board.points()
    width = float(corners[:, 0].min() + corners[:, 0].max())
    back = Face(
        board=dataclasses.replace(board, first_id=board.ids.stop),
        rotation=np.diag([-1.0, 1.0, -1.0]),
        position=np.array([width, 0.0, thickness]),
    )
    return BoardSet(faces=(Face(board=board), back))
