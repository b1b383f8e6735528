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

__all__ = [
    "check_output_name",
    "check_rig_files",
    "check_rig_output",
    "report_files",
    "status",
    "stderr_console",
    "stop_at_errors",
]


def check_rig_files(output: Path, inputs: Iterable[Path | None], further: Iterable[Path] = ()) -> None:
    """Check the files of a command that writes a calibration, before it works; see `check_output`.

    Args:
        output: Calibration to write.
        inputs: Paths that the command reads and must not replace.
        further: Further files that the command writes.

    Raises:
        InputError: `unwritable-file`, if the calibration is named like the clocks of one; errors of `check_output`.
    """
    from mvgeom.clock_files import CLOCKS_SUFFIX

    if output.name.lower().endswith(CLOCKS_SUFFIX):
        raise InputError(
            f"{output}: a name that ends in {CLOCKS_SUFFIX} is that of offsets in time, not of a calibration. Give "
            "another path to write.",
            code="unwritable-file",
            path=output,
        )
    check_output(output, inputs, further)


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
