"""Findings about image files: turned by EXIF, and bits in use."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mvgeom.calibration.findings import Finding
from mvtrain.check.image_checks import image_findings, scan_images
from mvtrain.project.images import read_headers, value_bits
from mvtrain.project.label_tables import LabelTable
from mvtrain.project.project import Project

SIZE = (40, 30)


def findings(root: Path, points: np.ndarray) -> list[Finding]:
    """Scan the images of one view in a folder; points (N, K, 2)."""
    paths = [[path] for path in sorted(root.iterdir())]
    table = LabelTable(
        path=root / "labels.csv",
        image_names=tuple(path.name for (path,) in paths),
        lines=np.arange(len(paths)) + 4,
        keypoint_names=tuple(f"k{k}" for k in range(points.shape[1])),
        points=points,
        visible=None,
    )
    headers = read_headers(paths, [table])
    project = Project(
        root=root,
        view_names=("top",),
        keypoint_names=table.keypoint_names,
        image_names=tuple((name,) for name in table.image_names),
        sessions=("s",) * len(paths),
        points=points[:, None],
        visibility=np.full((len(paths), 1, points.shape[1]), 2, dtype=np.int8),
        file_sizes=headers.sizes,
        boxes=None,
        cameras=(None,) * len(paths),
        crop_to_full=np.broadcast_to(np.eye(2, 3), (len(paths), 1, 2, 3)),
        value_bits=value_bits(paths, headers),
        turned=headers.turned if headers.turned.any() else None,
    )
    return image_findings(project, scan_images(project))


@pytest.mark.parametrize(("y", "severity", "outside"), [(20.0, "warning", 0), (35.0, "error", 2)])
def test_turned_images(tmp_path: Path, y: float, severity: str, outside: int) -> None:
    """Labels below the stored image and inside of the turned one are in px of the turned one."""
    for number, orientation in enumerate((1, 6, 6)):
        pixels = np.random.default_rng(number).integers(0, 255, (*SIZE[::-1], 3), dtype=np.uint8)
        image = Image.fromarray(pixels)
        exif = image.getexif()
        exif[0x0112] = orientation
        image.save(tmp_path / f"{number}.png", exif=exif)
    points = np.tile([[[10.0, 10.0], [10.0, y]]], (3, 1, 1))
    points[0] = 5
    (finding,) = findings(tmp_path, points)
    assert (finding.code, finding.severity, finding.cameras) == ("turned_images", severity, ("top",))
    assert finding.evidence == {"images": 2, "labels_outside": outside}
    assert str(tmp_path / "1.png") in finding.text


def write_deep(path: Path, largest: int) -> None:
    pixels = np.linspace(0, largest, 30 * 40).round().astype(np.uint16).reshape(30, 40)
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())


@pytest.mark.parametrize(("largest", "bits"), [(250, 8), (1000, 10), (4000, 12), (16000, 14)])
def test_bits_in_use(tmp_path: Path, largest: int, bits: int) -> None:
    for number in range(3):
        write_deep(tmp_path / f"{number}.png", largest - number)
    (finding,) = findings(tmp_path, np.ones((3, 1, 2)))
    assert (finding.code, finding.severity, finding.cameras) == ("value_bits", "note", ("top",))
    assert finding.evidence == {"bits": bits, "images": 3}


def test_all_bits_in_use(tmp_path: Path) -> None:
    write_deep(tmp_path / "0.png", 65000)
    assert findings(tmp_path, np.ones((1, 1, 2))) == []


def test_images_with_more_bits_than_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bits in use are found in some images of a view only."""
    monkeypatch.setattr("mvtrain.project.images._NUM_SAMPLED", 2)
    for number, largest in enumerate((1000, 3000, 1000)):
        write_deep(tmp_path / f"{number}.png", largest)
    found = {finding.code: finding for finding in findings(tmp_path, np.ones((3, 1, 2)))}
    assert list(found) == ["value_bits", "mixed_bits"]
    assert found["value_bits"].evidence == {"bits": 10, "images": 3}
    assert (found["mixed_bits"].severity, found["mixed_bits"].evidence) == ("warning", {"images": 1, "bits": 12})
    assert "1.png" in found["mixed_bits"].text
