"""Exported networks: the keypoints of the original network, without this package."""

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml

import mvtrain
from helpers.command import prepare_by_mvtrain, run_mvtrain
from helpers.errors import raises_input
from helpers.runs import INPUT, KEYPOINTS, VIEWS, cameras, make_run
from mvgeom import rays
from mvtrain.export.graph import KeypointGraph, calibrate, example_inputs, input_names
from mvtrain.export.runtime_files import Exported, trace, write_checked, write_description, write_onnx
from mvtrain.model.backbone import input_normalization
from mvtrain.model.checkpoint import ModelSpec, build_model, load_checkpoint, save_checkpoint
from mvtrain.model.likelihood import ConfidenceMap, save_confidence
from mvtrain.model.multiview import MultiviewTransformer
from mvtrain.model.run_folder import load_run
from mvtrain.project.images import read_image

onnxruntime = pytest.importorskip("onnxruntime")

PAGE = Path(__file__).parents[2] / "docs" / "prediction.md"
TINY = {"depth": 2, "embed_dim": 48, "num_heads": 3}
CALIBRATION = ConfidenceMap(
    share=0.1, low_power=0.7, high_power=0.2, offset=0.4, lowest=0.01, highest=0.9, num_points=500
)


def make_graph(**changes: object) -> KeypointGraph:
    """Build a network whose heatmaps have peaks that depend on the image."""
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
    strengthen_attention(model)
    return KeypointGraph(model, spec, None).eval()


def strengthen_attention(model: MultiviewTransformer) -> None:
    """Attention of initial weights has nearly no effect, which would hide faults of it."""
    with torch.no_grad():
        for name, parameter in model.backbone.named_parameters():
            if "qkv.weight" in name:
                parameter.mul_(12.0)


@dataclass(frozen=True, kw_only=True)
class ExportedRun:
    """A run, what `mvtrain export` wrote into its folder, and the network that it has to agree with."""

    folder: Path
    graph: KeypointGraph
    description: dict[str, Any]

    def session(self) -> Any:
        return start_session(self.folder / "export" / "network.onnx")


@pytest.fixture(
    scope="module", params=[pytest.param(False, id="joint", marks=pytest.mark.slow), pytest.param(True, id="epipolar")]
)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ExportedRun:
    """One export for all tests that only read its files: tracing a network takes 10 s, however small it is."""
    model = {"backbone_args": TINY, "epipolar_attention": request.param}
    run = make_run(tmp_path_factory.mktemp("exported") / "run", model=model)
    best = run / "checkpoints" / "best"
    network, spec = load_checkpoint(best)
    strengthen_attention(network)
    save_checkpoint(best, network.state_dict(), spec, {"epoch": 1})
    save_confidence(best, yaml.safe_load((best / "model.yaml").read_text())["sha256"], CALIBRATION)
    prepare_by_mvtrain("export", run)
    names = ["network.onnx", "network.pt2", "network.yaml"]
    assert sorted(path.name for path in (run / "export").iterdir()) == names
    loaded = load_run(run, "best")
    return ExportedRun(
        folder=run,
        graph=KeypointGraph(loaded.model, loaded.spec, loaded.confidence_map).eval(),
        description=yaml.safe_load((run / "export" / "network.yaml").read_text()),
    )


def start_session(path: Path) -> Any:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def compare_onnx(graph: KeypointGraph, session: Any) -> None:
    for batch_size in (1, 2, 5):
        inputs = example_inputs(graph, batch_size, seed=100 + batch_size)
        present = inputs[1]
        names = input_names(graph.spec)
        found = session.run(None, {name: value.numpy() for name, value in zip(names, inputs, strict=True)})
        with torch.no_grad():
            expected = graph(*inputs)
        for value, reference, tolerance in zip(found, expected, (0.05, 1e-3, 0.05), strict=True):
            assert value.shape == tuple(reference.shape)
            np.testing.assert_allclose(value[present.numpy()], reference[present].numpy(), atol=tolerance)


def test_onnxruntime_gives_the_keypoints_of_the_network(exported: ExportedRun) -> None:
    compare_onnx(exported.graph, exported.session())


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"backbone": "vits_dinov3", "downsample_factor": 1},
        {"backbone": "vit_small_patch16_rope_mixed_224"},
        {"backbone": "vits_dinov2", "image_size": (70, 84), "downsample_factor": 3, "attention": "per_view"},
        {"view_names": ("only",)},
    ],
    ids=["rotary", "mixed rotary", "per view", "one view"],
)
def test_onnxruntime_gives_the_keypoints_of_other_networks(changes: dict[str, object], tmp_path: Path) -> None:
    graph = make_graph(**changes)
    write_onnx(graph, lambda: trace(graph), tmp_path / "network.onnx")
    compare_onnx(graph, start_session(tmp_path / "network.onnx"))


