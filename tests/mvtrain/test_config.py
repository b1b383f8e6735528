"""Config files: keys of existing projects, overrides, interpolation, paths, and messages for what users get wrong."""

from __future__ import annotations

import dataclasses
import re
import tempfile
import typing
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mvtrain.config import Config, LossConfig, load_config, save_config
from mvtrain.config.keys import FOREIGN_KEYS
from mvtrain.config.recommended import learning_rates

HUMAN4 = Path(__file__).parents[2].parent / "shared" / "data" / "human4" / "config.yaml"

EVERY_KEY = """
data:
  image_resize_dims: {height: 256, width: 384}
  data_dir: project
  video_dir: ${data.data_dir}/videos
  csv_file: [CollectedData_top.csv, CollectedData_side.csv]
  bbox_file: [bboxes_top.csv, bboxes_side.csv]
  view_names: [top, side]
  num_keypoints: null
  keypoint_names: [nose, 2]
  camera_params_file: calibrations.csv
  downsample_factor: 3
  skeleton: [[nose, 2]]
  mirrored_column_matches: [0, 1]
  columns_for_singleview_pca: null
training:
  imgaug: {Rotate: {p: 0.5, args: [], kwargs: {rotate: [-10, 10]}}}
  imgaug_3d: true
  imgaug_hflip: false
  train_batch_size: 8
  val_batch_size: 16
  test_batch_size: 16
  train_prob: 0.8
  val_prob: 0.1
  train_frames: 1
  num_gpus: 2
  num_workers: 4
  accumulate_grad_batches: 2
  unfreezing_step: 100
  min_steps: 1000
  max_steps: 2000
  log_every_n_steps: 10
  check_val_every_n_epoch: 5
  ckpt_every_n_epochs: null
  early_stopping: true
  early_stop_patience: 3
  rng_seed_data_pt: 1
  rng_seed_model_pt: 2
  optimizer: Adam
  optimizer_params: {learning_rate: 5e-5}
  lr_scheduler: multisteplr
  lr_scheduler_params: {multisteplr: {milestone_steps: [500, 1500], gamma: 0.5}}
  uniform_heatmaps_for_nan_keypoints: true
  patch_mask: {init_step: 40, final_step: 300, init_ratio: 0.0, final_ratio: 0.5}
model:
  losses_to_use: []
  backbone: vits_dino
  backbone_pretrained: true
  model_type: heatmap
  heatmap_loss_type: js
  model_name: ${now:%Y}
  lightning_pose_version: 2.0.1
  checkpoint: null
losses:
  supervised_pairwise_projections: {log_weight: 0.5}
  supervised_reprojection_heatmap_mse: {log_weight: 3}
  pca_multiview: {log_weight: 5.0, components_to_keep: 3, epsilon: null}
  temporal: ???
eval:
  predict_vids_after_training: true
  test_videos_directory: ${data.video_dir}
  save_vids_after_training: false
  confidence_thresh_for_vid: 0.9
  colormap: cool
  hydra_paths: [" "]
dali: {base: {train: {sequence_length: 32}}}
callbacks: {anneal_weight: {attr_name: total_unsupervised_importance}}
creation_datetime: 2026-01-01 10:00:00
hydra:
  run: {dir: "outputs/${now:%Y-%m-%d}"}
  sweep: {subdir: "${hydra.job.num}"}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def message(folder: Path, text: str, *overrides: str) -> str:
    with pytest.raises(ValueError, match=re.escape(str(folder))) as caught:
        load_config(write(folder, text), overrides)
    return str(caught.value)


def leaf_keys(cls: type, prefix: str = "") -> dict[str, typing.Any]:
    """Dotted key to type hint of every leaf of the schema."""
    found: dict[str, typing.Any] = {}
    for name, hint in typing.get_type_hints(cls).items():
        section = next((m for m in (hint, *typing.get_args(hint)) if dataclasses.is_dataclass(m)), None)
        if typing.get_origin(hint) is dict or section is None:
            found[f"{prefix}{name}"] = hint
        else:
            found |= leaf_keys(section, f"{prefix}{name}.")
    found.pop("ignored", None)
    return found


@given(st.sampled_from(sorted(leaf_keys(Config))), st.integers(0, 30))
@settings(max_examples=60, deadline=None)
def test_misspelt_key_is_named_and_corrected(key: str, position: int) -> None:
    """A doubled letter anywhere in the last part of a key: the message has the wrong key and the right one."""
    *parents, last = key.split(".")
    position %= len(last)
    wrong = ".".join([*parents, last[: position + 1] + last[position:]])
    with tempfile.TemporaryDirectory() as folder:
        text = message(Path(folder), "data: {}", f"{wrong}=1")
    assert f"unknown key {wrong};" in text
    assert f"did you mean {key}?" in text


VALUES = {
    "data.data_dir": st.sampled_from(["a", "/b/c", "ö ü", "${data.camera_params_file}", "x\\${y}", "~/z"]),
    "data.view_names": st.sampled_from(["[a, b]", "a", "null", "[1, '2']"]),
    "data.keypoint_names": st.sampled_from(["[nose, 'yes', '1e3']", "null"]),
    "data.skeleton": st.sampled_from(["[[nose, tail], [a, b]]", "null", "[]"]),
    "data.synthetic": st.sampled_from(["{num_views: 3, size: [64, 64], seed: null}", "null"]),
    "training.train_frames": st.floats(0.01, 1000).map(lambda v: repr(v if v < 1 else round(v))),
    "training.imgaug": st.sampled_from(["none", "{Rotate: {p: 1.0, kwargs: {rotate: [-1, 1]}}}"]),
    "training.imgaug_3d": st.sampled_from(["true", "false", "{scale: [0.5, 2]}"]),
    "training.devices": st.sampled_from(["2", "'0,1'", "auto", "null"]),
    "training.patch_mask": st.sampled_from(["null", "{final_epoch: 3, final_ratio: 0.25}"]),
    "training.optimizer_params.learning_rate": st.floats(1e-30, 1e3).map(repr),
    "training.lr_scheduler": st.sampled_from(["cosine", "null"]),
    "model.model_type": st.sampled_from(["heatmap", "heatmap_multiview_transformer"]),
    "model.checkpoint": st.sampled_from(["null", "a b.ckpt"]),
    "losses.supervised_pairwise_projections.log_weight": st.floats(-5, 5).map(repr),
}


@given(st.fixed_dictionaries({}, optional=VALUES))
@settings(max_examples=60, deadline=None)
def test_saved_config_reads_back_equal(values: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = load_config(
            write(folder, "data: {camera_params_file: c.csv}"), [f"{key}={value}" for key, value in values.items()]
        )
        save_config(config, folder / "elsewhere" / "saved.yaml")
        assert load_config(folder / "elsewhere" / "saved.yaml") == config
        assert sorted(path.name for path in (folder / "elsewhere").iterdir()) == ["saved.yaml"]


@given(st.sampled_from(sorted(leaf_keys(Config).items(), key=str)))
@settings(max_examples=100, deadline=None)
def test_value_of_the_wrong_kind_names_the_key(item: tuple[str, typing.Any]) -> None:
    """A nested list suits no key but free mappings, which refuse it too."""
    key, _ = item
    with tempfile.TemporaryDirectory() as folder:
        assert f"{key}" in message(Path(folder), "data: {}", f"{key}=[[[1]]]")


def test_every_key_of_existing_projects(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, EVERY_KEY))
    assert (config.data.image_resize_dims.height, config.data.image_resize_dims.width) == (256, 384)
    assert config.data.data_dir == tmp_path / "project"
    assert config.data.video_dir == config.eval.test_videos_directory == tmp_path / "project" / "videos"
    assert config.data.keypoint_names == ("nose", "2")
    assert config.data.skeleton == (("nose", "2"),)
    assert config.training.imgaug == {"Rotate": {"p": 0.5, "args": [], "kwargs": {"rotate": [-10, 10]}}}
    assert config.training.optimizer_params.learning_rate == 5e-5
    assert config.training.lr_scheduler_params.multisteplr.milestone_steps == (500, 1500)
    assert config.training.max_steps == 2000
    assert config.training.max_epochs is None
    assert config.training.train_frames == 1
    assert config.model.attention == "per_view"
    assert config.losses["supervised_reprojection_heatmap_mse"] == LossConfig(log_weight=3.0)
    assert config.ignored == (
        *("data.mirrored_column_matches", "data.columns_for_singleview_pca", "model.model_name"),
        *("model.lightning_pose_version", "losses.pca_multiview", "losses.temporal", "eval.hydra_paths"),
        *("dali", "callbacks", "creation_datetime", "hydra"),
    )
    assert "data.mirrored_column_matches" in FOREIGN_KEYS


@pytest.mark.skipif(not HUMAN4.is_file(), reason="../shared/data/human4 is absent")
def test_human4_runs_as_it_stands() -> None:
    config = load_config(HUMAN4)
    assert config.data.data_dir == HUMAN4.parent.resolve()
    assert config.eval.test_videos_directory == config.data.video_dir == HUMAN4.parent.resolve() / "videos"
    assert config.data.num_keypoints == len(config.data.keypoint_names or ()) == 19
    assert config.training.patch_mask is not None
    assert config.training.patch_mask.final_ratio == 0.5
    assert set(config.losses) == {"supervised_pairwise_projections", "supervised_reprojection_heatmap_mse"}
    assert set(config.ignored) >= {"dali", "callbacks", "hydra", "model.model_name"}


def test_defaults(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, "data:\ntraining:\nlosses:\n"))
    assert config == Config()
    assert config.training.max_epochs is None
    assert learning_rates(config) == (1e-3, 1e-4)
    assert config.data.downsample_factor == 2
    assert config.model.heatmap_loss_type == "mse"
    assert config.model.attention == "joint"
    assert config.losses == {}


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("training: {optimizer_params: {learning_rate: 5e-5}}", (5e-5, 5e-5)),
        ("training: {optimizer_params: {learning_rate: 5e-5}, backbone_learning_rate: 1e-6}", (5e-5, 1e-6)),
        ("training: {backbone_learning_rate: 1e-6}", (1e-3, 1e-6)),
        ("model: {backbone_pretrained: false}", (1e-3, 1e-3)),
        ("model: {backbone_pretrained: false, backbone_weights: a.safetensors}", (1e-3, 1e-4)),
    ],
)
def test_a_learning_rate_that_is_given_means_what_it_says(
    tmp_path: Path, text: str, rates: tuple[float, float]
) -> None:
    assert learning_rates(load_config(write(tmp_path, text))) == rates


def test_paths_count_from_the_file_or_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    text = "data: {data_dir: ., video_dir: '${data.data_dir}/videos'}\nmodel: {checkpoint: a.ckpt}"
    path = write(tmp_path / "there", text)
    config = load_config(path)
    assert config.data.data_dir == tmp_path / "there"
    assert config.data.video_dir == tmp_path / "there" / "videos"
    assert config.model.checkpoint == tmp_path / "there" / "a.ckpt"
    config = load_config(path, ["data.data_dir=project", "model.checkpoint=../b.ckpt"])
    assert config.data.data_dir == tmp_path / "here" / "project"
    assert config.data.video_dir == tmp_path / "here" / "project" / "videos"
    assert config.model.checkpoint == tmp_path / "b.ckpt"


def test_overrides(tmp_path: Path) -> None:
    path = write(tmp_path, "data: {view_names: [a, b]}\ntraining: {imgaug: {Rotate: {p: 1}}, patch_mask: null}")
    overrides = ("data.view_names=[c]", "training.imgaug={Flip: {p: 0}}", "training.patch_mask.final_epoch=5")
    config = load_config(
        path, [*overrides, "+losses.supervised_pairwise_projections.log_weight=-1", "model.backbone=x=y"]
    )
    assert config.data.view_names == ("c",)
    assert config.training.imgaug == {"Flip": {"p": 0}}
    assert config.training.patch_mask is not None
    assert config.training.patch_mask.final_epoch == 5
    assert config.losses["supervised_pairwise_projections"].log_weight == -1
    assert config.model.backbone == "x=y"


def test_interpolation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MVTRAIN_TEST_ROOT", "/somewhere")
    text = (
        "data: {data_dir: '${oc.env:MVTRAIN_TEST_ROOT}/mice', video_dir: '${hydra.videos}'}\n"
        "training: {val_batch_size: '${training.train_batch_size}', train_batch_size: 3}\n"
        "hydra: {videos: '${data.data_dir}/films', broken: '${nothing.there} ${now:%Y}', open: '???'}"
    )
    config = load_config(write(tmp_path, text))
    assert config.data.video_dir == Path("/somewhere/mice/films")
    assert config.training.val_batch_size == 3


def test_null_turns_a_loss_off(tmp_path: Path) -> None:
    text = "losses: {supervised_pairwise_projections: {log_weight: null}, supervised_reprojection_heatmap_mse: null}"
    assert load_config(write(tmp_path, text)).losses == {}


def test_loss_weight() -> None:
    assert LossConfig(log_weight=0.0).weight == 0.5
    assert LossConfig(log_weight=3.0).weight == pytest.approx(0.0248935, rel=1e-5)


@pytest.mark.parametrize(
    ("text", "hardware"),
    [
        ("{}", ("auto", "auto")),
        ("{num_gpus: 0}", ("cpu", 1)),
        ("{num_gpus: 2}", ("auto", 2)),
        ("{accelerator: cuda, devices: '0,1'}", ("cuda", "0,1")),
        ("{accelerator: cpu, devices: 2}", ("cpu", 2)),
    ],
)
def test_hardware(tmp_path: Path, text: str, hardware: tuple[str, int | str]) -> None:
    assert load_config(write(tmp_path, f"training: {text}")).training.hardware == hardware


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["must hold a mapping", "found nothing"]),
        ("# a comment", ["must hold a mapping", "found nothing"]),
        ("just words", ["unknown key just words;"]),
        ("- 1\n- 2", ["must hold a mapping", "found a list"]),
        ("data: {}\nmodel: [1\ntraining: {}", ["is not YAML: line 3"]),
        ("data: {}\n\tmodel: {}", ["is not YAML: line 2, column 1"]),
        ("data: {}\ndata: {}", ["line 2", "duplicate key data"]),
        ("data: !!python/object/apply:os.mkdir [made]", ["line 1, column 7", "python/object/apply:os.mkdir"]),
        ("data: {data_dir: '${'}", ["config.yaml: data.data_dir"]),
        ("data: 3", ["data must be a section of keys, found 3"]),
        ("losses: [a]", ["losses must be a section of keys, found ['a']"]),
        ("training: {patch_mask: 0.5}", ["training.patch_mask must be a section of keys, found 0.5"]),
        ("data: {data_dir: '???'}", ["data.data_dir has no value", "add data.data_dir=VALUE"]),
        ("losses: {heatmap_mse: {}}", ["losses.heatmap_mse.log_weight has no value"]),
        ("data: {data_dir: '${data.dir}'}", ["data.data_dir: Interpolation key 'data.dir' not found"]),
        ("data: {data_dir: '${LP_ROOT:}/x'}", ["data.data_dir: Unsupported interpolation type LP_ROOT"]),
        (
            "data: {data_dir: '${data.video_dir}', video_dir: '???'}",
            ["data.data_dir", "Missing mandatory value: data.video_dir"],
        ),
        ("data: {data_dir: ''}", ["data.data_dir must be a path or null, found an empty text"]),
        ("data: {data_dir: 5}", ["data.data_dir must be a path or null, found 5 (int)"]),
        ("data: {csv_file: 5}", ["data.csv_file must be a list (a text each), found 5"]),
        ("data: {view_names: [a, {cam0}]}", ["data.view_names[1] must be a text, found {'cam0': None}"]),
        ("data: {view_names: []}", ["data.view_names must be a list with at least one entry, or null"]),
        ("data: {view_names: [a, b, a]}", ["data.view_names must be distinct names, found ['a']"]),
        ("data: {view_names: [a, b], csv_file: [a.csv]}", ["data.view_names has 2", "data.csv_file has 1 ['a.csv']"]),
        ("data: {csv_file: [a.csv], bbox_file: [a.csv, b.csv]}", ["data.csv_file has 1", "data.bbox_file has 2"]),
        ("data: {num_keypoints: 3, keypoint_names: [a]}", ["data.num_keypoints is 3 but data.keypoint_names lists 1"]),
        ("data: {skeleton: [[a, b], [c]]}", ["data.skeleton[1] must be a list of 2, found ['c']"]),
        ("data: {downsample_factor: 4}", ["data.downsample_factor must be 1, 2 or 3, found 4"]),
        (
            "data: {image_resize_dims: {height: null}}",
            ["data.image_resize_dims.height must be a whole number, found null"],
        ),
        ("data: {image_resize_dims: {width: 0}}", ["data.image_resize_dims.width must be greater than 0, found 0"]),
        ("data: {split: time}", ["data.split must be one of random, session, block, found 'time' (str)"]),
        ("training: {max_epochs: many}", ["training.max_epochs must be a whole number or null, found 'many' (str)"]),
        ("training: {train_batch_size: 1.5}", ["training.train_batch_size must be a whole number, found 1.5 (float)"]),
        ("training: {early_stopping: 2}", ["training.early_stopping must be true or false, found 2"]),
        ("training: {imgaug: 3}", ["training.imgaug must be a text or a mapping, found 3 (int)"]),
        ("training: {optimizer: SGD}", ["training.optimizer must be one of Adam, AdamW, found 'SGD' (str)"]),
        (
            "training: {optimizer_params: {learning_rate: 0}}",
            ["training.optimizer_params.learning_rate must be greater"],
        ),
        ("training: {train_prob: 0.9, val_prob: 0.2}", ["training.train_prob + training.val_prob must not exceed 1"]),
        ("training: {train_prob: 80}", ["training.train_prob must be between 0 and 1, found 80"]),
        ("training: {train_prob: 0}", ["training.train_prob must be greater than 0, found 0"]),
        ("training: {train_frames: 10.5}", ["training.train_frames must be 1 (all), a fraction below 1, or a whole"]),
        ("training: {train_frames: 0}", ["training.train_frames must be greater than 0, found 0"]),
        ("training: {ema_decay: 1.0}", ["training.ema_decay must be between 0 and 1 (both excluded), found 1.0"]),
        (
            "training: {patch_mask: {clear_share: 1.5}}",
            ["training.patch_mask.clear_share must be between 0 and 1, found 1.5"],
        ),
        (
            "training: {max_epochs: 9, max_steps: 9}",
            ["mixed: training.max_epochs count epochs, training.max_steps count"],
        ),
        (
            "training: {max_steps: 9, patch_mask: {init_epoch: 1}}",
            ["training.patch_mask.init_epoch count epochs, training.max_steps count steps"],
        ),
        (
            "training: {unfreezing_step: 9, lr_scheduler_params: {multisteplr: {milestones: [5]}}}",
            ["lr_scheduler_params.multisteplr.milestones count epochs, training.unfreezing_step count steps"],
        ),
        ("training: {patch_mask: {final_ratio: 0.5}}", ["final_epoch or final_step must say when it is reached"]),
        (
            "training: {patch_mask: {init_epoch: 9, final_epoch: 5}}",
            ["training.patch_mask.final_epoch (5.0) comes before init_epoch (9.0)"],
        ),
        (
            "training: {lr_scheduler_params: {multisteplr: {milestones: [5, 3]}}}",
            ["multisteplr.milestones must be increasing numbers of 0 or more, found [5, 3]"],
        ),
        ("model: {losses_to_use: [pca_multiview]}", ["['pca_multiview']: unsupervised losses are not available yet"]),
        ("model: {model_type: regression}", ["model.model_type must be one of heatmap_multiview_transformer, heatmap"]),
        ("model: {model_type: heatmap, attention: joint}", ["model.attention is joint, but model.model_type heatmap"]),
        ("model: {imgaug: dlc}", ["unknown key model.imgaug; did you mean training.imgaug?"]),
        ("losses: {pairwise_projections: {log_weight: 1}}", ["did you mean losses.supervised_pairwise_projections?"]),
        (
            "losses: {heatmap_mse: {log_weight: .inf}}",
            ["losses.heatmap_mse.log_weight must be a finite number, found inf"],
        ),
        ("losses: {heatmap_mse: {log_weight: 1, init_epoch: -1}}", ["losses.heatmap_mse.init_epoch must be 0 or more"]),
        ("eval: {confidence_thresh_for_vid: 90}", ["eval.confidence_thresh_for_vid must be between 0 and 1, found 90"]),
        ("xyz: 1", ["unknown key xyz; a config has data, training, model, losses, eval"]),
        ("ignored: [a]", ["unknown key ignored;"]),
        ("1: 2", ["unknown key 1;"]),
    ],
)
def test_messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, parts: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    found = message(tmp_path, text)
    assert str(tmp_path / "config.yaml") in found
    for part in parts:
        assert part in found
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]  # a tag such as os.mkdir did nothing


@pytest.mark.parametrize("override", ["training.max_epochs", "=3", "training..x=3", "-a=3", ""])
def test_malformed_override(tmp_path: Path, override: str) -> None:
    assert f"override {override!r} must look like" in message(tmp_path, "data: {}", override)


def test_override_that_is_not_yaml(tmp_path: Path) -> None:
    assert "override 'data.view_names=[a': the value is not YAML" in message(tmp_path, "data: {}", "data.view_names=[a")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"absent\.yaml does not exist"):
        load_config(tmp_path / "absent.yaml")
    with pytest.raises(ValueError, match="is a folder, not a file"):
        load_config(tmp_path)


def test_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(b"data: \xff\xfe")
    with pytest.raises(ValueError, match="is not text in UTF-8"):
        load_config(tmp_path / "config.yaml")


def test_saved_file_is_plain_yaml(tmp_path: Path) -> None:
    """Other people's scripts read it with PyYAML, which takes 5e-05 for a text but 5.0e-05 for a number."""
    save_config(load_config(write(tmp_path, EVERY_KEY)), tmp_path / "saved.yaml")
    values = yaml.safe_load((tmp_path / "saved.yaml").read_text(encoding="utf-8"))
    assert values["training"]["optimizer_params"]["learning_rate"] == 5e-5
    assert values["data"]["view_names"] == ["top", "side"]
    assert "ignored" not in values
