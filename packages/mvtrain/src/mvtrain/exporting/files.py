"""Graphs on disk: ONNX, PyTorch's exported program, and a description that says what goes in and comes out."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn
from torch.export import Dim

from mvgeom.formats.files import replace_file, write_text
from mvtrain.exporting.graph import INPUTS, OUTPUTS, example_inputs
from mvtrain.model.spec import ModelSpec
from mvtrain.optional import need
from mvtrain.prediction.confidence import ConfidenceMap, describe_likelihood

Exported = Callable[[Tensor, Tensor], Tensor]
"""An exported graph at work: images (B, V, 3, H, W) and present views (B, V) to points (B, V, K, 2)."""

TOLERANCE = 0.05
"""px between keypoints of the exported graph and of the network it came from."""

CHECKED_BATCHES = (1, 3)
"""Moments per batch in the check; the graph is exported with another number."""

_EXPORTED_BATCH = 2


def write_torch(graph: nn.Module, spec: ModelSpec, path: Path) -> float:
    """Write a program of torch.export (.pt2), which `torch.export.load(path).module()` runs without this package.

    Returns:
        The largest distance in px between its keypoints and the network's.

    Raises:
        ValueError: the file cannot be written, or its keypoints are not the network's.
    """
    with _quiet():
        program = torch.export.export(graph, example_inputs(spec, _EXPORTED_BATCH), dynamic_shapes=_dynamic_batch())

    def run(path: Path) -> Exported:
        module = torch.export.load(path).module()
        return lambda images, present: module(images, present)[0]

    return write_checked(graph, spec, path, lambda temporary: torch.export.save(program, temporary), run)


def write_onnx(graph: nn.Module, spec: ModelSpec, path: Path) -> float:
    """Write an ONNX file, whole in itself.

    Returns:
        The largest distance in px between onnxruntime's keypoints and the network's.

    Raises:
        ValueError: the libraries of the extra `export` are not installed, the file cannot be written, or its keypoints
            are not the network's.
    """
    for library in ("onnx", "onnxscript", "onnxruntime"):
        need(library, "export to ONNX (--format torch does without)", "export")
    with _quiet():
        program = torch.onnx.export(
            graph,
            example_inputs(spec, _EXPORTED_BATCH),
            input_names=INPUTS,
            output_names=OUTPUTS,
            dynamic_shapes=_dynamic_batch(),
            dynamo=True,
            optimize=True,
            verbose=False,
        )
    assert program is not None

    def run(path: Path) -> Exported:
        session = need("onnxruntime", "export to ONNX", "export").InferenceSession(
            path, providers=["CPUExecutionProvider"]
        )
        return lambda images, present: torch.from_numpy(
            session.run(["points"], {"images": images.numpy(), "present": present.numpy()})[0]
        )

    return write_checked(graph, spec, path, lambda temporary: program.save(temporary, external_data=False), run)


def write_checked(
    graph: nn.Module, spec: ModelSpec, path: Path, write: Callable[[Path], object], run: Callable[[Path], Exported]
) -> float:
    """Write a graph, run what was written, and keep it only if its keypoints are the network's.

    Args:
        graph: the network from images to keypoints.
        spec: of the network.
        path: of the file; what is there stays unless the new file is good.
        write: writes the graph to the path it is given.
        run: reads it from there.

    Returns:
        The largest distance in px between its keypoints and the network's.

    Raises:
        ValueError: the file cannot be written, or its keypoints are further off than `TOLERANCE`, or not finite.
    """
    largest = float("nan")

    def write_and_compare(temporary: Path) -> None:
        nonlocal largest
        write(temporary)
        largest = _largest_distance(graph, run(temporary), spec)
        # Not a number is not below the tolerance either.
        if not largest <= TOLERANCE:
            raise ValueError(
                f"{path.name} was not written: its keypoints are up to {largest:.3g} px from the network's, more than "
                f"{TOLERANCE} px; try another version of torch (here {torch.__version__}) or of onnxruntime"
            )

    replace_file(path, write_and_compare)
    return largest


def _largest_distance(graph: nn.Module, exported: Exported, spec: ModelSpec) -> float:
    """In px between two graphs' keypoints of present views; NaN where any is not a number."""
    distances = []
    for batch_size in CHECKED_BATCHES:
        images, present = example_inputs(spec, batch_size, seed=batch_size)
        with torch.no_grad():
            distances.append((exported(images, present) - graph(images, present)[0])[present].norm(dim=-1).flatten())
    # Unlike Python's, this maximum is NaN as soon as one distance is.
    return float(torch.cat(distances).max())


def write_description(spec: ModelSpec, confidence_map: ConfidenceMap | None, path: Path, facts: dict[str, Any]) -> None:
    """Write what a program needs to know to use the graphs, as YAML.

    Args:
        spec: of the network.
        confidence_map: that the graphs' confidence went through, if any.
        path: of the file.
        facts: where it comes from.

    Raises:
        ValueError: the file cannot be written.
    """
    width, height = spec.image_size
    views, keypoints = len(spec.view_names), len(spec.keypoint_names)
    document = {
        "inputs": {
            "images": {
                "shape": ["batch", views, 3, height, width],
                "type": "uint8",
                "is": "RGB, 0 to 255; (images / 255 - mean) / std is part of the graph",
                "mean": list(spec.mean),
                "std": list(spec.std),
            },
            "present": {"shape": ["batch", views], "type": "bool", "is": "which views there are"},
        },
        "outputs": {
            "points": {"shape": ["batch", views, keypoints, 2], "type": "float32", "is": "x, y in px of the images"},
            "confidence": {
                "shape": ["batch", views, keypoints],
                "type": "float32",
                "is": f"0 to 1; {describe_likelihood(confidence_map)}",
            },
            "covariance": {"shape": ["batch", views, keypoints, 2, 2], "type": "float32", "is": "px^2, x before y"},
        },
        "view_names": list(spec.view_names),
        "keypoint_names": list(spec.keypoint_names),
        "image_size": {"width": width, "height": height},
        "resizing": (
            "As in training, for width and height each: blocks of floor(length in the frame / length of the image) "
            "pixels are averaged first where that is 2 or more; the rest of the way is bilinear."
        ),
        "pixels": (
            "The centre of the top-left pixel is (0, 0). An image that shows the box (x, y, w, h) of a frame, resized "
            "to the image size: x_frame = x + (x_points + 0.5) * w / width - 0.5, likewise y with h and height. "
            "Without boxes the box is the whole frame."
        ),
        "from": facts,
    }
    write_text(path, yaml.safe_dump(document, sort_keys=False, width=120, default_flow_style=None))


def _dynamic_batch() -> dict[str, dict[int, Dim]]:
    batch = Dim("batch", min=1)
    return {"images": {0: batch}, "present": {0: batch}}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' remarks on their own insides."""
    level = logging.getLogger("torch").level
    logging.getLogger("torch").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.getLogger("torch").setLevel(level)
