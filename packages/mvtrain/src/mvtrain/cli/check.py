"""`mvtrain check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mvtrain.cli.options import AllowPluginsOption, ConfigArgument, make_wide_console, print_start
from mvtrain.runtime.imports import quick_imports
from mvtrain.runtime.messages import command


def check(
    config: ConfigArgument,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes to the config, such as data.split=block.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for figures and check.json. Default: `runs/<config>-check`."),
    ] = None,
    allow_plugins: AllowPluginsOption = False,
) -> None:
    """Find the faults of a project before training; exit status 1 if it must not be trained on."""
    from mvtrain.cli.path_roles import check_config

    check_config(config, "check")
    print_start(config)

    with quick_imports():
        from mvtrain.check.run_check import check as check_project
        from mvtrain.config import load_config
        from mvtrain.synth.generate import generate_if_missing

    console = make_wide_console()
    loaded = load_config(config, overrides or ())
    generate_if_missing(loaded, console)
    if not check_project(loaded, output or Path("runs") / f"{config.stem}-check", console):
        raise typer.Exit(1)
    console.print(f"Next: {command('mvtrain', 'fit', config, *(overrides or ()))}", soft_wrap=True)
