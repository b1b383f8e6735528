"""Imports run one way only, mvtrain -> mvaug -> mvgeom, and mvgeom works without torch."""

import ast
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import mvgeom

PACKAGES = Path(__file__).parents[2] / "packages"
MAY_IMPORT = {
    "mvgeom": {"mvgeom"},
    "mvaug": {"mvgeom", "mvaug"},
    "mvtrain": {"mvgeom", "mvaug", "mvtrain"},
}


def imported_packages(source: str) -> set[str]:
    """Top-level packages a module imports, at its top or inside functions."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_run_one_way(package: str) -> None:
    files = sorted((PACKAGES / package / "src" / package).rglob("*.py"))
    assert files
    for file in files:
        foreign = imported_packages(file.read_text()) & set(MAY_IMPORT) - MAY_IMPORT[package]
        assert not foreign, f"{file} imports {foreign}"
        if package == "mvgeom":
            assert not imported_packages(file.read_text()) & {"torch", "torchvision"}, f"{file} imports torch"


def test_the_walk_sees_imports_wherever_they_are() -> None:
    source = "import a.b\nfrom c.d import e\ndef f():\n    import g as h\n    from . import i\n"
    assert imported_packages(source) == {"a", "c", "g"}


def test_mvgeom_and_all_its_modules_load_without_torch() -> None:
    modules = [module.name for module in pkgutil.walk_packages(mvgeom.__path__, "mvgeom.")]
    assert {"mvgeom.triangulation", "mvgeom.boxes", "mvgeom.cameras", "mvgeom.projection"} <= set(modules)
    script = (
        "import importlib, sys\n"
        f"for name in {['mvgeom', *modules]!r}: importlib.import_module(name)\n"
        "import numpy as np\n"
        "from mvgeom import CameraGroup, project, triangulate\n"
        "cams = CameraGroup(names=['a', 'b'], sizes=[[9, 9]] * 2, matrix=[np.eye(3)] * 2, rotation=[np.eye(3)] * 2,\n"
        "    distortion=[[0.1, 0, 0, 0]] * 2, translation=[[0, 0, 0], [1, 0, 0]])\n"
        "assert np.allclose(triangulate(project(np.ones((1, 3)), cams), cams), 1)\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
