"""Options that several commands share, their old names, and checks of paths."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from mvgeom.cli import output
from mvgeom.errors import InputError
from mvgeom.files import composed

ConfigArgument = Annotated[Path, typer.Argument(help="Config file of the project (YAML).")]
RunArgument = Annotated[Path, typer.Argument(help="Run folder that `mvtrain fit` wrote.")]
RunsArgument = Annotated[
    Path, typer.Argument(help="Run folder that `mvtrain fit` wrote, or the folder of `mvtrain fit --seeds`.")
]
CheckpointOption = Annotated[str, typer.Option(help="Weights of the run to use: best or last.")]
BatchSizeOption = Annotated[
    int | None, typer.Option(min=1, help="Frames per batch. Default: the run's test_batch_size.")
]
DeviceOption = Annotated[
    str | None, typer.Option(help="Device: cpu, cuda, cuda:1 or mps. Default: a GPU if there is one.")
]


def _allow(value: bool) -> bool:
    if value:
        from mvtrain.config.plugins import allow_plugins

        allow_plugins()
    return value


AllowPluginsOption = Annotated[
    bool,
    typer.Option(
        "--allow-plugins", callback=_allow, help="Run the plugins that a run folder names, whoever wrote them."
    ),
]

OLD_NAMES = {
    "*": {"--output-dir": "--output", "--out": "--output", "--accelerator": "--device"},
    "import": {"--predictions": "--min-likelihood"},
    "init": {"--copy": "--copy-videos"},
    "synth": {"--views": "--num-views", "--frames": "--num-frames", "--sessions": "--num-sessions"},
}
"""Options of version 0.1.0 by command, and what they are called now; they stay valid, but `--help` leaves them out."""

_BEFORE_OVERRIDES = ("fit", "--overrides")
"""Command, and the option of Lightning Pose after which its changes to the config come; here they need none."""


def replace_old_names(arguments: Sequence[str]) -> list[str]:
    """Return the command line with today's names of options.

    Options may be written as Lightning Pose has them, too: with underscores, and with `--overrides` before the changes
    to the config.
    """
    command = next((argument for argument in arguments if not argument.startswith("-")), "")
    names = {**OLD_NAMES["*"], **OLD_NAMES.get(command, {})}
    replaced: list[str] = []
    for number, argument in enumerate(arguments):
        if argument == "--":
            return [*replaced, *arguments[number:]]
        if (command, argument) == _BEFORE_OVERRIDES:
            continue
        name, equals, value = argument.partition("=")
        if name.startswith("--"):
            name = name.replace("_", "-")
        replaced.append(f"{names.get(name, name)}{equals}{value}")
    return replaced


def make_console() -> Console:
    """Make the console of a command; it has no markup, because paths and lists have brackets."""
    return Console(markup=False, highlight=False)


def make_wide_console() -> Console:
    """Make a console for tables: files and pipes have 120 columns, a terminal has those it has."""
    console = make_console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 120
    return console


def print_start(*paths: Path) -> None:
    """Print the first line of a command, before heavy imports; of several processes the first one prints."""
    if os.environ.get("LOCAL_RANK", "0") == "0":
        output.print_start(*paths)


def split_names(text: str | None) -> tuple[str, ...]:
    """Return the names of a list separated by commas; none for None."""
    return tuple(composed(name.strip()) for name in text.split(",")) if text else ()


def check_inputs(*paths: Path | None) -> None:
    """Check that files and folders exist; None stands for one that was not given.

    Raises:
        InputError: `missing-file`, for the first that does not.
    """
    for path in paths:
        if path is not None and not path.exists():
            raise InputError(f"{path}: no such file or folder.", code="missing-file", path=path)
