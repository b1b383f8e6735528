"""Names of images, videos and folders: session, view and frame that they contain."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path, PurePosixPath

from mvgeom.errors import InputError
from mvgeom.files import composed, split_at_file

_TAILS = tuple(
    re.compile(expression, re.IGNORECASE)
    for expression in (
        r"[ _-](?:jpe?g|png|bmp|tiff?|webp)\.rf\.[0-9a-z]+$",  # Roboflow: img_0012_jpg.rf.<hash>
        r"[ _-]*\(\d+\)$",  # a second copy of a file: frame12 (2)
        r"[ _-]+copy(?:[ _-]*\d+)?$",
        r"[ _-]\d+x\d+(?:px)?$",  # a size: f_0012_1280x720
        r"[ _-]\d+(?:\.\d+)?(?:px|fps|hz|p)$",
        r"[ _.-][0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$",  # UUID
    )
)
"""Endings that programs append to the names of images."""
_HASH = re.compile(r"[ _.-]([0-9a-f]{8,})$", re.IGNORECASE)

DEFAULT_PATTERN = "<session>_<view>"

ONLY_SESSION = "session"
"""Session of names that contain only the view."""

TABLE = "CollectedData"
"""Name of the label tables before their view; also the view of a project whose only view has no name."""

ANYTHING = "*"
"""Part of a pattern that stands for any text, also for none, within one folder's or file's name."""

_MAX_STEPS = 10**8
"""Steps of a search for an expression in a name at most; Python takes some ten million in a second."""

_MAX_REGEX = 2000
"""Characters of an expression at most."""

_REPEATED_GROUP = re.compile(r"\)(?:[*+]|\{)")
_BACK_REFERENCE = re.compile(r"\\[1-9]|\(\?P=|\(\?\(")
_FIELDS = {"session": r"(?P<session>[^/]+)", "view": r"(?P<view>[^/]+)", "frame": r"(?P<frame>\d+)"}


def frame_number(name: str, view: str | None = None) -> int | None:
    """Return the last number of an image's name that is not part of a hash, a size, a copy number or the view.

    Where nothing else has digits, a copy number is the frame: `Image (12)` is frame 12.

    Args:
        name: File name without suffix.
        view: View of the image; its name at the end of the image's name is not a frame number, unless it is a number
            alone.

    Returns:
        Number of the frame; None for a name without digits.
    """
    numbers = re.findall(r"\d+", trim(name, view)) or re.findall(r"\d+", name)
    return int(numbers[-1]) if numbers else None


def trim(name: str, view: str | None = None) -> str:
    """Remove hashes, sizes, copy numbers and the view from the end of a name without suffix."""
    own = [] if not view or view.isdigit() else [re.compile(rf"(?<=.)[ _.-]{re.escape(view)}$")]
    expressions = [*_TAILS, *own]
    while True:
        shorter = next((short for expression in expressions if (short := expression.sub("", name)) != name), name)
        match = _HASH.search(name) if shorter == name else None  # last: Roboflow's hash is a part of its tail
        if match is not None and _is_hash(match[1]):
            shorter = name[: match.start()]
        if shorter == name:
            return name
        name = shorter


def _is_hash(token: str) -> bool:
    """Return True if letters and digits alternate more than once, which `bee00012` and `00001234` do not."""
    return sum(first.isdigit() != second.isdigit() for first, second in pairwise(token)) > 1


@dataclass(frozen=True, kw_only=True)
class NameParts:
    """Parts of a name.

    Attributes:
        session: Name of the recording.
        view: Name of the camera; "" where the name does not contain it.
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
        split: Function that splits the last `depth` parts of a path, joined by "/", without suffix; it returns None for
            a name that does not follow the rule.
        has_frame: True if names contain the frame, so that they are those of images, not of videos or folders.
        depth: Number of parts of the path that the rule is about, folders included.
        given: True if the user chose the rule, so that it comes before what a file says by itself.
        without_frame: Rule of the names of videos and folders, where this one is that of images; None: this one.
    """

    description: str
    split: Callable[[str], NameParts | None]
    has_frame: bool = False
    depth: int = 1
    given: bool = False
    without_frame: NameRule | None = None

    def split_path(self, path: PurePosixPath) -> NameParts | None:
        """Split the end of a path without suffix; None for one that does not follow the rule."""
        return self.split("/".join(path.parts[-self.depth :]))


def frame_of(image_name: str, view: str) -> tuple[str, str]:
    """Return session and file name of `labeled-data/<session>_<view>/<file name>`.

    The session of a folder that does not end in `_<view>` is its whole name, as in projects with one view.
    """
    path = as_posix(composed(image_name))
    return path.parent.name.removesuffix(f"_{view}"), path.name


def of_view(stem: str, view: str) -> str:
    """Return the name of a view's file, `<stem>_<view>`; the stem alone where the only view has no name of its own."""
    return stem if view == TABLE else f"{stem}_{view}"


