"""`--help` of every command of both programs prints every character of its texts."""

from __future__ import annotations

import re
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from mvgeom.cli.commands import app as mvgeom_app
from mvtrain.cli.app import app as mvtrain_app

APPS = {"mvgeom": mvgeom_app, "mvtrain": mvtrain_app}
COMMANDS = [
    (program, name)
    for program, app in APPS.items()
    for name in sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
]


def texts(command: Any) -> list[str]:
    """Help texts of a command, of its arguments and of its options."""
    found = [command.help, *(getattr(parameter, "help", None) for parameter in command.params)]
    return [text for text in found if text]


def squeezed(text: str) -> str:
    """A text without what Markdown takes away or rich adds: white space, backticks, frames."""
    return re.sub(r"[\s`│]", "", text)


@pytest.mark.parametrize(("program", "name"), COMMANDS)
def test_help_prints_its_texts_whole(program: str, name: str) -> None:
    """`<view>` without backticks would vanish as a tag of HTML."""
    command = typer.main.get_command(APPS[program]).commands[name]  # type: ignore[attr-defined]
    runner = CliRunner(env={"COLUMNS": "4000", "TERMINAL_WIDTH": "4000", "NO_COLOR": "1"})
    outcome = runner.invoke(APPS[program], [name, "--help"])
    assert outcome.exit_code == 0
    printed = squeezed(outcome.output)
    for text in texts(command):
        for paragraph in text.split("\n\n"):
            assert squeezed(paragraph) in printed, paragraph
