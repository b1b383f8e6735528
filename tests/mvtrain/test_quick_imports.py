"""Imports of commands without searches for garbage."""

from __future__ import annotations

import ast
import gc
import inspect
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from mvtrain.cli.app import COMMANDS
from mvtrain.runtime.imports import quick_imports

CODE = """
import atexit, gc
from mvtrain.runtime.imports import quick_imports
searches = []
gc.callbacks.append(lambda phase, info: searches.append(phase))
with quick_imports():
    import torch
during = len(searches)
print(during, gc.isenabled(), gc.get_freeze_count() > 100_000)
atexit._run_exitfuncs()
print(gc.get_freeze_count())
"""


def test_the_first_import_of_torch_finds_and_leaves_nothing_to_search(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("lists = [[] for _ in range(100_000)]\n")
    command = [sys.executable, "-c", f"import sys\nsys.path.insert(0, {str(tmp_path)!r}){CODE}"]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.split() == [
        "0",
        "True",
        "True",
        "0",
    ]


def test_the_python_interface_imports_without_searches_and_leaves_the_users_objects() -> None:
    code = """
import gc, sys
frozen = gc.get_freeze_count()  # not 0 in Python 3.12, which exempts objects of its own
import mvtrain
found = []
gc.callbacks.append(lambda phase, info: found.append("torch" in sys.modules))
mvtrain.load_run
print("torch" in sys.modules, len(found) < 10, gc.isenabled(), gc.get_freeze_count() - frozen)
"""
    command = [sys.executable, "-c", code]
    # The one search after the import is not spared.
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.split() == [
        "True",
        "True",
        "True",
        "0",
    ]


def test_a_process_that_has_torch_keeps_its_garbage_collection() -> None:
    import torch  # noqa: F401

    frozen = gc.get_freeze_count()
    inside = []
    with pytest.raises(ModuleNotFoundError), quick_imports():
        inside.append(gc.isenabled()), __import__("no_such_module")
    assert inside == [False]
    assert gc.isenabled()
    gc.disable()
    try:
        with quick_imports():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
    assert gc.get_freeze_count() == frozen


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_imports_so(name: str) -> None:
    (function,) = ast.parse(textwrap.dedent(inspect.getsource(COMMANDS[name]))).body
    assert isinstance(function, ast.FunctionDef)
    quick = [
        node
        for node in ast.walk(function)
        if isinstance(node, ast.With) and ast.unparse(node.items[0].context_expr) == "quick_imports()"
    ]
    inside = {id(node) for each in quick for node in ast.walk(each)}
    others = [node for node in ast.walk(function) if isinstance(node, ast.Import | ast.ImportFrom)]
    # Paths are checked before the first line is printed, and need no large library.
    assert {ast.unparse(node).split()[1] for node in others if id(node) not in inside} <= {"mvtrain.cli.path_roles"}
    assert len(quick) == 1
