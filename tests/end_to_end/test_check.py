"""`mvtrain check` from the command line, on a generated project that is damaged in one way at a time."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from helpers.command import SHARED, Outcome, run_mvtrain
from mvgeom import CameraGroup
from mvtrain.check import contact_sheets
from mvtrain.synth import SyntheticSpec, generate_project

PAGE = Path(__file__).parents[2] / "docs" / "check.md"
IN_2D = ("training.imgaug_3d=false", "training.labels_from_3d=false", "model.epipolar_attention=false", "losses={}")
VIEWS = ("cam1", "cam2", "cam3", "cam4")
SPEC = SyntheticSpec(
    num_views=4, num_frames=24, num_sessions=1, num_video_frames=200, size=96, label_noise=0.2, image_format="png"
)
Run = Callable[..., "Checked"]


@dataclass(frozen=True, kw_only=True)
class Checked:
    """Outcome of the command, and the findings it wrote."""

    outcome: Outcome
    findings: dict[str, dict[str, Any]]
    document: dict[str, Any]

    def only(self, code: str) -> dict[str, Any]:
        assert list(self.findings) == [code], self.findings
        return self.findings[code]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated") / "project"
    generate_project(folder, SPEC)
    return folder


@pytest.fixture
def root(original: Path, tmp_path: Path) -> Path:
    """Copy the project, to damage the copy."""
    shutil.copytree(original, tmp_path / "project", ignore=shutil.ignore_patterns("videos"))
    return tmp_path / "project"


@pytest.fixture
def run(
    request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Run:
    """`mvtrain check`; unless a test asks for `whole_sheets`, with sheets of a frame, which take half of the time."""
    if "whole_sheets" not in request.fixturenames:
        for name in ("NUM_FRAMES", "NUM_AUGMENTED"):
            monkeypatch.setattr(contact_sheets, name, 1)

    def check(config: Path, *overrides: str) -> Checked:
        out = tmp_path / "check"
        outcome = run_mvtrain(capsys, monkeypatch, "check", config, *overrides, "--output", out)
        assert outcome.status in (0, 1), outcome.err
        document = json.loads((out / "check.json").read_text())
        assert document["passed"] == (outcome.status == 0)
        findings = {each["code"]: each for each in document["findings"]}
        errors = [each for each in findings.values() if each["severity"] == "error"]
        assert bool(errors) == (outcome.status == 1)
        for each in findings.values():
            assert f"{each['severity']}: {each['text']}"[:200] in outcome.out
        return Checked(outcome=outcome, findings=findings, document=document)

    return check


@pytest.fixture
def whole_sheets() -> None:
    """Sheets of as many frames as users get."""


def edit_table(root: Path, view: str, change: Callable[[pd.DataFrame, str], None]) -> None:
    """Rewrite a label table; `change` gets its rows, to change in place, and the name of the scorer."""
    path = root / f"CollectedData_{view}.csv"
    table = pd.read_csv(path, header=[0, 1, 2], index_col=0)
    change(table, table.columns[0][0])
    table.to_csv(path)


def edit_calibration(root: Path, change: Callable[[CameraGroup], CameraGroup]) -> None:
    (path,) = (root / "calibrations").glob("*.toml")
    change(CameraGroup.load(path)).save(path)


def with_pose(cameras: CameraGroup, view: int, rotation: np.ndarray, translation: np.ndarray) -> CameraGroup:
    rotations, translations = cameras.rotation.copy(), cameras.translation.copy()
    rotations[view], translations[view] = rotation, translation
    return cameras.replace(rotation=rotations, translation=translations)


def images(root: Path, view: str) -> list[Path]:
    return sorted((root / "labeled-data" / f"session1_{view}").glob("*.png"))


def exchange(root: Path, view: str, rows: slice) -> None:
    def swap(table: pd.DataFrame, scorer: str) -> None:
        for coord in ("x", "y", "visible"):
            left, right = ((scorer, f"{side}_front_paw", coord) for side in ("left", "right"))
            table.loc[table.index[rows], [left, right]] = table.loc[table.index[rows], [right, left]].to_numpy()

    edit_table(root, view, swap)


@pytest.mark.usefixtures("whole_sheets")
def test_a_clean_project_passes(root: Path, tmp_path: Path, run: Run) -> None:
    checked = run(root / "config.yaml")
    assert checked.outcome.status == 0
    assert checked.findings == {}
    assert "nothing speaks against training" in checked.outcome.out
    assert checked.document["frames"] == {"train": 20, "validation": 2, "test": 2, "unused": 0}
    for name in ("labels.png", "augmented.png"):
        sheet = cv2.imread(str(tmp_path / "check" / name))
        assert sheet.shape[0] > 6 * 320
        assert sheet.shape[1] > 4 * 320
    assert not (tmp_path / "check" / "worst.png").exists()
    for view, labels in checked.document["labels"].items():
        table = pd.read_csv(root / f"CollectedData_{view}.csv", header=[0, 1, 2], index_col=0)
        for name, counts in labels.items():
            visible = table[(table.columns[0][0], name, "visible")]
            found = [counts["visible"], counts["occluded"], counts["missing"]]
            assert found == [(visible == kind).sum() for kind in (2, 1, 0)]
            assert counts["median_error_px"] is None or 0.01 < counts["median_error_px"] < 0.6


def test_labels_of_two_views_exchanged(root: Path, run: Run) -> None:
    paths = [root / f"CollectedData_{view}.csv" for view in ("cam1", "cam2")]
    first, second = (path.read_text() for path in paths)
    paths[0].write_text(second.replace("_cam2/", "_cam1/"))
    paths[1].write_text(first.replace("_cam1/", "_cam2/"))
    findings = run(root / "config.yaml").findings
    assert findings["swapped_views"]["severity"] == "error"
    assert findings["swapped_views"]["views"] == ["cam1", "cam2"]
    # Single labels, and left and right, cannot be checked then.
    assert set(findings) == {"swapped_views", "labels_not_judged"}


def test_a_turned_camera_is_named(root: Path, run: Run) -> None:
    turn = cv2.Rodrigues(np.array([0.03, 0.05, 0.0]))[0]
    edit_calibration(root, lambda c: with_pose(c, 2, turn @ c.rotation[2], turn @ c.translation[2]))
    checked = run(root / "config.yaml")
    finding = checked.only("camera_disagrees")
    assert (finding["severity"], finding["views"]) == ("error", ["cam3"])
    assert finding["evidence"]["rotation_deg"] == pytest.approx(3.3, abs=0.3)
    # Its labels have large reprojection errors, those of the other cameras do not.
    medians = {
        view: np.nanmedian([counts["median_error_px"] or np.nan for counts in labels.values()])
        for view, labels in checked.document["labels"].items()
    }
    assert medians["cam3"] > 4
    assert max(medians[view] for view in VIEWS if view != "cam3") < 0.5

    in_2d = run(root / "config.yaml", *IN_2D)
    assert in_2d.outcome.status == 0
    assert in_2d.only("camera_disagrees")["severity"] == "warning"
    by_default = ("training.imgaug_3d=null", "training.labels_from_3d=null", *IN_2D[2:])
    assert run(root / "config.yaml", *by_default).only("camera_disagrees")["severity"] == "error"


def test_two_cameras_with_one_pose(root: Path, run: Run) -> None:
    edit_calibration(root, lambda c: with_pose(c, 1, c.rotation[0], c.translation[0]))
    finding = run(root / "config.yaml").findings["identical_cameras"]
    assert (finding["severity"], finding["views"]) == ("error", ["cam1", "cam2"])


def test_a_calibration_of_larger_images(root: Path, run: Run) -> None:
    edit_calibration(root, lambda c: c.resize(2 * c.sizes))
    checked = run(root / "config.yaml")
    assert checked.findings["frame_size"]["severity"] == "error"
    for size in ("96x96", "192x192"):
        assert size in checked.findings["frame_size"]["text"]
    assert checked.findings["image_size"]["views"] == list(VIEWS)


def test_a_stale_frame_size_is_no_error(root: Path, run: Run) -> None:
    edit_calibration(root, lambda c: c.replace(sizes=2 * c.sizes))
    checked = run(root / "config.yaml")
    assert checked.outcome.status == 0
    assert checked.only("frame_size")["severity"] == "warning"


def test_labels_in_pixels_of_another_image_size(root: Path, run: Run) -> None:
    def double(table: pd.DataFrame, scorer: str) -> None:
        for column in table.columns:
            table[column] *= 1 if column[2] == "visible" else 2

    edit_table(root, "cam2", double)
    findings = run(root / "config.yaml").findings
    assert findings["label_outside"]["severity"] == "error"
    assert findings["label_outside"]["views"] == ["cam2"]
    assert findings["image_size"]["views"] == ["cam2"]


def test_a_keypoint_that_training_never_sees(root: Path, run: Run) -> None:
    for view in VIEWS:
        edit_table(root, view, lambda table, scorer: table.__setitem__((scorer, "nose", "visible"), 0))
    findings = run(root / "config.yaml").findings
    assert list(findings) == ["never_labelled", "unlabeled_places"]  # the places are still in the table
    finding = findings["never_labelled"]
    assert finding["severity"] == "error"
    assert finding["text"].startswith("nose: ")


def test_a_damaged_image(root: Path, run: Run) -> None:
    path = images(root, "cam2")[3]
    path.write_bytes(path.read_bytes()[:3000])
    finding = run(root / "config.yaml").only("damaged_image")
    assert (finding["severity"], finding["views"]) == ("error", ["cam2"])
    assert str(path) in finding["text"]


def test_a_blank_image(root: Path, run: Run) -> None:
    path = images(root, "cam1")[0]
    cv2.imwrite(str(path), np.full((96, 96, 3), 128, dtype=np.uint8))
    checked = run(root / "config.yaml")
    assert checked.outcome.status == 0
    assert path.name in checked.only("blank_image")["text"]


def test_frames_copied_across_the_split(root: Path, run: Run) -> None:
    for view in VIEWS:
        paths = images(root, view)
        for old, new in zip(paths[:6], paths[18:], strict=True):
            shutil.copy(old, new)
    # In blocks, the first 19 frames are for training.
    checked = run(root / "config.yaml", "data.split=block")
    assert checked.outcome.status == 0
    same, near = checked.findings["same_image"], checked.findings["near_duplicates"]
    assert same["evidence"] == {"frames": 6, "across_split": 5}
    assert (near["severity"], near["evidence"]["frames"]) == ("warning", 5)
    pairs = checked.document["near_duplicates"]
    assert {(pair["held_out"][0], pair["training"][0]) for pair in pairs} == {
        tuple(f"labeled-data/session1_cam1/{images(root, 'cam1')[k].name}" for k in (row, row - 18))
        for row in range(19, 24)
    }


def test_one_view_with_the_images_or_the_labels_of_another(root: Path, run: Run) -> None:
    for old, new in zip(images(root, "cam1"), images(root, "cam2"), strict=True):
        shutil.copy(old, new)
    finding = run(root / "config.yaml").only("same_view")
    assert (finding["severity"], finding["views"]) == ("error", ["cam1", "cam2"])
    text = (root / "CollectedData_cam1.csv").read_text()
    (root / "CollectedData_cam2.csv").write_text(text.replace("_cam1/", "_cam2/"))
    assert run(root / "config.yaml").findings["same_labels"]["severity"] == "error"


def test_a_label_that_was_moved(root: Path, tmp_path: Path, run: Run) -> None:
    place: dict[str, Any] = {}

    def move(table: pd.DataFrame, scorer: str) -> None:
        visible = table[(scorer, "withers", "visible")]
        row = int(np.flatnonzero(visible == 2)[5])
        place.update(line=row + 4, image=table.index[row], label=table[(scorer, "withers", "x")].iloc[row] + 12)
        table.loc[table.index[row], (scorer, "withers", "x")] = place["label"]

    edit_table(root, "cam3", move)
    checked = run(root / "config.yaml")
    assert checked.outcome.status == 0
    finding = checked.only("label_error")
    assert (finding["severity"], finding["evidence"]["labels"], finding["views"]) == ("warning", 1, ["cam3"])
    worst = checked.document["worst_labels"][0]
    found = (worst["view"], worst["keypoint"], worst["line"], worst["image"], worst["suspect"])
    assert found == ("cam3", "withers", place["line"], place["image"], True)
    assert worst["error_px"] == pytest.approx(12, abs=1)
    assert worst["expected"][0] == pytest.approx(place["label"] - 12, abs=1)
    line = next(line for line in checked.outcome.out.splitlines() if line.endswith("! "))
    assert line.split()[:3] == ["withers", "cam3", str(place["line"])]
    assert (tmp_path / "check" / "worst.png").exists()


def test_left_and_right_exchanged_in_one_view(root: Path, run: Run) -> None:
    exchange(root, "cam4", slice(0, 6))
    some = run(root / "config.yaml")
    assert some.outcome.status == 0
    finding = some.findings["exchanged_sides"]
    assert (finding["severity"], finding["views"]) == ("warning", ["cam4"])
    for part in ("left_front_paw and right_front_paw", "view cam4"):
        assert part in finding["text"]
    assert 2 <= finding["evidence"]["frames"] <= 6
    exchange(root, "cam4", slice(6, 24))
    every = run(root / "config.yaml").findings["exchanged_sides"]
    assert every["severity"] == "error"
    assert every["evidence"]["frames"] == every["evidence"]["frames_that_tell"] > finding["evidence"]["frames"]


def test_3d_without_what_it_needs(root: Path, run: Run) -> None:
    for number, view in enumerate(VIEWS):

        def keep_every_fourth(table: pd.DataFrame, scorer: str, number: int = number) -> None:
            names = table.columns.get_level_values(1).unique()
            for name in [name for k, name in enumerate(names) if k % 4 != number]:
                table[(scorer, name, "visible")] = 0

        edit_table(root, view, keep_every_fourth)
    findings = run(root / "config.yaml").findings
    assert findings["nothing_in_3d"]["severity"] == "error"
    assert findings["calibration_not_checked"]["severity"] == "note"
    shutil.rmtree(root / "calibrations")
    findings = run(root / "config.yaml").findings
    assert findings["no_calibration"]["severity"] == "error"
    assert "nothing_in_3d" not in findings
    assert run(root / "config.yaml", *IN_2D).outcome.status == 0
    # Lightning Pose writes it into configs of all projects of several views.
    written = run(root / "config.yaml", *IN_2D, "training.imgaug_3d=true")
    assert (written.outcome.status, written.findings["no_calibration"]["severity"]) == (0, "warning")


def test_left_without_right_is_a_note(root: Path, run: Run) -> None:
    for path in [*root.glob("CollectedData_*.csv"), root / "config.yaml"]:
        path.write_text(path.read_text().replace("right_ear", "other_ear"))
    checked = run(root / "config.yaml")
    assert checked.outcome.status == 0
    assert checked.only("sides_not_checked")["severity"] == "note"


def test_a_project_that_cannot_be_read_ends_with_2(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = root / "CollectedData_cam3.csv"
    table.write_text(table.read_text().replace("nose", "snout"))
    outcome = run_mvtrain(capsys, monkeypatch, "check", root / "config.yaml", "--output", tmp_path / "check")
    assert outcome.status == 2
    assert "data.keypoint_names" in outcome.err or "keypoint 1 is" in outcome.err
    assert not (tmp_path / "check").exists()


def words(output: str) -> list[str]:
    """Return what `check` printed after the project's path and before the folder that it wrote to."""
    return output[output.index("frames  ") : output.index("wrote check.json")].split()


def test_human4_names_cam3(tmp_path: Path, run: Run) -> None:
    config = SHARED / "data" / "human4" / "config.yaml"
    if not config.exists():
        pytest.skip(f"{config} is absent")
    checked = run(config)
    # The page quotes this output, on a narrower terminal and with another path.
    (quoted,) = re.findall(r"^```text\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert words(quoted) == words(checked.outcome.out)
    errors = [each for each in checked.document["findings"] if each["severity"] == "error"]
    assert [(each["code"], each["views"]) for each in errors] == [("camera_disagrees", ["cam3"])]
    # The names of human4 belong to another skeleton than its columns.
    assert checked.findings["unequal_sides"]["severity"] == "warning"
    assert checked.findings["near_duplicates"]["severity"] == "warning"
    assert checked.findings["near_duplicates"]["evidence"]["frames"] >= 18
    assert checked.findings["label_error"]["evidence"]["share"] < 0.02
    assert checked.document["labels"]["cam1"]["RElbow"]["missing"] == 100
    in_blocks = run(config, "data.split=block").findings["near_duplicates"]
    assert (in_blocks["severity"], in_blocks["evidence"]["frames"]) == ("note", 3)
