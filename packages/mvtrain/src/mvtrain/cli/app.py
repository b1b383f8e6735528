"""The program `mvtrain`. Each subcommand imports what it needs itself, so that `--help` answers at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import NoReturn

from mvgeom.cli.entry import create_app, run_program
from mvgeom.cli.length_options import LengthCommand
from mvtrain.cli.check import check
from mvtrain.cli.convert import convert
from mvtrain.cli.crop import crop
from mvtrain.cli.evaluate import evaluate
from mvtrain.cli.export import export
from mvtrain.cli.fit import fit
from mvtrain.cli.frames import add_frames
from mvtrain.cli.import_project import import_project
from mvtrain.cli.init import init
from mvtrain.cli.label import label
from mvtrain.cli.options import replace_old_names
from mvtrain.cli.predict import predict
from mvtrain.cli.pseudolabel import pseudolabel
from mvtrain.cli.report import report
from mvtrain.cli.smooth import smooth
from mvtrain.cli.synth import synth

COMMANDS: dict[str, Callable[..., None]] = {
    "init": init,
    "frames": add_frames,
    "label": label,
    "crop": crop,
    "fit": fit,
    "check": check,
    "predict": predict,
    "smooth": smooth,
    "pseudolabel": pseudolabel,
    "export": export,
    "evaluate": evaluate,
    "report": report,
    "import": import_project,
    "convert": convert,
    "synth": synth,
}

app = create_app(
    "mvtrain", "Train a multi-view transformer on several calibrated cameras, and predict 2D and 3D keypoints."
)
for name, command in COMMANDS.items():
    app.command(name=name, cls=LengthCommand if command is smooth else None)(command)


def main() -> NoReturn:
    """Run the program with the arguments of the process."""
    # Read by libgomp when torch is loaded, which is later. Threads that spin while they wait take the cores that loader
    # workers need.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    run_program(app, "mvtrain", explain=[_explain_device_error], arguments=replace_old_names(sys.argv[1:]))


def _explain_device_error(error: Exception) -> str | None:
    """Return the line for an error of torch about a full or absent device, None for any other."""
    from mvtrain.training.device_errors import is_device_error

    return str(error).strip().splitlines()[0] if is_device_error(error) else None


if __name__ == "__main__":
    main()
