"""A full disk is an error with one code, whoever writes, and leaves nothing half-written.

The system's limit on the size of files stands for it: it reaches C libraries as well, at any byte.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from helpers.errors import raises_input
from helpers.foreign import write_prediction
from helpers.labeling import make_project
from helpers.readers import SAVED
from helpers.rigs import ring
from helpers.runs import make_run
from mvgeom import formats, project
from mvgeom.files import write_text
from mvtrain.drawing.sheets import save_png
from mvtrain.drawing.video_files import written_video
from mvtrain.exchange.run_convert import ENSEMBLE_WRITERS, WRITERS, ConvertOptions, convert
from mvtrain.export.runtime_files import WRITERS as EXPORTS
from mvtrain.export.runtime_files import export_run
from mvtrain.label.journal import Label
from mvtrain.label.run_label import project_config
from mvtrain.label.store import open_store
from mvtrain.model.checkpoint import load_checkpoint, save_checkpoint
from mvtrain.runtime.checksums import write_checksummed
from mvtrain.runtime.folders import new_folder
from mvtrain.runtime.tensor_files import save_tensors
from mvtrain.synth import SyntheticSpec, generate_project
from mvtrain.training.metrics_log import MetricsLog

RIG = ring(3)
QUIET = Console(quiet=True)


@contextmanager
def full_disk(size: int = 0) -> Iterator[None]:
    """Let no file grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def listing(folder: Path) -> dict[str, bytes | None]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")
    }


