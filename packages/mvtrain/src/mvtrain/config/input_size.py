"""What size of the network's input to write into a config that is to start from."""

from __future__ import annotations

LONGEST = 256
"""px of the longer side; smaller images are not enlarged."""

_MULTIPLE = 32


def suggest_input_size(width: int, height: int) -> tuple[int, int]:
    """Width and height of the network's input for images of a size: the same shape, in whole multiples of 32 px."""
    scale = min(1.0, LONGEST / max(width, height))
    return (
        max(_MULTIPLE, _MULTIPLE * round(width * scale / _MULTIPLE)),
        max(_MULTIPLE, _MULTIPLE * round(height * scale / _MULTIPLE)),
    )
