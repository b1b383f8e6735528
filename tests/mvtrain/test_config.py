"""Config files: keys of existing projects, overrides, interpolation, paths, and errors."""

from __future__ import annotations

import dataclasses
import tempfile
import typing
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.errors import raises_input
from mvtrain.config import LOSS_NAMES, Config, LossConfig, load_config, save_config
from mvtrain.config.keys import FALSY_IS, FOREIGN_KEYS, NULL_IS_DEFAULT, OTHER_NAMES
from mvtrain.config.recommended import learning_rates
from mvtrain.training.schedules import make_schedules

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


def leaf_keys(cls: type, prefix: str = "") -> dict[str, typing.Any]:
    """Map the dotted key of every leaf of the schema to its type hint."""
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
    """Double a letter anywhere in the last part of a key: the error has the wrong key and the right one."""
    *parents, last = key.split(".")
    position %= len(last)
    wrong = ".".join([*parents, last[: position + 1] + last[position:]])
    with tempfile.TemporaryDirectory() as folder, raises_input("bad-key", key=wrong) as caught:
        load_config(write(Path(folder), "data: {}"), [f"{wrong}=1"])
    assert f"did you mean {key}?" in str(caught.value)


VALUES = {
    "data.data_dir": st.sampled_from(["a", "/b/c", "ö ü", "${data.camera_params_file}", "x\\${y}", "~/z"]),
    "data.view_names": st.sampled_from(["[a, b]", "a", "null", "[1, '2']"]),
    "data.keypoint_names": st.sampled_from(["[nose, 'yes', '1e3']", "null"]),
    "data.skeleton": st.sampled_from(["[[nose, tail], [a, b]]", "null", "[]"]),
    "data.synthetic": st.sampled_from(["{num_views: 3, size: [64, 64], seed: null}", "null"]),
    "training.train_frames": st.floats(0.01, 1000).map(lambda v: repr(v if v < 1 else round(v))),
    "training.imgaug": st.sampled_from(["none", "{Rotate: {p: 1.0, kwargs: {rotate: [-1, 1]}}}"]),
    "training.imgaug_3d": st.sampled_from(["true", "false", "null", "{scale: [0.5, 2]}"]),
    "training.devices": st.sampled_from(["2", "'0,1'", "auto", "null"]),
    "training.patch_mask": st.sampled_from(["null", "{final_epoch: 3, final_ratio: 0.25}"]),
    "training.optimizer_params.learning_rate": st.floats(1e-30, 1e3).map(repr),
    "training.lr_scheduler": st.sampled_from(["cosine", "null"]),
    "model.model_type": st.sampled_from(["heatmap", "heatmap_multiview_transformer"]),
    "model.checkpoint": st.sampled_from(["null", "a b.ckpt"]),
    "losses.supervised_pairwise_projections.log_weight": st.floats(-5, 5).map(repr),
}


@given(st.fixed_dictionaries({}, optional=VALUES))
@settings(max_examples=40, deadline=None)
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
    """A nested list is a valid value of no key."""
    key, _ = item
    with tempfile.TemporaryDirectory() as folder, raises_input("bad-value") as caught:
        load_config(write(Path(folder), "data: {}"), [f"{key}=[[[1]]]"])
    assert caught.value.key.split("[")[0] == key


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


