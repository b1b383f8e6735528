"""The command `mvtrain export`: graphs as ONNX and as PyTorch programs, and a description of their inputs."""

from __future__ import annotations

import functools
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.console import Console
from torch import Tensor
from torch.export import Dim, ExportedProgram

from mvgeom.errors import InputError
from mvgeom.files import replace_file, write_text
from mvtrain.export.graph import OUTPUTS, KeypointGraph, example_inputs, input_names
from mvtrain.model.backbone import patch_centers
from mvtrain.model.likelihood import describe_likelihood
from mvtrain.model.multiview import MultiviewTransformer
from mvtrain.model.run_folder import load_run
from mvtrain.runtime.imports import need

Exported = Callable[..., Tensor]
"""Function of an exported graph: from the inputs of a `KeypointGraph` to points (B, V, K, 2)."""

Traced = Callable[[], ExportedProgram]

TOLERANCE = 0.05
"""Largest distance in px between keypoints of an exported graph and of its network."""

CHECKED_BATCHES = (1, 3)
"""Frames per batch in the check; the graph is exported with another number."""

_EXPORTED_BATCH = 2
"""Frames per batch with which a graph is exported."""


def export_run(run_dir: Path, formats: tuple[str, ...], checkpoint: str, out: Path | None, console: Console) -> None:
    """Write a run's network in other formats, with a description of the inputs and outputs.

    Args:
        run_dir: Run folder that `mvtrain fit` wrote.
        formats: Names of formats: `onnx`, `torch`.
        checkpoint: `best` or `last`.
        out: Folder for the files, which are replaced; None takes `export` in the run folder.
        console: Console for the paths written.

    Raises:
        InputError: A format is unknown, the run has no such checkpoint, a library is missing, a file cannot be written,
            or its keypoints differ from the network's.
    """
    for name in formats:
        if name not in WRITERS:
            raise InputError(
                f"--format: unknown format, found {name!r}, expected {', '.join(WRITERS)}",
                code="unknown-format",
                argument="--format",
                found=name,
                expected=tuple(WRITERS),
            )
    run = load_run(run_dir, checkpoint)
    assert isinstance(run.model, MultiviewTransformer)
    graph = KeypointGraph(run.model, run.spec, run.confidence_map).eval()
    folder = run_dir / "export" if out is None else out
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"output folder {folder}: cannot be made: {error.strerror}", code="unwritable-file", path=folder
        ) from error
    traced = functools.cache(lambda: trace(graph))  # once for all formats
    for name in formats:
        write, file_name = WRITERS[name]
        path = folder / file_name
        largest = write(graph, traced, path)
        size = path.stat().st_size / 1e6
        console.print(
            f"wrote {path} ({size:.1f} MB); its keypoints are within {largest:.2g} px of the network's",
            soft_wrap=True,
            highlight=False,
        )
    facts = {"checkpoint": checkpoint, "sha256": run.checksum, "mvtrain": version("mvtrain")}
    write_description(graph, folder / "network.yaml", facts)
    console.print(f"wrote {folder / 'network.yaml'}: the inputs and outputs", soft_wrap=True, highlight=False)


def trace(graph: KeypointGraph) -> ExportedProgram:
    """Trace a graph for any number of frames: the program of torch.export that all formats are written from."""
    batch = Dim("batch", min=1)
    shapes = {name: {0: batch} for name in input_names(graph.spec)}
    with _quiet():
        return torch.export.export(graph, example_inputs(graph, _EXPORTED_BATCH), dynamic_shapes=shapes)


def write_torch(graph: KeypointGraph, traced: Traced, path: Path) -> float:
    """Write a program of torch.export (.pt2), which `torch.export.load(path).module()` runs without this package.

    Args:
        graph: Graph of the network, which the file is compared with.
        traced: Function that returns the program traced from the graph.
        path: Path of the file.

    Returns:
        The largest distance in px between its keypoints and the network's.

    Raises:
        InputError: The file cannot be written, or its keypoints differ from the network's.
    """
    program = traced()

    def run(path: Path) -> Exported:
        module = torch.export.load(path).module()
        return lambda *inputs: module(*inputs)[0]

    def write(path: Path) -> None:
        # Where the disk is full, torch ends the process unless it writes to memory.
        content = io.BytesIO()
        torch.export.save(program, content)
        path.write_bytes(content.getbuffer())

    return write_checked(graph, path, write, run)


