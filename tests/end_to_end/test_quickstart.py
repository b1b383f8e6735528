"""The README's first command, in a quarter of its epochs and without its videos: CI has half an hour for everything."""

import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

ROOT = Path(__file__).parents[2]


def read_points(path: Path, num_columns: int) -> np.ndarray:
    """(N, K, num_columns) of a table with three header rows, a last column `set` left out."""
    table = pd.read_csv(path, header=[0, 1, 2], index_col=0)
    values = table.loc[:, [column for column in table.columns if column[0] != "set"]]
    return values.to_numpy(dtype=float).reshape(len(table), -1, num_columns)


@pytest.mark.slow
def test_the_quickstart_learns(tmp_path: Path) -> None:
    document = yaml.safe_load((ROOT / "examples" / "quickstart.yaml").read_text())
    project, run = tmp_path / "project", tmp_path / "run"
    command = ["mvtrain", "fit", "examples/quickstart.yaml", f"data.data_dir={project}", "--output", str(run)]
    shorter = ["training.max_epochs=4", "eval.predict_vids_after_training=false"]
    subprocess.run([*command, *shorter], cwd=ROOT, check=True)

    errors, baseline = [], []
    for path in sorted(project.glob("CollectedData_*.csv")):
        view = path.stem.removeprefix("CollectedData_")
        labels = read_points(path, 3)
        points = np.where((labels[..., 2] == 2)[..., None], labels[..., :2], np.nan)
        predictions = run / f"predictions_{view}.csv"
        sets = pd.read_csv(predictions, header=[0, 1, 2], index_col=0).iloc[:, -1].to_numpy()
        mean_pose = np.nanmean(points[sets == "train"], axis=0)
        test = sets == "test"
        errors.append(np.linalg.norm(read_points(predictions, 3)[test, :, :2] - points[test], axis=-1))
        baseline.append(np.linalg.norm(mean_pose - points[test], axis=-1))
    assert len(errors) == document["data"]["synthetic"]["num_views"]
    ratio = np.nanmean(baseline) / np.nanmean(errors)
    # Another processor rounds differently and ends elsewhere: 3.1 here, 8 with all epochs.
    assert ratio > 2.5
