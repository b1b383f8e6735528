"""Nothing in a calibration file is dropped silently: one more entry, whatever its name, is one more camera or an error.

Each entry of `FURTHER` adds a third camera to a file of two, under a name that the format's own program would not give.
"""

import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from helpers.foreign_cameras import FOREIGN, foreign_rig
from mvgeom import formats
from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError

NAMES = ("b", "a")  # not in the order of text
SIZE = (640, 480)
FILES = {
    "anipose": "rig.toml",
    "pose2sim": "rig.toml",
    "json": "rig.json",
    "qualisys": "rig.qca.txt",
    "dannce": "rig.mat",
    "opencv": "rig.yml",
    "dlt": "rig.csv",
}
OPTIONS = {"dannce": {"sizes": SIZE}, "dlt": {"sizes": SIZE}}


def rig() -> CameraGroup:
    return CameraGroup(
        names=NAMES,
        sizes=[SIZE, SIZE],
        matrix=[[[500, 0, 320], [0, 500, 240], [0, 0, 1]]] * 2,
        distortion=np.zeros((2, 4)),
        rotation=[np.eye(3), np.eye(3)],
        translation=[[0, 0, 5], [1, 0, 5]],
    )


def add_toml(path: Path) -> None:
    text = path.read_text()
    table = next(part for part in re.split(r"(?m)^(?=\[)", text) if re.search(r'name = "a"', part))
    strange = table.partition("\n")[2].replace('name = "a"', 'name = "strange"')
    path.write_text(f'{text}\n["Kamera links"]\n{strange}')


def add_json(path: Path) -> None:
    document = json.loads(path.read_text())
    document["strange"] = document["cameras"][1]
    path.write_text(json.dumps(document))


def add_qualisys(path: Path) -> None:
    text = path.read_text()
    last = re.findall(r"(?s)<camera [^>]*>.*?</camera>", text)[-1]
    strange = last.replace("<camera ", "<kamera ").replace("</camera>", "</kamera>")
    path.write_text(text.replace("</cameras>", f"{strange}</cameras>"))


def add_easymocap(path: Path) -> None:
    for file in (path / "intri.yml", path / "extri.yml"):
        blocks = re.findall(r"(?m)^\w+_a:.*\n(?: .*\n)*", file.read_text())
        file.write_text(file.read_text() + "".join(block.replace("_a:", "_strange:") for block in blocks))


def add_colmap(path: Path) -> None:
    lines = (path / "images.txt").read_text().rstrip().splitlines()
    strange = re.sub(r"^\d+", "3", lines[-1]).replace("a.png", "strange name.webp")
    (path / "images.txt").write_text("\n".join([*lines, strange]) + "\n")  # without the line of its points


def add_jarvis(path: Path) -> None:
    text = (path / "a.yaml").read_text()
    (path / "strange.yml").write_text(text.replace("intrinsicMatrix", "IntrinsicMatrix"))


def add_dannce(path: Path) -> None:
    document = loadmat(path)
    params = np.append(document["params"], document["params"][-1:], axis=0)
    savemat(path, {"params": params, "camnames": document["camnames"]})


def add_opencv(path: Path) -> None:
    data = "data: [ 500., 0., 320., 0., 500., 240., 0., 0., 1. ]"
    path.write_text(f"{path.read_text()}M3: !!opencv-matrix\n   rows: 3\n   cols: 3\n   dt: d\n   {data}\n")


def add_dlt(path: Path) -> None:
    path.write_text("".join(f"{line},{line.split(',')[1]}\n" for line in path.read_text().splitlines()))


FURTHER: dict[str, Callable[[Path], None]] = {
    "anipose": add_toml,
    "pose2sim": add_toml,
    "json": add_json,
    "qualisys": add_qualisys,
    "easymocap": add_easymocap,
    "colmap": add_colmap,
    "jarvis": add_jarvis,
    "dannce": add_dannce,
    "opencv": add_opencv,
    "dlt": add_dlt,
}


@pytest.mark.parametrize("name", FURTHER)
def test_further_entry_is_a_camera_or_an_error(name: str, tmp_path: Path) -> None:
    path = tmp_path / FILES.get(name, "rig")
    formats.save(rig(), path, file_format=name)
    options = OPTIONS.get(name, {})
    before = formats.load(path, file_format=name, **options)
    if name == "dlt":
        assert before.names == ("cam1", "cam2")
    else:
        assert before.names == (tuple(sorted(NAMES)) if name == "jarvis" else NAMES)
    FURTHER[name](path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            after = formats.load(path, **options)
        except InputError:
            return
    assert len(after) == 3
    assert after.names[:2] == before.names


@pytest.mark.parametrize("name", FOREIGN)
def test_further_entry_of_a_format_that_is_only_read_is_a_camera_or_an_error(name: str, tmp_path: Path) -> None:
    case = FOREIGN[name]
    *expected, further = foreign_rig((*case.names, "further"), case.num_coefficients, fisheye=case.fisheye)
    path = tmp_path / case.file
    case.write(path, expected)
    assert formats.load(path, **(case.options or {})).names == case.names
    case.write(path, expected, further=further)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            after = formats.load(path, **(case.options or {}))
        except InputError:
            return
    assert len(after) == 4
    assert after.names[:3] == case.names


def test_every_format_is_walked() -> None:
    assert set(FURTHER) | set(FOREIGN) == set(formats.FORMATS)
    assert not set(FURTHER) & set(FOREIGN)
