import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.errors import raises_input
from mvtrain.config import load_config
from mvtrain.model.masking import MaskingSchedule, PatchMask, _hash, draw_mask, random_scores
from mvtrain.training.schedules import Schedules, make_schedules
from mvtrain.training.summary import describe_masking


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


def test_schedule_of_equal_ratios_is_a_step() -> None:
    schedule = MaskingSchedule(init=2, final=8, init_ratio=0.4, final_ratio=0.4)
    assert [schedule.ratio(t) for t in (0, 1.999, 2, 5, 8, 100)] == pytest.approx([0, 0, 0.4, 0.4, 0.4, 0.4])


def test_schedule_from_nothing_to_everything_and_back() -> None:
    rising = MaskingSchedule(init=0, final=4, init_ratio=0, final_ratio=1)
    assert [rising.ratio(t) for t in (0, 1, 2, 4, 5)] == [0, 0.25, 0.5, 1, 1]
    falling = MaskingSchedule(init=0, final=4, init_ratio=1, final_ratio=0.5)
    assert [falling.ratio(t) for t in (0, 2, 4, 9)] == [1, 0.75, 0.5, 0.5]


@given(
    init=st.floats(0, 50),
    length=st.floats(0, 50),
    ratios=st.tuples(st.floats(0, 1), st.floats(0.001, 1)),
    time=st.floats(0, 200),
)
def test_schedule_stays_between_its_ends(init: float, length: float, ratios: tuple[float, float], time: float) -> None:
    schedule = MaskingSchedule(init=init, final=init + length, init_ratio=ratios[0], final_ratio=ratios[1])
    ratio = schedule.ratio(time)
    assert ratio == 0 if time < init else min(ratios) - 1e-9 <= ratio <= max(ratios) + 1e-9


def test_schedule_of_views_rises_from_nothing_also_without_patches() -> None:
    schedule = MaskingSchedule(init=10, final=20, init_ratio=0.3, final_ratio=0.0, view_ratio=0.5)
    assert [schedule.views(t) for t in (0, 9.9, 10, 15, 20, 99)] == [0, 0, 0, 0.25, 0.5, 0.5]
    assert [schedule.ratio(t) for t in (0, 15, 99)] == [0, 0, 0]
    without = MaskingSchedule(init=10, final=20, init_ratio=0.3, final_ratio=0.5)
    assert [without.views(t) for t in (0, 15, 99)] == [0, 0, 0]


def test_schedule_refuses_impossible_values() -> None:
    with raises_input("bad-value", key="training.patch_mask.final_ratio"):
        MaskingSchedule(init=0, final=1, init_ratio=0, final_ratio=1.5)
    with raises_input("bad-value", key="training.patch_mask"):
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


def test_nothing_and_everything() -> None:
    images = torch.randn(2, 3, 3, 16, 16)
    assert draw(images, 0.0) is None
    everything = draw(images, 1.0)
    assert everything is not None
    assert everything.hidden.all()
    assert everything.kept.shape == (2, 3, 0)
    assert (everything.blank(images) == 0).all()


@settings(max_examples=25)
@given(ratio=st.floats(0.05, 1), rows=st.integers(1, 5), columns=st.integers(1, 6), seed=st.integers(0, 100))
def test_kept_patches_are_those_not_hidden(ratio: float, rows: int, columns: int, seed: int) -> None:
    mask = draw(torch.ones(3, 2, 3, rows * 4, columns * 4), ratio, seed=seed)
    if mask is None:
        assert round(ratio * rows * columns) == 0
        return
    counted = torch.zeros(3, 2, rows * columns).scatter_add(2, mask.kept, torch.ones(mask.kept.shape))
    assert torch.equal(counted.reshape(mask.hidden.shape), 1.0 * ~mask.hidden)


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


def test_no_repeats_over_the_steps_of_a_run() -> None:
    # 10 epochs of 4 steps of 4 samples of 3 views: no two of the 480 views are masked alike.
    images = torch.ones(4, 3, 3, 32, 32)
    patterns = [
        tuple(pattern.flatten().tolist())
        for epoch in range(10)
        for step in range(4)
        for pattern in masked_patches(mask(images, 0.5, epoch=epoch, first=4 * step), 4).flatten(0, 1)
    ]
    assert len(set(patterns)) == len(patterns) == 480


