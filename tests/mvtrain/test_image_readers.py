"""Every reader of image files takes the pixels as stored, scales 16 bits alike, and goes through one function."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from mvgeom.calibration.sources import open_source, read_frames
from mvtrain.check.image_checks import scan_images
from mvtrain.data.dataset import ImageCache
from mvtrain.exchange.foreign_labels import ImageFile
from mvtrain.exchange.media import write_images
from mvtrain.project.images import from_turned, image_size, read_header, read_headers, read_image, value_bits
from mvtrain.project.label_tables import LabelTable
from mvtrain.project.project import Project

PACKAGES = Path(__file__).parents[2] / "packages"

OPENERS = {"imread", "imdecode", "imreadmulti", "imiter", "open_image"}
"""Functions of OpenCV, imageio, scikit-image and others that open an image file."""

ALLOWED = {
    "mvgeom/images.py": "the one decoder",
    "mvtrain/project/images.py": "headers, with Pillow",
    "mvtrain/label/page_images.py": "headers, with Pillow",
    "mvaug/photometric.py": "decodes the JPEG that it has encoded",
}


def photo(height: int = 30, width: int = 40) -> np.ndarray:
    """A smooth image whose corners differ."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 6, y * 8, (x + y) * 3], axis=-1).astype(np.uint8)


def project_of(path: Path) -> Project:
    """One frame of one view."""
    headers = read_headers([[path]], [table_of(1)])
    return Project(
        root=path.parent,
        view_names=("top",),
        keypoint_names=("nose",),
        image_names=((path.name,),),
        sessions=("s",),
        points=np.ones((1, 1, 1, 2)),
        visibility=np.full((1, 1, 1), 2, dtype=np.int8),
        file_sizes=headers.sizes,
        boxes=None,
        cameras=(None,),
        crop_to_full=np.eye(2, 3)[None, None],
        value_bits=value_bits([[path]], headers),
        turned=headers.turned if headers.turned.any() else None,
    )


def table_of(num_rows: int) -> LabelTable:
    return LabelTable(
        path=Path("labels.csv"),
        image_names=("i",) * num_rows,
        lines=np.arange(num_rows) + 4,
        keypoint_names=("nose",),
        points=np.ones((num_rows, 1, 2)),
        visible=None,
    )


def read_boards(path: Path) -> np.ndarray:
    ((_, image),) = read_frames(open_source("cam", path))
    return np.repeat(image[..., None], 3, axis=-1)


def read_cached(path: Path) -> np.ndarray:
    return ImageCache.from_project(project_of(path), max_bytes=1e6).read(path)


def read_uncached(path: Path) -> np.ndarray:
    return ImageCache.from_project(project_of(path), max_bytes=0).read(path)


def read_imported(path: Path) -> np.ndarray:
    target = path.parent / "imported" / "i.png"
    write_images({target: ImageFile(path=path)}, lambda: None)
    assert read_header(target).orientation == 1
    return read_image(target)


READERS: dict[str, Callable[[Path], np.ndarray]] = {
    "boards": read_boards,
    "labeled images": read_image,
    "project": lambda path: project_of(path).read_image(0, 0),
    "training": read_cached,
    "prediction": read_uncached,
    "import": read_imported,
}


def save_turned(path: Path, orientation: int) -> Path:
    image = Image.fromarray(photo())
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(path, exif=exif, **({"quality": 100, "subsampling": 0} if path.suffix == ".jpg" else {}))
    return path


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_no_reader_turns_an_image(tmp_path: Path, reader: str, suffix: str) -> None:
    expected = READERS[reader](save_turned(tmp_path / f"i1.{suffix}", 1))
    assert expected.shape == (30, 40, 3)
    for orientation in (3, 6):
        path = save_turned(tmp_path / f"i{orientation}.{suffix}", orientation)
        np.testing.assert_array_equal(READERS[reader](path), expected)
        assert image_size(path) == (40, 30)
        assert read_header(path).orientation == orientation
        scan = scan_images(project_of(path))
        assert scan.readable.all(), scan.problems