KEYS_OF_LIGHTNING_POSE = """
creation_datetime dali.base.train.sequence_length dali.base.predict.sequence_length dali.context.train.batch_size
dali.context.predict.sequence_length dali.general.seed callbacks.anneal_weight.attr_name hydra.run.dir hydra.sweep.dir
data.bbox_file data.camera_params_file data.columns_for_singleview_pca data.csv_file data.data_dir
data.downsample_factor data.header_rows data.image_orig_dims.height data.image_resize_dims.height
data.image_resize_dims.width data.keypoint_names data.keypoints data.mirrored_column_matches data.num_keypoints
data.num_targets data.video_dir data.view_names
training.accumulate_grad_batches training.check_val_every_n_epoch training.ckpt_every_n_epochs
training.early_stop_patience training.early_stopping training.gpu_id training.imgaug training.imgaug_3d
training.imgaug_hflip training.limit_train_batches training.log_every_n_steps training.lr_scheduler
training.lr_scheduler_params.multisteplr.gamma training.lr_scheduler_params.multisteplr.milestone_steps
training.lr_scheduler_params.multisteplr.milestones training.max_epochs training.max_steps training.min_epochs
training.min_steps training.num_gpus training.num_workers training.optimizer training.optimizer_params.learning_rate
training.patch_mask.final_epoch training.patch_mask.final_ratio training.patch_mask.final_step
training.patch_mask.init_epoch training.patch_mask.init_ratio training.patch_mask.init_step training.profiler
training.rng_seed_data_pt training.rng_seed_model_pt training.test_batch_size training.train_batch_size
training.train_frames training.train_prob training.unfreezing_epoch training.unfreezing_step
training.uniform_heatmaps_for_nan_keypoints training.val_batch_size training.val_check_interval training.val_prob
model.backbone model.backbone_checkpoint model.backbone_pretrained model.checkpoint model.head
model.heatmap_loss_type model.lightning_pose_version model.losses_to_use model.model_name model.model_type
losses.pca_multiview.log_weight losses.pca_singleview.components_to_keep losses.temporal.prob_threshold
losses.supervised_pairwise_projections.log_weight losses.supervised_reprojection_heatmap_mse.log_weight
losses.temporal_heatmap_mse.log_weight losses.temporal_heatmap_kl.log_weight
losses.unimodal_mse.log_weight losses.unimodal_kl.log_weight losses.unimodal_js.log_weight
eval.colormap eval.confidence_thresh_for_vid eval.hydra_paths eval.predict_vids_after_training
eval.save_vids_after_training eval.test_videos_directory eval.saved_vid_preds_dir eval.fiftyone.dataset_name
eval.video_file_to_plot eval.pred_csv_files_to_plot
training.dropout_rate training.multiple_trainloader_mode training.unlabeled_sequence_length training.rng_seed_data_dali
training.save_heatmaps model.learn_weights model.reach eval.create_labeled_video eval.dali_parameters.sequence_length
eval.fifty_one_dataset_name eval.fiftyone_build_speed eval.model_display_names eval.path_to_test_videos
eval.path_to_csv_predictions eval.path_to_save_predictions losses.unimodal.log_weight
losses.unimodal_wasserstein.log_weight
"""
"""Keys that the source of version 2.4.3 reads (`cfg.`), those of its two templates and of `litpose recommend`,
and those of the configs that its earlier versions came with."""

REFUSED = {
    "model.backbone_checkpoint": "model.backbone_weights",
    "training.limit_train_batches": "training.max_steps",
}
"""Those that mean something which mvtrain does not do, and the key to use instead."""


def test_keys_that_lightning_pose_reads_are_known() -> None:
    known = {*leaf_keys(Config), *OTHER_NAMES, *FOREIGN_KEYS}
    known |= {f"losses.{name}.{field.name}" for name in LOSS_NAMES for field in dataclasses.fields(LossConfig)}
    read = set(KEYS_OF_LIGHTNING_POSE.split())
    unknown = {key for key in read if not known & {key, key.rpartition(".")[0], key.split(".")[0]}}
    assert unknown == set(REFUSED)
    assert read >= NULL_IS_DEFAULT


@pytest.mark.parametrize(("key", "instead"), list(REFUSED.items()))
def test_keys_of_lightning_pose_without_a_counterpart_name_the_one_to_use(
    tmp_path: Path, key: str, instead: str
) -> None:
    with raises_input("bad-key", key=key) as caught:
        load_config(write(tmp_path, "data: {}"), [f"{key}=10"])
    assert instead in str(caught.value)
    assert instead in leaf_keys(Config)


def test_null_as_lightning_pose_reads_it(tmp_path: Path) -> None:
    path = write(tmp_path, "data: {}")
    assert load_config(path, [f"{key}=null" for key in sorted(NULL_IS_DEFAULT)]) == Config()
    assert load_config(path, ["model.losses_to_use=['']", "model.head=heatmap_cnn"]) == Config()


@pytest.mark.parametrize("scheduler", ["multistep_lr", "multisteplr"])
@pytest.mark.parametrize("section", ["multistep_lr", "multisteplr"])
def test_both_names_of_the_schedule(tmp_path: Path, scheduler: str, section: str) -> None:
    text = f"lr_scheduler: {scheduler}, lr_scheduler_params: {{{section}: {{milestones: [3], gamma: 0.1}}}}"
    training = load_config(write(tmp_path, f"training: {{{text}, max_epochs: 5}}")).training
    assert training.lr_scheduler == "multisteplr"
    assert training.lr_scheduler_params.multisteplr.milestones == (3,)