def test_an_exported_program_gives_the_keypoints_of_the_network(exported: ExportedRun) -> None:
    graph = exported.graph
    program = torch.export.load(exported.folder / "export" / "network.pt2").module()
    inputs = example_inputs(graph, 4, seed=9)
    present = inputs[1]
    with torch.no_grad():
        for found, expected in zip(program(*inputs), graph(*inputs), strict=True):
            torch.testing.assert_close(found[present], expected[present], atol=1e-3, rtol=1e-4)
        if graph.spec.epipolar_attention:
            without_rays = graph(*inputs[:3], torch.zeros_like(inputs[3]))[0]
            assert (without_rays - graph(*inputs)[0])[present].abs().max() > 0.1, "cameras change nothing"
            torch.testing.assert_close(without_rays, graph(*inputs[:2])[0])


@pytest.mark.parametrize(
    ("error", "largest"),
    [
        (0.06, pytest.approx(0.06, abs=0.01)),
        (float("nan"), pytest.approx(float("nan"), nan_ok=True)),
        (float("inf"),) * 2,
    ],
)
def test_graphs_with_other_keypoints_are_not_written(error: float, largest: float, tmp_path: Path) -> None:
    graph = make_graph()
    path = tmp_path / "network.onnx"
    path.write_text("earlier export")

    def wrong(_: Path) -> Exported:
        def run(images: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
            points = graph(images, present)[0].clone()
            # One keypoint of one frame, and not in the first batch only.
            if len(points) > 1:
                points[-1, 0, 0, 0] += error
            return points

        return run

    with raises_input("export-differs", path=path, found=largest):
        write_checked(graph, path, lambda temporary: temporary.write_text("wrong"), wrong)
    assert [each.read_text() for each in tmp_path.iterdir()] == ["earlier export"]


def test_graphs_calibrate_confidence_as_prediction_does() -> None:
    confidence = np.concatenate([np.linspace(0, 1, 201), [1e-9, 1 - 1e-7]])
    whole_range = dataclasses.replace(CALIBRATION, lowest=0.0, highest=1.0)
    from_one_point = dataclasses.replace(CALIBRATION, low_power=0.0, num_points=1)
    for confidence_map in (CALIBRATION, whole_range, from_one_point):
        found = calibrate(torch.from_numpy(confidence).float(), confidence_map)
        np.testing.assert_allclose(found, confidence_map(confidence), atol=1e-5)


def crop(full_image: np.ndarray, box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    x, y, width, height = box.astype(int)
    return cv2.resize(full_image[y : y + height, x : x + width], size, interpolation=cv2.INTER_AREA)


@pytest.mark.slow  # of another network than the default tests, whose tracing takes longest
@pytest.mark.parametrize("exported", [False], indirect=True)
def test_the_files_alone_are_enough_to_predict(exported: ExportedRun) -> None:
    run = exported.folder
    rng = np.random.default_rng(0)
    full_images = [rng.integers(0, 256, (150, 190, 3), dtype=np.uint8) for _ in VIEWS]
    # Scales differ in x and y and between views, so an error of half a pixel shows. Scales, and offsets in resized
    # pixels, are whole numbers, for which all ways of reducing an image give the same result.
    factors = np.array([[2, 2], [3, 4], [1, 3]])
    boxes = np.concatenate([factors * [[4, 3], [7, 2], [0, 5]], factors * INPUT], axis=-1).astype(np.float64)

    # From here on only the files are used.
    description = exported.description
    size = (description["image_size"]["width"], description["image_size"]["height"])
    session = exported.session()
    assert [each.name for each in session.get_inputs()] == list(description["inputs"])
    assert [each.name for each in session.get_outputs()] == list(description["outputs"])
    crops = [crop(full_image, box, size) for full_image, box in zip(full_images, boxes, strict=True)]
    images = np.stack(crops).transpose(0, 3, 1, 2)[None]
    inputs = {"images": images, "present": np.ones((1, len(crops)), dtype=bool)}
    for name, value in inputs.items():
        assert list(value.shape[1:]) == description["inputs"][name]["shape"][1:]
        assert str(value.dtype) == description["inputs"][name]["type"]
    outputs = dict(zip(description["outputs"], session.run(None, inputs), strict=True))
    for name, value in outputs.items():
        assert list(value.shape[1:]) == description["outputs"][name]["shape"][1:]
    points = boxes[:, None, :2] + (outputs["points"] + 0.5) * boxes[:, None, 2:] / size - 0.5

    expected = mvtrain.load_predictor(run, device="cpu").predict(full_images, boxes=boxes)
    assert description["view_names"] == list(expected.view_names)
    assert description["keypoint_names"] == list(expected.keypoint_names)
    assert "likelihood is calibrated" in description["outputs"]["confidence"]["is"]
    np.testing.assert_allclose(points, expected.points, atol=0.05)
    np.testing.assert_allclose(outputs["confidence"], expected.confidence, atol=1e-3)


@pytest.mark.parametrize("exported", [True], indirect=True)
def test_the_files_alone_are_enough_to_give_cameras_to_a_network(exported: ExportedRun) -> None:
    run = exported.folder
    rng = np.random.default_rng(0)
    full_images = [rng.integers(0, 256, (2 * INPUT[1], 2 * INPUT[0], 3), dtype=np.uint8) for _ in VIEWS]
    rig = cameras((2 * INPUT[0], 2 * INPUT[1]))

    description = exported.description
    session = exported.session()
    assert [each.name for each in session.get_inputs()] == list(description["inputs"])
    images = np.stack([cv2.resize(each, INPUT, interpolation=cv2.INTER_AREA) for each in full_images])
    points = (np.array(description["inputs"]["rays"]["points"]) + 0.5) * 2 - 0.5
    centers, directions = rays(np.tile(points, (len(VIEWS), 1, 1)), rig)
    inputs = {
        "images": images.transpose(0, 3, 1, 2)[None],
        "present": np.ones((1, len(VIEWS)), dtype=bool),
        "centers": centers[None].astype(np.float32),
        "rays": directions[None].astype(np.float32),
    }
    for name, value in inputs.items():
        assert list(value.shape[1:]) == description["inputs"][name]["shape"][1:]
        assert str(value.dtype) == description["inputs"][name]["type"]
    found = (session.run(["points"], inputs)[0] + 0.5) * 2 - 0.5
    predictor = mvtrain.load_predictor(run, device="cpu")
    # An exported network gives what each view shows by itself.
    alone = dataclasses.replace(predictor, network=dataclasses.replace(predictor.network, fuses_views=False))
    expected = alone.predict(full_images, rig).points
    np.testing.assert_allclose(found, expected, atol=0.002)
    inputs["rays"][:] = 0
    plain = (session.run(["points"], inputs)[0] + 0.5) * 2 - 0.5
    assert np.abs(plain - expected).max() > 0.02, "cameras change nothing"


def test_the_program_in_the_docs_predicts_as_the_run_does(exported: ExportedRun, tmp_path: Path) -> None:
    # An exported network gives what each view shows by itself.
    loaded = mvtrain.load_predictor(exported.folder, device="cpu")
    predictor = dataclasses.replace(loaded, network=dataclasses.replace(loaded.network, fuses_views=False))
    run = tmp_path / "run"
    shutil.copytree(exported.folder, run)
    rng = np.random.default_rng(0)
    for view in VIEWS:
        cv2.imwrite(str(run / f"{view}.png"), rng.integers(0, 256, (3 * INPUT[1], 3 * INPUT[0], 3), dtype=np.uint8))
    (program,) = re.findall(
        r"^```python\n(import cv2\n.*?session\.run.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE
    )
    rig = None
    if exported.graph.spec.epipolar_attention:
        rig = cameras((3 * INPUT[0], 3 * INPUT[1]))
        rig.save(run / "calibration.toml")
        (with_cameras,) = re.findall(
            r"^```python\n(import mvgeom\n.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE
        )
        before, found, after = program.partition("points, confidence, covariance = session.run")
        program = before + with_cameras + found + after
    # In a process of its own, so that only the program's imports are loaded.
    program += "assert 'torch' not in __import__('sys').modules\nnp.save('points.npy', points)\n"
    subprocess.run([sys.executable, "-c", program], cwd=run, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})

    images = [read_image(run / f"{view}.png") for view in predictor.spec.view_names]
    np.testing.assert_allclose(np.load(run / "points.npy"), predictor.predict(images, rig).points, atol=0.05)


def test_a_users_mistakes_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.yaml").write_text("data: {}\n")
    (tmp_path / "file").touch()
    for arguments, part in (
        ((run, "--format", "tensorflow"), "'tensorflow', expected onnx, torch"),
        ((tmp_path / "empty",), str(tmp_path / "empty")),
        ((tmp_path / "nothing",), str(tmp_path / "nothing")),
        ((run, "--checkpoint", "middle"), "best, last"),
        ((run, "--output", tmp_path / "file" / "here"), str(tmp_path / "file" / "here")),
    ):
        outcome = run_mvtrain(capsys, monkeypatch, "export", *arguments)
        assert outcome.status == 2
        assert part in outcome.err.replace("\n", " ")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    outcome = run_mvtrain(capsys, monkeypatch, "export", run)
    assert outcome.status == 2
    assert 'pip install "mvtrain[export]"' in outcome.err


def test_a_description_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with raises_input("unwritable-file", path="network.yaml"):
        write_description(make_graph(), tmp_path / "nowhere" / "network.yaml", {})
