"""The commands of a page, block by block in one shell, as a newcomer runs them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

BLOCK = re.compile(r"(?:<!-- exit status (\d+) -->\n)?```bash\n(.*?)```", re.DOTALL)
_QUOTED = re.compile(r"```text\n(.*?)```", re.DOTALL)
_LEFT_OUT = re.compile(r"\.\.\.| {10,}")
"""Marks of text that a page leaves out of an output, and the space between tables that it shows side by side."""


def script(page: str) -> str:
    """All blocks as one script that stops at the first one whose last command ends with another status than it should.

    `uv run` is left out: the test's own environment has the commands, and uv would build another one.
    """
    parts = []
    for number, (status, block) in enumerate(BLOCK.findall(page), start=1):
        commands = re.sub(r"^uv run ", "", block, flags=re.MULTILINE)
        parts.append(
            f"{commands}status=$?\n[ $status -eq {status or 0} ] || {{ echo block {number}: $status; exit 99; }}\n"
        )
    return "\n".join(parts)


def run_script(folder: Path, text: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run in `folder`, where examples/ is the checkout's."""
    (folder / "examples").symlink_to(ROOT / "examples")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["bash", "-c", text],
        cwd=folder,
        env={**os.environ, "PATH": path, "COLUMNS": "120", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def stale_quotes(page: str, printed: str) -> list[str]:
    """Parts of lines in a page's text blocks that its commands did not print; numbers and line breaks do not count."""
    words = _without_numbers(printed)
    lines = (line for block in _QUOTED.findall(page) for line in block.splitlines())
    return [part for line in lines for part in _LEFT_OUT.split(line) if _without_numbers(part) not in words]


def _without_numbers(text: str) -> str:
    return re.sub(r"\d[\d.]*", "#", " ".join(text.split()))
