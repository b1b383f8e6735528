"""mvaug works without torch, and what it offers is listed."""

import ast
import importlib.metadata
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import mvaug

PACKAGE = Path(__file__).parents[2] / "packages" / "mvaug"
MODULES = sorted((PACKAGE / "src" / "mvaug").glob("*.py"))
AUGMENT = """
import importlib
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"{name} is blocked", name=name)

if {blocked}:
    sys.meta_path.insert(0, Blocked())
for name in {modules}:
    importlib.import_module(name)
import numpy as np
from mvaug import Augmentation, augment_sample
from mvgeom import CameraGroup, project
cameras = CameraGroup(names=["a", "b"], sizes=[[99, 99]] * 2, matrix=[[[50, 0, 49], [0, 50, 49], [0, 0, 1]]] * 2,
    rotation=[np.eye(3)] * 2, distortion=[[0.1, 0, 0, 0]] * 2, translation=[[0, 0, 9], [1, 0, 9]])
world = np.random.default_rng(0).normal(size=(5, 3))
maps = np.tile(np.eye(2, 3), (2, 1, 1))
sample = augment_sample([np.full((99, 99, 3), 128, np.uint8)] * 2, crop_to_full=maps, full_to_model=maps,
    points=project(world, cameras), points_3d=world, cameras=cameras, size=(64, 64),
    augmentation=Augmentation.from_config("dlc", True), generator=np.random.default_rng(0))
assert sample.moved and sample.images.any(), sample
assert "torch" not in sys.modules, "torch was imported"
"""


@pytest.mark.parametrize("blocked", [False, True])
def test_augmenting_imports_no_torch_and_needs_none(blocked: bool) -> None:
    modules = ["mvaug", *(f"mvaug.{file.stem}" for file in MODULES if file.stem != "__init__")]
    script = AUGMENT.replace("{blocked}", str(blocked)).replace("{modules}", repr(modules))
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_no_module_names_torch_in_an_import() -> None:
    for file in MODULES:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.partition(".")[0] for name in names} & {"torch", "torchvision"}, file
    dependencies = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]["dependencies"]
    assert not [dependency for dependency in dependencies if dependency.startswith("torch")]


def test_public_names_are_listed_and_documented() -> None:
    assert dir(mvaug) == sorted([*mvaug.__all__, "__version__"])
    for name in mvaug.__all__:
        assert getattr(mvaug, name).__doc__
    assert mvaug.__version__ == importlib.metadata.version("mvaug")
