"""Limit of pixels of OpenCV's image decoders, which OpenCV reads from the environment when it is first imported."""

from __future__ import annotations

import os

MAX_PIXELS = 178_956_970
"""Pixels of an image at most: Pillow's own limit. OpenCV's is six times as high, for which 1 kB can take 6 GB."""

os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))
