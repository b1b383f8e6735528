"""Commands that messages propose can be copied into a shell, whatever the paths."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import mvtrain
from mvtrain.runtime.messages import command

SOURCE = Path(mvtrain.__file__).parent
PROPOSAL = re.compile(r"(next|go on with it|go on with): mvtrain [^\"]*\{", re.IGNORECASE)


def test_paths_with_spaces_are_in_quotes() -> None:
    text = command("mvtrain", "frames", Path("my data/it's"), "-n", 50)
    assert shlex.split(text) == ["mvtrain", "frames", "my data/it's", "-n", "50"]
    assert command("mvtrain", "fit", "data/config.yaml") == "mvtrain fit data/config.yaml"


def test_every_next_command_is_made_by_the_function() -> None:
    found = {path.name for path in SOURCE.rglob("*.py") if PROPOSAL.search(path.read_text(encoding="utf-8"))}
    assert found == set()
