"""Images that state more pixels than a computer should take memory for are refused by every package."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

SIDE = 30_000


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png() -> bytes:
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(3 * SIDE + 1))), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def changed(suffix: str, place: int | bytes, layout: str) -> bytes:
    """A small image whose header states the larger size."""
    success, content = cv2.imencode(suffix, np.zeros((4, 4, 3), np.uint8))
    assert success
    found = bytearray(content.tobytes())
    start = place if isinstance(place, int) else found.index(place) + len(place)
    found[start : start + struct.calcsize(layout)] = struct.pack(layout, SIDE, SIDE)
    return bytes(found)


IMAGES = {
    "PNG": png,
    "JPEG": lambda: changed(".jpg", b"\xff\xc0\x00\x11\x08", ">HH"),
    "BMP": lambda: changed(".bmp", 18, "<ii"),
    "GIF": lambda: changed(".gif", 6, "<HH"),
    "PGM": lambda: b"P5 %d %d 255\n" % (SIDE, SIDE) + bytes(10),
    "Sun raster": lambda: changed(".ras", 4, ">ii"),
}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
@pytest.mark.parametrize("package", ["mvgeom", "mvaug", "mvtrain"])
def test_more_pixels_than_the_limit_are_not_decoded(package: str) -> None:
    # In a process of its own: OpenCV reads its limit when it is imported. Decoding one of them would take 2.7 GB.
    code = f"""
import {package}
import cv2
import numpy as np
import os
from mvgeom._image_limit import MAX_PIXELS
from mvgeom.images import decode_image

contents = {[make() for make in IMAGES.values()]!r}
print([decode_image(np.frombuffer(content, np.uint8)) for content in contents])
assert os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] == str(MAX_PIXELS)
peak = [line for line in open("/proc/self/status") if line.startswith("VmHWM")][0]
assert int(peak.split()[1]) < 600_000, peak
"""
    # Without the limit that this process has from mvgeom.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENCV_IO")}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert found.returncode == 0, found.stderr
    assert found.stdout == f"{[None] * len(IMAGES)}\n"
