"""Everything that mvtrain and mvaug import from mvgeom is public: in `__all__`, with a docstring, on the API pages."""

import ast
import importlib
import inspect
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import mvgeom
from helpers.geometry import CameraGroup
from helpers.optional import torch

ROOT = Path(__file__).parents[2]
MVGEOM = ROOT / "packages" / "mvgeom" / "src"
PACKAGES = ("mvgeom", "mvaug", "mvtrain")


def sources(package: str) -> list[Path]:
    return sorted((ROOT / "packages" / package / "src" / package).rglob("*.py"))


def imported_names(file: Path) -> set[tuple[str, str]]:
    """(module, name) of all `from mvgeom... import name`."""
    return {
        (node.module, alias.name)
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "mvgeom"
        for alias in node.names
    }


USED = sorted({each for package in ("mvaug", "mvtrain") for file in sources(package) for each in imported_names(file)})


def api_modules() -> set[str]:
    pages = (ROOT / "docs" / "api").glob("*.md")
    return {name for page in pages for name in re.findall(r"automodule:: (\S+)", page.read_text())}


def test_the_other_packages_use_mvgeom() -> None:
    assert len(USED) > 40


@pytest.mark.parametrize(("module", "name"), USED)
def test_what_other_packages_import_is_public(module: str, name: str) -> None:
    assert not any(part.startswith("_") for part in module.split("."))
    loaded = importlib.import_module(module)
    submodule = f"{module}.{name}"
    if name not in loaded.__all__:
        assert submodule in api_modules(), f"{submodule} is neither in __all__ nor a documented module"
        return
    assert module in api_modules(), f"{module} is on no API page"
    value = getattr(loaded, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert inspect.getdoc(value), f"{submodule} has no docstring"


@pytest.mark.parametrize("file", sources("mvgeom"), ids=lambda file: str(file.relative_to(MVGEOM)))
def test_public_modules_list_their_names(file: Path) -> None:
    if file.name.startswith("_") and file.name != "__init__.py":
        return
    module = importlib.import_module(".".join(file.relative_to(MVGEOM).with_suffix("").parts).removesuffix(".__init__"))
    assert module.__doc__
    assert list(module.__all__) == sorted(set(module.__all__), key=module.__all__.index)
    for name in module.__all__:
        assert hasattr(module, name)


def test_no_two_files_have_the_same_name() -> None:
    names = Counter(file.name for file in sources("mvgeom") if file.name != "__init__.py")
    assert [name for name, count in names.items() if count > 1] == []


def imports_at_load(file: Path) -> set[str]:
    """Modules of mvgeom that a module imports when it is loaded, not inside functions or for type checkers."""
    found: set[str] = set()
    nodes = list(ast.parse(file.read_text()).body)
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("mvgeom"):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if (MVGEOM / inner.replace(".", "/")).with_suffix(".py").exists() else node.module)
        elif isinstance(node, ast.ClassDef) or (isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node)):
            nodes += node.body
    return found


def test_modules_do_not_import_each_other_in_circles() -> None:
    graph = {
        ".".join(file.relative_to(MVGEOM).with_suffix("").parts).removesuffix(".__init__"): imports_at_load(file)
        for file in sources("mvgeom")
    }
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, f"circle: {' -> '.join((*path, module))}"
        if module not in done:
            for each in sorted(graph.get(module, ())):
                visit(each, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())
    assert not any(each.startswith("mvgeom.formats") for each in graph["mvgeom.cameras"])


def test_dir_lists_what_is_public() -> None:
    assert dir(mvgeom) == sorted([*mvgeom.__all__, "__version__"])
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", mvgeom.__version__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = mvgeom.nothing


def input_errors() -> list[tuple[str, ast.Call]]:
    """All calls of `InputError` in the three packages, with where they stand."""
    return [
        (f"{file.relative_to(ROOT)}:{node.lineno}", node)
        for package in PACKAGES
        for file in sources(package)
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "InputError"
    ]


def code_of(call: ast.Call) -> object:
    (code,) = [keyword.value for keyword in call.keywords if keyword.arg == "code"] or [None]
    return code.value if isinstance(code, ast.Constant) else code


def test_every_input_error_has_a_literal_code() -> None:
    for where, call in input_errors():
        code = code_of(call)
        assert isinstance(code, str), f"{where}: no literal code"
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", code), f"{where}: {code}"


def test_the_page_of_errors_lists_the_codes_in_use() -> None:
    listed = re.findall(r"^\| `([a-z-]+)` \|", (ROOT / "docs" / "errors.md").read_text(), re.M)
    assert len(listed) == len(set(listed))
    assert {code_of(call) for _, call in input_errors()} == set(listed)


def test_repr_of_cameras_is_a_line_per_camera() -> None:
    cameras = CameraGroup(
        names=("left", "top"),
        sizes=[[1280, 1024]] * 2,
        matrix=[np.diag([1200.0, 1200, 1]), np.diag([900.0, 910, 1])],
        distortion=[[-0.1, 0.05, 0, 0.001, 0], [0.0] * 5],
        rotation=[np.eye(3)] * 2,
        translation=[[0, 0, 4.0], [1, 0, 0]],
        fisheye=(False, True),
    )
    assert repr(cameras).splitlines() == [
        "CameraGroup of 2 cameras:",
        "  left  1280x1024 px, focal length 1200.0 px, Brown-Conrady with 4 coefficients, at 0 0 -4",
        "  top   1280x1024 px, focal length 900.0 910.0 px, fisheye without distortion, at -1 0 0",
    ]
    tensors = CameraGroup.stack([cameras, cameras]).to(like=torch.zeros(1))
    first, *lines = repr(tensors).splitlines()
    assert first == "CameraGroup of 2 cameras, batch (2,), the first rig:"
    assert lines == repr(cameras).splitlines()[1:]


def public_functions() -> list[tuple[str, ast.FunctionDef]]:
    """Functions in `mvgeom.__all__`, those of its modules `affine` and `boxes`, too."""
    parts = {name: getattr(mvgeom, name) for name in mvgeom.__all__}
    for name, part in list(parts.items()):
        if inspect.ismodule(part):
            parts |= {f"{name}.{each}": getattr(part, each) for each in part.__all__}
    return [
        (name, node)
        for name, part in parts.items()
        if inspect.isfunction(part)
        for node in ast.parse(inspect.getsource(part)).body
        if isinstance(node, ast.FunctionDef)
    ]


def test_public_functions_that_check_their_arguments_document_their_errors() -> None:
    checking = re.compile(r"_?check|InputError|floating_points")
    functions = public_functions()
    assert len(functions) > 30
    for name, node in functions:
        calls = [call for call in ast.walk(node) if isinstance(call, ast.Call)]
        if any(checking.match(ast.unparse(call.func).split(".")[-1]) for call in calls):
            assert "\nRaises:" in (ast.get_docstring(node) or ""), name