@pytest.mark.parametrize("value", ["null", "''", "[]", "0", "false"])
@pytest.mark.parametrize("key", FALSY_IS)
def test_what_is_not_true_as_lightning_pose_reads_it(tmp_path: Path, key: str, value: str) -> None:
    config = load_config(write(tmp_path, "data: {}"), [f"{key}={value}"])
    section, name = key.split(".")
    assert getattr(getattr(config, section), name) == FALSY_IS[key]


@pytest.mark.parametrize("value", ["[]", "''", "['']", "null"])
def test_no_boxes(tmp_path: Path, value: str) -> None:
    assert load_config(write(tmp_path, f"data: {{bbox_file: {value}}}")).data.bbox_file is None


def test_keypoints_of_configs_of_the_app(tmp_path: Path) -> None:
    path = write(tmp_path, "data: {keypoints: [nose, tail]}")
    assert load_config(path).data.keypoint_names == ("nose", "tail")
    assert load_config(path, ["data.keypoint_names=[a]"]).data.keypoint_names == ("a",)
    both = write(tmp_path, "data: {keypoint_names: [a], keypoints: [nose, tail]}")
    assert load_config(both).data.keypoint_names == ("a",)


def test_the_config_of_a_run_of_lightning_pose_counts_as_the_run_was_given(tmp_path: Path) -> None:
    """It has the steps that follow from the epochs of the masks, too."""
    mask = "{init_epoch: 40, final_epoch: 300, init_step: 520, final_step: 3900, final_ratio: 0.5}"
    config = load_config(write(tmp_path, f"training: {{max_epochs: 300, patch_mask: {mask}}}"))
    assert config.training.patch_mask is not None
    assert (config.training.patch_mask.final_epoch, config.training.patch_mask.final_step) == (300, None)
    # A run in steps has the epochs that follow from the milestones, and masks that may count epochs all the same.
    multistep = "{multisteplr: {milestone_steps: [20, 30, 60], milestones: [1, 1, 2]}}"
    training = f"{{max_steps: 90, unfreezing_step: 9, lr_scheduler_params: {multistep}, patch_mask: {mask}}}"
    config = load_config(write(tmp_path, f"training: {training}"))
    assert config.training.lr_scheduler_params.multisteplr.milestones is None
    schedules = make_schedules(config, steps_per_epoch=10)
    assert (schedules.max_epochs, schedules.milestones) == (9, (2, 3, 6))
    assert schedules.masking is not None
    assert (schedules.masking.init, schedules.masking.final) == (40, 300)


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
def test_learning_rates(tmp_path: Path, text: str, rates: tuple[float, float]) -> None:
    assert learning_rates(load_config(write(tmp_path, text))) == rates


def test_paths_of_lightning_pose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts data_dir from the current folder, video_dir from data_dir; here the file's folder comes first."""
    here, project = tmp_path / "here", tmp_path / "here" / "data" / "mouse"
    (project / "videos").mkdir(parents=True)
    (tmp_path / "configs").mkdir()
    path = tmp_path / "configs" / "mouse.yaml"
    text = "data: {data_dir: data/mouse, video_dir: videos}\neval: {test_videos_directory: '${data.video_dir}'}\n"
    path.write_text(text)
    monkeypatch.chdir(here)
    config = load_config(path)
    assert config.data.data_dir == project
    assert config.data.video_dir == config.eval.test_videos_directory == project / "videos"
    path.write_text(text.replace("video_dir: videos", "video_dir: data/mouse/videos"))
    assert load_config(path).data.video_dir == project / "videos"
    path.write_text(text.replace("video_dir: videos", "video_dir: none"))
    assert load_config(path).data.video_dir == path.parent / "none"
    path.write_text(text.replace("}\n", ", synthetic: {}}\n", 1))
    assert load_config(path).data.data_dir == path.parent / "data" / "mouse"  # will be generated there
    (path.parent / "data" / "mouse").mkdir(parents=True)
    (path.parent / "videos").mkdir()
    path.write_text(text)
    assert load_config(path).data.data_dir == path.parent / "data" / "mouse"
    assert load_config(path).data.video_dir == path.parent / "videos"


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


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{depth:1,embed_dim:64}", {"depth": 1, "embed_dim": 64}),
        ("{a:{b:[1,2]},c:/d/e:f}", {"a": {"b": [1, 2]}, "c": "/d/e:f"}),
        ("{a: 1, b: x}", {"a": 1, "b": "x"}),
        ("{'a:1': 2}", {"a:1": 2}),
    ],
)
def test_mappings_in_the_notation_of_hydra(tmp_path: Path, text: str, value: dict) -> None:
    config = load_config(write(tmp_path, "data: {}"), [f"model.backbone_args={text}"])
    assert config.model.backbone_args == value


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
    monkeypatch.setenv("MVTRAIN_ALLOW_RESOLVERS", "1")
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
        ("{num_gpus: 0}", ("auto", 1)),
        ("{num_gpus: 0, accelerator: cpu}", ("cpu", 1)),
        ("{num_gpus: 0, devices: 2}", ("auto", 2)),
        ("{num_gpus: 2}", ("auto", 2)),
        ("{num_gpus: 2, accelerator: cpu}", ("cpu", 1)),
        ("{num_gpus: 2, accelerator: cpu, devices: 3}", ("cpu", 3)),
        ("{accelerator: cuda, devices: '0,1'}", ("cuda", "0,1")),
        ("{accelerator: cpu, devices: 2}", ("cpu", 2)),
    ],
)
def test_hardware(tmp_path: Path, text: str, hardware: tuple[str, int | str]) -> None:
    assert load_config(write(tmp_path, f"training: {text}")).training.hardware == hardware


