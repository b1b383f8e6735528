"""Options that the commands share, the parsing of their texts, and checks of paths."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mvgeom.errors import InputError

if TYPE_CHECKING:
    from mvgeom.cameras import CameraGroup

CalibrationArgument = Annotated[Path, typer.Argument(help="Calibration file or folder, of any format that is known.")]
SizeOption = Annotated[
    list[str] | None,
    typer.Option("--size", metavar="WxH", help="Image size where the file has none; NAME=WxH for one camera (repeat)."),
]
FormatOption = Annotated[
    str | None,
    typer.Option("--from", metavar="FORMAT", help="Format of the calibration; found by its content if left out."),
]
ReadOption = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        "-O",
        metavar="KEY=VALUE",
        help="How to read the calibration (repeat): frame=3 (Pose2Sim, moving cameras); names=a,b origin=lower-left "
        "(DLT); extrinsics=FILE names=a,b (OpenCV stereo); one_based=false (DANNCE).",
    ),
]


def check_inputs(*paths: Path) -> None:
    """Raise an InputError for the first path that does not exist; nothing is opened."""
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: no such file or folder", code="missing-file", path=path)


def check_output(path: Path | None) -> None:
    """Raise an InputError if the folder that an output goes into does not exist; None is no output."""
    if path is not None and not path.parent.is_dir():
        raise InputError(
            f"{path}: there is no folder {path.parent}. Create it first.", code="missing-file", path=path.parent
        )


def load_calibration(
    path: Path, source_format: str | None = None, size: list[str] | None = None, option: list[str] | None = None
) -> CameraGroup:
    """The calibration that a command names.

    Args:
        path: file or folder.
        source_format: value of `FormatOption`.
        size: values of `SizeOption`.
        option: values of `ReadOption`.

    Raises:
        ValueError: for options that are not of their form or not of the format; see `mvgeom.formats.load`.
    """
    from mvgeom import formats

    options: dict[str, Any] = {
        key: _OPTION_TYPES.get(key, str)(text) for key, text in parse_pairs(option or [], "--option KEY=VALUE").items()
    }
    if size:
        options["sizes"] = _sizes(size)
    return formats.load(path, file_format=source_format, **options)


def _frame(text: str) -> int:
    if not text.isdecimal():
        raise InputError(
            f"--option frame must be a whole number from 0, got {text!r}",
            code="bad-option",
            option="--option",
            key="frame",
            found=text,
        )
    return int(text)


def _names(text: str) -> list[str]:
    return text.split(",")


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise InputError(
            f"--option one_based must be true or false, got {text!r}",
            code="bad-option",
            option="--option",
            key="one_based",
            found=text,
        )
    return text.lower() == "true"


_OPTION_TYPES: dict[str, Callable[[str], Any]] = {"frame": _frame, "names": _names, "one_based": _truth}


def _sizes(values: list[str]) -> tuple[int, int] | dict[str, tuple[int, int]]:
    """One size for all cameras, or sizes by name."""
    if len(values) == 1 and "=" not in values[0]:
        return parse_size(values[0], "--size")
    return {name: parse_size(text, "--size") for name, text in parse_pairs(values, "--size NAME=WxH").items()}


def parse_size(text: str, option: str) -> tuple[int, int]:
    """Width and height from `1280x1024`.

    Raises:
        ValueError: for another form; the message names the option.
    """
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise InputError(
            f"{option} must be WIDTHxHEIGHT in px, such as 1280x1024, got {text!r}",
            code="bad-option",
            option=option,
            found=text,
        )
    return int(width), int(height)


def parse_pairs(values: list[str], form: str) -> dict[str, str]:
    """A mapping from `NAME=TEXT` arguments.

    Raises:
        ValueError: for another form (the message repeats `form`), or a name that is given twice.
    """
    pairs: dict[str, str] = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not (name and equals and text):
            raise InputError(f"expected {form}, got {value!r}", code="bad-option", option=form, found=value)
        if name in pairs:
            raise InputError(f"{form}: {name!r} is given twice", code="duplicate-name", option=form, name=name)
        pairs[name] = text
    return pairs


def parse_view_files(values: list[str], form: str) -> dict[str, Path]:
    """Files by view from `VIEW=FILE` arguments; errors as in `parse_pairs`."""
    return {view: Path(text) for view, text in parse_pairs(values, form).items()}
