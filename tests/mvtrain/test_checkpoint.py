from pathlib import Path

import pytest
import torch
import yaml

from helpers.errors import raises_input
from mvtrain.model.checkpoint import ModelSpec, build_model, load_checkpoint, save_checkpoint

SPEC = ModelSpec(
    backbone="vit_tiny_patch16_224",
    backbone_args={"depth": 1, "embed_dim": 24, "num_heads": 3},
    attention="joint",
    view_names=("left", "top"),
    keypoint_names=("nose", "tail"),
    image_size=(64, 48),
    downsample_factor=2,
    mean=(0.5, 0.5, 0.5),
    std=(0.2, 0.2, 0.2),
    subject_size=1.5,
)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "best"
    save_checkpoint(folder, build_model(SPEC).state_dict(), SPEC, {"epoch": 1})
    return folder


def test_a_saved_checkpoint_is_loaded_unchanged(tmp_path: Path) -> None:
    model = build_model(SPEC)
    save_checkpoint(tmp_path, model.state_dict(), SPEC, {"epoch": 3.0})
    loaded, spec = load_checkpoint(tmp_path)
    assert spec == SPEC
    for (name, ours), theirs in zip(model.state_dict().items(), loaded.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name


def test_a_new_checkpoint_replaces_the_old_one_and_leaves_nothing_behind(checkpoint: Path) -> None:
    model = build_model(SPEC)
    save_checkpoint(checkpoint, model.state_dict(), SPEC, {"epoch": 2})
    assert sorted(path.suffix for path in checkpoint.iterdir()) == [".safetensors", ".yaml"]
    assert torch.equal(load_checkpoint(checkpoint)[0].view_embedding, model.view_embedding)


def test_the_old_checkpoint_loads_when_the_new_one_was_cut_short(checkpoint: Path) -> None:
    before = load_checkpoint(checkpoint)[0].view_embedding
    # What a process leaves that dies after the new weights and before the new description.
    (checkpoint / "model-0123456789ab.safetensors").write_bytes(b"half")
    assert torch.equal(load_checkpoint(checkpoint)[0].view_embedding, before)


def test_the_old_checkpoint_survives_a_failed_write(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_checkpoint(checkpoint)[0].view_embedding

    def full_disk(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with raises_input("unwritable-file"):
        save_checkpoint(checkpoint, build_model(SPEC).state_dict(), SPEC, {"epoch": 2})
    monkeypatch.undo()
    assert torch.equal(load_checkpoint(checkpoint)[0].view_embedding, before)
    assert not list(checkpoint.glob(".*"))


def test_damaged_weights_are_refused(checkpoint: Path) -> None:
    (weights,) = checkpoint.glob("*.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with raises_input("damaged-file", path=weights.name):
        load_checkpoint(checkpoint)
    weights.unlink()
    with raises_input("missing-file", path=weights.name):
        load_checkpoint(checkpoint)


def test_the_weights_of_another_version_are_refused_in_one_line(tmp_path: Path) -> None:
    weights = build_model(SPEC).state_dict()
    other = {name.replace("head.", "head.old_"): tensor for name, tensor in weights.items()}
    save_checkpoint(tmp_path / "other", other, SPEC, {"epoch": 1})
    with raises_input("unsupported-file") as raised:
        load_checkpoint(tmp_path / "other")
    assert raised.value.path.suffix == ".safetensors"
    assert any(name.startswith("head.coarse") for name in raised.value.parameters)
    assert "\n" not in str(raised.value)


def test_a_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with raises_input("missing-file", path="model.yaml"):
        load_checkpoint(tmp_path)
    (tmp_path / "epoch=299.ckpt").write_bytes(b"of another system")
    with raises_input("not-a-folder", path="epoch=299.ckpt"):
        load_checkpoint(tmp_path / "epoch=299.ckpt")


@pytest.mark.parametrize("text", ["[not a mapping", "spec: {}", "!!python/object/apply:print ['ran']", "null"])
def test_a_damaged_description_is_refused_and_never_run(
    checkpoint: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkpoint / "model.yaml").write_text(text)
    with raises_input("invalid-syntax", path="model.yaml"):
        load_checkpoint(checkpoint)
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("field", "value"),
    [("view_names", 3), ("image_size", [64]), ("backbone_args", None), ("attention", "all"), ("mean", ["a"] * 3)],
)
def test_a_field_of_the_wrong_type_is_named(checkpoint: Path, field: str, value: object) -> None:
    path = checkpoint / "model.yaml"
    document = yaml.safe_load(path.read_text())
    document["spec"][field] = value
    path.write_text(yaml.safe_dump(document))
    with raises_input("damaged-file", path=path, field=field):
        load_checkpoint(checkpoint)


def test_the_description_is_plain_yaml(checkpoint: Path) -> None:
    document = yaml.safe_load((checkpoint / "model.yaml").read_text())
    assert document["spec"]["view_names"] == ["left", "top"]
    assert document["state"] == {"epoch": 1}