WHOLE = {key: hint for key, hint in leaf_keys(Config).items() if int in (hint, *typing.get_args(hint))}


@pytest.mark.parametrize("key", sorted(key for key, hint in WHOLE.items() if float not in typing.get_args(hint)))
def test_whole_numbers_with_a_decimal_point(tmp_path: Path, key: str) -> None:
    """As some programs write them: 3.0 and 3e0 are 3, and 2.5 is no whole number."""

    def load(text: str) -> Config:
        return load_config(write(tmp_path, "data: {}"), [f"{key}={text}"])

    number = "64" if key.startswith("data.image_resize_dims") else "3"
    expected = load(number)
    takes_text = str in typing.get_args(WHOLE[key])  # such as devices, which may be '0,1'
    for text in (f"{number}.0", f"{number}e0", *(() if takes_text else [f"'{number}'"])):
        found = load(text)
        assert found == expected
        assert repr(found) == repr(expected)
    if not takes_text:
        with raises_input("bad-value", key=key):
            load("2.5")


def test_whole_numbers_with_a_decimal_point_in_lists(tmp_path: Path) -> None:
    text = "training: {lr_scheduler_params: {multisteplr: {milestones: [1.0, 2e1]}}}"
    milestones = load_config(write(tmp_path, text)).training.lr_scheduler_params.multisteplr.milestones
    assert repr(milestones) == "(1, 20)"


