import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mvtrain.masking import MaskingSchedule, PatchMask, draw_mask, random_scores


def masked_patches(images: torch.Tensor, patch: int) -> torch.Tensor:
    """(B, V, rows, columns) true where the whole patch is 0."""
    return images.abs().sum(2).unfold(2, patch, patch).unfold(3, patch, patch).sum((-2, -1)) == 0


def mask(
    images: torch.Tensor, ratio: float, *, patch: int = 4, seed: int = 0, epoch: int = 0, first: int = 0
) -> torch.Tensor:
    drawn = draw(images, ratio, patch=patch, seed=seed, epoch=epoch, first=first)
    return images if drawn is None else drawn.blank(images)


def draw(
    images: torch.Tensor, ratio: float, *, patch: int = 4, first: int = 0, epoch: int = 0, **options
) -> PatchMask | None:
    return draw_mask(
        tuple(images.shape[-2:]),
        (patch, patch),
        ratio=ratio,
        num_views=images.shape[1],
        epoch=epoch,
        index=torch.arange(first, first + len(images)),
        **{"seed": 0, **options},
    )


@pytest.mark.parametrize(("epoch", "ratio"), [(0, 0.0), (39.99, 0.0), (40, 0.1), (170, 0.3), (300, 0.5), (1000, 0.5)])
def test_schedule_is_zero_then_linear_then_constant(epoch: float, ratio: float) -> None:
    schedule = MaskingSchedule(init=40, final=300, init_ratio=0.1, final_ratio=0.5)
    assert schedule.ratio(epoch) == pytest.approx(ratio)


def test_schedule_corners() -> None:
    jump = MaskingSchedule(init=5, final=5, init_ratio=0.1, final_ratio=0.5)
    assert [jump.ratio(t) for t in (4.9, 5, 6)] == [0, 0.5, 0.5]
    off = MaskingSchedule(init=0, final=5, init_ratio=0.3, final_ratio=0.0)
    assert [off.ratio(t) for t in (0, 3, 9)] == [0, 0, 0]


def test_schedule_refuses_what_makes_no_sense() -> None:
    with pytest.raises(ValueError, match=r"patch_mask\.final_ratio must lie in \[0, 1\], got 1.5"):
        MaskingSchedule(init=0, final=1, init_ratio=0, final_ratio=1.5)
    with pytest.raises(ValueError, match="before it starts at 9"):
        MaskingSchedule(init=9, final=1, init_ratio=0, final_ratio=0.5)


@settings(max_examples=40)
@given(
    ratio=st.floats(0, 1),
    num_views=st.integers(1, 4),
    rows=st.integers(1, 5),
    columns=st.integers(1, 6),
    seed=st.integers(0, 2**31),
)
def test_every_view_loses_exactly_its_share(ratio: float, num_views: int, rows: int, columns: int, seed: int) -> None:
    images = torch.ones(3, num_views, 3, rows * 4, columns * 4)
    hidden = masked_patches(mask(images, ratio, seed=seed), 4)
    assert (hidden.sum((-2, -1)) == round(ratio * rows * columns)).all()


def test_pixels_that_are_not_masked_stay() -> None:
    images = torch.randn(2, 2, 3, 16, 16)
    masked = mask(images, 0.5)
    assert torch.equal(masked[masked != 0], images[masked != 0])


def test_a_patch_cut_off_by_the_border_counts_as_one() -> None:
    masked = mask(torch.ones(1, 1, 3, 10, 10), 1 / 9, patch=4)
    assert (masked == 0).sum() / 3 in (16, 8, 4)


def test_no_repeats_between_epochs_samples_views_and_seeds() -> None:
    images = torch.ones(16, 4, 3, 32, 32)
    patterns = [
        tuple(pattern.flatten().tolist())
        for seed, epoch in [(0, 0), (0, 1), (1, 0), (1, 1)]
        for pattern in masked_patches(mask(images, 0.5, seed=seed, epoch=epoch), 4).flatten(0, 1)
    ]
    assert len(set(patterns)) == len(patterns)


@given(split=st.integers(1, 7))
@settings(max_examples=7)
def test_the_batch_a_sample_is_in_does_not_matter(split: int) -> None:
    images = torch.randn(8, 2, 3, 16, 16)
    whole = mask(images, 0.4, epoch=3)
    parts = torch.cat([mask(images[:split], 0.4, epoch=3), mask(images[split:], 0.4, epoch=3, first=split)])
    assert torch.equal(whole, parts)


def test_every_patch_is_masked_equally_often() -> None:
    scores = random_scores(0, 0, torch.arange(4000), 1, 16)
    first = scores.argsort(-1)[..., 0].flatten().bincount(minlength=16)
    # 250 expected per patch, standard deviation 15.3: five of them on either side.
    assert first.min() > 173
    assert first.max() < 327
