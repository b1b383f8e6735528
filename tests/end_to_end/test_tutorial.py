"""docs/tutorial.md, as a newcomer would: every bash block, in order, in one shell."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers.page_commands import BLOCK, run_script, script, stale_quotes

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorial.md"
WHEEL = "MVTRAIN_TUTORIAL_WHEEL"
"""Names a wheel of pose2sim that is there already; without it pip downloads one."""


def medians(run: Path, which: str) -> tuple[float, float]:
    """Of the distances to the labels in one set, over all views: of the predictions, and of the mean pose; px."""
    errors, baseline = [], []
    for view in ("cam01", "cam02", "cam03", "cam04"):
        labels = pd.read_csv(run.parents[1] / f"data/human4/CollectedData_{view}.csv", header=[0, 1, 2], index_col=0)
        points = labels.to_numpy(dtype=float).reshape(len(labels), -1, 2)
        predicted = pd.read_csv(run / f"predictions_{view}.csv", header=[0, 1, 2], index_col=0)
        sets = predicted.iloc[:, -1].to_numpy()
        found = predicted.iloc[:, :-1].to_numpy(dtype=float).reshape(len(labels), -1, 3)[..., :2]
        chosen = sets == which
        assert chosen.any()
        with np.errstate(invalid="ignore"):
            counts = np.isfinite(points[sets == "train"]).sum(axis=0)
            mean_pose = np.nansum(points[sets == "train"], axis=0) / np.where(counts > 0, counts, np.nan)
        errors.append(np.linalg.norm(found[chosen] - points[chosen], axis=-1))
        baseline.append(np.linalg.norm(mean_pose - points[chosen], axis=-1))
    return float(np.nanmedian(errors)), float(np.nanmedian(baseline))


def test_a_block_that_fails_is_named(tmp_path: Path) -> None:
    page = "```bash\nuv run true\n```\n\n<!-- exit status 1 -->\n```bash\nfalse\n```\n\n```bash\ntrue\nfalse\n```\n"
    done = run_script(tmp_path, script(page), {})
    assert (done.returncode, done.stdout) == (99, "block 3: 1\n")


def test_quotes_of_an_output_are_compared_without_numbers_and_line_breaks() -> None:
    page = "```text\nread 3 files, 1.5 s ...          other table\n```\n"
    assert stale_quotes(page, "read 12 files,\n2.25 s of 40\n other   table\n") == []
    assert stale_quotes(page, "read 3 frames, 1.5 s; other table") == ["read 3 files, 1.5 s "]


def test_every_command_is_in_a_block_that_runs() -> None:
    page = PAGE.read_text()
    commands = " ".join(block for _, block in BLOCK.findall(page))
    for command in (
        "mvgeom calibrate",
        "mvgeom refine",
        *(f"mvtrain {name}" for name in ("check", "fit", "predict", "evaluate")),
    ):
        assert f"uv run {command} " in commands
    for figure in re.findall(r"!\[.*?\]\((.*?)\)", page):
        assert (PAGE.parent / figure).stat().st_size < 250_000


@pytest.mark.slow
def test_the_tutorial_runs(tmp_path: Path) -> None:
    environment = {}
    if WHEEL in os.environ:
        wheel = Path(os.environ[WHEEL]).absolute()
        # Asked for by name, so that the page's own command is what runs.
        environment = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheel.parent)}
    # Fewer epochs than the page's, in smaller batches to learn as much: CI has half an hour for everything.
    fit = "mvtrain fit data/human4/short.yaml"
    text = script(PAGE.read_text())
    assert text.count(f"{fit} ") == 1
    shorter = f"{fit} training.max_epochs=6 training.train_batch_size=4"
    done = run_script(tmp_path, text.replace(fit, shorter), environment)
    if "error: pip cannot download" in done.stderr and WHEEL not in os.environ:
        pytest.skip(f"pose2sim cannot be downloaded, and {WHEEL} names no wheel: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert stale_quotes(PAGE.read_text(), done.stdout + done.stderr) == []

    predicted, mean_pose = medians(tmp_path / "runs" / "human4", "validation")
    assert predicted < 0.5 * mean_pose
    table = pd.read_csv(tmp_path / "runs/human4/video_preds/balancing_3d.csv", header=[0, 1, 2], index_col=0)
    assert len(table) == 100
    assert np.isfinite(table.xs("x", axis=1, level=2).to_numpy()).mean() > 0.9
    assert (tmp_path / "runs/human4/video_preds/balancing_overlay.mp4").stat().st_size > 0