@pytest.mark.parametrize(
    ("text", "code", "key"),
    [
        ("data: {data_dir: '${'}", "bad-value", "data.data_dir"),
        ("data: 3", "bad-value", "data"),
        ("losses: [a]", "bad-value", "losses"),
        ("training: {patch_mask: 0.5}", "bad-value", "training.patch_mask"),
        ("data: {data_dir: '???'}", "missing-field", "data.data_dir"),
        ("losses: {heatmap_mse: {}}", "missing-field", "losses.heatmap_mse.log_weight"),
        ("data: {data_dir: '${data.dir}'}", "bad-value", "data.data_dir"),
        ("data: {data_dir: '${LP_ROOT:}/x'}", "bad-value", "data.data_dir"),
        ("data: {data_dir: '${data.video_dir}', video_dir: '???'}", "bad-value", "data.data_dir"),
        ("data: {data_dir: ''}", "bad-value", "data.data_dir"),
        ("data: {data_dir: 5}", "bad-value", "data.data_dir"),
        ("data: {data_dir: ~nobody_here/x}", "bad-value", "data.data_dir"),
        ('data: {data_dir: "a\\0b"}', "bad-value", "data.data_dir"),
        (f"data: {{data_dir: {'a/' * 5000}}}", "bad-value", "data.data_dir"),
        ("data: {csv_file: 5}", "bad-value", "data.csv_file"),
        ("data: {view_names: [a, {cam0}]}", "bad-value", "data.view_names[1]"),
        ("data: {view_names: []}", "bad-value", "data.view_names"),
        ("data: {view_names: [a, b, a]}", "bad-value", "data.view_names"),
        ("data: {view_names: [a, b], csv_file: [a.csv]}", "wrong-count", "data.csv_file"),
        ("data: {csv_file: [a.csv], bbox_file: [a.csv, b.csv]}", "wrong-count", "data.bbox_file"),
        ("data: {num_keypoints: 3, keypoint_names: [a]}", "wrong-count", "data.num_keypoints"),
        ("data: {skeleton: [[a, b], [c]]}", "bad-value", "data.skeleton[1]"),
        ("data: {downsample_factor: 4}", "bad-value", "data.downsample_factor"),
        ("data: {image_resize_dims: {height: null}}", "bad-value", "data.image_resize_dims.height"),
        ("data: {image_resize_dims: {width: 0}}", "bad-value", "data.image_resize_dims.width"),
        ("data: {image_resize_dims: {height: 3}}", "bad-value", "data.image_resize_dims.height"),
        (
            "data: {image_resize_dims: {width: 7}, downsample_factor: 3}",
            "bad-value",
            "data.image_resize_dims.width",
        ),
        ("data: {split: time}", "bad-value", "data.split"),
        ("data: {synthetic: {1: 2}}", "bad-value", "data.synthetic.1"),
        ("training: {max_epochs: many}", "bad-value", "training.max_epochs"),
        ("training: {train_batch_size: 1.5}", "bad-value", "training.train_batch_size"),
        ("training: {early_stopping: 2}", "bad-value", "training.early_stopping"),
        ("training: {imgaug: 3}", "bad-value", "training.imgaug"),
        ("training: {optimizer: SGD}", "bad-value", "training.optimizer"),
        ("training: {optimizer_params: {learning_rate: 0}}", "bad-value", "training.optimizer_params.learning_rate"),
        ("training: {train_prob: 0.9, val_prob: 0.2}", "bad-value", "training.val_prob"),
        ("training: {train_prob: 80}", "bad-value", "training.train_prob"),
        ("training: {train_prob: 0}", "bad-value", "training.train_prob"),
        ("training: {train_frames: 10.5}", "bad-value", "training.train_frames"),
        ("training: {train_frames: 0}", "bad-value", "training.train_frames"),
        ("training: {ema_decay: 1.0}", "bad-value", "training.ema_decay"),
        ("training: {ema_decay: 0.9, strategy: fsdp}", "excluded-options", "training.ema_decay"),
        ("training: {patch_mask: {clear_share: 1.5}}", "bad-value", "training.patch_mask.clear_share"),
        ("training: {max_epochs: 9, max_steps: 9}", "excluded-options", "training.max_epochs"),
        (
            "training: {patch_mask: {init_epoch: 1, final_step: 9}}",
            "excluded-options",
            "training.patch_mask.init_epoch",
        ),
        (
            "training: {unfreezing_step: 9, lr_scheduler_params: {multisteplr: {milestones: [5]}}}",
            "excluded-options",
            "training.lr_scheduler_params.multisteplr.milestones",
        ),
        (
            "training: {patch_mask: {init_epoch: 9, final_epoch: 5}}",
            "bad-value",
            "training.patch_mask.final_epoch",
        ),
        (
            "training: {lr_scheduler_params: {multisteplr: {milestones: [5, 3]}}}",
            "bad-value",
            "training.lr_scheduler_params.multisteplr.milestones",
        ),
        (
            "training: {lr_scheduler_params: {multisteplr: {milestones: [5, soon]}}}",
            "bad-value",
            "training.lr_scheduler_params.multisteplr.milestones[1]",
        ),
        (
            "training: {lr_scheduler_params: {multisteplr: {milestones: [1.5]}}}",
            "bad-value",
            "training.lr_scheduler_params.multisteplr.milestones[0]",
        ),
        ("model: {losses_to_use: [pca_multiview]}", "bad-value", "model.losses_to_use"),
        ("model: {model_type: regression}", "bad-value", "model.model_type"),
        ("model: {model_type: heatmap, attention: joint}", "excluded-options", "model.attention"),
        ("model: {attention: per_view, epipolar_attention: true}", "excluded-options", "model.epipolar_attention"),
        ("model: {plugins: [[1]]}", "bad-value", "model.plugins"),
        ("losses: {heatmap_mse: {log_weight: .inf}}", "bad-value", "losses.heatmap_mse.log_weight"),
        ("losses: {heatmap_mse: {log_weight: -1000}}", "bad-value", "losses.heatmap_mse.log_weight"),
        ("losses: {heatmap_mse: {log_weight: 1, init_epoch: -1}}", "bad-value", "losses.heatmap_mse.init_epoch"),
        ("eval: {confidence_thresh_for_vid: 90}", "bad-value", "eval.confidence_thresh_for_vid"),
        ("just words", "bad-key", "just words"),
        ("xyz: 1", "bad-key", "xyz"),
        ("ignored: [a]", "bad-key", "ignored"),
        ("1: 2", "bad-key", "1"),
    ],
)
def test_errors_name_file_and_key(tmp_path: Path, text: str, code: str, key: str) -> None:
    with raises_input(code, key=key, path=tmp_path / "config.yaml") as caught:
        load_config(write(tmp_path, text))
    assert str(tmp_path / "config.yaml") in str(caught.value)
    assert key in str(caught.value)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "empty-file"),
        ("# a comment", "empty-file"),
        ("- 1\n- 2", "invalid-syntax"),
        ("data: {}\nmodel: [1\ntraining: {}", "invalid-syntax"),
        ("data: {}\n\tmodel: {}", "invalid-syntax"),
        ("data: {}\ndata: {}", "invalid-syntax"),
        ("data: !!python/object/apply:os.mkdir [made]", "invalid-syntax"),
        ("training: {max_epochs: !!int many}", "invalid-syntax"),
        ("training: {early_stopping: !!bool many}", "invalid-syntax"),
        ("data: " + 3000 * "[" + 3000 * "]", "invalid-syntax"),
    ],
)
def test_text_that_is_not_a_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, code: str) -> None:
    monkeypatch.chdir(tmp_path)
    with raises_input(code, path=tmp_path / "config.yaml"):
        load_config(write(tmp_path, text))
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]  # a tag such as os.mkdir did nothing


