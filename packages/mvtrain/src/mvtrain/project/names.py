"""What an image path says about a frame: the session it was filmed in, and which frame of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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


DEFAULT_PATTERN = "<session>_<view>"

ONLY_SESSION = "session"
"""Session of names that tell only the view."""

_FIELDS = {"session": r"(?P<session>.+)", "view": r"(?P<view>.+)", "frame": r"(?P<frame>\d+)"}


@dataclass(frozen=True, kw_only=True)
class NameParts:
    """What a name was taken apart into.

    Attributes:
        session: the recording.
        view: the camera.
        frame: number of the frame, None where the name does not tell it.
    """

    session: str
    view: str
    frame: int | None = None


@dataclass(frozen=True, kw_only=True)
class NameRule:
    """How names of videos, folders or images are taken apart.

    Attributes:
        description: of the rule, for messages.
        split: a name without suffix to its parts; None for a name that does not follow the rule.
        has_frame: whether names tell the frame, so that they are those of images and not of videos or folders.
    """

    description: str
    split: Callable[[str], NameParts | None]
    has_frame: bool = False


def pattern_rule(template: str, views: Sequence[str] = ()) -> NameRule:
    """The rule of a template such as `<session>_<view>` or `<view>-<session>_<frame>`.

    Without `views`, `<session>` takes as much as it can, so a view is what follows the last "_" of `<session>_<view>`.

    Args:
        template: text with `<view>`, and possibly `<session>` and `<frame>`; everything else stands for itself.
        views: the names that views can have, of which the longest that fits counts; empty: any.

    Raises:
        ValueError: a field is unknown, given twice, or `<view>` is missing.
    """
    parts = re.split(r"<(\w*)>", template)
    fields = parts[1::2]
    if "view" not in fields or len(set(fields)) != len(fields) or not set(fields) <= _FIELDS.keys():
        raise ValueError(
            f"pattern {template!r} must have <view>, may have <session> and <frame>, each once, such as "
            f"{DEFAULT_PATTERN!r} or '<view>-<session>_<frame>'"
        )
    # One expression per view, the longest first, because one view's name may end in another's.
    alternatives = [f"(?P<view>{re.escape(view)})" for view in sorted(views, key=len, reverse=True)]
    regexes = [re.compile(_expression(parts, {**_FIELDS, "view": view})) for view in alternatives or [_FIELDS["view"]]]

    def split(name: str) -> NameParts | None:
        match = next((match for regex in regexes if (match := regex.fullmatch(name))), None)
        if match is None:
            return None
        found = match.groupdict()
        frame = found.get("frame")
        return NameParts(
            session=found.get("session", ONLY_SESSION), view=found["view"], frame=None if frame is None else int(frame)
        )

    return NameRule(description=repr(template), split=split, has_frame="frame" in fields)


def _expression(parts: Sequence[str], fields: Mapping[str, str]) -> str:
    """A regular expression of texts, at even places, and names of fields between them."""
    return "".join(fields[part] if number % 2 else re.escape(part) for number, part in enumerate(parts))


def camera_regex_rule(expression: str) -> NameRule:
    """anipose's rule: the view is the first group of a regular expression, the session is what it leaves of the name.

    Raises:
        ValueError: the expression is none, or has no group.
    """
    try:
        regex = re.compile(expression)
    except re.error as error:
        raise ValueError(f"cam_regex {expression!r} is not a regular expression: {error}") from error
    if regex.groups == 0:
        raise ValueError(f"cam_regex {expression!r} needs a group in parentheses, which is the camera's name")

    def split(name: str) -> NameParts | None:
        match = regex.search(name)
        if match is None or not (match[1] or "").strip():
            return None
        return NameParts(session=regex.sub("", name).strip() or ONLY_SESSION, view=match[1].strip())

    return NameRule(description=f"cam_regex {expression!r}", split=split)


def split_name(name: str, view: str | None, rule: NameRule, origin: str) -> NameParts:
    """Session and view of a video or folder.

    Args:
        name: without suffix.
        view: that the user said; the name then tells the session only, with the view taken off where the rule finds it.
        rule: how names are made.
        origin: where the name stands, for messages.

    Raises:
        ValueError: no view was said and the name does not follow the rule.
    """
    parts = rule.split(name)
    if view is not None:
        return parts if parts is not None and parts.view == view else NameParts(session=name, view=view)
    if parts is None:
        raise ValueError(
            f"{origin}: cannot tell session and view from the name {name!r}, which does not look like "
            f"{rule.description}; say how names are made with --pattern, or which source is which view with "
            "--view NAME=PATH"
        )
    return parts


def split_image_name(image: str, view: str | None, rule: NameRule, origin: str) -> NameParts:
    """Session, view and frame of an image path: its folder tells the first two and its number the frame.

    With a rule that has frames, the file's own name tells everything.

    Raises:
        ValueError: the names do not follow the rule, or the file's name has no number.
    """
    path = PurePosixPath(image.replace("\\", "/"))
    parts = split_name(path.stem if rule.has_frame else path.parent.name, view, rule, origin)
    if parts.frame is None:
        parts = NameParts(session=parts.session, view=parts.view, frame=frame_number(path.stem))
    if parts.frame is None:
        raise ValueError(
            f"{origin}: the name {path.name!r} has no number that tells the frame, so it cannot be matched with other "
            "views; say how names are made with --pattern, such as '<session>_<view>_<frame>'"
        )
    return parts


def frame_number(name: str) -> int | None:
    """The last number in a name; None without any."""
    numbers = re.findall(r"\d+", name)
    return int(numbers[-1]) if numbers else None
