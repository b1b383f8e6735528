"""Names of images, videos and folders: session, view and frame that they contain."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from mvgeom.errors import InputError

DEFAULT_PATTERN = "<session>_<view>"

ONLY_SESSION = "session"
"""Session of names that contain only the view."""

_FIELDS = {"session": r"(?P<session>.+)", "view": r"(?P<view>.+)", "frame": r"(?P<frame>\d+)"}


@dataclass(frozen=True, kw_only=True)
class NameParts:
    """Parts of a name.

    Attributes:
        session: Name of the recording.
        view: Name of the camera.
        frame: Number of the frame, None where the name does not contain it.
    """

    session: str
    view: str
    frame: int | None = None


@dataclass(frozen=True, kw_only=True)
class NameRule:
    """Rule that splits names of videos, folders or images.

    Attributes:
        description: Description of the rule, for messages.
        split: Function that splits a name without suffix; it returns None for a name that does not follow the rule.
        has_frame: True if names contain the frame, so that they are those of images, not of videos or folders.
    """

    description: str
    split: Callable[[str], NameParts | None]
    has_frame: bool = False


def frame_of(image_name: str, view: str) -> tuple[str, str]:
    """Return session and file name of `labeled-data/<session>_<view>/<file name>`.

    The session of a folder that does not end in `_<view>` is its whole name, as in projects with one view.
    """
    path = PurePosixPath(image_name.replace("\\", "/"))
    return path.parent.name.removesuffix(f"_{view}"), path.name


def names_view(image_name: str, view: str) -> bool:
    """Return True if the image's folder ends in `_<view>`, so that its session can be compared between views."""
    return PurePosixPath(image_name.replace("\\", "/")).parent.name.endswith(f"_{view}")


def pattern_rule(template: str, views: Sequence[str] = ()) -> NameRule:
    """Make the rule of a template such as `<session>_<view>` or `<view>-<session>_<frame>`.

    Without `views`, `<session>` is as long as possible, so the view of `<session>_<view>` begins after the last "_".

    Args:
        template: Text with `<view>`, and possibly `<session>` and `<frame>`; everything else is literal.
        views: Names that views can have, of which the longest that fits is taken; empty: any name.

    Raises:
        InputError: A field is unknown, given twice, or `<view>` is missing (`bad-option`).
    """
    parts = re.split(r"<(\w*)>", template)
    fields = parts[1::2]
    if "view" not in fields or len(set(fields)) != len(fields) or not set(fields) <= _FIELDS.keys():
        raise InputError(
            f"pattern {template!r} must have <view>, may have <session> and <frame>, each once, such as "
            f"{DEFAULT_PATTERN!r} or '<view>-<session>_<frame>'",
            code="bad-option",
            option="--pattern",
            found=template,
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


def camera_regex_rule(expression: str) -> NameRule:
    """Make anipose's rule: the view is the first group of a regular expression, the session the rest of the name.

    Raises:
        InputError: The expression is not valid or has no group (`bad-value`, key `cam_regex`).
    """
    try:
        regex = re.compile(expression)
    except re.error as error:
        raise InputError(
            f"cam_regex {expression!r} is not a regular expression: {error}",
            code="bad-value",
            key="cam_regex",
            found=expression,
        ) from error
    if regex.groups == 0:
        raise InputError(
            f"cam_regex {expression!r} needs a group in parentheses, which is the camera's name",
            code="bad-value",
            key="cam_regex",
            found=expression,
        )

    def split(name: str) -> NameParts | None:
        match = regex.search(name)
        if match is None or not (match[1] or "").strip():
            return None
        return NameParts(session=regex.sub("", name).strip() or ONLY_SESSION, view=match[1].strip())

    return NameRule(description=f"cam_regex {expression!r}", split=split)


def split_name(name: str, view: str | None, rule: NameRule, origin: str) -> NameParts:
    """Split the name of a video or folder into session and view.

    Args:
        name: Name without suffix.
        view: View given by the user; the name is then the session, without the view where the rule finds it.
        rule: Rule that splits names.
        origin: Place of the name, for messages.

    Raises:
        InputError: No view is given and the name does not follow the rule (`bad-name`).
    """
    parts = rule.split(name)
    if view is not None:
        return parts if parts is not None and parts.view == view else NameParts(session=name, view=view)
    if parts is None:
        raise InputError(
            f"{origin}: cannot tell session and view from the name {name!r}, which does not look like "
            f"{rule.description}. Describe the names with --pattern, or give the view of each source with "
            "--view NAME=PATH",
            code="bad-name",
            name=name,
        )
    return parts


def split_image_name(image: str, view: str | None, rule: NameRule, origin: str) -> NameParts:
    """Split an image path into session and view, from its folder, and frame, from the number in the file's name.

    With a rule that has frames, all three are from the file's name.

    Raises:
        InputError: The names do not follow the rule, or the file's name has no number (`bad-name`).
    """
    path = PurePosixPath(image.replace("\\", "/"))
    parts = split_name(path.stem if rule.has_frame else path.parent.name, view, rule, origin)
    if parts.frame is None:
        parts = NameParts(session=parts.session, view=parts.view, frame=frame_number(path.stem))
    if parts.frame is None:
        raise InputError(
            f"{origin}: the name {path.name!r} has no number that tells the frame, so it cannot be matched with other "
            "views. Describe the names with --pattern, such as '<session>_<view>_<frame>'",
            code="bad-name",
            name=path.name,
        )
    return parts


def frame_number(name: str) -> int | None:
    """Return the last number in a name; None without any."""
    numbers = re.findall(r"\d+", name)
    return int(numbers[-1]) if numbers else None


def _expression(parts: Sequence[str], fields: Mapping[str, str]) -> str:
    """Return the regular expression of texts, at even places, and names of fields between them."""
    return "".join(fields[part] if number % 2 else re.escape(part) for number, part in enumerate(parts))
