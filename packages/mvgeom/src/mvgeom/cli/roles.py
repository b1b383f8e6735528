"""Roles of paths in the commands, and the next step for each kind of path that is given by mistake."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mvgeom.errors import InputError
from mvgeom.path_kinds import Role, check_role

__all__ = [
    "BOARD_FILE",
    "BOARD_STEP",
    "BOXES",
    "CALIBRATION",
    "IMAGES",
    "IMAGES_STEP",
    "KEYPOINTS",
    "POSITIONS",
    "check_positions",
    "check_roles",
    "next_step",
]

_OTHER_CONTENT = ("bad-header", "damaged-file", "missing-column", "missing-file", "not-text", "unknown-format")
"""Codes of errors over a path whose content is something else."""

_CALIBRATE = "Make one with: mvgeom calibrate --help"
_UNPACK = "Unpack it first, and give what is in it; mvgeom {command} --help lists what is read."
_SAVE_AS_CSV = "Save the sheet as CSV, and give that to mvgeom {command}."


def _refusals(command: str, **steps: str) -> dict[str, str]:
    """Return the next steps of kinds that no command reads, and of the given kinds (with "_" instead of "-")."""
    common = {
        "archive": _UNPACK,
        "workbook": _SAVE_AS_CSV,
        "empty-file": "Write it again, or give another file to mvgeom {command}.",
        "empty-folder": "Fill it, or give another path; mvgeom {command} --help lists what is read.",
        "weights": "mvgeom {command} --help lists what is read; networks belong to mvtrain predict.",
        "yaml": "It is a config, or of another program; mvgeom {command} --help lists what is read.",
        **{kind.replace("_", "-"): step for kind, step in steps.items()},
    }
    return {kind: step.replace("{command}", command) for kind, step in common.items()}


_WITH_KEYPOINTS = "Give the calibration first, then this as VIEW=PATH, to mvgeom triangulate."
_PREDICT = "Predict its keypoints first, such as with mvtrain predict."

CALIBRATION = Role(
    expected="a calibration file or folder of a known format",
    refused=_refusals(
        "show",
        video=_CALIBRATE,
        image=_CALIBRATE,
        folder_of_videos=_CALIBRATE,
        folder_of_images=_CALIBRATE,
        hdf5=_WITH_KEYPOINTS,
        sleap_project="Give the calibration that belongs to it; mvgeom show --help lists the options.",
        keypoint_table=_WITH_KEYPOINTS,
        keypoint_json=_WITH_KEYPOINTS,
        folder_of_json=_WITH_KEYPOINTS,
        folder_of_tables="Give the calibration in it, then tables as VIEW=PATH to mvgeom triangulate.",
        coco="Give the calibration first; labels go through mvtrain import coco.",
        box_table="Tables of boxes belong to --boxes of mvgeom triangulate.",
    ),
)

KEYPOINTS = Role(
    expected="keypoints of one view",
    refused=_refusals(
        "triangulate",
        video=_PREDICT,
        image=_PREDICT,
        folder_of_videos=_PREDICT,
        folder_of_images=_PREDICT,
        calibration="The calibration comes first, without VIEW=; mvgeom triangulate --help shows the order.",
        folder_of_tables="Give the table of the view, such as {first}, to mvgeom triangulate.",
        box_table="Tables of boxes belong to --boxes.",
        sleap_project="Export it as analysis HDF5 and give that, or import it with mvtrain import sleap.",
        coco="Turn it into a project with mvtrain import coco, and give its tables CollectedData_<view>.csv.",
    ),
)

_BOXES_STEP = "mvgeom triangulate --help describes --boxes."
BOXES = Role(
    expected="a table of bounding boxes with columns x, y, h, w",
    refused=_refusals(
        "triangulate",
        **dict.fromkeys(
            ("video", "image", "folder_of_videos", "folder_of_images", "folder_of_json", "keypoint_json", "hdf5"),
            _BOXES_STEP,
        ),
        **dict.fromkeys(("calibration", "sleap_project", "coco", "folder_of_tables", "folder"), _BOXES_STEP),
        keypoint_table="Keypoints are given as VIEW=PATH without --boxes.",
    ),
)

_POSITIONS_STEP = "mvgeom place --help describes --points."
POSITIONS = Role(
    expected="a table of known positions with columns name, x, y, z",
    refused=_refusals(
        "place",
        **dict.fromkeys(
            ("video", "image", "folder_of_videos", "folder_of_images", "folder_of_json", "keypoint_json", "hdf5"),
            _POSITIONS_STEP,
        ),
        **dict.fromkeys(
            ("calibration", "sleap_project", "coco", "folder_of_tables", "folder", "box_table"), _POSITIONS_STEP
        ),
        keypoint_table="Clicks are given as CAMERA=PATH without --points.",
    ),
)

BOARD_STEP = "The page on calibration describes the file of --board; mvgeom calibrate --help has the other boards."
"""Next step for a path that describes no boards."""

BOARD_FILE = Role(
    expected="a TOML file that describes boards",
    refused=_refusals(
        "calibrate",
        **dict.fromkeys(
            ("video", "image", "folder_of_videos", "folder_of_images", "folder_of_json", "keypoint_json", "hdf5"),
            BOARD_STEP,
        ),
        **dict.fromkeys(
            ("calibration", "sleap_project", "coco", "folder_of_tables", "folder", "box_table", "keypoint_table"),
            BOARD_STEP,
        ),
        yaml=BOARD_STEP,
    ),
)

IMAGES_STEP = "Give a folder of images, a pattern in quotes or a video of the board; see mvgeom calibrate --help."
"""Next step for a path that has no images."""

IMAGES = Role(
    expected="images or a video of a board",
    refused=_refusals(
        "calibrate",
        **dict.fromkeys(
            ("keypoint_table", "keypoint_json", "folder_of_json", "hdf5", "coco", "box_table"), IMAGES_STEP
        ),
        **dict.fromkeys(("sleap_project", "folder_of_tables"), IMAGES_STEP),
        workbook=IMAGES_STEP,
        folder_of_videos="Give the video itself, such as {first}, to mvgeom calibrate.",
        calibration="Known intrinsics are given with --intrinsics.",
    ),
)


def check_roles(keypoints: dict[str, Path], boxes: dict[str, Path]) -> None:
    """Refuse keypoints and boxes, by view name, that are certainly something else; errors of `check_role`."""
    for view, path in keypoints.items():
        check_role(path, KEYPOINTS, f"view {view}")
    for view in boxes.keys() & keypoints.keys():
        check_role(boxes[view], BOXES, f"--boxes {view}")


def check_positions(path: Path) -> None:
    """Refuse a table of known positions that is certainly something else; errors of `check_role`."""
    check_role(path, POSITIONS, "--points")


@contextmanager
def next_step(step: str) -> Iterator[None]:
    """Add the next step to the error of a path that is of no format that is known.

    Raises:
        InputError: The error of the block; with the step, if its code is one of `_OTHER_CONTENT`.
    """
    try:
        yield
    except InputError as error:
        if error.code not in _OTHER_CONTENT:
            raise
        raise error.advised(step) from error
