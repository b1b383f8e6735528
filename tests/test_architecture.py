"""The layers of mvtrain: docs/architecture.md has them, and imports keep to them."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("mvgeom", "mvaug", "mvtrain")
SOURCE = ROOT / "packages" / "mvtrain" / "src"

# From bottom to top: a module imports from its own layer and from those before it.
LAYERS = (
    "runtime",
    "config",
    "project",
    "drawing",
    "synth",
    "data",
    "model",
    "losses",
    "metrics",
    "training",
    "predict",
    "evaluation",
    "check",
    "report",
    "exchange",
    "start",
    "export",
    "label",
    "api",
    "cli",
    "__main__",
)
MAY_IMPORT_SYNTH = {"synth", "api", "cli"}
FORBIDDEN = {"training": {"predict", "evaluation"}}
BACK = {("mvgeom.cameras", "mvgeom.formats")}
"""The only arrow back: `CameraGroup.load` and `save`, inside these functions."""


@dataclass(frozen=True)
class Import:
    """One imported module of the package, and whether the import runs when its file is imported."""

    module: str
    line: int
    at_module_level: bool


def modules_of(source: Path, package: str) -> dict[str, Path]:
    """Dotted name and file of every module of a package."""
    files = sorted((source / package).rglob("*.py"))
    return {".".join(file.relative_to(source).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


def imports_of(text: str, modules: set[str]) -> Iterator[Import]:
    """Find the imports of `modules` in a file, also inside functions and under TYPE_CHECKING.

    `from package import name` counts as the module `package.name` where there is one, and a package's `__version__` as
    nothing.
    """

    def walk(node: ast.AST, at_module_level: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            full = [f"{node.module}.{alias.name}" for alias in node.names if alias.name != "__version__"]
            names = [name if name in modules else str(node.module) for name in full]
        else:
            names = []
        yield from (Import(name, node.lineno, at_module_level) for name in names if name in modules)
        deferred = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for part, value in ast.iter_fields(node):
            only_for_types = isinstance(node, ast.If) and part == "body" and "TYPE_CHECKING" in ast.unparse(node.test)
            for child in value if isinstance(value, list) else ():
                if isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):  # no import is in an expression
                    yield from walk(child, at_module_level and not deferred and not only_for_types)

    return walk(ast.parse(text), True)


def layer_of(module: str) -> str:
    """Return the part of a dotted name after the package's; `api` for the package itself."""
    return [*module.split("."), "api"][1]


MODULES = modules_of(SOURCE, "mvtrain")
IMPORTS = {name: list(imports_of(file.read_text(encoding="utf-8"), set(MODULES))) for name, file in MODULES.items()}


def offences(allowed: dict[str, set[str]]) -> list[str]:
    """List the imports of a layer that `allowed` does not name for the importing one."""
    return [
        f"{MODULES[name].relative_to(ROOT)}, line {found.line}: {layer_of(name)} imports {found.module}"
        for name, imports in IMPORTS.items()
        for found in imports
        if layer_of(found.module) not in allowed[layer_of(name)]
    ]


def test_every_folder_and_file_of_mvtrain_is_in_a_layer() -> None:
    assert {layer_of(name) for name in MODULES} == set(LAYERS)


def test_no_module_imports_from_a_layer_above_its_own() -> None:
    assert not offences({layer: set(LAYERS[: level + 1]) for level, layer in enumerate(LAYERS)})


def test_training_imports_neither_predict_nor_evaluation() -> None:
    assert not offences({layer: set(LAYERS) - FORBIDDEN.get(layer, set()) for layer in LAYERS})


def test_only_cli_api_and_synth_import_synth() -> None:
    without = set(LAYERS) - {"synth"}
    assert not offences({layer: set(LAYERS) if layer in MAY_IMPORT_SYNTH else without for layer in LAYERS})


@pytest.mark.parametrize("package", PACKAGES)
def test_modules_import_each_other_in_no_circle(package: str) -> None:
    modules = modules_of(ROOT / "packages" / package / "src", package)
    graph = {
        name: {
            found.module
            for found in imports_of(file.read_text(encoding="utf-8"), set(modules))
            if found.module != name and (name, found.module) not in BACK
        }
        for name, file in modules.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"modules import each other: {' <- '.join(error.args[1])}")


def test_no_two_files_of_mvtrain_have_the_same_name() -> None:
    counts = Counter(file.name for file in MODULES.values() if file.name not in {"__init__.py", "__main__.py"})
    assert not [name for name, count in counts.items() if count > 1]


def test_the_page_has_the_layers_in_this_order() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `mvtrain/(\w+)(?:\.py)?` \|", page, re.MULTILINE)
    assert tuple(rows) == LAYERS


def test_the_walk_sees_imports_wherever_they_are() -> None:
    text = (
        "from typing import TYPE_CHECKING\n"
        "import p.a, numpy\n"
        "from p import b, __version__\n"
        "if TYPE_CHECKING:\n    from p.c import Name\nelse:\n    from p import g\n"
        "def function():\n    from p.d import name\n    import p.e as short\n"
        "class Class:\n    from p.f import method\n"
    )
    found = list(imports_of(text, {"p", *(f"p.{letter}" for letter in "abcdefg")}))
    assert {entry.module for entry in found if entry.at_module_level} == {"p.a", "p.b", "p.f", "p.g"}
    assert {entry.module for entry in found if not entry.at_module_level} == {"p.c", "p.d", "p.e"}


def is_wall_time(node: ast.AST) -> bool:
    """Return True for a call of a clock that goes on while other processes run."""
    names = {"time", "monotonic", "perf_counter", "time_ns", "monotonic_ns", "perf_counter_ns"}
    return isinstance(node, ast.Call) and ast.unparse(node.func) in {f"time.{name}" for name in names} | names - {
        "time"
    }


def test_no_test_asserts_wall_time() -> None:
    found = [
        f"{path.relative_to(ROOT)}, line {node.lineno}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assert) and any(map(is_wall_time, ast.walk(node.test)))
    ]
    assert not found
    assert any(map(is_wall_time, ast.walk(ast.parse("assert time.monotonic() - start < 5"))))


def prints(path: Path) -> list[int]:
    """Return the lines of a file that print without a console that they are given."""
    streams = {"print", "sys.stdout.write", "sys.stderr.write", "typer.echo"}
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    return [node.lineno for node in calls if ast.unparse(node.func) in streams]


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_but_commands_prints(package: str) -> None:
    files = [path for path in (ROOT / "packages" / package / "src").rglob("*.py") if "cli" not in path.parts]
    assert not {str(path.relative_to(ROOT)): lines for path in files if (lines := prints(path))}
