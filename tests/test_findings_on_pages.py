"""Codes of findings: every one that a command can print is explained on a page."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = "\n".join((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("calibration.md", "check.md"))
MAKERS = {"Finding", "error", "warning", "note", "build"}


def codes() -> Iterator[str]:
    """Constants that are the code of a finding, in all packages."""
    for path in (ROOT / "packages").glob("*/src/**/*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and getattr(call.func, "id", getattr(call.func, "attr", "")) in MAKERS:
                given = [*call.args[:1], *(keyword.value for keyword in call.keywords if keyword.arg == "code")]
                for node in (node for value in given for node in ast.walk(value)):
                    if isinstance(node, ast.Constant) and re.fullmatch(r"[a-z]+(_[a-z]+)*", str(node.value)):
                        yield str(node.value)


def test_every_code_of_a_finding_is_on_a_page() -> None:
    found = set(codes())
    assert {"camera_disagrees", "too_few_boards", "label_error"} <= found
    assert not {code for code in found if f"`{code}`" not in PAGES}
