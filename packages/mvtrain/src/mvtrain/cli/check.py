"""`mvtrain check`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def check(
    config: Annotated[Path, typer.Argument(help="Config file of the project (YAML).")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes to the config, such as data.split=block.")
    ] = None,
    output_dir: Annotated[
        Path | None, typer.Option(help="Folder for pictures and check.json. Default: runs/<config>-check.")
    ] = None,
) -> None:
    """Read a whole project and say what is wrong with it; exit status 1 when training on it would be wrong."""
    from mvtrain.check.run_check import check as run_check
    from mvtrain.config import load_config
    from mvtrain.synth.generate import generate_if_missing

    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 120  # files and pipes have room
    loaded = load_config(config, overrides or ())
    generate_if_missing(loaded, console)
    if not run_check(loaded, output_dir or Path("runs") / f"{config.stem}-check", console):
        raise typer.Exit(1)
