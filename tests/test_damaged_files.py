"""Every reader ends, with a result or an `InputError`, whatever is in the file; in bounded time and memory."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from helpers.guarded import SECONDS, count_outcomes, example_path, make_damaged, read_damaged
from helpers.keypoint_files import WRITERS
from helpers.readers import READERS
from mvgeom import formats
from mvgeom.tables.readers import READERS as KEYPOINT_READERS
from mvtrain.exchange.run_import import READERS as IMPORT_READERS

PACKAGES = Path(__file__).parents[1] / "packages"

NUM_LONG = int(os.environ.get("DAMAGED_FILES", "400"))
"""Examples of each reader in the long run."""


PARSERS = re.compile(
    r"json\.loads?\(|yaml\.(safe_)?load|yaml\.parse|tomllib\.load|fromstring\(|XMLPullParser|csv\.(reader|DictReader)\("
    r"|read_csv\(|read_hdf\(|h5py\.File\(|loadmat\(|load_slp\(|load_analysis_h5\(|load_tensors\(|load_file\(|safe_open\(|torch\.load\("
    r"|fabric\.load\(|imdecode\(|Image\.open\(|VideoCapture\(|OmegaConf\.create\(text|from_dotlist\(|re\.compile\(expression"
    r"|frombuffer\(|fromfile\(|memmap\(|np\.load\(|parse_(json|yaml|toml|xml)\(|yaml_events\("
)
"""Calls that parse the content of a file."""

PARSED = {
    "mvgeom.calibration.board_files": "board",
    "mvgeom.clock_files": "clocks",
    "mvgeom.documents": "config",
    **{
        f"mvgeom.formats.{name}": f"calibration: {name}"
        for name in ("multical", "acinoset", "freemocap", "caliscope", "panoptic", "qualisys", "anipose", "pose2sim")
    },
    "mvgeom.formats.json_file": "calibration: json",
    "mvgeom.formats.filestorage": "calibration: opencv",
    "mvgeom.formats.mat_files": "calibration: dannce",
    "mvgeom.formats.dannce": "calibration: dannce",
    "mvgeom.images": "image: png",
    "mvgeom.calibration.sources": "image: png",
    "mvgeom.tables.box_tables": "boxes of a video",
    "mvgeom.tables.kinematics_table": "kinematics",
    "mvgeom.tables.known_positions": "known positions",
    "mvgeom.tables.readers.csv_keypoints": "keypoints: csv",
    "mvgeom.tables.readers.hdf5": "keypoints: deeplabcut_h5",
    "mvgeom.tables.readers.mmpose": "keypoints: mmpose images",
    "mvgeom.tables.readers.openpose_people": "keypoints: openpose",
    "mvgeom.tables.readers.people": "keypoints: openpose",
    "mvgeom.tables.readers.sleap_analysis": "keypoints: sleap_analysis",
    "mvgeom.decoder": "video: AVI",
    "mvtrain.config.load": "config",
    "mvtrain.exchange.from_coco": "import: coco",
    "mvtrain.exchange.deeplabcut_tables": "animals of DeepLabCut",
    "mvtrain.exchange.from_anipose": "import: anipose",
    "mvtrain.exchange.from_deeplabcut": "import: project of DeepLabCut",
    "mvtrain.exchange.from_sleap": "import: sleap",
    "mvtrain.label.journal": "journal of labels",
    "mvtrain.label.page_images": "image: png",
    "mvtrain.label.open_tables": "labels, as text",
    "mvtrain.model.backbone": "backbone: .safetensors",
    "mvtrain.model.checkpoint": "run: weights",
    "mvtrain.model.likelihood": "run: confidence",
    "mvtrain.model.error_bars": "run: error bars",
    "mvtrain.model.run_folder": "run: config.yaml",
    "mvtrain.predict.outputs": "results to go on with",
    "mvtrain.predict.saved_predictions": "predictions",
    "mvtrain.predict.smooth_predictions": "results to go on with",
    "mvtrain.predict.smoothed_tables": "blocks to go on with",
    "mvtrain.project.calibrations": "calibrations by image",
    "mvtrain.project.images": "image: jpg",
    "mvtrain.project.label_tables": "labels",
    "mvtrain.project.splits": "run: split.csv",
    "mvtrain.project.labels_3d": "true points",
    "mvtrain.project.listed_frames": "listed frames",
    "mvtrain.project.frame_rows": "journal of frames",
    "mvtrain.report.learning_curves": "run: metrics.csv",
    "mvtrain.runtime.checksums": "run: model.yaml",
    "mvtrain.runtime.folders": "runs of an ensemble",
    "mvtrain.runtime.tensor_files": "backbone: .pth",
    "mvtrain.start.session_choice": "chosen frames",
    "mvtrain.start.keypoint_list": "skeleton",
    "mvtrain.training.metrics_log": "run: metrics.csv, resumed",
    "mvtrain.training.run_info": "run: run.yaml, resumed",
    "mvtrain.training.state": "run: training state",
}
"""Readers that try the modules with such calls."""

NOT_TRIED = {
    "mvtrain.config.plugins": "tests/mvtrain/test_allowed_plugins.py damages the state",
    "mvaug.photometric": "decodes the JPEG that it has encoded",
    "mvtrain.exchange.into_project": "tables that the same command has written, and read by `label_tables` before",
    "mvtrain.exchange.to_nwb": "writes to memory",
    "mvtrain.label.server": "requests of the page on this computer",
    "mvtrain.predict.overlay": "predictions that the same command has written",
    "mvtrain.predict.recording_tables": "copies of the same process",
    "mvtrain.predict.records": "records of the same program, whose length is checked",
    "mvtrain.project.names": "tests/mvtrain/test_odd_numbers.py tries expressions",
    "mvtrain.training.guards": "its name is in a docstring",
}
"""Other modules with such calls, with the reason."""


def test_every_module_that_parses_files_is_tried() -> None:
    found = set()
    for path in PACKAGES.glob("*/src/**/*.py"):
        if PARSERS.search(path.read_text(encoding="utf-8")):
            found.add(".".join(path.relative_to(PACKAGES).with_suffix("").parts[2:]).removesuffix(".__init__"))
    assert found == set(PARSED) | set(NOT_TRIED)
    assert set(PARSED.values()) <= set(READERS)


def test_every_registered_reader_is_tried() -> None:
    assert {f"calibration: {name}" for name in formats.FORMATS} <= set(READERS)
    assert {f"import: {name}" for name in IMPORT_READERS} <= set(READERS)
    assert {reader for reader, _ in WRITERS.values()} == set(KEYPOINT_READERS)
    assert {f"keypoints: {name}" for name in WRITERS} <= set(READERS)


@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_read_or_refused(name: str, tmp_path: Path) -> None:
    reader = READERS[name]
    (tmp_path / "whole").mkdir()
    damaged = reader.make(tmp_path / "whole")
    reader.read(example_path(tmp_path / "whole", tmp_path / "copy", damaged))
    for seed in range(2):
        folder = tmp_path / str(seed)
        path, what = make_damaged(name, tmp_path / "whole", damaged, seed, folder)
        start = time.process_time()
        outcome, message = read_damaged(reader, path)
        assert outcome in ("ok", "refused"), f"{what}: {message}"
        assert time.process_time() - start < SECONDS, what


@pytest.mark.long
@pytest.mark.parametrize("name", READERS)
def test_many_damaged_files(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    counts = count_outcomes(name, range(NUM_LONG))
    others = ", ".join(f"{count} {outcome}" for outcome, count in counts.outcomes.items() if count)
    with capsys.disabled():
        print(f"\n{name:<34} {others}; slowest {counts.slowest:.1f} s")
        for failure in counts.failures.values():
            print(f"    {failure}")
    assert counts.bad == 0, counts.failures
