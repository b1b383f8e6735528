"""Output of commands that write rigs: checks of the file beforehand, the current stage, and the end at errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mvgeom.cli.options import check_output
from mvgeom.cli.output import print_output
from mvgeom.errors import InputError
from mvgeom.files import file_name

if TYPE_CHECKING:
    from mvgeom.calibration import Finding
    from mvgeom.cameras import CameraGroup

__all__ = [
    "check_output_name",
    "check_rig_files",
    "check_rig_output",
    "reading_options",
    "report_files",
    "save_rig",
    "status",
    "stderr_console",
    "stop_at_errors",
]


def check_rig_files(
    output: Path, inputs: Iterable[Path | None], further: Iterable[Path] = (), *, source: Path | None = None
) -> None:
    """Check the files of a command that writes a calibration, before it works; see `check_output`.

    Args:
        output: Calibration to write.
        inputs: Paths that the command reads and must not replace.
        further: Further files that the command writes.
        source: Calibration whose clocks `save_rig` copies; None without one.

    Raises:
        InputError: `unwritable-file`, if the calibration is named like the clocks of one, or clocks lie where the
            calibration would be read with them although they are not its own; errors of `check_output`, and of
            `find_clocks`.
    """
    from mvgeom.clock_files import CLOCKS_SUFFIX, clocks_file, find_clocks

    if output.name.lower().endswith(CLOCKS_SUFFIX):
        raise InputError(
            f"{output}: a name that ends in {CLOCKS_SUFFIX} is that of offsets in time, not of a calibration. Give "
            "another path to write.",
            code="unwritable-file",
            path=output,
        )
    clocks = None if source is None or find_clocks(source) is None else clocks_file(source)
    # A folder that is not there yet counts its suffix to its name.
    beside = (clocks_file(output), output.with_name(f"{output.name}{CLOCKS_SUFFIX}"))
    foreign = next((each for each in beside if clocks is None and each.is_file()), None)
    if foreign is not None:
        raise InputError(
            f"{output}: would be read with the offsets in time of {foreign}, which are not of this calibration. Move "
            "that file away, or give another path to write.",
            code="unwritable-file",
            path=output,
            other=foreign,
        )
    copied = [] if clocks is None or clocks.resolve() == clocks_file(output).resolve() else [clocks_file(output)]
    check_output(output, inputs, [*further, *copied])


def save_rig(
    cameras: CameraGroup,
    output: Path,
    source: Path | None = None,
    *,
    file_format: str | None = None,
    keep_metadata: bool = False,
) -> None:
    """Save a calibration, with a copy of the clocks that lie beside another one.

    Args:
        cameras: Cameras to save.
        output: Calibration to write; see `check_rig_files`.
        source: Calibration with the clocks; None without one.
        file_format: Name of the format; None selects it by the suffix.
        keep_metadata: True to copy the table `[metadata]` from TOML to TOML: the cameras are those of `source`.
    """
    from mvgeom.clock_files import copy_clocks
    from mvgeom.formats import FORMATS, anipose, pose2sim

    options: dict[str, Any] = {}
    with_metadata = (anipose.NAME, pose2sim.NAME)
    target = file_format or (anipose.NAME if output.suffix.lower() in anipose.SUFFIXES else "")
    if keep_metadata and source is not None and target in with_metadata:
        found = next((each.NAME for each in FORMATS.values() if each.matches(source)), "")
        options["metadata"] = anipose.further_tables(source).get("metadata") if found in with_metadata else None
    cameras.save(output, file_format=file_format, **options)
    clocks = copy_clocks(source, output) if source is not None else None
    if clocks is not None:
        print_output(f"offsets in time: {clocks}")


def check_rig_output(output: Path, coefficients: Mapping[str, int], fisheye: Sequence[bool] = ()) -> None:
    """Raise an InputError if the format cannot hold such a rig, by saving one to a temporary folder beforehand.

    Args:
        output: Calibration to write.
        coefficients: Number of stored distortion coefficients by camera name.
        fisheye: True for each camera with a fisheye lens; empty for none.
    """
    import tempfile

    import numpy as np

    from mvgeom.cameras import CameraGroup

    check_output_name(output)
    count, longest = len(coefficients), max(coefficients.values())
    rig = CameraGroup(
        names=tuple(coefficients),
        sizes=np.full((count, 2), 100.0),
        matrix=np.tile(np.diag([100.0, 100.0, 1.0]), (count, 1, 1)),
        distortion=[np.pad(np.full(each, 1e-9), (0, longest - each)) for each in coefficients.values()],
        rotation=np.tile(np.eye(3), (count, 1, 1)),
        translation=np.arange(3.0 * count).reshape(count, 3),
        fisheye=tuple(fisheye),
    )
    with tempfile.TemporaryDirectory() as folder:
        rig.save(Path(folder) / output.name)


def check_output_name(output: Path) -> None:
    """Raise an InputError if no format has the suffix of the calibration to write."""
    from mvgeom.formats import FORMATS

    known = [suffix for each in FORMATS.values() for suffix in each.SUFFIXES]
    if not output.name.lower().endswith(tuple(known)):
        raise InputError(
            f"{output}: unknown suffix, expected one of {', '.join(known)}",
            code="unknown-format",
            path=output,
        )


def report_files(folder: Path | None, names: Iterable[str]) -> list[Path]:
    """Return the files that a report of these cameras may consist of; none without a folder."""
    if folder is None:
        return []
    figures = [folder / file_name(f"{name}{end}") for name in names for end in (".png", "_boards.png")]
    return [folder / "report.json", folder / "residuals.csv", *figures]


def reading_options(output: Path, cameras: CameraGroup) -> list[str]:
    """Return the options with which a command reads a calibration that was written: what its format does not hold."""
    import warnings

    from mvgeom import formats

    options: list[str] = []
    with warnings.catch_warnings(action="ignore"):  # the command that reads it will show them
        try:
            names = formats.load(output).names
        except InputError as error:
            if error.code != "missing-size":
                return []
            names = formats.load(output, sizes=(1.0, 1.0)).names
            options = _size_options(cameras)
    if set(names) != set(cameras.names):
        options += ["-O", f"names={','.join(cameras.names)}"]
    return options


def _size_options(cameras: CameraGroup) -> list[str]:
    sizes = [f"{width:.0f}x{height:.0f}" for width, height in cameras.sizes]
    if len(set(sizes)) == 1:
        return ["--size", sizes[0]]
    return [part for name, size in zip(cameras.names, sizes, strict=True) for part in ("--size", f"{name}={size}")]


def stop_at_errors(findings: Iterable[Finding], output: Path, *, force: bool) -> None:
    """End the command with exit code 1 if an error was found, unless the calibration is to be written all the same."""
    if force or all(each.severity != "error" for each in findings):
        return
    print_output(f"{output} was not written; --force writes it all the same")
    raise typer.Exit(1)


def stderr_console() -> Any:
    """Return a console on standard error."""
    from rich.console import Console

    return Console(stderr=True)


@contextmanager
def status(text: str) -> Iterator[Callable[[str], None]]:
    """Show the current stage in one line on a terminal; print nothing without a terminal."""
    with stderr_console().status(text) as shown:
        yield shown.update
