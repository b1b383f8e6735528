import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from mvtrain.config import Config, load_config
from mvtrain.losses.heatmap import GRADIENT_SCALES
from mvtrain.training.schedules import Schedules, make_schedules


def schedules(tmp_path: Path, steps_per_epoch: int = 10, **sections: dict[str, Any]) -> Schedules:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"data": {"data_dir": "."}, **sections}))
    config: Config = load_config(path)
    return make_schedules(config, steps_per_epoch)


def test_milestones_multiply_the_learning_rate(tmp_path: Path) -> None:
    multistep = {"multisteplr": {"milestones": [150, 200], "gamma": 0.5}}
    made = schedules(
        tmp_path, training={"max_epochs": 300, "lr_scheduler": "multisteplr", "lr_scheduler_params": multistep}
    )
    factors = [made.learning_rate_factor(epoch) for epoch in (0, 149.9, 150, 199.9, 200, 299)]
    assert factors == [1, 1, 0.5, 0.5, 0.25, 0.25]


def test_cosine_with_warm_up_rises_then_falls_to_zero(tmp_path: Path) -> None:
    made = schedules(tmp_path, training={"max_epochs": 20, "lr_scheduler": "cosine", "warmup_epochs": 4})
    assert made.learning_rate_factor(0) == 0
    assert made.learning_rate_factor(2) == pytest.approx(0.5)
    assert made.learning_rate_factor(4) == pytest.approx(1)
    assert made.learning_rate_factor(12) == pytest.approx(0.5)
    assert made.learning_rate_factor(20) == pytest.approx(0, abs=1e-12)


def test_steps_and_epochs_are_equivalent(tmp_path: Path) -> None:
    in_epochs = schedules(
        tmp_path,
        training={
            "max_epochs": 30,
            "unfreezing_epoch": 2,
            "patch_mask": {"init_epoch": 4, "final_epoch": 20, "init_ratio": 0.1, "final_ratio": 0.5},
            "lr_scheduler_params": {"multisteplr": {"milestones": [10]}},
        },
    )
    in_steps = schedules(
        tmp_path,
        training={
            "max_steps": 300,
            "unfreezing_step": 20,
            "patch_mask": {"init_step": 40, "final_step": 200, "init_ratio": 0.1, "final_ratio": 0.5},
            "lr_scheduler_params": {"multisteplr": {"milestone_steps": [100]}},
        },
    )
    assert in_epochs == in_steps
    assert in_epochs.mask_ratio(12) == pytest.approx(0.3)


def test_the_backbone_is_frozen_and_then_warmed_up(tmp_path: Path) -> None:
    made = schedules(tmp_path, training={"max_epochs": 30, "unfreezing_epoch": 5})
    assert made.backbone_factor(4.99) == 0
    assert 0 < made.backbone_factor(5) < 0.2
    assert made.backbone_factor(8) == 1
    random_weights = {"backbone_pretrained": False}
    assert schedules(tmp_path, training={"max_epochs": 30}, model=random_weights).backbone_factor(0) == 1
    pretrained = schedules(tmp_path, training={"max_epochs": 30})
    assert pretrained.backbone_factor(0.99) == 0 < pretrained.backbone_factor(1)
    assert schedules(tmp_path, training={"max_epochs": 2}).backbone_factor(0.5) > 0
    assert schedules(tmp_path, training={"max_epochs": 30, "unfreezing_epoch": 0}).backbone_factor(0) == 1


@pytest.mark.parametrize(("steps_per_epoch", "epochs"), [(1, 300), (10, 300), (40, 75), (1000, 20)])
def test_a_run_without_a_length_has_a_budget_of_steps(tmp_path: Path, steps_per_epoch: int, epochs: int) -> None:
    assert schedules(tmp_path, steps_per_epoch, training={}).max_epochs == epochs


def test_a_config_without_a_schedule_has_a_cosine_and_one_with_milestones_steps(tmp_path: Path) -> None:
    milestones = {"multisteplr": {"milestones": [10]}}
    assert schedules(tmp_path, training={"max_epochs": 30}).cosine
    assert schedules(tmp_path, training={"max_epochs": 30, "lr_scheduler_params": milestones}).milestones == (10,)
    named = schedules(tmp_path, training={"max_epochs": 30, "lr_scheduler": "multisteplr"})
    assert (named.cosine, named.milestones) == (False, (15, 20, 25))
    assert schedules(tmp_path, training={"max_epochs": 30, "lr_scheduler": None}).learning_rate_factor(29) == 1


@pytest.mark.parametrize("end", [{"max_epochs": 2, "min_epochs": 300}, {"max_steps": 20, "min_steps": 300}])
def test_a_shortened_run_ends_where_it_was_shortened_to(tmp_path: Path, end: dict[str, int]) -> None:
    made = schedules(tmp_path, training=end)
    assert made.max_epochs == made.min_epochs == 2


@pytest.mark.parametrize("heatmap_loss", GRADIENT_SCALES)
def test_a_log_weight_is_as_strong_beside_any_heatmap_loss(tmp_path: Path, heatmap_loss: str) -> None:
    losses = {"supervised_pairwise_projections": {"log_weight": 0.5, "init_epoch": 0, "ramp_epochs": 0}}
    made = schedules(tmp_path, model={"heatmap_loss_type": heatmap_loss}, losses=losses)
    weight = made.losses["supervised_pairwise_projections"].at(1)
    assert weight == pytest.approx(GRADIENT_SCALES[heatmap_loss] / (2 * math.exp(0.5)))


def test_3d_losses_wait_for_the_heatmaps_by_default(tmp_path: Path) -> None:
    losses = {
        "supervised_pairwise_projections": {"log_weight": 0.5},
        "supervised_reprojection_heatmap_mse": {"log_weight": 0.0, "init_epoch": 0, "ramp_epochs": 0},
    }
    made = schedules(tmp_path, training={"max_epochs": 40}, losses=losses)
    pairwise = made.losses["supervised_pairwise_projections"]
    full = 1 / (2 * math.exp(0.5))
    assert [pairwise.at(epoch) for epoch in (0, 9.9, 10, 15, 20, 40)] == pytest.approx([0, 0, 0, full / 2, full, full])
    assert made.losses["supervised_reprojection_heatmap_mse"].at(0) == 0.5


def test_masking_is_off_with_a_final_ratio_of_zero(tmp_path: Path) -> None:
    mask = {"init_epoch": 0, "final_epoch": 1, "init_ratio": 0.5, "final_ratio": 0.0}
    assert schedules(tmp_path, training={"max_epochs": 4, "patch_mask": mask}).mask_ratio(0.5) == 0