@pytest.mark.parametrize("reader", READERS)
def test_readers_agree_about_the_orientation_of_tiff(tmp_path: Path, reader: str) -> None:
    """It is a part of the format: libtiff and Pillow apply it, and so does every program with them."""
    path = save_turned(tmp_path / "i.tif", 6)
    assert image_size(path) == (30, 40)
    assert READERS[reader](path).shape == (40, 30, 3)
    assert read_header(path).orientation == 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_points_of_a_turned_image(tmp_path: Path, orientation: int) -> None:
    """Pillow turns an image with one bright pixel; its place there is mapped back."""
    pixels = np.zeros((5, 7), np.uint8)
    pixels[1, 2] = 255
    image = Image.fromarray(pixels)
    image.getexif()[0x0112] = orientation
    shown = np.asarray(ImageOps.exif_transpose(image))
    place = np.argwhere(shown == 255)[0][::-1].astype(float)
    np.testing.assert_array_equal(from_turned(place, orientation, (7, 5)), [2, 1])
    assert np.isnan(from_turned(np.full((3, 2), np.nan), orientation, (7, 5))).all()


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(("bits", "suffix"), [(10, "png"), (12, "png"), (12, "tiff"), (16, "png"), (12, "pgm")])
def test_16_bits_are_scaled_by_those_in_use(tmp_path: Path, reader: str, bits: int, suffix: str) -> None:
    gray = photo()[..., 0]
    deep = np.round(gray / gray.max() * (2**bits - 1)).astype(np.uint16)
    path = tmp_path / f"i.{suffix}"
    path.write_bytes(cv2.imencode(f".{suffix}", deep)[1].tobytes())
    expected = np.round(gray / gray.max() * 255)
    found = READERS[reader](path)
    np.testing.assert_allclose(found, np.repeat(expected[..., None], 3, axis=-1), atol=1)
    assert found.max() == 255


def test_a_dark_image_of_a_view_stays_dark(tmp_path: Path) -> None:
    """The bits in use are those of the view, not of each image; an image with more takes its own."""
    largest = {"bright": 4000, "dark": 500}
    for name, value in largest.items():
        (tmp_path / f"{name}.png").write_bytes(cv2.imencode(".png", np.full((4, 4), value, np.uint16))[1].tobytes())
    paths = [[tmp_path / f"{name}.png"] for name in largest]
    headers = read_headers(paths, [table_of(2)])
    assert value_bits(paths, headers) == (12,)
    assert read_image(paths[1][0], 12).max() == round(500 / 4095 * 255)
    assert read_image(paths[0][0], 10).max() == round(4000 / 4095 * 255)


def test_images_with_8_bits_have_no_bits_in_use(tmp_path: Path) -> None:
    path = save_turned(tmp_path / "i.png", 1)
    assert project_of(path).value_bits == ()
    assert replace(project_of(path), value_bits=(None,)).read_image(0, 0).shape == (30, 40, 3)


def openings(source: str) -> list[str]:
    """Calls that open an image: a function of `OPENERS`, or Pillow's `Image.open`."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            if node.attr not in OPENERS and node.attr != "open":
                continue
            owner = ast.unparse(node.value)
            if node.attr in OPENERS or owner.rpartition(".")[2] == "Image":
                found.append(f"{owner}.{node.attr}")
        elif isinstance(node, ast.ImportFrom):
            found += [alias.name for alias in node.names if alias.name in OPENERS]
    return found


def test_no_other_place_opens_an_image() -> None:
    """A reader with a rule of its own would turn images, or be blind in 12 bits; it belongs into `READERS`."""
    files = list(PACKAGES.rglob("src/**/*.py"))
    opening = {file.as_posix().partition("/src/")[2] for file in files if openings(file.read_text(encoding="utf-8"))}
    assert opening == set(ALLOWED)
    assert openings("import cv2\nfrom PIL import Image\ncv2.imread('a')\nImage.open('b')\nopen('c')\n") == [
        "cv2.imread",
        "Image.open",
    ]
