"""Commands that messages propose can be copied into a shell, whatever the paths."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import mvtrain
from helpers.errors import raises_input
from mvtrain.cli.path_roles import check_config
from mvtrain.runtime.messages import command

SOURCE = Path(mvtrain.__file__).parent
PATHS = r"\{[\w.]*(path|parent|dir|folder|root|source|config|output|out)\b"
PROPOSAL = re.compile(r"\bmv(train|geom) [a-z]+ [^\",{]*" + PATHS)
"""A path in a command line that is written out."""

TEMPLATES = "path_roles.py"
"""Steps whose paths are filled in in quotes."""


def test_paths_with_spaces_are_in_quotes() -> None:
    text = command("mvtrain", "frames", Path("my data/it's"), "-n", 50)
    assert shlex.split(text) == ["mvtrain", "frames", "my data/it's", "-n", "50"]
    assert command("mvtrain", "fit", "data/config.yaml") == "mvtrain fit data/config.yaml"


def test_every_proposed_command_is_made_by_the_function() -> None:
    found = {path.name for path in SOURCE.rglob("*.py") if PROPOSAL.search(path.read_text(encoding="utf-8"))}
    assert found == {TEMPLATES}


def test_the_steps_after_wrong_paths_are_in_quotes(tmp_path: Path) -> None:
    folder = tmp_path / "my run"
    (folder / "checkpoints" / "best").mkdir(parents=True)
    (folder / "config.yaml").write_text("data: {data_dir: x}\n")
    (folder / "run.yaml").write_text("version: 1\n")
    with raises_input("unsupported-file") as caught:
        check_config(folder, "fit")
    assert f"mvtrain fit --resume '{folder}'" in str(caught.value)
