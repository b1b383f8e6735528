"""`mvtrain pseudolabel`, and training on the tables `CollectedData_<view>_pseudo.csv` that it writes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from scipy.spatial.transform import Rotation

from helpers.command import Outcome, run_mvtrain
from helpers.errors import raises_input
from helpers.foreign import write_prediction
from helpers.rigs import ring
from helpers.tiny import generate_tiny_project, write_tiny_config
from helpers.videos import moving_dot, write_video
from mvgeom import CameraGroup, project
from mvgeom.videos import frame_rate, open_video
from mvtrain.config import load_config
from mvtrain.data.dataset import EpochSampler
from mvtrain.predict.search import Framing
from mvtrain.project.label_tables import OCCLUDED, VISIBLE, read_labels
from mvtrain.project.project import joined, read_project
from mvtrain.project.pseudo_labels import held_out_sessions, read_pseudo_labels
from mvtrain.project.splits import split_frames
from mvtrain.start.crop_project import CropOptions, crop_project
from mvtrain.start.pseudolabel_files import Crops, ProjectedSession, _cut
from mvtrain.start.pseudolabel_videos import (
    PseudolabelOptions,
    lasting_offsets,
    projected_std,
    pseudolabel,
    take_frames,
)

VIEWS = ("cam1", "cam2", "cam3")
LENGTH, OWN = 20, 6
UNSEEN = 1
"""A keypoint that one view does not see, by the likelihoods of the predictions."""


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pseudo") / "project"
    return generate_tiny_project(folder, num_frames=OWN, num_sessions=2, num_video_frames=LENGTH)


@pytest.fixture
def root(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "project"))


@pytest.fixture
def config(root: Path, tmp_path: Path) -> Path:
    return write_tiny_config(tmp_path / "tiny.yaml", root, train_prob=0.7, val_prob=0.3)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    return lambda *arguments: run_mvtrain(capsys, monkeypatch, *arguments)


def true_points(root: Path, session: str) -> np.ndarray:
    table = pd.read_csv(root / "videos" / f"{session}_3d.csv", header=[0, 1, 2], index_col=0)
    return table.to_numpy().reshape(LENGTH, -1, 3)


def predict(
    root: Path,
    out: Path,
    sessions: tuple[str, ...] = ("session1", "session2"),
    noise: float = 0.05,
    *,
    views: tuple[str, ...] = VIEWS,
    unsure: tuple[int, ...] = (),
    turned: bool = False,
) -> Path:
    """Predictions of the recordings that are the truth but for a little noise; unsure of all in some frames.

    They may have the keypoints the other way round.
    """
    out.mkdir(exist_ok=True)
    names = read_labels(root / f"CollectedData_{VIEWS[0]}.csv").keypoint_names
    order = slice(None, None, -1 if turned else 1)
    for session in sessions:
        path = root / "calibrations" / f"{session}.toml"
        cameras = CameraGroup.load(path).select(views)
        points = project(true_points(root, session), cameras)
        points += np.random.default_rng(0).normal(0, noise, points.shape)
        likelihood = np.full(points.shape[:-1], 0.9)
        likelihood[:, views.index(VIEWS[0]), UNSEEN] = 0.2
        likelihood[list(unsure)] = 0.2
        write_prediction(
            out,
            points[:, :, order],
            likelihood[:, :, order],
            session=session,
            view_names=views,
            keypoint_names=names[order],
            cameras=cameras,
            calibration=path,
            videos=root / "videos",
        )
    return out


def run(config: Path, source: Path, **options: object) -> None:
    pseudolabel(load_config(config), source, PseudolabelOptions(**options), Console(quiet=True))  # type: ignore[arg-type]


def tables(root: Path) -> list[Path]:
    return [root / f"CollectedData_{view}_pseudo.csv" for view in VIEWS]


def test_labels_are_the_projections_of_the_points_in_3d(config: Path, root: Path, tmp_path: Path) -> None:
    own = {path: path.read_bytes() for path in root.glob("CollectedData_*.csv")}
    run(config, predict(root, tmp_path / "predicted"), num_frames=8)
    assert {path: path.read_bytes() for path in own} == own
    for view, path in enumerate(tables(root)):
        table = read_labels(path)
        assert len(table) == 8
        for row, name in enumerate(table.image_names):
            assert name is not None
            folder, file = name.split("/")[1:]
            session, frame = folder.split("_")[0], int(file[3:11])
            cameras = CameraGroup.load(root / "calibrations" / f"{session}.toml").select(VIEWS)
            expected = project(true_points(root, session)[frame], cameras)[view]
            known = np.isfinite(table.points[row]).all(-1)
            assert known.mean() > 0.7
            np.testing.assert_allclose(table.points[row][known], expected[known], atol=0.5)
            assert table.visible is not None
            seen = np.where(known, VISIBLE, 0)
            if view == 0:
                seen[UNSEEN] = OCCLUDED if known[UNSEEN] else 0
            assert table.visible[row].tolist() == seen.tolist()
            image, video = cv2.imread(str(root / name)), cv2.VideoCapture(str(root / "videos" / f"{folder}.mp4"))
            for _ in range(frame + 1):
                _, shown = video.read()
            assert (image == shown).all()


def test_frames_of_the_projects_own_tables_are_not_taken(config: Path, root: Path, tmp_path: Path) -> None:
    run(config, predict(root, tmp_path / "predicted"), num_frames=2 * LENGTH)
    own = {name for path in root.glob("CollectedData_*[0-9].csv") for name in read_labels(path).image_names}
    new = [name for path in tables(root) for name in read_labels(path).image_names]
    assert len(new) == len(VIEWS) * (2 * LENGTH - OWN)
    stems = {str(name).rpartition(".")[0] for name in own}
    assert not stems & {str(name).rpartition(".")[0] for name in new}


def test_smoothed_points_are_taken_and_sessions_can_be_named(config: Path, root: Path, tmp_path: Path) -> None:
    source = predict(root, tmp_path / "predicted", noise=1.5)
    run(config, source, num_frames=4, sessions=("session2",))
    single = read_labels(tables(root)[0])
    assert {str(name).split("/")[1].split("_")[0] for name in single.image_names} == {"session2"}
    smoothed = predict(root, tmp_path / "smoothed", ("session2",), noise=0.01)
    run(config, source, num_frames=4, smoothed=smoothed)
    named = read_labels(tables(root)[0])
    shutil.copytree(smoothed, source / "smoothed")
    run(config, source, num_frames=4)
    beside = read_labels(tables(root)[0])
    assert beside.image_names == named.image_names
    np.testing.assert_array_equal(beside.points, named.points)
    cameras = CameraGroup.load(root / "calibrations" / "session2.toml").select(VIEWS)
    truth = project(true_points(root, "session2"), cameras)[:, 0]
    errors = [
        np.nanmedian(
            [np.abs(table.points[row] - truth[int(str(name)[-12:-4])]) for row, name in enumerate(table.image_names)]
        )
        for table in (single, beside)
    ]
    assert errors[1] < 0.1 * errors[0]
    with raises_input("missing-file", session="session1"):  # not smoothed
        run(config, source, sessions=("session1",))
    with raises_input("unknown-choice", option="--session", found="session3"):
        run(config, source, sessions=("session3",))


@pytest.mark.parametrize("turned", ["predicted", "smoothed"])
def test_keypoints_in_another_order_are_the_same_labels(turned: str, config: Path, root: Path, tmp_path: Path) -> None:
    found = []
    for order in ("none", turned):
        folder = tmp_path / order
        folder.mkdir()
        source = predict(root, folder / "predicted", turned=order == "predicted")
        smoothed = predict(root, folder / "smoothed", noise=0.5, turned=order == "smoothed")
        # A keypoint that is not known well: its standard deviations tell, by its name.
        for path in smoothed.glob("*_3d.csv"):
            table = pd.read_csv(path, header=[0, 1, 2], index_col=0)
            first = read_labels(root / "CollectedData_cam1.csv").keypoint_names[0]
            table.loc[:, (slice(None), first, ["x_std", "y_std", "z_std"])] = 1e3
            table.to_csv(path)
        run(config, source, num_frames=4, smoothed=smoothed)
        found.append([read_labels(path) for path in tables(root)])
    for one, other in zip(*found, strict=True):
        assert one.image_names == other.image_names
        np.testing.assert_allclose(one.points, other.points, atol=1e-3)
        np.testing.assert_array_equal(one.visible, other.visible)
        assert np.isnan(one.points[:, 0]).all()
        assert np.isfinite(one.points[:, 1:]).any()


def test_frames_after_the_end_of_a_video_are_not_taken(config: Path, root: Path, tmp_path: Path) -> None:
    source = predict(root, tmp_path / "predicted", ("session1",))
    (video,) = (root / "videos").glob("session1_cam2.*")
    before = open_video(video)
    images = [moving_dot(number, size=before.size) for number in range(8)]
    write_video(video, images, codec="mp4v", fps=frame_rate(before))
    run(config, source, num_frames=LENGTH)
    numbers = [int(str(name)[-12:-4]) for name in read_labels(tables(root)[0]).image_names]
    assert numbers
    assert max(numbers) < 8


def test_a_session_that_cannot_be_used_leaves_the_others(
    config: Path, root: Path, tmp_path: Path, command: Callable[..., Outcome]
) -> None:
    source = predict(root, tmp_path / "predicted")
    table = source / "session1_cam1.csv"
    content = table.read_text()
    table.unlink()
    outcome = command("pseudolabel", config, source, "-n", "4", "--dry-run")
    assert outcome.status == 0, outcome.err
    assert "left out: " in outcome.out
    assert table.name in outcome.out
    with raises_input("missing-file", path=table):
        run(config, source, sessions=("session2", "session1"))
    run(config, source, num_frames=4, sessions=("session2",))
    table.write_text(content)
    (root / "calibrations" / "session1.toml").unlink()
    outcome = command("pseudolabel", config, source, "-n", "4")
    assert outcome.status == 0, outcome.err
    assert "left out: session 'session1'" in outcome.out
    assert {str(name).split("/")[1] for name in read_labels(tables(root)[0]).image_names} == {"session2_cam1"}
    with raises_input("no-calibration", session="session1"):
        run(config, source, sessions=("session1", "session2"))
    (root / "calibrations" / "session2.toml").unlink()
    with raises_input("no-calibration", session="session1"):
        run(config, source)


def test_smoothed_tables_alone_are_refused(config: Path, root: Path, tmp_path: Path) -> None:
    source = predict(root, tmp_path / "predicted", ("session1",))
    (summary,) = source.glob("*_prediction.json")
    summary.write_text(json.dumps({**json.loads(summary.read_text()), "smoothed": {}}))
    with raises_input("unsupported-file", path=summary):
        run(config, source)


def test_points_that_are_not_known_well_enough_are_no_labels(config: Path, root: Path, tmp_path: Path) -> None:
    source = predict(root, tmp_path / "predicted", noise=3.0)
    with raises_input("no-labels", num_known=0):
        run(config, source, max_std=0.01)
    assert not any(path.exists() for path in tables(root))
    run(config, source, num_frames=4, max_std=1e6)
    assert all(len(read_labels(path)) == 4 for path in tables(root))


def test_a_project_that_has_all_frames_already_is_reported(config: Path, root: Path, tmp_path: Path) -> None:
    source = predict(root, tmp_path / "predicted", ("session1",))
    for view in VIEWS:
        table = root / f"CollectedData_{view}.csv"
        lines = table.read_text().splitlines(keepends=True)
        first = next(line for line in lines[3:] if "session1" in line)
        cells = first.partition(",")[2]
        names = [f"labeled-data/session1_{view}/img{frame:08d}.jpg" for frame in range(LENGTH)]
        table.write_text("".join([*lines[:3], *(f"{name},{cells}" for name in names)]))
    with raises_input("no-labels", num_known=LENGTH):
        run(config, source)


def test_a_dry_run_writes_nothing(config: Path, root: Path, tmp_path: Path, command: Callable[..., Outcome]) -> None:
    source = predict(root, tmp_path / "predicted")
    before = sorted(root.rglob("*"))
    outcome = command("pseudolabel", config, source, "--dry-run")
    assert outcome.status == 0, outcome.err
    assert sorted(root.rglob("*")) == before


def test_what_does_not_fit_the_project_is_refused(config: Path, root: Path, tmp_path: Path) -> None:
    source = predict(root, tmp_path / "predicted", ("session1",))
    names = read_labels(root / "CollectedData_cam1.csv").keypoint_names
    points, likelihood = np.zeros((LENGTH, 3, len(names), 2)), np.ones((LENGTH, 3, len(names)))
    options = {"session": "session1", "keypoint_names": names, "view_names": VIEWS, "videos": root / "videos"}
    cases = {
        "views-differ": {"view_names": ("cam1", "cam2", "other")},
        "keypoints-differ": {"keypoint_names": [*names[1:], "other"]},
        "missing-file": {"videos": tmp_path},
        "no-calibration": {},
    }
    for code, change in cases.items():
        folder = tmp_path / code
        folder.mkdir()
        write_prediction(folder, points, likelihood, **{**options, **change})  # type: ignore[arg-type]
        with raises_input(code):
            run(config, folder)
    other = predict(root, tmp_path / "shorter", ("session1",))
    for path in other.glob("*.csv"):
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with raises_input("tables-differ"):
        run(config, source, smoothed=other)
    shutil.rmtree(root / "calibrations")
    with raises_input("no-calibration", session="session1"):
        run(config, source)


def test_tables_outside_of_the_project_get_none_beside_them(config: Path, root: Path, tmp_path: Path) -> None:
    source = predict(root, tmp_path / "predicted")
    (root / "CollectedData_cam1.csv").rename(tmp_path / "CollectedData_cam1.csv")
    document = yaml.safe_load(config.read_text())
    document["data"] |= {"csv_file": ["../CollectedData_cam1.csv", *(f"CollectedData_{v}.csv" for v in VIEWS[1:])]}
    config.write_text(yaml.safe_dump(document))
    before = sorted(tmp_path.rglob("*"))
    with raises_input("bad-name"):
        run(config, source)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_a_table_of_calibrations_gets_a_table_of_these_frames(
    delimiter: str, config: Path, root: Path, tmp_path: Path
) -> None:
    source = predict(root, tmp_path / "predicted")
    own = read_labels(root / "CollectedData_cam1.csv").image_names
    lines = [f"{name}{delimiter}calibrations/{str(name).split('/')[1].split('_')[0]}.toml" for name in own]
    (root / "calibrations.csv").write_text("\n".join([f"{delimiter}file", *lines]) + "\n")
    run(config, source, num_frames=4)
    loaded = load_config(config)
    pseudo = read_pseudo_labels(loaded, read_project(loaded))
    assert pseudo is not None
    for row in pseudo.rows:
        expected = CameraGroup.load(root / "calibrations" / f"{pseudo.project.sessions[row]}.toml").select(VIEWS)
        cameras = pseudo.project.cameras[row]
        assert cameras is not None
        np.testing.assert_allclose(cameras.translation, expected.translation)


def test_they_come_after_the_projects_own_frames(config: Path, root: Path, tmp_path: Path) -> None:
    run(config, predict(root, tmp_path / "predicted"), num_frames=4)
    loaded = load_config(config)
    own = read_project(loaded)
    pseudo = read_pseudo_labels(loaded, own)
    assert pseudo is not None
    assert pseudo.rows.tolist() == [OWN, OWN + 1, OWN + 2, OWN + 3]
    assert pseudo.project.image_names[:OWN] == own.image_names
    np.testing.assert_array_equal(pseudo.project.points[:OWN], own.points)
    for row in pseudo.rows:
        found = [read_labels(path).points[row - OWN] for path in tables(root)]
        np.testing.assert_array_equal(pseudo.project.points[row], np.stack(found))
    # They are in no split, and so in no table of errors.
    split = split_frames(own, loaded)
    assert max(map(max, (split.train, split.validation))) < OWN


def test_labels_of_people_win_over_pseudo_labels(config: Path, root: Path, tmp_path: Path) -> None:
    run(config, predict(root, tmp_path / "predicted"), num_frames=4)
    for view, path in zip(VIEWS, tables(root), strict=True):
        own = root / f"CollectedData_{view}.csv"
        lines = path.read_text().splitlines(keepends=True)
        own.write_text(own.read_text() + lines[3])  # the first of them, labeled since
    loaded = load_config(config)
    pseudo = read_pseudo_labels(loaded, read_project(loaded))
    assert pseudo is not None
    assert len(pseudo.rows) == 3
    assert len(pseudo.project) == OWN + 1 + 3


def test_without_tables_or_with_a_share_of_0_there_are_none(config: Path, root: Path, tmp_path: Path) -> None:
    loaded = load_config(config)
    assert read_pseudo_labels(loaded, read_project(loaded)) is None
    run(config, predict(root, tmp_path / "predicted"), num_frames=4)
    off = load_config(config, ["training.pseudo_share=0"])
    assert read_pseudo_labels(off, read_project(off)) is None
    tables(root)[1].unlink()
    with raises_input("missing-file", key="training.pseudo_share", path=tables(root)[1]):
        read_pseudo_labels(loaded, read_project(loaded))
    with raises_input("bad-value", key="training.pseudo_share"):
        load_config(config, ["training.pseudo_share=1.5"])


def test_sessions_that_are_held_out_and_learned_are_named(
    config: Path, root: Path, tmp_path: Path, command: Callable[..., Outcome]
) -> None:
    run(config, predict(root, tmp_path / "predicted"), num_frames=4)
    for split, expected in (("session", ["session1", "session2"]), ("random", [])):
        loaded = load_config(config, [f"data.split={split}"])
        own = read_project(loaded)
        pseudo = read_pseudo_labels(loaded, own)
        assert pseudo is not None
        found = held_out_sessions(pseudo, split_frames(own, loaded))
        assert set(found) < set(expected) if expected else found == ()
        assert bool(found) == bool(expected)
        outcome = command("fit", config, f"data.split={split}", "--dry-run")
        assert outcome.status == 0, outcome.err
        assert ("mvtrain pseudolabel --session" in " ".join(outcome.out.split())) == bool(expected)


@pytest.mark.parametrize("fault", [None, "image", "table", "row", "keypoint", "cell"])
def test_check_reads_them_as_fit_does(
    fault: str | None, config: Path, root: Path, tmp_path: Path, command: Callable[..., Outcome]
) -> None:
    run(config, predict(root, tmp_path / "predicted"), num_frames=4)
    table = tables(root)[1]
    lines = table.read_text().splitlines(keepends=True)
    name = lines[4].split(",")[0]
    if fault == "image":
        (root / name).unlink()
    elif fault == "table":
        table.unlink()
    elif fault == "row":
        table.write_text("".join(lines[:-1]))
    elif fault == "keypoint":
        keypoint = lines[1].split(",")[1]
        table.write_text("".join([lines[0], lines[1].replace(f",{keypoint},", ",wing,"), *lines[2:]]))
    elif fault == "cell":
        table.write_text("".join([*lines[:4], f"{name},x{lines[4].removeprefix(name)[2:]}", *lines[5:]]))
    outcome = command("check", config, "-o", tmp_path / "checked")
    findings = json.loads((tmp_path / "checked" / "check.json").read_text())["findings"]
    found = [finding for finding in findings if finding["code"] == "pseudo_labels"]
    assert found
    severities = {finding["severity"] for finding in found}
    assert severities == ({"error"} if fault else {"note"}), found
    assert outcome.status == (1 if fault else 0)
    assert (table.name if fault else "4 frames") in found[-1]["text"] or name in found[-1]["text"]
    assert command("fit", config, "--dry-run").status == (2 if fault else 0)


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_fit_learns_from_them_in_as_many_steps(
    share: float, config: Path, root: Path, tmp_path: Path, command: Callable[..., Outcome]
) -> None:
    run(config, predict(root, tmp_path / "predicted"), num_frames=10)
    plain, with_them = tmp_path / "plain", tmp_path / "with"
    options = ("training.max_epochs=2", "training.patch_mask=null")
    assert command("fit", config, "-o", plain, *options, "training.pseudo_share=0").status == 0
    outcome = command("fit", config, "-o", with_them, *options, f"training.pseudo_share={share}")
    assert outcome.status == 0, outcome.err
    assert "pseudo-labels" in outcome.out
    lengths = [len(pd.read_csv(run / "metrics.csv")) for run in (plain, with_them)]
    assert lengths[0] == lengths[1]
    names = [next((run / "checkpoints" / "last").glob("model*.safetensors")) for run in (plain, with_them)]
    assert names[0].read_bytes() != names[1].read_bytes()
    # Tables of errors have the project's own frames only.
    rows = [
        pd.read_csv(run / "predictions_cam1.csv", header=[0, 1, 2], index_col=0).index for run in (plain, with_them)
    ]
    assert rows[0].tolist() == rows[1].tolist()
    assert len(rows[0]) == OWN


@given(
    num_rows=st.integers(1, 30),
    num_others=st.integers(0, 60),
    share=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    batch_size=st.integers(1, 9),
    epoch=st.integers(0, 4),
)
def test_an_epoch_is_as_long_as_without_them(
    num_rows: int, num_others: int, share: float, batch_size: int, epoch: int
) -> None:
    others = 100 + np.arange(num_others)
    plain = EpochSampler(np.arange(num_rows), batch_size=batch_size, seed=3)
    sampler = EpochSampler(np.arange(num_rows), batch_size=batch_size, seed=3, others=others, share=share)
    plain.epoch = sampler.epoch = epoch
    assert len(sampler) == len(plain)
    rows = [row for batch in sampler for _, row in batch]
    assert len(set(rows)) == len(rows) == num_rows
    assert sum(row >= 100 for row in rows) == min(round(share * num_rows), num_others)
    if share == 0 or num_others == 0:
        assert list(sampler) == list(plain)
    whole = list(sampler)
    sampler.first_batch = len(whole) // 2  # as a resumed run goes on
    assert list(sampler) == whole[len(whole) // 2 :]


def test_all_of_them_come_over_the_epochs() -> None:
    sampler = EpochSampler(np.arange(8), batch_size=4, seed=0, others=100 + np.arange(20), share=0.5)
    seen: set[int] = set()
    for epoch in range(60):
        sampler.epoch = epoch
        seen |= {row for batch in sampler for _, row in batch}
    assert seen == {*range(8), *range(100, 120)}


@given(
    worth=st.lists(st.one_of(st.just(float("nan")), st.floats(0, 9)), min_size=1, max_size=60),
    number=st.integers(0, 12),
)
def test_frames_are_spread_and_the_most_worth_of_their_part(worth: list[float], number: int) -> None:
    values = np.array(worth)
    taken = take_frames(values, number)
    parts = np.array_split(np.arange(len(values)), number) if number else []
    usable = [part for part in parts if np.isfinite(values[part]).any()]
    assert len(taken) == len(usable)
    for frame, part in zip(taken, usable, strict=True):
        assert frame in part
        assert values[frame] == np.nanmax(values[part])


def test_the_deviation_of_projections_is_that_of_many_draws() -> None:
    rig, rng = ring(3, size=64), np.random.default_rng(2)
    points, std = rng.uniform(-0.3, 0.3, (4, 5, 3)), rng.uniform(0.001, 0.004, (4, 5, 3))
    draws = project(points + std * rng.standard_normal((4000, 4, 5, 3)), rig)
    spread = np.sqrt(((draws - draws.mean(0)) ** 2).sum(-1).mean(0))
    np.testing.assert_allclose(projected_std(points, std, rig), spread, rtol=0.06)
    points[0, 0] = np.nan
    assert np.isnan(projected_std(points, std, rig)[0, :, 0]).all()


@pytest.mark.parametrize("with_table", [False, True])
def test_crop_takes_them_along(with_table: bool, config: Path, root: Path, tmp_path: Path) -> None:
    source = predict(root, tmp_path / "predicted")
    if with_table:
        own = read_labels(root / "CollectedData_cam1.csv").image_names
        lines = [f"{name},calibrations/{str(name).split('/')[1].split('_')[0]}.toml" for name in own]
        (root / "calibrations.csv").write_text("\n".join([",file", *lines]) + "\n")
    run(config, source, num_frames=6)
    crop_project(load_config(config), CropOptions(output=tmp_path / "crops"), Console(quiet=True))
    whole, crops = (load_config(path) for path in (config, tmp_path / "crops" / "config.yaml"))
    before, after = (read_pseudo_labels(each, read_project(each)) for each in (whole, crops))
    assert before is not None
    assert after is not None
    assert len(after.rows) == len(before.rows) == 6
    np.testing.assert_allclose(
        after.project.points_full[after.rows], before.project.points_full[before.rows], atol=1e-3, equal_nan=True
    )
    assert after.project.boxes is not None
    assert (after.project.boxes[..., 2:] < 64).any()
    assert all(cameras is not None for cameras in after.project.cameras)
    with raises_input("missing-file", path=tmp_path / "crops" / "bboxes_cam1_pseudo.csv"):
        (tmp_path / "crops" / "bboxes_cam1_pseudo.csv").unlink()
        read_pseudo_labels(crops, read_project(crops))


def test_frames_of_a_project_with_crops_are_cropped_as_its_own(config: Path, root: Path, tmp_path: Path) -> None:
    source = predict(root, tmp_path / "predicted")
    folder = tmp_path / "crops"
    crop_project(load_config(config), CropOptions(output=folder), Console(quiet=True))
    run(folder / "config.yaml", source, num_frames=6)
    loaded = load_config(folder / "config.yaml")
    own = read_project(loaded)
    pseudo = read_pseudo_labels(loaded, own)
    assert pseudo is not None
    assert pseudo.project.boxes is not None
    assert own.boxes is not None
    sides = [np.nanmedian(boxes[..., 2:]) for boxes in (own.boxes, pseudo.project.boxes[pseudo.rows])]
    assert sides[1] == pytest.approx(sides[0], rel=0.25)
    for row in pseudo.rows:
        session, cameras = pseudo.project.sessions[row], pseudo.project.cameras[row]
        assert cameras is not None
        frame = int(str(pseudo.project.image_names[row][0])[-12:-4])
        expected = project(true_points(root, session)[frame], cameras)
        known = np.isfinite(pseudo.project.points[row]).all(-1)
        assert known.mean() > 0.7
        np.testing.assert_allclose(pseudo.project.points_full[row][known], expected[known], atol=0.5)
        for view, name in enumerate(VIEWS):
            video = cv2.VideoCapture(str(root / "videos" / f"{session}_{name}.mp4"))
            for _ in range(frame + 1):
                _, shown = video.read()
            left, top, width, height = pseudo.project.boxes[row, view].astype(int)
            crop = shown[top : top + height, left : left + width, ::-1]
            assert (pseudo.project.read_image(int(row), view) == crop).all()


@given(
    offset=st.tuples(st.floats(-20, 20), st.floats(-20, 20)),
    scatter=st.floats(0, 5),
    num_frames=st.integers(10, 60),
    seed=st.integers(0, 9),
)
def test_offsets_count_as_far_as_they_stand_out_of_the_scatter(
    offset: tuple[float, float], scatter: float, num_frames: int, seed: int
) -> None:
    noise = np.random.default_rng(seed).uniform(-scatter, scatter, (num_frames, 1, 1, 2))
    found = lasting_offsets(np.array(offset) + noise)[0, 0]
    whole = np.median(np.array(offset) + noise, axis=0)[0, 0]
    assert np.linalg.norm(found) <= np.linalg.norm(whole) + 1e-9
    if np.linalg.norm(offset) > 10 * scatter:
        np.testing.assert_allclose(found, whole, atol=0.05 * np.linalg.norm(whole) + 1e-9)
    elif np.linalg.norm(whole) < 0.1 * scatter:
        assert np.linalg.norm(found) < 0.1 * np.linalg.norm(whole) + 1e-9


def test_keypoints_that_a_view_hardly_shows_have_no_offset() -> None:
    differences = np.full((30, 2, 3, 2), np.nan)
    differences[:9, 0, 0] = 5.0
    differences[:10, 1, 2] = 5.0
    found = lasting_offsets(differences)
    np.testing.assert_allclose(found[1, 2], 5.0)
    found[1, 2] = 0
    assert (found == 0).all()


def test_labels_are_where_the_view_shows_them_though_its_calibration_is_off(
    config: Path, root: Path, tmp_path: Path
) -> None:
    """Predictions are right in all views; the calibration that they were triangulated with has one camera turned."""
    source = predict(root, tmp_path / "predicted", ("session1",))
    path = root / "calibrations" / "session1.toml"
    cameras = CameraGroup.load(path)
    truth = project(true_points(root, "session1"), cameras.select(VIEWS))
    turn = Rotation.from_euler("y", 2, degrees=True).as_matrix()
    rotation, translation = cameras.rotation.copy(), cameras.translation.copy()
    rotation[0], translation[0] = turn @ rotation[0], turn @ translation[0]
    cameras.replace(rotation=rotation, translation=translation).save(path)
    run(config, source, num_frames=10, max_std=1e6)
    for view, table in enumerate(map(read_labels, tables(root))):
        frames = [int(str(name)[-12:-4]) for name in table.image_names]
        errors = np.linalg.norm(table.points - truth[frames, view], axis=-1)
        errors[:, UNSEEN] = 0 if view == 0 else errors[:, UNSEEN]  # nothing tells the offset where nothing is shown
        assert np.nanmedian(errors) < 0.3
        assert np.nanpercentile(errors, 90) < 1.0


def test_views_in_another_order_are_the_same_labels(config: Path, root: Path, tmp_path: Path) -> None:
    found = []
    for views in (VIEWS, VIEWS[::-1]):
        run(config, predict(root, tmp_path / views[0], noise=0.0, views=views), num_frames=6)
        found.append([read_labels(path) for path in tables(root)])
    for one, other in zip(*found, strict=True):
        assert one.image_names == other.image_names
        np.testing.assert_allclose(one.points, other.points, atol=0.01)
        np.testing.assert_array_equal(one.visible, other.visible)


def test_frames_that_the_views_do_not_show_are_taken_first(config: Path, root: Path, tmp_path: Path) -> None:
    unsure = (4, 15)
    run(config, predict(root, tmp_path / "predicted", ("session1",), unsure=unsure), num_frames=2)
    table = read_labels(tables(root)[0])
    own = {name for name in read_labels(root / "CollectedData_cam1.csv").image_names if "session1" in str(name)}
    assert not {f"labeled-data/session1_cam1/img{frame:08d}.jpg" for frame in unsure} & own, "the spec has changed"
    assert [int(str(name)[-12:-4]) for name in table.image_names] == list(unsure)


def test_of_fused_views_the_evidence_is_what_each_shows(config: Path, root: Path, tmp_path: Path) -> None:
    """A likelihood of 1 / (1 + v): 0.1 is a standard deviation of 3 px, less than that of a target of 6.7 px."""
    source = predict(root, tmp_path / "predicted", ("session1",))
    evidence = source / "evidence"
    evidence.mkdir()
    for path in source.glob("session1_cam*.csv"):
        table = pd.read_csv(path, header=[0, 1, 2], index_col=0)
        table.loc[:, table.columns.get_level_values(2) == "likelihood"] = 0.1
        if path.stem.endswith("cam2"):
            table.iloc[:, :3] = np.nan  # the first keypoint
        table.to_csv(evidence / path.name)
    run(config, source, num_frames=4)
    for view, path in enumerate(tables(root)):
        table = read_labels(path)
        assert table.visible is not None
        known = np.isfinite(table.points).all(-1)
        expected = np.full(known.shape, VISIBLE)
        expected[:, 0] = OCCLUDED if view == 1 else VISIBLE
        np.testing.assert_array_equal(table.visible[known], expected[known])


def test_rows_without_labels_do_not_count_on_either_side(config: Path, root: Path, tmp_path: Path) -> None:
    run(config, predict(root, tmp_path / "predicted"), num_frames=4)
    for view, path in zip(VIEWS, tables(root), strict=True):
        lines = path.read_text().splitlines(keepends=True)
        cells = len(lines[3].split(","))
        name = lines[3].split(",")[0]
        own = root / f"CollectedData_{view}.csv"
        # The first is in the project's own tables, still without labels; the last has lost its pseudo-labels.
        own.write_text(own.read_text() + ",".join([name, *["", "", "0"] * (cells // 3)]) + "\n")
        last = lines[-1].split(",")[0]
        path.write_text("".join(lines[:-1]) + ",".join([last, *["", "", "0"] * (cells // 3)]) + "\n")
    loaded = load_config(config)
    pseudo = read_pseudo_labels(loaded, read_project(loaded))
    assert pseudo is not None
    assert len(pseudo.rows) == 3


def test_joined_projects_keep_what_each_frame_has(config: Path) -> None:
    own = read_project(load_config(config))
    turned = np.random.default_rng(0).random((OWN, len(VIEWS))) < 0.5
    other = replace(own, points=own.points + 1, value_bits=(12,) * len(VIEWS), turned=turned)
    rows = np.array([4, 1])
    both = joined(own, other, rows)
    assert len(both) == OWN + 2
    assert both.image_names[OWN:] == tuple(other.image_names[row] for row in rows)
    assert both.sessions[OWN:] == tuple(other.sessions[row] for row in rows)
    np.testing.assert_array_equal(both.points[OWN:], other.points[rows])
    np.testing.assert_array_equal(both.visibility[OWN:], other.visibility[rows])
    assert [id(each) for each in both.cameras[OWN:]] == [id(other.cameras[row]) for row in rows]
    assert both.value_bits == other.value_bits
    assert both.turned is not None
    assert not both.turned[:OWN].any()
    np.testing.assert_array_equal(both.turned[OWN:], turned[rows])
    assert joined(own, own, rows).turned is None


def test_crop_brings_the_calibration_of_a_session_with_pseudo_labels_alone(
    config: Path, root: Path, tmp_path: Path
) -> None:
    for path in root.glob("CollectedData_cam?.csv"):
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(line for number, line in enumerate(lines) if number < 3 or "session1" in line))
    run(config, predict(root, tmp_path / "predicted", ("session2",)), num_frames=3)
    crop_project(load_config(config), CropOptions(output=tmp_path / "crops"), Console(quiet=True))
    crops = load_config(tmp_path / "crops" / "config.yaml")
    pseudo = read_pseudo_labels(crops, read_project(crops))
    assert pseudo is not None
    assert {pseudo.project.sessions[row] for row in pseudo.rows} == {"session2"}
    assert all(pseudo.project.cameras[row] is not None for row in pseudo.rows)


def test_labels_outside_of_a_crop_are_none(root: Path) -> None:
    cameras = CameraGroup.load(root / "calibrations" / "session1.toml").select(VIEWS)
    poses = true_points(root, "session1")
    points = project(poses, cameras)
    session = ProjectedSession(
        name="session1",
        videos=tuple(open_video(root / "videos" / f"session1_{view}.mp4") for view in VIEWS),
        points=points,
        visibility=np.full(points.shape[:-1], VISIBLE),
        poses=poses,
        cameras=cameras,
        num_known=LENGTH,
        worth=np.ones(LENGTH),
    )
    extent = np.linalg.norm(poses[0] - np.median(poses[0], axis=0), axis=-1)
    near = Framing(margin=0.0, aspect=1.0, side=float(np.median(extent)))  # of half of the keypoints
    cut, visibility, boxes = _cut(session, np.array([0, 5]), Crops(framing=near, sizes=np.asarray(cameras.sizes) / 2))
    known = np.isfinite(cut).all(-1)
    assert 0 < known.mean() < 1
    np.testing.assert_array_equal(visibility, np.where(known, VISIBLE, 0))
    np.testing.assert_allclose((cut + boxes[:, :, None, :2])[known], points[[0, 5]][known])
