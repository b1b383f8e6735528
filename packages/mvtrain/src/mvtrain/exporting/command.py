"""`mvtrain export`: a run's network for other runtimes."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from mvtrain.exporting.files import write_description, write_onnx, write_torch
from mvtrain.exporting.graph import KeypointGraph
from mvtrain.model.multiview import MultiviewTransformer
from mvtrain.prediction.run_folder import load_run

WRITERS = {"onnx": (write_onnx, "network.onnx"), "torch": (write_torch, "network.pt2")}


def export_run(run_dir: Path, formats: tuple[str, ...], checkpoint: str, out: Path | None, console: Console) -> None:
    """Write a run's network in other formats, and what goes in and comes out.

    Args:
        run_dir: that `mvtrain fit` wrote.
        formats: `onnx`, `torch`.
        checkpoint: `best` or `last`.
        out: folder for the files, which are replaced; None: `export` in the run folder.
        console: where to say what was written.

    Raises:
        ValueError: an unknown format, no run or checkpoint, a library that is missing, a file that cannot be written,
            one whose keypoints are not the network's.
    """
    for name in formats:
        if name not in WRITERS:
            raise ValueError(f"unknown format {name!r}; formats are {', '.join(WRITERS)}")
    run = load_run(run_dir, checkpoint)
    assert isinstance(run.model, MultiviewTransformer)
    graph = KeypointGraph(run.model, run.spec, run.confidence_map).eval()
    folder = run_dir / "export" if out is None else out
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{folder} cannot be made: {error.strerror}") from error
    for name in formats:
        write, file_name = WRITERS[name]
        path = folder / file_name
        largest = write(graph, path)
        size = path.stat().st_size / 1e6
        console.print(
            f"wrote {path} ({size:.1f} MB); its keypoints are within {largest:.2g} px of the network's",
            soft_wrap=True,
            highlight=False,
        )
    facts = {"checkpoint": checkpoint, "sha256": run.checksum, "mvtrain": version("mvtrain")}
    write_description(graph, folder / "network.yaml", facts)
    console.print(f"wrote {folder / 'network.yaml'}: what goes in and comes out", soft_wrap=True, highlight=False)
