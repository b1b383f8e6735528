"""Reading images: what was stored comes back as RGB bytes, and damaged files are named."""

from __future__ import annotations

import tempfile
import zlib
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from helpers.errors import raises_input
from mvgeom.errors import InputError
from mvtrain.project.images import image_size, read_image

SHAPES = st.tuples(st.integers(1, 20), st.integers(1, 20), st.just(3))


def photo(height: int = 60, width: int = 90) -> np.ndarray:
    """A smooth RGB image with detail, so that its JPEG has some length."""
    noise = np.random.default_rng(0).random((height, width, 3)) * 255
    return cv2.GaussianBlur(noise, (0, 0), 1.5).astype(np.uint8)


@given(hnp.arrays(np.uint8, SHAPES), st.sampled_from([".png", ".bmp", ".tif"]))
@settings(max_examples=40, deadline=None)
def test_lossless_files_come_back(image: np.ndarray, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"Mäuse 鼠{suffix}"
        Image.fromarray(image).save(path)
        np.testing.assert_array_equal(read_image(path), image)
        assert image_size(path) == (image.shape[1], image.shape[0])


@given(hnp.arrays(np.uint16, SHAPES), st.booleans())
@settings(max_examples=25, deadline=None)
def test_16_bits_are_scaled(image: np.ndarray, gray: bool) -> None:
    image = image[..., 0] if gray else image
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "i.png"
        path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
        expected = np.round(image / 65535 * 255)
        expected = np.repeat(expected[..., None], 3, axis=-1) if gray else expected[..., ::-1]
        np.testing.assert_array_equal(read_image(path, 16), expected)


@given(st.floats(0, 0.98), st.sampled_from([".jpg", ".png", ".bmp", ".webp", "progressive", "thumbnail"]))
@settings(max_examples=40, deadline=None)
def test_cut_off_files_are_refused(fraction: float, kind: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("i" + (kind if kind.startswith(".") else ".jpg"))
        image = Image.fromarray(photo())
        if kind == "thumbnail":
            exif = image.getexif()
            exif[0x927C] = b"\xff\xd8thumbnail\xff\xda\x00\xff\xd9"  # the markers of an embedded JPEG
            image.save(path, exif=exif)
        else:
            image.save(path, **({"progressive": True} if kind == "progressive" else {}))
        assert read_image(path).shape == (60, 90, 3)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * fraction)])
        with raises_input("damaged-file", path=path):
            read_image(path)


def test_jpeg_with_bytes_after_its_end(tmp_path: Path) -> None:
    """Some cameras append data of their own."""
    path = tmp_path / "i.jpg"
    Image.fromarray(photo()).save(path)
    expected = read_image(path)
    path.write_bytes(path.read_bytes() + b"maker's notes" * 10)
    np.testing.assert_array_equal(read_image(path), expected)


def test_gray_palette_and_transparency(tmp_path: Path) -> None:
    image = photo()
    gray = image[..., 0]
    Image.fromarray(gray).save(tmp_path / "gray.png")
    np.testing.assert_array_equal(read_image(tmp_path / "gray.png"), np.repeat(gray[..., None], 3, axis=-1))
    palette = Image.fromarray(image).quantize(16)
    palette.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_image(tmp_path / "palette.png"), np.asarray(palette.convert("RGB")))
    alpha = np.full((*image.shape[:2], 1), 7, np.uint8)
    Image.fromarray(np.concatenate([image, alpha], axis=-1)).save(tmp_path / "alpha.png")
    np.testing.assert_array_equal(read_image(tmp_path / "alpha.png"), image)


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk_becomes_rgb(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"i.{suffix}"
    Image.fromarray(photo()).convert("CMYK").save(path, **({"quality": 100} if suffix == "jpg" else {}))
    difference = read_image(path).astype(int) - photo()
    assert np.abs(difference).mean() < 2
    assert image_size(path) == (90, 60)


def test_orientation_is_ignored(tmp_path: Path) -> None:
    image = Image.fromarray(photo(60, 90))
    exif = image.getexif()
    exif[0x0112] = 6  # rotate by 90 degrees
    image.save(tmp_path / "i.jpg", exif=exif, quality=100)
    assert read_image(tmp_path / "i.jpg").shape == (60, 90, 3)
    assert image_size(tmp_path / "i.jpg") == (90, 60)


def test_files_that_are_no_images(tmp_path: Path) -> None:
    (tmp_path / "words.png").write_text("not an image")
    (tmp_path / "empty.png").touch()
    for name in ("words.png", "empty.png"):
        for read in (read_image, image_size):
            with raises_input("damaged-file", path=tmp_path / name):
                read(tmp_path / name)
    for read in (read_image, image_size):
        with raises_input("missing-file", path=tmp_path / "absent.png"):
            read(tmp_path / "absent.png")
        with raises_input("unreadable-file", path=tmp_path):
            read(tmp_path)


def test_pixels_that_are_not_integers(tmp_path: Path) -> None:
    (tmp_path / "float.tif").write_bytes(cv2.imencode(".tiff", np.ones((4, 4, 3), np.float32))[1].tobytes())
    with raises_input("unsupported-file", path=tmp_path / "float.tif", found="float32"):
        read_image(tmp_path / "float.tif")


def test_more_pixels_than_the_libraries_take(tmp_path: Path) -> None:
    """A header of 12 bytes can claim any size; neither library allocates it."""
    path = tmp_path / "bomb.png"
    path.write_bytes(cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes())
    content = bytearray(path.read_bytes())
    content[16:24] = (60000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)
    for read in (read_image, image_size):
        with raises_input("damaged-file", path=path):
            read(path)


@given(content=st.binary(min_size=1, max_size=60), kind=st.sampled_from(["png", "jpg", "tif", "bmp"]))
@settings(max_examples=60, deadline=None)
def test_damaged_headers_are_input_errors(content: bytes, kind: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"i.{kind}"
        whole = cv2.imencode(f".{'tiff' if kind == 'tif' else kind}", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
        path.write_bytes(whole[:4] + content + whole[4 + len(content) :])
        for read in (read_image, image_size):
            with suppress(InputError):
                read(path)