def names_view(image_name: str, view: str) -> bool:
    """Return True if the image's folder ends in `_<view>`, so that its session can be compared between views."""
    return as_posix(composed(image_name)).parent.name.endswith(f"_{view}")


def split_view_paths(texts: Sequence[str]) -> list[tuple[str, Path]]:
    """Return view and path of values NAME=PATH of the option `--view`.

    Raises:
        InputError: A value has another form (`bad-option`).
    """
    found = []
    for text in texts:
        name, path = split_at_file(text)
        if not name or not path:
            raise InputError(
                f"--view: not NAME=PATH, found {text!r}, expected for example top=path/to/top",
                code="bad-option",
                option="--view",
                found=text,
            )
        found.append((composed(name), Path(path)))
    return found


def check_distinct(names: Sequence[str], origin: str, **facts: object) -> None:
    """Check that names are distinct.

    Args:
        names: Names of keypoints or views.
        origin: Place of the names, for messages.
        facts: Further facts of the error.

    Raises:
        InputError: A name occurs twice (`duplicate-name`).
    """
    twice = tuple(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise InputError(
            f"{origin}: the same name twice, found {', '.join(twice)}, expected distinct names",
            code="duplicate-name",
            found=twice,
            **facts,
        )


def pattern_rule(template: str, views: Sequence[str] = (), *, need_view: bool = True, given: bool = False) -> NameRule:
    """Make the rule of a template such as `<session>_<view>` or `<session>/<view>/Frame_<frame>`.

    Videos have no frame in their names: theirs is the part for the folders, else `DEFAULT_PATTERN`.

    A template with "/" is about the last folders of a path, too. Without `views`, `<session>` is as long as possible,
    so the view of `<session>_<view>` begins after the last "_". `<frame>` is a whole number, never some of its digits.

    Args:
        template: Text with `<view>`, and possibly `<session>`, `<frame>` and `*` for anything; everything else is
            literal.
        views: Names that views can have, of which the longest that fits is taken; empty: any name.
        need_view: False if the views are known without the names, so that the template can be without `<view>`.
        given: True if the user chose the template.

    Raises:
        InputError: A field is unknown, given twice, or `<view>` is missing (`bad-option`).
    """
    parts = re.split(r"<(\w*)>", template.strip("/"))
    fields = parts[1::2]
    lacks_view = need_view and "view" not in fields
    if lacks_view or not fields or len(set(fields)) != len(fields) or not set(fields) <= _FIELDS.keys():
        raise InputError(
            f"pattern {template!r} must have <view>, may have <session> and <frame>, each once, and * for anything, "
            f"such as {DEFAULT_PATTERN!r} or '<session>/<view>/*_<frame>'",
            code="bad-option",
            option="--pattern",
            found=template,
        )
    # One expression per view, the longest first, because one view's name may end in another's.
    alternatives = [f"(?P<view>{re.escape(view)})" for view in sorted(map(composed, views), key=len, reverse=True)]
    regexes = [re.compile(_expression(parts, {**_FIELDS, "view": view})) for view in alternatives or [_FIELDS["view"]]]

    def split(name: str) -> NameParts | None:
        match = next((match for regex in regexes if (match := regex.fullmatch(composed(name)))), None)
        if match is None:
            return None
        found = match.groupdict()
        frame = found.get("frame")
        return NameParts(
            session=(found.get("session") or "").strip() or ONLY_SESSION,
            view=found.get("view", ""),
            frame=None if frame is None else int(frame),
        )

    folders = template.strip("/").rpartition("/")[0]
    others = folders if "<view>" in folders and "<frame>" not in folders else DEFAULT_PATTERN
    return NameRule(
        description=repr(template),
        split=split,
        has_frame="frame" in fields,
        depth=template.strip("/").count("/") + 1,
        given=given,
        without_frame=pattern_rule(others, views, given=given) if "frame" in fields else None,
    )


def camera_regex_rule(expression: str) -> NameRule:
    """Make anipose's rule: the view is the first group of a regular expression, the session the rest of the name.

    Raises:
        InputError: The expression is not valid or has no group (`bad-value`, key `cam_regex`).
    """
    plain = re.sub(r"\\.|\[\^?\]?[^\]]*\]", "x", expression)  # without escapes and sets of characters
    if len(expression) > _MAX_REGEX or _REPEATED_GROUP.search(plain) or _BACK_REFERENCE.search(expression):
        raise InputError(
            f"cam_regex {expression[:80]!r} is too long or repeats a group, which can take for ever. Write it without "
            "quantifiers behind parentheses and without back references",
            code="bad-value",
            key="cam_regex",
            found=expression,
        )
    quantifiers, choices = _count_branches(plain)
    try:
        regex = re.compile(expression)
    except (re.error, OverflowError, RecursionError) as error:
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
        if choices * (len(name) + 1) ** (quantifiers + 1) > _MAX_STEPS:
            raise InputError(
                f"cam_regex {expression[:80]!r} can take for ever in the name {name[:80]!r}. Write it with fewer "
                "quantifiers, such as '-cam([a-z]+)$'",
                code="bad-value",
                key="cam_regex",
                found=expression,
            )
        name = composed(name)
        match = regex.search(name)
        if match is None or not (match[1] or "").strip():
            return None
        return NameParts(session=regex.sub("", name).strip() or ONLY_SESSION, view=match[1].strip())

    return NameRule(description=f"cam_regex {expression!r}", split=split)


def _count_branches(plain: str) -> tuple[int, int]:
    """Return the number of quantifiers without a bound, and the number of ways through alternatives and options.

    A search tries at most `ways * length ** (quantifiers + 1)` matches, because no group is repeated.

    Args:
        plain: Expression without escapes and sets of characters.
    """
    quantifiers = len(re.findall(r"[*+]|\{\d*,?\d*\}", plain))
    choices = 2 ** len(re.findall(r"(?<![(*+?}])\?(?![:=!<P])", plain))
    open_groups = [1]
    for character in plain:
        if character == "(":
            open_groups.append(1)
        elif character == "|":
            open_groups[-1] += 1
        elif character == ")" and len(open_groups) > 1:
            choices *= open_groups.pop()
    return quantifiers, choices * open_groups[0]


def split_name(path: str, view: str | None, rule: NameRule, origin: str) -> NameParts:
    """Split the path of a video or folder into session and view.

    Args:
        path: Path or name without suffix; backslashes are separators, too.
        view: View given by the user; the session is then the last part of the path, without the view where the rule
            finds it.
        rule: Rule that splits names.
        origin: Place of the name, for messages.

    Raises:
        InputError: No view is given and the name does not follow the rule (`bad-name`).
    """
    written = as_posix(path)
    parts = rule.split_path(written)
    if view is not None:
        if parts is not None and (rule.given or parts.view in (view, "")):
            return replace(parts, view=view)
        # A name with a frame is that of one image, never that of a session.
        if not rule.has_frame:
            return NameParts(session=ONLY_SESSION if written.name in ("", view) else written.name, view=view)
    if parts is None:
        name = "/".join(written.parts[-rule.depth :])
        shown = f"the name {name!r}" if name else "a path without a folder"
        raise InputError(
            f"{origin}: cannot tell session and view from {shown}, which does not look like {rule.description}. "
            "Describe the names with --pattern, or give the view of each source with --view NAME=PATH",
            code="bad-name",
            name=name,
        )
    return parts


def split_image_name(image: str, view: str | None, rule: NameRule, origin: str) -> NameParts:
    """Split an image path into session and view, from its folders, and frame, from the number in the file's name.

    With a rule that has frames, all three are from what the rule is about. What programs append to a name (a hash, a
    size, a copy number) is neither frame nor part of a rule; see `frame_number`.

    Raises:
        InputError: The names do not follow the rule, or the file's name has no number (`bad-name`).
    """
    path = as_posix(image)
    if rule.has_frame:
        name = path.with_name(path.stem) if path.name else path
        trimmed = path.with_name(trim(path.stem)) if trim(path.stem) else name
        chosen = trimmed if rule.split_path(name) is None and rule.split_path(trimmed) is not None else name
        parts = split_name(str(chosen), view, rule, origin)
    else:
        parts = split_name(str(path.parent), view, rule, origin)
    if parts.frame is None:
        parts = replace(parts, frame=frame_number(path.stem, parts.view))
    if parts.frame is None:
        raise InputError(
            f"{origin}: the name {path.name!r} has no number that tells the frame, so it cannot be matched with other "
            "views. Describe the names with --pattern, such as '<session>_<view>_<frame>'",
            code="bad-name",
            name=path.name,
        )
    return parts


def as_posix(path: str) -> PurePosixPath:
    """Return a path of any system with "/" between its parts; `C:` is a part like any other."""
    return PurePosixPath(path.replace("\\", "/"))


def _expression(parts: Sequence[str], fields: Mapping[str, str]) -> str:
    """Return the regular expression of texts, at even places, and names of fields between them."""
    expression = ""
    for number, part in enumerate(parts):
        if number % 2 == 0:
            expression += re.escape(part).replace(re.escape(ANYTHING), "[^/]*")
        elif part == "frame":
            # A whole number, unless the pattern itself has digits beside it.
            before = "" if parts[number - 1][-1:].isdigit() else r"(?<!\d)"
            after = "" if parts[number + 1][:1].isdigit() else r"(?!\d)"
            expression += before + fields[part] + after
        else:
            expression += fields[part]
    return expression
