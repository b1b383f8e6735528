"""Exported networks give the keypoints of the network they come from, without this package."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import mvtrain
from helpers.command import run_mvtrain
from helpers.runs import INPUT, KEYPOINTS, VIEWS, make_run
from mvtrain.exporting import files
from mvtrain.exporting.files import write_description, write_onnx, write_torch
from mvtrain.exporting.graph import KeypointGraph, example_inputs
from mvtrain.model.backbone import input_normalization
from mvtrain.model.spec import ModelSpec, build_model

onnxruntime = pytest.importorskip("onnxruntime")

TINY = {"depth": 2, "embed_dim": 48, "num_heads": 3}


def make_graph(**changes: object) -> tuple[KeypointGraph, ModelSpec]:
    """A network whose heatmaps have peaks that the image decides about."""
    mean, std = input_normalization("vits_dino")
    values: dict[str, object] = {
        "backbone": "vits_dino",
        "backbone_args": TINY,
        "attention": "joint",
        "view_names": VIEWS,
        "keypoint_names": KEYPOINTS,
        "image_size": (64, 48),
        "downsample_factor": 2,
        "mean": mean,
        "std": std,
        "subject_size": None,
    }
    spec = ModelSpec(**(values | changes))  # type: ignore[arg-type]
    torch.manual_seed(0)
    model = build_model(spec)
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.mul_(3.0)
    return KeypointGraph(model, spec).eval(), spec


def compare_onnx(graph: KeypointGraph, spec: ModelSpec, path: Path) -> None:
    write_onnx(graph, spec, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch_size in (1, 2, 5):
        images, present = example_inputs(spec, batch_size, seed=100 + batch_size)
        found = session.run(None, {"images": images.numpy(), "present": present.numpy()})
        with torch.no_grad():
            expected = graph(images, present)
        for value, reference, tolerance in zip(found, expected, (0.05, 1e-3, 0.05), strict=True):
            assert value.shape == tuple(reference.shape)
            np.testing.assert_allclose(value[present.numpy()], reference[present].numpy(), atol=tolerance)


@pytest.mark.parametrize(
    "changes",
    [{}, {"backbone": "vits_dinov3", "downsample_factor": 1}],
    ids=["joint", "rotary"],
)
def test_onnxruntime_gives_the_keypoints_of_the_network(changes: dict[str, object], tmp_path: Path) -> None:
    compare_onnx(*make_graph(**changes), tmp_path / "network.onnx")


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"attention": "per_view"},
        {"downsample_factor": 3},
        {"backbone": "vits_dinov2", "image_size": (70, 84)},
        {"backbone": "vit_small_patch16_rope_mixed_224"},
        {"view_names": ("only",)},
    ],
    ids=str,
)
def test_onnxruntime_gives_the_keypoints_of_other_networks(changes: dict[str, object], tmp_path: Path) -> None:
    compare_onnx(*make_graph(**changes), tmp_path / "network.onnx")


def test_an_exported_program_gives_the_keypoints_of_the_network(tmp_path: Path) -> None:
    graph, spec = make_graph()
    write_torch(graph, spec, tmp_path / "network.pt2")
    program = torch.export.load(tmp_path / "network.pt2").module()
    images, present = example_inputs(spec, 4, seed=9)
    with torch.no_grad():
        for found, expected in zip(program(images, present), graph(images, present), strict=True):
            torch.testing.assert_close(found[present], expected[present], atol=1e-3, rtol=1e-4)


def test_keypoints_that_are_not_the_networks_are_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, spec = make_graph()
    monkeypatch.setattr(files, "TOLERANCE", -1.0)
    with pytest.raises(ValueError, match=r"network.pt2 was not written: its keypoints are up to .* px from"):
        write_torch(graph, spec, tmp_path / "network.pt2")
    assert list(tmp_path.iterdir()) == []


def test_the_files_alone_tell_how_to_use_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run")
    outcome = run_mvtrain(capsys, monkeypatch, "export", run, "--format", "onnx")
    assert outcome.status == 0, outcome.err
    assert not (run / "export" / "network.pt2").exists()
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (60, 90, 3), dtype=np.uint8) for _ in VIEWS]
    boxes = np.array([[5, 3, *INPUT], [20, 10, *INPUT], [0, 0, *INPUT]], dtype=np.float64)

    # From here on as somebody who has only the files.
    description = yaml.safe_load((run / "export" / "network.yaml").read_text())
    width, height = (description["image_size"][side] for side in ("width", "height"))
    crops = [
        frame[int(y) : int(y) + height, int(x) : int(x) + width]
        for frame, (x, y, *_) in zip(frames, boxes, strict=True)
    ]
    session = onnxruntime.InferenceSession(run / "export" / "network.onnx", providers=["CPUExecutionProvider"])
    assert [each.name for each in session.get_inputs()] == list(description["inputs"])
    assert [each.name for each in session.get_outputs()] == list(description["outputs"])
    images = np.stack(crops).transpose(0, 3, 1, 2)[None]
    assert list(images.shape[1:]) == description["inputs"]["images"]["shape"][1:]
    points, confidence, _ = session.run(None, {"images": images, "present": np.ones((1, len(crops)), dtype=bool)})
    points = boxes[:, None, :2] + (points + 0.5) * boxes[:, None, 2:] / [width, height] - 0.5

    expected = mvtrain.load(run, device="cpu").predict(frames, boxes=boxes)
    assert description["view_names"] == list(expected.view_names)
    assert description["keypoint_names"] == list(expected.keypoint_names)
    np.testing.assert_allclose(points, expected.points, atol=0.05)
    np.testing.assert_allclose(confidence, expected.confidence, atol=1e-3)


def test_mistakes_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.yaml").write_text("data: {}\n")
    (tmp_path / "file").touch()
    for arguments, message in (
        ((run, "--format", "tensorflow"), "unknown format 'tensorflow'; formats are onnx, torch"),
        ((tmp_path / "empty",), "has no checkpoint"),
        ((tmp_path / "nothing",), "it does not exist"),
        ((run, "--checkpoint", "middle"), "it has best, last"),
        ((run, "--output-dir", tmp_path / "file" / "here"), "cannot be made"),
    ):
        outcome = run_mvtrain(capsys, monkeypatch, "export", *arguments)
        assert outcome.status == 2
        assert message in outcome.err.replace("\n", " ")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    outcome = run_mvtrain(capsys, monkeypatch, "export", run)
    assert outcome.status == 2
    assert 'pip install "mvtrain[export]"' in outcome.err


def test_a_description_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be written"):
        write_description(make_graph()[1], tmp_path / "nowhere" / "network.yaml", {})
