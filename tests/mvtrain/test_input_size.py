"""Size of the network's input in new configs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvtrain.config.recommended import LONGEST, suggest_input_size


@pytest.mark.parametrize(
    ("image", "expected"),
    [((1920, 1080), (256, 128)), ((1088, 1920), (160, 256)), ((96, 96), (96, 96)), ((200, 90), (192, 96))],
)
def test_the_longer_side_is_at_most_256_px(image: tuple[int, int], expected: tuple[int, int]) -> None:
    assert suggest_input_size(*image) == expected


@given(width=st.integers(1, 5000), height=st.integers(1, 5000))
def test_the_shape_is_that_of_the_image_to_half_a_block(width: int, height: int) -> None:
    scale = min(1.0, LONGEST / max(width, height))
    for side, length in zip(suggest_input_size(width, height), (width, height), strict=True):
        assert side % 32 == 0
        assert side == 32 if length * scale < 32 else abs(side - length * scale) <= 16