@given(order=st.permutations(range(8)), cuts=st.sets(st.integers(1, 7)), view_ratio=st.sampled_from([0.0, 0.4]))
@settings(max_examples=25)
def test_the_batch_a_sample_is_in_does_not_matter(order: list[int], cuts: set[int], view_ratio: float) -> None:
    def hidden(index: list[int]) -> torch.Tensor:
        drawn = draw_mask(
            (16, 24), (4, 4), ratio=0.4, view_ratio=view_ratio, num_views=3, seed=1, epoch=3, index=torch.tensor(index)
        )
        assert drawn is not None
        return drawn.hidden

    ends = [0, *sorted(cuts), 8]
    batches = [order[start:end] for start, end in pairwise(ends)]
    assert torch.equal(torch.cat([hidden(batch) for batch in batches]), hidden(list(range(8)))[order])


def hidden_views(ratio: float, num_samples: int, num_views: int, present: torch.Tensor | None = None) -> torch.Tensor:
    drawn = draw_mask(
        (16, 16),
        (4, 4),
        ratio=0.0,
        view_ratio=ratio,
        num_views=num_views,
        view_mask=present,
        seed=0,
        epoch=2,
        index=torch.arange(num_samples),
    )
    assert drawn is not None
    whole = drawn.hidden.flatten(2)
    assert torch.equal(whole.all(-1), whole.any(-1))
    assert drawn.kept.shape == (num_samples, num_views, 16)
    return whole.all(-1)


@pytest.mark.parametrize(("ratio", "num_views"), [(0.1, 4), (0.25, 4), (0.3, 3), (0.5, 2), (0.5, 5)])
def test_as_many_views_are_hidden_as_asked_for_on_average(ratio: float, num_views: int) -> None:
    hidden = hidden_views(ratio, 4000, num_views)
    # A sample hides one of two neighboring numbers of views.
    assert set(hidden.sum(1).tolist()) <= {math.floor(ratio * num_views), math.ceil(ratio * num_views)}
    assert hidden.float().mean().item() == pytest.approx(ratio, abs=0.02)
    assert hidden.float().mean(0).tolist() == pytest.approx([ratio] * num_views, abs=0.04)


@pytest.mark.parametrize("num_views", [1, 2, 4])
def test_at_least_one_view_is_left(num_views: int) -> None:
    assert (hidden_views(1.0, 50, num_views).sum(1) == num_views - 1).all()


def test_views_that_do_not_exist_are_not_counted() -> None:
    present = torch.rand(400, 4, generator=torch.Generator().manual_seed(0)) < 0.6
    hidden = hidden_views(0.5, 400, 4, present)
    assert not (hidden & ~present).any()
    num_present = present.sum(1)
    assert (hidden.sum(1) <= torch.clamp(num_present - 1, min=0)).all()
    assert (hidden.sum(1) >= torch.minimum(num_present // 2, num_present - 1).clamp(min=0)).all()


def test_hidden_views_differ_between_epochs_and_samples_and_are_not_tied_to_the_patches() -> None:
    def hidden(epoch: int, ratio: float) -> torch.Tensor:
        drawn = draw_mask(
            (16, 16), (4, 4), ratio=ratio, view_ratio=0.5, num_views=4, seed=0, epoch=epoch, index=torch.arange(64)
        )
        assert drawn is not None
        return drawn.hidden.flatten(2).all(-1)

    first = hidden(0, 0.0)
    assert len({tuple(row) for row in first.tolist()}) == 6
    assert not torch.equal(first, hidden(1, 0.0))
    assert torch.equal(first, hidden(0, 0.5))


def test_hidden_views_are_drawn_independently_of_the_patches_of_any_view() -> None:
    """With one random stream for both, the view of the lower number is the one whose patch comes first in view 0."""
    drawn = draw_mask(
        (16, 16), (4, 4), ratio=0.0, view_ratio=0.5, num_views=2, seed=0, epoch=3, index=torch.arange(2000)
    )
    assert drawn is not None
    first_hidden = drawn.hidden.flatten(2).all(-1)[:, 0]
    ranks = drawn.kept.argsort(-1)  # (B, V, N) place of each patch
    for view in range(2):
        for patch in range(15):
            first_earlier = ranks[:, view, patch] < ranks[:, view, patch + 1]
            assert 0.45 < (first_hidden == first_earlier).float().mean() < 0.55


def test_patches_of_views_that_are_left_are_masked_exactly_too() -> None:
    drawn = draw_mask(
        (16, 16), (4, 4), ratio=0.25, view_ratio=0.5, num_views=4, seed=0, epoch=0, index=torch.arange(20)
    )
    assert drawn is not None
    assert set(drawn.hidden.flatten(2).sum(-1).flatten().tolist()) == {4, 16}


def test_every_patch_is_masked_equally_often() -> None:
    scores = random_scores(0, 0, torch.arange(4000), 1, 16)
    first = scores.argsort(-1)[..., 0].flatten().bincount(minlength=16)
    # 250 expected per patch, standard deviation 15.3: five of them on either side.
    assert first.min() > 173
    assert first.max() < 327


def schedules_of(tmp_path: Path, training: dict[str, Any]) -> Schedules:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"data": {"data_dir": "."}, "training": training}))
    return make_schedules(load_config(path), steps_per_epoch=10)


