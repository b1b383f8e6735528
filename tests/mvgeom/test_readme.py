"""The Python in the README runs as it stands."""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mvgeom import formats
from mvgeom.cameras import CameraGroup
from mvgeom.tables import READERS

README = Path(__file__).parents[2] / "packages" / "mvgeom" / "README.md"


def test_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = [Rotation.from_euler("yx", [angle, 15], degrees=True).inv().as_matrix() for angle in (0, 60, 130)]
    CameraGroup(
        names=("a", "b", "c"),
        sizes=np.tile([1280.0, 1024.0], (3, 1)),
        matrix=np.tile([[1200.0, 0, 640], [0, 1200, 512], [0, 0, 1]], (3, 1, 1)),
        distortion=np.zeros((3, 5)),
        rotation=np.stack(turns),
        translation=np.tile([0, 0, 4.0], (3, 1)),
    ).save(tmp_path / "calibration.toml")
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(code, names)
    found, points, std = (np.asarray(names[name]) for name in ("found", "points", "std"))
    assert found.shape == (100, 17, 3)
    assert np.abs((found - points) / std).mean() == pytest.approx(0.798, rel=0.1)  # mean |z| of a normal variable
    assert CameraGroup.load(tmp_path / "pair.json").names == ("a", "b")


def test_all_formats_are_listed() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", README.read_text(), re.MULTILINE)
    assert set(listed) == set(formats.FORMATS) | set(READERS)
