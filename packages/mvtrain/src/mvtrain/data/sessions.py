"""What an image path says about a frame: the session it was filmed in, and which frame of it."""

from __future__ import annotations

from pathlib import PurePosixPath


def frame_of(image_name: str, view: str) -> tuple[str, str]:
    """Session and file name of `labeled-data/<session>_<view>/<file name>`.

    A folder that does not end in `_<view>` is the session as it stands, as in projects with one view.
    """
    path = PurePosixPath(image_name.replace("\\", "/"))
    return path.parent.name.removesuffix(f"_{view}"), path.name


def names_view(image_name: str, view: str) -> bool:
    """Whether the image's folder ends in `_<view>`, so that its session can be compared between views."""
    return PurePosixPath(image_name.replace("\\", "/")).parent.name.endswith(f"_{view}")