def test_a_curriculum_in_steps_is_the_one_in_epochs(tmp_path: Path) -> None:
    shared = {"init_ratio": 0.1, "final_ratio": 0.5, "view_ratio": 0.2, "clear_share": 0.2}
    in_epochs = schedules_of(tmp_path, {"max_epochs": 30, "patch_mask": {"init_epoch": 4, "final_epoch": 20, **shared}})
    in_steps = schedules_of(tmp_path, {"max_steps": 300, "patch_mask": {"init_step": 40, "final_step": 200, **shared}})
    assert in_epochs.masking == in_steps.masking
    assert [in_steps.mask_ratio(t) for t in (3.9, 4, 12, 20, 23)] == pytest.approx([0, 0.1, 0.3, 0.5, 0.5])
    assert [in_steps.view_ratio(t) for t in (3.9, 4, 12, 20, 23)] == pytest.approx([0, 0, 0.1, 0.2, 0.2])


@pytest.mark.parametrize(("share", "clear_from"), [(None, 16), (0.2, 24), (0.0, 30)])
def test_the_end_of_a_run_sees_whole_images(tmp_path: Path, share: float | None, clear_from: float) -> None:
    mask = {
        "init_epoch": 2,
        "final_epoch": 10,
        "final_ratio": 0.5,
        "view_ratio": 0.2,
        **({} if share is None else {"clear_share": share}),
    }
    made = schedules_of(tmp_path, {"max_epochs": 30, "patch_mask": mask})
    assert (made.mask_ratio(clear_from - 0.01), made.view_ratio(clear_from - 0.01)) == (0.5, 0.2)
    assert (made.mask_ratio(clear_from), made.view_ratio(clear_from)) == (0, 0)


@pytest.mark.parametrize(("final", "cut"), [(10, False), (15, False), (20, True)])
def test_the_summary_names_masks_that_end_before_their_full_share(tmp_path: Path, final: int, cut: bool) -> None:
    text = describe_masking(
        schedules_of(tmp_path, {"max_epochs": 30, "patch_mask": {"final_epoch": final, "final_ratio": 0.5}})
    )
    assert "none from epoch 15" in text
    assert ("training.patch_mask.clear_share" in text) == cut


def test_views_can_be_hidden_without_patches(tmp_path: Path) -> None:
    made = schedules_of(tmp_path, {"patch_mask": {"final_epoch": 10, "view_ratio": 0.4}})
    assert made.view_ratio(5) == pytest.approx(0.2)
    assert made.mask_ratio(5) == 0


def test_masks_without_lengths_follow_the_run(tmp_path: Path) -> None:
    made = schedules_of(tmp_path, {"max_epochs": 50, "patch_mask": {"view_ratio": 0.2, "clear_share": 0.2}})
    assert [made.view_ratio(epoch) for epoch in (9.9, 15, 20, 39.9, 40)] == pytest.approx([0, 0.1, 0.2, 0.2, 0])
    only_start = schedules_of(tmp_path, {"max_epochs": 50, "patch_mask": {"init_epoch": 30, "final_ratio": 0.5}})
    assert [only_start.mask_ratio(epoch) for epoch in (29.9, 30)] == [0, 0.5]


@pytest.mark.parametrize(
    ("patch_mask", "code", "key"),
    [
        ({"view_ratio": 1.5, "final_epoch": 3}, "bad-value", "view_ratio"),
        ({"mode": "blocks"}, "bad-value", "mode"),
        ({"init_epoch": 3, "final_step": 30, "final_ratio": 0.5}, "excluded-options", "init_epoch"),
        ({"init_step": 9, "final_step": 3, "final_ratio": 0.5}, "bad-value", "final_step"),
    ],
)
def test_an_impossible_curriculum_is_refused(tmp_path: Path, patch_mask: dict[str, Any], code: str, key: str) -> None:
    with raises_input(code, key=f"training.patch_mask.{key}"):
        schedules_of(tmp_path, {"patch_mask": patch_mask})


def test_scores_are_hashed_by_splitmix64() -> None:
    # The generator's published outputs for seed 1234567: its state grows by a constant, and is hashed. Masks of a run
    # that is resumed must be those of any other version and machine.
    step, mask = 0x9E3779B97F4A7C15, 2**64 - 1
    states = [(1234567 + number * step) & mask for number in range(5)]
    signed = torch.tensor([state - 2**64 if state >= 2**63 else state for state in states])
    assert [value & mask for value in _hash(signed).tolist()] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
