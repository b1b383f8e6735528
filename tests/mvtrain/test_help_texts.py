"""Help texts of every command are printed whole; options are named on pages, and pages name no others."""

from __future__ import annotations

import inspect
import re
import typing
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from mvgeom.cli.commands import app as mvgeom_app
from mvtrain.cli.app import app as mvtrain_app

ROOT = Path(__file__).parents[2]
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


PAGES = "\n".join(
    page.read_text(encoding="utf-8")
    for page in [ROOT / "README.md", *ROOT.glob("packages/*/README.md"), *ROOT.glob("docs/*.md")]
)


@pytest.mark.parametrize(("program", "name"), COMMANDS)
def test_every_option_is_on_a_page(program: str, name: str) -> None:
    command = typer.main.get_command(APPS[program]).commands[name]  # type: ignore[attr-defined]
    names = [
        [option for option in parameter.opts if option.startswith("--")]
        for parameter in command.params
        if not getattr(parameter, "hidden", False)
    ]
    assert not [options for options in names if options and not any(is_on_a_page(option) for option in options)]


def is_on_a_page(option: str) -> bool:
    return re.search(rf"(?<![\w-]){option}(?![\w-])", PAGES) is not None


def test_options_of_commands_on_pages_exist() -> None:
    lines = re.sub(r"\\\n\s*", " ", PAGES)
    for program, name, rest in re.findall(r"\b(mvtrain|mvgeom) ([a-z]+)\b([^`\n#]*)", lines):
        if (program, name) in COMMANDS:
            command = typer.main.get_command(APPS[program]).commands[name]  # type: ignore[attr-defined]
            known = {option for parameter in command.params for option in [*parameter.opts, *parameter.secondary_opts]}
            given = set(re.findall(r"(?<=\s)--?[a-z][\w-]*", rest)) - {"--help", "-h"}
            assert given <= known, f"{program} {name}{rest}"


@pytest.mark.parametrize("program", APPS)
def test_an_option_has_one_kind_of_value_in_all_commands(program: str) -> None:
    kinds: dict[str, dict[str, str]] = {}
    for name, command in typer.main.get_command(APPS[program]).commands.items():  # type: ignore[attr-defined]
        hints = typing.get_type_hints(inspect.unwrap(command.callback))
        for parameter in command.params:
            if not getattr(parameter, "hidden", False):
                hint = hints[parameter.name]
                given = [each for each in typing.get_args(hint) if each is not type(None)]
                kind = str(given[0] if type(None) in typing.get_args(hint) else hint)
                for option in (each for each in parameter.opts if each.startswith("--")):
                    kinds.setdefault(option, {})[name] = kind
    assert not {option: by_name for option, by_name in kinds.items() if len(set(by_name.values())) > 1}