def write_onnx(graph: KeypointGraph, traced: Traced, path: Path) -> float:
    """Write an ONNX file that needs no other file.

    Args:
        graph: Graph of the network, which the file is compared with.
        traced: Function that returns the program traced from the graph.
        path: Path of the file.

    Returns:
        The largest distance in px between onnxruntime's keypoints and the network's.

    Raises:
        InputError: The libraries of the extra `export` are not installed, the file cannot be written, or its keypoints
            differ from the network's.
    """
    for library in ("onnx", "onnxscript", "onnxruntime"):
        need(library, "export to ONNX (--format torch does without)", "export")
    names = input_names(graph.spec)
    with _quiet():
        converted = torch.onnx.export(
            traced(), input_names=names, output_names=OUTPUTS, dynamo=True, optimize=True, verbose=False
        )
    assert converted is not None

    def run(path: Path) -> Exported:
        session = need("onnxruntime", "export to ONNX", "export").InferenceSession(
            path, providers=["CPUExecutionProvider"]
        )
        return lambda *inputs: torch.from_numpy(
            session.run(["points"], {name: value.numpy() for name, value in zip(names, inputs, strict=True)})[0]
        )

    return write_checked(graph, path, lambda temporary: converted.save(temporary, external_data=False), run)


def write_checked(
    graph: KeypointGraph, path: Path, write: Callable[[Path], object], run: Callable[[Path], Exported]
) -> float:
    """Write a graph, run the written file, and keep it only if its keypoints are the network's.

    Args:
        graph: Graph of the network.
        path: Path of the file; an earlier file stays unless the new one passes the check.
        write: Function that writes the graph to a path.
        run: Function that reads the graph from a path.

    Returns:
        The largest distance in px between its keypoints and the network's.

    Raises:
        InputError: The file cannot be written, or its keypoints differ by more than `TOLERANCE` or are not finite.
    """
    largest = float("nan")

    def write_and_compare(temporary: Path) -> None:
        nonlocal largest
        write(temporary)
        largest = _largest_distance(graph, run(temporary))
        if not largest <= TOLERANCE:  # true also for NaN
            raise InputError(
                f"{path}: not written: its keypoints differ from the network's, found {largest:.3g} px, expected at "
                f"most {TOLERANCE} px. Try another version of torch (found {torch.__version__}) or of onnxruntime",
                code="export-differs",
                path=path,
                found=largest,
            )

    replace_file(path, write_and_compare)
    return largest


def write_description(graph: KeypointGraph, path: Path, facts: dict[str, Any]) -> None:
    """Write the description of the inputs and outputs that a program needs to use the graphs, as YAML.

    Args:
        graph: Graph that was written.
        path: Path of the YAML file.
        facts: Values that identify the network, for the key `from`.

    Raises:
        InputError: The file cannot be written.
    """
    spec, confidence_map = graph.spec, graph.confidence_map
    width, height = spec.image_size
    views, keypoints = len(spec.view_names), len(spec.keypoint_names)
    inputs: dict[str, dict[str, Any]] = {
        "images": {
            "shape": ["batch", views, 3, height, width],
            "type": "uint8",
            "is": "RGB, 0 to 255; (images / 255 - mean) / std is part of the graph",
            "mean": list(spec.mean),
            "std": list(spec.std),
        },
        "present": {"shape": ["batch", views], "type": "bool", "is": "true for views that are present"},
    }
    if spec.epipolar_attention:
        patches = patch_centers(graph.grid, graph.model.patch_size)
        inputs["centers"] = {"shape": ["batch", views, 3], "type": "float32", "is": "centers of the cameras"}
        inputs["rays"] = {
            "shape": ["batch", views, len(patches), 3],
            "type": "float32",
            "is": "unit vectors from the centers through these points (x, y in px) of the images; zeros if unknown",
            "points": [[float(x), float(y)] for x, y in patches],
        }
    document = {
        "inputs": inputs,
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
            "As in training, for width and height each: blocks of floor(length in the full image / length of the input "
            "image) pixels are averaged first where that is 2 or more; the rest of the resizing is bilinear."
        ),
        "pixels": (
            "The center of the top-left pixel is (0, 0). If an input image is the box (x, y, w, h) of a full image, "
            "resized to the image size: x_full = x + (x_points + 0.5) * w / width - 0.5, likewise y with h and height. "
            "Without boxes the box is the whole image."
        ),
        "from": facts,
    }
    write_text(path, yaml.safe_dump(document, sort_keys=False, width=120, default_flow_style=None))


def _largest_distance(graph: KeypointGraph, exported: Exported) -> float:
    """Return the largest distance in px between two graphs' keypoints in present views; NaN if any is NaN."""
    distances = []
    for batch_size in CHECKED_BATCHES:
        inputs = example_inputs(graph, batch_size, seed=batch_size)
        present = inputs[1]
        with torch.no_grad():
            distances.append((exported(*inputs) - graph(*inputs)[0])[present].norm(dim=-1).flatten())
    # Unlike Python's, this maximum is NaN if one distance is.
    return float(torch.cat(distances).max())


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress warnings of the exporters about their internals."""
    level = logging.getLogger("torch").level
    logging.getLogger("torch").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.getLogger("torch").setLevel(level)


WRITERS = {"onnx": (write_onnx, "network.onnx"), "torch": (write_torch, "network.pt2")}
"""Function and file name of each format."""