def test_place_of_a_syntax_error(tmp_path: Path) -> None:
    with raises_input("invalid-syntax") as caught:
        load_config(write(tmp_path, "data: {}\n\tmodel: {}"))
    assert "line 2, column 1" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("model: {imgaug: dlc}", "training.imgaug"),
        ("losses: {pairwise_projections: {log_weight: 1}}", "losses.supervised_pairwise_projections"),
        ("xyz: 1", "data, training, model, losses, eval"),
    ],
)
def test_advice_on_an_unknown_key(tmp_path: Path, text: str, nearest: str) -> None:
    with raises_input("bad-key") as caught:
        load_config(write(tmp_path, text))
    assert nearest in str(caught.value)


@pytest.mark.parametrize("override", ["training.max_epochs", "=3", "training..x=3", "-a=3", ""])
def test_malformed_override(tmp_path: Path, override: str) -> None:
    with raises_input("bad-option", override=override):
        load_config(write(tmp_path, "data: {}"), [override])


@pytest.mark.parametrize(
    ("override", "code", "key"),
    [
        ("data.view_names=[a", "invalid-syntax", "data.view_names"),
        ("training.max_epochs=!!int many", "invalid-syntax", "training.max_epochs"),
        ("data.data_dir=${", "bad-value", "data.data_dir"),
        ("data.data_dir=~nobody_here/x", "bad-value", "data.data_dir"),
        ("data.view_names.a=3", "bad-key", "data.view_names.a"),
        ("model.backbone_weights=''", "bad-value", "model.backbone_weights"),
    ],
)
def test_override_with_a_bad_value(tmp_path: Path, override: str, code: str, key: str) -> None:
    with raises_input(code, key=key, path=tmp_path / "config.yaml"):
        load_config(write(tmp_path, "data: {view_names: [a]}"), [override])


def test_missing_file(tmp_path: Path) -> None:
    with raises_input("missing-file", path=tmp_path / "absent.yaml"):
        load_config(tmp_path / "absent.yaml")
    with raises_input("unreadable-file", path=tmp_path):
        load_config(tmp_path)


def test_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(b"data: \xff\xfe")
    with raises_input("not-text", path=tmp_path / "config.yaml"):
        load_config(tmp_path / "config.yaml")


def test_plugin_that_cannot_be_run(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with raises_input("missing-file", key="model.plugins", path=tmp_path / "absent.py"):
        load_config(write(tmp_path, "model: {plugins: absent.py}"))
    with raises_input("unsupported-file", key="model.plugins", path=tmp_path / "notes.txt"):
        load_config(write(tmp_path, "model: {plugins: [notes.txt]}"))


def test_saved_file_is_plain_yaml(tmp_path: Path) -> None:
    """Scripts of users read it with PyYAML, which takes 5e-05 for a text but 5.0e-05 for a number."""
    save_config(load_config(write(tmp_path, EVERY_KEY)), tmp_path / "saved.yaml")
    values = yaml.safe_load((tmp_path / "saved.yaml").read_text(encoding="utf-8"))
    assert values["training"]["optimizer_params"]["learning_rate"] == 5e-5
    assert values["data"]["view_names"] == ["top", "side"]
    assert "ignored" not in values
