"""Options shared by the commands, their parsing, and checks of paths."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mvgeom.errors import InputError
from mvgeom.files import composed, list_matches, on_disk, split_at_file

if TYPE_CHECKING:
    from mvgeom.cameras import CameraGroup

__all__ = [
    "CalibrationArgument",
    "FormatOption",
    "ReadOption",
    "SizeOption",
    "check_inputs",
    "check_output",
    "check_table_name",
    "files_beside",
    "load_calibration",
    "number_check",
    "parse_options",
    "parse_pairs",
    "parse_size",
    "parse_sizes",
    "parse_two",
    "parse_view_files",
    "positive",
    "same_reading",
]

CalibrationArgument = Annotated[
    Path, typer.Argument(metavar="CALIBRATION", help="Calibration file or folder, of any format that is known.")
]
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
        "(DLT); extrinsics=FILE names=a,b (OpenCV stereo); names=a,b (AcinoSet); one_based=false (DANNCE); "
        "fisheye=true or false (multical).",
    ),
]


def number_check(option: str, expected: str, accepts: Callable[[Any], bool]) -> Callable[[Any], Any]:
    """Return a callback for an option with a number, which refuses NaN, infinity and what `accepts` does not accept.

    Args:
        option: Name of the option, for the message.
        expected: Description of the numbers that are accepted.
        accepts: Function that returns True for such a number.
    """

    def check(value: Any) -> Any:
        if value is None or (math.isfinite(value) and accepts(value)):
            return value
        raise InputError(
            f"{option}: must be {expected}, found {value:g}", code="bad-option", option=option, found=value
        )

    return check


def positive(option: str) -> Callable[[Any], Any]:
    """Return a callback for an option with a finite number above 0; see `number_check`."""
    return number_check(option, "a positive number", lambda value: value > 0)


def check_inputs(*paths: Path) -> None:
    """Raise an InputError for the first path that does not exist; no file is opened."""
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: no such file or folder", code="missing-file", path=path)


def check_output(path: Path | None, inputs: Iterable[Path | None], further: Iterable[Path] = ()) -> None:
    """Check the files that a command is about to write, before it works.

    Args:
        path: Output whose folder must exist; None means no output.
        inputs: Files, folders and patterns that the command reads; None is skipped. A file that the output may replace,
            such as a calibration that is converted in place, is left out by the caller.
        further: Further files that the command writes, in folders that it makes itself.

    Raises:
        InputError: `missing-file`, if the folder of the output does not exist; `unwritable-file`, if an output would
            replace an input, also by another name of the same file, or another output.
    """
    if path is not None and not path.parent.is_dir():
        raise InputError(
            f"{path}: the folder {path.parent} does not exist. Create it first.", code="missing-file", path=path.parent
        )
    written = [*([] if path is None else [path]), *further]
    given = [each for each in inputs if each is not None]
    for number, output in enumerate(written):
        for each in given:
            if _is_same(output, each) or _is_read_from(output, each):
                raise InputError(
                    f"{output}: would replace {each}, which this command reads. Give another path to write.",
                    code="unwritable-file",
                    path=output,
                    other=each,
                )
        for each in written[:number]:
            if _is_same(output, each):
                raise InputError(
                    f"{output}: would be written twice, also as {each}. Give another path for one of them.",
                    code="unwritable-file",
                    path=output,
                    other=each,
                )


def check_table_name(path: Path) -> None:
    """Raise an InputError, `unknown-format`, if the table to write is not named as a CSV table, which it is."""
    if path.suffix.lower() != ".csv":
        raise InputError(
            f"{path}: unknown suffix, found {path.suffix!r}, expected .csv. The table is written as CSV.",
            code="unknown-format",
            path=path,
        )


def files_beside(calibration: Path, option: list[str] | None = None, *, clocks: bool = True) -> list[Path]:
    """Return the existing files that are read with a calibration: its clocks, and that of `-O extrinsics=FILE`.

    Args:
        calibration: Path of the calibration.
        option: Values of `ReadOption`; None if not given.
        clocks: False for a command that does not read the clocks.
    """
    from mvgeom.clock_files import clocks_file

    named = parse_options(option or [])
    beside = [clocks_file(calibration)] if clocks else []
    beside += [Path(named["extrinsics"])] if "extrinsics" in named else []
    return [path for path in beside if path.is_file()]


def _is_same(one: Path, other: Path) -> bool:
    """Return True if two paths are those of one file or folder, which need not exist."""
    if one.resolve() == other.resolve():
        return True
    return one.exists() and other.exists() and one.samefile(other)


def _is_read_from(output: Path, source: Path) -> bool:
    """Return True if an existing file is read as one of a folder or pattern: images, or JSON files of keypoints."""
    if source.is_file() or not output.is_file():
        return False
    from mvgeom.path_kinds import IMAGE_SUFFIXES, has_files

    folder, found = source if source.is_dir() else source.parent, output.resolve()
    if not folder.is_dir() or found.parent != folder.resolve():
        return False
    if source.is_dir():
        read = IMAGE_SUFFIXES if has_files(source, IMAGE_SUFFIXES) else (".json",)
        return found.suffix.lower() in read
    return found in {each.resolve() for each in list_matches(source)}


def load_calibration(
    path: Path,
    source_format: str | None = None,
    size: list[str] | None = None,
    option: list[str] | None = None,
    *,
    views: Iterable[str] | None = None,
) -> CameraGroup:
    """Load the calibration given to a command.

    Args:
        path: Path of the calibration file or folder.
        source_format: Value of `FormatOption`; None if not given.
        size: Values of `SizeOption`; None if not given.
        option: Values of `ReadOption`; None if not given.
        views: Names of the cameras to return, in this order; None: all.

    Raises:
        InputError: `missing-view`, if the calibration lacks one of the views; `bad-option`, if an option has a wrong
            form; `unknown-choice`, if the format has no such option;
            `unsupported-file`, if the path is certainly something else; see also `mvgeom.formats.load`.
    """
    from mvgeom import formats
    from mvgeom.cli.roles import CALIBRATION, next_step
    from mvgeom.path_kinds import check_role

    if source_format is None and not any(each.matches(path) for each in formats.FORMATS.values()):
        check_role(path, CALIBRATION)
    options: dict[str, Any] = {
        key: _OPTION_TYPES.get(key, str)(text) for key, text in parse_options(option or []).items()
    }
    if size:
        options["sizes"] = parse_sizes(size)
    with next_step("mvgeom convert --help lists the formats, --from forces one."):
        cameras = formats.load(path, file_format=source_format, **options)
    try:
        return cameras if views is None else cameras.select(views)
    except InputError as error:
        raise error.prefixed(f"{path}: ", path=path) from error


def _frame(text: str) -> int:
    if not text.isdecimal():
        raise InputError(
            f"--option frame: must be a whole number from 0, found {text!r}",
            code="bad-option",
            option="--option",
            key="frame",
            found=text,
        )
    return int(text)


def _names(text: str) -> list[str]:
    return text.split(",")


def _truth(key: str) -> Callable[[str], bool]:
    """Return the parser of an option that is a truth value."""

    def parse(text: str) -> bool:
        if text.lower() not in ("true", "false"):
            raise InputError(
                f"--option {key}: must be true or false, found {text!r}",
                code="bad-option",
                option="--option",
                key=key,
                found=text,
            )
        return text.lower() == "true"

    return parse


_OPTION_TYPES: dict[str, Callable[[str], Any]] = {
    "extrinsics": Path,
    "fisheye": _truth("fisheye"),
    "frame": _frame,
    "names": _names,
    "one_based": _truth("one_based"),
    "origin": str,
    "sizes": lambda text: parse_size(text, "--option sizes"),
}
"""Parsers of the options of all formats."""


def parse_sizes(values: list[str]) -> tuple[int, int] | dict[str, tuple[int, int]]:
    """Parse one size for all cameras, or sizes by name."""
    if len(values) == 1 and "=" not in values[0]:
        return parse_size(values[0], "--size")
    return {name: parse_size(text, "--size") for name, text in parse_pairs(values, "--size NAME=WxH").items()}


def parse_size(text: str, option: str) -> tuple[int, int]:
    """Parse width and height in px from a text such as `1280x1024`.

    Raises:
        InputError: `bad-option`, if the text has another form; the message names the option.
    """
    return parse_two(text, option, "WIDTHxHEIGHT in px, such as 1280x1024")


def parse_two(text: str, option: str, expected: str) -> tuple[int, int]:
    """Parse two whole numbers above 0 from a text such as `9x6`.

    Args:
        text: Text of the option.
        option: Name of the option, for the message.
        expected: Description of the form, for the message.

    Raises:
        InputError: `bad-option`, if the text has another form.
    """
    first, _, second = text.lower().partition("x")
    if not (first.isdecimal() and second.isdecimal() and int(first) and int(second)):
        raise InputError(
            f"{option}: wrong form, found {text!r}, expected {expected}", code="bad-option", option=option, found=text
        )
    return int(first), int(second)


def parse_pairs(values: list[str], form: str) -> dict[str, str]:
    """Parse a mapping from `NAME=TEXT` arguments; a name may have `=`, a text may not.

    Raises:
        InputError: `bad-option`, if an argument has another form (the message repeats `form`); `duplicate-name`, if a
            name is given twice.
    """
    return _distinct(((value, *value.rpartition("=")[::2]) for value in values), form)


def parse_options(values: list[str]) -> dict[str, str]:
    """Parse the values of `ReadOption`, whose texts may have `=`; errors as in `parse_pairs`."""
    return _distinct(((value, *value.partition("=")[::2]) for value in values), "--option KEY=VALUE")


def parse_view_files(values: list[str], form: str) -> dict[str, Path]:
    """Parse files by view name from `VIEW=FILE` arguments; errors as in `parse_pairs`.

    Where both may have `=`, the view is what stands before the first one that a file's path follows.
    """
    named = _distinct(((value, *split_at_file(value)) for value in values), form)
    return {view: on_disk(Path(text)) for view, text in named.items()}


def _distinct(splits: Iterable[tuple[str, str, str]], form: str) -> dict[str, str]:
    """Return texts by name of arguments that are split."""
    pairs: dict[str, str] = {}
    for value, name, text in splits:
        if not (name and text):
            raise InputError(f"{form}: wrong form, found {value!r}", code="bad-option", option=form, found=value)
        if composed(name) in pairs:
            raise InputError(f"{form}: {name!r} is given twice", code="duplicate-name", option=form, name=name)
        pairs[composed(name)] = text
    return pairs


def same_reading(source_format: str | None, size: list[str] | None, option: list[str] | None) -> list[str]:
    """Return the options of another command that reads the same calibration alike.

    Args:
        source_format: Value of `FormatOption`.
        size: Values of `SizeOption`.
        option: Values of `ReadOption`.
    """
    options = [] if source_format is None else ["--from", source_format]
    options += [part for each in size or [] for part in ("--size", each)]
    return options + [part for each in option or [] for part in ("-O", each)]
