"""Frame numbers in the names of images, apart from other digits behind them."""

from __future__ import annotations

import re
from itertools import pairwise

_TAILS = tuple(
    re.compile(expression, re.IGNORECASE)
    for expression in (
        r"[ _-](?:jpe?g|png|bmp|tiff?|webp)\.rf\.[0-9a-z]+$",  # Roboflow: img_0012_jpg.rf.<hash>
        r"[ _-]*\(\d+\)$",  # a second copy of a file: frame12 (2)
        r"[ _-]+copy(?:[ _-]*\d+)?$",
        r"[ _-]\d+x\d+(?:px)?$",  # a size: f_0012_1280x720
        r"[ _-]\d+(?:\.\d+)?(?:px|fps|hz|p)$",
        r"[ _.-][0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$",  # UUID
    )
)
"""Endings that programs append to the names of images."""
_HASH = re.compile(r"[ _.-]([0-9a-f]{8,})$", re.IGNORECASE)


def frame_number(name: str, view: str | None = None) -> int | None:
    """Return the last number of an image's name that is not part of a hash, a size, a copy number or the view.

    Where nothing else has digits, a copy number is the frame: `Image (12)` is frame 12.

    Args:
        name: File name without suffix.
        view: View of the image; its name at the end of the image's name is not a frame number, unless it is a number
            alone.

    Returns:
        Number of the frame; None for a name without digits.
    """
    numbers = re.findall(r"\d+", trim(name, view)) or re.findall(r"\d+", name)
    return int(numbers[-1]) if numbers else None


def trim(name: str, view: str | None = None) -> str:
    """Remove hashes, sizes, copy numbers and the view from the end of a name without suffix."""
    own = [] if not view or view.isdigit() else [re.compile(rf"(?<=.)[ _.-]{re.escape(view)}$")]
    expressions = [*_TAILS, *own]
    while True:
        shorter = next((short for expression in expressions if (short := expression.sub("", name)) != name), name)
        match = _HASH.search(name) if shorter == name else None  # last: Roboflow's hash is a part of its tail
        if match is not None and _is_hash(match[1]):
            shorter = name[: match.start()]
        if shorter == name:
            return name
        name = shorter


def _is_hash(token: str) -> bool:
    """Return True if letters and digits alternate more than once, which `bee00012` and `00001234` do not."""
    return sum(first.isdigit() != second.isdigit() for first, second in pairwise(token)) > 1