@pytest.fixture(scope="module")
def prediction(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A summary of a predicted recording, as `mvtrain predict` writes it."""
    folder = tmp_path_factory.mktemp("prediction")
    points = np.asarray(project(np.random.default_rng(0).uniform(-1, 1, (50, 2, 3)), RIG))
    RIG.save(folder / "rig.toml")
    write_prediction(
        folder,
        points,
        np.full(points.shape[:-1], 0.9),
        session="mouse",
        view_names=RIG.names,
        keypoint_names=("nose", "tail"),
        calibration=folder / "rig.toml",
    )
    return folder / "mouse_prediction.json"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.mark.parametrize("name", sorted([*WRITERS, *ENSEMBLE_WRITERS]))
@pytest.mark.filterwarnings("ignore")
def test_predictions_are_converted_as_a_whole_or_not_at_all(name: str, prediction: Path, tmp_path: Path) -> None:
    sources = [prediction, prediction] if name in ENSEMBLE_WRITERS else [prediction]
    options = ConvertOptions(out=tmp_path / "out", frame_rate=25.0, unit="mm")
    convert(name, sources, replace(options, out=tmp_path / "whole"), QUIET)
    whole = listing(tmp_path)
    largest = max(len(content) for content in whole.values() if content is not None)
    for size in (0, largest // 2, largest - 1):
        with full_disk(size), raises_input("unwritable-file"):
            convert(name, sources, options, QUIET)
        assert listing(tmp_path) == whole


@pytest.mark.slow
@pytest.mark.parametrize("name", ["torch", "onnx"])
@pytest.mark.filterwarnings("ignore")
def test_a_network_is_exported_or_an_error(name: str, run: Path, tmp_path: Path) -> None:
    assert EXPORTS.keys() == {"torch", "onnx"}
    if name == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    with full_disk(20_000), raises_input("unwritable-file"):  # torch ended the process
        export_run(run, (name,), "best", tmp_path / "out", QUIET)
    assert listing(tmp_path) == {"out": None}


@pytest.mark.parametrize("name", SAVED)
def test_a_calibration_is_saved_or_an_error(name: str, tmp_path: Path) -> None:
    rig = RIG.replace(distortion=np.zeros((3, 0 if name == "dlt" else 4)))
    with full_disk(10), raises_input("unwritable-file"):
        formats.save(rig, tmp_path / SAVED[name], file_format=name)
    assert [path for path in listing(tmp_path).values() if path is not None] == []


def write_frames(path: Path, fps: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (30, 64, 96, 3), dtype=np.uint8)
    with written_video(path, fps, (96, 64)) as write:
        for image in noise:
            write(image)


def write_project(folder: Path) -> None:
    generate_project(
        folder / "project", SyntheticSpec(num_views=2, num_frames=3, num_sessions=1, num_video_frames=3, size=64)
    )


def write_folder(folder: Path) -> None:
    with new_folder(folder / "new") as unfinished:
        (unfinished / "half.txt").write_text("x" * 1000)


def write_state(folder: Path) -> None:
    tensors = {"model": torch.zeros(1000)}
    write_checksummed(folder, "state", ".pt", lambda path: save_tensors(tensors, path), {})


WRITE: dict[str, Callable[[Path], Any]] = {
    "text": lambda folder: write_text(folder / "a.txt", "x" * 1000),
    "image": lambda folder: save_png(folder / "a.png", np.zeros((64, 64, 3), np.uint8)),
    "video": lambda folder: write_frames(folder / "a.mp4", 25.0),
    "generated project": write_project,
    "new folder": write_folder,
    "training state": write_state,
}
"""Writers of every kind of file."""


@pytest.mark.parametrize("size", [0, 60, 400])
@pytest.mark.parametrize("name", WRITE)
def test_a_file_is_written_as_a_whole_or_not_at_all(name: str, size: int, tmp_path: Path) -> None:
    if name == "image":
        size = min(size, 60)
    (tmp_path / "mine.txt").write_text("mine")
    before = listing(tmp_path)
    with full_disk(size), raises_input("unwritable-file"):
        WRITE[name](tmp_path)
    assert listing(tmp_path) == before


@pytest.mark.parametrize("size", [0, 48, 10_000, 50_000, 70_000])
def test_a_video_that_lacks_images_does_not_count_as_written(size: int, tmp_path: Path) -> None:
    write_frames(tmp_path / "whole.mp4", 25.0)
    assert (tmp_path / "whole.mp4").stat().st_size > 70_000
    with full_disk(size), raises_input("unwritable-file", path=tmp_path / "cut.mp4"):
        write_frames(tmp_path / "cut.mp4", 25.0)
    assert not (tmp_path / "cut.mp4").exists()


@pytest.mark.parametrize("fps", [0.5, 12.5, 23.976, 29.97, 59.94, 240.0])
def test_whole_videos_of_any_rate_pass(fps: float, tmp_path: Path) -> None:
    write_frames(tmp_path / "whole.mp4", fps)


def test_a_journal_of_labels_has_whole_lines(tmp_path: Path) -> None:
    root = make_project(tmp_path / "project", num_frames=2)
    with open_store(project_config(root)) as store:
        store.edit(0, {(0, 0): Label(1.0, 2.0, 2, "click")})
        (journal,) = (root / ".mvtrain-label").glob("*.jsonl")
        before = journal.read_bytes()
        with full_disk(len(before) + 20), raises_input("unwritable-file", path=journal):
            store.edit(0, {(1, 0): Label(3.0, 4.0, 2, "click")})
        assert journal.read_bytes() == before
        store.edit(0, {(2, 0): Label(5.0, 6.0, 2, "click")})
    with open_store(project_config(root)) as store:
        assert store.label(0, 0, 0)[:2] == (1.0, 2.0)
        assert store.label(0, 2, 0)[:2] == (5.0, 6.0)


def test_a_checkpoint_before_stays(run: Path, tmp_path: Path) -> None:
    model, spec = load_checkpoint(run / "checkpoints" / "best")
    save_checkpoint(tmp_path, model.state_dict(), spec, {"epoch": 1})
    before = listing(tmp_path)
    for size in (0, 20_000):
        with full_disk(size), raises_input("unwritable-file"):
            save_checkpoint(tmp_path, {**model.state_dict(), "new": torch.ones(9)}, spec, {"epoch": 2})
        assert listing(tmp_path) == before
    load_checkpoint(tmp_path)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_run_folder_that_is_gone_ends_the_log(tmp_path: Path) -> None:
    """TensorBoard's thread meets the error; it was called a bug."""
    (tmp_path / "run").mkdir()
    log = MetricsLog(tmp_path / "run", ("loss",))
    log.write({"loss": 1.0}, 1)
    (tmp_path / "run").rename(tmp_path / "moved")
    with raises_input("unwritable-file", path=tmp_path / "run" / "tensorboard"):
        for step in range(2, 1000):  # it is met when the thread has written
            log.write({"loss": 1.0}, step)
            time.sleep(0.001)
