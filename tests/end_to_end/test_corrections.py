"""Corrections come back: a run's worst predicted frames are extracted, proposed, accepted, and trained on further."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from helpers.command import run_mvtrain
from helpers.labeling import serve
from helpers.new_projects import label_from_truth
from helpers.tiny import TINY_MODEL, generate_tiny_project
from mvtrain.label.service import LabelOptions

NUM_VIEWS = 3
FEW = [
    "training.max_epochs=2",
    "training.train_batch_size=4",
    "training.num_workers=0",
    "training.accelerator=cpu",
    f"model={yaml.safe_dump({**TINY_MODEL, 'heatmap_loss_type': 'kl'}, default_flow_style=True).strip()}",
]


@pytest.mark.slow
def test_from_a_run_to_corrected_frames_to_the_next_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    generated = generate_tiny_project(tmp_path / "generated", num_video_frames=40, num_frames=1)
    project, first, second = tmp_path / "project", tmp_path / "first", tmp_path / "second"

    def run(*arguments: object) -> str:
        done = run_mvtrain(capsys, monkeypatch, *arguments)
        assert done.status == 0, done.out + done.err
        return done.out

    rig = generated / "calibrations" / "session1.toml"
    run("init", generated / "videos", "--calibration", rig, "--keypoints", "nose,tail_base", "--output", project)
    run("frames", project, "-n", 6)
    label_from_truth(project, generated)
    before = {path.name: path.read_bytes() for path in project.glob("CollectedData_*.csv")}
    run("fit", project / "config.yaml", *FEW, "--output", first)
    run("predict", first, project / "videos")

    worst = first / "worst_frames.csv"
    printed = run("report", first)
    assert f"mvtrain frames {project} --frames {worst}" in printed
    listed = pd.read_csv(worst)
    there = set(pd.read_csv(project / "frames.csv")["frame"])
    assert len(listed) > 0
    assert not there & set(listed["frame"])
    assert (np.diff(listed["work"]) <= 0).all()

    printed = run("frames", project, "--frames", worst, "-n", 2)
    assert f"wrote 2 frames of {NUM_VIEWS} views" in printed
    for name, content in before.items():
        assert (project / name).read_bytes().startswith(content)

    new = listed["frame"][:2].tolist()
    (tmp_path / "two.csv").write_text(f"session,frame\nsession1,{new[0]}\nsession1,{new[1]}\n")
    options = LabelOptions(predictions=first, frames=tmp_path / "two.csv")
    predicted = pd.read_csv(first / "video_preds" / "session1_cam1.csv", header=[0, 1, 2], index_col=0)
    with serve(project, options) as server:
        state = server.get("/api/project").json()
        assert [frame["name"][-12:-4] for frame in state["frames"]] == [f"{frame:08d}" for frame in new]
        for number, row in enumerate(new):
            answer = server.get(f"/api/frames/{number}").json()
            proposals = answer["predictions"]
            expected = predicted.loc[row].to_numpy(dtype=float)[:2]
            assert proposals[0][0][:2] == pytest.approx(expected, abs=0.01)
            accepted = [
                [view, keypoint, [*place[:2], 2, "prediction"]]
                for view, by_keypoint in enumerate(proposals)
                for keypoint, place in enumerate(by_keypoint)
                if place is not None
            ]
            assert accepted
            assert server.edit(number, accepted, first=number).status == 200
        assert server.post("/api/save").status == 200
    table = pd.read_csv(project / "CollectedData_cam1.csv", header=[0, 1, 2], index_col=0)
    assert table.iloc[-1].notna().any()
    assert len(table) == 8

    printed = run(
        "fit", project / "config.yaml", *FEW, f"model.checkpoint={first}/checkpoints/best", "--output", second
    )
    splits = pd.read_csv(second / "predictions_cam1.csv", header=[0, 1, 2], index_col=0).iloc[:, -1]
    assert len(splits) == 8
    assert "unused" not in set(splits)
    assert f"as in {first}" in printed
    before, after = (pd.read_csv(folder / "split.csv", index_col=0)["set"] for folder in (first, second))
    used = before[before != "unused"]
    assert after[used.index].tolist() == used.tolist()  # nothing that was tested is trained on
