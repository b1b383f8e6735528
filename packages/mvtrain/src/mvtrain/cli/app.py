"""The command `mvtrain`. Each subcommand imports what it needs itself, so that `--help` answers at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import typer
from rich.console import Console
from rich.text import Text

from mvtrain.cli.check import check
from mvtrain.cli.convert import convert
from mvtrain.cli.evaluate import evaluate
from mvtrain.cli.export import export
from mvtrain.cli.fit import fit
from mvtrain.cli.import_project import import_project
from mvtrain.cli.predict import predict
from mvtrain.cli.report import report
from mvtrain.cli.synth import synth

app = typer.Typer(
    name="mvtrain",
    help="Train a multi-view transformer on several calibrated cameras, and predict 2D and 3D keypoints.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
COMMANDS: dict[str, Callable[..., None]] = {
    "fit": fit,
    "check": check,
    "predict": predict,
    "export": export,
    "evaluate": evaluate,
    "report": report,
    "import": import_project,
    "convert": convert,
    "synth": synth,
}
for name, command in COMMANDS.items():
    app.command(name=name)(command)


def main() -> None:
    """Entry point: a user's mistake is one line on standard error and exit status 2, without a traceback."""
    # Read by libgomp when torch is loaded, which is later. Threads that spin while they wait take the cores that loader
    # workers need.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # Read by OpenCV with the first video: what FFmpeg says about damaged frames would tear the progress bar, and is
    # said better afterwards.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        app()
    except (ValueError, OSError) as error:
        # Text, not markup: messages quote lists and paths, whose brackets are no markup.
        Console(stderr=True).print(Text.assemble(("error:", "bold red"), f" {error}"), soft_wrap=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
